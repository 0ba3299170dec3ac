"""How long a person waits: from `python app.py` to the page and the model, from Analyze to the first token and picture.

    python -m tests.benchmarks.start                     # median of 5 fresh processes, the embedded model
    python -m tests.benchmarks.start --weights           # also: the memory that loading a 1 GB checkpoint takes

The analyses are base + one adapter. The first one of a process loads the adapter and meets every code path cold. A
picture is what the page draws: three panes at the layer and token of largest change.
"""

import argparse
import json
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request
from dataclasses import replace
from pathlib import Path

ROOT = Path(__file__).parents[2]
LIMITS = {
    "page ready": 15.0,
    "model ready": None,
    "first analysis: first answer token": None,
    "first analysis: first picture": None,
    "another photo: first answer token": None,
    "another photo: first picture": 1.5,
    "another adapter: first picture": 1.5,
}


def measure() -> dict[str, float]:
    """Seconds of one fresh process of the app, and of one engine."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    begin = time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, "app.py", "--port", str(port)],
        cwd=ROOT,
        env=os.environ | {"HF_HUB_OFFLINE": "1"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        seconds = {"page ready": _until(f"http://127.0.0.1:{port}/", begin, lambda body: True)}
        ready = _until(f"http://127.0.0.1:{port}/api/health", begin, lambda body: json.loads(body)["ready"])
        seconds["model ready"] = ready
    finally:
        process.terminate()
        process.wait(30)

    from inference import open_backend
    from inference.demo import EXAMPLE_SCENES

    backend = open_backend("local")
    for name, adapter, scene in (
        ("first analysis", "find-red", 0),
        ("another photo", "find-red", 1),
        ("another adapter", "find-circle", 1),
    ):
        token, picture = _analysis(backend, EXAMPLE_SCENES[scene].draw().image, adapter)
        seconds[f"{name}: first answer token"] = token
        seconds[f"{name}: first picture"] = picture
    return seconds


def _analysis(backend, image, adapter: str) -> tuple[float, float]:
    """Seconds from the request to the first token of an answer and to the three drawn panes."""
    from inference import AnswerToken, Comparison, Request
    from visualize import Selection, layer_of_largest_change, panes, token_of_largest_change

    begin, token = time.perf_counter(), None
    for event in backend.stream(Request(image, "Describe the image.", adapters=(None, adapter))):
        if isinstance(event, AnswerToken) and token is None:
            token = time.perf_counter() - begin
        if isinstance(event, Comparison):
            at = token_of_largest_change(event, None, adapter)
            layer = layer_of_largest_change(event, None, adapter, at)
            assert len(list(panes(event, Selection(layer, at), adapter=adapter))) == 3
    return token, time.perf_counter() - begin


def _until(address: str, begin: float, done) -> float:
    while time.perf_counter() - begin < 120:
        try:
            with urllib.request.urlopen(address, timeout=10) as answer:
                if done(answer.read()):
                    return time.perf_counter() - begin
        except (urllib.error.URLError, OSError):
            pass
        time.sleep(0.05)
    raise TimeoutError(address)


def weights() -> None:
    """Print what loading takes beside the weights themselves: a second copy in host memory would be 2.0 ×."""
    from inference.model.checkpoint import load_checkpoint

    with tempfile.TemporaryDirectory() as folder:
        command = "import sys; from tests.benchmarks.start import write_weights; write_weights(sys.argv[1])"
        subprocess.run([sys.executable, "-c", command, folder], check=True, cwd=ROOT)
        load_checkpoint("demo")  # imports and first allocations are not the weights'
        before, highest, done = _anonymous(), 0, threading.Event()

        def sample() -> None:
            nonlocal highest
            while not done.wait(0.002):
                highest = max(highest, _anonymous())

        thread = threading.Thread(target=sample)
        thread.start()
        begin = time.perf_counter()
        model = load_checkpoint(folder, "cpu", "float32").model
        seconds = time.perf_counter() - begin
        done.set()
        thread.join()
        size = sum(each.numel() * each.element_size() for each in model.parameters())
        file = Path(folder, "model.safetensors").stat().st_size
        print(
            f"\nloading {size / 1e9:.2f} GB of weights (files {file / 1e9:.2f} GB) took {seconds:.1f} s; anonymous "
            f"host memory grew by at most {(highest - before) / size:.2f} × their size"
        )


def write_weights(folder: str) -> None:
    """A random checkpoint of about 1 GB in float32: 2B's width, two layers, a third of its vocabulary."""
    from tests.benchmarks.shapes import SHAPES, write_model

    shape = replace(SHAPES["2B"], layers=2, vocabulary=32_768, vision=(2, 1_024, 4_096), deepstack=(0,))
    write_model(Path(folder), shape)


def _anonymous() -> int:
    """Bytes of this process that are no file's pages."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return 1_024 * next(int(line.split()[1]) for line in lines if line.startswith("RssAnon"))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--weights", action="store_true")
    parser.add_argument("--one", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        print(json.dumps(measure()))
        return
    rows = []
    for _ in range(options.runs):
        command = [sys.executable, "-m", "tests.benchmarks.start", "--one"]
        done = subprocess.run(command, check=True, capture_output=True, text=True, cwd=ROOT)
        rows.append(json.loads(done.stdout.splitlines()[-1]))
    print(f"median of {options.runs} fresh processes, {os.cpu_count()} cores\n")
    print("| what | seconds | limit |")
    print("|---|---|---|")
    for name, limit in LIMITS.items():
        seconds = statistics.median(row[name] for row in rows)
        print(f"| {name} | {seconds:.2f} | {f'{limit:g}' if limit else '–'} |")
    if options.weights:
        weights()


if __name__ == "__main__":
    main()
