"""What the way through Modal costs: time over the local way, bytes per analysis, the timeline, and how soon Stop stops.

    python -m tests.benchmarks.modal_path

The real client, command line and container entry point talk to the stand-in of the tests, on this machine: what is
measured is packing, queue, blobs and processes, without a network and without a GPU. Sizes are those of Qwen3-VL-8B's
records (36 layers × 32 heads) from a random-weight model of these counts, base and one adapter, 16 answer tokens.
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).parents[2]
GRIDS = {1_024: (32, 32), 2_040: (34, 60)}
ANSWER = tuple(range(70, 86))


def deployed(cloud, app: str, **variables: str) -> None:
    environment = os.environ | cloud.client_env() | {"VISUALIZER_MODAL_MOUNT": str(cloud.mount_root)}
    environment |= {"VISUALIZER_MODAL_APP": app, "VISUALIZER_MODEL": "demo"}
    environment |= {f"VISUALIZER_{name}": value for name, value in variables.items()}
    command = [sys.executable, "-m", "modal", "deploy", "-m", "inference.remote"]
    subprocess.run(command, cwd=ROOT, env=environment, check=True, capture_output=True)


def overhead(remote, local, runs: int) -> None:
    from inference import Request
    from inference.demo import EXAMPLE_SCENES

    request = Request(EXAMPLE_SCENES[0].draw().image, "Describe the image.", adapters=(None, "find-red"))
    seconds: dict[str, list[float]] = {"local": [], "through Modal": []}
    for run in range(runs + 2):  # the first two of each warm up
        for name, backend in (("local", local), ("through Modal", remote)):
            begin = time.perf_counter()
            backend.compare(request)
            if run >= 2:
                seconds[name].append(time.perf_counter() - begin)
    print(f"\nembedded model, base + one adapter, warm, median of {runs}\n")
    print("| way | seconds |\n|---|---|")
    median = {name: statistics.median(each) for name, each in seconds.items()}
    for name, value in median.items():
        print(f"| {name} | {value:.3f} |")
    print(f"| overhead | {median['through Modal'] - median['local']:.3f} |")


def timeline(remote) -> None:
    from inference import AnswerToken, Comparison, Request
    from inference.demo import EXAMPLE_SCENES

    print("\ntimeline of the first analysis: the container is cold\n")
    begin, last = time.perf_counter(), ""
    request = Request(EXAMPLE_SCENES[1].draw().image, "Describe the image.", adapters=(None, "find-red"))
    for event in remote.stream(request):
        if isinstance(event, Comparison):
            said = "the comparison is here"
        elif isinstance(event, AnswerToken):
            said = f"{event.adapter or 'base'}: {event.text!r}"
        else:
            said = event.sentence.partition(" (")[0]
        if said != last:
            print(f"{time.perf_counter() - begin:7.2f} s  {said}")
        last = said


def sizes(cloud, connect, folder: Path) -> None:
    from inference import Comparison, Request
    from inference.serialization import pack_request
    from tests.adapters import write_adapter
    from tests.checkpoints import write_checkpoint
    from tests.conftest import picture

    model = write_checkpoint(folder / "model", layers=36, heads=32)
    adapters = cloud.volume_folder("lora-attention-visualizer-adapters")
    write_adapter(adapters / "one", model)
    print("\nbase + one adapter, 36 layers × 32 heads, 16 answer tokens\n")
    print("| image tokens | sent as | request | result | per variant | receiving |\n|---|---|---|---|---|---|")
    for tokens, (height, width) in GRIDS.items():
        request = Request(
            picture(32 * height, 32 * width), "Describe the image.", adapters=(None, "one"), answer=ANSWER
        )
        for app, name in (("exact", "float32"), ("usual", "scaled float16")):
            received, begin = 0.0, time.perf_counter()
            for event in connect(app, str(model)).stream(request):
                if isinstance(event, Comparison):
                    received = time.perf_counter() - begin
                begin = time.perf_counter()
            assert len(event.recordings[0].tokens) >= len(ANSWER)
            result = len(cloud.last_outputs[-1].data)
            sent = len(pack_request(request))
            print(
                f"| {tokens:,} | {name} | {sent / 1e6:.1f} MB | {result / 1e6:.1f} MB | {result / 2e6:.1f} MB "
                f"| {received:.2f} s |"
            )


def stopping(connect, folder: Path) -> None:
    from inference import AnswerToken, Request
    from tests.checkpoints import write_checkpoint
    from tests.conftest import picture

    model = write_checkpoint(folder / "long", layers=12, heads=8)
    backend = connect("usual", str(model))
    backend.compare(Request(picture(96, 160), "Count.", max_new_tokens=1))
    seconds = []
    for _ in range(3):
        stream = backend.stream(Request(picture(96, 160), "Count.", max_new_tokens=256))
        for event in stream:
            if isinstance(event, AnswerToken) and event.index >= 2:
                break
        begin = time.perf_counter()
        stream.close()
        while backend.deployment.handles.engine.status.remote()["busy"]:
            pass
        seconds.append(time.perf_counter() - begin)
    print(f"\nStop during generation: the container is idle after {max(seconds):.2f} s (longest of {len(seconds)})")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=15)
    options = parser.parse_args()
    import modal

    from inference import Settings, open_backend
    from inference.cloud.backend import ModalBackend
    from inference.settings import Cloud
    from tests.modal_stand_in import run_in_thread

    with (
        tempfile.TemporaryDirectory() as folder,
        (Path(folder) / "containers.log").open("w") as log,
        run_in_thread(log=log, containers_per_function=1) as cloud,
        modal.Client(cloud.url, 1, cloud.token) as client,
    ):
        modal.Client.from_env = lambda: client
        deployed(cloud, "exact", MODAL_FLOAT32="1")
        deployed(cloud, "usual")

        def connect(app: str, model: str = "") -> ModalBackend:
            return ModalBackend(Settings(backend="modal", model=model, cloud=Cloud(modal_app=app)))

        remote, local = connect("usual"), open_backend("local", device="cpu")
        timeline(remote)
        overhead(remote, local, options.runs)
        stopping(connect, Path(folder))
        sizes(cloud, connect, Path(folder))


if __name__ == "__main__":
    main()
