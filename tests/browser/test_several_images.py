"""Several images of one conversation in the page: handed in, chosen, looked at, and their shares beside each other."""

import json
import re
from pathlib import Path

import pytest
from playwright.sync_api import expect

from tests.browser.conftest import Watched
from tests.browser.steps import analyze, hand_in, panes, write_prompt
from tests.conftest import picture

pytestmark = [pytest.mark.browser, pytest.mark.slow]

SIZES = ((96, 160), (160, 64), (128, 192))
MESSAGES = [
    {
        "role": "user",
        "content": [{"type": "image"}, {"type": "text", "text": "This was the screen. Then "}, {"type": "image"}],
    },
    {"role": "assistant", "content": "I look."},
    {"role": "user", "content": [{"type": "image"}, {"type": "text", "text": "What is red?"}]},
]


def test_each_image_is_chosen_by_its_picture_and_looked_at(visit: Watched, tmp_path: Path) -> None:
    page, paths = visit.page, []
    for index, size in enumerate(SIZES):
        paths.append(tmp_path / f"screen{index}.png")
        picture(*size, seed=index).save(paths[-1])
    hand_in(page, paths[0])
    page.get_by_text("More", exact=True).click()
    page.locator("#more-images input[type=file]").set_input_files(paths[1:])
    expect(page.locator("#more-images")).to_contain_text("screen2")
    write_prompt(page, json.dumps(MESSAGES))
    analyze(page)
    chooser = page.locator(".lav-image")
    expect(chooser).to_have_count(3)
    expect(page.locator(".lav-image[aria-pressed=true]")).to_have_text("image 3")
    expect(page.locator(".lav-share-legend")).to_contain_text("image 1")
    first = page.locator(".lav-share-legend li").last
    expect(first).to_have_text("image 3")
    with page.expect_response(re.compile(r"/visits/[\w-]+\.1/stack")) as asked:
        chooser.nth(1).click()
    assert asked.value.ok
    expect(page.locator(".lav-image[aria-pressed=true]")).to_have_text("image 2")
    expect(first).to_have_text("image 2")
    shape = page.locator(".lav-pane canvas").first.evaluate("canvas => canvas.height / canvas.width")
    assert shape == pytest.approx(160 / 64, rel=0.05)
    expect(panes(page)).to_have_count(3)
    page.locator("[data-layer], .lav-share-column").first.click()
    expect(page.locator(".lav-image[aria-pressed=true]")).to_have_text("image 2")
    card = page.locator('[data-card="attribution"]')
    expect(page.locator(".lav-finding h3")).to_have_text(["Seeing, looking or saying?", "Which heads carry it?"])
    card.get_by_role("button", name="Find out").click()
    sentence = card.locator(".lav-sentence-found")
    expect(sentence).to_contain_text("carries")
    words = sentence.inner_text()
    chooser.nth(0).click()  # it is of all images, and stays
    expect(page.locator(".lav-image[aria-pressed=true]")).to_have_text("image 1")
    expect(page.locator(".lav-pane canvas").first).to_be_visible()
    expect(sentence).to_have_text(words)
    expect(card).not_to_have_class(re.compile("lav-old"))
    page.get_by_text("read before the image", exact=True).click()
    expect(page.locator(".lav-folds")).to_contain_text("screen")


def test_a_picture_that_is_none_takes_the_others_away_and_says_why(visit: Watched, tmp_path: Path) -> None:
    page = visit.page
    good, broken = tmp_path / "good.png", tmp_path / "broken.png"
    picture(96, 160).save(good)
    broken.write_bytes(b"no picture")
    hand_in(page, good)
    page.get_by_text("More", exact=True).click()
    page.locator("#more-images input[type=file]").set_input_files([good, broken])
    expect(page.locator(".lav-notice")).to_contain_text("not an image")
    expect(page.locator("#more-images")).not_to_contain_text("good")
