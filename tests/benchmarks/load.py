"""Many strangers at once, and one for long: answers under load beside the same questions alone, and memory.

    python -m tests.benchmarks.load                     # 32 clients, 10 minutes, both doors
    python -m tests.benchmarks.load --minutes 1 --clients 8
    python -m tests.benchmarks.load --soak 2000         # as many analyses one after another

The server is `python app.py` with the embedded model. Half of the clients use `POST /api/analyze`, half the queue
(Gradio's client: upload, join, stream); each has an address of its own and sends another image each time. What was
answered is asked again of a fresh server, one at a time, and must be the same to the last bit. A refusal that is
designed (429) is no error; its client comes again when it was told to.
"""

import argparse
import hashlib
import io
import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import gradio_client
import httpx
import psutil

from inference.demo.world import scene
from tests.browser.conftest import free_port

ROOT = Path(__file__).parents[2]
MIB = 2**20
ADAPTERS = ("find-red", "find-circle", "vision-lora")
ASKED = {"prompt": "Describe the image.", "max_new_tokens": 4}


@dataclass
class Seen:
    """What the clients met. `answers`: (seed, adapter) → digest of the numbers."""

    answers: dict[tuple[int, str], str] = field(default_factory=dict)
    seconds: dict[str, list[float]] = field(default_factory=lambda: {"HTTP": [], "page": []})
    refused: int = 0
    errors: Counter[str] = field(default_factory=Counter)
    memory: list[int] = field(default_factory=list)


@contextmanager
def server(folder: Path) -> Iterator[tuple[str, psutil.Process]]:
    """The page in a process of its own, which believes this machine whom a request is from."""
    environment = os.environ | {
        "PYTHONPATH": str(ROOT),
        "HF_HUB_OFFLINE": "1",
        "GRADIO_TEMP_DIR": str(folder),
        "FORWARDED_ALLOW_IPS": "127.0.0.1",
        "VISUALIZER_REQUESTS_PER_MINUTE": "100000",
    }
    address = f"http://127.0.0.1:{(port := free_port())}"
    with (folder / "log").open("w") as log:
        process = subprocess.Popen(
            [sys.executable, "app.py", "--port", str(port)], cwd=ROOT, env=environment, stdout=log, stderr=log
        )
    try:
        for _ in range(600):
            try:
                if httpx.get(address + "/api/health").json()["ready"]:
                    break
            except httpx.HTTPError:
                pass
            time.sleep(0.2)
        yield address, psutil.Process(process.pid)
    finally:
        process.terminate()
        process.wait(30)


def png(seed: int) -> bytes:
    buffer = io.BytesIO()
    scene(seed).image.save(buffer, "PNG")
    return buffer.getvalue()


def digest(answer: dict[str, object]) -> str:
    """Of all that is answered, without how long it took."""
    numbers = {name: value for name, value in answer.items() if name != "timings"}
    return hashlib.sha256(json.dumps(numbers, sort_keys=True).encode()).hexdigest()


def memory(process: psutil.Process) -> int:
    """Resident bytes of the server and of what it started."""
    total = 0
    for each in (process, *process.children(recursive=True)):
        try:
            total += each.memory_info().rss
        except psutil.NoSuchProcess:
            continue
    return total


def over_http(address: str, seed: int, adapter: str, who: str) -> dict[str, object]:
    answer = httpx.post(
        address + "/api/analyze",
        data=ASKED | {"adapter": adapter},
        files={"image": png(seed)},
        headers={"X-Forwarded-For": who},
        timeout=600,
    )
    if answer.status_code == 429:
        raise RefusedError(float(answer.headers["Retry-After"]))
    answer.raise_for_status()
    return dict(answer.json())


class RefusedError(Exception):
    """Asked to come again after so many seconds."""


class PageClient:
    """A visitor of the page's queue."""

    def __init__(self, address: str, who: str, folder: Path) -> None:
        self._client = gradio_client.Client(
            address, headers={"X-Forwarded-For": who}, verbose=False, download_files=str(folder)
        )
        self._folder, self._who = folder, who.replace(".", "-")

    def __call__(self, seed: int, adapter: str) -> dict[str, object]:
        path = self._folder / f"{self._who}-{seed}.png"
        path.write_bytes(png(seed))
        try:
            return dict(
                self._client.predict(gradio_client.handle_file(path), adapter=[adapter], **ASKED, api_name="/analyze")
            )
        except Exception as error:
            if "limit" in str(error):
                raise RefusedError(5.0) from error
            raise
        finally:
            path.unlink()


def client(number: int, address: str, until: float, folder: Path, seen: Seen, lock: threading.Lock) -> None:
    """Ask until the time is over, each time about another image."""
    who, door = f"10.0.{number // 250}.{number % 250 + 1}", "page" if number % 2 else "HTTP"
    visitor = PageClient(address, who, folder) if door == "page" else None
    for turn in range(10**9):
        if time.monotonic() > until:
            return
        seed, adapter = 1_000_000 * (number + 1) + turn, random.Random(turn + number).choice(ADAPTERS)
        started = time.monotonic()
        try:
            answer = visitor(seed, adapter) if visitor else over_http(address, seed, adapter, who)
        except RefusedError as refused:
            with lock:
                seen.refused += 1
            time.sleep(min(refused.args[0], 5.0))
            continue
        except Exception as error:  # noqa: BLE001 - whatever it is, it is counted
            with lock:
                seen.errors[f"{door}: {type(error).__name__}: {str(error)[:120]}"] += 1
            continue
        with lock:
            seen.seconds[door].append(time.monotonic() - started)
            seen.answers[seed, adapter] = digest(answer)


def load(clients: int, minutes: float, compared: int) -> int:
    """Print the table; 0 where nothing was wrong."""
    seen, lock = Seen(), threading.Lock()
    with tempfile.TemporaryDirectory() as name, server(Path(name)) as (address, process):
        over_http(address, 0, "find-red", "10.9.9.9")
        before, until = memory(process), time.monotonic() + 60 * minutes
        with ThreadPoolExecutor(clients) as threads:
            work = [threads.submit(client, each, address, until, Path(name), seen, lock) for each in range(clients)]
            while not all(each.done() for each in work):
                seen.memory.append(memory(process))
                time.sleep(1.0)
            for each in work:
                each.result()
    half = seen.memory[len(seen.memory) // 2 :]
    print(f"| {clients} clients, {minutes:g} minutes | answered | p50 s | p95 s |\n|---|---|---|---|")
    for door, seconds in seen.seconds.items():
        if len(seconds) > 1:
            p95 = statistics.quantiles(seconds, n=20)[-1]
            print(f"| {door} | {len(seconds)} | {statistics.median(seconds):.2f} | {p95:.2f} |")
    print(f"refused with 429: {seen.refused}; other errors: {sum(seen.errors.values())}")
    for words, times in seen.errors.most_common(5):
        print(f"  {times} × {words}")
    print(
        f"memory: {before / MIB:.0f} MiB before, at most {max(seen.memory) / MIB:.0f}; over the second half "
        f"{half[0] / MIB:.0f} → {half[-1] / MIB:.0f} MiB"
    )
    pairs = sorted(seen.answers)
    chosen = random.Random(0).sample(pairs, min(compared, len(pairs)))
    with tempfile.TemporaryDirectory() as name, server(Path(name)) as (address, _):
        same = sum(digest(over_http(address, *pair, "10.9.9.9")) == seen.answers[pair] for pair in chosen)
    print(f"the same alone, on a fresh server: {same} of {len(chosen)} bit for bit")
    return int(bool(seen.errors) or same < len(chosen))


def soak(analyses: int) -> int:
    """Print the server's memory over so many analyses; 0 where it grew by at most 50 MiB after the first 100."""
    with tempfile.TemporaryDirectory() as name, server(Path(name)) as (address, process):
        first = 0
        print("| analyses | MiB |\n|---|---|")
        for turn in range(1, analyses + 1):
            over_http(address, turn, random.Random(turn).choice(ADAPTERS), "10.9.9.9")
            if turn == 100:
                first = memory(process)
            if turn % max(100, analyses // 10) == 0 or turn == 100:
                print(f"| {turn} | {memory(process) / MIB:.0f} |", flush=True)
        grown = memory(process) - first
    print(f"grown after the first 100: {grown / MIB:.1f} MiB")
    return int(grown > 50 * MIB)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clients", type=int, default=32)
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--compared", type=int, default=100, help="answers that are asked again alone")
    parser.add_argument("--soak", type=int, default=0, help="analyses one after another, instead of the load")
    given = parser.parse_args()
    sys.exit(soak(given.soak) if given.soak else load(given.clients, given.minutes, given.compared))
