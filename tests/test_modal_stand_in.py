"""The stand-in for Modal does what the tests of our Modal service rely on."""

import asyncio
import gc
import os
import queue
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

modal = pytest.importorskip("modal")

from tests.conftest import wait_until
from tests.modal_stand_in import ContainerInfo, StandIn, run_in_thread, unreachable_env
from tests.modal_stand_in.endpoint import Endpoint, EndpointServer

TESTS = Path(__file__).parent
SERVICE = TESTS / "stand_in_service"
APP = "stand-in-service"
SECONDS = 60  # for what comes at once where nobody else needs the machine

pytestmark = pytest.mark.slow


def run_modal(cloud: StandIn, *arguments: str, **env: str) -> str:
    """Run the real command line against the stand-in; return what it printed."""
    variables = {"STAND_IN_DATA": str(cloud.mount_root / "data"), "PRIVATE": "the client's own"}
    done = subprocess.run(
        [sys.executable, "-m", "modal", *arguments],
        cwd=SERVICE,
        env={**os.environ, **cloud.client_env(), **variables, **env},
        capture_output=True,
        text=True,
        timeout=2 * SECONDS,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def alive(cloud: StandIn, name: str) -> list[ContainerInfo]:
    return [container for container in cloud.containers(name) if container.alive and container.app == APP]


@pytest.fixture(scope="module")
def cloud(tmp_path_factory) -> Iterator[StandIn]:
    with (tmp_path_factory.mktemp("modal") / "containers.log").open("w") as log, run_in_thread(log=log) as cloud:
        cloud.add_secret("stand-in-secret", {"NAMED": "by name"})
        run_modal(cloud, "deploy", "-m", "service")
        yield cloud


@pytest.fixture(scope="module")
def client(cloud):
    with modal.Client(cloud.url, 1, cloud.token) as client:  # 1: an ordinary client
        yield client


@pytest.fixture(scope="module")
def function(client):
    return lambda name: modal.Function.from_name(APP, name, client=client)


@pytest.fixture(scope="module")
def tokens(client):
    return modal.Queue.from_name("stand-in-tokens", create_if_missing=True, client=client)


# -- calls ------------------------------------------------------------------------------------------------------------


def test_a_call_returns_what_the_function_returns(cloud, function):
    before = cloud.rpc_calls["FunctionMap"]
    assert function("length").remote(b"x" * 3_000_000) == 3_000_000
    assert cloud.last_inputs[-1].in_blob
    assert len(cloud.last_inputs[-1].data) > 3_000_000
    assert len(function("zeros").remote(5_000_000)) == 5_000_000
    assert cloud.last_outputs[-1].in_blob
    assert len(cloud.last_outputs[-1].data) > 5_000_000
    assert cloud.rpc_calls["FunctionMap"] == before + 2


def test_a_generator_streams(function):
    assert list(function("steps").remote_gen(3)) == [0, 1, 2]


def test_a_spawned_call_can_be_polled(function, tokens):
    call = function("wait").spawn("polled")
    with pytest.raises(TimeoutError):
        call.get(timeout=0)
    tokens.put("go", partition="polled-go")
    assert call.get(timeout=SECONDS) == "1"
    assert call.get(timeout=0) == "1"


def test_a_class_is_one_container_per_set_of_parameters(cloud, client):
    before = {container.id for container in cloud.containers("Counter")}
    counter = modal.Cls.from_name(APP, "Counter", client=client)
    assert counter(start=2).add.remote(5) == 2005
    assert counter().add.remote(5) == 5
    assert list(counter(start=2).up.remote_gen(3)) == [2000, 2001, 2002]
    started = [container for container in cloud.containers("Counter") if container.id not in before]
    assert [container.inputs_taken for container in started] == [2, 1]


def test_a_cancelled_call_is_interrupted(function, tokens):
    call = function("nap").spawn(10 * SECONDS, "cancelled")
    assert tokens.get(partition="cancelled", timeout=SECONDS)[0] == "started"
    call.cancel()
    assert tokens.get(partition="cancelled", timeout=SECONDS)[0] == "cancelled"
    with pytest.raises(modal.exception.RemoteError):
        call.get(timeout=SECONDS)


# -- queues -----------------------------------------------------------------------------------------------------------


def test_a_queue_keeps_its_partitions_apart(client):
    with modal.Queue.ephemeral(client) as line:
        line.put_many([1, 2, 3])
        line.put("other", partition="p")
        assert (line.len(), line.len(partition="p"), line.len(total=True)) == (3, 1, 4)
        assert line.get_many(2) == [1, 2]
        assert list(line.iterate()) == [3]
        assert line.get(partition="p") == "other"
        assert line.get(block=False, partition="p") is None
        with pytest.raises(queue.Empty):
            line.get(timeout=0.1, partition="p")
        line.clear(all=True)
        assert line.len(total=True) == 0


def test_a_queue_wakes_its_reader(function, tokens):
    """Both ends would else sleep for a minute or two, each time."""
    call = function("answer").spawn("talk")
    began = time.monotonic()
    for number in range(20):
        tokens.put(number, partition="talk-in")
        assert tokens.get(partition="talk-out", timeout=SECONDS) == 2 * number
    assert time.monotonic() - began < SECONDS
    tokens.put(None, partition="talk-in")
    assert call.get(timeout=SECONDS) is None


# -- volumes ----------------------------------------------------------------------------------------------------------


def test_a_volume_is_the_same_for_the_client_and_the_container(cloud, client, function):
    before = cloud.rpc_calls["VolumeCommit"]
    volume = modal.Volume.from_name("stand-in-files", client=client)
    function("write").remote("inside.txt", "written inside")
    assert "inside.txt" in [entry.path for entry in volume.listdir("/")]
    assert b"".join(volume.read_file("inside.txt")) == b"written inside"
    with volume.batch_upload() as batch:
        batch.put_file(SERVICE / "assets" / "note.txt", "/deep/note.txt")
    assert function("read").remote("deep/note.txt") == "a file of the app"
    assert (cloud.volume_folder("stand-in-files") / "deep/note.txt").read_text() == "a file of the app"
    assert cloud.rpc_calls["VolumeCommit"] > before


def test_what_a_client_changes_is_seen_in_a_running_container_only_after_a_reload(client, function):
    volume, read = modal.Volume.from_name("stand-in-files", client=client), function("read")
    assert read.remote("uploaded/note.txt") == "missing"  # now its container runs
    with volume.batch_upload() as batch:
        batch.put_file(SERVICE / "assets" / "note.txt", "/uploaded/note.txt")
    assert read.remote("uploaded/note.txt", reload=False) == "missing"
    assert read.remote("uploaded/note.txt") == "a file of the app"
    volume.remove_file("uploaded", recursive=True)
    assert read.remote("uploaded/note.txt", reload=False) == "a file of the app"
    function("write").remote("other.txt", "a commit does not bring back what a client removed")
    assert read.remote("uploaded/note.txt") == "missing"


def test_what_a_container_writes_is_listed_only_after_a_commit(client, function):
    volume, write = modal.Volume.from_name("stand-in-files", client=client), function("write")

    def listed() -> set[str]:
        return {entry.path for entry in volume.listdir("/")}

    write.remote("first.txt", "first", commit=False)
    assert "first.txt" not in listed()
    assert function("read").remote("first.txt") == "first"  # a reload does not lose it
    assert "first.txt" not in listed()
    write.remote("second.txt", "second")
    assert {"first.txt", "second.txt"} <= listed()
    assert b"".join(volume.read_file("first.txt")) == b"first"


@pytest.mark.parametrize("how", ["open", "mapped"])
def test_a_reload_is_refused_while_a_file_of_the_volume_is_used(function, how):
    function("write").remote("used.txt", "used")
    said = function("reload_while_it_is_used").remote("used.txt", how)
    assert "there are open files preventing the operation" in said
    assert function("read").remote("used.txt") == "used"  # its own container holds nothing


def test_the_command_line_moves_files(cloud, tmp_path):
    (tmp_path / "a.bin").write_bytes(os.urandom(9_000_000))  # more than one block
    run_modal(cloud, "volume", "create", "by-hand")
    run_modal(cloud, "volume", "put", "by-hand", str(tmp_path / "a.bin"), "/models/a.bin")
    assert run_modal(cloud, "volume", "ls", "by-hand", "models").split() == ["models/a.bin"]
    run_modal(cloud, "volume", "get", "by-hand", "models/a.bin", str(tmp_path / "b.bin"))
    assert (tmp_path / "b.bin").read_bytes() == (tmp_path / "a.bin").read_bytes()
    run_modal(cloud, "volume", "rm", "by-hand", "models/a.bin")
    assert list((cloud.volume_folder("by-hand") / "models").iterdir()) == []


# -- isolation --------------------------------------------------------------------------------------------------------


SEEN = {
    "GREETING": "good day",
    "NAMED": "by name",
    "SPELLED": "out",
    "MODAL_TOKEN_ID": "",
    "PRIVATE": "",
    "app": "missing",
    "tests": "missing",
    "visualize": "missing",
    "inference.model.engine": "missing",
    "note": "a file of the app",
}


def test_a_container_sees_what_the_app_brought_and_nothing_else(cloud, function):
    assert len(alive(cloud, "surroundings")) == 1  # min_containers=1
    seen = function("surroundings").remote()
    assert seen.pop("inference").endswith("/root/inference/__init__.py")
    assert seen == SEEN


EDITABLE_FINDER = """
import importlib.util, pathlib, sys
class Finder:  # answers as the one that setuptools writes for an editable install
    def find_spec(fullname, path=None, target=None):
        at = pathlib.Path({repository!r}, *fullname.split("."))
        if at.with_suffix(".py").exists():
            return importlib.util.spec_from_file_location(fullname, at.with_suffix(".py"))
sys.meta_path.append(Finder)
"""


@pytest.mark.parametrize("installed", ["sys.path.append({repository!r})", EDITABLE_FINDER], ids=["path", "finder"])
@pytest.mark.parametrize("module", ["app", "inference.model.engine"])
def test_an_installed_copy_of_the_repository_is_not_seen(tmp_path, installed, module):
    (tmp_path / "inference").mkdir()
    (tmp_path / "inference" / "__init__.py").write_text("")
    start = TESTS / "modal_stand_in" / "container_start"
    code = (
        f"import sys\n{installed.format(repository=str(TESTS.parent))}\nimport inference\nprint(inference.__file__)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", f"{code}import {module}"],
        cwd=tmp_path,
        env={"PYTHONPATH": f"{start}{os.pathsep}{tmp_path}", "STAND_IN_REPOSITORY": str(TESTS.parent)},
        capture_output=True,
        text=True,
    )
    assert done.stdout.strip() == str(tmp_path / "inference" / "__init__.py")
    assert f"'{'.'.join(module.split('.')[:2])}' is not mounted in this container" in done.stderr


# -- maps -------------------------------------------------------------------------------------------------------------


def test_a_map_uses_several_containers_and_returns_failures(cloud, function):
    divisors = [number % 10 for number in range(200)]
    stream = iter(function("divide").map(divisors, order_outputs=False, return_exceptions=True))
    with cloud.holding("divide", outputs=1):
        results = [next(stream)]
        wait_until(lambda: sum(container.running for container in cloud.containers("divide")) == 3)
    results += stream
    assert sum(isinstance(result, ZeroDivisionError) for result in results) == 20
    good = [result for result in results if not isinstance(result, Exception)]
    assert sorted(value for value, _ in good) == sorted(1 / divisor for divisor in divisors if divisor)
    assert len({pid for _, pid in good}) == 3
    assert sum(container.inputs_taken for container in cloud.containers("divide")) == 200


def test_a_map_over_a_method_with_class_parameters(client):
    counter = modal.Cls.from_name(APP, "Counter", client=client)(start=7)
    assert list(counter.add.map(range(200))) == [7000 + number for number in range(200)]


def test_a_map_survives_the_death_of_a_container(cloud, function):
    stream = iter(function("nap").map([0.01] * 20, order_outputs=False))
    with cloud.holding("nap", outputs=1):
        results = [next(stream)]
        killed = cloud.kill("nap")
    results += stream
    assert results == ["1"] * 20
    dead = next(container for container in cloud.containers("nap") if container.pid == killed)
    assert not dead.alive


def test_an_answer_that_was_asked_for_before_takes_nothing_from_what_may_pass(cloud, function):
    left = function("nap").spawn(0.5)
    wait_until(lambda: any(container.running for container in cloud.containers("nap")))
    stream = iter(function("nap").map([1.0] * 6, order_outputs=False))
    with cloud.holding("nap", outputs=1):
        results = [next(stream)]
        assert left.get() == "1"
    assert [*results, *stream] == ["1"] * 6


def test_a_map_may_be_closed_early(function):
    stream = iter(function("nap").map([0.01] * 20, order_outputs=False))
    assert next(stream) == "1"
    stream.close()
    assert function("nap").remote(0) == "1"


# -- modal run --------------------------------------------------------------------------------------------------------


def test_modal_run_streams_the_log_and_stops_the_app(cloud):
    before = {container.id for container in cloud.containers()}
    printed = run_modal(cloud, "run", "-m", "service", "--count", "4")
    assert "total 6" in printed
    assert "hello from the container" in printed
    assert cloud.app_log(APP) == "hello from the container\n"
    wait_until(lambda: not [one for one in cloud.containers() if one.alive and one.id not in before])


# -- faults -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["kill", "preempt"])
def test_an_input_runs_again_after_its_container_was_taken_away(cloud, function, tokens, how):
    call = function("wait").spawn(how)
    first = tokens.get(partition=how, timeout=SECONDS)
    assert getattr(cloud, how)("wait") == first[1]
    second = tokens.get(partition=how, timeout=SECONDS)
    assert second[0] == "started"
    assert second[1] != first[1]
    tokens.put("go", partition=f"{how}-go")
    assert call.get(timeout=SECONDS) == "1"


def test_a_crash_can_reach_the_caller(cloud, function):
    cloud.crash = "fail"
    try:
        call = function("nap").spawn(10 * SECONDS)
        cloud.kill("nap")
        with pytest.raises(modal.exception.InternalFailure):
            call.get(timeout=SECONDS)
    finally:
        cloud.crash = "retry"


def test_an_input_that_takes_too_long_ends_with_its_container(cloud, function):
    with pytest.raises(modal.exception.FunctionTimeoutError, match="timeout of 1s"):
        function("too_slow").remote()
    wait_until(lambda: not alive(cloud, "too_slow"))


def test_an_inputs_time_can_be_over_before_it_is(cloud, function):
    call = function("on_time").spawn()
    cloud.expire("on_time")
    with pytest.raises(modal.exception.FunctionTimeoutError, match="timeout of 600s"):
        call.get(timeout=SECONDS)
    wait_until(lambda: not alive(cloud, "on_time"))


def test_what_a_container_says_is_held_back_from_a_word_on(cloud, function, tokens):
    """The first container says two words and no more, and gives no output; its successor is free again."""
    with cloud.holding("count", last_value=lambda value: value == 1):
        call = function("count").spawn("held", 4)
        assert [tokens.get(partition="held", timeout=SECONDS) for _ in range(2)] == [0, 1]
        assert tokens.len(partition="held") == 0
        with pytest.raises(TimeoutError):
            call.get(timeout=0)
        cloud.kill("count")
    assert call.get(timeout=SECONDS) == "1"
    assert tokens.get_many(9, partition="held") == [0, 1, 2, 3]


def test_a_failing_start_is_told_to_the_caller(client):
    with pytest.raises(ValueError, match="the weights are missing"):
        modal.Cls.from_name(APP, "Broken", client=client)().run.remote()


def test_without_a_gpu_only_functions_without_one_run(cloud, function):
    cloud.no_gpu = True
    try:
        call = function("on_gpu").spawn()
        assert function("length").remote(b"xy") == 2
        assert cloud.waiting("on_gpu") == 1
        assert cloud.containers("on_gpu") == []
    finally:
        cloud.no_gpu = False
    assert call.get(timeout=SECONDS) == "ran"


def test_a_start_may_be_slow(cloud, function):
    for container in alive(cloud, "length"):
        os.kill(container.pid, 9)
    wait_until(lambda: not alive(cloud, "length"))
    cloud.start_delay = 1.5
    try:
        began = time.monotonic()
        assert function("length").remote(b"") == 0
        assert time.monotonic() - began > 1.5
    finally:
        cloud.start_delay = 0.0


def test_a_result_may_be_too_large(cloud, function):
    cloud.refuse_result_bytes = 100_000
    try:
        assert len(function("zeros").remote(1000)) == 1000
        for size in (200_000, 3_000_000):  # in the message, in a blob
            with pytest.raises(modal.exception.ResourceExhaustedError, match="exceed the limit"):
                function("zeros").remote(size)
    finally:
        cloud.refuse_result_bytes = None


def test_a_wrong_token_is_refused(cloud):
    with modal.Client(cloud.url, 1, ("ak-other", "as-other")) as client, pytest.raises(modal.exception.AuthError):
        modal.Function.from_name(APP, "length", client=client).hydrate()


def test_nobody_answers_at_the_unreachable_address():
    env = unreachable_env()
    host, port = env["MODAL_SERVER_URL"].removeprefix("http://").split(":")
    with socket.socket() as probe, pytest.raises(ConnectionRefusedError):
        probe.connect((host, int(port)))
    assert env["MODAL_TOKEN_ID"]


# -- what a test can look at ------------------------------------------------------------------------------------------


def test_the_definitions_tell_what_was_deployed(cloud):
    definition = cloud.definitions(APP)["on_gpu"]
    assert definition.gpus == ["H100", "A100-80GB:2"]
    assert (definition.timeout, definition.startup_timeout, definition.scaledown_window) == (120, 240, 30)
    assert (definition.min_containers, definition.max_containers) == (0, 1)
    assert definition.memory_snapshot
    assert definition.volumes == {str(cloud.mount_root / "data"): "stand-in-files"}
    assert any("numpy==2.2.0" in line for line in definition.image_commands)
    assert cloud.definitions(APP)["Counter.*"].methods == ["add", "up"]
    assert cloud.definitions(APP)["surroundings"].secrets == ["stand-in-secret", ""]


def test_a_container_tells_what_it_did(cloud, function, tokens):
    before = time.time()
    function("nap").remote(0.1)
    container = max(alive(cloud, "nap"), key=lambda one: one.last_input_ended_at or 0)
    assert before < container.last_input_ended_at < time.time()
    assert container.started_at < container.last_input_ended_at
    assert not container.running
    call = function("wait").spawn("told")
    tokens.get(partition="told", timeout=SECONDS)
    assert [one.running for one in alive(cloud, "wait")].count(True) == 1
    tokens.put("go", partition="told-go")
    assert call.get(timeout=SECONDS) == "1"


# -- redeployment and the end -----------------------------------------------------------------------------------------


def test_a_redeployment_lets_running_inputs_finish_and_runs_new_ones_in_new_code(cloud, client, tokens):
    run_modal(cloud, "deploy", "-m", "service", STAND_IN_APP="redeployed")
    wait, nap = (modal.Function.from_name("redeployed", name, client=client) for name in ("wait", "nap"))
    old = wait.spawn("redeployed")
    tokens.get(partition="redeployed", timeout=SECONDS)
    run_modal(cloud, "deploy", "-m", "service", STAND_IN_APP="redeployed", STAND_IN_VERSION="2")
    assert nap.remote(0) == "2"
    tokens.put("go", partition="redeployed-go")
    assert old.get(timeout=SECONDS) == "1"


def test_a_connection_that_a_client_keeps_open_ends_with_the_stand_in():
    with run_in_thread() as cloud:
        host, port = cloud.url.removeprefix("http://").split(":")
        connection = socket.create_connection((host, int(port)), SECONDS)
        assert connection.recv(1)  # the server speaks first
    with connection:
        gc.collect()  # a transport that was left open warns when it goes
        while connection.recv(2**16):
            pass


def test_a_connection_that_comes_while_a_server_ends_is_ended_too():
    async def main() -> None:
        server = EndpointServer(Endpoint(None))
        with socket.create_server(("127.0.0.1", 0)) as listener:
            await server.start(sock=listener)
            with socket.create_connection(listener.getsockname(), SECONDS) as connection:
                for _ in range(2):  # now it is accepted, and nothing was done for it
                    await asyncio.sleep(0)
                server.close()
                await server.wait_closed()
                while connection.recv(2**16):
                    pass

    asyncio.run(main())
    gc.collect()


@pytest.mark.parametrize("packages", [(), ("modal_proto.api_pb2", "grpclib.client")], ids=["fresh", "forked"])
def test_the_stand_in_leaves_nothing_behind_however_containers_are_started(packages):
    with run_in_thread() as cloud, modal.Client(cloud.url, 1, cloud.token):
        pass  # the client's own thread begins with its first use, and stays for good
    threads = set(threading.enumerate())
    with run_in_thread(scaledown_window=0.5, containers_per_function=1, packages=packages) as cloud:
        cloud.add_secret("stand-in-secret", {"NAMED": "by name"})
        run_modal(cloud, "deploy", "-m", "service")
        with modal.Client(cloud.url, 1, cloud.token) as client:
            length, nap, surroundings = (
                modal.Function.from_name(APP, name, client=client) for name in ("length", "nap", "surroundings")
            )
            seen = surroundings.remote()
            assert seen.pop("inference").endswith("/root/inference/__init__.py")
            assert seen == SEEN
            assert list(length.map([b"a", b"bc"])) == [1, 2]
            assert len(cloud.containers("length")) == 1
            wait_until(lambda: not alive(cloud, "length"))  # scaled down
            nap.spawn(10 * SECONDS)
            killed = cloud.kill("nap")
            wait_until(lambda: any(container.running for container in alive(cloud, "nap")))
            (busy,) = alive(cloud, "nap")
            assert busy.pid != killed
    assert not Path(f"/proc/{killed}").exists()
    assert not Path(f"/proc/{busy.pid}").exists()
    assert not cloud.root.exists()
    assert set(threading.enumerate()) <= threads
