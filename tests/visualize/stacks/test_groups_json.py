"""What a browser gets of where the attention goes: the record's shares, layer by layer, in numbers and texts."""

import json

import pytest

from inference.recording import GROUPS
from tests.visualize.factory import LAYERS, comparison, recording
from tests.visualize.read_body import read_body
from visualize import StackChoice, stack_body


def made(shown, choice):
    header, _ = read_body(stack_body(shown, choice))
    return json.loads(json.dumps(header["groups"]))


@pytest.fixture
def pair():
    return comparison(recording(), recording("find-red", seed=1))


def test_every_layer_has_the_recorded_shares_and_their_change(pair):
    groups = made(pair, StackChoice(7, head=1))
    assert groups["names"] == list(GROUPS)
    for name, own in zip(("base", "find-red"), pair.recordings, strict=True):
        for layer in range(LAYERS):
            shares = own.group_share[7, layer, 1].tolist()
            assert groups["values"][name][layer] == pytest.approx(shares, abs=6e-5)
            assert groups["texts"][name][layer] == [f"{100 * share:.1f} %" for share in shares]
    base, adapter = (own.group_share[7, :, 1].astype(float) for own in pair.recordings)
    for layer in range(LAYERS):
        for group, text in enumerate(groups["changes"]["find-red"][layer]):
            shown = float(text.removesuffix(" pp").replace("−", "-"))
            assert shown == pytest.approx(100 * (adapter - base)[layer, group], rel=6e-3, abs=2e-4)
    assert groups["about"] == "Shares of all attention of the chosen tokens' rows, head 1."


def test_a_window_and_a_range_are_their_mean_against_the_variant_that_is_chosen(pair):
    groups = made(pair, StackChoice((7, 8), window=1, against="find-red"))
    own = pair.recordings[1].group_share[7:9, 0:2].mean(axis=(0, 1, 2), dtype=float)
    assert groups["values"]["find-red"][0] == pytest.approx(own.tolist(), abs=6e-5)
    assert list(groups["changes"]) == ["base"]


def test_a_maximum_says_that_it_has_none_and_own_answers_have_no_change(pair):
    groups = made(pair, StackChoice(7, head="max"))
    assert groups["about"].endswith("the mean of all heads; a maximum over heads has no shares.")
    own = comparison(recording(), recording("find-red", seed=1), own=True)
    assert made(own, StackChoice(7))["changes"] == {}
