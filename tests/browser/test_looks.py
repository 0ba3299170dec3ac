"""What is drawn can be seen: ticks, words, pictures, on a desk and on a phone, whatever the photo and the names."""

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import Locator, expect

from tests.browser.conftest import Watched
from tests.browser.steps import a_photo, analyze, hand_in, keep

pytestmark = pytest.mark.browser


def pixels(locator: Locator) -> np.ndarray:
    """What is drawn there, as `(height, width)` levels 0–255."""
    return np.asarray(Image.open(io.BytesIO(locator.screenshot())).convert("L"), dtype=np.int64)


@pytest.mark.parametrize("scheme", ["visit", "dark"])
def test_a_checked_box_looks_checked(scheme: str, request: pytest.FixtureRequest) -> None:
    page = request.getfixturevalue(scheme).page
    page.locator(".lav-controls summary").click()
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
    for picture in page.locator(".lav-pane img").all():
        box = picture.bounding_box()
        assert box is not None
        assert box["width"] / box["height"] == pytest.approx(width / height, rel=0.05)
        assert box["height"] <= 900
    assert page.evaluate("document.documentElement.scrollWidth") <= 1440
