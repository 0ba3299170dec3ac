"""The viewer in a real Chromium, against the records: what is painted, what is said, what a late answer may not do."""

import base64
import itertools
import re
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pytest
from matplotlib import colormaps
from matplotlib.colors import Normalize
from numpy.typing import NDArray
from playwright.sync_api import Browser, Error, Locator, Page, expect

from inference.measures import box_share
from inference.records import Comparison
from tests.browser.conftest import borrowed_page
from tests.browser.viewer_page import ViewerServer, serve
from tests.conftest import wait_until
from tests.visualize.factory import MODEL, comparison, photo, recording, tokens, with_sinks
from visualize import box_scores, number
from visualize.numbers.stack import Stack, stack
from visualize.numbers.views import View
from visualize.pictures.overlay import overlay
from visualize.stacks.changes import changes_json
from visualize.stacks.head_changes import head_changes_json
from visualize.stacks.map_bytes import scales_of
from visualize.stacks.scene import scene_json

pytestmark = [pytest.mark.browser, pytest.mark.slow]

FIRST = 7  # index of the first answer token of the factory's tokens
HOSTILE = "<img src=x onerror='globalThis.owned=1'>"
#: Where the layers' maps stand on the strip's canvas: left, top, width, height of each.
PLACES = """(canvas) => {
    const { left, top } = canvas.getBoundingClientRect();
    return [...document.querySelectorAll(".lav-layer-cell .lav-thumb")].map((place) => {
        const box = place.getBoundingClientRect();
        return [box.left - left, box.top - top, box.width, box.height];
    });
}"""
SETTLED = "() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))"


def settle(page: Page) -> None:
    """Until what was chosen is drawn, where its numbers are there."""
    page.evaluate(SETTLED)


@dataclass
class Opened:
    """A page with a viewer on it, and the server behind it."""

    page: Page
    server: ViewerServer
    complaints: list[str] = field(default_factory=list)

    def choose(self, **change: object) -> None:
        """Change the choice as any control does."""
        self.page.evaluate("(change) => viewer.choose(change)", change)
        settle(self.page)

    def choice(self, name: str) -> Any:
        """One part of what is chosen."""
        return self.page.evaluate("(name) => viewer.choice()[name]", name)

    def canvases(self) -> Locator:
        """The pictures."""
        return self.page.locator(".lav-canvas:visible")

    def drawn(self, name: str) -> list[str]:
        """What each picture says of itself."""
        values: list[str] = self.canvases().evaluate_all(
            "(all, name) => all.map((one) => one.getAttribute(`data-${name}`))", name
        )
        return values

    def pixels(self, index: int) -> NDArray[np.uint8]:
        """A picture as it stands on its canvas, `(height, width, 3)`."""
        return pixels_of(self.canvases().nth(index))


def pixels_of(canvas: Locator) -> NDArray[np.uint8]:
    """What stands on a canvas, `(height, width, 3)`."""
    size, text = canvas.evaluate(
        """(canvas) => {
            const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
            let text = "";
            for (let at = 0; at < data.length; at += 8192) text += String.fromCharCode(...data.subarray(at, at + 8192));
            return [[canvas.height, canvas.width], btoa(text)];
        }"""
    )
    return np.frombuffer(base64.b64decode(text), np.uint8).reshape(*size, 4)[..., :3]


def opened(
    browser: Browser, shown: Comparison, families: dict[str, tuple[str, int]] | None = None, *, density: int = 1
) -> Iterator[Opened]:
    with serve(shown, families) as server, borrowed_page(browser, height=1000, density=density) as page:
        visit = Opened(page, server)

        def complain(error: Error) -> None:
            visit.complaints.append(str(error))

        page.on("pageerror", complain)
        page.goto(server.address)
        page.wait_for_selector("canvas[data-key]")
        yield visit
        settle(page)
        page.remove_listener("pageerror", complain)
        assert visit.complaints == []


@pytest.fixture
def viewer(browser: Browser) -> Iterator[Opened]:
    """Base and one adapter, four layers, three heads; heads recorded for the first answer token."""
    yield from opened(browser, comparison(with_sinks(seed=3), with_sinks("find-red", seed=4)))


@pytest.fixture
def several(browser: Browser) -> Iterator[Opened]:
    """Base and three adapters."""
    names = ("find-red", "counts", "7")
    yield from opened(browser, comparison(recording(), *[recording(name, seed=i + 1) for i, name in enumerate(names)]))


# ------------------------------------------------------------------------------------------------ what is painted

#: View, smooth, log, percentile, fade.
Look = tuple[str, bool, bool, int, bool]
VIEWS = ("raw", "sink-masked", "contrast")
WAYS = tuple(itertools.product((True, False), (False, True), (100, 95), (False, True)))  # smooth, log, percentile, fade
#: Every way to draw one view, and some of each other: a view changes the numbers, not how they are drawn.
LOOKS = [(view, *way) for number, view in enumerate(VIEWS) for way in WAYS[number :: 5 if number else 1]]


def drawn_by_python(shown: Comparison, numbers: Stack, index: int, *, opacity: float, smooth: bool, fade: bool) -> Any:
    """The picture of the numbers that were sent: float16 times a power of two."""
    pane = (*numbers.variants, *numbers.differences)[index]
    scale = scales_of(pane.maps)[0]
    sent = (pane.maps[0] / scale).astype("<f2").astype(np.float32) * np.float32(scale)
    return np.asarray(
        overlay(
            shown.image,
            sent,
            pane.limits[0],
            opacity=opacity,
            smooth=smooth,
            fade=fade and index == len(numbers.variants),
            hidden=numbers.hidden(0),
        ),
        dtype=np.int16,
    )


@pytest.mark.parametrize("size", [(400, 600), (1024, 97), (3, 2000)], ids=lambda size: f"{size[1]} × {size[0]}")
def test_the_canvas_shows_what_python_draws(browser: Browser, size: tuple[int, int]) -> None:
    shown = comparison(with_sinks(seed=3), with_sinks("find-red", seed=4), image=photo(size))
    worst = 0
    for visit in opened(browser, shown):
        visit.page.add_style_tag(
            content=f".lav-viewer .lav-frame {{ width: {size[1]}px; height: {size[0]}px; aspect-ratio: auto; }}"
        )
        for view, smooth, log, percentile, fade in LOOKS:
            opacity = (0.6, 1.0)[(smooth + log + (percentile < 100) + fade) % 2]
            visit.choose(
                view=view,
                smooth=smooth,
                log=log,
                percentile=percentile,
                fade=fade,
                opacity=opacity,
                layer=1,
                marks=False,
            )
            expect(visit.page.locator(".lav-where")).to_contain_text(f"{view} view")
            settle(visit.page)
            numbers = stack(shown, visit.choice("token"), view=view, layers=(1,), log=log, percentile=percentile)
            for index in range(3):
                truth = drawn_by_python(shown, numbers, index, opacity=opacity, smooth=smooth, fade=fade)
                pixels = visit.pixels(index)
                assert pixels.shape == truth.shape
                difference = int(np.abs(pixels - truth).max())
                worst = max(worst, difference)
                assert difference <= 2, (view, smooth, log, percentile, fade, index)
    assert worst > 0  # two roads: floats of another width, another way to blend


def test_marks_stand_where_python_puts_them(viewer: Opened) -> None:
    page = viewer.page
    page.add_style_tag(content=".lav-viewer .lav-frame { width: 500px; height: 300px; aspect-ratio: auto; }")
    viewer.choose(layer=1, marks=False, opacity=0)
    bare = viewer.pixels(0).astype(np.int16)
    viewer.choose(marks=True)
    changed = np.abs(viewer.pixels(0) - bare).max(axis=2) > 30
    numbers = stack(viewer.server.comparison, viewer.choice("token"), layers=(1,))
    rows, columns = numbers.sinks.shape[1:]
    marked = {tuple(cell) for cell in np.argwhere(numbers.sinks[0])} | {numbers.variants[0].peaks[0]}
    for row, column in itertools.product(range(rows), range(columns)):
        cell = changed[row * 100 + 40 : row * 100 + 61, column * 100 + 40 : column * 100 + 61]  # around its centre
        assert cell.any() == ((row, column) in marked), (row, column)


@pytest.mark.parametrize("view", ["raw", "sink-masked"])
def test_the_strip_shows_each_layers_map_where_that_layer_stands(viewer: Opened, view: View) -> None:
    """The difference, on the scale of the largest cell of all layers, at any width; hidden cells in grey."""
    for width, head in ((1440, "mean"), (1000, "mean"), (390, "mean"), (1440, 1)):
        viewer.choose(head=head, view=view)
        viewer.page.set_viewport_size({"width": width, "height": 1000})
        numbers = stack(viewer.server.comparison, viewer.choice("token"), head=head, view=view)
        (difference,) = numbers.differences
        hidden = [numbers.hidden(layer) for layer in range(4)]
        masked = np.ma.array(difference.maps, mask=np.ma.nomask if hidden[0] is None else np.stack(hidden))
        expected = colormaps["RdBu_r"](Normalize(-np.abs(masked).max(), np.abs(masked).max())(masked))[..., :3] * 255
        expected[np.ma.getmaskarray(masked)] = 0x88
        until_the_strip_shows(viewer, expected)


@pytest.mark.parametrize("density", [1, 2])
def test_a_strip_of_many_layers_shows_each_where_it_stands_in_its_row(browser: Browser, density: int) -> None:
    """As many rows as the layers need, one row that scrolls on a narrow screen; also where a pixel is four."""
    layers = 37
    shown = comparison(
        *(recording(name, seed=seed, layers=layers) for seed, name in enumerate((None, "find-red"))),
        model=replace(MODEL, num_layers=layers),
    )
    for visit in opened(browser, shown, density=density):
        (difference,) = stack(shown, visit.choice("token")).differences
        top = np.abs(difference.maps).max()
        expected = colormaps["RdBu_r"](Normalize(-top, top)(difference.maps))[..., :3] * 255
        for width, rows in ((390, range(1, 2)), (760, range(3, 7)), (1440, range(2, 5))):
            visit.page.set_viewport_size({"width": width, "height": 1000})
            until_the_strip_shows(visit, expected, density)
            places = visit.page.locator(".lav-layer-maps").evaluate(PLACES)
            assert len({round(top) for _, top, _, _ in places}) in rows


def until_the_strip_shows(visit: Opened, expected: NDArray[np.float64], density: int = 1) -> None:
    """Until each layer's colours, `(layers, grid_h, grid_w, 3)`, stand at that layer's place on the strip's canvas."""

    def furthest() -> float:
        settle(visit.page)
        strip = visit.page.locator(".lav-layer-maps")
        places, pixels = np.multiply(strip.evaluate(PLACES), density), pixels_of(strip).astype(float)
        found = []
        for (left, top, across, down), layer in zip(places, expected, strict=True):
            rows, columns = layer.shape[:2]
            y = (top + (np.arange(rows) + 0.5) * down / rows).astype(int)
            x = (left + (np.arange(columns) + 0.5) * across / columns).astype(int)
            if y.max() >= pixels.shape[0] or x.max() >= pixels.shape[1]:
                return np.inf  # laid for another width yet
            found.append(np.abs(pixels[np.ix_(y, x)] - layer).max())
        return float(max(found))

    wait_until(lambda: furthest() <= 6, 20)  # of 255: one colour of 256, of a value in float16


# ------------------------------------------------------------------------------------------- one layer everywhere


def test_no_chip_is_ever_without_its_share(several: Opened) -> None:
    """Chips are made anew for another adapter, and filled before anybody sees them."""
    empty = several.page.evaluate(
        """async (adapters) => {
            let empty = 0;
            for (const adapter of adapters) {
                viewer.choose({ adapter });
                for (let frame = 0; frame < 4; frame++) {
                    await new Promise(requestAnimationFrame);
                    await new Promise((done) => setTimeout(done)); // what is drawn in this frame is there
                    const shares = [...document.querySelectorAll(".lav-rows .lav-chip small")];
                    empty += shares.length ? shares.filter((share) => !share.textContent).length : 1;
                }
            }
            return empty;
        }""",
        ["counts", "7", "find-red"],
    )
    assert empty == 0


def test_the_first_answers_are_there_before_the_pictures_and_the_next_ones_only_with_theirs(viewer: Opened) -> None:
    page = viewer.page
    page.evaluate(
        """async () => {
            const { createViewer } = await import("./viewer/viewer.js");
            const place = document.createElement("div");
            place.id = "other";
            document.querySelector("main").append(place);
            window.never = { ...source, stack: () => new Promise(() => {}) };
            createViewer(place, { auto: true }).show(scene, never, { key: "other" });
        }"""
    )
    share = viewer.server.comparison.recordings[0].by_token[FIRST, viewer.choice("layer")].sum(dtype=float)
    first = page.locator(f"#other .lav-rows [data-token='{FIRST}'] small")
    expect(first).to_contain_text(f"{100 * share:.1f}")
    assert page.locator("#other canvas[data-key]").count() == 0
    words = page.locator("#viewer .lav-rows .lav-chip .lav-text").all_inner_texts()
    page.evaluate(
        """() => {
            const tokens = scene.tokens.map((token) => ({ ...token, label: "another" }));
            viewer.show({ ...scene, tokens }, never, { key: "second", keep: true });
        }"""
    )
    settle(page)
    assert page.locator("#viewer .lav-rows .lav-chip .lav-text").all_inner_texts() == words
    keys = page.locator("#viewer .lav-canvas:visible").evaluate_all("(all) => all.map((one) => one.dataset.key)")
    assert keys == ["first"] * 3


def test_what_stands_further_off_follows_a_hand_that_does_not_rest(viewer: Opened) -> None:
    expect(viewer.page.locator(".lav-share-line b")).to_be_visible()  # once the first picture stood for a while
    seen = viewer.page.evaluate(
        """async () => {
            const seen = new Set(), begun = performance.now();
            for (let layer = 0; seen.size < 2 && performance.now() - begun < 20000; layer = (layer + 1) % 4) {
                viewer.choose({ layer });
                await new Promise(requestAnimationFrame);
                seen.add(document.querySelector(".lav-share-line b").textContent);
            }
            return [...seen];
        }"""
    )
    assert len(seen) > 1
    expect(viewer.page.locator(".lav-share-line b")).to_have_text(f"layer {viewer.choice('layer')}")


def test_it_follows_part_by_part_so_that_no_picture_waits_for_all_of_it(viewer: Opened) -> None:
    page = viewer.page
    for name in (".lav-share-line b", ".lav-matrix-current", ".lav-layer-cell[aria-pressed='true']"):
        expect(page.locator(name)).to_be_visible()
    most, *counts = page.evaluate(
        """async () => {
            const one = (name) => document.querySelector(name);
            const shown = () => [
                one(".lav-layer-cell[aria-pressed='true']").dataset.layer, // beside the pictures
                one("[style*='--lav-at']").style.getPropertyValue("--lav-at"), // chips
                one(".lav-share-line b").textContent,
                one(".lav-matrix-current").style.left,
            ];
            const counts = [0, 0, 0, 0];
            const until = performance.now() + 20000;
            let before = shown(), most = 0;
            for (let step = 1; Math.min(...counts) < 2 && performance.now() < until; step++) {
                viewer.choose({ layer: Math.floor(step * 1.3) % 4 }); // no part meets the same one each time
                await new Promise(requestAnimationFrame);
                const now = shown(), changed = now.map((text, part) => Number(text !== before[part]));
                changed.forEach((by, part) => (counts[part] += by));
                most = Math.max(most, changed.reduce((sum, by) => sum + by));
                before = now;
            }
            return [most, ...counts];
        }"""
    )
    assert min(counts) >= 2
    assert most == 1


MOVE = """async (until) => {
    const begun = performance.now();
    for (let layer = 0; !until() && performance.now() - begun < 20000; layer = (layer + 1) % 4) {
        viewer.choose({ layer });
        await new Promise(requestAnimationFrame);
    }
}"""


def test_what_stands_further_off_is_marked_while_a_hand_moves(viewer: Opened) -> None:
    page = viewer.page
    dimmed = page.evaluate(
        f"""async () => {{
            await ({MOVE})(() => document.querySelector(".lav-behind"));
            const opacity = (name) => getComputedStyle(document.querySelector(name)).opacity;
            return [".lav-of-layer", ".lav-share-line", ".lav-matrix > .lav-matrix-frame", ".lav-canvas"].map(opacity);
        }}"""
    )
    assert dimmed == ["0.5", "0.5", "0.5", "1"]
    expect(page.locator(".lav-behind")).to_have_count(0)
    expect(page.locator(".lav-share-line b")).to_have_text(f"layer {viewer.choice('layer')}")


def test_it_is_marked_no_longer_wherever_the_motion_ends(viewer: Opened) -> None:
    """Also in the very frame in which it is drawn since no rest came, and after the machine was held up."""
    page = viewer.page
    line = "document.querySelector('.lav-share-line b').textContent"
    page.wait_for_selector(".lav-share-line b")  # drawn once nothing else is
    page.evaluate(f"async () => {{ const before = {line}; await ({MOVE})(() => {line} !== before); }}")
    expect(page.locator(".lav-behind")).to_have_count(0)
    page.evaluate(
        """async () => {
            viewer.choose({ layer: 0 });
            await new Promise(requestAnimationFrame);
            viewer.choose({ layer: 1 });
            for (const begun = performance.now(); performance.now() - begun < 1100; );
        }"""
    )
    expect(page.locator(".lav-share-line b")).to_have_text("layer 1")
    page.wait_for_timeout(400)  # so long after its last move a hand rests, whatever ran late
    expect(page.locator(".lav-behind")).to_have_count(0)


def test_a_nearer_look_at_the_same_layer_marks_nothing(viewer: Opened) -> None:
    viewer.page.wait_for_timeout(500)  # what was drawn at the opening is all there
    marked = viewer.page.evaluate(
        """async () => {
            const root = document.querySelector(".lav-viewer"), begun = performance.now();
            let marked = 0;
            for (let step = 0; performance.now() - begun < 600; step++) {
                viewer.choose({ opacity: 0.4 + (step % 5) / 10 });
                await new Promise(requestAnimationFrame);
                marked += root.classList.contains("lav-behind");
            }
            return marked;
        }"""
    )
    assert marked == 0


def test_wherever_a_drag_ends_slider_pictures_caption_and_numbers_agree(viewer: Opened) -> None:
    page = viewer.page
    asked = len(viewer.server.asked)
    layers = [int(layer) for layer in np.random.default_rng(0).integers(0, 4, 50)]
    numbers = stack(viewer.server.comparison, viewer.choice("token"))
    for count, layer in enumerate(layers):
        for passed in (*layers[:count:7], layer):  # through others, without waiting for any
            page.evaluate(
                """(layer) => {
                    const slider = document.querySelector('[data-choice="layer"]');
                    slider.value = layer;
                    slider.dispatchEvent(new Event("input", { bubbles: true }));
                }""",
                passed,
            )
        settle(page)
        assert page.locator('[data-choice="layer"]').input_value() == str(layer)
        assert viewer.drawn("layer") == [str(layer)] * 3
        assert f"· layer {layer} ·" in page.locator(".lav-where").inner_text()
        assert all(f"· layer {layer} ·" in line for line in page.locator(".lav-caption:visible").all_inner_texts())
        share = numbers.variants[0].measures[layer].image_share * 100
        cell = page.locator(".lav-numbers tbody tr").first.locator("td").first.inner_text()
        assert float(cell) == pytest.approx(share, rel=5e-3)
        assert page.locator('.lav-layer-cell[aria-pressed="true"]').get_attribute("data-layer") == str(layer)
    stacks = [path for path in viewer.server.asked[asked:] if path.startswith("/stack")]
    assert len(stacks) <= 2  # the neighbours of the token, fetched ahead; never a layer


def test_a_late_stack_is_never_drawn_for_another_token(viewer: Opened) -> None:
    page = viewer.page
    page.wait_for_timeout(600)  # neighbours were fetched ahead
    viewer.server.delay = lambda path: 0.8 if "token=1&" in path else 0.0
    page.evaluate(
        """() => {
            window.seen = [];
            const note = () => seen.push(document.querySelector(".lav-canvas").dataset.token);
            new MutationObserver(note).observe(document.querySelector(".lav-canvas"), { attributes: true });
        }"""
    )
    viewer.choose(token=1)
    viewer.choose(token=3)
    expect(viewer.canvases().first).to_have_attribute("data-token", "3")
    page.wait_for_timeout(1_100)
    assert viewer.drawn("token") == ["3"] * 3
    assert "1" not in page.evaluate("seen")


def test_a_new_result_keeps_its_place_and_no_picture_of_the_old_one_stays(viewer: Opened) -> None:
    viewer.choose(layer=2, token=3, opacity=0.4)
    viewer.page.evaluate("viewer.show(scene, { ...source }, { key: 'second', keep: true })")
    expect(viewer.canvases().first).to_have_attribute("data-key", "second")
    assert viewer.drawn("key") == ["second"] * 3
    assert viewer.drawn("layer") == ["2"] * 3
    assert (viewer.choice("token"), viewer.choice("opacity")) == (3, 0.4)


# ------------------------------------------------------------------------------------------------ what is read


def test_a_hovered_cell_says_the_records_values_on_every_pane(viewer: Opened) -> None:
    page = viewer.page
    viewer.choose(layer=2)
    numbers = stack(viewer.server.comparison, viewer.choice("token"), layers=(2,))
    rows, columns = numbers.variants[0].maps.shape[1:]
    box = page.locator(".lav-frame").nth(1).bounding_box()
    assert box is not None
    for row, column in ((0, 0), (1, 3), (2, 4)):
        page.mouse.move(
            box["x"] + (column + 0.5) * box["width"] / columns, box["y"] + (row + 0.5) * box["height"] / rows
        )
        readout = page.locator(".lav-readout")
        expect(readout).to_contain_text(f"row {row}, column {column}")
        expect(page.locator(".lav-cell:visible")).to_have_count(3)
        for pane in (*numbers.variants, *numbers.differences):
            text = readout.locator(f'[data-variant="{pane.variant}"]').inner_text()
            found = re.search(r"([+−]?[\d.]+) (%|pp) #(\d+)$", text)
            assert found, text
            value = float(found[1].replace("−", "-"))
            truth = float(pane.maps[0, row, column]) * 100
            assert value == pytest.approx(truth, rel=2**-11 + 5e-3)
            sizes = np.abs(pane.maps[0])
            assert int(found[3]) == 1 + int((sizes > sizes[row, column]).sum())


def test_shift_and_a_click_shows_the_mean_over_a_range_and_says_so(viewer: Opened) -> None:
    page = viewer.page
    page.locator(f'.lav-chip[data-token="{FIRST}"]').click()
    page.locator(f'.lav-chip[data-token="{FIRST + 2}"]').click(modifiers=["Shift"])
    expect(page.locator(".lav-where")).to_contain_text(f"mean of tokens {FIRST}–{FIRST + 2}")
    assert viewer.choice("token") == [FIRST, FIRST + 2]
    expect(page.locator('.lav-chip[aria-pressed="true"]')).to_have_count(3)  # a frame after the heading


def test_a_chip_that_is_hovered_is_previewed_and_left_again(viewer: Opened) -> None:
    page = viewer.page
    page.locator(f'.lav-chip[data-token="{FIRST}"]').click()
    page.locator("h2").first.hover()
    page.locator(f'.lav-chip[data-token="{FIRST + 1}"]').hover()
    expect(viewer.canvases().first).to_have_attribute("data-token", str(FIRST + 1))
    assert viewer.choice("token") == FIRST
    page.locator("h2").first.hover()
    expect(viewer.canvases().first).to_have_attribute("data-token", str(FIRST))


def test_words_of_a_model_stay_words(browser: Browser) -> None:
    row = tokens(answer=(HOSTILE, "${1}", "‮abc"), prompt=(f" {HOSTILE}",))
    shown = comparison(recording(row=row), recording("find-red", seed=1, row=row), prompt=HOSTILE, notes=(HOSTILE,))
    for visit in opened(browser, shown):
        assert HOSTILE in visit.page.locator(".lav-chip").first.inner_text()
        assert HOSTILE in visit.page.locator(".lav-warnings").inner_text()
        assert visit.page.locator(".lav-viewer img").count() == 0
        assert visit.page.evaluate("globalThis.owned") is None
        assert visit.page.locator(".lav-chip bdi").first.get_attribute("dir") == "auto"


# ------------------------------------------------------------------------------------------------ what keys do


def test_keys_are_layers_heads_tokens_and_play(viewer: Opened) -> None:
    page = viewer.page
    page.locator(f'.lav-chip[data-token="{FIRST}"]').click()
    viewer.choose(layer=1)
    page.locator('[data-choice="layer"]').focus()
    for key, name, value in (
        ("ArrowRight", "layer", 2),
        ("ArrowLeft", "layer", 1),
        ("End", "layer", 3),
        ("ArrowDown", "head", "max"),
        ("ArrowUp", "head", "mean"),
        ("]", "token", FIRST + 1),
        ("[", "token", FIRST),
    ):
        page.keyboard.press(key)
        settle(page)
        assert viewer.choice(name) == value, key
    page.keyboard.press("Space")
    expect(page.locator(".lav-play")).to_have_attribute("aria-pressed", "true")
    expect(viewer.canvases().first).not_to_have_attribute("data-layer", "3")
    page.keyboard.press("Space")
    expect(page.locator(".lav-play")).to_have_attribute("aria-pressed", "false")


def test_up_and_down_go_through_the_heads_in_the_order_of_the_layer_that_is_shown(viewer: Opened) -> None:
    shown = comparison(with_sinks(seed=3), with_sinks("find-red", seed=4))
    orders = [[each.head for each in ranked] for ranked in stack(shown, FIRST).heads]
    here, there = next(
        (one, other) for one, other in itertools.permutations(range(4), 2) if orders[one] != orders[other]
    )
    viewer.choose(token=FIRST, head="mean", layer=here)
    passed = viewer.page.evaluate(
        """async (layer) => {
          viewer.choose({ layer });
          const isDrawn = () => document.querySelector(".lav-where").textContent.includes(`layer ${layer} `);
          while (!isDrawn()) await new Promise((drawn) => requestAnimationFrame(drawn)); // the menu of heads is not yet
          const passed = [];
          for (let press = 0; press < 12; press++) {
            document.body.dispatchEvent(new KeyboardEvent("keydown", { key: "ArrowDown", bubbles: true }));
            const { head } = viewer.choice();
            if (!passed.includes(head)) passed.push(head);
          }
          return passed;
        }""",
        there,
    )
    assert passed[0] == "max"
    assert [head for head in passed if isinstance(head, int)] == orders[there]
    last = str(orders[there][-1])
    for layer in (there, here):  # the menu follows its pictures
        viewer.choose(layer=layer)
        viewer.page.wait_for_function(
            """([order, chosen]) => {
                const menu = document.querySelector('[data-choice="head"]');
                const offered = [...menu.querySelector("optgroup:last-of-type").children].map((one) => one.value);
                return String(offered) === String(order) && menu.value === chosen;
            }""",
            arg=[orders[layer], last],
        )


def test_a_menu_keeps_its_arrows(viewer: Opened) -> None:
    viewer.choose(layer=1)
    viewer.page.locator('[data-choice="view"]').focus()
    viewer.page.keyboard.press("ArrowDown")
    settle(viewer.page)
    assert (viewer.choice("layer"), viewer.choice("head"), viewer.choice("view")) == (1, "mean", "sink-masked")


def test_all_panes_zoom_together(viewer: Opened) -> None:
    page = viewer.page
    page.locator("body").click(position={"x": 1, "y": 1})
    whole = [viewer.pixels(index) for index in range(3)]
    page.keyboard.press("+")
    page.keyboard.press("+")
    page.keyboard.press("Shift+ArrowRight")
    settle(page)
    assert all((viewer.pixels(index) != whole[index]).any() for index in range(3))
    styles = page.locator(".lav-cell").evaluate_all("(all) => all.map((one) => one.getAttribute('style'))")
    assert len(set(styles)) == 1
    width = float(re.search(r"width: ([\d.]+)%", styles[0])[1])
    assert width == pytest.approx(100 / 5 * 1.5**2, rel=1e-3)
    page.keyboard.press("0")
    page.keyboard.press("Escape")
    settle(page)
    assert all((viewer.pixels(index) == whole[index]).all() for index in range(3))


def test_the_wheel_magnifies_about_the_pointer_and_a_drag_moves_all_panes(viewer: Opened) -> None:
    page = viewer.page
    frame = page.locator(".lav-frame").nth(1)
    box = frame.bounding_box()
    assert box is not None
    corner = box["x"] + 0.9 * box["width"], box["y"] + 0.9 * box["height"]  # in the last cell of 3 × 5
    page.mouse.move(*corner)
    whole = viewer.pixels(0)
    page.mouse.wheel(0, -200)  # a page that is scrolled past stays a page
    settle(page)
    assert (viewer.pixels(0) == whole).all()
    page.keyboard.down("Control")
    for _ in range(3):
        page.mouse.wheel(0, -200)
    page.keyboard.up("Control")
    settle(page)
    assert (viewer.pixels(0) != whole).any()
    page.mouse.move(corner[0] - 1, corner[1])
    expect(page.locator(".lav-readout")).to_contain_text("row 2, column 4")
    page.mouse.down()
    page.mouse.move(corner[0] + 3 * box["width"], corner[1] + 3 * box["height"], steps=8)
    page.mouse.up()
    page.mouse.move(box["x"] + 5, box["y"] + 5)
    expect(page.locator(".lav-readout")).to_contain_text("row 0, column 0")
    assert frame.evaluate("(one) => one.style.touchAction") == "none"
    page.get_by_role("button", name="fit the whole photo").click()
    settle(page)
    assert (viewer.pixels(0) == whole).all()


def test_contrast_puts_a_head_aside_and_gives_it_back(viewer: Opened) -> None:
    page = viewer.page
    page.locator(f'.lav-chip[data-token="{FIRST}"]').click()
    page.locator('[data-choice="head"]').select_option("2")
    page.locator('[data-choice="view"]').select_option("contrast")
    settle(page)
    assert (viewer.choice("view"), viewer.choice("head")) == ("contrast", "mean")
    page.locator('[data-choice="view"]').select_option("raw")
    settle(page)
    assert viewer.choice("head") == 2


# ------------------------------------------------------------------------------------------- heads, many variants


def test_heads_that_were_not_recorded_are_asked_for_once_and_shown_when_they_come(viewer: Opened) -> None:
    page = viewer.page
    viewer.choose(token=FIRST + 1)
    place = viewer.canvases().first.bounding_box()
    viewer.choose(head=1)
    viewer.choose(layer=1)
    assert page.evaluate("told") == [["record", FIRST + 1]]
    status = page.locator(".lav-looking .lav-status-line").last
    expect(status).to_contain_text("Recording the heads of this token")
    assert status.bounding_box()["height"] > 20
    assert viewer.canvases().first.bounding_box() == place  # it lies over the pictures, which stay where they are
    page.locator('[data-choice="view"]').focus()
    focus = (FIRST + 1,)
    viewer.server.comparison = comparison(with_sinks(seed=3, focus=focus), with_sinks("find-red", seed=4, focus=focus))
    page.evaluate("async () => viewer.update(await (await fetch('scene')).json(), { key: 'recorded' })")
    expect(viewer.canvases().first).to_have_attribute("data-key", "recorded")
    expect(page.locator(".lav-where")).to_contain_text("head 1")
    assert (
        page.evaluate("document.activeElement.dataset.choice") == "view"
    )  # made anew, and still where the keyboard is


def test_a_cell_of_the_matrix_goes_to_its_layer_and_head(viewer: Opened) -> None:
    page = viewer.page
    box = page.locator(".lav-matrix-field").bounding_box()
    assert box is not None
    spot = {"x": (2 + 0.5) * box["width"] / 4, "y": (1 + 0.5) * box["height"] / 3}
    page.locator(".lav-matrix-field").hover(position=spot)
    expect(page.locator(".lav-matrix-said")).to_contain_text("layer 2, head 1: JS divergence")
    page.locator(".lav-matrix-field").click(position=spot)
    expect(page.locator(".lav-where")).to_contain_text("layer 2 · head 1")
    assert viewer.choice("token") == FIRST


def test_the_heads_of_a_layer_are_ranked_and_one_click_away(viewer: Opened) -> None:
    page = viewer.page
    page.locator(f'.lav-chip[data-token="{FIRST}"]').click()
    viewer.choose(layer=2)
    page.locator(".lav-all-heads summary").click()
    buttons = page.locator(".lav-head-cell")
    expect(buttons).to_have_count(3)
    numbers = stack(viewer.server.comparison, FIRST, layers=(2,))
    ranked = [str(head.head) for head in numbers.heads[0]]
    assert buttons.evaluate_all("(all) => all.map((one) => one.dataset.head)") == ranked
    buttons.first.click()
    expect(page.locator(".lav-where")).to_contain_text(f"head {ranked[0]} ")


def test_any_variant_stands_against_any_other(several: Opened) -> None:
    page = several.page
    assert [option.strip() for option in page.locator('[data-choice="adapter"] option').all_inner_texts()] == [
        "base",
        "find-red",
        "counts",
        "7",
    ]
    asked = len(several.server.asked)
    page.wait_for_timeout(500)  # neighbours
    several.choose(adapter="counts")
    assert several.drawn("variant") == ["base", "counts", "counts − base"]
    assert not [path for path in several.server.asked[asked:] if f"token={several.choice('token')}&" in path]
    several.choose(against="counts")
    expect(several.canvases().first).to_have_attribute("data-variant", "counts")
    assert several.drawn("variant") == ["counts", "base", "base − counts"]


def test_checkpoints_play_in_the_order_of_their_steps(browser: Browser) -> None:
    steps = {"run-100": ("run", 100), "run-20": ("run", 20), "run-3": ("run", 3)}
    shown = comparison(recording(), *[recording(name, seed=seed) for seed, name in enumerate(steps, 1)])
    for visit in opened(browser, shown, steps):
        page = visit.page
        visit.choose(adapter="run-3", layer=2)
        page.evaluate("() => { window.seen = []; viewer.on((choice) => seen.push([choice.adapter, choice.layer])); }")
        page.get_by_label("play through").select_option("checkpoints")
        page.get_by_label("speed").select_option("30")
        page.locator(".lav-play").click()
        page.wait_for_function("seen.length >= 5")
        page.locator(".lav-play").click()
        names = ["run-20", "run-100", "run-3", "run-20", "run-100"]
        assert page.evaluate("seen.slice(0, 5)") == [[name, 2] for name in names]


def test_one_variant_is_one_picture_without_differences(browser: Browser) -> None:
    for visit in opened(browser, comparison(recording())):
        assert visit.drawn("variant") == ["base"]
        expect(visit.page.locator(".lav-matrix, .lav-signed, .lav-missing")).to_have_count(3)
        expect(visit.page.locator(":is(.lav-matrix, .lav-signed, .lav-missing):visible")).to_have_count(0)
        visit.choose(layer=2, view="contrast")
        expect(visit.page.locator(".lav-where")).to_contain_text("layer 2 · mean of all heads · contrast view")


def test_own_answers_stand_in_rows_of_their_own_and_have_no_difference(browser: Browser) -> None:
    rows = tokens(), tokens(answer=(" a", " blue", " star"))
    shown = comparison(recording(row=rows[0]), recording("find-red", seed=1, row=rows[1]), own=True)
    for visit in opened(browser, shown):
        assert visit.drawn("variant") == ["base", "find-red"]
        expect(visit.page.locator(".lav-missing")).to_be_visible()
        texts = [chips.inner_text() for chips in visit.page.locator(".lav-rows .lav-chips").all()]
        assert "circle" in texts[0]
        assert "star" in texts[1]


def test_words_of_an_answer_that_is_not_replayed_lead_to_their_rows_or_to_its_replay(browser: Browser) -> None:
    """Up to the word that parts the rows are the same; what comes after must be replayed, and is looked at then."""
    row = tokens(answer=(" red", " circle", " left"))
    ids = tuple(token.id for token in row if token.role in ("answer", "end"))
    own = (" red", HOSTILE, " שלום", "")
    base = replace(recording(row=row), answer="".join(own), answer_ids=(ids[0], 90, 91, 92), answer_pieces=own)
    adapter = replace(recording("find-red", seed=1, row=row), answer=" red circle left", answer_ids=ids)
    for visit in opened(browser, comparison(base, adapter)):
        page = visit.page
        chips = page.locator(".lav-own-chip")
        assert [chip.inner_text() for chip in chips.all()] == ["red", f"≠ {HOSTILE}", "שלום", "end"]
        assert page.evaluate("globalThis.owned") is None
        chips.nth(0).click()
        assert visit.choice("token") == FIRST
        chips.nth(1).click()
        assert visit.choice("token") == FIRST + 1  # the row that predicts it is the replayed answer's
        assert chips.nth(1).get_attribute("title") == "here it parts: “circle” is replayed"
        assert "lav-parts" in (chips.nth(1).get_attribute("class") or "")
        assert page.evaluate("told") == []
        chips.nth(2).click()
        assert page.evaluate("told") == [["replay", {"variant": "base"}]]
        assert visit.choice("token") == FIRST + 1
        page.evaluate("viewer.show(scene, source, { key: 'second', keep: true })")  # another one than was asked for
        settle(page)  # the chips are made anew
        assert visit.choice("token") == FIRST + 1
        chips.nth(2).click()
        answers = "scene.answers.map((one) => ({ ...one, replayed: one.variant === 'base' }))"
        page.evaluate(f"viewer.show({{ ...scene, answers: {answers} }}, source, {{ key: 'third', keep: true }})")
        assert visit.choice("token") == FIRST + 2
        page.evaluate("viewer.show(scene, source, { key: 'again', keep: true })")
        page.evaluate("viewer.show(scene, source, { key: 'third', choice: { token: 3 } })")  # of something else
        settle(page)
        assert visit.choice("token") == 3
        chips.nth(3).click()
        page.evaluate("viewer.stale(true, 'asked anew')")  # another question, whose answer is another result
        page.evaluate("() => { viewer.show(scene, source, { key: 'other' }); viewer.stale(false); }")
        settle(page)
        assert visit.choice("token") == page.evaluate("scene.opening.token")
        chips.nth(3).click()
        visit.choose(token=FIRST)  # goes elsewhere meanwhile
        page.evaluate("viewer.show(scene, source, { key: 'fourth', keep: true })")
        assert visit.choice("token") == FIRST


def test_an_old_result_is_dimmed_and_says_so(viewer: Opened) -> None:
    viewer.page.evaluate("viewer.stale(true, 'This result is of the photo before.')")
    expect(viewer.page.get_by_text("This result is of the photo before.")).to_be_visible()
    assert float(viewer.page.locator(".lav-pictures").evaluate("(one) => getComputedStyle(one).opacity")) < 1
    viewer.page.evaluate("viewer.stale(false)")
    assert float(viewer.page.locator(".lav-pictures").evaluate("(one) => getComputedStyle(one).opacity")) == 1


def test_a_refusal_that_a_preview_met_is_said_again_when_its_token_is_chosen(viewer: Opened) -> None:
    page = viewer.page
    page.evaluate(
        """(refused) => { const whole = source.stack;
        source.stack = (choice) => choice.token === refused && choice.window === 1
          ? Promise.reject({ message: 'Not here.', code: 'not_in_report' }) : whole(choice); }""",
        FIRST + 1,
    )
    viewer.choose(token=FIRST, window=1)
    expect(page.locator(".lav-where")).to_contain_text("(mean)")
    chip = page.locator(f".lav-rows [data-token='{FIRST + 1}']")
    page.locator(".lav-where").hover()
    chip.hover()
    expect(page.get_by_text("Not here.")).to_be_visible()  # of what is previewed
    chip.click()
    settle(page)
    expect(page.get_by_text("Not here.")).to_be_visible()  # of what is chosen


def test_numbers_that_do_not_come_can_be_asked_for_again(viewer: Opened) -> None:
    page = viewer.page
    cut = "source.stack = () => Promise.reject({ message: 'The line was cut.' })"
    page.evaluate(f"() => {{ window.whole = source.stack; {cut}; }}")
    viewer.choose(view="contrast")
    expect(page.get_by_text("The line was cut.")).to_be_visible()
    assert "raw view" in page.locator(".lav-where").inner_text()  # the picture that stands there says what it is
    page.evaluate("() => { source.stack = whole; }")
    page.get_by_role("button", name="try again").click()
    expect(page.locator(".lav-where")).to_contain_text("contrast view")


@pytest.mark.parametrize("width", [390, 1440, 2560])
def test_nothing_is_wider_than_the_page_and_all_can_be_touched(browser: Browser, width: int) -> None:
    with serve(
        comparison(*[recording(name, seed=i) for i, name in enumerate((None, "a-long-name" * 5, "7"))])
    ) as server:
        context = browser.new_context(viewport={"width": width, "height": 900}, has_touch=width < 500)
        page = context.new_page()
        page.goto(server.address)
        page.wait_for_selector("canvas[data-key]")
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        if width < 500:
            low = page.locator(":is(button, select, input, summary):visible").evaluate_all(
                "(all) => all.filter((one) => one.getBoundingClientRect().height < 32).map((one) => one.outerHTML)"
            )
            assert [html for html in low if 'type="checkbox"' not in html] == []  # their labels are the target
        context.close()


def test_the_address_holds_the_choice(several: Opened) -> None:
    page = several.page
    several.choose(layer=3, token=[FIRST, FIRST + 1], adapter="7", log=True)
    page.wait_for_function("location.hash.includes('layer=3')")
    page.reload()
    page.wait_for_selector("canvas[data-key]")
    assert several.drawn("layer") == ["3"] * 3
    assert [several.choice(name) for name in ("token", "adapter", "log")] == [[FIRST, FIRST + 1], "7", True]


def test_back_leads_to_the_token_head_and_variants_before_and_layers_are_no_steps(several: Opened) -> None:
    page = several.page
    written = "(part) => location.hash.includes(part)"
    page.wait_for_function("location.hash.length > 1")
    start = several.choice("token")
    page.evaluate("""() => {  // how long the history of a lent page is says nothing: it holds 50 entries at most
        window.jumps = 0;
        const push = history.pushState;
        history.pushState = (...given) => (jumps++, push.apply(history, given));
    }""")
    other = FIRST if start != FIRST else FIRST + 1
    for change, part in (
        ({"layer": 3}, "layer=3"),
        ({"token": other}, f"token={other}"),
        ({"layer": 1}, "layer=1"),
        ({"head": 2, "token": FIRST}, "head=2"),
    ):
        several.choose(**change)
        page.wait_for_function(written, arg=part)
    assert page.evaluate("jumps") == 2
    page.go_back()
    page.wait_for_function(f"viewer.choice().token === {other} && viewer.choice().head === 'mean'")
    assert (several.choice("layer"), several.choice("head")) == (1, "mean")
    assert several.drawn("layer") == ["1"] * 3
    page.go_back()
    page.wait_for_function("viewer.choice().layer === 3")
    assert several.choice("token") == start
    page.wait_for_timeout(400)  # longer than it takes until an address is written
    page.go_forward()
    page.wait_for_function(f"viewer.choice().token === {other} && viewer.choice().head === 'mean'")
    assert page.evaluate("jumps") == 2


def test_nothing_is_written_into_an_address_that_leads_elsewhere_and_is_not_followed_yet(several: Opened) -> None:
    """The browser says that the address changed a while after it did: as when Back is pressed twice."""
    page = several.page
    page.wait_for_function("location.hash.length > 1")
    several.choose(layer=1)
    page.wait_for_function("location.hash.includes('layer=1')")
    page.evaluate("history.replaceState(history.state, '', location.hash.replace('layer=1', 'layer=3'))")
    several.choose(layer=2)
    page.wait_for_timeout(400)  # longer than it takes until an address is written
    assert page.evaluate("location.hash.includes('layer=3')")
    page.evaluate("dispatchEvent(new HashChangeEvent('hashchange'))")
    assert several.choice("layer") == 3
    several.choose(layer=0)
    page.wait_for_function("location.hash.includes('layer=0')")


def test_chips_and_matrix_change_with_the_variant_that_is_compared_with(several: Opened) -> None:
    page, shown = several.page, several.server.comparison
    field, said = page.locator(".lav-matrix-field"), page.locator(".lav-matrix-said")

    def is_against(adapter: str, against: str) -> None:
        expect(field).to_have_attribute("aria-label", re.compile(f"{adapter} against {against};"))
        changes: Any = changes_json(shown, against)
        of_heads: Any = head_changes_json(shown, against)
        box = field.bounding_box()
        assert box
        field.hover(position={"x": box["width"] * 2.5 / 4, "y": box["height"] * 1.5 / 3})
        text = of_heads["matrix"][adapter]["js"]["texts"][2][1]
        expect(said).to_have_text(f"layer 2, head 1: JS divergence {text}")
        page.mouse.move(0, 0)
        expect(said).to_contain_text(f"{adapter} − {against} ")
        path = page.locator(f".lav-rows [data-token='{FIRST}'] path").first.get_attribute("d")
        answer = [index for index, token in enumerate(shown.tokens) if token.role in ("answer", "end")]
        most = max(max(rows[index]) for rows in changes["rows"].values() for index in answer)
        heights = [10 - 10 * bits / most for bits in changes["rows"][adapter][FIRST]]
        assert [float(part) for part in re.findall(r"V([\d.]+)H", path or "")] == pytest.approx(heights, abs=0.006)
        star = changes["most"]["token"]
        expect(page.locator(f".lav-rows [data-token='{star}'] .lav-star")).to_be_visible()

    several.choose(adapter="find-red", against="base")
    is_against("find-red", "base")
    assert not [path for path in several.server.asked if path.startswith(("/changes", "/head_changes"))]
    several.choose(adapter="find-red", against="7")
    is_against("find-red", "7")
    several.choose(adapter="base", against="find-red")
    is_against("base", "find-red")
    page.locator("[data-most=head]").click()
    assert (several.choice("adapter"), several.choice("against")) == ("base", "find-red")
    several.choose(adapter="find-red", against="base")
    is_against("find-red", "base")
    several.choose(adapter="find-red", against="7")
    is_against("find-red", "7")
    for name in ("/changes", "/head_changes"):
        assert len([path for path in several.server.asked if path.startswith(name)]) == 2  # each once


def test_the_bar_of_differences_names_both_sides_whichever_changes(several: Opened) -> None:
    sides = several.page.locator(".lav-signed .lav-sides")
    for against, adapter in (("base", "find-red"), ("base", "7"), ("find-red", "7"), ("find-red", "base")):
        several.choose(against=against, adapter=adapter)
        expect(sides).to_have_text(f"← {against} looks more{adapter} looks more →")


def test_what_stands_around_a_picture_is_of_its_layer_also_while_the_next_one_does_not_come(viewer: Opened) -> None:
    page = viewer.page
    page.evaluate("() => { source.stack = () => new Promise(() => {}); }")  # never
    # a layer, and in the frame that would draw what is around it a token whose numbers do not come
    page.evaluate(
        """() => new Promise((done) => {
          const frame = requestAnimationFrame;
          viewer.choose({ layer: 3 });
          frame(() => { viewer.choose({ token: 8 }); frame(() => frame(done)); });
        })"""
    )
    expect(page.locator(".lav-where")).to_contain_text("layer 3")
    expect(page.locator(".lav-share-line b")).to_have_text("layer 3")
    share = viewer.server.comparison.recordings[0].by_token[FIRST, 3].sum(dtype=float)
    expect(page.locator(f".lav-rows [data-token='{FIRST}'] small").first).to_contain_text(f"{100 * share:.1f}")


def test_a_chip_that_comes_under_a_resting_mouse_is_not_previewed(viewer: Opened) -> None:
    page = viewer.page
    box = page.locator(f".lav-rows [data-token='{FIRST + 1}']").bounding_box()
    assert box
    viewer.choose(token=FIRST)
    page.evaluate("() => { document.querySelector('.lav-answers').style.visibility = 'hidden'; }")
    page.mouse.move(box["x"] + 9, box["y"] + 9)
    page.evaluate("() => { document.querySelector('.lav-answers').style.visibility = ''; }")
    page.wait_for_timeout(500)  # longer than a chip must be pointed at
    assert viewer.drawn("token") == [str(FIRST)] * 3
    page.mouse.move(box["x"] + 12, box["y"] + 9)
    page.wait_for_function(f"document.querySelector('.lav-canvas').dataset.token === '{FIRST + 1}'")


def test_the_matrix_shows_nothing_of_another_result_while_its_own_does_not_come(viewer: Opened) -> None:
    page, matrix = viewer.page, viewer.page.locator(".lav-matrix")
    expect(matrix.locator(".lav-matrix-said")).to_contain_text("find-red − base")
    page.evaluate(
        """() => {
            const headChanges = () => new Promise((come, fail) => Object.assign(window, { come, fail }));
            window.waiting = { ...source, headChanges };
            viewer.show({ ...scene, head_changes: null }, waiting, { key: "second", keep: true });
        }"""
    )
    page.wait_for_function("document.querySelector('.lav-canvas').dataset.key === 'second' && Boolean(window.come)")
    settle(page)
    expect(matrix.locator("h2")).to_be_visible()
    for part in (".lav-matrix-field", ".lav-matrix-said", "[data-measure]"):
        expect(matrix.locator(part).first).not_to_be_visible()
    expect(page.locator("[data-most=head]")).to_have_count(0)
    viewer.choose(token=FIRST + 1)  # whatever is looked at meanwhile: what does not come is said, and stays said
    page.evaluate("() => fail({ message: 'The line was cut.' })")
    again = matrix.get_by_role("button", name="try again")
    expect(again).to_be_visible()
    viewer.choose(layer=1)
    viewer.choose(token=FIRST, layer=2)
    expect(matrix.get_by_text("The line was cut.")).to_be_visible()
    again.click()
    expect(matrix.get_by_text("The line was cut.")).to_have_count(0)
    page.wait_for_timeout(300)  # longer than a hand must rest before they are asked for again
    page.evaluate("() => come(scene.head_changes)")
    expect(matrix.locator(".lav-matrix-said")).to_contain_text("find-red − base")
    expect(matrix.locator(".lav-matrix-field")).to_be_visible()
    expect(page.locator("[data-most=head]")).to_be_visible()
    own = "{ ...scene, own: true, changed: { ...scene.changed, rows: {}, most: null }, head_changes: null }"
    page.evaluate(f"() => viewer.show({own}, waiting, {{ key: 'third', keep: true }})")
    page.wait_for_function("document.querySelector('.lav-canvas').dataset.key === 'third'")
    settle(page)
    expect(matrix).to_be_hidden()


def test_nothing_of_a_result_is_kept_once_others_are_shown(viewer: Opened) -> None:
    page = viewer.page
    for key in ("a", "b", "c"):
        page.evaluate(
            """(key) => {
                const own = { ...scene };
                window.kept = { ...window.kept, [key]: new WeakRef(own) };
                viewer.show(own, source, { key, keep: true });
            }""",
            key,
        )
        page.wait_for_function("(key) => document.querySelector('.lav-canvas').dataset.key === key", arg=key)
        page.wait_for_timeout(300)  # what follows a picture once the hand rests is drawn, too
    collector = page.context.new_cdp_session(page)

    def left() -> list[str]:
        collector.send("HeapProfiler.collectGarbage")
        found: list[str] = page.evaluate("Object.keys(kept).filter((key) => kept[key].deref())")
        return found

    wait_until(lambda: left() == ["c"], 20)
    collector.detach()


def test_shares_of_another_result_are_not_read_beside_its_pictures(viewer: Opened) -> None:
    page, card = viewer.page, viewer.page.locator(".lav-shares-card")
    expect(card.locator(".lav-share-line")).to_be_visible()
    page.evaluate(
        """() => {
            window.asked = [];
            const stack = (choice) => new Promise((come) => asked.push(() => source.stack(choice).then(come)));
            viewer.show(scene, { ...source, stack }, { key: "second", keep: true });
        }"""
    )
    page.wait_for_function("asked.length > 0")
    expect(card.locator("h2")).to_be_visible()
    expect(card.locator(".lav-share-line")).not_to_be_visible()
    page.evaluate("() => asked.forEach((come) => come())")
    expect(card.locator(".lav-share-line")).to_be_visible()
    assert viewer.drawn("key") == ["second"] * 3


def test_what_is_below_a_boxs_numbers_stays_where_it_is_while_they_come(viewer: Opened) -> None:
    page = viewer.page
    viewer.choose(boxes=[[5, 5, 40, 40]])
    best = page.locator(".lav-box-best")
    expect(best).to_contain_text("Largest share in the box")
    height = page.locator(".lav-box-panel").evaluate("(panel) => panel.offsetHeight")
    page.evaluate(
        "() => { window.whole = source.box; source.box = () => new Promise((come) => { window.come = come; }); }"
    )
    viewer.choose(token=FIRST + 1)
    expect(page.locator(".lav-box-numbers")).to_have_text("Measuring…")
    expect(best).not_to_be_visible()
    assert abs(page.locator(".lav-box-panel").evaluate("(panel) => panel.offsetHeight") - height) <= 30  # its own line
    page.evaluate("() => { source.box = whole; }")
    viewer.choose(token=FIRST)
    expect(best).to_be_visible()


@pytest.mark.parametrize("name", ["changes", "headChanges"])
def test_changes_that_do_not_come_are_said_and_asked_for_again_by_a_click_alone(several: Opened, name: str) -> None:
    page = several.page
    page.evaluate(
        """(name) => { window.count = 0; window.whole = source[name];
        source[name] = () => { count++; return Promise.reject({ message: 'The line was cut.' }); };
        viewer.update(scene, { key: "first" }); }""",
        name,
    )
    several.choose(adapter="find-red", against="7")
    again = page.get_by_role("button", name="try again")
    expect(again).to_be_visible()
    expect(page.get_by_text("The line was cut.")).to_be_visible()
    page.evaluate("() => { for (const layer of [0, 1, 2]) viewer.choose({ layer }); }")
    settle(page)
    assert page.evaluate("count") == 1
    several.choose(against="base")
    page.evaluate("(name) => { source[name] = whole; viewer.update(scene, { key: 'first' }); }", name)
    several.choose(adapter="find-red", against="counts")
    expect(page.locator(".lav-matrix-field")).to_have_attribute("aria-label", re.compile("find-red against counts;"))


def test_a_set_of_heads_has_its_own_numbers_in_a_box_and_its_own_name_among_the_shares(several: Opened) -> None:
    page, shown = several.page, several.server.comparison
    box = (0.0, 0.0, 1.0, 2.0)
    several.choose(adapter="find-red", against="base", token=FIRST, head="L3H1,L0H2", boxes=[list(map(int, box))])
    row = np.mean([shown.recording("find-red").by_head[at].astype(float) for at in ((3, 1), (0, 2))], axis=0)
    in_box = page.locator(".lav-box-one[data-variant='find-red'] b")
    expect(in_box).to_have_text(f"{number(float(box_share(row, (box,), shown.image_size)), 'share')} %")
    expect(page.locator(".lav-share-line b")).to_have_text("mean of 2 heads: L3H1, L0H2")
    several.choose(head=1)
    scores = box_scores(shown, box)
    assert scores.heads
    expect(in_box).to_have_text(f"{number(scores.heads.share[1, several.choice('layer'), 1], 'share')} %")


def test_the_canvas_of_a_set_of_heads_shows_what_python_draws(browser: Browser) -> None:
    height, width = size = (300, 97)
    shown, few = comparison(with_sinks(seed=3), with_sinks("find-red", seed=4), image=photo(size)), ((3, 1), (0, 2))
    for visit in opened(browser, shown):
        frame = f"width: {width}px; height: {height}px; aspect-ratio: auto;"
        visit.page.add_style_tag(content=f".lav-viewer .lav-frame {{ {frame} }}")
        for view in ("raw", "sink-masked"):
            visit.choose(token=FIRST, head="L3H1,L0H2", view=view, layer=1, marks=False, fade=False)
            expect(visit.page.locator(".lav-where")).to_contain_text(f"L3H1, L0H2 · {view} view")
            settle(visit.page)
            numbers = stack(shown, FIRST, head=few, view=view, layers=(1,))
            for index in range(3):
                truth = drawn_by_python(shown, numbers, index, opacity=0.6, smooth=True, fade=False)
                assert np.abs(visit.pixels(index) - truth).max() <= 2


def test_few_heads_of_all_layers_are_offered_as_one_map(several: Opened) -> None:
    page, shown = several.page, several.server.comparison
    several.choose(adapter="find-red", token=FIRST)
    made: Any = scene_json(shown)
    options = page.locator("select[data-choice=head] option")
    top = made["head_changes"]["top"]["find-red"]
    expect(options.filter(has_text="5 that changed most")).to_have_attribute("value", top)
    few = {text: value for value, text in options.evaluate_all("(all) => all.map((one) => [one.value, one.label])")}
    assert few["5 that look at the image, at few cells"] == made["head_changes"]["localizing"]["find-red"]
    chosen = few["5 that changed most"]
    page.locator("select[data-choice=head]").select_option(chosen)
    expect(page.locator(".lav-where")).to_contain_text(f"mean of 5 heads: {chosen.replace(',', ', ')} · raw view")
    heads = [tuple(map(int, part[1:].split("H"))) for part in chosen.split(",")]
    expected = np.mean([shown.recording("find-red").by_head[at] for at in heads], axis=0)
    peak = np.unravel_index(int(expected.argmax()), expected.shape)
    numbers = stack(shown, FIRST, head=tuple(heads), variants=[None, "find-red"])
    assert numbers.variants[1].peaks[0] == peak
    page.keyboard.press("Escape")
    page.locator(".lav-frame").first.focus()
    page.keyboard.press("ArrowUp")
    assert several.choice("head") != "mean"  # the one above it in the menu: another set, or the maximum
    page.keyboard.press("ArrowDown")
    assert several.choice("head") == chosen
    settle(page)
    before = several.pixels(1)
    several.choose(layer=0)
    several.choose(layer=3)
    np.testing.assert_array_equal(several.pixels(1), before)  # the layers are those of the heads
    expect(page.locator(".lav-matrix-current")).to_be_hidden()
    several.choose(adapter="7")  # whose own five are others: the chosen ones stay
    assert several.choice("head") == chosen
    expect(page.locator("select[data-choice=head]")).to_have_value(chosen)
    page.wait_for_function(f"location.hash.includes('{chosen.replace(',', '%2C')}')")
    page.reload()
    page.wait_for_selector("canvas[data-key]")
    assert several.choice("head") == chosen
    several.choose(view="contrast")  # has no heads: they are put aside
    assert several.choice("head") == "mean"
    several.choose(view="raw")
    assert several.choice("head") == chosen
    page.goto("about:blank")
    page.goto(f"{several.server.address}#head=L9H9%2CL0H0")
    page.wait_for_selector("canvas[data-key]")
    assert several.choice("head") == "mean"


def test_an_address_that_names_nothing_there_opens_where_the_result_does(several: Opened) -> None:
    page = several.page
    page.goto("about:blank")
    page.goto(f"{several.server.address}#layer=99&token=a&head=-1&adapter=__proto__&opacity=7&view=<b>")
    page.wait_for_selector("canvas[data-key]")
    opening = page.evaluate("scene.opening")
    assert {name: several.choice(name) for name in opening} == opening


def test_another_answer_is_handed_to_whoever_replays(viewer: Opened) -> None:
    page = viewer.page
    page.locator("summary", has_text="replay another answer").click()
    page.locator(".lav-editor textarea").fill(" blue square")
    page.locator(".lav-editor button").click()
    assert page.evaluate("told") == [["replay", {"text": " blue square"}]]
