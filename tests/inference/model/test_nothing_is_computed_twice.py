"""What is kept between variants and requests is bit for bit what would be computed anew, and spares the passes."""

import gc
import random
import shutil
import weakref
from itertools import count, repeat
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import DynamicCache

from inference.adapters.catalog import AdapterCatalog
from inference.errors import CancelledError, OutOfMemoryError
from inference.model.cache import CacheKey, Generation, InferenceCache, PrefixCache, VisionFeatures
from inference.model.capture import tiled_attention
from inference.model.engine import Engine
from inference.model.image_input import ImageInput
from inference.recording import Recording
from inference.records import AnswerToken
from inference.request import Request
from inference.settings import Settings
from tests import upstream
from tests.adapters import LANGUAGE, edit_weights, write_adapter
from tests.conftest import picture

PROMPT, OTHER = "What is in the middle?", "Where is the red thing, and what is beside it?"
IMAGE = picture(96, 160)


@pytest.fixture(scope="module")
def folders(tmp_path_factory, dense) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("adapters")
    tower = rf"({LANGUAGE})|(.*visual\.blocks\.\d+\.attn\.(qkv|proj))"
    return {
        "one": write_adapter(folder / "one", dense, seed=1),
        "two": write_adapter(folder / "two", dense, seed=2),
        "vision": write_adapter(folder / "vision", dense, seed=3, target_modules=tower),
        "dora": write_adapter(folder / "dora", dense, seed=4, use_dora=True),
        "saved": write_adapter(folder / "saved", dense, seed=5, modules_to_save=["visual"]),
    }


def engine(checkpoint: Path, folders: dict[str, Path], **settings) -> Engine:
    return Engine(
        Settings(model=str(checkpoint), device="cpu", **{"attention": "rows"} | settings), AdapterCatalog(folders)
    )


def ask(engine: Engine, *adapters: str | None, image=IMAGE, prompt=PROMPT, **more) -> tuple[Recording, ...]:
    return engine.compare(Request(image, prompt, adapters=adapters, **{"max_new_tokens": 6} | more)).recordings


def identical(one: Recording, other: Recording) -> bool:
    names = ("by_token", "by_head", "group_share", "background", "background_low", "logprobs")
    pairs = [(getattr(one, name), getattr(other, name)) for name in names]
    pairs.append(tuple(np.zeros(0) if r.vision_received is None else r.vision_received for r in (one, other)))
    same = (one.adapter, one.answer, one.answer_ids, one.tokens, one.focus) == (
        other.adapter,
        other.answer,
        other.answer_ids,
        other.tokens,
        other.focus,
    )
    return same and all(np.array_equal(a, b) for a, b in pairs)


class Counted:
    """How often each pass ran, and over how many tokens the language model went."""

    def __init__(self, engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
        self.passes: dict[str, int] = {}
        untouched = engine.passes.probe(engine.prompts)
        for name in ("vision", "image", "words", "decode", "replay"):
            original = getattr(engine.passes, name)

            def counted(*arguments, _name=name, _original=original, **options):
                self.passes[_name] = self.passes.get(_name, 0) + 1
                return _original(*arguments, **options)

            monkeypatch.setattr(engine.passes, name, counted)
        monkeypatch.setattr(engine.passes, "probe", lambda prompts: untouched)  # of adapters' loading

    def take(self) -> dict[str, int]:
        taken, self.passes = self.passes, {}
        return taken


def test_each_variant_reads_image_and_prompt_once_for_its_answer_and_its_replay(dense, folders, monkeypatch):
    ours = engine(dense, folders)
    counted = Counted(ours, monkeypatch)
    ask(ours, None, "one", "two")
    assert counted.take() == {"vision": 1, "image": 3, "words": 3, "decode": 3, "replay": 3}
    ask(ours, None, "one", "two", vision_tower=True)  # its rows come from the pass that makes the features
    assert counted.take() == {"vision": 1, "image": 3, "words": 3, "decode": 3, "replay": 3}


def test_patches_live_only_while_a_tower_reads_them(dense, folders, monkeypatch):
    """They are 24 KiB per image token; a variant with a tower of its own makes them again, and the same."""
    ours, made, digests = engine(dense, folders), [], []
    patches, decode = ImageInput.patches, ours.passes.decode

    def watched(image):
        made.append(weakref.ref(fresh := patches(image)))
        digests.append(fresh.tobytes())
        return fresh

    def decoding(*arguments, **options):
        assert [patch() for patch in made] == [None] * len(made)
        return decode(*arguments, **options)

    ask(ours, "vision", image=picture(32, 32))  # loaded: its probe reads an image of its own
    monkeypatch.setattr(ImageInput, "patches", watched)
    monkeypatch.setattr(ours.passes, "decode", decoding)
    gc.disable()
    try:
        ask(ours, None, "vision")
        ask(ours, None, "vision", prompt=OTHER)
    finally:
        gc.enable()
    assert len(made) == 2, "once for base, once for the adapter's own tower, and never for an image that is known"
    assert digests[0] == digests[1]


def test_features_are_gone_before_an_answer_and_rows_and_cache_before_the_next_adapter_is_loaded(
    dense, folders, monkeypatch
):
    ours, made, seen = engine(dense, folders, kept_bytes=0), [], []
    recorder, image, load = ours.passes.recorder, ours.passes.image, ours.adapters.load
    vision, decode = ours.passes.vision, ours.passes.decode

    def recording(*arguments):
        made.append(weakref.ref(fresh := recorder(*arguments)))
        return fresh

    def reading(*arguments):
        prefix = image(*arguments)
        made.append(weakref.ref(prefix.cache))
        return prefix

    def seeing(*arguments, **options):
        features = vision(*arguments, **options)
        seen.append(weakref.ref(features.pooled))
        return features

    def decoding(*arguments):
        assert [reference() for reference in seen] == [None] * len(seen)
        return decode(*arguments)

    def loading(name):
        assert [reference() for reference in made] == [None] * len(made)
        return load(name)

    monkeypatch.setattr(ours.passes, "vision", seeing)
    monkeypatch.setattr(ours.passes, "decode", decoding)
    monkeypatch.setattr(ours.passes, "recorder", recording)
    monkeypatch.setattr(ours.passes, "image", reading)
    monkeypatch.setattr(ours.adapters, "load", loading)
    gc.disable()
    try:
        ask(ours, "one", "two", "vision")
    finally:
        gc.enable()
    assert len(made) == 2 * 3
    assert len(seen) > 3, "each variant's, and those of the probes"


def test_the_tower_gives_the_same_features_with_and_without_its_rows(dense, folders):
    ours = engine(dense, folders, tile_bytes=3_000)
    prompt = ours.prompt(Request(IMAGE, PROMPT))
    recorded, plain = (ours.passes.vision(prompt.image, record) for record in (True, False))
    torch.testing.assert_close(recorded.pooled, plain.pooled, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(recorded.deepstack, plain.deepstack, atol=1e-5, rtol=1e-5)
    assert plain.received is None
    assert recorded.received.shape[1:] == prompt.image.grid_thw[1:]


def test_another_token_of_the_same_answer_reads_no_image_again(dense, folders, monkeypatch):
    ours = engine(dense, folders)
    counted = Counted(ours, monkeypatch)
    first = ask(ours, None, "one")
    ids = first[1].answer_ids
    counted.take()
    for focus in (0, len(first[0].tokens) - 1):  # a prompt row and an answer row
        clicked = ask(ours, None, "one", answer=ids, focus=(focus,))
        assert counted.take() == {"words": 2, "replay": 2}
        fresh = ask(engine(dense, folders), None, "one", answer=ids, focus=(focus,))
        assert all(map(identical, clicked, fresh))


def test_another_adapter_on_the_same_image_and_prompt_leaves_what_base_read_and_wrote(dense, folders, monkeypatch):
    ours = engine(dense, folders)
    counted = Counted(ours, monkeypatch)
    ask(ours, None, "one")
    counted.take()
    second = ask(ours, None, "two")
    assert counted.take() == {"image": 1, "words": 2, "decode": 2, "replay": 2}  # a kept answer is not decoded: below
    assert all(map(identical, second, ask(engine(dense, folders), None, "two")))


def test_a_kept_answer_is_said_again_token_by_token_and_not_written_again(dense, folders, monkeypatch):
    ours = engine(dense, folders)
    events: list[list[object]] = [[], []]
    request = Request(IMAGE, PROMPT, adapters=(None, "one"), max_new_tokens=6)
    ours.compare(request, events[0].append)

    def nothing_is_decoded(*arguments, **options):
        raise AssertionError("decoded again")
        yield

    monkeypatch.setattr(ours.passes, "decode", nothing_is_decoded)
    ours.compare(request, events[1].append)
    told = [[event for event in each if isinstance(event, AnswerToken)] for each in events]
    assert told[0] == told[1]
    assert {event.adapter for event in told[0]} == {None, "one"}


def test_another_question_about_the_image_leaves_what_was_read_of_it(dense, folders, monkeypatch):
    ours = engine(dense, folders)
    counted = Counted(ours, monkeypatch)
    ask(ours, None, "one")
    counted.take()
    second = ask(ours, None, "one", prompt=OTHER)
    assert counted.take() == {"words": 2, "decode": 2, "replay": 2}
    assert all(map(identical, second, ask(engine(dense, folders), None, "one", prompt=OTHER)))
    ask(ours, None, prompt=OTHER, system="Answer in one word.")  # other words before the image: read again
    assert counted.take() == {"image": 1, "words": 1, "decode": 1, "replay": 1}


@pytest.mark.parametrize("attention", ["rows", pytest.param("eager", marks=pytest.mark.slow)])
def test_random_requests_in_random_order_equal_those_of_fresh_engines_bit_for_bit(dense, folders, attention):
    """Base, adapters, strengths, images, prompts, answers, focus and the vision tower, all through one engine."""
    images = {"wide": IMAGE, "tall": picture(160, 64, seed=2)}
    requests = [
        {"adapters": (None, "one"), "image": "wide"},
        {"adapters": ("one", None), "image": "wide", "answer_from": None},
        {"adapters": (None, "vision", "two"), "image": "wide"},
        {"adapters": ("vision",), "image": "tall", "vision_tower": True},
        {"adapters": (None, "two"), "image": "tall", "prompt": OTHER},
        {"adapters": (None, "one"), "image": "tall", "answer": (70, 71, 72), "focus": (2,)},
        {"adapters": (None, "one"), "image": "wide", "scale": 0.5, "prompt": OTHER},
        {"adapters": ("one",), "image": "wide", "modules": ("q_proj",)},
        {"adapters": (None, "two"), "image": "wide", "vision_tower": True, "max_new_tokens": 3},
        {"adapters": ("two", None), "image": "tall", "answer_from": "own", "system": "Be short."},
        {"adapters": (None,), "image": "wide", "max_new_tokens": 2},
        {"adapters": (None, "dora"), "image": "wide"},
        {"adapters": (None, "saved"), "image": "wide"},
    ]

    def run(ours, options):
        options = dict(options)
        return ask(ours, *options.pop("adapters"), image=images[options.pop("image")], **options)

    if attention == "eager":
        requests = requests[:5]

    fresh = [run(engine(dense, folders, attention=attention), each) for each in requests]
    rng = random.Random(4)
    for bound in (2**30, 150_000) if attention == "rows" else (2**30,):  # everything is kept; or hardly anything
        ours = engine(dense, folders, attention=attention, kept_bytes=bound)
        for index in rng.choices(range(len(requests)), k=16):
            got = run(ours, requests[index])
            assert all(map(identical, got, fresh[index])), requests[index]
            assert ours.cache.bytes <= bound
    assert {None, "one", "vision"} <= {each.adapter for each in fresh[0] + fresh[2]}


def test_a_kept_image_and_a_fresh_full_pass_of_upstream_agree(dense, folders):
    """The answer's rows on a cache that served other questions before, against one pass over the whole sequence."""
    ours = engine(dense, folders)
    ask(ours, None, "one", prompt=OTHER)
    ask(ours, None, "one", image=picture(224, 64, seed=2))
    answer = (70, 71, 72, 73)
    recording = ask(ours, None, answer=answer)[0]
    prompt = ours.prompt(Request(IMAGE, PROMPT))
    reference = upstream.attentions(upstream.load(dense), prompt, answer[:-1])
    for index, token in enumerate(recording.tokens):
        row = reference[:, :, token.query, prompt.image_start : prompt.image_end].mean(axis=1)
        np.testing.assert_allclose(recording.by_token[index].reshape(row.shape), row, atol=1e-5, rtol=0)


def test_files_that_changed_between_two_loadings_do_not_meet_what_was_read_before(dense, folders, tmp_path):
    folder = shutil.copytree(folders["one"], tmp_path / "changing")
    ours = engine(dense, {"changing": folder})
    before = ask(ours, "changing")[0]
    edit_weights(folder, lambda tensors: {key: each * 2 for key, each in tensors.items()})
    ours.adapters.evict("changing")
    after = ask(ours, "changing")[0]
    assert not identical(before, after)
    assert identical(after, ask(engine(dense, {"changing": folder}), "changing")[0])
    variants = {key.variant for key in ours.cache}
    assert len(variants - {None}) == 1, "what an adapter read that left the model is dropped"


@pytest.mark.slow
@pytest.mark.parametrize("known", [True, False], ids=["a known image", "a new image"])
def test_an_analysis_stopped_anywhere_leaves_nothing_half_read(dense, folders, known):
    """Stopped at every question "stop?" in turn, and then asked again to the end."""
    request = Request(IMAGE, OTHER, adapters=(None, "one"), max_new_tokens=6)
    expected = engine(dense, folders).compare(request).recordings
    ours = engine(dense, folders)
    ours.compare(request)
    for steps in count():
        ours.cache.discard(lambda key: key.new_tokens > 0 or not known)  # answers are written anew
        left = repeat(False, steps)
        try:
            ours.compare(request, stop=lambda left=left: next(left, True))
        except CancelledError:
            assert all(map(identical, ours.compare(request).recordings, expected)), steps
        else:
            break
    assert steps > 20


def test_when_memory_lacks_what_was_kept_makes_way_and_the_analysis_is_tried_again(dense, folders, monkeypatch):
    ours = engine(dense, folders)
    expected = ask(ours, None, "one")
    ask(ours, None, image=picture(64, 96))
    replay, failures = ours.passes.replay, iter([True])

    def lacking(*arguments, **options):
        if next(failures, False):
            raise RuntimeError("[enforce fail at alloc_cpu.cpp] DefaultCPUAllocator: can't allocate memory")
        return replay(*arguments, **options)

    monkeypatch.setattr(ours.passes, "replay", lacking)
    assert all(map(identical, ask(ours, None, "one"), expected))
    failures = iter([True] * 9)
    with pytest.raises(OutOfMemoryError, match="ran out of memory"):
        ask(ours, None, "one")
    assert ours.cache.bytes == 0
    failures = iter([])
    assert all(map(identical, ask(ours, None, "one"), expected))


def test_what_is_kept_never_exceeds_its_bound_and_leaves_least_recently_used():
    def key(name: str) -> CacheKey:
        return CacheKey(name, False, None)

    kept = InferenceCache(1_000)
    for name in "abc":
        kept.keep(key(name), VisionFeatures(torch.zeros(100), (), None))  # 400 bytes
    assert kept.get(key("a"), VisionFeatures) is None
    assert kept.get(key("b"), VisionFeatures) is not None
    kept.keep(key("d"), VisionFeatures(torch.zeros(100), (), None))
    assert kept.get(key("c"), VisionFeatures) is None
    assert kept.bytes == 800
    kept.keep(key("large"), VisionFeatures(torch.zeros(1_000), (), None))
    assert kept.get(key("large"), VisionFeatures) is None
    assert kept.bytes == 800
    assert kept.take(key("b"), VisionFeatures) is not None
    assert kept.take(key("b"), VisionFeatures) is None
    nothing = InferenceCache(0)
    for value in (VisionFeatures(torch.zeros(1), (), None), Generation((1,))):
        nothing.keep(key("a"), value)
        assert nothing.get(key("a"), type(value)) is None


def test_what_is_kept_is_measured_once_however_much_comes_after_it():
    """Thousands of small images fit: a sum over all their tensors with each new one would cost more than the model."""
    measured: list[str] = []

    class Counted(Generation):
        @property
        def bytes(self) -> int:
            measured.append("once")
            return 10

    kept = InferenceCache(1_000)
    for index in range(150):
        kept.keep(CacheKey(str(index), False, None), Counted((index,)))
    assert (kept.bytes, len(list(kept)), len(measured)) == (1_000, 100, 150)


def test_a_view_counts_with_the_storage_that_it_keeps_alive():
    assert VisionFeatures(torch.zeros(100)[:10], (), None).bytes == 400
    cache = DynamicCache()
    cache.update(torch.zeros(1, 2, 30, 4), torch.zeros(1, 2, 30, 4), 0)
    reading = PrefixCache(cache)
    reading.cut(10)
    assert cache.get_seq_length() == 10
    assert reading.bytes == 2 * 2 * 30 * 4 * 4


@pytest.mark.parametrize("tile_bytes", [1, 3_000, 70_000, 2**30])
@pytest.mark.parametrize("kv_heads", [1, 2, 6])
@pytest.mark.parametrize("masking", ["none", "causal", "bool", "additive"])
def test_tiles_of_any_size_give_sdpas_output_and_eagers_weights(tile_bytes, kv_heads, masking):
    torch.manual_seed(0)
    heads, queries, keys, dim = 6, 37, 53, 8
    query, key = torch.randn(1, heads, queries, dim), torch.randn(1, kv_heads, keys, dim)
    value = torch.randn(1, kv_heads, keys, 5)
    visible = torch.arange(keys) <= torch.arange(queries)[:, None] + keys - queries
    mask = {
        "none": None,
        "causal": None,
        "bool": visible[None, None],
        "additive": torch.zeros(1, 1, queries, keys).masked_fill(~visible, -torch.inf),
    }[masking]
    shown = torch.full((heads, queries, keys), torch.nan)

    def record(own, first, weights):
        rows = slice(first - (keys - queries), first - (keys - queries) + weights.shape[1])
        assert torch.isnan(shown[own, rows]).all(), "each row once"
        assert weights.dtype == torch.float32
        assert weights.numel() * 4 <= max(tile_bytes, 4 * keys * heads // kv_heads)
        shown[own, rows] = weights

    output = tiled_attention(query, key, value, mask, 0.3, masking == "causal", tile_bytes, record)
    expanded = [each.repeat_interleave(heads // kv_heads, dim=1) for each in (key, value)]
    bias = torch.zeros(queries, keys).masked_fill(~visible if masking != "none" else ~torch.ones_like(visible), -1e30)
    weights = torch.softmax(query @ expanded[0].transpose(2, 3) * 0.3 + bias, dim=-1)
    sdpa = torch.nn.functional.scaled_dot_product_attention(query, *expanded, attn_mask=bias, scale=0.3)
    torch.testing.assert_close(shown, weights[0], atol=1e-6, rtol=0)
    torch.testing.assert_close(output.transpose(1, 2), sdpa, atol=1e-5, rtol=0)
    if masking != "none":
        assert float(shown[:, ~visible].abs().max()) == 0
