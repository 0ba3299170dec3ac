"""What is drawn can be seen: ticks, words, pictures, on a desk and on a phone, whatever the photo and the names."""

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import Locator, Page, expect

from tests.browser.conftest import LONG_NAME, Watched
from tests.browser.steps import a_photo, analyze, choose_adapter, hand_in, keep, panes

pytestmark = [pytest.mark.browser, pytest.mark.slow]


def pixels(locator: Locator) -> np.ndarray:
    """What is drawn there, as `(height, width)` levels 0–255."""
    return np.asarray(Image.open(io.BytesIO(locator.screenshot())).convert("L"), dtype=np.int64)


def overflowing(page: Page) -> list[str]:
    """Elements that reach out of the page to the right, where nothing scrolls them."""
    found: list[str] = page.evaluate("""() => {
      const turns = (node) => ["auto", "scroll"].includes(getComputedStyle(node).overflowX);
      const scrolls = (node) => node && (turns(node) || scrolls(node.parentElement));
      return [...document.querySelectorAll(".gradio-container *")].filter((node) => node.checkVisibility()
          && node.getBoundingClientRect().right > innerWidth + 1 && !scrolls(node.parentElement))
        .map((node) => `${node.tagName}.${node.className}: ${node.textContent.slice(0, 40)}`);
    }""")
    return found


@pytest.mark.parametrize("scheme", ["visit", "dark"])
def test_a_checked_box_looks_checked(scheme: str, request: pytest.FixtureRequest) -> None:
    page = request.getfixturevalue(scheme).page
    page.locator(".lav-display summary").click()
    box = page.locator("input[data-choice=smooth]")
    expect(box).to_be_checked()
    page.locator("h1").hover()
    checked = pixels(box)
    box.uncheck()
    page.locator("h1").click()
    empty = pixels(box)
    inside = (slice(4, -4), slice(4, -4))
    assert np.ptp(empty[inside]) < 30  # one colour
    assert np.ptp(checked[inside]) > 100  # a tick on its ground
    assert (abs(checked - empty)[inside] > 60).mean() > 0.4


@pytest.mark.parametrize(("width", "height"), [(900, 40), (40, 900)], ids=["wide", "tall"])
def test_no_photo_breaks_the_page(width: int, height: int, scripted: Watched, tmp_path: Path) -> None:
    page = scripted.page
    hand_in(page, a_photo(tmp_path, width, height))
    analyze(page)
    keep(page, f"photo-{width}x{height}")
    for picture in panes(page).all():
        box = picture.bounding_box()
        assert box is not None
        assert box["width"] / box["height"] == pytest.approx(width / height, rel=0.05)
        assert box["height"] <= 900
    assert page.evaluate("document.documentElement.scrollWidth") <= 1440


def test_a_long_adapter_name_stays_inside_the_page(scripted: Watched, tmp_path: Path) -> None:
    page = scripted.page
    hand_in(page, a_photo(tmp_path))
    choose_adapter(page, LONG_NAME)
    analyze(page)
    keep(page, "long-name-1440")
    expect(page.locator(".lav-title")).to_have_text(["base", LONG_NAME, f"{LONG_NAME} − base"])
    assert overflowing(page) == []


def test_a_long_adapter_name_stays_inside_a_phone(scripted_phone: Watched, tmp_path: Path) -> None:
    page = scripted_phone.page
    hand_in(page, a_photo(tmp_path))
    choose_adapter(page, LONG_NAME)
    analyze(page)
    keep(page, "long-name-390")
    assert overflowing(page) == []


def test_on_a_phone_whoever_asks_is_taken_to_what_happens(scripted_phone: Watched, tmp_path: Path) -> None:
    page, backend = scripted_phone.page, scripted_phone.backend
    hand_in(page, a_photo(tmp_path))
    backend.hold()
    page.locator("#go").click()
    expect(page.locator(".lav-notice")).to_contain_text("writes its answer")
    expect(page.locator(".lav-notice")).to_be_in_viewport()
    keep(page, "writing-390")
    backend.let_go()
    expect(panes(page)).to_have_count(3)


def test_on_a_phone_no_control_covers_a_picture(phone: Watched) -> None:
    page = phone.page
    expect(panes(page)).to_have_count(3)
    for picture in panes(page).all():
        picture.scroll_into_view_if_needed()
        covered = picture.evaluate(
            """(canvas) => {
              const box = canvas.getBoundingClientRect();
              const points = [0.05, 0.5, 0.95].flatMap((x) => [0.05, 0.5, 0.95].map((y) => [x, y]));
              const at = ([x, y]) => document.elementFromPoint(box.left + x * box.width, box.top + y * box.height);
              return points.map(at).filter((node) => node && !node.closest(".lav-frame")).map((node) => node.className);
            }"""
        )
        assert covered == []
