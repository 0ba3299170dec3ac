"""An answer that says a place: the viewer opens on its digits, and offers them beside its chips."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from playwright.sync_api import Browser, Page, expect

from inference.records import Comparison
from tests.browser.conftest import borrowed_page
from tests.browser.viewer_page import ViewerServer, serve
from tests.visualize.factory import comparison, first_answer, photo, recording, tokens
from tests.visualize.said_answers import answering

pytestmark = pytest.mark.browser

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
