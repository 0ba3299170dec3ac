"""A report as a colleague opens it: from disk, without a network. Everything in it works, and says what Python says."""

import base64
import json
import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from playwright.sync_api import Browser, Locator, Page, expect

from tests.visualize.factory import GRID, HEADS, LAYERS, comparison, photo, recording, tokens, with_sinks
from tests.visualize.report_read import Page as Document
from tests.visualize.written_out import digits, row
from visualize import StackChoice, heads_body, notebook_html, rank_heads, report_html, stack_body
from visualize.report.bundle import bundle

pytestmark = [pytest.mark.browser, pytest.mark.slow]
FOCUS = 7


def given():
    words = tokens(prompt=("What", " is", " red", "?"), answer=(" red", " circle", " שלום"))
    return comparison(recording(row=words), recording("find-red", row=words, seed=1), image=photo((180, 300)))


class Report:
    """A report in a browser that reaches nothing but the file."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.asked: list[str] = []
        self.said: list[str] = []
        page.on("request", lambda request: self.asked.append(request.url))
        page.on("console", lambda message: self.said.append(message.text))
        page.on("pageerror", lambda error: self.said.append(str(error)))

    def open(self, path: Path, hash_: str = "") -> None:
        self.page.goto(f"{path.as_uri()}{hash_}")
        expect(self.canvas("base")).to_be_visible()

    def canvas(self, variant: str) -> Locator:
        return self.page.locator(f'canvas[data-variant="{variant}"]')

    def shows(self, *, layer: int | None = None, token: object = None) -> None:
        """Whether all three panes are painted so."""
        for variant in ("base", "find-red", "find-red − base"):
            for name, value in (("layer", layer), ("token", token)):
                if value is not None:
                    expect(self.canvas(variant)).to_have_attribute(f"data-{name}", str(value))

    @property
    def where(self) -> Locator:
        return self.page.locator(".lav-where")


@pytest.fixture
def report(browser: Browser) -> Iterator[Report]:
    context = browser.new_context(viewport={"width": 1300, "height": 900}, offline=True)
    opened = Report(context.new_page())
    yield opened
    context.close()
    assert not opened.said
    assert all(url.startswith(("file:", "data:", "about:")) for url in opened.asked), opened.asked


@pytest.fixture
def path(tmp_path: Path) -> Path:
    given().report(tmp_path / "run.html")
    return tmp_path / "run.html"


def test_a_report_opens_where_python_says_and_asks_for_nothing(report, path, capsys):
    report.open(path)
    opening = Document(path.read_text(encoding="utf-8")).about()["scene"]["opening"]
    report.shows(layer=opening["layer"], token=opening["token"])
    with capsys.disabled():
        print(f"\nfirst picture after {report.page.evaluate('performance.now()'):.0f} ms")
    assert [url for url in report.asked if not url.startswith("data:")] == [path.as_uri()]


def test_the_slider_goes_through_all_layers(report, path):
    report.open(path, f"#token={FOCUS}&layer=0")
    slider = report.page.get_by_role("slider", name="layer")
    slider.focus()
    for layer in range(LAYERS):
        report.shows(layer=layer, token=FOCUS)
        expect(report.where).to_have_text(f"Predicting “red” · layer {layer} · mean of all heads · raw view")
        expect(slider).to_have_value(str(layer))
        slider.press("ArrowRight")


def test_on_paper_bars_are_printed_and_what_nobody_can_press_is_not(report, path):
    report.open(path)
    page = report.page
    page.emulate_media(media="print")
    assert page.evaluate("getComputedStyle(document.querySelector('.lav-chip i')).printColorAdjust") == "exact"
    for name in (".lav-controls", ".lav-keys", ".lav-strip-of-layers"):
        expect(page.locator(name)).to_be_hidden()
    expect(page.locator(".lav-matrix")).to_be_visible()


def test_a_click_on_a_token_shows_it_and_one_that_is_not_inside_says_so(report, path):
    report.open(path)
    for token in (8, 9, 7):
        report.page.locator(f'.lav-chip[data-token="{token}"]').click()
        report.shows(token=token)
    report.page.get_by_text("template and special tokens").click()
    report.page.locator('.lav-chip[data-token="0"]').click()
    expect(report.page.get_by_text("This token is not in the report.")).to_be_visible()
    expect(report.page.get_by_role("button", name="try again")).to_have_count(0)  # it cannot help
    report.shows(token=7)
    report.page.locator('.lav-chip[data-token="8"]').click()
    report.shows(token=8)
    report.page.locator('[data-choice="window"]').select_option("1")
    report.page.locator('.lav-chip[data-token="9"]').click()
    expect(report.page.get_by_text("This window of layers is not in the report for this token.")).to_be_visible()


def test_hover_says_the_recorded_values_of_all_panes(report, path):
    report.open(path, f"#token={FOCUS}&layer=2")
    report.shows(layer=2, token=FOCUS)
    box = report.canvas("find-red").bounding_box()
    rows = [row(each, FOCUS, [2]) for each in given().recordings]
    maps = {"base": rows[0], "find-red": rows[1], "find-red − base": rows[1] - rows[0]}
    for cell in ((0, 0), (1, 3), (2, 4)):
        place = [(index + 0.5) / count for index, count in zip(cell, GRID, strict=True)]
        report.page.mouse.move(box["x"] + box["width"] * place[1], box["y"] + box["height"] * place[0])
        expect(report.page.locator(".lav-at")).to_have_text(f"row {cell[0]}, column {cell[1]}")
        for name, heat in maps.items():
            said = report.page.locator(f'.lav-said[data-variant="{name}"] b').inner_text()
            value, unit = re.fullmatch(r"(\S+) (%|pp)", said).groups()
            assert unit == ("pp" if "−" in name else "%")
            expected = 100 * heat[cell]
            assert float(value.replace("−", "-")) == pytest.approx(expected, rel=2**-11 + 0.006), (name, cell)


def test_a_cell_of_the_matrix_goes_to_its_head(report, path):
    report.open(path)
    field = report.page.locator(".lav-matrix-field")
    box = field.bounding_box()
    for layer, head in ((3, 0), (1, 2)):
        x, y = box["width"] * (layer + 0.5) / LAYERS, box["height"] * (head + 0.5) / HEADS
        field.click(position={"x": x, "y": y})
        report.shows(layer=layer, token=FOCUS)
        expect(report.where).to_have_text(f"Predicting “red” · layer {layer} · head {head} · raw view")


def test_all_heads_of_a_layer_stand_in_their_order_and_a_click_goes_to_one(report, path):
    report.open(path, f"#token={FOCUS}&layer=1")
    report.page.get_by_text("all heads of layer 1").click()
    cells = report.page.locator(".lav-head-cell")
    expect(cells).to_have_count(HEADS)
    ranked = [each.head for each in rank_heads(given().recordings, 1)]
    assert cells.evaluate_all("cells => cells.map(cell => Number(cell.dataset.head))") == ranked
    cells.nth(1).click()
    expect(report.where).to_have_text(f"Predicting “red” · layer 1 · head {ranked[1]} · raw view")


def test_the_numbers_are_the_records(report, path):
    report.open(path, f"#token={FOCUS}&layer=2")
    report.shows(layer=2)
    rows = [row(each, FOCUS, [2]).sum() * 100 for each in given().recordings]
    table = report.page.get_by_role("row").filter(has_text="Share of attention on the image")
    for value in (digits(rows[0]), digits(rows[1]), digits(rows[1] - rows[0], sign=True)):
        expect(table).to_contain_text(value)


def test_a_report_opens_at_the_view_that_the_address_names_and_writes_it_there(report, path):
    report.open(path, f"#token={FOCUS}&layer=3&head=1")
    report.shows(layer=3, token=FOCUS)
    expect(report.where).to_contain_text("head 1")
    report.page.get_by_role("slider", name="layer").press("ArrowLeft")
    report.shows(layer=2)
    expect(report.page).to_have_url(re.compile("[#&]layer=2&"))
    report.page.evaluate("location.hash = '#layer=0&token=8&head=mean'")
    report.shows(layer=0, token=8)


def test_every_body_that_is_opened_in_the_browser_is_the_one_that_python_packed(report, tmp_path):
    three = comparison(with_sinks(), with_sinks("a", seed=1), with_sinks("b", seed=2))
    html = report_html(three)
    html = html.replace(
        bundle("report"), bundle("report_source") + "\nwindow.opened = $report_source.reportSource('', false);"
    )
    (tmp_path / "bare.html").write_text(html, encoding="utf-8")
    report.page.goto((tmp_path / "bare.html").as_uri())
    base64_of = """async ([kind, ...given]) => {
        const bytes = new Uint8Array(await window.opened[kind](...given));
        return btoa(Array.from(bytes, (byte) => String.fromCharCode(byte)).join(""));
    }"""
    document = Document(html)
    for text in document.numbers("stack"):
        key = json.loads(text)
        token = tuple(key["token"]) if isinstance(key["token"], list) else key["token"]
        choice = StackChoice(token, key["head"], key["view"], key["window"], key["against"])
        assert base64.b64decode(report.page.evaluate(base64_of, ["stack", key])) == stack_body(three, choice)
    (key,) = map(json.loads, document.numbers("heads"))
    for layer in range(LAYERS):
        body = base64.b64decode(report.page.evaluate(base64_of, ["heads", {**key, "head": 1}, layer]))
        assert body == heads_body(three, StackChoice(key["token"]), layer)
    for change, words in (
        ({"against": "b"}, "This report compares with base only."),
        ({"token": 0}, "This token is not in the report."),
        ({"token": 8, "head": 0}, "The single heads of this token are not in the report."),
        ({"token": 9, "view": "contrast"}, "The contrast view of this token is not in the report."),
        ({"token": 9, "window": 2}, "This window of layers is not in the report for this token."),
    ):
        refusal = "choice => window.opened.stack(choice).catch((problem) => problem)"
        assert report.page.evaluate(refusal, {**key, **change}) == {"code": "not_in_report", "message": words}


def test_a_photo_is_under_the_maps(report, path):
    """With no opacity a pane is the photo, as JPEG keeps it."""
    report.open(path, "#opacity=0&marks=false")
    canvas = report.canvas("base")
    expect(canvas).to_have_attribute("data-layer", re.compile(r"\d"))
    found = canvas.evaluate("""canvas => {
        const { width, height } = canvas;
        return [width, height, ...canvas.getContext("2d").getImageData(0, 0, width, height).data];
    }""")
    pixels = np.array(found[2:]).reshape(found[1], found[0], 4)[..., :3]
    whole = given().image.mean(axis=(0, 1))
    assert np.abs(pixels.mean(axis=(0, 1)) - whole).max() < 3


def test_a_notebook_shows_it_in_a_frame_that_reaches_nothing(report, tmp_path):
    cell = f"<!doctype html><meta charset=utf-8><body>{notebook_html(given())}"
    (tmp_path / "cell.html").write_text(cell, encoding="utf-8")
    report.page.goto((tmp_path / "cell.html").as_uri())
    frame = report.page.frame_locator("iframe")
    slider = frame.get_by_role("slider", name="layer")
    slider.focus()
    for key, layer in (("Home", 0), ("ArrowRight", 1), ("End", LAYERS - 1)):
        slider.press(key)
        expect(frame.locator('canvas[data-variant="base"]')).to_have_attribute("data-layer", str(layer))
    frame.locator('.lav-chip[data-token="8"]').click()
    expect(frame.locator('canvas[data-variant="base"]')).to_have_attribute("data-token", "8")
    assert report.page.evaluate("location.hash") == ""
