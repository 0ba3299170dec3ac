"""A film taken apart again, frame by frame, and each frame beside the sheet that it should be."""

import io
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image, ImageSequence

from inference.errors import SelectionError
from tests.visualize.factory import LAYERS, comparison, recording, tokens
from visualize import Selection, animation, panes, sheet

AT = Selection(2, 7)


def taken_apart(film):
    """Format, frames as RGB and how long each stays, in milliseconds."""
    picture = Image.open(io.BytesIO(film))
    frames, stays = [], []
    for frame in ImageSequence.Iterator(picture):
        frames.append(frame.convert("RGB"))
        stays.append(frame.info["duration"])
    return picture.format, frames, stays


def layers(pair):
    return [panes(pair, replace(AT, layer=layer), adapter="find-red") for layer in range(LAYERS)]


def gap(frame, drawn):
    whole = Image.new("RGB", frame.size, "white")
    whole.paste(drawn)
    return np.abs(np.asarray(frame, int) - np.asarray(whole, int)).mean()


@pytest.mark.parametrize("kind", ["WebP", "GIF"])
def test_each_frame_is_the_sheet_of_its_layer_and_stays_as_long_as_was_asked(kind):
    shown = layers(comparison())
    kept, frames, stays = taken_apart(animation(iter(shown), kind=kind, seconds=0.25, column=300))
    assert kept == kind.upper()
    assert stays == [250] * LAYERS
    sheets = [sheet(each, column=300) for each in shown]
    for index, frame in enumerate(frames):
        gaps = [gap(frame, other) for other in sheets]
        assert int(np.argmin(gaps)) == index, gaps
        assert gaps[index] < 2.5


def test_a_film_plays_round_and_round():
    for kind in ("WebP", "GIF"):
        picture = Image.open(io.BytesIO(animation(layers(comparison()), kind=kind, column=200)))
        assert picture.info["loop"] == 0
        assert picture.n_frames == LAYERS


@pytest.mark.parametrize("pane", ["base", "adapter", "difference"])
def test_one_pane_plays_alone(pane):
    shown = layers(comparison())
    _, frames, _ = taken_apart(animation(shown, pane=pane, column=300))
    for frame, each in zip(frames, shown, strict=True):
        assert gap(frame, sheet(each, only=getattr(each, pane), column=300)) < 2.5
        assert frame.width == 300 + 2 * 28


def test_frames_of_several_heights_are_as_high_as_the_highest_and_white_below():
    short = panes(comparison(), AT)
    tall = replace(short, notes=("A note. " * 60,))
    _, frames, _ = taken_apart(animation([short, tall], column=300))
    assert frames[0].size == frames[1].size == sheet(tall, column=300).size
    below = np.asarray(frames[0])[sheet(short, column=300).height + 8 :]
    assert below.size
    assert below.min() >= 250


def test_checkpoints_play_on_one_scale():
    three = comparison(recording(), recording("step-1", seed=1), recording("step-2", seed=2))
    family = ("step-1", "step-2")
    shown = [panes(three, AT, adapter=name, beside=family) for name in family]
    assert [each.adapter.variant for each in shown] == list(family)
    assert [each.difference.variant for each in shown] == ["step-1 − base", "step-2 − base"]
    assert len({each.base.drawing.limits for each in shown}) == 1
    assert len({each.difference.drawing.limits for each in shown}) == 1
    rows = [each.by_token[7, 2].astype(float) for each in three.recordings]
    assert shown[0].base.drawing.limits.high == pytest.approx(max(row.max() for row in rows), rel=1e-6)
    changed = max(np.abs(row - rows[0]).max() for row in rows[1:])
    assert shown[1].difference.drawing.limits.high == pytest.approx(changed, rel=1e-5)
    for each, row in zip(shown, rows[1:], strict=True):
        assert each.change.delta_share == pytest.approx(row.sum() - rows[0].sum(), abs=1e-6)
    alone = panes(three, AT, beside=family)
    assert alone.adapter is alone.difference is alone.change is None
    assert alone.base.drawing.limits == shown[0].base.drawing.limits


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"kind": "PNG"}, "one of WebP, GIF; not 'PNG'"),
        ({"seconds": 0.01}, r"0\.02–60 seconds; not 0\.01"),
        ({"seconds": 61}, "not 61"),
        ({"pane": "left"}, "one of base, adapter, difference; not 'left'"),
        ({"pane": "difference"}, "There is no difference pane here. Choose one of base."),
    ],
)
def test_what_no_film_has_is_refused_in_words(options, words):
    with pytest.raises(SelectionError, match=words):
        animation([panes(comparison(), AT)], **options)


def test_a_pane_that_two_others_stand_without_is_refused_with_both_names():
    own = comparison(recording(), recording("a", row=tokens(answer=(" blue",)), seed=1), own=True)
    with pytest.raises(SelectionError, match=r"There is no difference pane here\. Choose one of base, adapter\.$"):
        animation([panes(own, AT, adapter="a")], pane="difference")


def test_a_film_of_nothing_is_refused():
    with pytest.raises(SelectionError, match="at least one frame"):
        animation([])
