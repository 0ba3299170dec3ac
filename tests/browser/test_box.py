"""Boxes on the photo: drawn by mouse, finger and keyboard; their numbers are Python's and never another box's."""

import itertools
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, FloatRect, Locator, Page, expect

from inference.demo import EXAMPLE_SCREENS
from inference.records import Comparison
from tests import ROOT
from tests.browser.conftest import Watched
from tests.browser.steps import keep
from tests.browser.viewer_page import ViewerServer, serve
from tests.visualize.factory import comparison, photo, recording
from visualize import box_scores, report_html
from visualize.numbers.scale import number

pytestmark = [pytest.mark.browser, pytest.mark.slow]

FIRST_VISIT = ROOT / "inference" / "demo" / "first_visit.npz"
SIZE = (60, 100)
FIRST = 7


def given() -> Comparison:
    return comparison(*[recording(name, seed=at) for at, name in enumerate((None, "find-red"))], image=photo(SIZE))


class Drawn:
    """A page with a viewer, and what a person does on it with boxes."""

    def __init__(self, page: Page, server: ViewerServer, shown: Comparison) -> None:
        self.page, self.server, self.shown = page, server, shown
        self.tool = page.get_by_role("button", name="Box", exact=True)
        self.numbers = page.locator(".lav-box-numbers")
        self.problem = page.locator(".lav-box-problem")

    def boxes(self) -> Any:
        return self.page.evaluate("viewer.choice().boxes")

    def frame(self, index: int = 0) -> FloatRect:
        found = self.page.locator(".lav-frame").nth(index).bounding_box()
        assert found
        return found

    def at(self, x: float, y: float, index: int = 0) -> tuple[float, float]:
        """A place of a picture by fractions of its width and height."""
        frame = self.frame(index)
        return frame["x"] + x * frame["width"], frame["y"] + y * frame["height"]

    def drag(self, start: tuple[float, float], stop: tuple[float, float], index: int = 0) -> None:
        self.page.mouse.move(*self.at(*start, index))
        self.page.mouse.down()
        self.page.mouse.move(*self.at(*stop, index), steps=3)
        self.page.mouse.up()

    def type(self, *edges: object) -> None:
        for name, edge in zip(("top", "left", "bottom", "right"), edges, strict=True):
            self.page.get_by_label(f"{name} edge in pixels").fill(str(edge))
        self.page.get_by_role("button", name="add box").click()

    def says(self, token: Any = FIRST, layer: int | None = None, head: int | None = None) -> None:
        """The numbers are those of `box_scores` for what is drawn."""
        scores = box_scores(self.shown, self.boxes(), token)
        layer = self.page.evaluate("viewer.choice().layer") if layer is None else layer
        shares = scores.mean.share[:, layer] if head is None else scores.heads.share[:, layer, head]
        hits = scores.mean.hit[:, layer] if head is None else scores.heads.hit[:, layer, head]
        for index, name in enumerate(("base", "find-red")):
            said = self.numbers.locator(f'[data-variant="{name}"]')
            expect(said.locator("b")).to_have_text(f"{number(shares[index], 'share')} %")
            expect(said).to_contain_text("peak inside" if hits[index] else "peak outside")
        change = number(shares[1] - shares[0], "share difference", sign=True)
        expect(self.numbers.locator('[data-variant="change"] b')).to_have_text(f"{change} pp")

    def outlines(self, index: int = 0) -> list[list[float]]:
        """The outlines on a picture as fractions of it: top, left, bottom, right."""
        found: list[list[float]] = (
            self.page.locator(".lav-frame")
            .nth(index)
            .evaluate(
                """(frame) => [...frame.querySelectorAll(".lav-box")].map((box) => {
              const [inner, outer] = [box.getBoundingClientRect(), frame.getBoundingClientRect()];
              return [(inner.top - outer.top) / outer.height, (inner.left - outer.left) / outer.width,
                (inner.bottom - outer.top) / outer.height, (inner.right - outer.left) / outer.width];
            })"""
            )
        )
        return found


@contextmanager
def opened(browser: Browser, **context: Any) -> Iterator[Drawn]:
    shown = given()
    with serve(shown) as server:
        visit = browser.new_context(**context)
        page = visit.new_page()
        complaints: list[str] = []
        page.on("pageerror", lambda error: complaints.append(str(error)))
        yield Drawn(page, server, shown)
        visit.close()
        assert complaints == []


def begin(drawn: Drawn) -> None:
    """The page as nobody has used it."""
    drawn.server.delay = lambda path: 0.0
    drawn.page.goto("about:blank")
    drawn.server.asked.clear()
    drawn.page.goto(drawn.server.address)
    drawn.page.wait_for_selector("canvas[data-key]")


@pytest.fixture(scope="module")
def wide(browser: Browser) -> Iterator[Drawn]:
    with opened(browser, viewport={"width": 1440, "height": 1000}) as drawn:
        yield drawn


@pytest.fixture
def drawn(wide: Drawn) -> Drawn:
    begin(wide)
    return wide


def test_a_box_is_drawn_by_dragging_and_measured_by_python(drawn: Drawn) -> None:
    expect(drawn.page.locator(".lav-box-panel")).to_be_hidden()
    drawn.tool.click()
    expect(drawn.page.locator(".lav-box-said")).to_contain_text("Escape ends drawing")
    drawn.drag((0.6, 0.75), (0.2, 0.25), index=1)  # from the lower right, on the second picture
    (box,) = drawn.boxes()
    assert box == pytest.approx([15, 20, 45, 60], abs=1)
    assert all(isinstance(edge, int) for edge in box)
    drawn.says()
    for index in range(3):  # it stands on every picture, where it was drawn
        (outline,) = drawn.outlines(index)
        expected = [box[0] / 60, box[1] / 100, box[2] / 60, box[3] / 100]
        assert outline == pytest.approx(expected, abs=0.005)
    expect(drawn.tool).to_have_attribute("aria-pressed", "false")  # a drag moves the photo again
    drawn.page.keyboard.press("ArrowRight")
    drawn.says()
    drawn.page.evaluate("viewer.choose({head: 1})")
    drawn.says(head=1)
    drawn.page.evaluate("viewer.choose({head: 'max'})")
    expect(drawn.numbers).to_contain_text("A maximum over heads is no single row")
    drawn.page.evaluate("viewer.choose({head: 'mean', token: [3, 4]})")
    drawn.says(token=(3, 4))
    asked = [path for path in drawn.server.asked if path.startswith("/box?")]
    assert len(asked) == len(set(asked)) == 2  # once per box and tokens, with all heads and layers


def test_several_boxes_are_one_area_and_each_can_be_taken_away(drawn: Drawn) -> None:
    page = drawn.page
    page.keyboard.press("b")
    drawn.drag((0.1, 0.1), (0.5, 0.5))
    page.keyboard.press("b")
    drawn.drag((0.3, 0.3), (0.9, 0.9))
    assert len(drawn.boxes()) == len(drawn.outlines()) == 2
    drawn.says()
    expect(page.locator(".lav-box-panel .lav-note")).to_contain_text("the 2 boxes together")
    first, second = drawn.boxes()
    where = f"rows {first[0]}–{first[2]}, columns {first[1]}–{first[3]}"
    page.get_by_role("button", name=f"remove box 1: {where}").press("Enter")
    assert drawn.boxes() == [second]
    drawn.says()
    last = page.get_by_role("button", name="remove box 1")
    expect(last).to_be_focused()
    last.press("Enter")
    expect(page.locator(".lav-box-panel")).to_be_hidden()
    expect(drawn.tool).to_be_focused()
    expect(page.locator("[data-measure=box]")).to_have_count(0)


def test_without_a_mouse_a_box_is_four_numbers_and_what_is_none_says_why(drawn: Drawn) -> None:
    page = drawn.page
    drawn.tool.press("Enter")
    for edges, words in (
        ((1, 2, 3, ""), "Give all four numbers"),
        ((9, 2, 3, 9), "Bottom must be below top"),
        ((5, 2, 5, 9), "no area"),
        ((60, 0, 90, 9), "outside the photo, which is 60 pixels high and 100 wide"),
    ):
        drawn.type(*edges)
        expect(drawn.problem).to_contain_text(words)
        assert drawn.boxes() == []
    drawn.type(10, 30, 50, 70)
    assert drawn.boxes() == [[10, 30, 50, 70]]
    expect(drawn.problem).to_be_empty()
    drawn.says()
    expect(page.get_by_label("top edge in pixels")).to_be_focused()
    drawn.type(-10, 80, 30, 900)
    expect(page.locator(".lav-box-panel .lav-note")).to_contain_text("was cut to (0, 80, 30, 100)")
    drawn.says()
    page.keyboard.press("Escape")
    expect(drawn.tool).to_have_attribute("aria-pressed", "false")
    expect(drawn.tool).to_be_focused()
    assert len(drawn.boxes()) == 2


def test_escape_and_a_click_draw_nothing(drawn: Drawn) -> None:
    page = drawn.page
    drawn.tool.click()
    page.mouse.move(*drawn.at(0.2, 0.2))
    page.mouse.down()
    page.mouse.move(*drawn.at(0.6, 0.6), steps=3)
    expect(page.locator(".lav-frame").first.locator(".lav-box")).to_have_count(1)  # seen while it is drawn
    page.keyboard.press("Escape")
    page.mouse.up()
    expect(page.locator(".lav-box")).to_have_count(0)
    assert drawn.boxes() == []
    drawn.tool.click()
    page.mouse.click(*drawn.at(0.5, 0.5))
    assert drawn.boxes() == []
    expect(drawn.tool).to_have_attribute("aria-pressed", "true")


def test_drawing_and_moving_the_photo_do_not_get_into_each_others_way(drawn: Drawn) -> None:
    page = drawn.page
    part = """() => {
      const frame = document.querySelector(".lav-frame").getBoundingClientRect();
      const box = document.querySelector(".lav-box").getBoundingClientRect();
      return [(box.left - frame.left) / frame.width, (box.top - frame.top) / frame.height, box.width / frame.width];
    }"""
    page.mouse.dblclick(*drawn.at(0.5, 0.5))  # three times as large, about the middle
    drawn.tool.click()
    drawn.drag((0.25, 0.25), (0.75, 0.75))
    (box,) = drawn.boxes()
    middle = 100 / 3 * (1 + 0.25)
    assert box == pytest.approx([60 / 3 * 1.25, middle, 60 / 3 * 1.75, 100 / 3 * 1.75], abs=1.01)
    assert page.evaluate(part)[:2] == pytest.approx([0.25, 0.25], abs=0.06)  # whole pixels, three times as large
    before = page.evaluate(part)
    drawn.drag((0.5, 0.5), (0.6, 0.6))  # the tool is off: this moves the photo, and the box with it
    expect(page.locator(".lav-box").first).to_be_visible()
    page.wait_for_function(f"({part})()[0] > {before[0] + 0.05}")
    assert drawn.boxes() == [box]
    page.keyboard.press("0")
    page.wait_for_function(f"({part})()[2] < 0.2")
    assert drawn.outlines()[0][0] == pytest.approx(box[0] / 60, abs=0.01)


def test_the_matrix_has_the_box_beside_its_own_measures(drawn: Drawn) -> None:
    page = drawn.page
    page.evaluate("viewer.choose({boxes: [[0, 0, 30, 50]]})")
    page.locator("[data-measure=box_change]").click()
    scores = box_scores(drawn.shown, (0, 0, 30, 50))
    assert scores.heads
    field = page.locator(".lav-matrix-field")
    assert "Δ share in box of every head" in (field.get_attribute("aria-label") or "")
    box = field.bounding_box()
    assert box
    for layer, head in itertools.product((0, 3), (0, 2)):
        page.mouse.move(box["x"] + box["width"] * (layer + 0.5) / 4, box["y"] + box["height"] * (head + 0.5) / 3)
        change = scores.heads.share[1, layer, head] - scores.heads.share[0, layer, head]
        text = number(change, "share difference", sign=True)
        expect(page.locator(".lav-matrix-said")).to_have_text(f"layer {layer}, head {head}: Δ share in box {text} pp")
    page.locator("[data-measure=box]").click()
    page.evaluate("viewer.choose({boxes: [[30, 50, 60, 100]]})")
    expect(page.locator("[data-measure=box]")).to_have_attribute("aria-pressed", "true")  # it stays, with other numbers
    best = box_scores(drawn.shown, (30, 50, 60, 100)).ranked("find-red")[0]
    page.locator(".lav-box-best button").first.click()
    assert (page.evaluate("viewer.choice().layer"), page.evaluate("viewer.choice().head")) == (best.layer, best.head)
    drawn.says(layer=best.layer, head=best.head)
    page.evaluate("viewer.choose({boxes: []})")
    expect(page.locator("[data-measure=js]")).to_have_attribute("aria-pressed", "true")


def test_a_late_answer_is_never_shown_for_another_box(drawn: Drawn) -> None:
    page = drawn.page
    drawn.server.delay = lambda path: 1.0 if "box=0%2C0%2C20%2C20" in path else 0.0
    page.evaluate("viewer.choose({boxes: [[0, 0, 20, 20]]})")
    expect(drawn.numbers).to_have_text("Measuring…")
    page.evaluate(
        """() => {
      window.wrong = [];
      const told = document.querySelector(".lav-box-numbers");
      new MutationObserver(() => window.wrong.push(told.textContent)).observe(told, { childList: true, subtree: true });
    }"""
    )
    page.evaluate("viewer.choose({boxes: [[20, 40, 60, 100]]})")
    drawn.says()
    early = number(
        float(box_scores(drawn.shown, (0, 0, 20, 20)).mean.share[0, page.evaluate("viewer.choice().layer")]), "share"
    )
    assert not [text for text in page.evaluate("wrong") if f"base {early} %" in text]
    page.evaluate("viewer.choose({boxes: [[0, 0, 20, 20]]})")
    drawn.says()
    assert len([path for path in drawn.server.asked if "box=0%2C0%2C20%2C20" in path]) == 1


def test_the_address_holds_the_boxes(drawn: Drawn) -> None:
    page = drawn.page
    drawn.tool.click()
    drawn.type(10, 30, 50, 70)
    drawn.type(0, 0, 20, 20)
    page.wait_for_function("location.hash.includes('box=10%2C30%2C50%2C70%3B0%2C0%2C20%2C20')")
    page.reload()
    page.wait_for_selector("canvas[data-key]")
    assert drawn.boxes() == [[10, 30, 50, 70], [0, 0, 20, 20]]
    drawn.says()
    for broken in ("1,2,3", "9,9,1,1", "a,b,c,d", "70,0,90,9", "<b>,0,0,0"):
        page.evaluate("(text) => (location.hash = `box=${text}`)", broken)
        page.wait_for_function("viewer.choice().boxes.length === 0")
        page.evaluate("viewer.choose({boxes: [[1, 1, 9, 9]]})")
    page.evaluate("location.hash = 'box=0,0,20,500'")
    page.wait_for_function("viewer.choice().boxes[0]?.[3] === 500")
    expect(page.locator(".lav-box-panel .lav-note")).to_contain_text("was cut to (0, 0, 20, 100)")


def test_another_photo_does_not_keep_a_box_that_it_has_no_room_for(drawn: Drawn) -> None:
    page = drawn.page
    page.evaluate("viewer.choose({boxes: [[50, 90, 60, 100]]})")
    page.evaluate("viewer.show({...scene, image_size: [40, 50]}, source, {key: 'second', keep: true})")
    assert drawn.boxes() == []


def test_a_box_stays_on_its_photo_and_goes_with_it(drawn: Drawn) -> None:
    page = drawn.page
    page.evaluate("viewer.choose({layer: 2, boxes: [[5, 9, 20, 30]]})")
    page.evaluate("viewer.show({...scene}, source, {key: 'second', keep: true})")
    assert drawn.boxes() == [[5, 9, 20, 30]]
    page.evaluate("viewer.show({...scene, photo: 'another'}, source, {key: 'third', keep: true})")
    assert drawn.boxes() == []
    assert page.evaluate("viewer.choice().layer") == 2


def test_a_finger_draws_on_a_phone_and_nothing_covers_the_picture(browser: Browser) -> None:
    with opened(browser, viewport={"width": 390, "height": 844}, has_touch=True, is_mobile=True) as drawn:
        begin(drawn)
        page = drawn.page
        page.locator(".lav-frame").first.scroll_into_view_if_needed()
        drawn.tool.tap()
        page.locator(".lav-frame").first.scroll_into_view_if_needed()
        scrolled = page.evaluate("[scrollY, document.querySelector('.lav-figures').scrollLeft]")
        session = page.context.new_cdp_session(page)
        for step, kind in ((0.2, "touchStart"), (0.3, "touchMove"), (0.45, "touchMove"), (0.6, "touchMove")):
            x, y = drawn.at(step, 0.25 + (step - 0.2) * 1.25)
            session.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": [{"x": x, "y": y}]})
        session.send("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})
        page.wait_for_function("viewer.choice().boxes.length === 1")
        assert drawn.boxes()[0] == pytest.approx([15, 20, 45, 60], abs=1.5)
        assert page.evaluate("[scrollY, document.querySelector('.lav-figures').scrollLeft]") == scrolled
        drawn.says()
        drawn.tool.tap()
        assert page.evaluate("document.documentElement.scrollWidth") <= 390
        covering = page.evaluate(
            """() => {
          const frame = document.querySelector(".lav-frame").getBoundingClientRect();
          return [...document.querySelectorAll("button, input, select, a")].filter((one) => {
            const box = one.getBoundingClientRect();
            const beside = box.right <= frame.left || box.left >= frame.right;
            const apart = beside || box.bottom <= frame.top || box.top >= frame.bottom;
            return box.width && !apart && getComputedStyle(one).visibility !== "hidden";
          }).map((one) => one.outerHTML.slice(0, 80));
        }"""
        )
        assert covering == []


def test_the_page_asks_its_server_once_for_the_numbers_of_a_box(visit: Watched) -> None:
    page, asked = visit.page, []
    both = "%3B"  # between two boxes: what it opens on, one, was asked before
    page.on(
        "request", lambda request: asked.append(request.url) if "/box?" in request.url and both in request.url else 0
    )
    shown = Comparison.load(FIRST_VISIT)
    named = EXAMPLE_SCREENS[0].draw().find(EXAMPLE_SCREENS[0].name)
    word = next(index for index, token in enumerate(shown.tokens) if token.text == f" {named.shape}")
    boxes = [named.box, (71, 102, 137, 168)]
    scores = box_scores(shown, boxes, word)
    page.get_by_role("button", name="Box", exact=True).click()
    for name, edge in zip(("top", "left", "bottom", "right"), boxes[1], strict=True):
        page.get_by_label(f"{name} edge in pixels").fill(str(edge))
    page.get_by_role("button", name="add box").click()
    for layer in (1, 3):
        page.locator(".lav-layer-cell").nth(layer).click()
        for index, name in enumerate(scores.variants):
            said = page.locator(f'.lav-box-numbers [data-variant="{name}"] b')
            expect(said).to_have_text(f"{number(float(scores.mean.share[index, layer]), 'share')} %")
    assert len(asked) == 1
    keep(page, "box")


# ---------------------------------------------------------------------------------------------------- in a report


def test_a_report_holds_the_boxes_that_were_drawn_and_says_that_it_can_measure_no_others(
    browser: Browser, tmp_path: Path
) -> None:
    shown = given()
    boxes = [[10, 30, 50, 70], [0, 0, 20, 500]]
    (tmp_path / "boxed.html").write_text(report_html(shown, choice={"boxes": boxes, "layer": 2, "token": FIRST}))
    context = browser.new_context(offline=True, viewport={"width": 1300, "height": 900})
    page, said = context.new_page(), []
    page.on("pageerror", lambda error: said.append(str(error)))
    page.goto((tmp_path / "boxed.html").as_uri() + "#box=1,1,5,5")  # no other than it holds
    page.wait_for_selector("canvas[data-key]")
    scores = box_scores(shown, boxes, FIRST)
    told = page.locator('.lav-box-numbers [data-variant="find-red"] b')
    expect(told).to_have_text(f"{number(float(scores.mean.share[1, 2]), 'share')} %")
    page.locator(".lav-layer-cell").nth(3).click()
    expect(told).to_have_text(f"{number(float(scores.mean.share[1, 3]), 'share')} %")
    expect(page.locator(".lav-frame").first.locator(".lav-box")).to_have_count(2)
    expect(page.get_by_role("button", name="Box", exact=True)).to_have_count(0)
    expect(page.locator(".lav-box-form")).to_be_hidden()
    expect(page.locator(".lav-box-said")).to_contain_text("no others can be measured here")
    page.locator('[data-choice="head"]').select_option("1")
    assert scores.heads
    expect(told).to_have_text(f"{number(float(scores.heads.share[1, 3, 1]), 'share')} %")
    page.locator("[data-measure=box]").click()
    page.locator('[data-token="8"]').click()
    other = box_scores(shown, boxes, 8)
    expect(told).to_have_text(f"{number(float(other.mean.share[1, 3]), 'share')} %")
    expect(page.locator("[data-measure=box]")).to_have_attribute("aria-pressed", "true")
    foot = page.locator(".report-foot")
    expect(foot).to_contain_text("Inside, too: the numbers in the 2 boxes drawn when this file was saved.")
    context.close()
    assert said == []


# --------------------------------------------------------------------------------------------- where attention goes


def heights(chart: Locator) -> list[list[float]]:
    """Per column its parts' shares of its height, from the bottom."""
    found: list[list[float]] = chart.evaluate(
        """(row) => [...row.children].map((column) => {
          const whole = column.getBoundingClientRect().height;
          return [...column.children].map((part) => part.getBoundingClientRect().height / whole);
        })"""
    )
    return found


def test_each_layers_attention_is_a_column_of_its_recorded_shares(drawn: Drawn) -> None:
    page = drawn.page
    charts = page.locator(".lav-share-columns")
    for index, own in enumerate(drawn.shown.recordings):
        recorded = own.group_share[FIRST].mean(axis=1, dtype=float)
        expect(charts.nth(index).locator("[aria-pressed=true]")).to_have_count(1)  # it is drawn once the hand rests
        for column, expected in zip(heights(charts.nth(index)), recorded, strict=True):
            assert column == pytest.approx(expected.tolist(), abs=0.005)
    patterns = page.locator(".lav-share-legend i").evaluate_all(
        "(all) => all.map((one) => getComputedStyle(one).backgroundImage)"
    )
    assert len(set(patterns)) == 4  # told apart without colour
    expect(page.locator(".lav-share-legend li")).to_have_text(["answer", "template and system", "question", "image"])
    column = page.get_by_role("button", name="layer 3: image", exact=False).first
    column.click()
    assert page.evaluate("viewer.choice().layer") == 3
    expect(column).to_have_attribute("aria-pressed", "true")
    base, adapter = (own.group_share[FIRST, 3].mean(axis=0, dtype=float) for own in drawn.shown.recordings)
    change = number(round(float(adapter[0] - base[0]), 6), "share difference", sign=True)
    expect(page.locator(".lav-share-line")).to_contain_text(
        f"image {100 * base[0]:.1f} % → {100 * adapter[0]:.1f} % ({change} pp)"
    )
    page.get_by_text("as a table").click()
    row = page.locator(".lav-shares-card tbody tr").nth(3)
    texts = [f"{100 * share:.1f} %" for share in (*base, *adapter)]
    expect(row.locator("td")).to_have_text(texts)
    page.evaluate("viewer.choose({head: 1, token: 7})")
    one = drawn.shown.recordings[1].group_share[FIRST, 3, 1]
    expect(row.locator("td").nth(4)).to_have_text(f"{100 * float(one[0]):.1f} %")
