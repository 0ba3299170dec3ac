"""What is chosen to look at, and what comes back."""

import re

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import Watched
from tests.browser.steps import have_analyzed, panes, where

pytestmark = [pytest.mark.browser, pytest.mark.slow]


def test_the_contrast_view_and_one_head_give_way_to_each_other(visit: Watched) -> None:
    page = visit.page
    view, head = (page.locator(f"select[data-choice={name}]") for name in ("view", "head"))
    head.select_option("1")
    expect(where(page)).to_contain_text("head 1 · raw view")
    view.select_option("contrast")
    expect(where(page)).to_contain_text("mean of all heads · contrast view")
    expect(head).to_have_value("mean")
    head.select_option("1")
    expect(where(page)).to_contain_text("head 1 · raw view")
    expect(view).to_have_value("raw")


def test_the_chosen_head_comes_back_after_contrast(visit: Watched) -> None:
    page = visit.page
    view, head = (page.locator(f"select[data-choice={name}]") for name in ("view", "head"))
    head.select_option("2")
    expect(where(page)).to_contain_text("head 2 · raw view")
    view.select_option("contrast")
    expect(where(page)).to_contain_text("mean of all heads · contrast view")
    page.locator("h1").click()
    page.keyboard.press("Home")  # nothing of ours: the page's own
    page.keyboard.press("ArrowRight")
    expect(where(page)).to_contain_text("mean of all heads · contrast view")
    view.select_option("raw")
    expect(where(page)).to_contain_text("head 2 · raw view")
    expect(head).to_have_value("2")


def test_a_mean_chosen_on_purpose_stays_the_mean(visit: Watched) -> None:
    page = visit.page
    view, head = (page.locator(f"select[data-choice={name}]") for name in ("view", "head"))
    head.select_option("2")
    view.select_option("contrast")
    expect(where(page)).to_contain_text("mean of all heads · contrast view")
    head.select_option("max")
    expect(where(page)).to_contain_text("maximum over heads · raw view")
    head.select_option("mean")
    view.select_option("contrast")
    expect(where(page)).to_contain_text("contrast view")
    view.select_option("raw")
    expect(where(page)).to_contain_text("mean of all heads · raw view")


def described(page: Page) -> None:
    """The example that is a described scene, analysed: it opens on a token of the answer."""
    expect(panes(page)).to_have_count(3)  # of the first visit
    have_analyzed(page, page.locator(".lav-example", has_text="three objects"))
    expect(page.locator("#prompt textarea")).to_have_value("Describe the image.")


def test_heads_are_ranked_from_the_first_paint_on(visit: Watched) -> None:
    page = visit.page
    described(page)
    group = page.locator("select[data-choice=head] optgroup").last
    expect(group).to_have_attribute("label", "ranked for this token and layer")
    scores = [float(words.split("changed ")[1].split(" ")[0]) for words in group.locator("option").all_inner_texts()]
    assert len(scores) > 1
    assert scores == sorted(scores, reverse=True)
    assert scores[0] > scores[-1]


def test_views_that_must_be_recorded_come_once_they_are(visit: Watched) -> None:
    page = visit.page
    described(page)
    view, head = (page.locator(f"select[data-choice={name}]") for name in ("view", "head"))
    canvas = page.locator("canvas[data-variant]").first
    for name, words in (
        ("relative", "mean of all heads · relative view"),
        ("gradient", "mean of all heads · gradient view"),
        ("named", "the same for every layer and head · named view"),
        ("named alone", "the same for every layer and head · named alone view"),
    ):
        view.select_option(name)
        expect(where(page)).to_contain_text(words)
        expect(canvas).to_be_visible()
    expect(page.locator(".lav-looking")).to_contain_text("find-red names more")
    view.select_option("gradient")
    head.select_option("1")
    expect(where(page)).to_contain_text("head 1 · gradient view")
    expect(page.locator(".lav-looking")).to_contain_text("find-red relies more")
    page.locator('.lav-chip[data-token="11"]').first.click()
    expect(where(page)).to_contain_text(re.compile("“cross” · layer . · head 1 · gradient view"))
    view.select_option("raw")
    expect(where(page)).to_contain_text("head 1 · raw view")
    card = page.locator('[data-card="knockout"]')
    view.select_option("gradient")
    expect(where(page)).to_contain_text("head 1 · gradient view")
    card.locator(".lav-find").click()
    expect(card.locator(".lav-sentence-found")).to_contain_text("cells")
