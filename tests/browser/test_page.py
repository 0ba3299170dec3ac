"""What a person sees and does, in a real browser."""

from pathlib import Path

import pytest
from playwright.sync_api import expect

from tests.browser.conftest import Watched
from tests.browser.steps import (
    a_photo,
    analyze,
    choose_adapter,
    hand_in,
    keep,
    pictures,
    set_layer,
    slider,
    until,
)
from tests.scripted_backend import HOSTILE

pytestmark = pytest.mark.browser


def test_a_first_visit_shows_a_finished_example(visit: Watched) -> None:
    page = visit.page
    expect(page.locator(".lav-pane img")).to_have_count(3)
    expect(page.locator(".lav-caption").first).to_contain_text("layer")
    expect(page.locator(".lav-chip[aria-pressed=true]")).to_have_count(1)
    keep(page, "first-visit-1440")


def test_a_photo_of_ones_own_is_analysed_and_looked_through(visit: Watched, tmp_path: Path) -> None:
    page = visit.page
    hand_in(page, a_photo(tmp_path))
    analyze(page)
    before = pictures(page)
    layers = int(slider(page).get_attribute("max") or "0")
    chosen = int(slider(page).input_value())
    other = (chosen + 1) % (layers + 1)
    set_layer(page, other)
    expect(page.locator(".lav-caption").first).to_contain_text(f"layer {other} ")
    assert pictures(page) != before
    page.locator("details.lav-question summary").click()
    word = page.locator("details.lav-question .lav-chip").first
    number = word.get_attribute("data-token")
    word.click()
    expect(page.locator(".lav-caption").first).to_contain_text(f"token {number} ")
    page.locator("select[data-choice=head]").select_option("max")  # drawn after every earlier choice
    expect(page.locator(".lav-caption").first).to_contain_text("head max")
    expect(page.locator(".lav-caption").first).to_contain_text(f"token {number} ")
    keep(page, "own-photo-1440")


def test_a_drag_ends_on_the_picture_of_the_last_layer(visit: Watched) -> None:
    page = visit.page
    expect(page.locator(".lav-pane img")).to_have_count(3)
    for layer in (0, 1, 2, 3, 4, 5, 4, 3, 2, 1):
        set_layer(page, layer)
    expect(page.locator(".lav-caption").first).to_contain_text("layer 1 ")
    page.locator("select[data-choice=head]").select_option("max")  # drawn after every earlier choice
    expect(page.locator(".lav-caption").first).to_contain_text("head max")
    expect(page.locator(".lav-caption").first).to_contain_text("layer 1 ")
    expect(slider(page)).to_have_value("1")


def test_layer_zero_can_be_reached(visit: Watched) -> None:
    set_layer(visit.page, 0)
    expect(visit.page.locator(".lav-caption").first).to_contain_text("layer 0 ")


def test_keys_change_layer_and_head_and_play(visit: Watched) -> None:
    page = visit.page
    expect(page.locator(".lav-pane img")).to_have_count(3)
    set_layer(page, 2)
    expect(page.locator(".lav-caption").first).to_contain_text("layer 2 ")
    page.locator("h1").click()
    page.keyboard.press("ArrowRight")
    expect(page.locator(".lav-caption").first).to_contain_text("layer 3 ")
    page.keyboard.press("ArrowDown")
    expect(page.locator(".lav-caption").first).to_contain_text("head max")
    page.keyboard.press("Space")
    expect(page.locator(".lav-caption").first).not_to_contain_text("layer 3 ")
    page.keyboard.press("Space")
    expect(page.locator(".lav-play")).to_have_attribute("aria-pressed", "false")


def test_one_head_of_another_token_is_recorded_when_it_is_asked_for(visit: Watched) -> None:
    page = visit.page
    last = page.locator(".lav-row .lav-chip").last
    number = last.get_attribute("data-token")
    last.click()
    expect(page.locator(".lav-caption").first).to_contain_text(f"token {number} ")
    page.locator("select[data-choice=head]").select_option("1")
    expect(page.locator(".lav-caption").first).to_contain_text("head 1")
    expect(page.locator(".lav-caption").first).to_contain_text(f"token {number} ")


def test_another_adapter_is_analysed_without_a_click(visit: Watched) -> None:
    page = visit.page
    choose_adapter(page, "untouched")
    expect(page.locator(".lav-title").nth(1)).to_have_text("untouched")
    expect(page.locator(".lav-warnings")).to_contain_text("every difference is 0")


def test_a_file_that_is_no_image_gets_our_sentence_and_nothing_is_lost(visit: Watched, tmp_path: Path) -> None:
    page = visit.page
    expect(page.locator(".lav-pane img")).to_have_count(3)
    broken = tmp_path / "broken.png"
    broken.write_bytes(b"this is no picture")
    clear = page.locator("#photo button[aria-label='Clear'], #photo button[aria-label='Remove Image']")
    if clear.count():
        clear.first.click()
    page.locator("#photo input[type=file]").first.set_input_files(broken)
    expect(page.locator(".lav-error")).to_contain_text("not an image that can be read")
    expect(page.locator(".lav-pane img")).to_have_count(3)
    hand_in(page, a_photo(tmp_path))
    analyze(page)
    visit.complaints = [each for each in visit.complaints if "broken.png" not in each]


def test_an_example_is_one_click(visit: Watched) -> None:
    page = visit.page
    page.locator(".lav-example").last.click()
    expect(page.locator(".lav-warnings, .lav-own, .lav-chips").first).to_be_visible()
    expect(page.locator(".lav-pane img")).to_have_count(3)


def test_pictures_and_numbers_are_saved(visit: Watched) -> None:
    page = visit.page
    expect(page.locator(".lav-pane img")).to_have_count(3)
    for button, ending in (("Save pictures", ".png"), ("Save numbers", ".npz")):
        with page.expect_download() as download:
            page.get_by_role("button", name=button).click()
        assert download.value.suggested_filename.endswith(ending)
        assert download.value.path().stat().st_size > 1_000


def test_a_phone_shows_the_same(phone: Watched) -> None:
    page = phone.page
    expect(page.locator(".lav-pane img")).to_have_count(3)
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    keep(page, "first-visit-390")


def test_tokens_appear_as_they_are_written_and_stop_stops(scripted: Watched, tmp_path: Path) -> None:
    page, backend = scripted.page, scripted.backend
    closed = backend.closed_early
    hand_in(page, a_photo(tmp_path))
    backend.hold()
    page.locator("#go").click()
    expect(page.locator(".lav-writing .lav-words").first).to_have_text("The")
    keep(page, "writing-1440")
    page.locator("#stop").click()
    expect(page.locator(".lav-notice")).to_contain_text("Stopped")
    expect(page.locator("#go")).to_be_enabled()
    backend.let_go()
    until(lambda: backend.closed_early == closed + 1, page)
    expect(page.locator(".lav-notice")).to_contain_text("Stopped")
    assert pictures(page) == []
    analyze(page)


def test_hostile_words_stay_words(scripted: Watched, tmp_path: Path) -> None:
    page = scripted.page
    hand_in(page, a_photo(tmp_path))
    analyze(page)
    expect(page.locator(".lav-chip", has_text=HOSTILE)).to_have_count(1)
    assert page.evaluate("globalThis.owned === undefined")
    assert page.locator("img[src=x]").count() == 0
