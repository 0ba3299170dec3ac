import math
import re
from html.parser import HTMLParser

import numpy as np
import pytest

from inference.errors import SelectionError
from tests.visualize.factory import MODEL, comparison, recording, tokens
from visualize import ColourLimits, chips, chips_html, colour_bar, colour_bar_svg, notebook_html
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


def test_a_comparison_shows_itself_in_a_notebook():
    pair = comparison()
    html = pair._repr_html_()
    assert html == notebook_html(pair)
    assert html.count("<figure") == 3
    assert "find-red − base" in html


def test_a_notebook_shows_each_adapter_beside_base():
    several = comparison(recording("a", seed=1), recording(), recording("b", seed=2))
    html = notebook_html(several)
    assert html.count("<figure") == 6
    assert "a − base" in html
    assert "b − base" in html


def test_a_notebook_shows_one_variant_and_own_answers_too():
    assert notebook_html(comparison(recording())).count("<figure") == 1
    own = comparison(recording(), recording("a", row=tokens(answer=(" blue",)), seed=1), own=True)
    html = notebook_html(own)
    assert html.count("<figure") == 2
    assert "own answer" in html


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


def test_wrapped_lines_fit_and_lose_nothing():
    font = typeface(14)
    text = "a short word and " + "x" * 300 + " end"
    lines = wrap(text, font, 200)
    assert max(font.getlength(line) for line in lines) <= 200
    assert "".join(lines).replace(" ", "") == text.replace(" ", "")
    assert wrap(text, font, 200, most=2)[-1].endswith("…")
