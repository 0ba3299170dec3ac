"""What is packed comes back bit for bit."""

import zlib

import numpy as np
import pytest

from tests.visualize.factory import comparison, recording, tokens, with_sinks
from tests.visualize.report_read import header_of, unpacked
from visualize import StackChoice, heads_body, stack_body
from visualize.report.pack import packed
from visualize.stacks.map_bytes import body, scales_of

SEVERAL = comparison(with_sinks(), with_sinks("a", seed=1), with_sinks("b", seed=2))
OWN = comparison(recording(), recording("a", row=tokens(answer=(" blue",)), seed=1), own=True)


@pytest.mark.parametrize(
    ("given", "choice"),
    [
        (SEVERAL, StackChoice(7)),
        (SEVERAL, StackChoice(7, head=1, against="b")),
        (SEVERAL, StackChoice((7, 8), view="contrast", window=1)),
        (SEVERAL, StackChoice(7, view="sink-masked")),
        (OWN, StackChoice(7)),
        (comparison(recording()), StackChoice(7)),
    ],
)
def test_a_stack_comes_back_bit_for_bit(given, choice):
    whole = stack_body(given, choice)
    assert unpacked(packed(whole)) == whole


def test_the_heads_of_a_layer_come_back_bit_for_bit():
    whole = heads_body(SEVERAL, StackChoice(7), 2)
    assert unpacked(packed(whole)) == whole


def _made(first, later, difference):
    """A body of three panes of maps `(2, 2, 3)`."""
    maps = [np.array(each, np.float32).reshape(2, 2, 3) for each in (first, later, difference)]
    panes = [
        {"of": of, "difference": index == 2, "scales": scales_of(each)}
        for index, (of, each) in enumerate(zip(("base", "a", "a"), maps, strict=True))
    ]
    return body({"grid": [2, 3], "frames": 2, "panes": panes}, maps)


def test_values_that_no_two_maps_say_come_back_too():
    """A difference of anything: far from the maps, minus zero, the smallest and largest, a layer of zeros."""
    first = [0.1, 0, 1e-38, 0.3, 1, 2e-7, *[0.0] * 6]
    later = [0.1, 1e-45, 0.2, 0, 1, 3e-7, *[0.5] * 6]
    difference = [0.0, -0.0, -1e-30, 0.9, -1, 1e-7, *[0.0] * 6]
    whole = _made(first, later, difference)
    assert unpacked(packed(whole)) == whole
    tiny = _made([1e-44, 0, 3e-45, *[0] * 9], [0, 1e-44, 0, *[1e-44] * 9], [-1e-44, 1e-44, -3e-45, *[1e-44] * 9])
    assert unpacked(packed(tiny)) == tiny


def test_random_bits_come_back():
    values = np.random.default_rng(0).normal(size=(3, 12)).astype(np.float32) * 10.0 ** np.arange(-6, 6)
    whole = _made(*values)
    assert unpacked(packed(whole)) == whole


def test_a_difference_that_the_two_maps_say_exactly_costs_hardly_anything():
    """Weights of a model in bfloat16: all bits of both maps are kept, and so all of their difference."""
    rng = np.random.default_rng(0)
    maps = (rng.gamma(0.5, size=(2, 4, 16, 16)) / 50).astype(np.float32).view(np.uint32) & 0xFFFF0000
    first, later = maps.view(np.float32)
    change = later - first
    panes = [
        {"of": of, "difference": each is change, "scales": scales_of(each)}
        for of, each in (("base", first), ("a", later), ("a", change))
    ]
    header = {"grid": [16, 16], "frames": 4}
    whole = packed(body({**header, "panes": panes}, [first, later, change]))
    alone = packed(body({**header, "panes": panes[:2]}, [first, later]))
    assert len(whole) - len(alone) < 0.25 * first.size
    assert len(whole) < 0.8 * len(zlib.compress(body({**header, "panes": panes}, [first, later, change]), 9))


def test_the_header_travels_as_it_is():
    whole = stack_body(SEVERAL, StackChoice(7))
    start = header_of(whole)[1]
    assert zlib.decompress(packed(whole), -15)[:start] == whole[:start]
