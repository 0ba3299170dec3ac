"""Every sentence holds its numbers, and they are those that a second way gives."""

import math
import re
from dataclasses import replace
from itertools import permutations

import numpy as np
import pytest

from inference.errors import SelectionError
from inference.explanations import Attribution, Explanation
from tests.visualize.factory import HEADS, LAYERS, MODEL
from tests.visualize.findings.explained import ABOUT, attribution, chance, knockout, parts
from visualize import finding
from visualize.findings.carries import effects, layers_that_matter, together
from visualize.findings.finding import findings
from visualize.findings.words import names, nats, percent, probability, runs


def shapley(outcomes: np.ndarray) -> list[float]:
    """Mean over all orders in which the three factors are turned round: the definition, not the weights."""
    shares = np.zeros(3)
    for order in permutations(range(3)):
        place = [0, 0, 0]
        for factor in order:
            before = outcomes[tuple(place)]
            place[factor] = 1
            shares[factor] += (outcomes[tuple(place)] - before) / 6
    return shares.tolist()


def numbers_in(text: str) -> list[float]:
    return [float(each.replace("−", "-")) for each in re.findall(r"[−]?\d+(?:\.\d+)?", text)]


def test_a_change_is_shared_out_in_percent_and_said_which_way():
    said = finding(attribution())
    assert said.sentence == (
        "Looking carries 80 % of the change of log p of “red” (+2 nats: more likely, 4.98 % → 36.8 %); "
        "seeing 10 %, saying 10 %."
    )
    less = finding(attribution(first=-0.5, seeing=0.0, looking=-0.3, saying=-1.7))
    assert less.sentence.startswith("Saying carries 85 % of the change of log p of “red” (−2 nats: less likely, 60.7 %")


def test_the_numbers_are_shapley_values_by_their_definition():
    rng = np.random.default_rng(1)
    for _ in range(20):
        outcomes = -rng.exponential(2.0, (2, 2, 2))
        said = finding(attribution_of(outcomes))
        seeing, looking, saying = shapley(outcomes)
        assert [said.numbers[name] for name in ("seeing", "looking", "saying")] == pytest.approx(
            [seeing, looking, saying]
        )
        assert said.numbers["total"] == pytest.approx(outcomes[1, 1, 1] - outcomes[0, 0, 0])
        if "looking_share" in said.numbers:
            assert percent(looking / said.numbers["total"]) in said.sentence
        else:
            assert f"looking {nats(looking)}" in said.sentence


def attribution_of(outcomes: np.ndarray) -> Explanation:
    return Attribution(**ABOUT, outcome="logprob", says=("red", "blue"), outcomes=outcomes)


def test_nothing_is_no_percentage():
    said = finding(attribution(seeing=0.001, looking=0.002, saying=-0.001))
    assert said.sentence == (
        "There is nothing to share out: the probability of “red” did not change (+0.002 nats, 4.98 % → 4.99 %); "
        "seeing +0.001 nats, looking +0.002 nats, saying −0.001 nats."
    )
    assert "looking_share" not in said.numbers
    tiny, large = said.pictures[0], finding(attribution(seeing=0.0, looking=1.2, saying=-1.0)).pictures[0]
    assert (tiny["low"], tiny["high"]) == (pytest.approx(-0.001), pytest.approx(0.01))  # bars as short as they are
    assert (large["low"], large["high"]) == (pytest.approx(-1.0), pytest.approx(1.2))


def test_what_cancels_out_and_what_pulls_apart_is_said_in_nats():
    cancels = finding(attribution(seeing=0.0, looking=1.2, saying=-1.2))
    assert cancels.sentence.startswith("They cancel out: the probability of “red” did not change (0.000 nats")
    assert "looking +1.2 nats, saying −1.2 nats" in cancels.sentence
    apart = finding(attribution(seeing=0.0, looking=1.2, saying=-1.0))
    assert apart.sentence.startswith("They pull against each other")
    assert "%" not in apart.sentence.split("together")[0]
    small = finding(attribution(seeing=0.0, looking=2.0, saying=-0.1))
    assert "saying −5 % (a minus works against it)" in small.sentence


def test_a_margin_is_in_logits_and_names_what_each_would_say():
    said = finding(attribution(first=-1.0, outcome="margin"))
    assert "the margin of “blue” (find-red's) over “red” (base's) (+2 logits: −1 → +1)" in said.sentence


def test_the_few_heads_that_carry_it_are_counted_by_adding_up():
    by_head = np.zeros((LAYERS, HEADS))
    by_head[2, 1], by_head[1, 0], by_head[3, 2] = 0.8, 0.64, 0.1
    explained = attribution(by_head=by_head)
    whole, heads = findings(explained)
    assert (whole.card, heads.card) == ("attribution", "heads")
    assert finding(explained).sentence == heads.sentence
    # 0.8 + 0.64 of 1.6 is 90 %; 0.8 alone only 50 %
    assert (
        f"2 of {LAYERS * HEADS} heads in layers 1–2 carry 90 % of what looking alone does (+1.6 nats)" in heads.sentence
    )
    assert heads.sentence.endswith("the strongest is layer 2 head 1, +0.8 nats.")
    assert heads.numbers["share"] == pytest.approx((0.8 + 0.64) / 1.6)
    assert heads.heads["order"][2][0] == 1
    assert heads.heads["order"][1][0] == 0
    assert heads.heads["top"] == "L2H1,L1H0,L3H2"  # those that work in its direction


def test_the_colours_of_heads_that_carry_nothing_are_those_of_nothing():
    by_head = np.zeros((LAYERS, HEADS))
    for largest, high in ((2e-6, 0.01), (0.8, 0.8)):
        by_head[2, 1] = -largest
        picture = findings(attribution(by_head=by_head))[1].pictures[0]
        limits = picture["limits"]
        assert (limits["low"], limits["high"]) == (pytest.approx(-high), pytest.approx(high))


def test_heads_that_carry_it_and_heads_that_changed_most_are_two_things():
    by_head, changed = np.zeros((LAYERS, HEADS)), np.zeros((LAYERS, HEADS))
    by_head[2, 1], by_head[1, 0] = 0.8, 0.6
    changed[2, 1], changed[0, 2], changed[1, 0] = 0.5, 0.4, 0.1
    _, heads = findings(attribution(by_head=by_head), changed)
    assert "of the 2 heads that carry it, 1 is among the 2 that changed most" in heads.details[-1]
    assert heads.numbers["also_changed_most"] == 1


def test_where_no_few_heads_carry_it_that_is_said():
    by_head = np.full((LAYERS, HEADS), 0.5 / LAYERS / HEADS)
    heads = finding(attribution(by_head=by_head))
    assert f"no few carry it: one at a time, even all {LAYERS * HEADS} of {LAYERS * HEADS} heads" in heads.sentence
    assert "add up to 31 % of what looking alone does (+1.6 nats)" in heads.sentence  # 0.5 of 1.6
    nothing = finding(attribution(looking=0.001, saying=1.0, by_head=np.zeros((LAYERS, HEADS))))
    assert "there is nothing for heads to carry" in nothing.sentence
    against = finding(attribution(by_head=np.full((LAYERS, HEADS), -0.1)))
    assert f"no head alone works in that direction (0 of {LAYERS * HEADS})" in against.sentence


def test_layers_alone_are_counted_too_and_name_those_whose_heads_are_worth_asking_for():
    by_layer = [0.1, 1.0, 0.0, 0.44]
    explained = attribution(by_layer=by_layer)
    assert f"2 of {LAYERS} layers (layers 1, 3) carry 90 % of what looking alone does" in finding(explained).sentence
    assert layers_that_matter(explained) == (1, 3)
    assert finding(explained).heads is None


def test_heads_that_were_not_asked_for_are_bare():
    by_head = np.full((LAYERS, HEADS), np.nan)
    by_head[1] = [0.9, 0.3, 0.2]
    said = finding(attribution(by_head=by_head, by_layer=[0.0, 1.4, 0.0, 0.0]))
    matrix = next(each for each in said.pictures if each["kind"] == "matrix")
    assert matrix["values"][0] == [None] * HEADS
    assert matrix["texts"][0] == ["not asked"] * HEADS
    assert said.numbers["of"] == HEADS


def test_effects_are_the_mean_of_both_directions():
    rng = np.random.default_rng(2)
    outcomes, forward, reverse = (
        rng.normal(size=(2, 2, 2)),
        rng.normal(size=(LAYERS, HEADS)),
        rng.normal(size=(LAYERS, HEADS)),
    )
    explained = Attribution(
        **ABOUT,
        outcome="logprob",
        says=("a", "b"),
        outcomes=outcomes,
        by_layer=forward.sum(1),
        by_layer_reverse=reverse.sum(1),
        by_head=forward,
        by_head_reverse=reverse,
    )
    assert effects(explained)[2, 1] == pytest.approx(0.5 * forward[2, 1] - 0.5 * reverse[2, 1])
    into_first, out_of_second = outcomes[0, 1, 0] - outcomes[0, 0, 0], outcomes[1, 1, 1] - outcomes[1, 0, 1]
    assert together(explained) == pytest.approx(np.mean([into_first, out_of_second]))


def test_a_needed_place_and_one_that_cannot_be_told_from_chance():
    said = finding(knockout())
    assert said.sentence == (
        "When the words may not look at these 3 of 8 cells, base's log p of “red” stays (0.000 nats), place 3 of 5 "
        "among sets of that size: cannot be told apart from chance; find-red's log p of “red” falls by 4 nats "
        f"({100 * math.exp(-0.5):.3g} % → {100 * math.exp(-4.5):.3g} %), more than with any of 4 other sets: "
        "it needs them, at level 1/5."
    )
    assert (said.numbers["rank_0"], said.numbers["rank_1"]) == (3, 1)
    rises = finding(knockout(changes=(0.5, -0.3)))
    assert "rises by 0.5 nats" in rises.sentence
    assert "find-red's log p of “red” falls by 0.3 nats" in rises.sentence
    assert rises.sentence.count("cannot be told apart from chance") == 2  # as low as one of the others is not below all


def test_a_knockout_without_others_says_so():
    said = finding(knockout(controls=np.zeros((0, 2)), layers=(0, 2, 3), rows="answer"))
    assert said.sentence.startswith("When the answer may not look at these 3 of 8 cells in layers 0, 2–3, ")
    assert "with 0 other sets beside it" in said.sentence
    assert "chance;" not in said.sentence.replace("from chance;", "")


@pytest.mark.parametrize("beyond", [1, 2, 5, LAYERS * HEADS])
def test_heads_beyond_chance_are_counted(beyond):
    said = finding(chance(beyond))
    assert said.sentence.startswith(f"Beyond chance: {beyond} of {LAYERS * HEADS} heads, in layer")
    assert "at level 1/17" in said.sentence
    assert "is 0.5 bits against 0.03 bits" in said.sentence
    assert np.sum(said.heads["within"]) == LAYERS * HEADS - beyond
    assert said.heads["layers"][0].startswith(f"Layer 0: {min(beyond, HEADS)} of {HEADS} heads beyond chance")


def test_what_cannot_be_told_apart_from_chance_is_a_finding():
    said = finding(chance(0, controls=40))
    assert said.sentence == (
        f"Cannot be told apart from chance: 0 of {LAYERS * HEADS} heads at level 1/41; the largest change, layer 0 "
        "head 0, is 0.01 bits, not above 0.03 bits, the largest of any head of 40 random adapters of equal size."
    )
    assert np.all(said.heads["within"])


def test_parts_are_held_against_the_whole_and_need_not_add_up():
    said = finding(parts())
    assert said.sentence == (
        "Of what the adapter does to log p of “red” (+2 nats: more likely, 4.98 % → 36.8 %), “q and k” alone does "
        "+1.5 nats (75 %); of the thirds of the layers, “layers 0–1” alone does +1 nats (50 %)."
    )
    # 0 + 1.5 + 0.2 + 0.1 = 1.8; 1.0 + 0.4 + 0.2 = 1.6
    assert "groups of modules alone add up to +1.8 nats, 0.2 nats less than the whole" in said.details[0]
    assert "thirds of the layers alone add up to +1.6 nats, 0.4 nats less than the whole" in said.details[0]
    assert "most likely at strength 1 (36.8 %)" in said.details[1]
    nothing = finding(parts(total=0.0, alone=[0.0, -0.2, 0.0, 0.0, 0.1, 0.0, 0.0]))
    assert "leaves the probability of “red” as it was (0.000 nats" in nothing.sentence
    assert "“q and k” does most, −0.2 nats" in nothing.sentence
    assert "100 %" not in nothing.sentence


EVERY = [
    attribution(),
    attribution(by_head=np.full((LAYERS, HEADS), 0.1)),
    attribution(by_layer=[0.0, 1.4, 0.0, 0.0]),
    attribution(seeing=0.0, looking=0.0, saying=0.0),
    knockout(),
    knockout(controls=np.zeros((0, 2))),
    chance(),
    chance(0),
    parts(),
    parts(total=0.0),
]


@pytest.mark.parametrize("explained", EVERY, ids=lambda each: type(each).__name__)
def test_no_sentence_is_without_its_number(explained: Explanation):
    for said in findings(explained):
        for sentence in (said.sentence, str(said)):
            assert len(numbers_in(sentence)) >= 2, sentence
            assert sentence.endswith(".")
            assert "nan" not in sentence
        assert all(isinstance(value, (int, float)) and math.isfinite(value) for value in said.numbers.values())


def test_an_unknown_kind_has_no_words():
    with pytest.raises(SelectionError, match="no words"):
        finding(Explanation(MODEL, (None, "x"), ABOUT["tokens"]))


def test_numbers_are_written_as_people_read_them():
    assert (nats(2.314), nats(-0.002), nats(0.0), nats(0.5, sign=False)) == (
        "+2.31 nats",
        "−0.002 nats",
        "0.000 nats",
        "0.5 nats",
    )
    assert (percent(0.714), percent(-0.04), percent(0.001), percent(-0.001), percent(0)) == (
        "71 %",
        "−4 %",
        "<1 %",
        ">−1 %",
        "0 %",
    )
    assert (probability(math.log(0.5)), probability(-20)) == ("50 %", "<0.01 %")
    assert (runs([4]), runs([5, 4]), runs([0, 4, 3, 5])) == ("layer 4", "layers 4–5", "layers 0, 3–5")


def test_a_set_that_raises_least_is_not_needed():
    said = finding(knockout(changes=(0.0, 0.1), controls=[[0.0, 0.5], [0.0, 0.4]]))
    assert said.numbers["rank_1"] == 1
    assert "it needs them" not in said.sentence


def test_what_a_matrix_dims_is_within_chance():
    (matrix,) = (each for each in finding(chance(2)).pictures if each["kind"] == "matrix")
    assert matrix["within"][0] == [False, False, True]
    assert np.sum(matrix["within"]) == LAYERS * HEADS - 2
    assert matrix["texts"][0][0] == "0.5 bits, beyond chance"
    assert matrix["texts"][1][0] == "0.01 bits, within chance"


def test_a_variants_name_is_said_whole_up_to_100_letters():
    for letters, said in ((100, "x" * 100), (101, "x" * 99 + "…")):
        assert names(attribution(variants=(None, "x" * letters))) == ["base", said]


def test_a_margin_whose_parts_cancel_out_did_not_change_and_has_no_probability():
    said = finding(attribution(1.5, 0.8, -0.8, 0.0, outcome="margin")).sentence
    assert said.startswith(
        "They cancel out: the margin did not change (0.000 logits), but seeing +0.8 logits, looking −0.8"
    )
    said = finding(attribution(-1.5, 0.8, -0.8, 0.0)).sentence
    assert "the probability of “red” did not change (0.000 nats, 22.3 % → 22.3 %), but seeing" in said


@pytest.mark.parametrize(
    ("floor", "words"),
    [(0.0029, "far below"), (0.0031, "below"), (0.0299, "below"), (0.03, "not below"), (1.0, "not below")],
)
def test_arithmetic_alone_is_compared_with_the_largest_random_adapter(floor, words):
    said = finding(replace(chance(), floor=np.full((LAYERS, HEADS), floor))).details[0]
    assert f" bits, {words} chance." in said
