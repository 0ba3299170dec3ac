import pytest

from inference.errors import SelectionError
from tests.visualize.factory import comparison, recording, tokens
from tests.visualize.read_body import read_body
from visualize import StackChoice, stack_body


@pytest.fixture
def three():
    return comparison(recording("b", seed=4), recording(), recording("c", seed=5))


@pytest.mark.parametrize(
    ("against", "others", "expected"),
    [
        ("", None, ("b", None, "c")),
        ("base", None, (None, "b", "c")),
        ("c", None, ("c", "b", None)),
        ("c", ("base",), ("c", None)),
        ("base", ("c", "b"), (None, "c", "b")),
        ("b", (), ("b",)),
    ],
)
def test_the_variant_compared_against_comes_first_and_the_others_in_the_order_recorded(
    three, against, others, expected
):
    choice = StackChoice(7, against=against, others=others)
    assert choice.variants(three) == expected
    names = [name or "base" for name in expected]
    assert choice.json(three) == {
        "token": 7,
        "head": "mean",
        "view": "raw",
        "window": 0,
        "against": names[0],
        "variants": names,
    }


def test_a_range_of_tokens_is_a_list_in_json(three):
    made = StackChoice((2, 5), "max", "sink-masked", 1).json(three)
    assert (made["token"], made["head"], made["view"], made["window"]) == ([2, 5], "max", "sink-masked", 1)


@pytest.mark.parametrize(("window", "layers"), [(0, (0, 1, 2, 3)), (1, ((0, 1), (0, 2), (1, 3), (2, 3)))])
def test_a_window_reaches_as_far_as_there_are_layers(three, window, layers):
    assert StackChoice(7, window=window).layers(three) == layers


@pytest.mark.parametrize(
    ("token", "head", "recorded"),
    [
        (7, "mean", True),
        (8, "max", True),
        (8, 1, True),
        (7, 1, False),
        ((8, 8), 1, True),
        ((7, 8), "max", False),
        ("focus", 2, True),
        ("answer", 0, False),
    ],
)
def test_single_heads_are_recorded_for_exactly_the_focus(token, head, recorded):
    pair = comparison(recording(focus=(8,)), recording("a", focus=(8,)))
    assert StackChoice(token, head).is_recorded(pair) is recorded


def test_single_heads_of_a_range_are_recorded_where_the_whole_range_was_in_focus_of_every_variant():
    pair = comparison(recording(focus=(8, 7)), recording("a", focus=(8, 7)))
    assert StackChoice((7, 8), 1).is_recorded(pair)
    assert not StackChoice(7, 1).is_recorded(pair)
    half = comparison(recording(focus=(8, 7)), recording("a", focus=(7,)))
    assert not StackChoice((7, 8), 1).is_recorded(half)
    assert StackChoice((7, 8), 1, others=()).is_recorded(half)


@pytest.mark.parametrize(
    ("made", "words"),
    [
        ({"token": -1}, "token must be"),
        ({"token": True}, "token must be"),
        ({"token": (3, 2)}, "range of tokens"),
        ({"token": 7, "head": "min"}, "head must be"),
        ({"token": 7, "view": "x"}, "view must be"),
        ({"token": 7, "head": 1, "view": "contrast"}, "contrast view is of no single head"),
        ({"token": 7, "window": -1}, "window must be"),
        ({"token": 7, "window": 1.5}, "window must be"),
        ({"token": 7, "window": True}, "window must be"),
    ],
)
def test_what_is_no_choice_is_refused_at_once(made, words):
    with pytest.raises(SelectionError, match=words):
        StackChoice(**made)


def test_what_a_comparison_does_not_have_is_refused(three):
    with pytest.raises(SelectionError, match="window must be below 4"):
        StackChoice(7, window=4).layers(three)
    with pytest.raises(SelectionError, match="'d' is not in this comparison; it has b, base, c"):
        StackChoice(7, against="d").variants(three)
    with pytest.raises(SelectionError, match="'d' is not in this comparison"):
        StackChoice(7, others=("d",)).variants(three)


def test_of_own_answers_those_are_shown_that_are_long_enough():
    long = recording("a", row=tokens(answer=(" a", " long", " blue", " answer")), seed=1)
    own = comparison(recording(), long, own=True)
    base, adapter = (len(each.tokens) for each in own.recordings)
    assert base < adapter
    assert StackChoice(base - 1).variants(own) == (None, "a")
    assert StackChoice(base).variants(own) == ("a",)
    assert StackChoice((7, adapter - 1)).variants(own) == ("a",)
    assert StackChoice("answer").variants(own) == (None, "a")
    _, maps = read_body(stack_body(own, StackChoice(base)))
    assert list(maps) == ["a"]
    with pytest.raises(SelectionError, match=f"token {adapter} does not exist"):
        stack_body(own, StackChoice(adapter))
