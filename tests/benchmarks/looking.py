"""How fast a look is, in Chromium: the page of this version beside that of an earlier one, in one run.

    python -m tests.benchmarks.looking                        # this version
    python -m tests.benchmarks.looking --before /tmp/older    # and a checkout of an earlier one
    python -m tests.benchmarks.looking --analyses 200         # memory of tab and server over as many analyses

A step is measured in the browser: from the slider's event to the frame after all panes show the new layer. The
recording is that of `looking_server.py`: 36 layers × 32 heads × 34 × 60 cells, 64 tokens, a photo of 1,920 × 1,080.
"""

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil

ROOT = Path(__file__).parents[2]
SERVER = Path(__file__).with_name("looking_server.py")
ARGUMENTS = (
    "--no-sandbox --disable-gpu --disable-background-networking --disable-component-update --disable-sync "
    "--no-first-run --enable-precise-memory-info --js-flags=--expose-gc"
)
#: Waits in the browser until every picture shows a layer; both versions' pages say which one theirs do.
PAINTED = """
async ([name, value, key]) => {
  const pictures = () => [...document.querySelectorAll(".lav-viewer canvas[data-layer], .lav-pane img")];
  const slider = document.querySelector('input[type=range][data-choice="layer"]');
  const before = pictures().map((picture) => picture.src);
  const done = () => {
    const shown = pictures();
    if (!shown.length) return false;
    if (shown[0].tagName === "IMG") return shown.every((picture, at) => picture.src !== before[at] && picture.complete);
    return shown.every((picture) => picture.dataset[name] === String(value));
  };
  const begin = performance.now();
  slider.value = value;
  slider.dispatchEvent(new Event("input", { bubbles: true }));
  while (!done()) {
    if (performance.now() - begin > 20000) throw new Error("never painted " + value);
    await new Promise((go) => { const channel = new MessageChannel(); channel.port1.onmessage = go; channel.port2.postMessage(0); });
  }
  await new Promise((go) => requestAnimationFrame(() => { const channel = new MessageChannel(); channel.port1.onmessage = go; channel.port2.postMessage(0); }));
  return performance.now() - begin;
}
"""


@contextmanager
def server(root: Path, folder: Path) -> Iterator[tuple[str, Path, psutil.Process]]:
    """A version's page over the synthetic recording: its address, the answers' clock, its process."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    clock = folder / f"clock-{port}"
    environment = os.environ | {"PYTHONPATH": str(root), "HF_HUB_OFFLINE": "1", "GRADIO_TEMP_DIR": str(folder)}
    process = subprocess.Popen(
        [sys.executable, str(SERVER), str(port), str(clock)],
        cwd=root,
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        address = f"http://127.0.0.1:{port}"
        _wait_for(address + "/api/adapters")
        yield address, clock, psutil.Process(process.pid)
    finally:
        process.terminate()
        process.wait(20)
