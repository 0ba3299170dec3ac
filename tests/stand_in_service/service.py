"""Functions and classes to deploy to the stand-in: each shows one thing that the tests look at, kill or refuse."""

import contextlib
import importlib
import mmap
import os
import threading
import time
from pathlib import Path

import modal

HERE = Path(__file__).parent
DATA = os.environ.get("STAND_IN_DATA", "/data")  # the test sets it outside, the image inside
VERSION = os.environ.get("STAND_IN_VERSION", "1")
WAIT_SECONDS = 120  # for a word of the test, which comes

app = modal.App(os.environ.get("STAND_IN_APP", "stand-in-service"))
volume = modal.Volume.from_name("stand-in-files", create_if_missing=True)
queue = modal.Queue.from_name("stand-in-tokens", create_if_missing=True)
image = (
    modal.Image.debian_slim(python_version="3.11")
    .uv_pip_install("numpy==2.2.0")
    .env({"STAND_IN_DATA": DATA, "STAND_IN_VERSION": VERSION, "GREETING": "good day"})
    .add_local_dir(HERE / "assets", "/root/assets")
    .add_local_dir(HERE / "mounted_inference", "/root/inference")
)
named = modal.Secret.from_name("stand-in-secret")
spelled = modal.Secret.from_dict({"SPELLED": "out"})


@app.function(image=image, secrets=[named, spelled], min_containers=1)
def surroundings() -> dict[str, str]:
    """What the container sees of the app, and of the repository that it must not see."""
    seen = {name: os.environ.get(name, "") for name in ("GREETING", "NAMED", "SPELLED", "MODAL_TOKEN_ID", "PRIVATE")}
    for name in ("app", "tests", "visualize", "inference", "inference.model.engine"):
        try:
            seen[name] = str(importlib.import_module(name).__file__)
        except ModuleNotFoundError:
            seen[name] = "missing"
    return seen | {"note": (HERE / "assets" / "note.txt").read_text()}


@app.function(image=image)
def length(data: bytes) -> int:
    return len(data)


@app.function(image=image)
def zeros(size: int) -> bytes:
    return bytes(size)


@app.function(image=image)
def steps(count: int):
    for step in range(count):
        time.sleep(0.01)
        yield step


@app.function(image=image, max_containers=2)
def nap(seconds: float, name: str = "") -> str:
    """Sleep; say in the queue's partition `name` that it began, and how it ended."""
    try:
        if name:  # whoever hears it may cancel before this returns, and a wait of Modal's client may swallow that
            started = threading.Thread(target=queue.put, args=[("started", os.getpid())], kwargs={"partition": name})
            started.start()
        time.sleep(seconds)
    except modal.exception.InputCancellation:
        queue.put(("cancelled", os.getpid()), partition=name)
        raise
    return VERSION


@app.function(image=image, max_containers=2)
def wait(name: str) -> str:
    """Say in the queue's partition `name` that it began, and end when something is put into `name`-go."""
    queue.put(("started", os.getpid()), partition=name)
    queue.get(partition=f"{name}-go", timeout=WAIT_SECONDS)
    return VERSION


@app.function(image=image, timeout=1)
def too_slow() -> None:
    time.sleep(60)


@app.function(image=image, max_containers=3)
def divide(divisor: int) -> tuple[float, int]:
    return 1 / divisor, os.getpid()


@app.function(
    image=image,
    gpu=["H100", "A100-80GB:2"],
    timeout=120,
    startup_timeout=240,
    scaledown_window=30,
    max_containers=1,
    enable_memory_snapshot=True,
    volumes={DATA: volume},
)
def on_gpu() -> str:
    return "ran"


@app.function(image=image, timeout=600)
def on_time() -> None:
    time.sleep(600)


@app.function(image=image, max_containers=1)
def count(name: str, numbers: int) -> str:
    """Put the numbers into the queue's partition, one by one."""
    for number in range(numbers):
        queue.put(number, partition=name)
    return VERSION


@app.function(image=image)
def answer(name: str) -> None:
    """Put back, doubled, what comes through the queue, until a None."""
    while (item := queue.get(partition=f"{name}-in", timeout=WAIT_SECONDS)) is not None:
        queue.put(item * 2, partition=f"{name}-out")


@app.function(image=image, volumes={DATA: volume})
def write(name: str, text: str, commit: bool = True) -> None:
    Path(DATA, name).write_text(text)
    if commit:
        volume.commit()


@app.function(image=image, volumes={DATA: volume})
def read(name: str, reload: bool = True) -> str:
    """The file's text, or "missing"."""
    if reload:
        volume.reload()
    path = Path(DATA, name)
    return path.read_text() if path.exists() else "missing"


@app.function(image=image, volumes={DATA: volume})
def reload_while_it_is_used(name: str, how: str) -> str:
    """What a reload says while the file is open or mapped."""
    with Path(DATA, name).open("rb") as file, contextlib.ExitStack() as held:
        if how == "mapped":
            held.enter_context(mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ))
            file.close()
        try:
            volume.reload()
        except RuntimeError as error:
            return str(error)
    return ""


@app.cls(image=image, max_containers=2)
class Counter:
    start: int = modal.parameter(default=0)

    @modal.enter()
    def load(self) -> None:
        self.offset = self.start * 1000

    @modal.method()
    def add(self, number: int) -> int:
        return self.offset + number

    @modal.method()
    def up(self, count: int):
        for number in range(count):
            yield self.offset + number


@app.cls(image=image)
class Broken:
    @modal.enter()
    def load(self) -> None:
        raise ValueError("the weights are missing")

    @modal.method()
    def run(self) -> None: ...


@app.local_entrypoint()
def main(count: int = 2) -> None:
    print("total", sum(length.map([b"x" * n for n in range(count)])))
    show.remote("hello from the container")


@app.function(image=image)
def show(text: str) -> None:
    print(text, flush=True)
