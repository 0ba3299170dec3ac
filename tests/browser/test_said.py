"""An answer that says a place: the viewer opens on its digits, offers them beside its chips, and marks the place."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect

from inference.records import Comparison
from tests.browser.conftest import borrowed_page
from tests.browser.viewer_page import ViewerServer, serve
from tests.visualize.factory import comparison, first_answer, photo, recording, tokens
from tests.visualize.said_answers import answering
from visualize import StackChoice, report_html
from visualize.stacks.box_body import box_body

pytestmark = [pytest.mark.browser, pytest.mark.slow]

SIZE = (60, 100)
SAYS, OTHER = "(530, 500)", "(100, 900)"
ROW = tokens(answer=tuple(SAYS), end=False)
START = first_answer(ROW)
DIGITS = [START + at for at, letter in enumerate(SAYS) if letter.isdigit()]
SETTLED = "() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))"


def given() -> Comparison:
    base = answering(recording(row=ROW, focus=DIGITS), OTHER)
    return comparison(base, answering(recording("find-red", row=ROW, focus=DIGITS, seed=1), SAYS), image=photo(SIZE))


@contextmanager
def opened(browser: Browser, shown: Comparison) -> Iterator[tuple[Page, ViewerServer]]:
    with serve(shown) as server, borrowed_page(browser) as page:
        page.goto(server.address)
        expect(page.locator(".lav-canvas").first).to_have_attribute("data-key", "first")
        yield page, server


PRESSED = """(tokens) => String([...document.querySelectorAll(".lav-chip[data-token][aria-pressed=true]")]
  .map((chip) => chip.dataset.token)) === String(tokens)"""


def expect_pressed(page: Page, tokens: list[int]) -> None:
    page.wait_for_function(PRESSED, arg=tokens)


def test_it_opens_on_the_digits_of_an_answer_that_says_a_place(browser: Browser):
    with opened(browser, given()) as (page, server):
        assert page.evaluate("viewer.choice().token") == "digits"
        expect_pressed(page, DIGITS)
        button = page.get_by_role("button", name="digits of the answer")
        expect(button).to_have_attribute("aria-pressed", "true")
        expect(page.locator(".lav-canvas").first).to_have_attribute("data-token", "digits")
        expect(page.locator(".lav-where")).to_contain_text("Predicting the mean of tokens")
        assert "token=digits" in next(each for each in server.asked if each.startswith("/stack?"))
        page.evaluate("viewer.choose({ head: 1 })")  # recorded: nobody is asked
        expect(page.locator(".lav-where")).to_contain_text("head 1")
        assert page.evaluate("told") == []
        page.wait_for_function("location.hash.includes('token=digits')")


def test_the_button_leads_back_to_them_and_keys_and_shift_go_on_from_their_ends(browser: Browser):
    with opened(browser, given()) as (page, _):
        button = page.get_by_role("button", name="digits of the answer")
        page.locator(f".lav-chip[data-token='{START}']").click()
        expect_pressed(page, [START])
        expect(button).to_have_attribute("aria-pressed", "false")
        button.click()
        expect_pressed(page, DIGITS)
        page.keyboard.press("]")
        expect_pressed(page, [DIGITS[-1] + 1])
        button.click()
        page.keyboard.press("[")
        expect_pressed(page, [DIGITS[0] - 1])
        button.click()
        page.locator(f".lav-chip[data-token='{START + 4}']").click(modifiers=["Shift"])
        expect_pressed(page, list(range(DIGITS[0], START + 5)))


def test_an_address_names_them_and_a_result_without_digits_has_none(browser: Browser):
    with opened(browser, given()) as (page, server):
        page.wait_for_function("location.hash.includes('token=digits')")
        page.goto(f"{server.address}/#token={START}&head=mean")
        page.wait_for_function("(token) => viewer.choice().token === token", arg=START)
        page.evaluate("location.hash = '#token=digits&head=mean'")
        page.wait_for_function("viewer.choice().token === 'digits'")
    plain = comparison(recording(), recording("find-red", seed=1), image=photo(SIZE))
    with opened(browser, plain) as (page, _):
        assert page.get_by_role("button", name="digits of the answer").count() == 0
        page.evaluate("location.hash = '#token=digits&head=mean'")
        page.evaluate(SETTLED)
        assert page.evaluate("typeof viewer.choice().token") == "number"


def middles(page: Page, variant: str, pane: int = 0) -> list[list[float]]:
    """Where a variant's marks stand on a pane, as fractions of its width and height."""
    return page.locator(f".lav-said-marks >> nth={pane}").evaluate(
        """(layer, variant) => [...layer.querySelectorAll(`g[data-variant="${variant}"]`)].map((group) => {
          const [box, all] = [group.getBoundingClientRect(), layer.getBoundingClientRect()];
          return [(box.x + box.width / 2 - all.x) / all.width, (box.y + box.height / 2 - all.y) / all.height];
        })""",
        variant,
    )


def test_every_pane_marks_what_both_variants_say_at_its_place(browser: Browser):
    with opened(browser, given()) as (page, _):
        expect(page.locator(".lav-spoken")).to_be_visible()
        for pane in range(3):
            assert middles(page, "base", pane) == [pytest.approx([0.1, 0.9], abs=0.004)]
            assert middles(page, "find-red", pane) == [pytest.approx([0.53, 0.5], abs=0.004)]
        legend = page.locator(".lav-said-list li")
        expect(legend).to_have_count(2)
        expect(legend.nth(0)).to_contain_text("orange cross or dashes: base says 10, 54 (x, y in pixels)")
        expect(legend.nth(1)).to_contain_text("blue cross in a diamond or dashes: find-red says 53, 30")
        numbers = page.locator(".lav-numbers")
        expect(numbers).to_contain_text("From where it looks to where it says")
        expect(numbers).to_contain_text("53, 30")


def test_marks_are_switched_off_and_on_and_the_address_keeps_it(browser: Browser):
    with opened(browser, given()) as (page, _):
        toggle = page.get_by_role("checkbox", name="mark what they say")
        expect(page.locator(".lav-said-marks g")).to_have_count(6)
        toggle.click()
        expect(page.locator(".lav-said-marks g")).to_have_count(0)
        expect(page.locator(".lav-said-list li")).to_have_count(2)  # it is still said
        page.wait_for_function("location.hash.includes('said=false')")
        toggle.click()
        expect(page.locator(".lav-said-marks g")).to_have_count(6)


def test_marks_keep_their_place_on_the_photo_when_it_is_zoomed(browser: Browser):
    with opened(browser, given()) as (page, _):
        page.get_by_role("button", name="zoom in (+)").click()  # about the middle, by 1.5
        page.wait_for_function(
            """() => { const group = document.querySelector('.lav-said-marks g[data-variant="find-red"]');
              const [box, all] = [group, group.parentNode].map((node) => node.getBoundingClientRect());
              return Math.abs((box.x + box.width / 2 - all.x) / all.width - (0.5 + 0.03 * 1.5)) < 0.006; }"""
        )


def test_a_said_box_is_dashed_and_words_of_an_answer_stay_words(browser: Browser):
    answer = '{"bbox_2d": [100, 200, 500, 800], "label": "<img src=x onerror=globalThis.owned=1>"} (5, '
    row = tokens(answer=tuple(answer), end=False)
    shown = comparison(answering(recording(row=row), answer), recording("find-red", row=row, seed=1), image=photo(SIZE))
    with opened(browser, shown) as (page, _):
        assert middles(page, "base") == [pytest.approx([0.3, 0.5], abs=0.004)]
        dashed = page.locator(".lav-said-marks g[data-variant=base] path[stroke-dasharray]")
        expect(dashed).to_have_count(3)
        expect(page.locator(".lav-said-list")).to_contain_text("not read: “(5, ”")
        assert page.evaluate("globalThis.owned") is None


def test_without_a_place_there_is_no_legend(browser: Browser):
    plain = comparison(recording(), recording("find-red", seed=1), image=photo(SIZE))
    with opened(browser, plain) as (page, _):
        expect(page.locator(".lav-spoken")).to_be_hidden()
        expect(page.locator(".lav-said-marks g")).to_have_count(0)


def test_a_box_has_its_verdict_in_words(browser: Browser):
    shown = given()
    with opened(browser, shown) as (page, _):
        page.evaluate("viewer.choose({ boxes: [[20, 40, 40, 60]], layer: 1 })")
        verdict = page.locator(".lav-box-verdict")
        expect(verdict).to_have_count(2)
        found = box_body(shown, (20, 40, 40, 60), StackChoice("digits"))
        numbers: Any = found["numbers"]
        for at, name in enumerate(("base", "find-red")):
            expect(verdict.nth(at)).to_have_text(f"{name} {numbers[name]['verdict']['mean'][1]}")
        expect(page.locator(".lav-box-panel")).to_contain_text(str(found["said"][1]))


def test_a_report_marks_them_too(browser: Browser, tmp_path: Path):
    path = tmp_path / "report.html"
    path.write_text(report_html(given()), encoding="utf-8")
    with borrowed_page(browser) as page:
        page.goto(path.as_uri())
        expect(page.locator(".lav-said-marks g")).to_have_count(6)
        assert middles(page, "find-red", 2) == [pytest.approx([0.53, 0.5], abs=0.004)]
        expect(page.get_by_role("button", name="digits of the answer")).to_have_attribute("aria-pressed", "true")
