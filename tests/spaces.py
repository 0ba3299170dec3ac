"""Install each list of requirements as a Hugging Face Space does, start the page there, and use it.

    python -m tests.spaces                         # as a Space does: the newest versions that the lists allow
    python -m tests.spaces --locked                # as the locks say: these versions, each file's SHA-256 checked
    python -m tests.spaces --folder F --install    # only install them, in F: with uv where it is there, else with pip
    python -m tests.spaces --folder F              # and use what is installed there

uv chooses the same newest versions in a tenth of the time; `--locked` is pip's. Run from the project's own environment
(the stand-in for Modal runs its containers there). A Space installs the list and Gradio in the version of README's
front matter, but not this package, and starts `python app.py`. With `requirements.txt` it must answer by itself; with
`requirements-modal.txt`, which holds no torch, it must offer Modal alone: say why where there is no token, and answer
where there is one.
"""

import argparse
import contextlib
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
import venv
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests import ROOT

BOUNDARY = "a-part-ends-here"


#: The lock of each list, see `tests.supply`.
LOCKED = {"requirements.txt": "page", "requirements-modal.txt": "page-over-modal"}


def installed(folder: Path, requirements: str, *, locked: bool) -> Path:
    """A virtual environment with one list, or with its lock, where it is not there yet; return its Python."""
    python, done = folder / "bin" / "python", folder / "installed"
    sdk = re.search(r"^sdk_version: (\S+)$", (ROOT / "README.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert sdk is not None
    wanted = ["-r", ROOT / requirements, f"gradio[oauth,mcp]=={sdk[1]}"]
    if locked:
        wanted = ["--require-hashes", "-r", ROOT / "inference" / "cloud" / "locks" / f"{LOCKED[requirements]}.txt"]
    lists = "".join(path.read_text(encoding="utf-8") for path in wanted if isinstance(path, Path))
    what = "\n".join([*map(str, wanted), lists])
    if not done.exists() or done.read_text(encoding="utf-8") != what:
        uv = None if locked else shutil.which("uv")  # pip passes over files that have no trusted hash
        venv.create(folder, with_pip=uv is None, clear=True)
        command: list[str | Path] = [python, "-m", "pip", "install", "-qqq", "--no-compile"]
        if uv is not None:  # it does not read pip's settings; where there are files beside the index, it must know
            links = [f"--find-links={place}" for place in os.environ.get("PIP_FIND_LINKS", "").split()]
            command = [uv, "pip", "install", "--quiet", f"--python={python}", *links]
        subprocess.run([*command, *map(str, wanted)], check=True)
        done.write_text(what, encoding="utf-8")
    return python


def checkout(folder: Path) -> Path:
    """What a push to a Space brings: the tracked files, not installed."""
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, check=True, capture_output=True)
    for name in filter(None, listed.stdout.decode().split("\0")):
        place = folder / name
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes((ROOT / name).read_bytes())
    return folder


@contextlib.contextmanager
def started(python: Path, folder: Path, log: Path, **variables: str) -> Iterator[str]:
    """The page; yields its address."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    kept = {name: value for name, value in os.environ.items() if name in ("PATH", "LANG", "TMPDIR")}
    environment = kept | {
        "HOME": str(log.parent),
        "GRADIO_SERVER_NAME": "127.0.0.1",
        "GRADIO_SERVER_PORT": str(port),
        "HF_HUB_OFFLINE": "1",
        "SPACE_ID": "someone/attention",
        "MODAL_CONFIG_PATH": "/nonexistent/modal.toml",
    }
    with log.open("a") as output:
        process = subprocess.Popen(
            [python, "app.py"], cwd=folder, env=environment | variables, stdout=output, stderr=output
        )
        try:
            address = f"http://127.0.0.1:{port}"
            until = time.monotonic() + 90
            while True:
                with contextlib.suppress(OSError):
                    get(address + "/api/health")
                    break
                assert process.poll() is None, log.read_text()
                assert time.monotonic() < until, log.read_text()
                time.sleep(0.3)
            yield address
        finally:
            process.terminate()
            process.wait(60)


def get(address: str) -> tuple[int, Any]:
    """Status and JSON of a route, also of its refusals."""
    try:
        with urllib.request.urlopen(address, timeout=120) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        return error.code, json.load(error)


def analyze(address: str) -> tuple[int, Any]:
    """Ask for one analysis of a scene, as curl does."""
    import io

    from inference.demo import EXAMPLE_SCENES

    photo = io.BytesIO()
    EXAMPLE_SCENES[0].draw().image.save(photo, "PNG")
    fields = [("prompt", "Describe the image."), ("adapter", "base"), ("adapter", "find-red"), ("overlay", "false")]
    parts = [f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="{k}"\r\n\r\n{v}\r\n'.encode() for k, v in fields]
    head = f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="image"; filename="a.png"\r\n\r\n'.encode()
    body = b"".join(parts) + head + photo.getvalue() + f"\r\n--{BOUNDARY}--\r\n".encode()
    headers = {"Content-Type": f"multipart/form-data; boundary={BOUNDARY}"}
    request = urllib.request.Request(address + "/api/analyze", body, headers)
    try:
        with urllib.request.urlopen(request, timeout=180) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        return error.code, json.load(error)


def check_whole(python: Path, folder: Path, source: Path) -> None:
    """requirements.txt without a token: the embedded model, in the page's own process."""
    with started(python, source, folder / "whole.log") as address:
        status, found = analyze(address)
        assert status == 200, (found, (folder / "whole.log").read_text())
        _, health = get(address + "/api/health")
        assert (health["backend"], health["model"], health["ready"]) == ("local", "demo", True), health
    print(f"requirements.txt: the embedded model answers {[each['text'] for each in found['answers']]}")


def check_light(python: Path, folder: Path, source: Path) -> None:
    """requirements-modal.txt: no torch, Modal alone; with and without a token."""
    from tests.modal_stand_in import run_in_thread

    absent = "import importlib.util as i; assert not any(map(i.find_spec, ('torch', 'transformers', 'peft')))"
    subprocess.run([python, "-c", absent], check=True)
    log = folder / "light.log"
    with started(python, source, log) as address:
        urllib.request.urlopen(address, timeout=30).close()
        status, found = get(address + "/api/adapters")
        assert (status, found["error"]["code"]) == (503, "backend_credentials"), found
        assert get(address + "/api/health")[1]["backend"] == "modal"
    print(f"requirements-modal.txt, no token: the page is there and says: {found['error']['message']}")
    with started(python, source, log, VISUALIZER_BACKEND="local") as address:
        status, found = get(address + "/api/adapters")
        assert (status, found["error"]["code"]) == (503, "backend_unavailable"), found
    print(f"requirements-modal.txt, --backend local: {found['error']['message']}")
    with (folder / "containers.log").open("w") as containers, run_in_thread(log=containers) as cloud:
        deployment = cloud.client_env() | {
            "VISUALIZER_MODAL_MOUNT": str(cloud.mount_root),
            "VISUALIZER_MODEL": "demo",
        }
        subprocess.run(
            [sys.executable, "-m", "modal", "deploy", "-m", "inference.remote"],
            cwd=source,
            env=os.environ | deployment,
            check=True,
            capture_output=True,
        )
        with started(python, source, log, **cloud.client_env()) as address:
            status, found = analyze(address)
            assert status == 200, (found, log.read_text())
            _, health = get(address + "/api/health")
            assert (health["backend"], health["model"]) == ("modal", "demo"), health
    print(f"requirements-modal.txt, with a token: Modal answers {[each['text'] for each in found['answers']]}")
    assert "Traceback" not in log.read_text(), log.read_text()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--locked", action="store_true")
    parser.add_argument("--install", action="store_true")
    parser.add_argument("--folder", type=Path)
    asked = parser.parse_args()
    if asked.install and asked.folder is None:
        parser.error("--install needs --folder: what it installs is to be used afterwards.")
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        kept = (asked.folder or folder).absolute()
        light = installed(kept / "light", "requirements-modal.txt", locked=asked.locked)
        whole = installed(kept / "whole", "requirements.txt", locked=asked.locked)
        if asked.install:
            return
        source = checkout(folder / "source")
        check_light(light, folder, source)
        check_whole(whole, folder, source)


if __name__ == "__main__":
    main()
