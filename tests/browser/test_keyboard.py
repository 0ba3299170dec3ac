"""A person without a mouse: what the keys do, where the focus is, that it can be seen."""

from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import Watched
from tests.browser.steps import a_photo, caption, hand_in, panes, set_layer, slider, where

pytestmark = [pytest.mark.browser, pytest.mark.slow]

READ_FOCUS = """() => {
  const node = document.activeElement;
  if (!node || node === document.body) return null;
  let paper = node.parentElement;
  while (paper && getComputedStyle(paper).backgroundColor.endsWith(', 0)')) paper = paper.parentElement;
  const style = getComputedStyle(node);
  const token = node.dataset.token && `token ${node.dataset.token}`;
  const name = token || node.ariaLabel || node.dataset.choice || node.innerText || node.id || node.tagName;
  return { name: name.slice(0, 30), kind: style.outlineStyle, width: parseFloat(style.outlineWidth),
    ring: style.outlineColor, paper: getComputedStyle(paper ?? document.body).backgroundColor };
}"""


def luminance(colour: str) -> float:
    """Relative luminance of `rgb(…)`, WCAG 2.2."""
    parts = [int(part) / 255 for part in colour[colour.index("(") + 1 : -1].split(",")[:3]]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one: str, other: str) -> float:
    """Contrast ratio of two colours, 1–21, WCAG 2.2."""
    light, dark = sorted([luminance(one), luminance(other)], reverse=True)
    return (light + 0.05) / (dark + 0.05)


def walk(page: Page) -> list[dict[str, Any]]:
    """Tab through the whole page: every stop with its ring and the paper around it."""
    page.add_style_tag(content="* { transition: none !important; }")
    expect(page.locator("[data-fold^=words]")).to_have_attribute("open", "")  # the shown word stands in it
    page.locator(".lav-display summary").click()
    page.locator("h1").click()
    stops = []
    while len(stops) < 200:
        page.keyboard.press("Tab")
        stop = page.evaluate(READ_FOCUS)
        if stop is None:
            return stops
        stops.append(stop)
    raise AssertionError(f"the focus goes round: {[stop['name'] for stop in stops[:60]]}")


@pytest.mark.parametrize("scheme", ["visit", "dark"])
def test_whatever_has_the_focus_shows_it(scheme: str, request: pytest.FixtureRequest) -> None:
    page: Page = request.getfixturevalue(scheme).page
    expect(panes(page)).to_have_count(3)
    stops = walk(page)
    faint = [
        stop["name"]
        for stop in stops
        if stop["kind"] != "solid" or stop["width"] < 2 or contrast(stop["ring"], stop["paper"]) < 3
    ]
    assert faint == []
    names = {stop["name"] for stop in stops}
    assert {"adapter", "compared with", "Analyze", "layer", "head", "view", "smooth", "token 5", "display"} <= names


def test_left_and_right_are_layers_and_up_and_down_are_heads_on_the_slider_too(visit: Watched) -> None:
    page = visit.page
    set_layer(page, 2)
    expect(where(page)).to_contain_text("layer 2 ")
    slider(page).focus()
    for key, words in (
        ("ArrowDown", "layer 2 · maximum over heads"),
        ("ArrowUp", "layer 2 · mean of all heads"),
        ("ArrowRight", "layer 3 · mean of all heads"),
        ("ArrowLeft", "layer 2 · mean of all heads"),
        ("End", "layer 5 · mean of all heads"),
        ("Home", "layer 0 · mean of all heads"),
    ):
        page.keyboard.press(key)
        expect(where(page)).to_contain_text(words)
        expect(slider(page)).to_be_focused()
    expect(slider(page)).to_have_attribute("aria-valuetext", "0 of 0–5")
    expect(page.get_by_role("slider", name="layer")).to_have_value("0")
    keys = slider(page).get_attribute("aria-describedby")
    expect(page.locator(f"#{keys}")).to_contain_text("head")


def test_other_fields_keep_their_arrows(visit: Watched) -> None:
    page = visit.page
    page.locator(".lav-display summary").click()
    before = slider(page).input_value()
    opacity = page.locator("input[data-choice=opacity]")
    opacity.focus()
    page.keyboard.press("ArrowUp")
    expect(opacity).to_have_value("0.65")
    expect(page.locator("select[data-choice=head]")).to_have_value("mean")
    page.locator("#prompt textarea").press("ArrowLeft")
    expect(slider(page)).to_have_value(before)


def test_a_chip_keeps_the_focus_and_the_keys_go_on_from_it(visit: Watched) -> None:
    page = visit.page
    set_layer(page, 2)
    expect(where(page)).to_contain_text("layer 2 ")
    chip = page.locator(".lav-rows .lav-chip[data-token]").nth(1)
    number = chip.get_attribute("data-token")
    chip.focus()
    page.keyboard.press("Enter")
    expect(caption(page)).to_contain_text(f"token {number} ")
    expect(chip).to_be_focused()
    expect(chip).to_have_attribute("aria-pressed", "true")
    page.keyboard.press("ArrowRight")
    expect(where(page)).to_contain_text("layer 3 ")
    expect(chip).to_be_focused()
    page.keyboard.press("Tab")
    page.keyboard.press("Space")
    expect(page.locator(".lav-rows .lav-chip[data-token]").nth(2)).to_have_attribute("aria-pressed", "true")
    expect(page.locator(".lav-rows .lav-chip[data-token]").nth(2)).to_be_focused()


def test_words_of_the_question_stay_open_and_focused(visit: Watched) -> None:
    page = visit.page
    question = page.locator("[data-fold^=words]")
    question.locator("summary").focus()
    page.keyboard.press("Enter")
    expect(question).not_to_have_attribute("open", "")  # the shown word stands in it: it was open
    page.keyboard.press("Enter")
    page.keyboard.press("Tab")
    word = question.locator(".lav-chip").first
    expect(word).to_be_focused()
    page.keyboard.press("Enter")
    expect(caption(page)).to_contain_text(f"token {word.get_attribute('data-token')} ")
    expect(question).to_have_attribute("open", "")
    expect(word).to_be_focused()


def test_what_the_pictures_show_is_read_out_when_it_changes(visit: Watched) -> None:
    """A live region speaks only while it stays the same element."""
    page = visit.page
    heading = where(page)
    expect(heading).to_have_attribute("aria-live", "polite")
    heading.evaluate("node => { node.known = true; }")
    set_layer(page, 4)
    expect(heading).to_contain_text("layer 4 ")
    assert heading.evaluate("node => node.known === true")


def test_the_whole_way_goes_without_a_mouse(scripted: Watched, tmp_path: Path) -> None:
    page = scripted.page
    hand_in(page, a_photo(tmp_path))
    page.locator("#prompt textarea").focus()
    page.keyboard.press("Enter")
    expect(panes(page)).to_have_count(3)
    page.locator("#adapter input").focus()
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")
    expect(page.locator(".lav-title").nth(1)).to_have_text("vision-lora")
    expect(page.locator("#go")).to_be_enabled()
    slider(page).focus()
    page.keyboard.press("Home")
    expect(where(page)).to_contain_text("layer 0 ")
