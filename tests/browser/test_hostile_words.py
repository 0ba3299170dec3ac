"""Whatever words come in, by whichever field: page, report, notebook and index show them and never run them."""

import json
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect

from inference.batch.pages import write_index
from inference.descriptions import AdapterInfo
from tests.browser.conftest import ScriptedServer, Watched, open_page
from tests.browser.steps import a_photo as plain_photo
from tests.browser.steps import analyze, hand_in, panes, write_prompt
from tests.scripted_backend import ADAPTERS
from tests.visualize.factory import comparison, photo, recording, tokens
from visualize import notebook_html, report_html

pytestmark = [pytest.mark.browser, pytest.mark.slow]
#: Each of these would set `owned` where it were read as markup, as an attribute, as a template or as a script's text.
WORDS = (
    "<img src=x onerror='globalThis.owned=1'>",
    "</script><script>globalThis.owned=1</script>",
    "\"' onmouseover=globalThis.owned=1 autofocus onfocus=globalThis.owned=1 x='",
    "${globalThis.owned = 1}{{globalThis.owned = 1}}`${globalThis.owned=1}`",
    "</template><svg onload=globalThis.owned=1>",
    "javascript:globalThis.owned=1",
    "]]><!--<iframe srcdoc='<script>parent.owned=1</script>'>",
)
ALL = " ".join(WORDS)
_THEIRS = "img[src=x], svg[onload], iframe[srcdoc^='<script>parent'], [onmouseover], [onfocus]"


def unharmed(page: Page) -> None:
    """Nothing of them ran, and none of their elements is there; what may run at a touch is touched."""
    page.wait_for_timeout(50)  # an image that is not there fails a moment later
    for frame in page.frames:
        assert frame.evaluate("globalThis.owned === undefined")
        assert frame.locator(_THEIRS).count() == 0


@pytest.fixture
def offline(browser: Browser) -> Iterator[Page]:
    """A page that reaches no server."""
    context = browser.new_context(viewport={"width": 1300, "height": 900}, offline=True)
    page, said = context.new_page(), []
    page.on("pageerror", lambda error: said.append(str(error)))
    page.on("dialog", lambda dialog: said.append(dialog.message))
    yield page
    context.close()
    assert said == []


def hostile() -> Any:
    row = tokens(answer=tuple(f" {each}" for each in WORDS), prompt=(f" {ALL}",))
    one, other = recording(row=row), recording("find-red", seed=1, row=row)
    return replace(comparison(one, other, prompt=ALL, notes=WORDS, image=photo((180, 300))), system=ALL)


def test_prompt_system_text_answer_and_the_files_name(scripted: Watched, tmp_path: Path):
    page = scripted.page
    named = tmp_path / "a\"'><img src=x onerror=globalThis.owned=1>${globalThis.owned=1}.png".replace("/", "_")
    named.write_bytes(plain_photo(tmp_path).read_bytes())
    hand_in(page, named)
    write_prompt(page, ALL)
    page.get_by_text("More", exact=True).click()
    page.get_by_label("system text").fill(ALL)
    analyze(page)
    assert scripted.backend.requests[-1].prompt == ALL
    assert scripted.backend.requests[-1].system == ALL
    unharmed(page)
    for chip in page.locator(".lav-chip:visible").all()[:8]:
        chip.hover()
    unharmed(page)


def test_every_text_of_a_conversation(scripted: Watched, tmp_path: Path):
    """Pasted into the prompt: what it is read as is said before it is asked, and all of it stands in the fold."""
    page = scripted.page
    messages = [
        {"role": "system", "content": ALL},
        {"role": "user", "content": [{"type": "image"}, {"type": "text", "text": ALL}]},
        {"role": "assistant", "content": ALL, "tool_calls": [{"name": ALL, "arguments": {ALL: ALL}}]},
        {"role": "tool", "content": ALL},
    ]
    hand_in(page, plain_photo(tmp_path))
    write_prompt(page, json.dumps({"messages": messages, "tools": [{"name": ALL, "description": ALL}]}))
    page.locator("#prompt textarea").blur()
    expect(page.locator("#part-read")).to_have_text("The prompt is a conversation: system, 1 tool, 3 turns, 1 image.")
    analyze(page)
    assert scripted.backend.requests[-1].conversation.summary == "system, 1 tool, 3 turns, 1 image"
    page.get_by_text("read before the image", exact=True).click()
    expect(page.locator(".lav-read")).to_have_count(1 + len(scripted.backend.requests[-1].conversation.texts))
    expect(page.locator(".lav-read").nth(1)).to_contain_text("onerror='globalThis.owned=1'")
    unharmed(page)
    for written in (json.dumps([{"role": ALL, "content": ALL}]), f'[{{"role": "{WORDS[0]}"'):
        write_prompt(page, written)
        page.locator("#go").click()
        expect(page.locator(".lav-notice")).to_contain_text(re.compile("is said by|not JSON"))
        unharmed(page)
    write_prompt(page, "Plain words.")
    page.locator("#prompt textarea").blur()
    expect(page.locator("#part-read")).to_have_text("")


def test_a_refusal_that_repeats_what_was_sent(scripted: Watched, tmp_path: Path):
    """A file that is no image, under a hostile name; and words that are too many."""
    page = scripted.page
    broken = tmp_path / "<img src=x onerror=globalThis.owned=1>.png"
    broken.write_bytes(ALL.encode())
    page.locator("#photo input[type=file]").first.set_input_files(broken)
    expect(page.locator(".lav-notice")).to_contain_text("not an image")
    unharmed(page)
    hand_in(page, plain_photo(tmp_path))
    write_prompt(page, ALL * 40)
    page.locator("#go").click()
    expect(page.locator(".lav-notice")).to_contain_text("the limit is")
    unharmed(page)


def test_an_adapter_says_of_itself_what_it_likes(browser: Browser, scripted_server: ScriptedServer, tmp_path: Path):
    """Its description, modules, base model, notes, family, and the path of a folder that is none."""
    spoiled = AdapterInfo(
        "spoiled", ALL, "LoRA", 8, 16.0, WORDS, False, 1_024, ALL, WORDS, family="red-run", step=3, stamp="0"
    )
    skipped = AdapterInfo(WORDS[0], ALL, "skipped", 0, 0.0, (), False, 0, "", (f"{ALL!r} is empty.",))
    backend, offered = scripted_server.backend, scripted_server.backend.offered
    backend.offered = (spoiled, skipped, *ADAPTERS)
    try:
        for watched in open_page(browser, scripted_server.address, backend=backend):
            page = watched.page
            expect(page.locator("#part-about")).to_contain_text("onerror")
            expect(page.locator(".lav-notice")).to_contain_text("1 folder is not offered")
            page.get_by_text("More", exact=True).click()
            page.get_by_label("adapter on only in").click()  # the menu of its modules
            unharmed(page)
            hand_in(page, plain_photo(tmp_path))
            analyze(page)
            expect(panes(page)).to_have_count(3)
            unharmed(page)
    finally:
        backend.offered = offered


def test_boxes_and_choices_in_an_address_are_no_markup(offline: Page, tmp_path: Path):
    (tmp_path / "run.html").write_text(report_html(hostile()), encoding="utf-8")
    for hash_ in (f"#box={ALL}", f"#token={ALL}&head={ALL}&view={ALL}&against={ALL}&colormap={ALL}"):
        offline.goto("about:blank")
        offline.goto((tmp_path / "run.html").as_uri() + hash_.replace(" ", "%20"))
        expect(offline.locator("canvas[data-variant=base]")).to_be_visible()
        unharmed(offline)


def test_a_report(offline: Page, tmp_path: Path):
    families = {"find-red": (ALL, 3)}
    (tmp_path / "run.html").write_text(report_html(hostile(), families=families), encoding="utf-8")
    offline.goto((tmp_path / "run.html").as_uri())
    expect(offline.locator("canvas[data-variant=base]")).to_be_visible()
    for each in WORDS:
        assert each in offline.locator("body").inner_text()
    for chip in offline.locator(".lav-chip:visible").all()[:8]:
        chip.hover()
        chip.click()
    unharmed(offline)


def test_a_notebook(offline: Page, tmp_path: Path):
    (tmp_path / "cell.html").write_text(f"<!doctype html><body>{notebook_html(hostile())}</body>", encoding="utf-8")
    offline.goto((tmp_path / "cell.html").as_uri())
    expect(offline.frame_locator("iframe").first.locator("canvas[data-variant=base]")).to_be_visible()
    unharmed(offline)


def test_the_index_of_a_batch(offline: Page, tmp_path: Path):
    rows = [
        {"item": index, "image": word, "prompt": word, "adapter": word, "answer": word, "message": word, "id": word}
        | {"replayed": word, "file": f"{index}.npz", "js_max": 0.5, "js_layer": 1, "js_head": 2, "box": word}
        for index, word in enumerate(WORDS)
    ]
    write_index(tmp_path, rows)
    offline.goto((tmp_path / "index.html").as_uri())
    for each in WORDS:
        assert each in offline.locator("tbody").inner_text()
    unharmed(offline)
    targets = [link.get_attribute("href") or "" for link in offline.locator("a").all()]
    assert not [target for target in targets if re.match(r"\s*(javascript|data|vbscript):", target, re.IGNORECASE)]
