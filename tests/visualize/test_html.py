import base64
import io
import math
import re
from dataclasses import replace
from html import unescape
from html.parser import HTMLParser

import numpy as np
import pytest
from PIL import Image

from inference.errors import SelectionError
from tests.visualize.factory import MODEL, comparison, photo, recording, tokens
from visualize import (
    Chip,
    ColourLimits,
    Selection,
    chips,
    chips_html,
    colour_bar,
    colour_bar_svg,
    notebook_html,
    numbers_line,
    opening,
    panes,
)
from visualize.typeface import drawable, typeface, wrap

HOSTILE = "<script>alert(1)</script>\"' onmouseover='x' <img src=x onerror=y>"


class Tags(HTMLParser):
    """Every tag and attribute of a page, and whether its tags close in order."""

    def __init__(self):
        super().__init__()
        self.tags, self.attributes, self.open = [], [], []

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += [(name, value) for name, value in attrs]
        if tag not in ("img", "br", "path", "rect", "image"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        if tag not in ("path", "rect", "image"):
            assert self.open.pop() == tag


def parsed(html):
    tags = Tags()
    tags.feed(html)
    assert not tags.open
    return tags


def hostile_comparison():
    row = tokens(prompt=(HOSTILE,), answer=(HOSTILE, "'\"><svg onload=z>"))
    model = MODEL.__class__(**{**{name: getattr(MODEL, name) for name in MODEL.__slots__}, "id": HOSTILE})
    return comparison(
        recording(row=row), recording("a", row=row, seed=1), model=model, prompt=HOSTILE, notes=(HOSTILE,)
    )


def test_hostile_words_never_become_tags_or_attributes():
    html = notebook_html(hostile_comparison())
    tags = parsed(html)
    assert not {"script", "b"} & set(tags.tags)
    assert not [name for name, _ in tags.attributes if name.startswith("on")]
    assert "alert(1)" in html  # said, as text
    assert "<script" not in html.lower()
    sources = [value for name, value in tags.attributes if name in ("src", "href")]
    assert sources
    assert all(value.startswith("data:image/") for value in sources)


def texts(html):
    """Everything a person reads of a page, piece by piece, without the bars."""
    html = re.sub(r"<svg.*?</svg>", "", html, flags=re.DOTALL)
    return [unescape(piece) for piece in re.findall(r">([^<]+)<", html)]


def chip_texts(each):
    shares = each.group_share[..., 0].mean(axis=(1, 2), dtype=float)
    words = [("red", 7), ("circle", 8), ("end", 9)]
    return [piece for word, index in words for piece in (word, f"{100 * shares[index]:.1f} %")]


def test_a_comparison_shows_itself_in_a_notebook_where_the_page_opens():
    pair = comparison(notes=("A note.",))
    html = pair._repr_html_()
    assert html == notebook_html(pair)
    layer, token = opening(pair, None, "find-red")
    shown = panes(pair, Selection(layer, token), adapter="find-red")
    expected = ["demo", " · photo of 100 × 60 pixels, 3 × 5 cells", "“What is red?”"]
    for each in pair.recordings:
        expected += [each.adapter or "base", " wrote “red circle”", *chip_texts(each)]
    expected.append(shown.stack.headings[0])
    for pane in shown:
        expected += [pane.variant, numbers_line(shown, pane), pane.caption]
    assert texts(html) == [*expected, "A note."]
    assert f"layer {layer} " in shown.stack.headings[0]


@pytest.mark.parametrize(
    ("size", "drawn", "width"),
    [
        ((60, 100), (384, 640), 320),
        ((400, 100), (1280, 320), 160),
        ((1, 2000), (1, 640), 320),
        ((1500, 1), (1280, 1), 1),
    ],
)
def test_a_notebooks_pictures_are_drawn_twice_as_large_as_they_are_shown(size, drawn, width):
    pair = comparison(image=photo(size))
    layer, token = opening(pair, None, "find-red")
    shown = list(panes(pair, Selection(layer, token), adapter="find-red"))
    tags = parsed(notebook_html(pair))
    sources = [value for name, value in tags.attributes if name == "src"]
    for source, pane in zip(sources, shown, strict=True):
        head, _, body = source.partition(",")
        assert head == "data:image/jpeg;base64"
        picture = Image.open(io.BytesIO(base64.b64decode(body)))
        assert picture.size == drawn[::-1]
        gap = np.abs(np.asarray(picture).astype(int) - np.asarray(pane.drawing.at(drawn)).astype(int))
        assert gap.mean() < 4
        assert picture.layer[0][1:3] == (1, 1)  # colours at every pixel
    styles = [
        value for name, value in tags.attributes if name == "style" and value.startswith("display:block;max-width")
    ]
    assert styles == [f"display:block;max-width:100%;width:{width}px;height:auto"] * 3
    assert [value for name, value in tags.attributes if name == "alt"] == [pane.alt for pane in shown]
    frames = [value for name, value in tags.attributes if name == "style" and value.startswith("margin:0;")]
    assert frames == ["margin:0;width:320px"] * 3
    bars = "".join(colour_bar_svg(pane.drawing.limits) for pane in shown[:1])
    assert notebook_html(pair).count(bars) == 2


def test_a_notebook_shows_each_adapter_beside_base_where_that_pair_opens():
    several = comparison(recording("a", seed=1), recording(), recording("b", seed=2))
    html = notebook_html(several)
    assert html.count("<figure") == 6
    headings = []
    for name in ("a", "b"):
        layer, token = opening(several, None, name)
        headings += panes(several, Selection(layer, token), adapter=name).stack.headings
        assert f"{name} − base" in html
    assert [piece for piece in texts(html) if piece.startswith("Predicting")] == headings
    assert headings[0] != headings[1]


def test_a_notebook_shows_one_variant_and_own_answers_too():
    html = notebook_html(comparison(recording("a")))
    assert html.count("<figure") == 1
    assert "Predicting “ red” · layer 2 · mean of all heads · raw view" in texts(html)
    own = comparison(recording(), recording("a", row=tokens(answer=(" blue",)), seed=1), own=True)
    html = notebook_html(own)
    assert html.count("<figure") == 2
    note = "Each variant replayed its own answer: their rows follow different words and have no difference."
    assert note in texts(html)
    assert "<ul>" not in html


def test_a_notebook_without_written_answers_says_none():
    given = comparison(replace(recording(), answer=None))
    assert not [piece for piece in texts(notebook_html(given)) if "wrote" in piece]


def test_a_very_long_prompt_or_answer_is_cut():
    long = comparison(replace(recording(), answer="y" * 3000), prompt="x" * 3000)
    found = texts(notebook_html(long))
    assert "“" + "x" * 1999 + "…”" in found
    assert " wrote “" + "y" * 1999 + "…”" in found


def test_every_picture_of_a_notebook_has_an_alternative_text():
    tags = parsed(notebook_html(comparison()))
    assert tags.tags.count("img") == len([value for name, value in tags.attributes if name == "alt" and value])


def test_chips_say_share_and_probability_of_each_answer_token():
    one = recording()
    row = chips(one, 2)
    assert [chip.index for chip in row] == [7, 8, 9]
    assert [chip.label for chip in row] == ["red", "circle", "end"]
    for ordinal, chip in enumerate(row):
        assert chip.share == pytest.approx(float(one.by_token[chip.index, 2].sum(dtype=float)), abs=1e-6)
        assert chip.logprob == pytest.approx(float(one.logprobs[ordinal]))
    mean = [float(one.group_share[index, :, :, 0].mean(dtype=float)) for index in (7, 8, 9)]
    assert [chip.share for chip in chips(one)] == pytest.approx(mean)
    window = [float(one.by_token[index, 1:3].sum(axis=(1, 2)).mean()) for index in (7, 8, 9)]
    assert [chip.share for chip in chips(one, (1, 2))] == pytest.approx(window, abs=1e-6)


def test_prompt_chips_have_no_probability():
    row = chips(recording(), roles=("prompt",))
    assert [chip.text for chip in row] == ["What", " is", " red", "?"]
    assert {chip.logprob for chip in row} == {None}


def test_a_layer_that_does_not_exist_has_no_chips():
    with pytest.raises(SelectionError, match="layers 0–3"):
        chips(recording(), 4)


def test_chips_as_html_escape_their_text():
    html = chips_html(chips(recording(row=tokens(answer=(HOSTILE,)))))
    tags = parsed(html)
    assert set(tags.tags) == {"div", "bdi", "span"}
    assert [value for name, value in tags.attributes if name == "data-token"] == ["7", "8"]
    assert not re.search(r"<(script|img)", html)


def test_a_chip_as_html_says_share_and_probability_and_has_a_bar_of_that_length():
    one = recording()
    tags = parsed(chips_html(chips(one, 2), name="<Tokens>"))
    assert ("aria-label", "<Tokens>") in tags.attributes
    titles = [value for name, value in tags.attributes if name == "title"]
    bars = [value for name, value in tags.attributes if name == "style" and "%" in value]
    for ordinal, (title, bar) in enumerate(zip(titles, bars, strict=True)):
        share = 100 * one.group_share[7 + ordinal, 2, :, 0].mean(dtype=float)
        given = math.exp(one.logprobs[ordinal])
        assert title == f"token {7 + ordinal}, {share:.1f} % of its attention on the image, probability {given:.3g}"
        assert bar == f"display:block;height:3px;width:{share:.1f}%;background:currentColor"
    words = parsed(chips_html(chips(one, roles=("prompt",))))
    assert not [value for name, value in words.attributes if name == "title" and "probability" in value]


def test_a_bar_never_leaves_its_chip():
    rounded = [Chip(0, "a", "a", "answer", 1.0000004, -0.5), Chip(1, "b", "b", "answer", -1e-9, -0.5)]
    html = chips_html(rounded)
    assert "width:100.0%" in html
    assert "width:0.0%" in html


def test_a_label_is_never_empty_and_shows_what_cannot_be_seen():
    row = chips(recording(row=tokens(answer=("", "  ", "\n", "\u202ex"))))
    assert [chip.label for chip in row] == ["…", "␣␣", "\\n", "\\u202ex", "end"]


def test_probabilities_are_exponentials_of_the_recorded_logarithms():
    one = recording()
    assert f"probability {math.exp(float(one.logprobs[0])):.3g}" in chips_html(chips(one))


@pytest.mark.parametrize("limits", [ColourLimits(0, 0.05), ColourLimits(0, 0), ColourLimits(1e-5, 1e-2, True)])
def test_a_bar_as_svg_says_its_limits_and_unit(limits):
    svg = colour_bar_svg(limits)
    assert "% of the token&#x27;s attention" in svg
    assert parsed(svg).tags[0] == "svg"


def test_a_drawn_bar_runs_through_its_colours_in_order():
    bar = np.asarray(colour_bar(ColourLimits(0, 1), colormap="cividis", width=400))
    strip = bar[6, 40:360].astype(float) @ [0.2126, 0.7152, 0.0722]
    assert (np.diff(strip) > -2).all()
    assert strip[-1] - strip[0] > 120


def test_letters_that_the_typeface_lacks_are_written_as_code_points():
    assert drawable("Δ − red 猫") == "Δ − red ⟨U+732B⟩"


def test_titles_are_bold_and_other_words_are_not():
    assert typeface(20, bold=True).getname() == ("DejaVu Sans", "Bold")
    assert typeface(14).getname() == ("DejaVu Sans", "Book")


def test_wrapped_lines_fit_and_lose_nothing():
    font = typeface(14)
    text = "a short word and " + "x" * 300 + " end"
    lines = wrap(text, font, 200)
    assert max(font.getlength(line) for line in lines) <= 200
    assert "".join(lines).replace(" ", "") == text.replace(" ", "")
    assert wrap(text, font, 200, most=2)[-1].endswith("…")
