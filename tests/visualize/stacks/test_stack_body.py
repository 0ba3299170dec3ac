"""The body that a browser draws one choice from: every map, word and number once more from the record."""

import math
from dataclasses import replace

import numpy as np
import pytest

from inference.errors import SelectionError
from tests.visualize import written_out
from tests.visualize.factory import GRID, HEADS, LAYERS, MODEL, comparison, recording, tokens, with_sinks
from tests.visualize.read_body import assert_within_rounding, read_body
from tests.visualize.written_out import digits
from visualize import Selection, StackChoice, difference, select, stack, stack_body

TOKEN = 8  # the second of two answer tokens
NAMES = ("b", "base", "c")  # as recorded
PLACES = (((0, 0), None, (2, 4), (1, 2)), ((0, 1), None, (2, 4), (2, 0)), (None, None, None, (0, 3)))
AROUND = {
    0: [[0], [1], [2], [3]],
    1: [[0, 1], [0, 1, 2], [1, 2, 3], [2, 3]],
    2: [[0, 1, 2], [0, 1, 2, 3], [0, 1, 2, 3], [1, 2, 3]],
}
VIEWS = ("raw", "sink-masked", "contrast")


@pytest.fixture
def three():
    focus = (TOKEN,)
    return comparison(recording("b", seed=4, focus=focus), recording(focus=focus), recording("c", seed=5, focus=focus))


@pytest.fixture
def sinking():
    return comparison(
        *(
            with_sinks(name, PLACES[index], seed=index, focus=(TOKEN,))
            for index, name in enumerate((None, "find-red", "c"))
        )
    )


def read(shown, *choice, **more):
    return read_body(stack_body(shown, StackChoice(*choice, **more)))


def rows_of(shown, names, indices, layers, head="mean", view="raw"):
    """Per variant, the map written out from the record: the mean over the tokens."""
    found = []
    for name in names:
        each = shown.recording(None if name == "base" else name)
        of_token = written_out.contrast if view == "contrast" else written_out.row
        more = {} if view == "contrast" else {"head": head}
        found.append(np.mean([of_token(each, token, layers, **more) for token in indices], axis=0))
    return found


@pytest.mark.parametrize("window", [0, 1, 2])
@pytest.mark.parametrize("against", ["base", "c"])
@pytest.mark.parametrize(
    ("token", "indices", "head", "view"),
    [
        (TOKEN, [TOKEN], "mean", "raw"),
        (TOKEN, [TOKEN], "max", "raw"),
        (TOKEN, [TOKEN], 2, "raw"),
        (TOKEN, [TOKEN], "mean", "contrast"),
        (3, [3], "mean", "raw"),
        ((2, 4), [2, 3, 4], "mean", "raw"),
        ((6, 8), [6, 7, 8], "mean", "contrast"),
        ((8, 8), [8], 1, "raw"),
    ],
)
def test_every_layers_maps_are_the_records_and_a_difference_is_a_map_of_its_own(
    three, token, indices, head, view, against, window
):
    header, maps = read(three, token, head, view, window, against)
    names = [against, *(name for name in NAMES if name != against)]
    expected = dict.fromkeys(names, ())
    for layers in AROUND[window]:
        for name, heat in zip(names, rows_of(three, names, indices, layers, head, view), strict=True):
            expected[name] += (heat,)
    for name in names[1:]:
        expected[f"{name} − {against}"] = np.subtract(expected[name], expected[against])
    assert list(maps) == list(expected)
    for name, heats in expected.items():
        assert_within_rounding(maps[name], heats, slack=5e-8)
    assert (header["grid"], header["frames"]) == ([3, 5], LAYERS)


@pytest.mark.parametrize("view", VIEWS)
def test_a_sent_value_is_what_select_and_difference_give_within_the_rounding_that_is_said(sinking, view):
    header, maps = read(sinking, TOKEN, "mean", view, 1)
    assert header["rounding"] == 2**-11
    for frame, (layer, sinks) in enumerate(zip([(0, 1), (0, 2), (1, 3), (2, 3)], header["sinks"], strict=True)):
        hidden = np.isin(np.arange(15), sinks).reshape(GRID)
        selection = Selection(layer, TOKEN, view=view)
        base, *others = (select(each, selection, sinks=hidden) for each in sinking.recordings)
        for name, heat in zip(("find-red", "c"), others, strict=True):
            assert_within_rounding(maps[name][[frame]], [heat])
            assert_within_rounding(maps[f"{name} − base"][[frame]], [difference(heat, base)])
        assert_within_rounding(maps["base"][[frame]], [base])


@pytest.mark.parametrize("view", VIEWS)
def test_panes_say_whose_they_are_and_in_which_unit(three, view):
    header, _ = read(three, TOKEN, view=view, against="c")
    signed = view == "contrast"
    unit = "pp" if signed else "%"
    said = [[pane[key] for key in ("variant", "difference", "of", "unit", "signed")] for pane in header["panes"]]
    assert said == [
        ["c", False, "c", unit, signed],
        ["b", False, "b", unit, signed],
        ["base", False, "base", unit, signed],
        ["b − c", True, "b", "pp", True],
        ["base − c", True, "base", "pp", True],
    ]


@pytest.mark.parametrize("view", VIEWS)
def test_peaks_sinks_and_hidden_cells_are_those_of_each_layer(sinking, view):
    header, maps = read(sinking, TOKEN, view=view)
    expected = [
        sorted({row * 5 + column for row, column in filter(None, cells)}) for cells in zip(*PLACES, strict=True)
    ]
    assert header["sinks"] == expected == [[0, 1], [], [14], [3, 7, 10]]
    assert header["hidden"] == [view == "sink-masked" and bool(cells) for cells in expected]
    for pane in header["panes"]:
        for layer, cells in enumerate(expected):
            seen = ~np.isin(np.arange(15), cells).reshape(GRID) if view == "sink-masked" else None
            heat = maps[pane["variant"]][layer]
            peak = written_out.largest(np.abs(heat) if pane["difference"] else heat, seen)
            assert pane["peaks"][layer] == list(peak)


def test_where_no_cell_gets_more_than_the_background_there_is_no_peak():
    maps = np.full((len(tokens()), LAYERS, HEADS, *GRID), 0.04)
    maps[TOKEN] *= np.linspace(0.3, 0.9, 15).reshape(GRID)
    header, sent = read(comparison(recording(maps=maps)), TOKEN, view="contrast")
    assert header["panes"][0]["peaks"] == [None] * LAYERS
    assert (sent["base"] < 0).all()
    assert "; no peak" in header["panes"][0]["alts"][0]


@pytest.mark.parametrize(
    ("choice", "words"),
    [
        ({"token": 8}, ("token 8 “circle”, row 27", "layer {}", "mean", "raw")),
        ({"token": (7, 8), "window": 1}, ("mean of tokens 7–8 “red circle”", "{}", "mean", "raw")),
        ({"token": 8, "head": 2}, ("token 8 “circle”, row 27", "layer {}", "2", "raw")),
        ({"token": 2, "view": "contrast"}, ("token 2 “is”, row 22", "layer {}", "mean", "contrast")),
    ],
)
def test_lines_and_sentences_say_what_is_shown_and_leave_room_for_the_limits(three, choice, words):
    header, _ = read(three, **choice)
    token, where, head, view = words
    wide = ["layers 0–1 (mean)", "layers 0–2 (mean)", "layers 1–3 (mean)", "layers 2–3 (mean)"]
    for pane in header["panes"]:
        for layer in range(LAYERS):
            place = where.format(wide[layer] if "window" in choice else layer)
            line = f"demo · {pane['variant']} · {token} · {place} · head {head} · view {view} · \0 · eager attention"
            assert pane["lines"][layer] == line
            row, column = pane["peaks"][layer]
            what = "Change of attention" if pane["difference"] else "Attention"
            assert pane["alts"][layer] == f"{what} over the photo: {line}; peak at row {row}, column {column} of 3 × 5."


def test_a_line_with_the_words_of_its_limits_is_the_caption_of_the_picture(three):
    header, _ = read(three, TOKEN)
    for key, options in (("0-100", {}), ("1-95", {"log": True, "percentile": 95.0})):
        drawn = stack(three, TOKEN, **options)
        scale = header["scale"][key]
        for pane, expected in zip(header["panes"], (*drawn.variants, *drawn.differences), strict=True):
            limits = scale["difference" if pane["difference"] else "shared"]
            filled = [line.replace("\0", each["words"]) for line, each in zip(pane["lines"], limits, strict=True)]
            assert tuple(filled) == expected.captions
            filled = [line.replace("\0", each["words"]) for line, each in zip(pane["alts"], limits, strict=True)]
            assert tuple(filled) == expected.alts


@pytest.mark.parametrize(
    ("choice", "words"),
    [
        ({"token": 8}, "Predicting “circle” · layer {} · mean of all heads · raw view"),
        (
            {"token": (7, 9)},
            "Predicting the mean of tokens 7–9 “red circle” · layer {} · mean of all heads · raw view",
        ),
        (
            {"token": (6, 7)},
            "Reading and predicting the mean of tokens 6–7 “\\n red” · layer {} · mean of all heads · raw view",
        ),
        ({"token": (2, 3)}, "Reading the mean of tokens 2–3 “is red” · layer {} · mean of all heads · raw view"),
        ({"token": 8, "head": "max"}, "Predicting “circle” · layer {} · maximum over heads · raw view"),
    ],
)
def test_headings_say_token_layer_head_and_view(three, choice, words):
    header, _ = read(three, **choice)
    assert header["headings"] == [words.format(layer) for layer in range(LAYERS)]


KEYS = ("0-100", "0-99", "0-95", "1-100", "1-99", "1-95")


def check_limits(found, values, key, *, signed, difference=False):
    """Limits against the percentile of all that counts; ticks against the place of the number that they say."""
    log, percentile = key[0] == "1" and not signed, int(key[2:])
    sizes = np.abs(np.concatenate([np.ravel(each) for each in values]))
    top = np.percentile(sizes[sizes > 0], percentile)
    low = -top if signed else top / 1000 if log else 0
    assert (found["low"], found["high"]) == (pytest.approx(low, rel=1e-5), pytest.approx(top, rel=1e-5))
    assert (found["log"], found["signed"], found["empty"]) == (log, signed, False)
    unit = "percentage points of attention" if signed else "% of the token's attention"
    ends = f"± {digits(100 * top)}" if signed else f"{digits(100 * low)} – {digits(100 * top)}"
    clipped = f"clipped at percentile {percentile}"
    assert found["words"] == f"{ends} {unit}" + ", logarithmic" * log + f", {clipped}" * (percentile < 100)
    assert found["line"] == unit + " · logarithmic" * log + f" · {clipped}" * (percentile < 100)
    places = [place for place, _ in found["ticks"]]
    texts = [text for _, text in found["ticks"]]
    assert places == sorted(places)
    assert (places[0], places[-1]) == (0, 1)
    assert (texts[0], texts[-1]) == (digits(100 * low, sign=signed), digits(100 * top, sign=signed))
    for place, text in found["ticks"][1:-1]:
        value = float(text.replace("−", "-")) / 100
        expected = np.log(value / low) / np.log(top / low) if log else (value - low) / (top - low)
        assert place == pytest.approx(expected, abs=1e-3)
    assert len(places) > 2


@pytest.mark.parametrize("key", KEYS)
@pytest.mark.parametrize("view", VIEWS)
def test_limits_of_every_scale_are_those_of_all_variants_of_a_layer(sinking, view, key):
    header, _ = read(sinking, TOKEN, view=view)
    assert tuple(header["scale"]) == KEYS
    scale = header["scale"][key]
    for layer, sinks in enumerate(header["sinks"]):
        seen = ~np.isin(np.arange(15), sinks).reshape(GRID) if view == "sink-masked" else np.ones(GRID, bool)
        base, *others = (
            heat[seen] for heat in rows_of(sinking, ("base", "find-red", "c"), [TOKEN], [layer], view=view)
        )
        check_limits(scale["shared"][layer], [base, *others], key, signed=view == "contrast")
        check_limits(scale["difference"][layer], [each - base for each in others], key, signed=True)
    assert len(scale["shared"]) == len(scale["difference"]) == LAYERS


def test_notes_belong_to_the_scale_that_is_chosen(sinking):
    raw = "Image share, entropy and divergence are those of the raw row."
    linear = "Signed values are drawn on a linear scale."
    masked = read(sinking, TOKEN, view="sink-masked")[0]["scale"]
    left_out = "Left out as sinks: {} of 15 cells."
    none = "No cell is a sink here: nothing is left out."
    for key in KEYS:
        assert masked[key]["notes"] == [
            [left_out.format(2), raw],
            [none, raw],
            [left_out.format(1), raw],
            [left_out.format(3), raw],
        ]
        contrast = read(sinking, TOKEN, view="contrast")[0]["scale"][key]
        assert contrast["notes"] == [[raw, linear] if key[0] == "1" else [raw]] * LAYERS


@pytest.mark.parametrize("against", ["base", "c"])
@pytest.mark.parametrize(("head", "window"), [("mean", 0), ("mean", 1), (1, 0), ("max", 1)])
def test_the_tables_numbers_are_the_records_with_a_difference_per_later_variant(three, against, head, window):
    header, _ = read(three, TOKEN, head, window=window, against=against)
    names = [against, *(name for name in NAMES if name != against)]
    given = [100 * math.exp(three.recording(None if name == "base" else name).logprobs[1]) for name in names]
    for table, layers in zip(header["numbers"], AROUND[window], strict=True):
        heats = rows_of(three, names, [TOKEN], layers, head)
        spreads = [written_out.nats(heat) for heat in heats]
        cells = [math.exp(spread) for spread in spreads]
        places = [written_out.largest(heat) for heat in heats]
        peaks = [
            f"{digits(100 * heat[place])} at row {place[0]}, column {place[1]}"
            for heat, place in zip(heats, places, strict=True)
        ]
        shares = [100 * heat.sum() for heat in heats]
        no_row = head == "max"
        expected = [
            ("Share of attention on the image", "%", shares, " pp"),
            ("Spread over the image: effective cells of 15", "cells", cells, ""),
            ("Entropy over the image", "nats", spreads, ""),
            ("Largest value shown", "%", peaks, None),
            ("Probability of this token", "%", given, " pp"),
        ]
        assert table["columns"] == names
        assert table["changes"] == [f"{name} − {against}" for name in names[1:]]
        rows = table["rows"]
        for row, (label, unit, values, sign) in zip(rows, expected, strict=False):
            assert (row["label"], row["unit"]) == (label, unit)
            if sign is None:
                assert (row["values"], row["deltas"]) == (values, ["", ""])
            elif no_row and label.startswith("Share"):
                assert (row["values"], row["deltas"]) == (["–"] * 3, ["", ""])
            else:
                assert row["values"] == [digits(value) for value in values]
                assert row["deltas"] == [digits(value - values[0], sign=True) + sign for value in values[1:]]
        inside = [digits(written_out.bits_over_image(heats[0], heat)) for heat in heats[1:]]
        whole = [digits(written_out.bits_of_row(heats[0], heat)) for heat in heats[1:]]
        found = [(row["label"], row["unit"], row["values"], row["deltas"]) for row in rows[5:]]
        divergences = [("Jensen–Shannon divergence over the image", "bits", [], inside)]
        divergences += [] if no_row else [("Jensen–Shannon divergence of the whole row", "bits", [], whole)]
        assert found == divergences


def test_a_range_has_no_probability(three):
    header, _ = read(three, (7, 8))
    assert all("Probability of this token" not in str(table) for table in header["numbers"])


def test_heads_are_ranked_per_layer_by_their_largest_change_from_the_first_variant(three):
    header, _ = read(three, TOKEN, window=1, against="c")
    for ranked, layers in zip(header["heads"], AROUND[1], strict=True):
        scores = {}
        for head in range(HEADS):
            first, *others = rows_of(three, ("c", "b", "base"), [TOKEN], layers, head)
            scores[head] = max(written_out.bits_of_row(first, other) for other in others)
        order = sorted(scores, key=lambda head: -scores[head])
        assert ranked == [[head, f"head {head} · row changed {digits(scores[head])} bits"] for head in order]
    assert read(three, 7)[0]["heads"] == read(three, (7, 8))[0]["heads"] == [[]] * LAYERS


@pytest.mark.parametrize("view", VIEWS)
def test_the_strip_holds_each_layers_change_and_one_scale_for_all(sinking, view):
    header, _ = read(sinking, TOKEN, view=view)
    strip = header["strip"]
    assert (strip["measure"], strip["unit"]) == ("JS divergence over the image", "bits")
    shown, deltas, bits = [], [], [[], []]
    for layer, sinks in enumerate(header["sinks"]):
        seen = ~np.isin(np.arange(15), sinks).reshape(GRID) if view == "sink-masked" else np.ones(GRID, bool)
        base, *others = (
            heat[seen] for heat in rows_of(sinking, ("base", "find-red", "c"), [TOKEN], [layer], view=view)
        )
        shown += [base, *others]
        deltas += [each - base for each in others]
        raw = rows_of(sinking, ("base", "find-red", "c"), [TOKEN], [layer])
        for row, heat in zip(bits, raw[1:], strict=True):
            row.append(written_out.bits_over_image(raw[0], heat))
    check_limits(strip["shared"], shown, "0-100", signed=view == "contrast")
    check_limits(strip["difference"], deltas, "0-100", signed=True)
    assert strip["changes"] == [pytest.approx(row, abs=1e-6) for row in bits]
    assert strip["words"] == [[digits(value) for value in row] for row in bits]


def test_one_variant_is_one_pane_without_differences():
    header, maps = read(comparison(recording("find-red")), 7)
    assert list(maps) == ["find-red"]
    assert header["choice"]["variants"] == ["find-red"]
    assert all(scale["difference"] is None for scale in header["scale"].values())
    assert header["strip"]["difference"] is None
    assert header["strip"]["changes"] == header["strip"]["words"] == []
    assert header["numbers"][0]["changes"] == []
    assert [row["deltas"] for row in header["numbers"][0]["rows"]] == [[]] * 5
    share = 100 * recording("find-red").by_head[0].sum(axis=(1, 2))
    assert header["heads"][0][0][1] == f"head {share.argmax()} · {digits(share.max())} % on the image"


def test_own_answers_are_variants_without_differences():
    own = comparison(recording(), recording("a", row=tokens(answer=(" blue",)), seed=1), own=True)
    header, maps = read(own, 7)
    assert list(maps) == ["base", "a"]
    assert header["headings"][0].startswith("Predicting “red” and “blue” · ")
    assert header["scale"]["0-100"]["difference"] is None
    for name, heats in maps.items():
        each = own.recording(None if name == "base" else name)
        assert_within_rounding(heats, each.by_token[7])


def test_a_layer_that_sees_nothing_is_empty_and_has_no_divergence():
    maps = np.full((len(tokens()), LAYERS, HEADS, *GRID), 0.01)
    maps[:, 2] = 0
    header, sent = read(comparison(recording(maps=maps), recording("a", maps=maps)), TOKEN)
    limits = header["scale"]["1-95"]["shared"][2]
    assert (limits["low"], limits["high"], limits["empty"], limits["ticks"]) == (0, 0, True, [[0, "0"]])
    signed = header["scale"]["1-95"]["difference"][2]
    assert (signed["empty"], signed["signed"], signed["ticks"]) == (True, True, [[0.5, "0"]])
    assert header["strip"]["changes"] == [[0, 0, None, 0]]
    assert header["strip"]["words"] == [["0", "0", "–", "0"]]
    assert header["panes"][0]["scales"][2] == 0
    assert (sent["base"][2] == 0).all()
    assert "All values are 0: there is nothing to colour." in header["scale"]["0-100"]["notes"][2]


@pytest.mark.parametrize(
    "evil", ["\0", "</script><script>alert(1)</script>", 'a"b\\c', "line\nbreak\u2028\u202e", "\ud800"]
)
def test_hostile_words_stay_data_and_cannot_stand_where_the_limits_belong(evil):
    row = tokens(prompt=(evil, " is"), answer=(evil, evil))
    pair = comparison(recording(row=row), recording("a", row=row, seed=1), model=replace(MODEL, id=evil))
    header, _ = read(pair, 5)
    for pane in header["panes"]:
        for line in (*pane["lines"], *pane["alts"]):
            assert line.count("\0") == 1
            assert all(letter.isprintable() or letter == "\0" for letter in line)
    assert all(heading.isprintable() for heading in header["headings"])


@pytest.mark.parametrize(
    ("choice", "words"),
    [
        ({"token": 7, "head": 1}, "recorded for tokens 8 only"),
        ({"token": (7, 8), "head": "max"}, "recorded for tokens 8 only; asked for 7, 8"),
        ({"token": 10}, "token 10 does not exist"),
        ({"token": (8, 10)}, "token 10 does not exist"),
        ({"token": 8, "head": HEADS}, "head 3 does not exist"),
        ({"token": 8, "window": LAYERS}, "window must be below 4"),
        ({"token": 8, "against": "nobody"}, "not in this comparison"),
        ({"token": 8, "against": "c", "others": ("c",)}, "must differ"),
    ],
)
def test_what_a_comparison_does_not_have_is_refused(three, choice, words):
    with pytest.raises(SelectionError, match=words):
        stack_body(three, StackChoice(**choice))
