"""The body that all heads of one layer are drawn from, once more from the record."""

import numpy as np
import pytest

from inference.errors import SelectionError
from tests.visualize import written_out
from tests.visualize.factory import GRID, HEADS, comparison, recording, tokens, with_sinks
from tests.visualize.read_body import assert_within_rounding, read_body
from tests.visualize.written_out import digits
from visualize import StackChoice, heads_body

TOKEN = 8


@pytest.fixture
def three():
    focus = (TOKEN,)
    return comparison(recording("b", seed=4, focus=focus), recording(focus=focus), recording("c", seed=5, focus=focus))


def read(shown, layer, *choice, **more):
    return read_body(heads_body(shown, StackChoice(*choice, **more), layer))


def heads_of(each, layers):
    return [written_out.row(each, TOKEN, layers, head) for head in range(HEADS)]


@pytest.mark.parametrize(
    ("layer", "window", "layers"), [(0, 0, [0]), (3, 0, [3]), (2, 1, [1, 2, 3]), (3, 2, [1, 2, 3])]
)
@pytest.mark.parametrize("against", ["b", "base", "c"])
def test_each_frame_is_a_head_in_the_order_of_its_change_and_all_share_one_scale(three, layer, window, layers, against):
    header, maps = read(three, layer, TOKEN, window=window, against=against)
    names = [against, *(name for name in ("b", "base", "c") if name != against)]
    heats = [heads_of(three.recording(None if name == "base" else name), layers) for name in names]
    scores = [max(written_out.bits_of_row(heats[0][head], other[head]) for other in heats[1:]) for head in range(HEADS)]
    order = sorted(range(HEADS), key=lambda head: -scores[head])
    assert (header["heads"], header["frames"], header["layer"]) == (order, HEADS, layer)
    assert header["words"] == [f"head {head} · row changed {digits(scores[head])} bits" for head in order]
    shown = [np.array(each)[order] for each in heats]
    deltas = [each - shown[0] for each in shown[1:]]
    assert list(maps) == [*names, *(f"{name} − {against}" for name in names[1:])]
    for found, expected in zip(maps.values(), [*shown, *deltas], strict=True):
        assert_within_rounding(found, expected, slack=5e-8)
    top, most = np.max(shown), np.abs(deltas).max()
    assert (header["shared"]["low"], header["shared"]["high"]) == (0, pytest.approx(top))
    assert header["shared"]["words"] == f"0 – {digits(100 * top)} % of the token's attention"
    assert (header["difference"]["low"], header["difference"]["high"]) == (pytest.approx(-most), pytest.approx(most))
    said = [[pane[key] for key in ("difference", "of", "unit", "signed")] for pane in header["panes"]]
    assert said == [[False, name, "%", False] for name in names] + [[True, name, "pp", True] for name in names[1:]]


def test_the_head_of_the_choice_does_not_matter(three):
    assert read(three, 1, TOKEN)[0]["heads"] == read(three, 1, TOKEN, 2)[0]["heads"]


@pytest.mark.parametrize("view", ["raw", "sink-masked"])
def test_sinks_are_marked_and_left_out_only_in_the_view_that_says_so(view):
    pair = comparison(
        with_sinks(None, ((0, 0),) * 4, focus=(TOKEN,)), with_sinks("a", ((0, 1),) * 4, seed=1, focus=(TOKEN,))
    )
    header, maps = read(pair, 1, TOKEN, view=view)
    masked = view == "sink-masked"
    assert (header["sinks"], header["hidden"], header["choice"]["view"]) == ([0, 1], masked, view)
    seen = np.ones(GRID, bool)
    seen[0, :2] = not masked
    for each, name in zip(pair.recordings, ("base", "a"), strict=True):
        expected = np.array(heads_of(each, [1]))[header["heads"]] * seen
        assert_within_rounding(maps[name], expected, slack=5e-8)
    top = max(np.max(np.array(heads_of(each, [1]))[:, seen]) for each in pair.recordings)
    assert header["shared"]["high"] == pytest.approx(top)


def test_one_variant_or_own_answers_are_ranked_by_their_share_and_have_no_difference():
    own = comparison(recording(focus=(7,)), recording("a", row=tokens(answer=(" blue",)), seed=1, focus=(7,)), own=True)
    for shown, names in ((own, ["base", "a"]), (comparison(recording(focus=(7,))), ["base"])):
        header, maps = read(shown, 2, 7)
        shares = 100 * shown.recordings[0].by_head[2].sum(axis=(1, 2), dtype=float)
        assert header["heads"] == sorted(range(HEADS), key=lambda head: -shares[head])
        assert header["words"] == [f"head {head} · {digits(shares[head])} % on the image" for head in header["heads"]]
        assert list(maps) == names
        assert header["difference"] is None


@pytest.mark.parametrize(
    ("layer", "choice", "words"),
    [
        (4, {"token": 8}, "layer 4 does not exist: this result has layers 0–3"),
        (-1, {"token": 8}, "layer -1 does not exist"),
        (0, {"token": 7}, "recorded for tokens 8 only; asked for 7"),
        (0, {"token": (7, 8)}, "recorded for tokens 8 only; asked for 7, 8"),
        (0, {"token": 8, "view": "contrast"}, "contrast view is of no single head"),
        (0, {"token": 8, "against": "nobody"}, "not in this comparison"),
    ],
)
def test_what_a_comparison_does_not_have_is_refused(three, layer, choice, words):
    with pytest.raises(SelectionError, match=words):
        heads_body(three, StackChoice(**choice), layer)
