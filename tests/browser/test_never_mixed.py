"""Whatever happens at once: pictures that stand together are of one result, and of the one that was asked for last."""

from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from inference.request import Request, digest
from tests.browser.conftest import Watched
from tests.browser.steps import (
    a_photo,
    add_adapter,
    analyze,
    hand_in,
    panes,
    result_key,
    set_layer,
    until,
    write_prompt,
)
from tests.scripted_backend import LAYERS

pytestmark = [pytest.mark.browser, pytest.mark.slow]

#: Writes down, at every frame, the keys that pictures carry which stand side by side.
WATCH = """() => {
  window.mixed = [];
  const look = () => {
    const shown = document.querySelectorAll(".lav-pane:not([hidden]) canvas[data-key]");
    const keys = new Set([...shown].map((pane) => pane.dataset.key));
    if (keys.size > 1) window.mixed.push([...keys]);
    requestAnimationFrame(look);
  };
  look();
}"""


def watch(page: Page) -> None:
    page.evaluate(WATCH)


def assert_of(page: Page, request: Request) -> None:
    """All pictures are of this request's result, and were of one result at every moment."""
    expect(panes(page).first).to_have_attribute("data-key", digest(request))
    assert result_key(page) == digest(request)
    assert page.evaluate("window.mixed") == []


def coloured(folder: Path, name: str, shade: int) -> Path:
    """A photo that is not the others'."""
    folder.joinpath(name).mkdir()
    return a_photo(folder / name, 320 + 32 * shade, 224)


def test_an_adapter_that_changes_during_an_analysis(scripted: Watched, tmp_path: Path) -> None:
    page, backend = scripted.page, scripted.backend
    hand_in(page, a_photo(tmp_path))
    analyze(page)
    watch(page)
    backend.hold()
    write_prompt(page, "Slowly?")
    page.locator("#go").click()
    until(lambda: backend.requests[-1].prompt == "Slowly?", page)
    add_adapter(page, "silent")
    expect(page.locator("#adapter .token")).to_have_count(2)
    backend.let_go()
    until(lambda: "silent" in backend.requests[-1].adapters, page)
    expect(page.locator("#stop")).to_be_disabled()
    assert_of(page, backend.requests[-1])
    expect(page.locator(".lav-title").nth(1)).to_have_text("silent")


def test_two_uploads_in_quick_succession(scripted: Watched, tmp_path: Path) -> None:
    page, backend = scripted.page, scripted.backend
    hand_in(page, coloured(tmp_path, "first", 0))
    watch(page)
    page.locator("#go").click()
    hand_in(page, coloured(tmp_path, "second", 1))
    analyze(page)
    until(lambda: len(backend.requests) == 2, page)
    assert_of(page, backend.requests[-1])
    assert backend.requests[0].image.size != backend.requests[1].image.size


def test_stop_leaves_the_result_that_was_there_whole(scripted: Watched, tmp_path: Path) -> None:
    page, backend = scripted.page, scripted.backend
    hand_in(page, a_photo(tmp_path))
    analyze(page)
    shown = backend.requests[-1]
    watch(page)
    closed = backend.closed_early
    backend.hold()
    write_prompt(page, "Never answered?")
    page.locator("#go").click()
    until(lambda: backend.requests[-1].prompt == "Never answered?", page)
    for layer in (0, 3, 1):
        set_layer(page, layer)
    page.locator("#stop").click()
    expect(page.locator(".lav-notice")).to_contain_text("Stopped")
    assert backend.closed_early == closed
    backend.let_go()
    until(lambda: backend.closed_early == closed + 1, page)
    assert_of(page, shown)
    expect(panes(page).first).to_have_attribute("data-layer", "1")


def test_two_tabs_with_two_photos(scripted: Watched, beside: Watched, tmp_path: Path) -> None:
    backend = scripted.backend
    both = (scripted.page, beside.page)
    asked = []
    for index, page in enumerate(both):
        hand_in(page, coloured(tmp_path, f"photo {index}", index))
        analyze(page)
        asked.append(backend.requests[-1])
        watch(page)
    for layer in range(LAYERS):
        for page in both:
            set_layer(page, layer)
            page.keyboard.press("]")
    for page, request in zip(both, asked, strict=True):
        assert_of(page, request)
