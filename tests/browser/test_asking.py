"""What runs when a person asks: once, with what they wrote last; and who waits is said to everybody."""

import threading
from pathlib import Path

import pytest
from playwright.sync_api import Browser, expect

from inference import Settings
from inference.demo import EXAMPLE_SCREENS
from tests.browser.conftest import PATIENCE, UNUSABLE, ScriptedServer, Watched, borrowed_page, free_port, served
from tests.browser.steps import (
    a_photo,
    analyze,
    choose_adapter,
    hand_in,
    panes,
    set_layer,
    slider,
    until,
    where,
    write_prompt,
)
from tests.scripted_backend import LAYERS, ScriptedBackend, adapter

pytestmark = [pytest.mark.browser, pytest.mark.slow]


def asked(watched: Watched) -> list[str]:
    """The prompts that reached the backend."""
    return [request.prompt for request in watched.backend.requests]


def test_an_example_chosen_before_the_model_is_open_keeps_its_adapter(
    browser: Browser, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path))
    opens = threading.Event()
    offered = tuple(map(adapter, ("find-red", *(example.adapter for example in EXAMPLE_SCREENS))))

    def open_() -> ScriptedBackend:
        assert opens.wait(PATIENCE)
        return ScriptedBackend(offered=offered)

    with served(Settings(port=free_port()), open_) as server, borrowed_page(browser) as page:
        page.goto(server.local_url)
        chosen = page.locator("#adapter .token")
        expect(chosen).to_have_text("wrong-hands")
        example = next(index for index, each in enumerate(EXAMPLE_SCREENS) if each.adapter == "wrong-eyes")
        page.locator(".lav-example").nth(example).click()
        expect(chosen).to_have_text("wrong-eyes")
        assert not page.locator(".lav-ready").count()
        opens.set()
        expect(page.locator("#part-about")).to_contain_text("rank 8")
        expect(chosen).to_have_text("wrong-eyes")
        expect(page.locator('.lav-pane canvas[data-variant="wrong-eyes"]')).to_be_visible()


def test_a_page_that_was_handed_a_photo_asks_for_no_more_frames_than_one_that_was_just_opened(
    browser: Browser, scripted_server: ScriptedServer, tmp_path: Path
) -> None:
    """What is pending for ever is drawn for ever. Gradio's own drawing of its start goes on, once a frame."""
    with browser.new_context() as context:
        page = context.new_page()
        page.add_init_script(
            "const real = requestAnimationFrame; window.frames_asked = 0;"
            "window.requestAnimationFrame = (draw) => (window.frames_asked++, real(draw));"
            "window.next_frame = () => new Promise(real);"
        )
        page.goto(scripted_server.address)
        expect(page.locator("#part-about")).not_to_be_empty()

        def asked_per_frame() -> float:
            return float(
                page.evaluate(
                    "async () => { window.frames_asked = 0; for (let at = 0; at < 20; at++) await next_frame();"
                    "return window.frames_asked / 20; }"
                )
            )

        until(lambda: asked_per_frame() < 1.5, page)  # once what moved at the start has come to rest
        hand_in(page, a_photo(tmp_path))
        analyze(page)
        until(lambda: asked_per_frame() < 1.5, page)


def test_enter_in_the_prompt_analyzes_and_the_page_says_so(scripted: Watched, tmp_path: Path) -> None:
    page = scripted.page
    hand_in(page, a_photo(tmp_path))
    prompt = page.locator("#prompt textarea")
    prompt.fill("First line")
    prompt.press("Shift+Enter")
    prompt.press_sequentially("second line")
    expect(prompt).to_have_value("First line\nsecond line")
    assert asked(scripted) == []
    prompt.press("Enter")
    expect(panes(page)).to_have_count(3)
    assert asked(scripted) == ["First line\nsecond line"]
    expect(page.locator("#prompt")).to_contain_text("Enter analyzes, Shift+Enter starts a new line")


def test_what_is_written_last_is_asked_and_nothing_else(scripted: Watched, tmp_path: Path) -> None:
    """The menu loses the focus when the prompt is filled, and says then that it was chosen in: that is no question."""
    page = scripted.page
    hand_in(page, a_photo(tmp_path))
    choose_adapter(page, "vision-lora")
    write_prompt(page, "Is it red?")
    analyze(page)
    assert asked(scripted) == ["Is it red?"]
    expect(page.locator(".lav-title").nth(1)).to_have_text("vision-lora")


def test_a_menu_that_is_left_as_it_was_asks_nothing_and_keeps_the_place(scripted: Watched, tmp_path: Path) -> None:
    page = scripted.page
    hand_in(page, a_photo(tmp_path))
    analyze(page)
    other = (int(slider(page).input_value()) + 2) % LAYERS
    set_layer(page, other)
    expect(where(page)).to_contain_text(f"layer {other} ")
    for words in ("Describe the image.", "Half a question"):
        write_prompt(page, words)
        for menu in ("adapter", "compare"):
            page.locator(f"#{menu} input").focus()
            page.keyboard.press("Tab")
    page.wait_for_timeout(1_000)
    expect(where(page)).to_contain_text(f"layer {other} ")
    expect(slider(page)).to_have_value(str(other))
    assert len([request for request in scripted.backend.requests if request.answer is None]) == 1


def test_another_adapter_is_asked_the_same_question_again(scripted: Watched, tmp_path: Path) -> None:
    page = scripted.page
    hand_in(page, a_photo(tmp_path))
    write_prompt(page, "Where?")
    analyze(page)
    choose_adapter(page, "silent")
    expect(page.locator(".lav-title").nth(1)).to_have_text("silent")
    assert set(asked(scripted)) == {"Where?"}
    asked_of = [request.adapters for request in scripted.backend.requests]
    assert (asked_of[0], asked_of[-1]) == ((None, "find-red"), (None, "silent"))


def test_an_adapter_that_cannot_be_used_is_marked_and_not_chosen(scripted: Watched) -> None:
    page = scripted.page
    expect(page.locator("#adapter .token")).to_have_text("find-red")
    page.locator("#adapter input").click()
    first = page.get_by_role("option").first
    expect(first).to_contain_text(f"{UNUSABLE.name} (cannot be used)")
    expect(page.get_by_role("option", name="(cannot be used)")).to_have_count(1)
    first.click()
    expect(page.locator("#part-about")).to_contain_text(UNUSABLE.notes[0])


def test_who_waits_is_said_to_everybody_and_taken_back(scripted: Watched, beside: Watched, tmp_path: Path) -> None:
    backend = scripted.backend
    everybody = [watched.page.locator(".lav-status") for watched in (scripted, beside)]
    for status in everybody:
        expect(status).to_contain_text("nobody is waiting")
    for watched in (scripted, beside):
        hand_in(watched.page, a_photo(tmp_path))
    backend.hold()
    scripted.page.locator("#go").click()
    until(lambda: len(backend.requests) == 1, scripted.page)
    beside.page.locator("#go").click()
    expect(beside.page.locator(".lav-notice")).to_contain_text("one analysis is before yours")
    for status in everybody:
        expect(status).to_contain_text("1 waiting")
    backend.let_go()
    for watched in (scripted, beside):
        expect(panes(watched.page)).to_have_count(3)
    for status in everybody:
        expect(status).to_contain_text("nobody is waiting")
