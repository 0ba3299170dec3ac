"""Every accepted kind of adapter against scaling · B · A added by hand; base stays base; the rest is refused."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from peft.tuners.lora import LoraModel
from safetensors.torch import save_file

from inference.adapters.catalog import AdapterCatalog
from inference.errors import AdapterRefusedError, InputError, UnknownAdapterError
from inference.model.context import RequestContext, Stages
from inference.model.engine import Engine
from inference.model.passes import Passes
from inference.model.variant_pass import VariantPass
from inference.recording import Recording
from inference.request import Request
from inference.settings import Settings
from tests import upstream
from tests.adapters import EXPERTS, KINDS, add_by_hand, edit_config, edit_weights, write_adapter
from tests.conftest import picture

PROMPT, ANSWER = "What is in the middle?", (70, 71, 72, 73)


def engine(checkpoint: Path, folders: dict[str, Path], **settings) -> Engine:
    return Engine(
        Settings(model=str(checkpoint), device="cpu", **{"attention": "eager"} | settings), AdapterCatalog(folders)
    )


def ask(engine: Engine, *adapters: str | None, **more) -> tuple[Recording, ...]:
    request = Request(picture(96, 160), PROMPT, adapters=adapters, **{"answer": ANSWER} | more)
    return engine.compare(request).recordings


def arrays(recording: Recording) -> list[np.ndarray]:
    return [recording.by_token, recording.by_head, recording.group_share, recording.background, recording.logprobs]


def identical(one: Recording, other: Recording) -> bool:
    return all(np.array_equal(a, b) for a, b in zip(arrays(one), arrays(other), strict=True))


@pytest.mark.parametrize("kind", KINDS)
def test_rows_equal_those_of_an_upstream_model_with_the_adapter_added_by_hand(kind, request, tmp_path):
    checkpoint, options = KINDS[kind]
    base = request.getfixturevalue(checkpoint)
    folder = write_adapter(tmp_path / "adapter", base, **options)
    plain, adapted = ask(engine(base, {"adapter": folder}), None, "adapter")
    by_hand = upstream.load(base)
    prompt = upstream.build_prompt(base, picture(96, 160), PROMPT)
    before = upstream.attentions(by_hand, prompt, ANSWER[:-1])
    add_by_hand(by_hand, folder)
    with torch.no_grad():
        logits = by_hand(**upstream.inputs(prompt, ANSWER)).logits[0].float()
    after = upstream.attentions(by_hand, prompt, ANSWER[:-1])
    image = slice(prompt.image_start, prompt.image_end)
    for recording, reference in ((plain, before), (adapted, after)):
        for index, token in enumerate(recording.tokens):
            rows = reference[:, :, token.query, image]
            np.testing.assert_allclose(
                recording.by_token[index].reshape(len(rows), -1), rows.mean(axis=1), atol=1e-5, rtol=0
            )
            np.testing.assert_allclose(recording.image_share[index], rows.sum(axis=-1), atol=1e-5, rtol=0)
        focus = recording.tokens[recording.focus[0]].query
        heads = reference[:, :, focus, image].reshape(recording.by_head.shape)
        np.testing.assert_allclose(recording.by_head, heads, atol=1e-5, rtol=0)
    start = len(prompt.input_ids)
    expected = [float(torch.log_softmax(logits[start + i - 1], -1)[token]) for i, token in enumerate(ANSWER)]
    np.testing.assert_allclose(adapted.logprobs, expected, atol=1e-4)
    assert np.abs(adapted.logprobs - plain.logprobs).max() > 1e-3, "the adapter must do something"


@pytest.fixture(scope="module")
def pair(tmp_path_factory, dense) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("pair")
    untouched = write_adapter(folder / "untouched", dense)
    edit_weights(untouched, lambda tensors: {k: v * 0 if "lora_B" in k else v for k, v in tensors.items()})
    return {
        "one": write_adapter(folder / "one", dense, seed=1),
        "two": write_adapter(folder / "two", dense, seed=2, target_modules="all-linear"),
        "untouched": untouched,
        "vision": write_adapter(folder / "vision", dense, seed=3, **KINDS["vision"][1]),
    }


def test_base_is_bit_identical_before_between_and_after_adapters_and_to_a_model_never_wrapped(dense, pair):
    never_wrapped = ask(engine(dense, {}), None)[0]
    ours = engine(dense, pair)
    before = ask(ours, None)[0]
    one, between, two = ask(ours, "one", None, "two")
    after = ask(ours, None)[0]
    for base in (before, between, after):
        assert identical(base, never_wrapped)
    assert not identical(one, between)
    assert not identical(two, between)


def test_base_is_bit_identical_after_an_exception_inside_an_adapters_forward_pass(dense, pair, monkeypatch):
    from peft.tuners.lora import Linear

    ours = engine(dense, pair)
    before, one = ask(ours, None, "one")
    calls = iter(range(10_000))
    original = Linear.forward

    def fails_later(self, *arguments, **options):
        if next(calls) == 7:
            raise ZeroDivisionError("thrown inside an adapter")
        return original(self, *arguments, **options)

    monkeypatch.setattr(Linear, "forward", fails_later)
    with pytest.raises(ZeroDivisionError):
        ask(ours, "one")
    monkeypatch.undo()
    assert identical(ask(ours, None)[0], before)
    assert identical(ask(ours, "one")[0], one)


def test_equal_requests_are_bit_identical_whatever_the_order_of_adapters(dense, pair):
    ours = engine(dense, pair)
    forward = dict(zip(order := (None, "one", "two", "vision"), ask(ours, *order), strict=True))
    backward = dict(zip(order[::-1], ask(ours, *order[::-1]), strict=True))
    again = dict(zip(order, ask(ours, *order), strict=True))
    fresh = dict(zip(order, ask(engine(dense, pair), *order), strict=True))
    for name in order:
        assert identical(forward[name], backward[name])
        assert identical(forward[name], again[name])
        assert identical(forward[name], fresh[name])


def test_an_answer_that_was_generated_and_the_same_one_given_make_bit_identical_rows(dense, pair):
    ours = engine(dense, pair)
    generated = ask(ours, None, "one", answer=None, max_new_tokens=6)
    replayed = ask(ours, None, "one", answer=generated[1].answer_ids)
    for one, other in zip(generated, replayed, strict=True):
        assert identical(one, other)
    assert replayed[0].answer is None
    assert replayed[0].answer_ids == ()


def test_untouched_minus_base_is_exactly_zero_everywhere(dense, pair):
    for attention in ("eager", "rows"):
        base, untouched = ask(engine(dense, pair, attention=attention), None, "untouched")
        assert identical(base, untouched)


def test_strength_zero_is_exactly_base_and_half_is_half_of_the_weights_by_hand(dense, pair, tmp_path):
    ours = engine(dense, pair)
    base, off = ask(ours, None, "one", scale=0.0)
    assert identical(base, off)
    half = ask(ours, "one", scale=0.5)[0]
    halved = shutil.copytree(pair["one"], tmp_path / "halved")
    edit_weights(halved, lambda tensors: {k: v * 0.5 if "lora_B" in k else v for k, v in tensors.items()})
    np.testing.assert_allclose(half.by_token, ask(engine(dense, {"h": halved}), "h")[0].by_token, atol=1e-6)
    assert identical(ask(ours, "one")[0], ask(engine(dense, pair), "one")[0]), "the strength must come back to 1"


def test_modules_that_are_off_count_nothing(dense, pair, tmp_path):
    ours = engine(dense, pair)
    only = ask(ours, "one", modules=("q_proj",))[0]
    cut = shutil.copytree(pair["one"], tmp_path / "cut")
    edit_weights(cut, lambda ts: {k: v * 0 if "lora_B" in k and "q_proj" not in k else v for k, v in ts.items()})
    np.testing.assert_allclose(only.by_token, ask(engine(dense, {"cut": cut}), "cut")[0].by_token, atol=1e-6)
    with pytest.raises(InputError, match="no modules nonsense"):
        ask(ours, "one", modules=("nonsense",))
    assert identical(ask(ours, "one")[0], ask(engine(dense, pair), "one")[0])


def test_a_kept_cache_of_one_image_is_right_after_another_image_was_read(dense, pair):
    """Prefill A, prefill B, continue A = a fresh full pass of A: the model's kept `rope_deltas` must not leak in."""
    ours = engine(dense, pair)
    a, b = picture(96, 160, seed=1), picture(224, 64, seed=2)

    def read(image):
        prompt = ours.prompt(Request(image, PROMPT))
        request = Request(image, PROMPT, answer=ANSWER, focus=(len(prompt.tokens) + 2,))
        context = RequestContext(request, prompt, ANSWER, Stages(lambda event: None, lambda: False))
        base = VariantPass(context, None, None, False, ours.passes, ours.cache)
        base.read_image(base.see())
        base.read()
        return base

    base = read(a)
    read(b)
    recording, prompt = base.replay(ANSWER), base.context.prompt
    reference = upstream.attentions(upstream.load(dense), prompt, ANSWER[:-1])
    rows = reference[:, :, recording.tokens[recording.focus[0]].query, prompt.image_start : prompt.image_end]
    np.testing.assert_allclose(recording.by_head, rows.reshape(recording.by_head.shape), atol=1e-5, rtol=0)


def test_vision_features_are_computed_once_for_all_variants_that_leave_the_tower_alone(dense, pair, monkeypatch):
    ours = engine(dense, pair)
    calls = []
    original = ours.checkpoint.model.model.get_image_features
    monkeypatch.setattr(
        ours.checkpoint.model.model, "get_image_features", lambda *a, **k: calls.append(1) or original(*a, **k)
    )
    untouched = ours.passes.probe(ours.prompts)
    monkeypatch.setattr(ours.passes, "probe", lambda prompts: untouched)
    calls.clear()
    ask(ours, None, "one", "two")
    assert len(calls) == 2  # "two" is all-linear: it touches the tower too
    ask(ours, None, "one", "vision")
    assert len(calls) == 3
    own = ask(ours, "vision")[0]
    assert identical(own, ask(engine(dense, pair), "vision")[0])


def test_files_that_changed_between_two_loadings_do_not_meet_the_old_vision_features(dense, pair, tmp_path):
    folder = shutil.copytree(pair["vision"], tmp_path / "changing")
    ours = engine(dense, {"changing": folder})
    before = ask(ours, "changing")[0]
    edit_weights(folder, lambda ts: {k: v * 2 for k, v in ts.items()})
    ours.adapters.evict("changing")
    after = ask(ours, "changing")[0]
    assert not identical(before, after)
    assert identical(after, ask(engine(dense, {"changing": folder}), "changing")[0])


def test_adapters_are_evicted_least_recently_used_and_come_back_the_same(dense, pair):
    roomy = engine(dense, pair)
    first, sizes = {}, []
    for name in ("one", "two", "vision"):
        before = roomy.adapters.bytes
        first[name] = ask(roomy, name)[0]
        sizes.append(roomy.adapters.bytes - before)
    most = max(sizes) + min(sizes)
    tight = engine(dense, pair, adapter_cache_bytes=most)
    for name in ("one", "two", "vision", "one", "two"):
        assert identical(ask(tight, name)[0], first[name])
        assert tight.adapters.bytes <= most
    assert tight.adapters.loaded[-1] == "two"
    assert identical(ask(tight, None)[0], ask(roomy, None)[0])


@pytest.mark.slow
def test_experts_of_two_adapters_with_different_parameters_do_not_mix(moe, tmp_path):
    folders = {
        "up": write_adapter(tmp_path / "up", moe, seed=1, target_modules=["q_proj"], target_parameters=EXPERTS[:1]),
        "both": write_adapter(tmp_path / "both", moe, seed=2, target_modules=["q_proj"], target_parameters=EXPERTS),
        "too": write_adapter(tmp_path / "too", moe, seed=3, target_modules=["v_proj"], target_parameters=EXPERTS),
        "plain": write_adapter(tmp_path / "plain", moe, seed=4),
    }
    alone = {name: ask(engine(moe, {name: folder}), name)[0] for name, folder in folders.items()}
    ours = engine(moe, folders)
    for name in ("up", "both", "plain", "too", "both", "up", "plain"):
        np.testing.assert_allclose(ask(ours, name)[0].by_token, alone[name].by_token, atol=1e-6, rtol=0)


@pytest.mark.slow
def test_whole_modules_and_what_others_adapt_inside_them_do_not_mix(dense, pair, tmp_path):
    folders = pair | {
        "tower": write_adapter(tmp_path / "tower", dense, seed=4, **KINDS["tower-saved"][1]),
        "attention": write_adapter(tmp_path / "attention", dense, seed=5, **KINDS["attention-saved"][1]),
        "tower-too": write_adapter(tmp_path / "too", dense, seed=6, **KINDS["tower-saved"][1]),
    }
    alone = {name: ask(engine(dense, {name: folder}), name)[0] for name, folder in folders.items()}
    ours = engine(dense, folders)
    for name in ("vision", "tower", "tower-too", "vision", "attention", "one", "tower", "attention"):
        assert identical(ask(ours, name)[0], alone[name]), name
    ask(ours, "tower", "tower-too")
    assert ours.adapters.loaded == ("tower", "tower-too"), "the same module replaced by two: both stay"


@pytest.mark.parametrize("kind", ["tower-saved", "attention-saved"])
def test_replaced_attention_is_recorded_on_the_path_that_is_asked_for(dense, tmp_path, kind):
    folders = {"saved": write_adapter(tmp_path / "saved", dense, **KINDS[kind][1])}
    fresh = ask(engine(dense, folders, attention="rows"), None, "saved", vision_tower=True)
    ours = engine(dense, folders, attention="eager")
    ask(ours, None, "saved")
    ours.passes.attention = "rows"
    ours.cache.clear()
    for got, theirs in zip(ask(ours, None, "saved", vision_tower=True), fresh, strict=True):
        assert identical(got, theirs)
        assert np.array_equal(got.vision_received, theirs.vision_received)
    assert not np.array_equal(fresh[0].vision_received, fresh[1].vision_received)


def test_a_part_that_is_off_changes_no_vision_tower(dense, pair):
    ours = engine(dense, pair)

    def said(**more) -> bool:
        request = Request(picture(96, 160), PROMPT, adapters=(None, "vision"), answer=ANSWER, **more)
        return any("vision tower" in note for note in ours.compare(request).notes)

    assert [said(), said(modules=("qkv",)), said(modules=("q_proj",)), said(scale=0.0)] == [True, True, False, False]


def test_description_comes_from_the_files(dense, pair, tmp_path):
    folder = write_adapter(
        tmp_path / "a", dense, r=3, lora_alpha=5, use_rslora=True, target_modules=["q_proj", "v_proj"]
    )
    edit_config(folder, base_model_name_or_path="someone/another-model")
    (info,) = AdapterCatalog({"a": folder}, model="someone/this-model").describe()
    assert (info.kind, info.rank, info.alpha) == ("rsLoRA", 3, 5.0)
    assert info.target_modules == ("q_proj", "v_proj")
    assert info.parameters == 3 * 3 * (64 + 64 + 64 + 32)  # layers · r · (in + out) of q and v
    assert not info.touches_vision
    assert any("another base model" in note for note in info.notes)
    (info,) = AdapterCatalog({"a": folder}, model="/models/another-model").describe()
    assert not info.notes
    assert AdapterCatalog(pair).describe()[3].touches_vision


def test_a_folder_of_training_checkpoints_is_a_family_in_step_order(dense, pair, tmp_path):
    run = tmp_path / "runs" / "my-run"
    for step in (1000, 200, 30):
        shutil.copytree(pair["one"], run / f"checkpoint-{step}")
    (run / "checkpoint-7").mkdir()  # holds nothing
    shutil.copytree(pair["two"], tmp_path / "runs" / "final")
    infos = AdapterCatalog(adapters_dir=tmp_path / "runs").describe()
    steps = ["my-run-checkpoint-30", "my-run-checkpoint-200", "my-run-checkpoint-1000"]
    assert [(info.name, info.step) for info in infos if info.usable] == [
        ("final", None),
        *zip(steps, (30, 200, 1000), strict=True),
    ]
    assert {info.family for info in infos[1:4]} == {"my-run"}
    assert list(AdapterCatalog(adapters_dir=run).names) == steps
    assert list(AdapterCatalog({"x": run}).names) == ["x-checkpoint-30", "x-checkpoint-200", "x-checkpoint-1000"]


def _as_pickle(folder: Path) -> None:
    (folder / "adapter_model.safetensors").rename(folder / "adapter_model.bin")


def _cut(folder: Path) -> None:
    path = folder / "adapter_model.safetensors"
    path.write_bytes(path.read_bytes()[:-100])


def _nan(folder: Path) -> None:
    edit_weights(folder, lambda ts: {k: v * float("nan") if i == 2 else v for i, (k, v) in enumerate(ts.items())})


REFUSED = {
    "only a pickle": (_as_pickle, "pickle"),
    "cut short": (_cut, "damaged"),
    "no weights": (lambda f: (f / "adapter_model.safetensors").unlink(), "no adapter_model.safetensors"),
    "no config": (lambda f: (f / "adapter_config.json").unlink(), "no adapter_config.json"),
    "config not JSON": (lambda f: (f / "adapter_config.json").write_text("{"), "not valid JSON"),
    "config not an object": (lambda f: (f / "adapter_config.json").write_text("[]"), "not a JSON object"),
    "not finite": (_nan, "NaN"),
    "a key missing": (lambda f: edit_weights(f, lambda ts: dict(list(ts.items())[1:])), "does not fit"),
    "a key too many": (
        lambda f: edit_weights(
            f, lambda ts: ts | {"base_model.model.model.visual.blocks.99.attn.qkv.lora_A.weight": torch.ones(4, 48)}
        ),
        "'model.visual.blocks.99.attn.qkv'; this model has language layers 0–2 and vision blocks 0–2",
    ),
    "another width": (
        lambda f: edit_weights(f, lambda ts: {k: torch.ones(4, 128) if "lora_A" in k else v for k, v in ts.items()}),
        "128 wide",
    ),
    "modules of another family": (
        lambda f: edit_weights(
            f, lambda ts: {k.replace("language_model.layers", "decoder.h"): v for k, v in ts.items()}
        ),
        "it adapts 'model.decoder.h.0.self_attn.",
    ),
    "two keys for one place": (
        lambda f: edit_weights(
            f, lambda ts: ts | {k.replace("language_model.", ""): v.clone() for k, v in list(ts.items())[:1]}
        ),
        "does not map one to one",
    ),
    "base weights inside": (
        lambda f: edit_weights(
            f, lambda ts: ts | {"base_model.model.model.language_model.norm.weight": torch.ones(64)}
        ),
        "weights of the base model",
    ),
    "bias": (lambda f: edit_config(f, bias="all"), "trains biases"),
    "pissa": (
        lambda f: edit_config(f, init_lora_weights="pissa_niter_16"),
        "largest singular values out of the base weights",
    ),
    "olora": (lambda f: edit_config(f, init_lora_weights="olora"), "orthonormal part out of the base"),
    "corda": (lambda f: edit_config(f, init_lora_weights="corda"), "out of the base weights before training"),
    "lora-ga": (lambda f: edit_config(f, init_lora_weights="lora_ga"), "path_initial_model_for_weight_conversion"),
    "loftq": (lambda f: edit_config(f, init_lora_weights="loftq"), "quantised the base weights"),
    "unknown initialisation": (lambda f: edit_config(f, init_lora_weights="new"), "'new', which is not known here"),
    "another type": (lambda f: edit_config(f, peft_type="IA3"), "not LORA"),
    "unknown option": (lambda f: edit_config(f, brand_new_option=True), "not known here: brand_new_option"),
    "rank not a number": (lambda f: edit_config(f, r="8"), "rank '8'"),
    "rank of another size": (lambda f: edit_config(f, r=2), "does not fit"),
    "alpha not finite": (lambda f: edit_config(f, lora_alpha=float("nan")), "alpha 'nan'"),
    "alpha beyond floats": (lambda f: edit_config(f, lora_alpha=10**400), "alpha '1000"),
    "modules_to_save a number": (lambda f: edit_config(f, modules_to_save=5), "not a list of names"),
    "patterns a list": (lambda f: edit_config(f, rank_pattern=[1, 2]), "does not map names"),
    "target parameters a text": (lambda f: edit_config(f, target_parameters="x"), "not a list of names"),
    "a target that is no pattern": (lambda f: edit_config(f, target_modules="("), "does not fit"),
    "a pattern that is none": (lambda f: edit_config(f, rank_pattern={"(": 3}), "does not fit"),
    "layers of a text target": (lambda f: edit_config(f, layers_to_transform=[1]), "does not fit"),
    "brackets without end": (lambda f: (f / "adapter_config.json").write_text("[" * 200_000), "not valid JSON"),
    "eight-bit weights": (
        lambda f: edit_weights(f, lambda ts: {k: v.to(torch.float8_e4m3fn) for k, v in ts.items()}),
        "float8_e4m3fn",
    ),
    "no such target": (lambda f: edit_config(f, target_modules=["nothing_like_it"]), "does not fit"),
}


@pytest.fixture(scope="module")
def offering_refused(dense, pair, tmp_path_factory) -> tuple[Engine, dict[str, Path], tuple[Recording, ...]]:
    """An engine that offers every adapter of `REFUSED`; their folders by case; and what base and "one" recorded."""
    folder = tmp_path_factory.mktemp("refused")
    bad = {case: shutil.copytree(pair["one"], folder / f"bad-{number}") for number, case in enumerate(REFUSED)}
    for case, (damage, _) in REFUSED.items():
        damage(bad[case])
    ours = engine(dense, pair | {path.name: path for path in bad.values()})
    return ours, bad, ask(ours, None, "one")


@pytest.mark.parametrize("case", REFUSED)
def test_what_would_make_the_picture_untrue_is_refused_and_nothing_is_lost(case, offering_refused, pair):
    ours, folders, (before, one) = offering_refused
    bad = folders[case]
    with pytest.raises(AdapterRefusedError) as caught:
        ask(ours, bad.name)
    assert REFUSED[case][1] in str(caught.value)
    assert str(bad.parent) not in str(caught.value)
    again, still = ask(ours, None, "one")
    assert identical(again, before)
    assert identical(still, one)
    assert AdapterCatalog(pair | {"bad": bad}).names[-1] == "bad"  # still listed


def test_an_unknown_adapter_and_names_that_are_no_labels_are_refused(dense, pair):
    with pytest.raises(UnknownAdapterError, match="one, two, untouched, vision"):
        ask(engine(dense, pair), "three")
    for name in ("base", "own", "../secret", "a b", "", "x" * 65, "<b>"):
        with pytest.raises(InputError):
            AdapterCatalog({name: "/nowhere"})


def test_adapters_for_another_model_size_are_refused(dense, tmp_path):
    from tests.checkpoints import write_checkpoint

    deeper = write_checkpoint(tmp_path / "deeper", "dense", layers=5)
    folder = write_adapter(tmp_path / "adapter", deeper)
    with pytest.raises(AdapterRefusedError, match=r"layers 0–2.*another Qwen3-VL size"):
        ask(engine(dense, {"adapter": folder}), "adapter")


def test_strength_and_parts_are_refused_where_they_are_not_well_defined(dense, tmp_path):
    ours = engine(dense, {"dora": write_adapter(tmp_path / "dora", dense, use_dora=True)})
    with pytest.raises(AdapterRefusedError, match="no well-defined strength"):
        ask(ours, "dora", scale=0.5)
    assert len(ask(ours, "dora", scale=1.0)) == 1


def test_names_that_break_peft_itself_are_taken(dense, pair):
    names = {"keys": pair["one"], "v1.2": pair["two"], "default": pair["vision"]}
    ours = engine(dense, names)
    reference = engine(dense, pair)
    for name, same in (("keys", "one"), ("v1.2", "two"), ("default", "vision")):
        assert identical(ask(ours, name)[0], ask(reference, same)[0])


def test_half_precision_files_are_read_as_their_values(dense, pair, tmp_path):
    half = shutil.copytree(pair["one"], tmp_path / "half")
    edit_weights(half, lambda ts: {k: v.half() for k, v in ts.items()})
    rounded = shutil.copytree(half, tmp_path / "rounded")
    edit_weights(rounded, lambda ts: {k: v.float() for k, v in ts.items()})
    ours = engine(dense, {"half": half, "rounded": rounded})
    assert identical(*ask(ours, "half", "rounded"))


def test_the_config_file_is_not_followed_out_of_its_folder(dense, pair, tmp_path):
    folder = shutil.copytree(pair["one"], tmp_path / "linked")
    config = json.loads((folder / "adapter_config.json").read_text())
    assert "base_model_name_or_path" in config
    edit_config(folder, base_model_name_or_path="/etc/passwd", revision="../../x")
    assert len(ask(engine(dense, {"linked": folder}), "linked")) == 1  # named in a note, never opened
    save_file({}, folder / "adapter_model.safetensors")
    with pytest.raises(AdapterRefusedError):
        ask(engine(dense, {"linked": folder}), "linked")


def test_an_adapter_that_changes_base_although_it_is_off_is_refused_and_base_is_loaded_again(dense, pair, monkeypatch):
    ours = engine(dense, pair)
    before = ask(ours, None)[0]
    original = LoraModel.inject_adapter

    def careless(self, model, *rest, **options):
        original(self, model, *rest, **options)
        if not model.lm_head.weight.is_meta:
            model.lm_head.weight.data[3] += 1e-3

    monkeypatch.setattr(LoraModel, "inject_adapter", careless)
    with pytest.raises(AdapterRefusedError, match="even when it is off"):
        ask(ours, "one")
    monkeypatch.undo()
    assert identical(ask(ours, None)[0], before)
    assert len(ask(ours, "one")) == 1


@pytest.mark.parametrize("moment", ["after attaching", "while probing"])
@pytest.mark.parametrize("thrown", [torch.OutOfMemoryError, ZeroDivisionError])
def test_an_exception_while_an_adapter_is_put_on_the_model_leaves_base_as_it_was(
    dense, pair, monkeypatch, moment, thrown
):
    from inference.errors import OutOfMemoryError

    ours = engine(dense, pair)
    before = ask(ours, None)[0]
    ours.cache.clear()  # nothing can make way for a second try
    if moment == "while probing":
        probe, faults = Passes.probe, [thrown("thrown while probing")]

        def fails_once(self, prompts):
            if faults:
                raise faults.pop()
            return probe(self, prompts)

        monkeypatch.setattr(Passes, "probe", fails_once)
    else:
        original = LoraModel.inject_adapter

        def fails(self, model, *rest, **options):
            original(self, model, *rest, **options)
            if not model.lm_head.weight.is_meta:
                raise thrown("thrown while attaching")

        monkeypatch.setattr(LoraModel, "inject_adapter", fails)
    expected = OutOfMemoryError if thrown is torch.OutOfMemoryError else AdapterRefusedError
    with pytest.raises(expected):
        ask(ours, "one")
    monkeypatch.undo()
    assert identical(ask(ours, None)[0], before)
    assert identical(ask(ours, "one")[0], ask(engine(dense, pair), "one")[0])


@pytest.mark.parametrize("saved", ["lm_head", "q_norm"])
@pytest.mark.parametrize(("model_dtype", "file_dtype"), [("bfloat16", torch.float32), ("float32", torch.bfloat16)])
def test_whole_modules_of_another_precision_than_the_models_are_brought_to_it(
    untied, tmp_path, saved, model_dtype, file_dtype
):
    folder = write_adapter(tmp_path / "a", untied, modules_to_save=[saved])
    edit_weights(folder, lambda ts: {k: v.to(file_dtype) for k, v in ts.items()})
    same = shutil.copytree(folder, tmp_path / "b")
    own = getattr(torch, model_dtype)
    edit_weights(same, lambda ts: {k: v if ".lora_" in k else v.to(own) for k, v in ts.items()})
    ours = engine(untied, {"a": folder, "b": same}, dtype=model_dtype)
    base, one, other = ask(ours, None, "a", "b")
    assert identical(one, other)
    assert not identical(base, one)
