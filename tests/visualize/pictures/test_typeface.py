"""Letters on pictures."""

from itertools import pairwise

import pytest

from visualize.pictures.typeface import drawable, typeface, unbroken, wrap


def test_letters_that_the_typeface_lacks_are_written_as_code_points():
    assert drawable("Δ − red 猫") == "Δ − red ⟨U+732B⟩"


def test_wrapped_lines_fit_and_lose_nothing():
    font = typeface(14)
    text = "a short word and " + "x" * 300 + " end"
    lines = wrap(text, font, 200)
    assert max(font.getlength(line) for line in lines) <= 200
    assert "".join(lines).replace(" ", "") == text.replace(" ", "")
    assert wrap(text, font, 200, most=2)[-1].endswith("…")


def test_titles_are_bold_and_other_words_are_not():
    assert typeface(20, bold=True).getname() == ("DejaVu Sans", "Bold")
    assert typeface(14).getname() == ("DejaVu Sans", "Book")


def test_control_characters_and_emoji_are_code_points_of_at_least_four_digits():
    assert drawable("\x07🦊") == "⟨U+0007⟩⟨U+1F98A⟩"


@pytest.mark.parametrize("width", [60, 121, 200, 333])
@pytest.mark.parametrize("size", [11, 14])
def test_each_line_holds_as_many_words_as_fit(width, size):
    font = typeface(size)
    text = "Where does it look when it says red or green or blue and is that the place where the ball lies"
    expected, rest = [], text.split(" ")
    while rest:
        count = max(n for n in range(1, len(rest) + 1) if font.getlength(" ".join(rest[:n])) <= width)
        expected.append(" ".join(rest[:count]))
        rest = rest[count:]
    assert wrap(text, font, width) == expected
    for most in range(1, len(expected)):
        last = expected[most - 1]
        ended = max((last[:n] + "…" for n in range(len(last) + 1) if font.getlength(last[:n] + "…") <= width), key=len)
        assert wrap(text, font, width, most=most) == [*expected[: most - 1], ended]
    assert wrap(text, font, width, most=len(expected)) == expected


def test_a_line_may_be_exactly_as_wide_as_there_is_room():
    font = typeface(14)
    width = font.getlength("red circle")
    assert wrap("red circle", font, width) == ["red circle"]
    assert wrap("red circle", font, width - 0.01) == ["red", "circle"]
    word = font.getlength("circle")
    assert wrap("circle", font, word) == ["circle"]
    assert wrap("circle", font, word - 0.01) == ["circl", "e"]
    assert wrap("", font, 100) == [""]


def test_a_word_that_is_too_wide_is_broken_and_fills_each_line():
    font = typeface(14)
    word = "abcdefghijklmnopqrstuvwxyz" * 3
    lines = wrap("a " + word, font, 100)
    assert lines[0] == "a"
    assert "".join(lines[1:]) == word
    for line, following in pairwise(lines[1:]):
        assert font.getlength(line) <= 100 < font.getlength(line + following[0])


def test_parts_joined_by_dots_break_between_them_only():
    assert unbroken("layer 3 · raw view · 4 %") == "layer\u00a03\u00a0· raw\u00a0view\u00a0· 4\u00a0%"
    font = typeface(14)
    assert wrap(unbroken("layer 3 · raw view"), font, font.getlength("layer 3 · raw")) == [
        "layer\u00a03\u00a0·",
        "raw\u00a0view",
    ]
