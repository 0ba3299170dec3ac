"""What a person does on the page, and what they see of it, in the words of the tests."""

import os
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image
from playwright.sync_api import Locator, Page, expect

from tests.browser.conftest import PATIENCE


def keep(page: Page, name: str) -> None:
    """Save a screenshot where `SCREENSHOTS` says."""
    if folder := os.environ.get("SCREENSHOTS"):
        Path(folder).mkdir(parents=True, exist_ok=True)
        page.screenshot(path=Path(folder, f"{name}.png"), full_page=True)


def a_photo(folder: Path, width: int = 320, height: int = 224) -> Path:
    """A photo with a hostile name."""
    rng = np.random.default_rng(1)
    coarse = Image.fromarray(rng.integers(0, 255, (7, 10, 3), dtype=np.uint8))
    path = folder / "photo <b onclick=x>.png"
    coarse.resize((width, height), Image.Resampling.BILINEAR).save(path)
    return path


def hand_in(page: Page, path: Path) -> None:
    """Choose a file, and wait until the server has it."""
    field = page.locator("#photo")
    expect(field.locator("img").or_(field.get_by_text("Drop Image Here")).first).to_be_visible()
    if field.locator("img").count():
        take_away(page)
    field.locator("input[type=file]").first.set_input_files(path)
    page.wait_for_selector("#photo img")


def take_away(page: Page) -> None:
    """Take the photo away, once it is there, and wait: a file would go to a field that is about to be replaced."""
    clear = page.locator("#photo button[aria-label='Clear'], #photo button[aria-label='Remove Image']")
    clear.first.click()
    expect(clear).to_have_count(0)


def write_prompt(page: Page, words: str) -> None:
    """Replace the prompt."""
    page.locator("#prompt textarea").fill(words)


def choose_adapter(page: Page, name: str) -> None:
    """Choose one adapter in the menu, and no other."""
    page.locator("#adapter .remove-all").click()
    add_adapter(page, name)


def add_adapter(page: Page, name: str) -> None:
    """Choose one more adapter in the menu."""
    page.locator("#adapter input").click()
    page.get_by_role("option", name=name, exact=True).click()


def panes(page: Page) -> Locator:
    """The pictures that are shown now."""
    return page.locator(".lav-pane:not([hidden]) canvas[data-key]")


def caption(page: Page) -> Locator:
    """What stands under the first picture."""
    return page.locator(".lav-pane .lav-caption").first


def result_key(page: Page) -> str:
    """Which result the pictures are of, all read at one moment."""
    keys = set(panes(page).evaluate_all("(all) => all.map((one) => one.dataset.key)"))
    assert len(keys) <= 1, "a mixed picture"
    return keys.pop() if keys else ""


def where(page: Page) -> Locator:
    """The heading that says what the pictures show."""
    return page.locator(".lav-where")


def slider(page: Page) -> Locator:
    """The layer slider."""
    return page.locator("input[data-choice=layer]")


def set_layer(page: Page, layer: int) -> None:
    """Drag the slider to a layer."""
    slider(page).evaluate(
        "(slider, layer) => { slider.value = layer; slider.dispatchEvent(new Event('input', {bubbles: true})); }", layer
    )


def analyze(page: Page) -> None:
    """Press the button, and wait for the new result."""
    have_analyzed(page, page.locator("#go"))


def have_analyzed(page: Page, pressed: Locator) -> None:
    """Press what begins an analysis, and wait for the new result."""
    before = result_key(page)
    pressed.click()
    changed = "before => (document.querySelector('.lav-pane canvas[data-key]')?.dataset.key ?? before) !== before"
    page.wait_for_function(changed, arg=before)
    expect(page.locator("#stop")).to_be_disabled()
    expect(panes(page)).to_have_count(3)


def until(condition: Callable[[], bool], page: Page) -> None:
    """Wait for something on the server's side while the page goes on living."""
    end = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < end, "what was waited for did not come"
        page.wait_for_timeout(20)
