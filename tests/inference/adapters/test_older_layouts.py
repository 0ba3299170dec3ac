"""Adapters in the key layouts of older tools: the same numbers as from today's keys, and as added by hand."""

import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from safetensors.torch import load_file

from inference.adapters.catalog import AdapterCatalog
from inference.adapters.layout import current_config, current_keys
from inference.errors import AdapterRefusedError
from inference.model.engine import Engine
from inference.recording import Recording
from inference.request import Request
from inference.settings import Settings
from tests import upstream
from tests.adapters import KINDS, add_by_hand, edit_config, edit_weights, write_adapter
from tests.conftest import picture

PROMPT, ANSWER = "What is in the middle?", (70, 71, 72, 73)
PREFIX = "base_model.model."

#: What each tool made of today's key.
LAYOUTS = {
    "no prefix": lambda key: key.removeprefix(PREFIX),
    "prefix twice": lambda key: PREFIX + key,
    "the adapter's name": lambda key: key.replace(".weight", ".default.weight"),
    "another adapter's name": lambda key: key.replace(".weight", ".my-run.weight"),
    "model.layers and visual": lambda key: key.replace("model.language_model.", "model.").replace(
        "model.visual.", "visual."
    ),
    "language_model.model": lambda key: key.replace(".model.language_model.", ".language_model.model.").replace(
        "model.visual.", "visual."
    ),
    "model.language_model.model": lambda key: key.replace(".language_model.", ".language_model.model.").replace(
        "model.visual.", "visual."
    ),
    "the inner model alone": lambda key: key.replace(PREFIX + "model.", PREFIX),
    "all at once": lambda key: (
        key.removeprefix(PREFIX)
        .replace("model.language_model.", "model.")
        .replace("model.visual.", "visual.")
        .replace(".weight", ".default.weight")
    ),
}


def engine(checkpoint: Path, folders: dict[str, Path]) -> Engine:
    settings = Settings(model=str(checkpoint), device="cpu", attention="eager")
    return Engine(settings, AdapterCatalog(folders, model=str(checkpoint)))


def ask(engine: Engine, *adapters: str | None) -> tuple[Recording, ...]:
    return engine.compare(Request(picture(96, 160), PROMPT, adapters=adapters, answer=ANSWER)).recordings


@pytest.fixture(scope="module")
def today(tmp_path_factory, dense) -> Path:
    """Both towers, with ranks and alphas of their own, so that a pattern that is not found is seen."""
    options = KINDS["vision"][1] | {"alpha_pattern": {"layers.1.self_attn.v_proj": 31}, "rank_pattern": {"o_proj": 2}}
    return write_adapter(tmp_path_factory.mktemp("today") / "adapter", dense, **options)


#: One that is all at once stands for the renamings that it is made of; alone they are slow.
FEW = {"all at once", "prefix twice", "language_model.model"}
assert LAYOUTS.keys() >= FEW
EVERY_LAYOUT = [pytest.param(layout, marks=[] if layout in FEW else pytest.mark.slow) for layout in LAYOUTS]


@pytest.fixture(scope="module")
def by_hand(dense, today) -> np.ndarray:
    model = upstream.load(dense)
    add_by_hand(model, today)
    return upstream.attentions(model, upstream.build_prompt(dense, picture(96, 160), PROMPT), ANSWER[:-1])


def renamed(today: Path, folder: Path, rename) -> Path:
    shutil.copytree(today, folder)
    edit_weights(folder, lambda tensors: {rename(key): tensor for key, tensor in tensors.items()})
    return folder


@pytest.mark.parametrize("layout", EVERY_LAYOUT)
def test_keys_of_older_tools_give_the_numbers_of_todays_and_of_the_weights_added_by_hand(
    layout, dense, today, by_hand, tmp_path
):
    old = renamed(today, tmp_path / "old", LAYOUTS[layout])
    stored = set(load_file(old / "adapter_model.safetensors"))
    assert not stored & set(load_file(today / "adapter_model.safetensors")), "every key must be another"
    ours = engine(dense, {"today": today, "old": old})
    base, one, other = ask(ours, None, "today", "old")
    assert np.array_equal(one.by_token, other.by_token)
    assert np.array_equal(one.logprobs, other.logprobs)
    assert not np.array_equal(base.by_token, other.by_token)
    prompt = upstream.build_prompt(dense, picture(96, 160), PROMPT)
    for index, token in enumerate(other.tokens):
        rows = by_hand[:, :, token.query, prompt.image_start : prompt.image_end].mean(axis=1)
        np.testing.assert_allclose(other.by_token[index].reshape(rows.shape), rows, atol=1e-5, rtol=0)
    plain, noted = AdapterCatalog({"today": today, "old": old}).describe()
    assert (noted.target_modules, noted.touches_vision) == (plain.target_modules, True)
    assert any(f"{len(stored)} of its {len(stored)} keys are in the layout of an older tool" in n for n in noted.notes)
    assert not any("older tool" in note for note in plain.notes)


def test_patterns_and_targets_that_name_the_old_paths_count_for_the_modules_they_named(dense, tmp_path):
    """The config of a tool that knew `model.layers` names those: ranks, alphas and targets must not be lost."""
    old_paths = {
        "target_modules": r"model\.layers\.\d+\.self_attn\.(q_proj|v_proj)",
        "alpha_pattern": {"model.layers.1.self_attn.v_proj": 31},
        "rank_pattern": {r"^model\.layers\.2\..*": 2},
    }
    today = write_adapter(
        tmp_path / "today",
        dense,
        target_modules=r".*language_model\.layers\.\d+\.self_attn\.(q_proj|v_proj)",
        alpha_pattern={"language_model.layers.1.self_attn.v_proj": 31},
        rank_pattern={r".*language_model\.layers\.2\..*": 2},
    )
    old = renamed(today, tmp_path / "old", LAYOUTS["model.layers and visual"])
    edit_config(old, **old_paths)
    one, other = ask(engine(dense, {"today": today, "old": old}), "today", "old")
    assert np.array_equal(one.by_token, other.by_token)
    unscaled = renamed(today, tmp_path / "unscaled", LAYOUTS["model.layers and visual"])
    edit_config(unscaled, **old_paths | {"alpha_pattern": {}})
    assert not np.array_equal(ask(engine(dense, {"x": unscaled}), "x")[0].by_token, one.by_token)


@pytest.mark.parametrize("kind", ["dora", "modules-to-save"])
def test_magnitudes_and_whole_modules_are_read_in_an_old_layout_too(kind, request, tmp_path):
    checkpoint, options = KINDS[kind]
    base = request.getfixturevalue(checkpoint)
    today = write_adapter(tmp_path / "today", base, **options)

    def old_key(key: str) -> str:
        key = re.sub(r"\.(lora_A|lora_B)\.weight$", r".\1.default.weight", key)
        key = re.sub(r"\.lora_magnitude_vector$", ".lora_magnitude_vector.default.weight", key)
        key = re.sub(r"lm_head\.weight$", "lm_head.modules_to_save.default.weight", key)
        return key.removeprefix(PREFIX).replace("model.language_model.", "model.")

    old = renamed(today, tmp_path / "old", old_key)
    base_rows, one, other = ask(engine(base, {"today": today, "old": old}), None, "today", "old")
    assert np.array_equal(one.by_token, other.by_token)
    assert np.array_equal(one.logprobs, other.logprobs)
    assert not np.array_equal(base_rows.logprobs, one.logprobs)


REFUSED = {
    "experts one by one": (
        lambda key: key.replace("self_attn.q_proj", "mlp.experts.0.gate_proj"),
        "does not fit this model: it adapts 'model.language_model.layers.0.mlp.experts.0.gate_proj'",
    ),
    "another tool's own names": (
        lambda key: "lora_unet_" + key.replace(".", "_"),
        "does not fit this model",
    ),
    "one layer too many": (lambda key: key.replace("layers.2.", "layers.7."), "this model has language layers 0–2"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_does_not_map_one_to_one_is_refused_with_what_to_do(case, dense, today, tmp_path):
    rename, reason = REFUSED[case]
    bad = renamed(today, tmp_path / "bad", rename)
    with pytest.raises(AdapterRefusedError, match="PEFT's save_pretrained") as caught:
        ask(engine(dense, {"bad": bad}), "bad")
    assert reason in str(caught.value)


def test_two_adapters_names_in_one_file_are_not_read_as_one():
    keys = [f"model.layers.0.self_attn.q_proj.lora_A.{name}.weight" for name in ("one", "two")]
    assert len(set(current_keys(keys).values())) == 2
    assert all(".one" in key or ".two" in key for key in current_keys(keys).values()), "neither name is dropped"
    with pytest.raises(ValueError, match="would both be"):
        current_keys([keys[0].replace(".one", ""), PREFIX + keys[0].replace(".one", "")])


def test_todays_keys_and_config_stay_as_they_are(today):
    keys = current_keys(load_file(today / "adapter_model.safetensors"))
    assert all(stored == current for stored, current in keys.items())
    config = {"target_modules": ["q_proj"], "alpha_pattern": {"x": 3}}
    assert current_config(config, keys) == config
