"""Letters on pictures."""

from visualize.pictures.typeface import drawable, typeface, wrap


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
