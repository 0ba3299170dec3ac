"""How long a person waits: from `python app.py` to the page, to the model, and for one analysis of the embedded model.

python -m tests.benchmarks.start
"""

import argparse
import json
import os
import socket
import statistics
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

ROOT = Path(__file__).parents[2]
LIMITS = {"page ready": 15.0, "model ready": None, "base + one adapter": 1.5, "the same, another adapter": 1.5}


def measure() -> dict[str, float]:
    """Seconds of one fresh process."""
    from inference.demo import EXAMPLE_SCENES

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
    from inference import Request, open_backend

    backend = open_backend("local")
    for name, adapter, scene in (("warm up", "noise", 1), ("base + one adapter", "find-red", 0)):
        begin = time.perf_counter()
        image = EXAMPLE_SCENES[scene].draw().image
        backend.compare(Request(image, "Describe the image.", adapters=(None, adapter)))
        seconds[name] = time.perf_counter() - begin
    begin = time.perf_counter()
    backend.compare(Request(image, "Describe the image.", adapters=(None, "find-circle")))
    seconds["the same, another adapter"] = time.perf_counter() - begin
    del seconds["warm up"]
    return seconds


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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=5)
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


if __name__ == "__main__":
    main()
