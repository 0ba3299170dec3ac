"""A report read back from its own bytes: what is in it is what the page gets, and nothing of it becomes markup."""

import base64
import io
import json
import sys
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from inference.errors import SelectionError
from tests.visualize.factory import HEADS, LAYERS, MODEL, comparison, photo, recording, tokens, with_sinks
from tests.visualize.findings.explained import attribution
from tests.visualize.report_read import Page, header_of, inflated, unpacked
from visualize import StackChoice, heads_body, notebook_html, report_html, scene_json, stack_body
from visualize.findings.cards_json import findings_json
from visualize.report.contents import MOST_TOKENS

HOSTILE = "</script><script>alert(1)</script>\"' onmouseover='x' <img src=x onerror=y> <!-- \u2028\u202e"


def pair(**more):
    return comparison(with_sinks(), with_sinks("find-red", seed=1), **more)


def choice_of(key):
    token = key["token"]
    return StackChoice(tuple(token) if isinstance(token, list) else token, *list(key.values())[1:])


def choices(page):
    return [json.loads(key) for key in page.numbers("stack")]


def test_every_stack_in_a_report_is_the_stack_that_the_page_gets():
    both = comparison(with_sinks(), with_sinks("a", seed=1), with_sinks("b", seed=2))
    for given in (pair(), both):
        page = Page(report_html(given))
        for key, text in page.numbers("stack").items():
            assert unpacked(base64.b64decode(text)) == stack_body(given, choice_of(json.loads(key)))


def test_all_heads_of_a_layer_are_put_together_from_the_heads_stacks():
    given = pair()
    page = Page(report_html(given))
    stacks = {key: unpacked(base64.b64decode(text)) for key, text in page.numbers("stack").items()}
    ((key, text),) = page.numbers("heads").items()
    choice, starts = json.loads(key), inflated(text)
    cells = 2 * given.grid[0] * given.grid[1]
    for layer in range(LAYERS):
        header, start = header_of(starts)
        made, starts = starts[:start], starts[start:]
        for pane in range(len(header["panes"])):
            for head in header["heads"]:
                body = stacks[json.dumps({**choice, "head": head})]
                at = header_of(body)[1] + cells * (pane * LAYERS + layer)
                made += body[at : at + cells]
        assert made == heads_body(given, choice_of(choice), layer)
    assert not starts


def test_what_is_in_a_report_comes_in_the_order_of_what_is_looked_at_first():
    given = pair()
    opening = scene_json(given)["opening"]
    page = Page(report_html(given))
    found = [(key["token"], key["head"], key["view"], key["window"]) for key in choices(page)]
    at = opening["token"]
    focus = given.recordings[0].focus[0]
    heads = [(focus, head, "raw", 0) for head in ("mean", "max", *range(HEADS))]
    expected = [(at, "mean", view, 0) for view in ("raw", "sink-masked", "contrast")] + heads
    expected += [(token, "mean", "raw", 0) for token in (7, 8, 9, 1, 2, 3, 4)]
    expected += [(at, "mean", "raw", window) for window in (1, 2)] + [([7, 8], "mean", "raw", 0)]
    assert found == list(map(tuple, {json.dumps(each): each for each in expected}.values()))
    assert {key["against"] for key in choices(page)} == {"base"}


def test_at_most_forty_tokens_are_inside_those_of_the_answer_first_and_the_others_are_named():
    row = tokens(prompt=tuple(f" w{index}" for index in range(20)), answer=tuple(f" a{index}" for index in range(30)))
    page = Page(report_html(comparison(recording(row=row), recording("a", row=row, seed=1))))
    inside = {key["token"] for key in choices(page) if isinstance(key["token"], int)}
    answer = {index for index, token in enumerate(row) if token.role in ("answer", "end")}
    assert answer <= inside
    assert len(inside) == MOST_TOKENS == 40
    assert inside - answer == set(range(1, 10))
    assert (
        "Inside, for all layers: the mean of all heads for tokens 1–9, 23–53. "
        "Left out: tokens 10–20 of the answer and the question."
    ) in page.texts


def test_a_report_says_what_is_inside():
    given = pair()
    at, focus = scene_json(given)["opening"]["token"], given.recordings[0].focus[0]
    said = Page(report_html(given)).texts[-4:]
    assert said == [
        "Inside, for all layers: the mean of all heads for tokens 1–4, 7–9.",
        f"Inside, too: every head for token {focus}.",
        f"Also for token {at}: sink-masked view; contrast view; raw view, ±1 layers; raw view, ±2 layers. "
        "Also for the mean of tokens 7–8: raw view. "
        "Everything else is left out, and says so where it is chosen; an NPZ of this result holds all of it.",
        "No box was drawn when this file was saved, and none can be measured in it: draw boxes on the page.",
    ]


def test_what_does_not_fit_is_left_out_as_a_whole_and_said():
    given = pair()
    whole = len(report_html(given))
    page = Page(small := report_html(given, largest=1_000))
    assert len(choices(page)) == 1
    assert not page.numbers("heads")
    assert "Left out: tokens" in page.texts[-4]
    focus = given.recordings[0].focus[0]
    assert f"(recorded for token {focus}) are left out: they would make the file too large." in page.texts[-3]
    for largest in range(len(small) + 8_000, whole, (whole - len(small)) // 6):
        html = report_html(given, largest=largest)
        assert len(html.encode()) <= largest
        page = Page(html)
        heads = {key["head"] for key in choices(page)} - {"mean"}
        assert heads in (set(), {"max", *range(HEADS)})
        assert bool(page.numbers("heads")) == bool(heads)


def test_heads_of_tokens_that_are_no_run_are_left_out_and_said():
    given = comparison(recording(focus=(7, 9)), recording("a", seed=1, focus=(7, 9)))
    page = Page(report_html(given))
    assert {key["head"] for key in choices(page)} == {"mean"}
    assert "Single heads are left out: they were recorded for tokens that are no run." in page.texts
    run = Page(report_html(comparison(recording(focus=(7, 8)), recording("a", seed=1, focus=(7, 8)))))
    assert [json.loads(key)["token"] for key in run.numbers("heads")] == [[7, 8]]
    assert "Inside, too: every head for the mean of tokens 7–8." in run.texts


def test_views_that_a_result_does_not_have_are_left_out():
    row = tokens(prompt=())
    page = Page(report_html(comparison(recording(row=row, rows=2), recording("a", row=row, seed=1, rows=2))))
    assert {key["view"] for key in choices(page)} == {"raw", "contrast"}


def test_one_variant_and_own_answers_have_a_report_too():
    alone, own = (
        comparison(recording("a")),
        comparison(recording(), recording("a", row=tokens(answer=(" blue",)), seed=1), own=True),
    )
    for given, panes in ((alone, {1}), (own, {1, 2})):  # of own answers, those that have the token
        page = Page(report_html(given))
        bodies = [unpacked(base64.b64decode(text)) for text in page.numbers("stack").values()]
        assert {len(header_of(body)[0]["panes"]) for body in bodies} == panes


def test_a_report_opens_on_what_was_chosen_and_holds_it():
    given = pair()
    chosen = {"token": [7, 8], "layer": 1, "window": 1, "against": "find-red", "opacity": 0.3}
    page = Page(report_html(given, choice=chosen))
    assert page.about()["scene"]["opening"] == {**scene_json(given)["opening"], **chosen}
    assert choices(page)[0] == {"token": [7, 8], "head": "mean", "view": "raw", "window": 1, "against": "find-red"}
    assert {key["against"] for key in choices(page)} == {"find-red"}
    with pytest.raises(SelectionError, match="Single heads are recorded for"):
        report_html(given, choice={"token": 8, "head": 1})


def test_the_scene_is_the_pages():
    given, written = pair(), pair(notes=("A note.",))
    families = {"find-red": ("run", 100)}
    about = Page(report_html(given, written=written, families=families)).about()
    assert about["scene"] == json.loads(json.dumps(scene_json(given, written=written, families=families)))
    assert about["scene"] != json.loads(json.dumps(scene_json(given)))


@pytest.mark.parametrize(
    ("size", "kept"), [((60, 100), (60, 100)), ((1080, 1920), (1080, 1920)), ((3000, 4000), (1440, 1920))]
)
def test_the_photo_is_inside_at_most_1920_pixels_long(size, kept):
    image = np.asarray(Image.fromarray(photo((5, 8))).resize(size[::-1], Image.Resampling.BICUBIC))
    head, _, text = Page(report_html(comparison(image=image), largest=1_000)).about()["photo"].partition(",")
    assert head == "data:image/jpeg;base64"
    inside = Image.open(io.BytesIO(base64.b64decode(text)))
    assert inside.size == kept[::-1]
    whole = Image.fromarray(image).resize(inside.size, Image.Resampling.BOX)
    assert np.abs(np.asarray(inside, int) - np.asarray(whole, int)).mean() < 2


def test_hostile_words_stay_words():
    row = tokens(prompt=(HOSTILE,), answer=(HOSTILE, "'\"><svg onload=z>"))
    given = replace(
        comparison(recording(row=row), recording("a", row=row, seed=1), prompt=HOSTILE, notes=(HOSTILE,)),
        model=replace(MODEL, id=HOSTILE, version=HOSTILE),
        system=HOSTILE,
    )
    page, plain = Page(report_html(given)), Page(report_html(replace(pair(), system="Be brief.")))
    assert sorted(set(page.tags)) == sorted(set(plain.tags))
    assert {name for name, _ in page.attributes} == {name for name, _ in plain.attributes}
    scene = page.about()["scene"]
    assert scene["prompt"] == HOSTILE
    assert scene["tokens"][1]["text"] == HOSTILE
    assert page.script() == plain.script()
    said = [text for text in page.texts if "alert(1)" in text]
    assert said
    assert "\u2028" not in "".join(page.texts)


def test_a_report_forbids_itself_every_other_source():
    html = report_html(pair())
    page = Page(html)
    policy = next(
        value for name, value in page.attributes if name == "content" and str(value).startswith("default-src")
    )
    assert policy == ("default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; img-src data: blob:")
    assert html.index("Content-Security-Policy") < html.index("<style") < html.index("<script")
    assert not {"link", "iframe", "img", "base", "form"} & set(page.tags)
    assert not [value for name, value in page.attributes if name in ("src", "href", "action")]
    styles = "".join(text for tag, _, text in page.data if tag == "style")
    assert "@import" not in styles
    assert "url(" not in styles


def test_a_report_says_model_variants_photo_and_prompt():
    texts = Page(report_html(replace(pair(), system="Be\nbrief."))).texts
    assert texts[:2] == ["Where demo looks: base, find-red"] * 2
    assert texts[2:5] == [
        "photo of 100 × 60 pixels, 3 × 5 cells · LoRA Attention Visualizer 0.1.0",
        "Prompt: “What is red?”",
        "System: “Be\\nbrief.”",
    ]


def test_equal_comparisons_give_equal_bytes_and_a_file_holds_them(tmp_path):
    pair().report(tmp_path / "run.html")
    assert (tmp_path / "run.html").read_bytes() == report_html(pair()).encode()
    assert report_html(pair()) != report_html(pair(prompt="Why?"))


def test_a_notebook_shows_the_report_in_a_frame_of_its_own():
    given = replace(pair(), model=replace(MODEL, id=HOSTILE))
    html = given._repr_html_()
    assert html == notebook_html(given)
    page = Page(html)
    assert page.tags == ["iframe"]
    frame = dict(page.attributes)
    assert frame.pop("srcdoc") == report_html(given)
    assert frame.pop("title").startswith("Where </script>")
    assert frame == {"sandbox": "allow-scripts", "width": "100%", "height": "900", "style": "border:0"}


def test_a_notebook_gets_a_smaller_report(monkeypatch):
    monkeypatch.setattr(sys.modules["visualize.report.notebook"], "LARGEST", 1_000)
    document = dict(Page(notebook_html(pair())).attributes)["srcdoc"]
    assert document == report_html(pair(), largest=1_000)


def test_what_was_found_out_is_inside_and_nothing_where_nothing_was():
    given, found = pair(), attribution(notes=("One note.",))
    page = Page(report_html(given, explanations=[found]))
    assert page.about()["findings"] == json.loads(json.dumps(findings_json(found, given)))
    assert Page(report_html(given)).about()["findings"] == []
