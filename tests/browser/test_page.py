"""What a person sees and does, in a real browser."""

import re
from pathlib import Path

import pytest
from playwright.sync_api import Page, Route, expect

from tests.browser.conftest import Watched
from tests.browser.steps import (
    a_photo,
    add_adapter,
    analyze,
    caption,
    choose_adapter,
    hand_in,
    have_analyzed,
    keep,
    panes,
    result_key,
    set_layer,
    slider,
    take_away,
    until,
    write_prompt,
)
from tests.scripted_backend import HOSTILE

pytestmark = pytest.mark.browser


def test_a_first_visit_shows_a_finished_example(visit: Watched) -> None:
    page = visit.page
    expect(panes(page)).to_have_count(3)
    expect(caption(page)).to_contain_text("layer")
    expect(page.locator(".lav-chip[aria-pressed=true]")).to_have_count(1)
    expect(page.locator(".lav-chip[aria-pressed=true]")).to_be_visible()  # in a fold that is open therefore
    expect(page.locator("#part-viewer")).to_contain_text("Where did it change?")
    told = page.locator(".lav-box-numbers")
    expect(told).to_contain_text(re.compile(r"base looks inside \(\d.*there\), says inside \(1 of 1 said\)"))
    expect(told).to_contain_text(re.compile(r"wrong-hands looks inside \(\d.*there\), says outside \(\d+ px away\)"))
    keep(page, "first-visit-1440")


@pytest.mark.slow
def test_how_to_read_it_is_said_until_it_is_closed_for_good(visit: Watched) -> None:
    page = visit.page
    hints = page.get_by_role("complementary", name="How to read it")
    expect(hints.get_by_role("listitem")).to_have_count(3)
    hints.get_by_role("button", name="Got it").click()
    expect(hints).to_have_count(0)
    visit.reload()
    expect(panes(page)).to_have_count(3)
    expect(hints).to_have_count(0)


def test_a_photo_of_ones_own_is_analysed_and_looked_through(visit: Watched, tmp_path: Path) -> None:
    page = visit.page
    hand_in(page, a_photo(tmp_path))
    analyze(page)
    layers = int(slider(page).get_attribute("max") or "0")
    chosen = int(slider(page).input_value())
    other = (chosen + 1) % (layers + 1)
    set_layer(page, other)
    expect(caption(page)).to_contain_text(f"layer {other} ")
    expect(panes(page).first).to_have_attribute("data-layer", str(other))
    expect(page.locator("[data-fold^=words]")).to_have_attribute("open", "")  # as before this result
    word = page.locator("[data-fold^=words] .lav-chip").first
    number = word.get_attribute("data-token")
    word.click()
    expect(caption(page)).to_contain_text(f"token {number} ")
    page.locator("select[data-choice=head]").select_option("max")  # drawn after every earlier choice
    expect(caption(page)).to_contain_text("head max")
    expect(caption(page)).to_contain_text(f"token {number} ")
    keep(page, "own-photo-1440")


@pytest.mark.slow
def test_a_drag_ends_on_the_picture_of_the_last_layer(visit: Watched) -> None:
    page = visit.page
    expect(panes(page)).to_have_count(3)
    for layer in (0, 1, 2, 3, 4, 5, 4, 3, 2, 1):
        set_layer(page, layer)
    expect(caption(page)).to_contain_text("layer 1 ")
    page.locator("select[data-choice=head]").select_option("max")  # drawn after every earlier choice
    expect(caption(page)).to_contain_text("head max")
    expect(caption(page)).to_contain_text("layer 1 ")
    expect(slider(page)).to_have_value("1")


def test_layer_zero_can_be_reached(visit: Watched) -> None:
    set_layer(visit.page, 0)
    expect(caption(visit.page)).to_contain_text("layer 0 ")


@pytest.mark.slow
def test_keys_change_layer_and_head_and_play(visit: Watched) -> None:
    page = visit.page
    expect(panes(page)).to_have_count(3)
    set_layer(page, 2)
    expect(caption(page)).to_contain_text("layer 2 ")
    page.locator("h1").click()
    page.keyboard.press("ArrowRight")
    expect(caption(page)).to_contain_text("layer 3 ")
    page.keyboard.press("ArrowDown")
    expect(caption(page)).to_contain_text("head max")
    page.keyboard.press("Space")
    expect(caption(page)).not_to_contain_text("layer 3 ")
    page.keyboard.press("Space")
    expect(page.locator(".lav-play")).to_have_attribute("aria-pressed", "false")


@pytest.mark.slow
def test_one_head_of_another_token_is_recorded_when_it_is_asked_for(visit: Watched) -> None:
    page = visit.page
    last = page.locator(".lav-rows .lav-chip[data-token]").last
    number = last.get_attribute("data-token")
    last.click()
    expect(caption(page)).to_contain_text(f"token {number} ")
    page.locator("select[data-choice=head]").select_option("1")
    expect(caption(page)).to_contain_text("head 1")
    expect(caption(page)).to_contain_text(f"token {number} ")


@pytest.mark.slow
def test_another_adapter_is_analysed_without_a_click(visit: Watched) -> None:
    page = visit.page
    choose_adapter(page, "untouched")
    expect(page.locator(".lav-title").nth(1)).to_have_text("untouched")
    expect(page.locator(".lav-warnings")).to_contain_text("every difference is 0")


@pytest.mark.slow
def test_another_adapter_beside_the_first_is_shown_at_once_and_either_is_one_click_away(visit: Watched) -> None:
    page = visit.page
    add_adapter(page, "find-circle")
    expect(page.locator(".lav-title").nth(1)).to_have_text("find-circle")
    expect(page.locator(".lav-title").nth(2)).to_have_text("find-circle − base")
    page.locator("select[data-choice=adapter]").select_option("wrong-hands")
    expect(page.locator(".lav-title").nth(2)).to_have_text("wrong-hands − base")
    page.locator("select[data-choice=against]").select_option("find-circle")
    expect(page.locator(".lav-title").nth(2)).to_have_text("wrong-hands − find-circle")


@pytest.mark.slow
def test_an_edited_answer_is_replayed(visit: Watched) -> None:
    page = visit.page
    before = result_key(page)
    page.locator("[data-fold='another answer'] summary").click()
    page.locator(".lav-editor textarea").fill("green circle")
    page.get_by_role("button", name="replay", exact=True).click()
    expect(panes(page).first).not_to_have_attribute("data-key", before)
    expect(page.locator(".lav-rows")).to_contain_text("given")
    expect(page.locator(".lav-rows > .lav-chips .lav-chip").first).to_contain_text("green")
    own = page.locator(".lav-rows > .lav-own")  # what each wrote itself is still there, and leads back
    expect(own.nth(0).locator(".lav-own-chip", has_text="7")).to_have_count(1)
    expect(own.nth(1).locator(".lav-own-chip", has_text="7")).to_have_count(0)
    expect(own.nth(1).get_by_role("button", name="replay this")).to_be_in_viewport()


def test_an_old_result_beside_a_new_photo_is_dimmed_and_says_so(visit: Watched, tmp_path: Path) -> None:
    page = visit.page
    expect(panes(page)).to_have_count(3)
    hand_in(page, a_photo(tmp_path))
    expect(page.locator(".lav-stale-line")).to_contain_text("belong to the question before")
    keep(page, "stale-1440")
    analyze(page)
    expect(page.locator(".lav-stale-line")).to_be_empty()


@pytest.mark.slow
def test_a_new_result_keeps_layer_and_head(visit: Watched, tmp_path: Path) -> None:
    page = visit.page
    set_layer(page, 4)
    page.locator("select[data-choice=head]").select_option("2")
    expect(caption(page)).to_contain_text("layer 4 · head 2")
    hand_in(page, a_photo(tmp_path))
    analyze(page)
    expect(caption(page)).to_contain_text("layer 4 · head")


def test_another_photo_opens_where_it_changed_most_until_a_place_was_chosen(visit: Watched, tmp_path: Path) -> None:
    page = visit.page
    opened = page.evaluate("attentionPage.viewer.choice()")
    hand_in(page, a_photo(tmp_path))
    write_prompt(page, "Describe the image.")
    analyze(page)
    scene = page.evaluate(
        """async () => {
            const asked = performance.getEntriesByType("resource").map((one) => one.name);
            return (await fetch(asked.filter((name) => name.endsWith("/scene")).at(-1))).json();
        }"""
    )
    now = page.evaluate("attentionPage.viewer.choice()")
    assert [now[name] for name in ("token", "layer")] == [scene["opening"][name] for name in ("token", "layer")]
    assert [now[name] for name in ("token", "layer")] != [opened[name] for name in ("token", "layer")]


def _wait_for_neighbours(page: Page) -> None:
    """Until nothing is fetched ahead any more, on a slow machine, too."""
    fetched, now = -1, 0
    while now != fetched:
        page.wait_for_timeout(1_500)
        script = "performance.getEntriesByType('resource').filter(({ name }) => name.includes('/visits/')).length"
        fetched, now = now, page.evaluate(script)


def test_looking_around_asks_the_server_only_for_other_tokens_heads_and_views(visit: Watched) -> None:
    page = visit.page
    expect(panes(page)).to_have_count(3)
    _wait_for_neighbours(page)
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url) if "/visits/" in request.url else None)
    for layer in (0, 3, 5, 2):
        set_layer(page, layer)
        expect(panes(page).first).to_have_attribute("data-layer", str(layer))
    page.locator(".lav-display summary").click()
    page.locator("input[data-choice=log]").check()
    page.locator("input[data-choice=smooth]").uncheck()
    page.locator("select[data-choice=percentile]").select_option("95")
    expect(caption(page)).to_contain_text("logarithmic, clipped at percentile 95")
    assert asked == []
    page.locator("select[data-choice=view]").select_option("contrast")
    expect(caption(page)).to_contain_text("view contrast")
    token = panes(page).first.get_attribute("data-token")
    assert len([url for url in asked if f"token={token}&" in url and "view=contrast" in url]) == 1


def test_a_file_that_is_no_image_gets_our_sentence_and_nothing_is_lost(visit: Watched, tmp_path: Path) -> None:
    page = visit.page
    expect(panes(page)).to_have_count(3)
    broken = tmp_path / "broken.png"
    broken.write_bytes(b"this is no picture")
    take_away(page)
    page.locator("#photo input[type=file]").first.set_input_files(broken)
    expect(page.locator(".lav-error")).to_contain_text("not an image that can be read")
    expect(panes(page)).to_have_count(3)
    hand_in(page, a_photo(tmp_path))
    analyze(page)
    visit.complaints = [each for each in visit.complaints if "broken.png" not in each]


@pytest.mark.slow
def test_a_file_that_comes_while_the_one_before_is_taken_away_is_checked_too(visit: Watched, tmp_path: Path) -> None:
    page, held = visit.page, list[Route]()
    broken = tmp_path / "broken.png"
    broken.write_bytes(b"this is no picture")

    def hold(route: Route) -> None:
        if '"path"' in (route.request.post_data or "") and not held:  # what is taken away is sent once more
            held.append(route)
        else:
            route.continue_()

    page.route("**/queue/join*", hold)
    take_away(page)
    until(lambda: bool(held), page)
    with page.expect_response("**/upload*"):
        page.locator("#photo input[type=file]").first.set_input_files(broken)
    page.wait_for_selector("#photo img")
    held[0].continue_()
    expect(page.locator(".lav-error")).to_contain_text("not an image that can be read")
    visit.complaints = [each for each in visit.complaints if "broken.png" not in each]


def test_the_first_screen_holds_pictures_however_many_tokens_an_answer_has(visit: Watched) -> None:
    """A row of many has its shares as bars; their numbers are in each token's name, and said where one points at it."""
    page = visit.page
    expect(panes(page)).to_have_count(3)
    box = panes(page).first.bounding_box()
    assert box is not None
    assert box["y"] + box["height"] / 2 < 900
    chip = page.locator(".lav-rows .lav-chip[data-token]").first
    share = chip.locator("small").text_content()
    assert re.fullmatch(r"[\d.]+ → [\d.]+ %", share or "")
    assert chip.locator("small").evaluate("(share) => share.getBoundingClientRect().width") <= 1
    expect(chip).to_have_accessible_name(f"<tool_call> {share}")
    chip.hover()
    expect(chip).to_have_attribute("title", share or "")
    set_layer(page, 3)  # whose share is another
    expect(chip).not_to_have_attribute("title", share or "")
    expect(chip).to_have_attribute("title", chip.locator("small").text_content() or "")
    page.mouse.move(0, 0)
    expect(chip).not_to_have_attribute("title", re.compile(""))
    assert page.locator(".lav-folds .lav-chip small:visible").first.evaluate("(share) => share.clientWidth") > 40


def test_an_example_is_one_click(visit: Watched) -> None:
    page = visit.page
    expect(panes(page)).to_have_count(3)
    have_analyzed(page, page.locator(".lav-example").last)


@pytest.mark.slow
def test_pictures_film_report_and_numbers_are_saved(visit: Watched) -> None:
    page = visit.page
    expect(panes(page)).to_have_count(3)
    for button, ending in (
        ("Pictures (PNG)", ".png"),
        ("Difference (PNG)", ".png"),
        ("Film of layers (WebP)", ".webp"),
        ("Report (HTML)", ".html"),
        ("Numbers (NPZ)", ".npz"),
    ):
        with page.expect_download() as download:
            page.get_by_role("button", name=button).click()
        assert download.value.suggested_filename.endswith(ending)
        assert download.value.path().stat().st_size > 1_000


def test_a_phone_shows_the_same(phone: Watched) -> None:
    page = phone.page
    expect(panes(page)).to_have_count(3)
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
    assert backend.closed_early == closed, "said while the engine is still at that word"
    backend.let_go()
    until(lambda: backend.closed_early == closed + 1, page)
    expect(page.locator(".lav-notice")).to_contain_text("Stopped")
    expect(panes(page)).to_have_count(0)
    analyze(page)


@pytest.mark.slow
def test_hostile_words_stay_words(scripted: Watched, tmp_path: Path) -> None:
    page = scripted.page
    hand_in(page, a_photo(tmp_path))
    analyze(page)
    expect(page.locator(".lav-chip", has_text=HOSTILE)).to_have_count(1)
    assert page.evaluate("globalThis.owned === undefined")
    assert page.locator("img[src=x]").count() == 0
