"""Where a row's attention goes: against plain sums over the record."""

import math
import re

import numpy as np
import pytest
from matplotlib.colors import to_hex
from matplotlib.figure import Figure

from inference.errors import SelectionError
from inference.recording import GROUPS
from tests import ROOT
from tests.visualize.factory import HEADS, LAYERS, comparison, recording
from visualize import Selection, group_shares, shares_picture


def mean_of(own, tokens, layers, heads, group):
    values = [float(own.group_share[t, la, h, group]) for t in tokens for la in layers for h in heads]
    return math.fsum(values) / len(values)


@pytest.mark.parametrize(
    ("selection", "tokens", "layers", "heads"),
    [
        (Selection(2, 7), [7], [2], range(HEADS)),
        (Selection(2, 3, head=1), [3], [2], [1]),  # any head of any token: these shares are always recorded
        (Selection((1, 3), (7, 8), head=0), [7, 8], [1, 2, 3], [0]),
        (Selection(0, "answer"), [7, 8], [0], range(HEADS)),
        (Selection(0, "focus", head="max"), [7], [0], range(HEADS)),
    ],
)
def test_shares_are_the_means_of_what_is_chosen(selection, tokens, layers, heads):
    own = recording(seed=3)
    shares = group_shares(own, selection)
    assert shares.shape == (len(GROUPS),)
    assert shares.sum() == pytest.approx(1, abs=1e-6)
    for group in range(4):
        assert shares[group] == pytest.approx(mean_of(own, tokens, layers, heads, group), abs=1e-12)


def test_of_a_set_of_heads_they_are_the_means_of_exactly_these_whatever_the_layer():
    own, heads = recording(seed=3), ((3, 1), (0, 2))
    shares = group_shares(own, Selection(1, (7, 8), head=heads))
    for group in range(4):
        values = [float(own.group_share[token, layer, head, group]) for token in (7, 8) for layer, head in heads]
        assert shares[group] == pytest.approx(math.fsum(values) / 4, abs=1e-12)
    assert shares.tolist() == group_shares(own, Selection((2, 3), (7, 8), head=heads)).tolist()
    with pytest.raises(SelectionError, match="layer 4 does not exist"):
        group_shares(own, Selection(0, 7, head=((4, 0),)))


def test_the_first_is_the_image_share_of_the_record():
    own = recording(seed=4)
    for layer in range(LAYERS):
        expected = own.by_token[7, layer].sum(dtype=float)
        assert group_shares(own, Selection(layer, 7))[0] == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("selection", [Selection(99, 7), Selection(0, 99), Selection(0, 7, head=99)])
def test_what_is_not_there_is_refused(selection):
    with pytest.raises(SelectionError, match="99 does not exist"):
        group_shares(recording(), selection)


def columns_of(picture, variants):
    """The blue of the image group in the middle of each column, as a share of the column's height."""
    pixels = np.asarray(picture).astype(int)
    blue = np.abs(pixels - [0x2F, 0x6F, 0x94]).max(axis=2) < 12
    return blue[:, : int(blue.shape[1] * 0.8)].sum(axis=0)


def test_the_picture_shows_each_layers_image_share_as_a_height():
    maps = np.zeros((len(recording().tokens), LAYERS, HEADS, 3, 5))
    for layer in range(LAYERS):
        maps[:, layer] = (0.1 + 0.2 * layer) / 15
    shown = comparison(recording(maps=maps), recording("<b> $x^2", maps=maps, seed=1))
    picture = shares_picture(shown)
    assert picture.mode == "RGB"
    heights = columns_of(picture, 2)
    found = sorted({int(height) for height in heights if (heights == height).sum() > 20 and height})
    assert len(found) == LAYERS
    np.testing.assert_allclose(np.array(found) / found[-1], np.array([0.1, 0.3, 0.5, 0.7]) / 0.7, atol=0.03)


def viewers_look(group):
    """What the viewer's style says of a group's columns."""
    style = (ROOT / "visualize" / "viewer" / "viewer.css").read_text(encoding="utf-8")
    return re.search(rf"\.lav-group-{group} {{([^}}]*)}}", style)[1]


def test_every_word_and_part_of_the_picture_is_there(monkeypatch):
    """What matplotlib was asked to draw: bars, their heights, looks and words."""
    drawn = []

    class Kept(Figure):
        def __init__(self, *given, **more):
            super().__init__(*given, **more)
            drawn.append(self)

    monkeypatch.setattr("visualize.pictures.shares.Figure", Kept)
    shown = comparison(recording(), recording("a$b_{c}$", seed=1))
    named = {"mean": "mean of all heads", "max": "mean of all heads", 2: "head 2", ((1, 0),): "head L1H0"}
    for head, words in named.items():
        shares_picture(shown, 7, head=head, dots_per_inch=50)
        (figure,) = drawn
        assert tuple(figure.get_size_inches()) == (9.2, 3)
        assert figure.get_suptitle() == f"token 7 “red”, row 26 · {words}"
        left, right = figure.axes
        assert (left.get_title(), right.get_title()) == ("base", "a$b_{c}$")
        assert not any(text.get_parse_math() for text in (figure._suptitle, left.title, right.title))
        assert [text.get_fontsize() for text in (figure._suptitle, left.title, right.title)] == [9, 10, 10]
        assert right.get_shared_y_axes().joined(left, right)
        assert (left.get_ylabel(), right.get_ylabel()) == ("% of the attention", "")
        for axes, own in zip((left, right), shown.recordings, strict=True):
            assert axes.get_xlabel() == "layer"
            assert (axes.get_xlim(), axes.get_ylim()) == ((-0.5, LAYERS - 0.5), (0, 100))
            bottoms = np.zeros(LAYERS)
            looks = set()
            for group, bars in enumerate(axes.containers):
                of_layers = [100 * group_shares(own, Selection(layer, 7, head))[group] for layer in range(LAYERS)]
                np.testing.assert_allclose([bar.get_height() for bar in bars], of_layers)
                np.testing.assert_allclose([bar.get_y() for bar in bars], bottoms, atol=1e-9)
                np.testing.assert_allclose([bar.get_x() + bar.get_width() / 2 for bar in bars], range(LAYERS))
                assert [bar.get_width() for bar in bars] == pytest.approx([0.92] * LAYERS)
                assert {(bar.get_edgecolor(), bar.get_linewidth()) for bar in bars} == {((1, 1, 1, 1), 0.4)}
                assert to_hex(bars[0].get_facecolor()) in viewers_look(group)
                looks.add((bars[0].get_facecolor(), bars[0].get_hatch()))
                bottoms += of_layers
            assert len(looks) == 4
        (legend,) = figure.legends
        assert [text.get_text() for text in legend.get_texts()] == list(GROUPS)[::-1]
        assert {text.get_fontsize() for text in legend.get_texts()} == {8}
        assert not legend.get_frame_on()
        assert min(legend.get_window_extent().extents[0::2]) >= right.get_window_extent().x1  # beside the columns
        drawn.clear()


def test_a_picture_of_one_variant_is_narrower():
    shown = comparison(recording(), recording("find-red", seed=1))
    assert shares_picture(shown, variants=[None]).width < shares_picture(shown).width
