"""The stand-in itself: its options, the faults a test can switch on, and what a test may look at."""

import asyncio
import concurrent.futures
import contextlib
import socket
import sys
import tempfile
import threading
from collections import Counter
from collections.abc import Callable, Coroutine, Iterator, Sequence
from pathlib import Path
from typing import IO, Any, Literal

from aiohttp import web
from grpclib import GRPCError, Status
from modal_proto import api_pb2 as pb

from .apps import Apps
from .calls import Calls
from .containers import Containers
from .endpoint import Endpoint, EndpointServer
from .processes import ForkServer
from .records import Container, ContainerInfo, FunctionDefinition, Hold, is_of
from .storage import Storage

BUSY_SECONDS = 60.0  # how long a test may wait for a container that is at work


class StandIn(Apps, Storage, Calls, Containers):
    """One cloud. Its public methods may be called from any thread; `from_loop` says how.

    Args:
        root: Folder for everything the stand-in writes.
        token: The only token id and secret it accepts.
        python: Interpreter of the containers; it must have modal.
        log: Where the containers' output goes besides `app_log`.
        extra_env: Variables added to every container, last.
        snapshots: Whether containers of functions with memory snapshots really go through checkpoint and restore.
        containers_per_function: Most containers of one function, below its own `max_containers`.
        scaledown_window: Idle seconds before a container ends, instead of the function's own.
        start_delay: Seconds before a container's process starts.
        crash: What becomes of the inputs of a container that died: run again, as for deployed apps ("retry"), or
            InternalFailure for the caller ("fail").
        refuse_result_bytes: Results and blobs that are larger are refused.
        packages: What is imported once, before containers are forked; without any, each is a fresh interpreter.
        no_gpu: Whether functions that ask for a GPU get no container.
    """

    def __init__(
        self,
        root: Path,
        *,
        token: tuple[str, str] = ("ak-stand-in", "as-stand-in"),
        python: str = sys.executable,
        log: IO[str] | None = None,
        extra_env: dict[str, str] | None = None,
        snapshots: bool = False,
        containers_per_function: int = 4,
        scaledown_window: float | None = None,
        start_delay: float = 0.0,
        crash: Literal["retry", "fail"] = "retry",
        refuse_result_bytes: int | None = None,
        no_gpu: bool = False,
        packages: Sequence[str] = (),
    ) -> None:
        super().__init__()
        self.root = root.resolve()
        self.mount_root = self.root / "mounts"  # volumes mounted under it are really there
        self.mount_root.mkdir()
        self.token, self.python, self.log = token, python, log
        self.extra_env = extra_env or {}
        self.snapshots = snapshots
        self.containers_per_function = containers_per_function
        self.scaledown_window = scaledown_window
        self.start_delay = start_delay
        self.crash = crash
        self.refuse_result_bytes = refuse_result_bytes
        self._no_gpu = no_gpu
        self.packages = packages
        self.rpc_calls: Counter[str] = Counter()
        self.url = ""
        self.loop = asyncio.get_running_loop()
        self.stop = asyncio.Event()

    # -- for the tests ------------------------------------------------------------------------------------------------

    def client_env(self) -> dict[str, str]:
        """The environment of a client that talks to the stand-in."""
        return _client_env(self.url, self.token)

    @property
    def no_gpu(self) -> bool:
        return self._no_gpu

    @no_gpu.setter
    def no_gpu(self, value: bool) -> None:
        self._no_gpu = value
        self.loop.call_soon_threadsafe(self.scale_all)

    @contextlib.contextmanager
    def holding(
        self, function_name: str, last_value: Callable[[Any], bool] | None = None, outputs: int = 0
    ) -> Iterator[None]:
        """Hold back what the containers give of what is asked from now on: its middle lasts as long as the context.

        Args:
            function_name: "Name", or "Name.*" for a class.
            last_value: the first value for which this is true is the last that a container puts into queues; None
                lets all values pass.
            outputs: so many outputs still pass.
        """

        async def begin() -> Hold:
            earlier = frozenset(item.id for call in self.function_calls.values() for item in call.inputs)
            self.hold = Hold(function_name, earlier, last_value, outputs)
            return self.hold

        async def end() -> None:
            hold.over.set()
            self.hold = None

        hold = self.from_loop(begin())
        try:
            yield
        finally:
            self.from_loop(end())

    def kill(self, function_name: str) -> int:
        """SIGKILL the container that took an input of the function last, waiting for one; return its pid."""
        return self.from_loop(self._end_busy(function_name, grace=None))

    def preempt(self, function_name: str, grace: float = 5.0) -> int:
        """Take a busy container away as Modal does: SIGINT, then SIGKILL; its inputs run again elsewhere."""
        return self.from_loop(self._end_busy(function_name, grace=grace))

    def expire(self, function_name: str) -> None:
        """Let the time of what the function runs be over, waiting for an input."""

        async def expire() -> None:
            container = await self._busy(function_name)
            for item in tuple(container.running.values()):
                self.time_out(container, item, container.function.timeout_secs)

        self.from_loop(expire())

    def waiting(self, function_name: str) -> int:
        """How many inputs of the function no container has taken."""

        def read() -> int:
            pools = [pool for id_, pool in self.pools.items() if is_of(self.definition(id_), function_name)]
            return sum(len(pool.pending) for pool in pools)

        return self._read(read)

    def containers(self, function_name: str | None = None) -> list[ContainerInfo]:
        """Every container there was, the oldest first, of one function ("Name" or "Name.*" for a class) or all."""
        return self._read(lambda: [_info(one) for one in self._containers() if is_of(one, function_name)])

    def definitions(self, app: str | None = None) -> dict[str, FunctionDefinition]:
        """The functions of the running apps, or of one, by name ("Name.*" for a class)."""

        def read() -> dict[str, FunctionDefinition]:
            running = [each for each in self.apps.values() if not each.stopped and app in (None, each.name)]
            ids = [id_ for each in running for id_ in each.function_ids.values()]
            return {self.functions[id_].function_name: self.describe(id_) for id_ in ids}

        return self._read(read)

    def volume_folder(self, name: str) -> Path:
        """The folder of a volume's committed files, as clients see them; the volume is made where it is missing."""
        request = pb.VolumeGetOrCreateRequest(
            deployment_name=name, object_creation_type=pb.OBJECT_CREATION_TYPE_CREATE_IF_MISSING
        )
        response = self.from_loop(self.volume_get_or_create(request, None))
        return self.folder(response.volume_id)

    def add_secret(self, name: str, values: dict[str, str]) -> None:
        """Make the secret that `Secret.from_name` finds."""
        request = pb.SecretGetOrCreateRequest(
            deployment_name=name, object_creation_type=pb.OBJECT_CREATION_TYPE_CREATE_IF_MISSING, env_dict=values
        )
        self.from_loop(self.secret_get_or_create(request, None))

    def app_log(self, app_name: str) -> str:
        """All that the containers of the app's latest run or deployment have printed."""

        def read() -> str:
            app = [app for app in self.apps.values() if app.name == app_name][-1]
            return "".join(item.data for batch in app.log for item in batch.items)

        return self._read(read)

    def from_loop(self, coroutine: Coroutine[Any, Any, Any]) -> Any:
        """Run the coroutine in the stand-in's own thread and wait for what it returns."""
        return asyncio.run_coroutine_threadsafe(coroutine, self.loop).result(2 * BUSY_SECONDS)

    def check_token(self, metadata) -> None:
        """Refuse a request without the right token.

        Raises:
            GRPCError: UNAUTHENTICATED, which the client raises as AuthError.
        """
        if (metadata.get("x-modal-token-id"), metadata.get("x-modal-token-secret")) != self.token:
            raise GRPCError(Status.UNAUTHENTICATED, "Token validation failed")

    # -- private ------------------------------------------------------------------------------------------------------

    def _read(self, read: Callable[[], Any]) -> Any:
        async def call() -> Any:
            return read()

        return self.from_loop(call())

    def _containers(self) -> list[Container]:
        found = [container for pool in self.pools.values() for container in pool.containers]
        return sorted(found, key=lambda container: container.started_at)

    async def _busy(self, function_name: str) -> Container:
        """The container that took an input of the function last, and runs it."""

        def busy() -> list[Container]:
            return [one for one in self._containers() if one.running and not one.gone and is_of(one, function_name)]

        deadline = self.loop.time() + BUSY_SECONDS
        while not (found := busy()):
            if self.loop.time() > deadline:
                raise TimeoutError(f"no container runs an input of '{function_name}' after {BUSY_SECONDS} s")
            await asyncio.sleep(0.01)
        return max(found, key=lambda container: container.last_input_began)

    async def _end_busy(self, function_name: str, grace: float | None) -> int:
        container = await self._busy(function_name)
        self.retire(container)
        if grace is not None:
            container.preempted = True
            self.signal_container(container, kill=False)
            await container.app.bell.until(lambda: container.gone, grace)
        self.signal_container(container, kill=True)
        await container.app.bell.until(lambda: container.gone, 10)
        return container.process.pid

    @contextlib.asynccontextmanager
    async def serve(self):
        """Listen until the context ends."""
        http = web.AppRunner(self.http_app(), access_log=None, shutdown_timeout=1)
        server = EndpointServer(Endpoint(self))
        # with its protocol named, asyncio switches Nagle's algorithm off: without that every answer waits 40 ms
        listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
        listener.bind(("127.0.0.1", 0))
        try:
            if self.packages:
                self.forks = ForkServer(self.packages, self.extra_env)
                await self.forks.start(self.python, self.log)
            await http.setup()
            await web.TCPSite(http, "127.0.0.1", 0).start()
            self.http_url = f"http://127.0.0.1:{http.addresses[0][1]}"
            await server.start(sock=listener)
            self.url = f"http://127.0.0.1:{listener.getsockname()[1]}"
            yield
        finally:
            await self.close_containers()
            server.close()
            await server.wait_closed()
            await http.cleanup()


@contextlib.contextmanager
def run_in_thread(**options: Any) -> Iterator[StandIn]:
    """Run a stand-in beside the test: `with run_in_thread() as cloud:`, with the options of StandIn."""
    started: concurrent.futures.Future[StandIn] = concurrent.futures.Future()

    async def main(root: Path) -> None:
        cloud = StandIn(root, **options)
        async with cloud.serve():
            started.set_result(cloud)
            await cloud.stop.wait()

    def thread() -> None:
        try:
            with tempfile.TemporaryDirectory(prefix="stand-in-") as root:
                asyncio.run(main(Path(root)))
        except BaseException as error:
            if started.done():
                raise
            started.set_exception(error)

    runner = threading.Thread(target=thread, name="modal-stand-in")
    runner.start()
    cloud = started.result(30)
    try:
        yield cloud
    finally:
        cloud.loop.call_soon_threadsafe(cloud.stop.set)
        runner.join()


def unreachable_env() -> dict[str, str]:
    """The environment of a client whose server does not answer: nothing listens on its port."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    return _client_env(f"http://127.0.0.1:{port}", ("ak-nobody", "as-nobody"))


def _client_env(url: str, token: tuple[str, str]) -> dict[str, str]:
    return {
        "MODAL_SERVER_URL": url,
        "MODAL_TOKEN_ID": token[0],
        "MODAL_TOKEN_SECRET": token[1],
        "MODAL_CONFIG_PATH": "/nonexistent/modal.toml",
        "MODAL_ENVIRONMENT": "main",
        "MODAL_DISABLE_API_PROXY": "1",
    }


def _info(container: Container) -> ContainerInfo:
    return ContainerInfo(
        id=container.id,
        app=container.app.name,
        function_name=container.function.function_name,
        pid=container.process.pid if container.process else None,
        started_at=container.started_at,
        inputs_taken=container.inputs_taken,
        running=bool(container.running),
        last_input_ended_at=container.last_input_ended_at,
        alive=not container.gone,
    )
