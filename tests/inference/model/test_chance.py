"""Random adapters of equal size: singular values, rows against upstream, and what is called beyond chance."""

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from scipy.spatial.distance import jensenshannon

from inference import ChanceOptions
from inference.adapters.portion import Portion
from inference.errors import AdapterRefusedError, CancelledError, SelectionError
from tests import upstream
from tests.adapters import write_adapter
from tests.inference.model.placed import ANSWER, IMAGE, PROMPT, ask, engine_of

KINDS = ["dense", pytest.param("gqa", marks=pytest.mark.slow)]


@pytest.fixture(params=KINDS)
def model(request, placed):
    return placed(request.param)


@pytest.fixture(params=["eager", "rows"])
def engine(request, model):
    return model.engine(request.param)


def weights_now(engine, adapter: str) -> dict[str, torch.Tensor]:
    """The adapter's tensors as they stand on the model, by the keys of its file."""
    peft_id = engine.adapters.load_id(adapter)
    return {
        f"base_model.model.{name.replace(f'.{peft_id}.', '.')}": each.detach().clone()
        for name, each in engine.checkpoint.model.named_parameters()
        if f".{peft_id}." in name
    }


def changes_of(weights: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """B · A per place."""
    return {
        key: weights[key.replace("lora_A", "lora_B")].double().flatten(1) @ each.double().flatten(1)
        for key, each in weights.items()
        if "lora_A" in key
    }


@pytest.mark.parametrize("adapter", ["language", "tower"])
def test_a_control_has_the_adapters_singular_values_and_other_directions(adapter, placed):
    engine = placed("dense").engine("eager")
    engine.adapters.load(adapter)
    own = weights_now(engine, adapter)
    found = []
    for seed in (0, 1, 0):
        with engine.adapters.use_control(adapter, Portion(), seed):
            found.append(weights_now(engine, adapter))
    for key, change in changes_of(own).items():
        values = np.linalg.svd(change.numpy(), compute_uv=False)
        for control in found:
            other = changes_of(control)[key]
            np.testing.assert_allclose(np.linalg.svd(other.numpy(), compute_uv=False), values, atol=1e-5 * values[0])
            assert np.abs((other - change).numpy()).max() > 0.1 * np.abs(change.numpy()).max()
    assert all(torch.equal(found[0][key], found[2][key]) for key in own)
    assert not any(torch.equal(found[0][key], found[1][key]) for key in own)
    after = weights_now(engine, adapter)
    assert all(torch.equal(after[key], own[key]) for key in own)


@pytest.mark.parametrize("thin", ["rank above the width", "convolution"])
def test_places_of_other_shapes_keep_their_singular_values_too(thin, placed, tmp_path):
    """A rank larger than a side of the matrix; a convolution's A and B as the matrices they multiply as."""
    checkpoint = placed("dense").checkpoint
    config = (
        {"target_modules": ["k_proj"], "r": 80} if thin != "convolution" else {"target_modules": r".*patch_embed\.proj"}
    )
    folder = write_adapter(tmp_path / "odd", checkpoint, seed=3, **config)
    engine = engine_of(checkpoint, {"odd": folder})
    engine.adapters.load("odd")
    own = changes_of(weights_now(engine, "odd"))
    with engine.adapters.use_control("odd", Portion(), 4):
        control = changes_of(weights_now(engine, "odd"))
    for key, change in own.items():
        values = np.linalg.svd(change.numpy(), compute_uv=False)
        np.testing.assert_allclose(np.linalg.svd(control[key].numpy(), compute_uv=False), values, atol=1e-5 * values[0])
        assert not torch.allclose(control[key], change)


@pytest.mark.parametrize("first", [pytest.param(None, marks=pytest.mark.slow), "other"])
def test_its_numbers_are_upstreams_with_the_same_random_weights_in_a_file(first, model, engine, tmp_path):
    request, index = ask(first, "all"), 1
    prompt = upstream.build_prompt(model.checkpoint, IMAGE, PROMPT)
    token = len(prompt.tokens) + index
    found = engine.explain(request, ChanceOptions(token, controls=2, seed=3))
    image = slice(prompt.image_start, prompt.image_end)

    def row(folder) -> np.ndarray:
        loaded = (
            upstream.load(model.checkpoint)
            if folder is None
            else upstream.load_with_adapter(model.checkpoint, folder, torch.float32)
        )
        return upstream.attentions(loaded, prompt, ANSWER[:index])[:, :, -1, image].astype(np.float64)

    def js(p, q) -> np.ndarray:
        return np.array(
            [[jensenshannon(a, b, base=2) ** 2 for a, b in zip(x, y, strict=True)] for x, y in zip(p, q, strict=True)]
        )

    base = row(None if first is None else model.folders[first])
    own = row(model.folders["all"])
    np.testing.assert_allclose(found.divergence, js(base, own), atol=1e-5)
    np.testing.assert_allclose(found.share, own.sum(-1) - base.sum(-1), atol=1e-5)
    for number in range(2):
        folder = tmp_path / f"control{number}"
        folder.mkdir()
        with engine.adapters.use_control("all", Portion(), 3 * 100_003 + number):
            tensors = {key: each.contiguous() for key, each in weights_now(engine, "all").items()}
        save_file(tensors, folder / "adapter_model.safetensors", {"format": "pt"})
        (folder / "adapter_config.json").write_bytes((model.folders["all"] / "adapter_config.json").read_bytes())
        control = row(folder)
        np.testing.assert_allclose(found.controls[number], js(base, control), atol=1e-5)
        np.testing.assert_allclose(found.control_shares[number], control.sum(-1) - base.sum(-1), atol=1e-5)
    assert found.floor.max() < 1e-5
    assert found.replays == 5


def test_beyond_chance_is_above_the_largest_of_all_heads_of_all_controls(placed):
    found = placed("dense").engine("eager").explain(ask(None, "language"), ChanceOptions(controls=3))
    largest = max(float(control.max()) for control in found.controls)
    assert found.threshold == largest
    assert found.level == pytest.approx(1 / 4)
    assert np.array_equal(found.beyond, found.divergence > largest)


def test_the_request_strength_and_modules_hold_for_the_controls_too(placed):
    engine = placed("dense").engine("eager")
    nothing = engine.explain(ask(None, "language", scale=0.0), ChanceOptions(controls=2))
    assert (nothing.divergence == 0).all()
    assert (nothing.controls == 0).all()
    assert not nothing.beyond.any()
    values = engine.explain(ask(None, "language", modules=("v_proj",)), ChanceOptions(controls=1))
    assert (values.controls[0][0] == 0).all()  # values of the first layer move nobody's look there
    assert values.controls[0][1:].max() > 0


def test_the_model_its_adapter_and_what_is_kept_are_as_before_also_after_stop(placed):
    engine = placed("dense").engine("rows")
    request = ask(None, "all")
    before, own = engine.compare(request), weights_now(engine, "all")
    engine.explain(request, ChanceOptions(controls=2))
    said = []
    with pytest.raises(CancelledError):
        engine.explain(
            request,
            ChanceOptions(controls=2),
            emit=said.append,
            stop=lambda: any("random adapter 1" in event.sentence for event in said),
        )
    after, now = engine.compare(request), weights_now(engine, "all")
    assert all(torch.equal(own[key], now[key]) for key in own)
    for one, other in zip(before.recordings, after.recordings, strict=True):
        assert np.array_equal(one.by_head, other.by_head)


@pytest.mark.parametrize(
    ("config", "why"),
    [({"use_dora": True}, "DoRA"), ({"modules_to_save": ["lm_head"]}, "whole modules")],
)
def test_kinds_without_controls_are_refused_with_a_sentence(config, why, placed, tmp_path):
    checkpoint = placed("dense").checkpoint
    folder = write_adapter(tmp_path / "odd", checkpoint, seed=3, **config)
    engine = engine_of(checkpoint, {"odd": folder})
    with pytest.raises(AdapterRefusedError, match=why):
        engine.explain(ask(None, "odd"), ChanceOptions(controls=1))


@pytest.mark.parametrize("variants", [(None,), ("language", None), (None, "language", "other")])
def test_anything_but_one_adapter_beside_a_variant_is_refused(variants, placed):
    with pytest.raises(SelectionError, match="the second of two variants"):
        placed("dense").engine("eager").explain(ask(*variants), ChanceOptions(controls=1))
