"""How large a report is and what takes the room, how long it takes to write, and how soon it shows its first picture.

    python -m tests.benchmarks.report_size                    # base + 1 adapter, 36 layers × 32 heads × 32 × 32 cells
    python -m tests.benchmarks.report_size --variants 5       # what is left out then

The recording is random numbers of Qwen3-VL-8B's shape, `tests.benchmarks.stack_body`: float32 noise, which no packing
makes smaller than its own bits. `as it is` is what the same numbers take in base64 without packing, and `deflated` if
only deflate packs them. The photo is 1,920 × 1,080 with some grain. The first picture is timed from the start of the
navigation in a fresh Chromium without a network, file on disk, median and worst of the runs; without Chromium the line
says so.
"""

import argparse
import json
import shutil
import statistics
import tempfile
import time
import zlib
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
from PIL import Image

from inference.records import Comparison
from tests.benchmarks.stack_body import synthetic
from tests.visualize.report_read import Page
from visualize import StackChoice, notebook_html, report_html, stack_body


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--variants", type=int, default=2)
    parser.add_argument("--layers", type=int, default=36)
    parser.add_argument("--heads", type=int, default=32)
    parser.add_argument("--grid", type=int, nargs=2, default=(32, 32), metavar=("HEIGHT", "WIDTH"))
    parser.add_argument("--tokens", type=int, default=64)
    parser.add_argument("--runs", type=int, default=5)
    options = parser.parse_args()
    grid = (options.grid[0], options.grid[1])
    shown = synthetic(options.variants, options.layers, options.heads, grid, options.tokens)
    shown = replace(shown, image=_photo())
    start = time.process_time()
    html = report_html(shown)
    seconds = time.process_time() - start
    page = Page(html)
    print("| part | MB | as it is | deflated |")
    print("|---|---|---|---|")
    for name, sizes in _parts(shown, page).items():
        print(f"| {name} | " + " | ".join(f"{size / 1e6:.2f}" if size else "" for size in sizes) + " |")
    print(f"| **report** | **{len(html.encode()) / 1e6:.2f}** | | |")
    print(f"| in a notebook | {len(notebook_html(shown).encode()) / 1e6:.2f} | | |\n")
    print(f"Written in {seconds:.1f} s of CPU.", *page.texts[-3:], _first_picture(html, options.runs), sep="\n\n")


def _photo() -> np.ndarray:
    rng = np.random.default_rng(0)
    smooth = Image.fromarray(rng.integers(0, 256, (9, 16, 3), dtype=np.uint8)).resize((1_920, 1_080), 3)
    return (np.asarray(smooth) * 0.8 + rng.normal(25, 6, (1_080, 1_920, 3))).clip(0, 255).astype(np.uint8)


def _parts(shown: Comparison, page: Page) -> dict[str, list[int]]:
    """Bytes of each part, and what the same numbers take in base64: not packed, and only deflated."""
    about = page.about()
    parts: dict[str, Counter[int]] = {}
    for text, packed in page.numbers("stack").items():
        key = json.loads(text)
        token = tuple(key["token"]) if isinstance(key["token"], list) else key["token"]
        body = stack_body(shown, StackChoice(token, key["head"], key["view"], key["window"], key["against"]))
        name = "head mean of the tokens" if key["head"] == "mean" and key["view"] == "raw" else "other views"
        name = name if key["head"] == "mean" else "every head of the focus"
        name = "windows of layers" if key["window"] else name
        sizes = enumerate([len(packed), len(body) * 4 // 3, len(zlib.compress(body, 9)) * 4 // 3])
        parts.setdefault(name, Counter()).update(dict(sizes))
    viewer = len(page.script()) + sum(len(text) for tag, _, text in page.data if tag == "style")
    return {
        **{name: [sizes[column] for column in range(3)] for name, sizes in parts.items()},
        "order of the heads": [sum(map(len, page.numbers("heads").values()))],
        "scene": [len(json.dumps(about["scene"]))],
        "photo": [len(about["photo"])],
        "viewer": [viewer],
    }


def _first_picture(html: str, runs: int) -> str:
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    if chromium is None:
        return "There is no Chromium here to time the first picture in."
    from playwright.sync_api import sync_playwright

    times = []
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        path = Path(folder, "report.html")
        path.write_text(html, encoding="utf-8")
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox", "--disable-gpu"])
        for _ in range(runs):
            context = browser.new_context(viewport={"width": 1440, "height": 900}, offline=True)
            opened = context.new_page()
            opened.goto(path.as_uri(), wait_until="commit")
            opened.wait_for_selector("canvas[data-key]")
            times.append(opened.evaluate("performance.now()"))
            context.close()
        browser.close()
    return f"First picture after {statistics.median(times):.0f} ms, at most {max(times):.0f} ms ({runs} runs)."


if __name__ == "__main__":
    main()
