"""How fast a look is, in Chromium: the page of this version beside that of an earlier one, in one run.

    python -m tests.benchmarks.looking                        # this version
    python -m tests.benchmarks.looking --before /tmp/older    # and a checkout of an earlier one
    python -m tests.benchmarks.looking --analyses 200         # memory of tab and server over as many analyses

A step is measured in the browser: from the event to the end of the frame in which all panes show what was chosen. The
recording is that of `looking_server.py`: 36 layers × 32 heads × 34 × 60 cells, 64 tokens, a photo of
1,920 × 1,080. Requests and bytes are those between the event and the picture.
"""

import argparse
import os
import random
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path

import numpy as np
import psutil
from PIL import Image
from playwright.sync_api import Browser, CDPSession, Page, sync_playwright

ROOT = Path(__file__).parents[2]
SERVER = Path(__file__).with_name("looking_server.py")
ARGUMENTS = (
    "--no-sandbox --disable-gpu --disable-background-networking --disable-component-update --disable-sync "
    "--no-first-run --js-flags=--expose-gc"
)
LAYERS, PROMPT = 36, 24
#: Works in both versions' pages. `look(change, words)`: milliseconds until every picture's description holds `words`.
PROBE = """
window.probe = {
  pictures: () => [...document.querySelectorAll(".lav-viewer canvas[data-layer]:not([hidden] *), .lav-pane img")],
  soon: () => new Promise((go) => {
    const { port1, port2 } = new MessageChannel();
    port1.onmessage = go;
    port2.postMessage(0);
  }),
  frame: () => new Promise((go) => requestAnimationFrame(() => probe.soon().then(go))),
  says: (picture) => picture.alt ?? picture.getAttribute("aria-label") ?? "",
  async until(words) {
    const begin = performance.now();
    const done = () => {
      const shown = probe.pictures();
      const isDone = (picture) => probe.says(picture).includes(words) && picture.complete !== false;
      return shown.length > 0 && shown.every(isDone);
    };
    while (!done()) {
      if (performance.now() - begin > 30000) throw new Error("never painted: " + words);
      await probe.soon();
    }
    // a canvas is painted at the end of the frame that drew it, before any message comes; an image takes another frame
    if (probe.pictures()[0].tagName === "IMG") await probe.frame();
  },
  async look(change, words) {
    const begin = performance.now();
    if ("layer" in change) {
      const slider = document.querySelector('input[type=range][data-choice="layer"]');
      slider.value = change.layer;
      slider.dispatchEvent(new Event("input", { bubbles: true }));
    } else (attentionPage.viewer ?? attentionPage).choose(change);
    await probe.until(words);
    return performance.now() - begin;
  },
};
"""


@contextmanager
def server(root: Path, folder: Path) -> Iterator[tuple[str, Path, psutil.Process]]:
    """A version's page over the synthetic recording: its address, the answers' clock, its process."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    clock = folder / f"clock-{port}"
    environment = os.environ | {"PYTHONPATH": str(root), "HF_HUB_OFFLINE": "1", "GRADIO_TEMP_DIR": str(folder)}
    with (folder / f"server-{port}.log").open("w") as log:
        process = subprocess.Popen(
            [sys.executable, str(SERVER), str(port), str(clock)], cwd=root, env=environment, stdout=log, stderr=log
        )
    try:
        address = f"http://127.0.0.1:{port}"
        _wait_for(address + "/api/adapters")
        yield address, clock, psutil.Process(process.pid)
    finally:
        process.terminate()
        process.wait(20)


class Tab:
    """One open page with a result in it, and what it asked the server for."""

    def __init__(self, browser: Browser, address: str, photo: Path, ratio: int, delay: float = 0) -> None:
        self.context = browser.new_context(viewport={"width": 1_440, "height": 900}, device_scale_factor=ratio)
        self.page: Page = self.context.new_page()
        self.asked, self.bytes = 0, 0
        self.wire: CDPSession = self.context.new_cdp_session(self.page)
        self.wire.send("Network.enable")
        self.wire.on("Network.requestWillBeSent", lambda event: self._count(event["request"]["url"]))
        self.wire.on("Network.loadingFinished", lambda event: self._add(event["encodedDataLength"]))
        self.page.add_init_script(PROBE)
        self.page.goto(address)
        self.page.wait_for_selector(".lav-ready")
        self.page.set_input_files("#photo input[type=file]", photo)
        self.page.wait_for_selector("#photo img")
        if delay:
            conditions = {"offline": False, "latency": delay, "downloadThroughput": -1, "uploadThroughput": -1}
            self.wire.send("Network.emulateNetworkConditions", conditions)

    def _count(self, url: str) -> None:
        if not url.startswith(("data:", "blob:")) and "heartbeat" not in url:
            self.asked += 1

    def _add(self, count: int) -> None:
        self.bytes += count

    def memory(self) -> float:
        """Bytes that live objects and their buffers take, after what nobody holds any more is gone."""
        self.page.wait_for_timeout(1_500)  # what is fetched ahead is here
        for _ in range(3):
            self.wire.send("HeapProfiler.collectGarbage")
        usage = self.wire.send("Runtime.getHeapUsage")
        return float(usage["usedSize"] + usage.get("backingStorageSize", 0))

    def analyze(self, prompt: str) -> None:
        """Ask, and wait until the result is painted."""
        self.page.fill("#prompt textarea", prompt)
        self.page.click("#go")
        self.page.evaluate("probe.until('layer')")

    def steps(self, changes: list[tuple[dict[str, object], str]]) -> tuple[list[float], float, float]:
        """Milliseconds of each change; requests and kilobytes per change."""
        self.page.wait_for_timeout(1_500)  # what is fetched ahead is not the step's
        asked, received = self.asked, self.bytes
        times = [self.page.evaluate("([change, words]) => probe.look(change, words)", list(step)) for step in changes]
        self.page.wait_for_timeout(50)
        return times, (self.asked - asked) / len(changes), (self.bytes - received) / len(changes) / 1e3


def layer_steps(count: int, seed: int) -> list[tuple[dict[str, object], str]]:
    """Random layers, none twice in a row, as somebody drags the slider."""
    dice, layers = random.Random(seed), [0]
    while len(layers) <= count:
        layers += [layer for layer in [dice.randrange(LAYERS)] if layer != layers[-1]]
    return [({"layer": layer}, f"layer {layer} ") for layer in layers[1:]]


def measure(browser: Browser, root: Path, folder: Path, photo: Path) -> dict[str, str]:
    """The table's cells of one version."""
    cells = {}
    with server(root, folder) as (address, clock, _):
        for ratio, delay in ((1, 0), (2, 0), (1, 200)):
            tab = Tab(browser, address, photo, ratio, delay)
            if not delay:
                cells[f"result ready to first picture, ratio {ratio}"] = _first_picture(tab, clock, f"first {ratio}?")
            else:
                tab.analyze(f"delayed {delay}?")
            name = f"layer step, ratio {ratio}" + (f", {delay} ms added per request" if delay else "")
            cells[name] = _line(*tab.steps(layer_steps(60 if not delay else 20, ratio)))
            if not delay:
                cells |= _others(tab, ratio)
            tab.context.close()
    return cells


def _others(tab: Tab, ratio: int) -> dict[str, str]:
    """Another token, head and view, for the first time and again; playing."""
    tokens = [({"token": token}, f"token {token} ") for token in range(30, 62, 3)]
    back = [({"token": PROMPT}, f"token {PROMPT} ")]
    heads = [({"head": head}, f"head {head} ") for head in range(1, 32, 3)]
    views = [({"view": view}, f"view {view} ") for view in ("sink-masked", "contrast")]
    cells = {
        f"another token, ratio {ratio}": _line(*tab.steps(tokens)),
        f"another token again, ratio {ratio}": _line(*tab.steps(tokens[::-1])),
        f"back to the recorded token, ratio {ratio}": _line(*tab.steps(back)),
        f"another head, ratio {ratio}": _line(*tab.steps(heads)),
        f"another head again, ratio {ratio}": _line(*tab.steps(heads[::-1])),
        f"another view, ratio {ratio}": _line(*tab.steps([({"head": "mean"}, "head mean "), *views])),
    }
    tab.steps([({"view": "raw"}, "view raw "), ({"layer": 0}, "layer 0 ")])
    if tab.page.query_selector(".lav-rate select"):
        cells[f"playing at 30 a second, ratio {ratio}"] = _played(tab)
    return cells


def _played(tab: Tab) -> str:
    """Frames a second over two rounds of all layers, and how many frames showed layers that did not belong together."""
    tab.page.select_option(".lav-rate select", "30")
    shown = tab.page.evaluate(
        """async (steps) => {
          const seen = [], panes = probe.pictures();
          document.querySelector(".lav-play").click();
          let last = null, mixed = 0, begin = 0;
          while (seen.length < steps) {
            await probe.frame();
            const layers = new Set(panes.map((pane) => pane.dataset.layer));
            layers.add(document.querySelector('input[data-choice="layer"]').value);
            mixed += layers.size > 1;
            const [layer] = layers;
            if (layer !== last) { seen.push([performance.now(), Number(layer)]); last = layer; }
          }
          document.querySelector(".lav-play").click();
          return [seen, mixed];
        }""",
        2 * LAYERS,
    )
    seen, mixed = shown
    rate = (len(seen) - 1) / (seen[-1][0] - seen[0][0]) * 1e3
    wrong = sum((after[1] - before[1]) % LAYERS != 1 for before, after in pairwise(seen))
    return f"{rate:.1f} a second, {wrong} skipped or repeated, {mixed} frames of a wrong layer"


def _first_picture(tab: Tab, clock: Path, prompt: str) -> str:
    tab.page.fill("#prompt textarea", prompt)
    received = tab.bytes
    tab.page.click("#go")
    tab.page.evaluate("probe.until('layer')")
    painted = tab.page.evaluate("performance.timeOrigin + performance.now()") / 1e3
    kilobytes = (tab.bytes - received) / 1e3
    return f"{(painted - float(clock.read_text())) * 1e3:.0f} ms, {kilobytes:,.0f} kB"


def memory(browser: Browser, root: Path, folder: Path, photo: Path, analyses: int) -> None:
    """Print memory of tab and server as analyses go by."""
    with server(root, folder) as (address, _, process):
        tab = Tab(browser, address, photo, 1)
        sys.stdout.write(f"{'analyses':>10}{'tab MB':>10}{'server MB':>12}\n")
        for count in range(1, analyses + 1):
            tab.page.fill("#prompt textarea", f"question {count}?")
            tab.page.click("#go")
            tab.page.wait_for_function(
                "count => probe.asked === count || attentionPage.shown !== probe.shown", arg=count
            )
            tab.page.evaluate("probe.shown = attentionPage.shown")
            tab.page.evaluate("probe.until('layer')")
            if count in (1, 2, 5) or count % 20 == 0:
                heap = tab.memory()
                used = process.memory_info().rss
                sys.stdout.write(f"{count:10d}{heap / 1e6:10.1f}{used / 1e6:12.0f}\n")
                sys.stdout.flush()
        tab.context.close()


def _line(times: list[float], asked: float, kilobytes: float) -> str:
    p95 = float(np.percentile(times, 95))
    return f"{statistics.median(times):6.1f} {p95:6.1f} ms, {asked:.1f} requests, {kilobytes:,.0f} kB"


def _wait_for(address: str) -> None:
    until = time.monotonic() + 60
    while time.monotonic() < until:
        try:
            with urllib.request.urlopen(address, timeout=10):
                return
        except (urllib.error.URLError, OSError):
            time.sleep(0.1)
    raise TimeoutError(address)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--before", type=Path, help="a checkout of an earlier version")
    parser.add_argument("--analyses", type=int, default=0)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name, sync_playwright() as playwright:
        folder = Path(name)
        photo = folder / "photo.png"
        noise = np.random.default_rng(0).integers(0, 255, (135, 240, 3), dtype=np.uint8)
        Image.fromarray(noise).resize((1_920, 1_080), Image.Resampling.BICUBIC).save(photo)
        path = os.environ.get("CHROMIUM") or shutil.which("chromium") or "chromium"
        browser = playwright.chromium.launch(executable_path=path, args=ARGUMENTS.split())
        if arguments.analyses:
            memory(browser, ROOT, folder, photo, arguments.analyses)
            return
        now = measure(browser, ROOT, folder, photo)
        before = measure(browser, arguments.before.resolve(), folder, photo) if arguments.before else {}
        sys.stdout.write(f"{'median and 95th percentile':<50}{'now':<44}{'before' if before else ''}\n")
        for row, cell in now.items():
            sys.stdout.write(f"{row:<50}{cell:<44}{before.get(row, '')}\n")


if __name__ == "__main__":
    main()
