"""The cards under a result, as a person uses them: a price, a click, a sentence that is Python's, a picture, a Stop."""

import re
from pathlib import Path

import numpy as np
import pytest
from playwright.sync_api import Browser, Locator, Page, expect

from tests.browser.conftest import ScriptedServer, Watched, open_page
from tests.browser.steps import a_photo, analyze, hand_in, keep, until, write_prompt
from tests.scripted_backend import HEADS, HOSTILE, LAYERS
from tests.visualize.factory import comparison, recording
from tests.visualize.factory import tokens as words
from tests.visualize.findings import explained
from visualize import finding
from visualize.findings.finding import findings

pytestmark = [pytest.mark.browser, pytest.mark.slow]
FIRST = 5  # the scripted answer's first token


def card(page: Page, name: str) -> Locator:
    return page.locator(f'[data-card="{name}"]')


def sentence(page: Page, name: str) -> Locator:
    return card(page, name).locator(".lav-sentence-found")


def find_out(page: Page, name: str) -> None:
    """Ask, and wait until the question is over."""
    card(page, name).get_by_role("button", name="Find out").click()
    expect(card(page, name).locator(".lav-asking")).to_be_hidden()
    expect(card(page, name).get_by_role("button", name="Find out")).to_be_enabled()


def token(page: Page, index: int) -> None:
    page.locator(f'.lav-chip[data-token="{index}"]').click()
    expect(page.locator(".lav-pane canvas[data-key]").first).to_have_attribute("data-token", str(index))


def begin(watched: Watched, folder: Path) -> Page:
    page = watched.page
    hand_in(page, a_photo(folder))
    write_prompt(page, "What is here?")
    analyze(page)
    token(page, FIRST)
    return page


def test_a_question_has_its_price_its_progress_its_stop_and_its_sentence(scripted: Watched, tmp_path: Path) -> None:
    page, backend = begin(scripted, tmp_path), scripted.backend
    expect(page.locator(".lav-finding h3")).to_have_text(
        [
            "Seeing, looking or saying?",
            "Which heads carry it?",
            "Does it need to look there?",
            "More than chance?",
            "Which part of the adapter?",
        ]
    )
    expect(card(page, "attribution").locator(".lav-price")).to_have_text("8 replays, about 0.8 s")
    heads = 8 + 2 * (LAYERS + LAYERS * HEADS)
    expect(card(page, "heads").locator(".lav-price")).to_have_text(re.compile(f"^{heads} replays, about "))

    # progress and Stop, with the keyboard
    closed = backend.closed_early
    backend.hold()
    card(page, "heads").get_by_role("button", name="Find out").focus()
    page.keyboard.press("Enter")
    expect(card(page, "heads").locator(".lav-asking .lav-note")).to_have_text(f"Replay 1 of {heads}")
    expect(card(page, "heads").locator("progress")).to_have_attribute("max", str(heads))
    expect(card(page, "attribution").get_by_role("button", name="Find out")).to_be_disabled()
    card(page, "heads").get_by_role("button", name="Stop").click()
    expect(card(page, "heads").locator(".lav-status-line")).to_have_text(
        "Stopped. What was found before is still here."
    )
    assert backend.closed_early == closed, "said while the engine is still at that replay"
    backend.let_go()
    until(lambda: backend.closed_early == closed + 1, page)

    # the sentence is Python's, on what was asked
    find_out(page, "heads")
    answered = backend.explain(backend.requests[-1], backend.questions[-1])
    for name, said in zip(("attribution", "heads"), findings(answered), strict=True):
        expect(sentence(page, name)).to_have_text(said.sentence)
    expect(card(page, "heads")).to_contain_text("token 5 “The”, the answer's first · base → find-red")
    expect(page.locator(".lav-cards > [role=status]")).to_contain_text("Looking carries")  # read out

    # what carries the change is the default order now; what changed most is another one
    expect(page.locator('[data-measure="carries"]')).to_have_attribute("aria-pressed", "true")
    page.locator('[data-choice="layer"]').fill("0")
    menu = page.locator('[data-choice="head"] optgroup').last
    expect(menu).to_have_attribute("label", "by what each carries of the change")
    expect(menu.locator("option").first).to_have_text(re.compile(r"^head 1 · carries \+0\.\d+ nats$"))
    page.locator(".lav-all-heads summary").click()
    expect(page.locator(".lav-head-cell").first).to_have_attribute("data-head", "1")
    page.get_by_role("button", name="changed most").click()
    expect(menu).to_have_attribute("label", "ranked for this token and layer")
    expect(page.locator(".lav-matrix-said")).to_contain_text("of “The”, find-red − base")
    # while a word of the question is looked at, what is found is of the answer's, and says of which
    page.evaluate("attentionPage.viewer.choose({ token: 2 })")
    expect(page.locator(".lav-pane canvas[data-key]").first).to_have_attribute("data-token", "2")
    find_out(page, "heads")
    expect(page.locator(".lav-matrix-said")).to_contain_text("of “<img src=x onerror=alert(1)>”, find-red − base")
    token(page, FIRST)
    find_out(page, "heads")

    # another token: what was found is dimmed and says of what; found out again, it counts for that one
    token(page, FIRST + 1)
    expect(card(page, "attribution")).to_have_class(re.compile("lav-old"))
    expect(card(page, "attribution").locator(".lav-old-words")).to_contain_text("Of token 5 “The”")
    expect(page.locator('[data-measure="carries"]')).to_have_count(0)
    before = sentence(page, "attribution").inner_text()
    find_out(page, "attribution")
    expect(card(page, "attribution")).not_to_have_class(re.compile("lav-old"))
    expect(sentence(page, "attribution")).not_to_have_text(before)
    asked = len(backend.questions)
    token(page, FIRST)
    expect(sentence(page, "attribution")).to_have_text(before)
    expect(page.locator('[data-measure="carries"]')).to_have_count(1)
    assert len(backend.questions) == asked
    keep(page, "cards")


def test_every_card_answers_and_a_refusal_is_its_sentence(scripted: Watched, tmp_path: Path) -> None:
    page, backend = begin(scripted, tmp_path), scripted.backend
    for name in ("knockout", "chance", "parts"):
        find_out(page, name)
        answered = backend.explain(backend.requests[-1], backend.questions[-1])
        expect(sentence(page, name)).to_have_text(finding(answered).sentence)
    expect(page.locator(".lav-within-words")).to_have_text(re.compile(r"^Layer \d: \d of 4 heads beyond chance"))
    page.locator('[data-choice="layer"]').fill("2")
    page.locator('[data-choice="head"]').select_option("3")
    expect(page.locator(".lav-within-words")).to_contain_text("within chance")
    expect(page.locator(".lav-numbers")).to_have_class(re.compile("lav-within"))
    alphas = page.evaluate(
        "() => { const c = document.querySelector('.lav-matrix .lav-matrix-cells');"
        " return [...c.getContext('2d').getImageData(0, 0, c.width, c.height).data].filter((_, i) => i % 4 === 3); }"
    )
    within = np.array(alphas).reshape(HEADS, LAYERS).T < 255
    assert (~within).sum() == 2  # the script's two heads
    assert not within[0, 1]
    assert not within[LAYERS - 1, 2]
    # a token that no sentence may run
    token(page, FIRST + 2)
    find_out(page, "attribution")
    expect(sentence(page, "attribution")).to_contain_text(HOSTILE)
    assert page.evaluate("globalThis.owned") is None
    # several words of the answer
    token(page, FIRST)
    page.locator(f'.lav-rows .lav-chip[data-token="{FIRST + 1}"]').first.click(modifiers=["Shift"])
    find_out(page, "attribution")
    expect(card(page, "attribution").locator(".lav-status-line")).to_contain_text("Click one word of the answer")
    expect(sentence(page, "attribution")).to_be_visible()
    keep(page, "cards-all")


@pytest.mark.parametrize("dark", [False, True])
def test_on_a_phone_nothing_is_wider_than_the_page(
    browser: Browser, scripted_server: ScriptedServer, tmp_path: Path, dark: bool
) -> None:
    for watched in open_page(browser, scripted_server.address, 390, dark=dark, backend=scripted_server.backend):
        page = begin(watched, tmp_path)
        for name in ("heads", "knockout", "chance", "parts"):
            find_out(page, name)
        assert page.evaluate("document.documentElement.scrollWidth") <= 390
        keep(page, f"cards-phone-{'dark' if dark else 'light'}")


def test_a_report_holds_what_was_found_and_offers_no_question(browser: Browser, tmp_path: Path) -> None:
    row = words()
    shown = comparison(recording(row=row), recording("find-red", row=row, seed=1))
    by_head = np.zeros((4, 3))
    by_head[2, 1] = 1.5
    found = [explained.attribution(by_head=by_head), explained.chance(), explained.parts()]
    shown.report(tmp_path / "run.html", found)
    context = browser.new_context(viewport={"width": 1300, "height": 900}, offline=True)
    page, said = context.new_page(), []
    page.on("pageerror", lambda error: said.append(str(error)))
    page.goto((tmp_path / "run.html").as_uri() + f"#token={len(explained.TOKENS) - 1}")
    expect(page.locator(".lav-finding")).to_have_count(4)
    for each in found:
        for one in findings(each):
            expect(sentence(page, one.card)).to_have_text(one.sentence)
            expect(card(page, one.card)).not_to_have_class(re.compile("lav-old"))
    expect(page.get_by_role("button", name="Find out")).to_have_count(0)
    expect(page.locator('[data-measure="carries"]')).to_have_attribute("aria-pressed", "true")
    keep(page, "cards-report")
    context.close()
    assert said == []
