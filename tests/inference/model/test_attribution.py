"""Seeing, looking, saying: exact where the adapter's place leaves one answer, and against upstream everywhere else."""

import re
import shutil
from collections.abc import Callable
from dataclasses import fields
from functools import cache
from itertools import product
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
import torch

from inference import Comparison
from inference.adapters.catalog import AdapterCatalog
from inference.demo import WEIGHTS_DIR
from inference.demo.world import scene
from inference.errors import CancelledError, CaptureError, InputError, SelectionError
from inference.explanations import Attribution
from inference.model.engine import Engine
from inference.model.forced_attention import ForcedAttention, KeptAttention
from inference.model.pieces import token_text
from inference.questions import AttributionOptions
from inference.records import Progress
from inference.request import Request
from inference.settings import MIB, Settings
from tests.adapters import EXPERTS, LANGUAGE, edit_weights, write_adapter
from tests.checkpoints import write_checkpoint
from tests.conftest import picture
from tests.upstream_mediation import Mediated, shapley

PROMPT, ANSWER = "What is in the middle?", (70, 71, 72, 73)
IMAGE = picture(96, 160)
LAYERS, LAST = 3, r"layers\.2\."
TOWER = r".*visual\.blocks\.\d+\.attn\.(qkv|proj)"
#: Where an adapter's B is not 0, and which of the three that leaves at 0.
PLACES = {
    "nothing": (r"^$", ("seeing", "looking", "saying")),
    "o_proj": (LAST + r"self_attn\.o_proj", ("seeing", "looking")),
    "mlp": (LAST + r"mlp\.", ("seeing", "looking")),
    "q_proj": (LAST + r"self_attn\.q_proj", ("seeing", "saying")),
    "k_proj": (LAST + r"self_attn\.k_proj", ("seeing", "saying")),
    "v_proj": (LAST + r"self_attn\.v_proj", ("looking",)),
    "tower": (r"visual\.", ("saying",)),
    "everything": (r"", ()),
}
#: Of the embedded adapters, each pair that is attributed.
PAIRS = [(None, "find-red"), (None, "vision-lora"), ("noise", "find-circle"), (None, "untouched")]
FACTORS = {"seeing", "looking", "saying"}
OTHER_KINDS = [pytest.param(kind, marks=pytest.mark.slow) for kind in ("moe", "gqa")]
#: Kind, path and first variant; a plain run has the dense kind on the tiled path, and once on the other.
EVERYWHERE = [
    pytest.param(*each, marks=[] if each[0] == "dense" and each[1:] != ("eager", "everything-2") else pytest.mark.slow)
    for each in product(("dense", "moe", "gqa"), ("eager", "rows"), (None, "everything-2"))
]
#: Kind, path and first variant of the table: a dense model everywhere, of the other kinds each path against one of two.
TABLE = [
    ("dense", "eager", None),
    ("dense", "rows", None),
    *(
        pytest.param(*each, marks=pytest.mark.slow)
        for each in [
            *(("dense", path, "another") for path in ("eager", "rows")),
            *((kind, *each) for kind in ("moe", "gqa") for each in (("eager", None), ("rows", "another"))),
        ]
    ),
]


class Model(NamedTuple):
    """A checkpoint, and for every place two adapters of it, `PLACE-1` and `PLACE-2`."""

    checkpoint: Path
    folders: dict[str, Path]

    def engine(self, attention: str, **settings) -> Engine:
        given = {"device": "cpu", "tile_bytes": 3_000} | settings  # several tiles per layer
        return Engine(Settings(model=str(self.checkpoint), attention=attention, **given), AdapterCatalog(self.folders))


@pytest.fixture(scope="module")
def models(tmp_path_factory, dense, moe) -> Callable[[str], Model]:
    """Dense and mixture of experts, two query heads per key head; and `gqa`, with four."""
    folder = tmp_path_factory.mktemp("attribution")

    @cache
    def model(kind: str) -> Model:
        checkpoint = {"dense": dense, "moe": moe}.get(kind) or write_checkpoint(folder / kind, heads=8, seed=7)
        config = {"target_modules": rf"({LANGUAGE})|(.*language_model.*mlp\.(gate|up|down)_proj)|({TOWER})"}
        if kind == "moe":
            config = {"target_modules": rf"({LANGUAGE})|({TOWER})", "target_parameters": EXPERTS}

        @cache
        def whole(number: int, strength: float) -> Path:
            name = f"whole-{number}-{strength}"
            return write_adapter(folder / kind / name, checkpoint, seed=number, strength=strength, **config)

        folders = {}
        for place, (where, _) in PLACES.items():
            for number in (1, 2):
                name = f"{place}-{number}"
                strength = 0.3 if place == "everything" else 0.6  # or rounding would be larger than 1e-5
                folders[name] = shutil.copytree(whole(number, strength), folder / kind / name)
                edit_weights(folders[name], lambda tensors, where=where: only(tensors, where))
        return Model(checkpoint, folders)

    return model


def only(tensors: dict[str, torch.Tensor], where: str) -> dict[str, torch.Tensor]:
    """The same adapter with B = 0 wherever the name does not say `where`."""
    found = [name for name in tensors if "lora_B" in name and re.search(where, name)]
    assert found or where == "^$", where
    return {name: each * 0 if "lora_B" in name and name not in found else each for name, each in tensors.items()}


@pytest.fixture(scope="module")
def engines(models) -> Callable[[str, str], Engine]:
    return cache(lambda kind, path: models(kind).engine(path))


def ask(*adapters: str | None, **more) -> Request:
    return Request(IMAGE, PROMPT, adapters=adapters, **{"answer": ANSWER} | more)


def attribute(engine: Engine, *adapters: str | None, token: int | None = None, **options) -> Attribution:
    return engine.explain(ask(*adapters), AttributionOptions(token, **options))


def identical(one: Attribution, other: Attribution) -> bool:
    pairs = [(getattr(one, each.name), getattr(other, each.name)) for each in fields(one) if each.name != "timings"]
    return all(np.array_equal(a, b, equal_nan=True) if isinstance(a, np.ndarray) else a == b for a, b in pairs)


def same_comparison(one: Comparison, other: Comparison) -> bool:
    return all(
        np.array_equal(getattr(a, name), getattr(b, name))
        for a, b in zip(one.recordings, other.recordings, strict=True)
        for name in ("by_token", "by_head", "group_share", "logprobs")
    )


# exact by construction


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize(("kind", "path", "against"), TABLE)
def test_where_the_adapter_is_decides_what_changes(kind, path, place, against, engines):
    """The table: random B on the last language layer only, or in the tower; from base, and from one to another."""
    first = None if against is None else f"{place}-2"
    found = attribute(engines(kind, path), first, f"{place}-1")
    zero = PLACES[place][1]
    assert (found.variants, found.attention, found.replays) == ((first, f"{place}-1"), path, 8)
    for factor in zero:
        assert abs(getattr(found, factor)) <= 1e-6, factor
    for factor in FACTORS - set(zero):
        assert abs(getattr(found, factor)) > 1e-4, factor
    assert found.seeing + found.looking + found.saying == pytest.approx(found.total, abs=1e-12)
    if place == "nothing":
        assert len(np.unique(found.outcomes)) == 1


@pytest.mark.parametrize("first", [None, "everything-2"])
@pytest.mark.parametrize("path", ["eager", "rows"])
@pytest.mark.parametrize("kind", ["dense", *OTHER_KINDS])
def test_the_whole_of_a_variant_is_its_natural_run(kind, path, first, engines):
    """Against the comparison's own replay, whose passes are others, at the first token and at a later one."""
    engine, adapters = engines(kind, path), (first, "everything-1")
    comparison = engine.compare(ask(*adapters))
    start = len(comparison.tokens) - len(ANSWER)
    for index in (0, 2):
        found = attribute(engine, *adapters, token=None if index == 0 else start + index)
        assert found.tokens == comparison.tokens[: start + index + 1]
        assert found.token == start + index
        natural = [recording.logprobs[index] for recording in comparison.recordings]
        np.testing.assert_allclose(found.outcomes[[0, 1], [0, 1], [0, 1]], natural, atol=1e-5, rtol=0)
        assert found.total == pytest.approx(natural[1] - natural[0], abs=2e-5)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("path", ["eager", "rows"])
@pytest.mark.parametrize("kind", ["dense", OTHER_KINDS[0]])
def test_a_variants_own_attention_forced_into_it_changes_no_bit(kind, path, dtype, models, tmp_path):
    """Between an adapter and its twin everything that is forced is one's own, of all heads, a layer, a head."""
    model = models(kind)
    twins = dict.fromkeys(("one", "twin"), model.folders["everything-1"])
    engine = Model(model.checkpoint, twins).engine(path, dtype=dtype)
    found = attribute(engine, "one", "twin", by="head")
    assert len(np.unique(found.outcomes)) == 1
    for matrix in (found.by_layer, found.by_layer_reverse, found.by_head, found.by_head_reverse):
        assert not matrix.any()


def margins_where_they_differ(engine: Engine, first: str | None, second: str, start: int) -> tuple[Attribution, int]:
    """The margins at the first replayed token where the two variants would say different ones, and its place."""
    for index in range(len(ANSWER)):
        try:
            return attribute(engine, first, second, token=start + index, outcome="margin"), index
        except SelectionError as error:
            if "Both variants would say" not in str(error):
                raise
    raise AssertionError("the variants say the same everywhere")


# a second route


@pytest.mark.parametrize(("kind", "path", "first"), EVERYWHERE)
def test_every_replay_equals_upstreams_with_the_weights_replaced_in_a_copied_function(
    kind, path, first, engines, models
):
    engine, model, second = engines(kind, path), models(kind), "everything-1"
    prompt = engine.prompt(ask(first, second))
    folders = [None if name is None else model.folders[name] for name in (first, second)]
    theirs = Mediated(model.checkpoint, folders, prompt, ANSWER, index=1)
    token = len(prompt.tokens) + 1
    ours = attribute(engine, first, second, token=token, by="head", layers=(2, 0))
    expected = theirs.eight(theirs.logprob)
    assert np.ptp(expected) > 0.01
    np.testing.assert_allclose(ours.outcomes, expected, atol=1e-5, rtol=0)
    np.testing.assert_allclose([ours.seeing, ours.looking, ours.saying], shapley(expected), atol=1e-5, rtol=0)
    heads = range(engine.model_info.num_heads)
    for into, by_layer, by_head in (
        (0, ours.by_layer, ours.by_head),
        (1, ours.by_layer_reverse, ours.by_head_reverse),
    ):
        layers = [theirs.part(into, layer, heads, theirs.logprob) for layer in range(LAYERS)]
        np.testing.assert_allclose(by_layer, layers, atol=1e-5, rtol=0)
        single = [[theirs.part(into, layer, [head], theirs.logprob) for head in heads] for layer in (0, 2)]
        np.testing.assert_allclose(by_head[[0, 2]], single, atol=1e-5, rtol=0)
        assert np.ptp(by_head[[0, 2]]) > 1e-3
        assert np.isnan(by_head[1]).all()
    margins, index = margins_where_they_differ(engine, first, second, len(prompt.tokens))
    theirs = Mediated(model.checkpoint, folders, prompt, ANSWER, index=index)
    np.testing.assert_allclose(margins.outcomes, theirs.eight(theirs.margin), atol=2e-5, rtol=0)
    assert margins.outcomes[0, 0, 0] < 0 < margins.outcomes[1, 1, 1]
    assert margins.says[0] != margins.says[1]


@pytest.fixture(scope="module")
def embedded() -> Callable[[str], Engine]:
    """The embedded model with its adapters, opened once per path."""

    @cache
    def opened(path: str) -> Engine:
        settings = Settings(model="demo", device="cpu", attention=path, tile_bytes=3_000)
        return Engine(settings, AdapterCatalog.from_settings(settings))

    return opened


@pytest.mark.parametrize(
    ("path", "first", "second"),
    [
        ("rows", *PAIRS[1]),
        ("eager", *PAIRS[0]),
        *(pytest.param("rows", *pair, marks=pytest.mark.slow) for pair in (PAIRS[0], *PAIRS[2:])),
        *(pytest.param("eager", *pair, marks=pytest.mark.slow) for pair in PAIRS[1:]),
    ],
)
def test_the_embedded_adapters_replays_equal_upstreams_too(path, first, second, embedded):
    engine = embedded(path)
    image = scene(961_000_006, objects=3, size=(192, 256), must_have=("red", "circle")).image  # each says otherwise
    request = Request(image, "Describe the image.", adapters=(first, second), max_new_tokens=3)
    comparison = engine.compare(request)
    ours = engine.explain(request, AttributionOptions(by="layer"))
    folders = [None if name is None else WEIGHTS_DIR / "adapters" / name for name in (first, second)]
    answer = tuple(token.id for token in comparison.tokens if token.role in ("answer", "end"))
    theirs = Mediated(WEIGHTS_DIR / "model", folders, engine.prompt(request), answer, index=0)
    np.testing.assert_allclose(ours.outcomes, theirs.eight(theirs.logprob), atol=1e-5, rtol=0)
    layers = [theirs.part(0, layer, range(4), theirs.logprob) for layer in range(6)]
    np.testing.assert_allclose(ours.by_layer, layers, atol=1e-5, rtol=1e-5)  # changes of many nats, in float32
    natural = [recording.logprobs[0] for recording in comparison.recordings]
    np.testing.assert_allclose(ours.outcomes[[0, 1], [0, 1], [0, 1]], natural, atol=1e-5, rtol=0)
    if second == "untouched":
        assert len(np.unique(ours.outcomes)) == 1
    else:
        assert abs(ours.total) > 1


@pytest.mark.parametrize("path", ["eager", "rows"])
def test_the_looking_of_an_adapter_of_one_layer_is_that_layers(path, engines):
    found = attribute(engines("dense", path), None, "q_proj-1", by="layer")
    assert found.by_head is None
    np.testing.assert_allclose(found.by_layer, [0, 0, found.total], atol=1e-6, rtol=0)
    np.testing.assert_allclose(found.by_layer_reverse, [0, 0, -found.total], atol=1e-6, rtol=0)


def chosen_heads(engine: Engine) -> tuple[tuple[int, int], ...]:
    """Some of a layer, one of another, none of the third."""
    return ((0, 1), (0, engine.model_info.num_heads - 1), (2, 0))


@pytest.mark.parametrize("first", [pytest.param(None, marks=pytest.mark.slow), "everything-2"])
@pytest.mark.parametrize("path", ["eager", "rows"])
@pytest.mark.parametrize("kind", [pytest.param("dense", marks=pytest.mark.slow), "gqa"])
def test_chosen_heads_together_equal_upstreams_with_their_weights_replaced(kind, path, first, engines, models):
    engine, model, second = engines(kind, path), models(kind), "everything-1"
    chosen, prompt = chosen_heads(engine), engine.prompt(ask(first, second))
    folders = [None if name is None else model.folders[name] for name in (first, second)]
    theirs = Mediated(model.checkpoint, folders, prompt, ANSWER, index=1)
    ours = attribute(engine, first, second, token=len(prompt.tokens) + 1, heads=chosen)
    assert ours.heads == chosen
    assert ours.replays == 10
    for into, change in ((0, ours.together), (1, ours.together_reverse)):
        weights = {
            layer: ([head for at, head in chosen if at == layer], theirs.own[1 - into][layer])
            for layer in {layer for layer, _ in chosen}
        }
        logits = theirs.logits(into, into, weights)
        assert change == pytest.approx(theirs.logprob(logits) - theirs.logprob(theirs.natural[into]), abs=1e-5)
        assert abs(change) > 1e-3
        said = token_text(engine.checkpoint.tokenizer, int(logits.argmax()))
        assert ours.says_together[into] == said


@pytest.mark.parametrize("path", ["eager", "rows"])
def test_one_chosen_head_is_that_head_and_all_of_them_are_the_looking(path, engines):
    engine, pair = engines("dense", path), (None, "everything-1")
    one = attribute(engine, *pair, heads=((1, 2),), by="head", layers=(1,))
    assert (one.together, one.together_reverse) == (one.by_head[1, 2], one.by_head_reverse[1, 2])
    every = attribute(engine, *pair, heads=[(layer, head) for layer in range(LAYERS) for head in range(4)])
    outcomes = every.outcomes
    assert every.together == outcomes[0, 1, 0] - outcomes[0, 0, 0]
    assert every.together_reverse == outcomes[1, 0, 1] - outcomes[1, 1, 1]
    assert (one.says, one.outcomes.tolist()) == (every.says, outcomes.tolist())


def test_what_is_said_with_chosen_heads_forced_is_each_variants_own():
    """On a scene that base calls yellow and the adapter red, two heads are enough either way."""
    settings = Settings(model="demo", device="cpu")
    engine = Engine(settings, AdapterCatalog.from_settings(settings))
    image = scene(961_000_006, objects=3, size=(192, 256), must_have=("red", "circle")).image
    request = Request(image, "Describe the image.", adapters=(None, "find-red"), max_new_tokens=1)
    found = engine.explain(request, AttributionOptions(outcome="margin", heads=((0, 0), (1, 3))))
    assert found.says == ("yellow", "red")
    assert found.says_together == ("red", "yellow")
    assert found.outcomes[0, 0, 0] < 0 < found.outcomes[0, 0, 0] + found.together
    assert found.outcomes[1, 1, 1] > 0 > found.outcomes[1, 1, 1] + found.together_reverse


# what it leaves behind, and what it costs


@pytest.mark.parametrize("path", [pytest.param("eager", marks=pytest.mark.slow), "rows"])
def test_the_engine_is_bit_for_bit_as_before(path, models):
    engine = models("dense").engine(path)
    variants = (None, "everything-1", "tower-2")
    probe = engine.passes.probe(engine.prompts)
    before = engine.compare(ask(*variants))
    first = attribute(engine, None, "everything-1", by="head")
    assert same_comparison(engine.compare(ask(*variants)), before)
    attribute(engine, "tower-2", None)
    assert identical(attribute(engine, None, "everything-1", by="head"), first)
    assert torch.equal(engine.passes.probe(engine.prompts), probe)
    fresh = models("dense").engine(path)
    assert identical(attribute(fresh, None, "everything-1", by="head"), first), "whatever was asked before"


@pytest.mark.parametrize("replay", [4, *(pytest.param(each, marks=pytest.mark.slow) for each in (1, 9, 23))])
def test_stop_ends_it_between_layers_and_leaves_the_engine_as_before(replay, models, monkeypatch):
    engine, begun, layers = models("dense").engine("eager"), [], []
    request = ask(None, "everything-1")
    before, whole = engine.compare(request), attribute(engine, None, "everything-1", by="head")
    original = engine.passes.text

    def counted(prompt, prefix, positions, answer, on_layer, **options):
        def counting():
            layers.append(len(begun))
            on_layer()

        begun.append(options)
        return original(prompt, prefix, positions, answer, counting, **options)

    monkeypatch.setattr(engine.passes, "text", counted)
    stop_at = (replay, 2)  # in the second layer of that replay

    def stop() -> bool:
        return (len(begun), layers.count(replay)) == stop_at

    with pytest.raises(CancelledError):
        engine.explain(request, AttributionOptions(by="head"), stop=stop)
    assert (len(begun), len(layers)) == (replay, LAYERS * (replay - 1) + 2), "not one layer more"
    assert same_comparison(engine.compare(request), before)
    assert identical(attribute(engine, None, "everything-1", by="head"), whole)


def test_after_a_comparison_nothing_of_the_image_is_read_again(models, monkeypatch):
    engine, passes = models("dense").engine("eager"), []
    request = Request(IMAGE, PROMPT, adapters=(None, "everything-1"), max_new_tokens=4)
    engine.compare(request)
    for name in ("vision", "image", "words", "decode", "replay", "text"):
        original = getattr(engine.passes, name)
        monkeypatch.setattr(
            engine.passes, name, lambda *a, _n=name, _o=original, **o: (passes.append(_n), _o(*a, **o))[1]
        )
    options = AttributionOptions(by="head", layers=(1,))
    said: list[Progress] = []
    found = engine.explain(request, options, emit=said.append)
    assert {name: passes.count(name) for name in set(passes)} == {"words": 1, "decode": 1, "text": found.replays}
    assert found.replays == options.replays(engine.model_info) == 8 + 2 * (LAYERS + 4)
    sentences = [event.sentence for event in said if isinstance(event, Progress) and event.stage == "replays"]
    assert len(sentences) == found.replays
    assert sentences[0] == "replay 1 of 22: the text as it is, of base"
    assert sentences[2] == "replay 3 of 22: seeing of base, looking of base, saying of everything-1"
    assert sentences[-1] == "replay 22 of 22: looking of everything-1 in layer 1, head 3 of base"
    assert found.timings["replays"] > 0
    passes.clear()
    attribute(engine, None, "everything-1")  # with a given answer not even the words
    assert passes == ["text"] * 8


def test_the_answer_is_written_by_the_variant_whose_answer_is_replayed(models):
    engine = models("dense").engine("eager")
    for writer in (None, "everything-1"):
        request = Request(IMAGE, PROMPT, adapters=(None, "everything-1"), answer_from=writer, max_new_tokens=3)
        comparison = engine.compare(request)
        found = engine.explain(request, AttributionOptions(len(comparison.tokens) - 1))
        assert found.tokens == comparison.tokens
        natural = [recording.logprobs[-1] for recording in comparison.recordings]
        np.testing.assert_allclose(found.outcomes[[0, 1], [0, 1], [0, 1]], natural, atol=1e-5, rtol=0)


def test_adapters_that_do_not_fit_beside_each_other_change_no_number(models, engines):
    """Each switch then reads the other's files again."""
    tight = models("dense").engine("eager", adapter_cache_bytes=1)
    variants = ("everything-1", "tower-2")
    found = attribute(tight, *variants, by="layer")
    assert len(tight.adapters.loaded) == 1
    assert identical(found, attribute(engines("dense", "eager"), *variants, by="layer"))
    assert same_comparison(tight.compare(ask(*variants)), engines("dense", "eager").compare(ask(*variants)))


def test_strength_and_modules_count(engines):
    engine = engines("dense", "eager")
    off = engine.explain(ask(None, "everything-1", scale=0.0), AttributionOptions())
    assert len(np.unique(off.outcomes)) == 1
    only_k = engine.explain(ask(None, "everything-1", modules=("k_proj",)), AttributionOptions())
    whole = attribute(engine, None, "everything-1")
    assert 1e-3 < abs(only_k.total) != abs(whole.total)


# what cannot be asked


def test_more_than_the_byte_budget_is_refused_before_anything_runs(models, monkeypatch):
    exact, less = (models("dense").engine("eager", forced_bytes=given) for given in (10 * MIB, 100))
    prompt = exact.prompt(ask(None, "q_proj-1"))
    rows, keys = len(prompt.tokens), prompt.length
    needed = 2 * LAYERS * 4 * rows * keys * 4
    monkeypatch.setattr(exact.explainer, "forced_bytes", needed)
    attribute(exact, None, "q_proj-1")
    with pytest.raises(InputError, match=r"forced_bytes|FORCED_BYTES"):
        attribute(exact, None, "q_proj-1", token=rows + 1)
    monkeypatch.setattr(less.passes, "text", None)
    monkeypatch.setattr(less.passes, "vision", None)
    with pytest.raises(InputError, match=f"{rows} text rows over {keys} tokens"):
        attribute(less, None, "q_proj-1")


@pytest.mark.parametrize(
    ("request_options", "options", "words"),
    [
        ({"adapters": (None,)}, {}, "two variants; 1"),
        ({"adapters": (None, "q_proj-1", "q_proj-2")}, {}, "two variants; 3"),
        ({"answer": None, "answer_from": "own"}, {}, "each its own"),
        ({}, {"token": 0}, "Token 0 cannot be measured"),
        ({}, {"token": 10_000}, "Token 10000 cannot be measured"),
        ({}, {"by": "head", "layers": (3,)}, "layers 0–2"),
        ({}, {"heads": ((0, 0), (3, 1))}, "layer 3, head 1; this model has layers 0–2 with heads 0–3"),
        ({}, {"heads": ((2, 4),)}, "layer 2, head 4"),
        ({}, {"outcome": "margin"}, "Both variants would say"),
    ],
)
def test_what_cannot_be_measured_is_said(request_options, options, words, engines):
    engine = engines("dense", "eager")
    request = Request(IMAGE, PROMPT, **{"adapters": (None, "nothing-1"), "answer": ANSWER} | request_options)
    engine.compare(request)
    kept = set(engine.cache)
    with pytest.raises(SelectionError, match=words):
        engine.explain(request, AttributionOptions(**options))
    assert set(engine.cache) == kept, "what was read of the image is not lost"


def test_a_token_beyond_the_answer_that_was_written_is_said():
    settings = Settings(model="demo", device="cpu")
    engine = Engine(settings, AdapterCatalog.from_settings(settings))
    request = Request(IMAGE, PROMPT, adapters=(None, "find-red"), max_new_tokens=200)
    written = engine.compare(request)
    assert len(written.recording("find-red").answer_ids) < 200, "it must end before, or this shows nothing"
    kept = set(engine.cache)
    with pytest.raises(SelectionError, match=f"Token {len(written.tokens)} cannot be measured"):
        engine.explain(request, AttributionOptions(len(written.tokens)))
    assert set(engine.cache) == kept, "what was read of the image is not lost"


@pytest.mark.parametrize(
    "options",
    [
        {"token": -1},
        {"token": True},
        {"token": 1.5},
        {"by": "neuron"},
        {"outcome": "probability"},
        {"layers": (0,)},
        {"by": "head", "layers": ()},
        {"by": "head", "layers": (0, 0)},
        {"by": "head", "layers": (-1,)},
        {"heads": ()},
        {"heads": (0, 1)},
        {"heads": ((0, 1), (0, 1))},
        {"heads": ((0, -1),)},
        {"heads": ((0, 1, 2),)},
        {"heads": ("01",)},
        {"heads": ((0, 1), 2)},
    ],
)
def test_options_that_say_nothing_are_refused(options):
    with pytest.raises(SelectionError):
        AttributionOptions(**options)


def test_attention_that_is_incomplete_or_of_other_rows_is_an_error():
    module = torch.nn.Identity()
    module.layer_idx = 0
    kept = KeptAttention(1, 4, first_row=3, keys=5, dtype=torch.float32, device=torch.device("cpu"))
    kept.record(module, slice(0, 2), 3, torch.ones(2, 2, 5))
    with pytest.raises(CaptureError, match="expected 8"):
        kept.check()
    kept.record(module, slice(2, 4), 3, torch.ones(2, 2, 5))
    kept.check()
    with pytest.raises(CaptureError, match="were kept"):
        ForcedAttention(kept).force(module, slice(0, 4), 3, torch.zeros(4, 2, 6))
    with pytest.raises(CaptureError, match="chosen"):
        ForcedAttention(kept, torch.ones(4, dtype=torch.bool))
