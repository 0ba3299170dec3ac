"""An adapter in parts: exact where it has one part only, and against the engine's own comparisons of such adapters."""

import shutil

import numpy as np
import pytest

from inference import PartsOptions
from inference.adapters.portion import Portion, group_of, layer_of
from inference.errors import AdapterRefusedError, SelectionError
from tests.adapters import edit_weights, write_adapter
from tests.inference.model.placed import ask, engine_of

GROUPS = ("vision tower", "q and k", "v and o", "MLP")
OF = {"q-and-k": "q and k", "v-and-o": "v and o", "mlp": "MLP", "tower": "vision tower"}
KINDS = ["dense", pytest.param("moe", marks=pytest.mark.slow)]


@pytest.fixture(params=KINDS)
def model(request, placed):
    return placed(request.param)


def of_comparison(engine, request, variant: int, index: int = 0) -> tuple[float, float]:
    """Log-probability and image share of an answer token, from a comparison."""
    comparison = engine.compare(request)
    recording = comparison.recordings[variant]
    row = len(comparison.tokens) - len(recording.logprobs) + index
    return float(recording.logprobs[index]), float(recording.group_share[row, :, :, 0].astype(np.float64).mean())


@pytest.mark.parametrize("path", ["eager", "rows"])
@pytest.mark.parametrize("adapter", OF)
def test_an_adapter_of_one_group_is_all_of_that_part_and_nothing_of_the_others(adapter, path, placed):
    engine = placed("dense").engine(path)
    found = engine.explain(ask(None, adapter), PartsOptions(strengths=(0, 1)))
    assert found.names[:4] == GROUPS
    for name, logprob, share in zip(found.names[:4], found.part_logprobs, found.part_shares, strict=False):
        whole = 1 if name == OF[adapter] else 0
        assert (logprob, share) == (found.logprobs[whole], found.shares[whole]), name
    assert found.logprobs[0] != found.logprobs[1]


@pytest.mark.parametrize("path", ["eager", "rows"])
def test_both_ends_are_the_comparisons_own(path, model):
    engine = model.engine(path)
    request = ask(None, "language")
    found = engine.explain(request, PartsOptions(strengths=(0, 0.5, 1, 1.5)))
    for variant in (0, 1):
        logprob, share = of_comparison(engine, request, variant)
        assert found.logprobs[variant] == pytest.approx(logprob, abs=1e-5)
        assert found.shares[variant] == pytest.approx(share, abs=1e-6)
    assert found.strength_logprobs[0] == pytest.approx(found.logprobs[0], abs=1e-6)  # plain LoRA at 0 is base
    assert found.strength_logprobs[2] == found.logprobs[1]
    for at, scale in ((1, 0.5), (3, 1.5)):
        logprob, share = of_comparison(engine, ask(None, "language", scale=scale), 1)
        assert found.strength_logprobs[at] == pytest.approx(logprob, abs=1e-5)
        assert found.strength_shares[at] == pytest.approx(share, abs=1e-6)


def test_a_part_is_the_adapter_with_everything_else_zero_in_its_file(placed, tmp_path):
    checkpoint = placed("dense").checkpoint
    whole = write_adapter(tmp_path / "whole", checkpoint, seed=9, target_modules=r".*\.(q_proj|v_proj|up_proj|qkv)")
    where = {
        "vision tower": lambda key: "visual" in key,
        "q and k": lambda key: "q_proj" in key,
        "v and o": lambda key: "v_proj" in key,
        "MLP": lambda key: "up_proj" in key,
        "layers 0–0": lambda key: "language_model.layers.0." in key,
        "layers 1–1": lambda key: "language_model.layers.1." in key,
        "layers 2–2": lambda key: "language_model.layers.2." in key,
    }
    folders = {"whole": whole}
    for number, kept in enumerate(where.values()):
        folders[f"part{number}"] = shutil.copytree(whole, tmp_path / f"part{number}")
        edit_weights(
            folders[f"part{number}"],
            lambda tensors, kept=kept: {key: each if kept(key) else each * 0 for key, each in tensors.items()},
        )
    engine = engine_of(checkpoint, folders)
    found = engine.explain(ask(None, "whole"), PartsOptions(strengths=(1,)))
    assert found.names == tuple(where)
    for number in range(len(where)):
        logprob, share = of_comparison(engine, ask(None, f"part{number}"), 1)
        assert found.part_logprobs[number] == pytest.approx(logprob, abs=1e-5), found.names[number]
        assert found.part_shares[number] == pytest.approx(share, abs=1e-6)


def test_what_is_not_touched_is_not_run(placed):
    engine = placed("dense").engine("eager")
    found = engine.explain(ask(None, "q-and-k"), PartsOptions(strengths=(0.5, 1)))
    assert found.replays == 2 + 1 + 3 + 1  # both as they are; q and k; three thirds; one strength


@pytest.mark.parametrize(
    ("request_", "error"),
    [
        (ask("language", "other"), SelectionError),
        (ask(None), SelectionError),
        (ask("language", None), SelectionError),
        (ask(None, "language", scale=0.5), SelectionError),
        (ask(None, "language", modules=("q_proj",)), SelectionError),
    ],
)
def test_what_cannot_be_taken_apart_is_refused(request_, error, placed):
    with pytest.raises(error):
        placed("dense").engine("eager").explain(request_, PartsOptions())


def test_a_kind_without_parts_is_refused_and_nothing_is_lost(placed, tmp_path):
    checkpoint = placed("dense").checkpoint
    folder = write_adapter(tmp_path / "dora", checkpoint, seed=3, use_dora=True)
    engine = engine_of(checkpoint, {"dora": folder})
    before = engine.compare(ask(None, "dora"))
    with pytest.raises(AdapterRefusedError, match="no well-defined strength or parts"):
        engine.explain(ask(None, "dora"), PartsOptions())
    after = engine.compare(ask(None, "dora"))
    assert np.array_equal(before.recordings[1].by_head, after.recordings[1].by_head)


@pytest.mark.parametrize(
    ("path", "group", "layer"),
    [
        ("model.language_model.layers.11.self_attn.q_proj", "q and k", 11),
        ("model.language_model.layers.0.self_attn.o_proj", "v and o", 0),
        ("model.language_model.layers.3.mlp.gate_proj", "MLP", 3),
        ("model.language_model.layers.3.mlp.experts.gate_up_proj", "MLP", 3),
        ("model.visual.blocks.4.mlp.linear_fc1", "vision tower", None),
        ("model.visual.merger.linear_fc1", "vision tower", None),
        ("model.language_model.embed_tokens", None, None),
        ("lm_head", None, None),
    ],
)
def test_groups_and_layers_of_paths(path, group, layer):
    assert group_of(path) == group
    assert layer_of(path) == layer
    assert Portion().holds(path)
    assert Portion(group="MLP").holds(path) == (group == "MLP")
    assert Portion(layers=(1, 3)).holds(path) == (layer == 3)
    assert Portion(modules=("mlp", "lm_head")).holds(path) == ("mlp" in path or path == "lm_head")
