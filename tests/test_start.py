"""`python app.py` in a process of its own: what it says, and whom it believes."""

import contextlib
import http.client
import os
import re
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from subprocess import PIPE

import pytest

from tests import ROOT

PATIENCE = 60  # seconds until a start counts as failed


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextlib.contextmanager
def started(log: Path, **variables: str) -> Iterator[str]:
    """The page; yields the address that it says."""
    command = [sys.executable, "app.py", "--port", str(free_port())]
    environment = os.environ | {"GRADIO_TEMP_DIR": str(log.parent / "uploads")} | variables
    with log.open("w") as output:
        process = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=output, stderr=output)
        try:
            until = time.monotonic() + PATIENCE
            while not (said := re.search(r"the page is on (http://\S+)", log.read_text())):
                assert process.poll() is None, log.read_text()
                assert time.monotonic() < until, log.read_text()
                time.sleep(0.1)
            yield said[1]
        finally:
            process.terminate()
            process.wait(60)
    assert not re.search("share=True|Running on", log.read_text())  # Gradio's own advice, which is not ours


def status_for(address: str, forwarded_for: str) -> int:
    """What an analysis of no image at all is answered with: 415 where it is looked at, 429 where that is too often."""
    headers = {"Content-Type": "application/json", "X-Forwarded-For": forwarded_for}
    request = urllib.request.Request(address + "api/analyze", b'{"image": "AAAA"}', headers)
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(request, timeout=PATIENCE)
    with contextlib.closing(refused.value) as answer:
        return answer.code


@pytest.fixture(scope="module")
def ordinary(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The page as it is where its operator named neither a proxy nor a host."""
    with started(tmp_path_factory.mktemp("ordinary") / "log", VISUALIZER_REQUESTS_PER_MINUTE="1") as address:
        yield address


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The page as it is where its operator named a proxy and a host of its own."""
    named = {"FORWARDED_ALLOW_IPS": "127.0.0.1", "VISUALIZER_ALLOWED_HOST": "viz.example.org"}
    with started(tmp_path_factory.mktemp("told") / "log", VISUALIZER_REQUESTS_PER_MINUTE="1", **named) as address:
        yield address


@pytest.mark.slow
def test_in_whose_name_a_request_comes_is_believed_of_the_operators_proxies_alone(ordinary: str, told: str):
    for address, second in ((ordinary, 429), (told, 415)):
        assert status_for(address, "192.0.2.1") == 415
        assert status_for(address, "192.0.2.2") == second


def answer_of(address: str, path: str, headers: dict[str, str], method: str = "GET") -> tuple[int, dict[str, str]]:
    """Status and headers of what a page answers to a request with these headers."""
    host, port = re.findall(r"//([^:/]+):(\d+)", address)[0]
    connection = http.client.HTTPConnection(host, port, timeout=PATIENCE)
    body = b"--x\r\n\r\n--x--" if method == "POST" else None
    more = {"Content-Type": "multipart/form-data; boundary=x"} if method == "POST" else {}
    connection.request(method, path, body, headers | more)
    with contextlib.closing(connection), connection.getresponse() as answer:
        answer.read()
        return answer.status, {name.lower(): value for name, value in answer.getheaders()}


@pytest.mark.slow
def test_pages_of_other_servers_are_refused_everywhere_and_get_no_leave_to_read(ordinary: str, told: str):
    """Gradio's own routes too, whose middleware allows every origin on a public host."""
    own = ordinary.rstrip("/")
    for path in ("/", "/config", "/gradio_api/info", "/api/adapters", "/viewer/viewer.js", "/docs"):
        assert answer_of(ordinary, path, {})[0] == 200
        assert answer_of(ordinary, path, {"Origin": own})[0] == 200
        for headers in ({"Origin": "https://evil.com"}, {"Host": "evil.com"}, {"Origin": "null"}):
            code, answer = answer_of(ordinary, path, headers)
            assert code == 403
            assert not [name for name in answer if name.startswith("access-control")]
    for path in ("/api/analyze", "/gradio_api/upload", "/gradio_api/queue/join", "/gradio_api/run/predict"):
        assert answer_of(ordinary, path, {"Origin": "https://evil.com"}, "POST")[0] == 403
    preflight = {"Origin": "https://evil.com", "Access-Control-Request-Method": "POST"}
    assert answer_of(ordinary, "/gradio_api/queue/join", preflight, "OPTIONS")[0] == 403
    named = {"Host": "viz.example.org", "Origin": "https://viz.example.org"}
    assert answer_of(told, "/config", named)[0] == 200
    assert answer_of(ordinary, "/config", named)[0] == 403
    assert answer_of(told, "/config", {"Host": "evil.com"})[0] == 403


@pytest.mark.slow
def test_what_the_system_says_is_said_where_it_cannot_listen():
    def failing(*more: str) -> "subprocess.Popen[str]":
        return subprocess.Popen([sys.executable, "app.py", "--port", port, *more], cwd=ROOT, stderr=PIPE, text=True)

    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        with failing() as used, failing("--host", "nowhere.invalid") as nowhere:  # side by side: a start takes seconds
            said_used, said_nowhere = (process.communicate(timeout=PATIENCE)[1] for process in (used, nowhere))
    assert (used.returncode, nowhere.returncode) == (2, 2)
    assert f"cannot listen on 127.0.0.1:{port}: Address already in use; choose another" in said_used
    assert re.search(rf"cannot listen on nowhere.invalid:{port}: .*(not known|resolution)", said_nowhere)
    assert "Traceback" not in said_used + said_nowhere
