"""The picture that leaves the tool, put together once more from where everything stands."""

from dataclasses import replace

import numpy as np
import pytest

from tests.visualize import written_out
from tests.visualize.drawn import INK, PAPER, SOFT, holds_picture, holds_text
from tests.visualize.factory import GRID, HEADS, LAYERS, comparison, photo, recording, tokens, with_sinks
from tests.visualize.written_out import digits
from visualize import Selection, colour_bar, numbers_line, panes, sheet
from visualize.pictures.typeface import typeface, unbroken, wrap

AT = Selection(2, 7)
KEY = "Ring: the largest value, of a difference the largest change."
SINKS = " Cross: a sink, a cell that nearly every text row looks at."


def answered(image, *, left="blue cross", right="red circle"):
    base, adapter = with_sinks(seed=0), with_sinks("find-red", seed=1)
    return comparison(replace(base, answer=left), replace(adapter, answer=right), image=photo(image))


def assert_column(picture, shown, pane, corner, width, size, bar_width, unit=1.0):
    """One pane with its title, picture, bar and words, all `unit` times as large; returns how high it is."""

    def large(pixels):
        return round(pixels * unit)

    left, top = corner
    assert holds_text(picture, (left, top), pane.variant, size=large(20), bold=True)
    top += large(28) + large(6)
    assert holds_picture(picture, (left + (width - size[1]) // 2, top), pane.drawing.at(size))
    top += size[0] + large(12)
    bar = colour_bar(pane.drawing.limits, colormap=pane.drawing.colormap, width=bar_width, unit=unit)
    assert holds_picture(picture, (left + (width - bar_width) // 2, top), bar)
    top += large(15) + large(49) + large(12)
    font = typeface(large(14))
    numbers = wrap(unbroken(numbers_line(shown, pane)), font, width)
    caption = wrap(unbroken(pane.caption), font, width)
    assert len(caption) > 1 or width > 560
    for index, line in enumerate(numbers):
        assert holds_text(picture, (left, top + large(19) * index), line, size=large(14), fill=INK)
    for index, line in enumerate(caption, len(numbers) + 1):
        assert holds_text(picture, (left, top + large(19) * index), line, size=large(14), fill=SOFT)
    return top + large(19) * (len(numbers) + 1 + len(caption)) - corner[1]


def test_panes_stand_side_by_side_under_the_prompt_and_both_answers():
    shown = panes(answered((120, 200)), AT, adapter="find-red", colormap="magma")
    picture = sheet(shown)
    for index, line in enumerate(["Prompt: “What is red?”", "base: “blue cross”", "find-red: “red circle”"]):
        assert holds_text(picture, (28, 28 + 19 * index), line, fill=INK)
    top = 28 + 3 * 19 + 14
    heights = [
        assert_column(picture, shown, pane, (28 + index * (560 + 28), top), 560, (336, 560), 560)
        for index, pane in enumerate(shown)
    ]
    foot = top + max(heights) + 10
    assert shown.sinks.any()
    assert holds_text(picture, (28, foot), KEY + SINKS, fill=SOFT)
    assert picture.size == (28 + 3 * 560 + 2 * 28 + 28, foot + 19 + 28)
    assert {tuple(pixel) for pixel in np.asarray(picture)[:, :28].reshape(-1, 3)} == {PAPER}
    assert {tuple(pixel) for pixel in np.asarray(picture)[-28:].reshape(-1, 3)} == {PAPER}


def test_wide_photos_stand_below_one_another_as_wide_as_two_columns():
    shown = panes(answered((60, 400), left=None), replace(AT, view="sink-masked"), adapter="find-red")
    picture = sheet(shown)
    assert holds_text(picture, (28, 28 + 19), "find-red: “red circle”", fill=INK)
    top = 28 + 2 * 19 + 14
    for pane in shown:
        top += assert_column(picture, shown, pane, (28, top), 1120, (168, 1120), 640) + 28
    foot = top - 28 + 10
    assert holds_text(picture, (28, foot), KEY + SINKS, fill=SOFT)
    for index, note in enumerate(shown.notes, 1):
        assert holds_text(picture, (28, foot + 19 * index), note, fill=SOFT)
    assert len(shown.notes) == 2
    assert picture.size == (28 + 1120 + 28, foot + 19 * 3 + 28)


@pytest.mark.parametrize(
    ("size", "column", "drawn"),
    [
        ((100, 250), 560, (224, 560)),
        ((99, 250), 1120, (444, 1120)),
        ((1000, 300), 560, (900, 270)),
        ((2, 5), 560, (224, 560)),
        ((1, 3000), 1120, (1, 1120)),
        ((3000, 1), 560, (900, 1)),
    ],
)
def test_a_photo_is_as_wide_as_its_column_or_900_pixels_high(size, column, drawn):
    shown = panes(comparison(image=photo(size)), AT, adapter="find-red")
    picture = sheet(shown)
    assert picture.width == 28 + (column if column > 560 else 3 * 560 + 2 * 28) + 28
    corner = (28 + (column - drawn[1]) // 2, 28 + 3 * 19 + 14 + 34)
    assert holds_picture(picture, corner, shown.base.drawing.at(drawn))


@pytest.mark.parametrize("which", ["base", "adapter", "difference"])
def test_one_pane_alone_keeps_its_question_answers_bar_caption_and_key(which):
    shown = panes(answered((120, 200)), AT, adapter="find-red")
    picture = sheet(shown, only=getattr(shown, which))
    for index, line in enumerate(["Prompt: “What is red?”", "base: “blue cross”", "find-red: “red circle”"]):
        assert holds_text(picture, (28, 28 + 19 * index), line, fill=INK)
    top = 28 + 3 * 19 + 14
    height = assert_column(picture, shown, getattr(shown, which), (28, top), 560, (336, 560), 560)
    key = wrap(KEY + SINKS, typeface(14), 560)
    for index, line in enumerate(key):
        assert holds_text(picture, (28, top + height + 10 + 19 * index), line, fill=SOFT)
    assert picture.size == (28 + 560 + 28, top + height + 10 + 19 * len(key) + 28)


def test_a_wide_photo_alone_is_as_wide_as_one_column():
    shown = panes(answered((60, 400)), AT, adapter="find-red")
    assert sheet(shown, only=shown.adapter).width == 28 + 560 + 28


@pytest.mark.parametrize(
    ("size", "width", "drawn"),
    [
        ((60, 100), 560, (60, 100)),
        ((900, 1400), 1400, (900, 1400)),
        ((3000, 2), 560, (3000, 2)),
        pytest.param((1, 9000), 4096, (1, 4096), marks=pytest.mark.slow),
        pytest.param((9000, 1), 560, (4096, 1), marks=pytest.mark.slow),
        ((5000, 500), 560, (4096, 410)),
    ],
)
def test_at_the_photos_own_size_nothing_is_stretched_and_what_is_reduced_is_said(size, width, drawn):
    shown = panes(comparison(recording(), image=photo(size)), AT)
    picture = sheet(shown, column=None)
    unit = max(1, width / 1120)
    margin, line = round(28 * unit), round(19 * unit)
    words = wrap("Prompt: “What is red?”", typeface(round(14 * unit)), width)
    answer = wrap("base: “red circle”", typeface(round(14 * unit)), width)
    top = margin + line * (len(words) + len(answer)) + round(14 * unit) + round(28 * unit) + round(6 * unit)
    assert holds_picture(picture, (margin + (width - drawn[1]) // 2, top), shown.base.drawing.at(drawn))
    assert picture.width == width + 2 * margin
    assert holds_text(picture, (margin, margin), words[0], size=round(14 * unit), fill=INK)
    said = f"The photo has {size[1]:,} × {size[0]:,} pixels; it is drawn at {drawn[1]:,} × {drawn[0]:,} pixels."
    rows = range(picture.height - 4 * line - margin, picture.height - margin)
    font = typeface(round(14 * unit))
    first = wrap(said, font, width)[0]
    found = any(holds_text(picture, (margin, y), first, size=round(14 * unit), fill=SOFT) for y in rows)
    assert found == (size != drawn)


def test_letters_bars_and_gaps_grow_with_a_photo_at_its_own_size():
    shown = panes(answered((1000, 2222)), AT, adapter="find-red")
    picture, unit = sheet(shown, column=None), 2222 / 1120
    margin, line, bar = round(28 * unit), round(19 * unit), round(640 * unit)
    top = margin + 3 * line + round(14 * unit)
    heights = [
        assert_column(picture, shown, pane, (margin + at * (2222 + margin), top), 2222, (1000, 2222), bar, unit)
        for at, pane in enumerate(shown)
    ]
    foot = top + max(heights) + round(10 * unit)
    assert holds_text(picture, (margin, foot), KEY + SINKS, size=round(14 * unit), fill=SOFT)
    assert picture.size == (2 * margin + 3 * 2222 + 2 * margin, foot + line + margin)


def test_panes_at_their_own_size_stand_side_by_side():
    shown = panes(comparison(image=photo((700, 1120))), AT, adapter="find-red")
    picture = sheet(shown, column=None)
    assert picture.width == 28 + 3 * 1120 + 2 * 28 + 28
    for index, pane in enumerate(shown):
        assert_column(picture, shown, pane, (28 + index * 1148, 28 + 3 * 19 + 14), 1120, (700, 1120), 640)


def test_a_column_may_be_narrower():
    assert sheet(panes(comparison(), AT, adapter="find-red"), column=200).width == 28 + 3 * 200 + 2 * 28 + 28


def test_without_sinks_the_key_names_none():
    shown = panes(comparison(recording()), AT)
    assert not shown.sinks.any()
    picture = sheet(shown)
    assert any(holds_text(picture, (28, y), KEY, fill=SOFT) for y in range(picture.height - 60, picture.height - 28))


def test_a_long_name_takes_two_lines_of_a_title_at_most():
    name = "-".join(["checkpoint"] * 20)
    shown = panes(comparison(recording(), recording(name, seed=1)), AT, adapter=name)
    picture = sheet(shown, only=shown.adapter, column=300)
    first, second = wrap(name, typeface(20, bold=True), 300, most=2)
    assert second.endswith("…")
    numbers = wrap(unbroken(numbers_line(shown, shown.adapter)), typeface(14), 300)[0]
    left, size = 28, (180, 300)
    words = [wrap(f"{each}: “red circle”", typeface(14), 300, most=4) for each in ("base", name)]
    top = 28 + 19 * (1 + sum(map(len, words))) + 14
    assert holds_text(picture, (left, top), first, size=20, bold=True)
    assert holds_text(picture, (left, top + 28), second, size=20, bold=True)
    assert holds_picture(picture, (left, top + 2 * 28 + 6), shown.adapter.drawing.at(size))
    assert holds_text(picture, (left, top + 2 * 28 + 6 + 180 + 12 + 64 + 12), numbers, fill=INK)


def test_a_long_prompt_and_long_answers_are_four_lines_each():
    long = replace(answered((60, 100), left="x" * 3000, right="word " * 900), prompt="why " * 900)
    short = sheet(panes(answered((60, 100)), AT, adapter="find-red"))
    tall = sheet(panes(long, AT, adapter="find-red"))
    assert tall.height - short.height == 19 * 9
    first, *_ = wrap("Prompt: “" + "why " * 100, typeface(14), 3 * 560 + 2 * 28)
    assert holds_text(tall, (28, 28), first, fill=INK)
    one = sheet(panes(answered((60, 100), left=None, right=None), AT, adapter="find-red"))
    assert short.height - one.height == 19 * 2


def test_a_prompt_is_cut_after_2000_letters_however_wide_the_sheet():
    long = replace(comparison(image=photo((40, 100))), prompt="why? " * 900)
    picture = sheet(panes(long, AT, adapter="find-red"), column=1500)
    across = picture.width - 2 * 28
    said = wrap("Prompt: “" + ("why? " * 900)[:1999] + "…”", typeface(14), across)
    assert len(said) <= 4
    for index, line in enumerate(said):
        assert holds_text(picture, (28, 28 + 19 * index), line, fill=INK)


def test_long_notes_are_broken_where_the_sheet_ends():
    note = "why " * 200
    picture = sheet(replace(panes(answered((60, 100)), AT, adapter="find-red"), notes=(note,)))
    lines = wrap(note, typeface(14), 3 * 560 + 2 * 28)
    assert len(lines) > 1
    for index, line in enumerate(lines):
        assert holds_text(picture, (28, picture.height - 28 - 19 * (len(lines) - index)), line, fill=SOFT)


def test_a_strangers_words_stay_on_their_line():
    hostile = replace(answered((60, 100), left="a\n\u202eb"), prompt="<b>\nwhy")
    picture = sheet(panes(hostile, AT, adapter="find-red"))
    assert holds_text(picture, (28, 28), "Prompt: “<b>\\nwhy”", fill=INK)
    assert holds_text(picture, (28, 28 + 19), "base: “a\\n\\u202eb”", fill=INK)


@pytest.mark.parametrize("view", ["raw", "contrast"])
@pytest.mark.parametrize("names", [(None, "find-red"), ("find-red", None)], ids=["attached", "taken off"])
def test_the_line_of_numbers_is_the_records(view, names):
    pair = comparison()
    left, right = names
    shown = panes(pair, replace(AT, view=view), base=left, adapter=right or "base")
    rows = [written_out.row(pair.recording(name), 7, [2]) for name in names]
    for pane, heat in zip(shown, rows, strict=False):
        spread = written_out.nats(heat)
        row, column = pane.peak
        assert numbers_line(shown, pane) == (
            f"image share {digits(100 * heat.sum())} % · "
            f"entropy {digits(spread)} nats ({digits(np.exp(spread))} cells) · peak row {row}, column {column}"
        )
    base, adapter = rows
    row, column = shown.difference.peak
    assert numbers_line(shown, shown.difference) == (
        f"Δ image share {digits(100 * (adapter.sum() - base.sum()), sign=True)} points · "
        f"JS divergence {digits(written_out.bits_over_image(base, adapter))} bits · "
        f"Δ entropy {digits(written_out.nats(adapter) - written_out.nats(base), sign=True)} nats · "
        f"peak row {row}, column {column}"
    )


def test_numbers_that_do_not_exist_are_dashes():
    even = np.full((len(tokens()), LAYERS, HEADS, *GRID), 0.01)
    dark = even.copy()
    dark[7] = 0
    shown = panes(comparison(recording(maps=even), recording("a", maps=dark)), AT, adapter="a")
    assert numbers_line(shown, shown.adapter) == "image share 0 % · entropy – (– cells) · no peak"
    assert numbers_line(shown, shown.difference) == (
        "Δ image share −15 points · JS divergence – · Δ entropy – · peak row 0, column 0"
    )
    top = panes(comparison(), Selection(2, 7, head="max"), adapter="find-red")
    assert numbers_line(top, top.base).startswith("image share – · entropy ")
    assert numbers_line(top, top.difference).startswith("Δ image share – · JS divergence ")


def test_names_are_bold_and_the_rest_is_not():
    assert typeface(14).getname() == ("DejaVu Sans", "Book")
    assert typeface(14, bold=True).getname() == ("DejaVu Sans", "Bold")
