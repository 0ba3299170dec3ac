"""Rows and reductions against `output_attentions` of the untouched upstream model: the first truth of this tool."""

from pathlib import Path

import numpy as np
import pytest
import torch

from inference.model.capture import EAGER, tiled_attention
from inference.model.engine import Engine
from inference.model.image_input import unblock
from inference.model.recorders import TextRecorder
from inference.recording import Recording
from inference.request import Request
from inference.settings import Limits, Settings
from tests import upstream
from tests.adapters import write_adapter
from tests.checkpoints import write_checkpoint
from tests.conftest import picture

PROMPT = "What is in the middle of the picture?"
SMALL, LARGE = (96, 160), (768, 1_280)  # 3 × 5 and 24 × 40 cells


def engine(checkpoint: Path, attention: str = "eager", **more) -> Engine:
    return Engine(Settings(model=str(checkpoint), device="cpu", attention=attention, **more), {})


class Witness:
    """Looks over the shoulder of each `TextRecorder` and keeps the raw rows that it is shown.

    `rows[layer, position]` is `(heads, keys)`, NaN for heads that were not shown.
    """

    def __init__(self, heads: int, monkeypatch: pytest.MonkeyPatch) -> None:
        self.rows: dict[tuple[int, int], np.ndarray] = {}
        self.tiles = 0
        original = TextRecorder.record

        def record(recorder, module, heads_shown, first, weights):
            self.tiles += 1
            for i in range(weights.shape[1]):
                empty = np.full((heads, weights.shape[2]), np.nan, np.float32)
                self.rows.setdefault((module.layer_idx, first + i), empty)[heads_shown] = weights[:, i].float().numpy()
            original(recorder, module, heads_shown, first, weights)

        monkeypatch.setattr(TextRecorder, "record", record)


def worst_rows(reference: np.ndarray, recording: Recording, witness: Witness) -> float:
    """Largest difference of a raw row, over every layer, head and recorded row.

    `reference` is upstream's `output_attentions`, (layers, heads, rows, keys).
    """
    shown = {token.query for token in recording.tokens}
    assert set(witness.rows) == {(layer, row) for layer in range(len(reference)) for row in shown}
    return max(
        float(np.abs(raw - reference[layer, :, row, : raw.shape[1]]).max())
        for (layer, row), raw in witness.rows.items()
    )


def worst_reduced(reference: np.ndarray, prompt, recording: Recording) -> float:
    """Largest difference of what the record holds of those rows, reduced here in float64."""
    layers = len(reference)
    image = slice(prompt.image_start, prompt.image_end)
    groups = np.concatenate([prompt.groups, np.full(reference.shape[2] - len(prompt.groups), 3)])
    focus = reference[:, :, [recording.tokens[i].query for i in recording.focus], image].astype(np.float64)
    pairs = [(recording.by_head, focus.mean(axis=2).reshape(*focus.shape[:2], *prompt.grid))]
    for index, token in enumerate(recording.tokens):
        row = reference[:, :, token.query].astype(np.float64)
        pairs.append((recording.by_token[index], row[:, :, image].mean(axis=1).reshape(layers, *prompt.grid)))
        shares = np.stack([row[:, :, groups == group].sum(axis=-1) for group in range(4)], axis=-1)
        pairs.append((recording.group_share[index], shares))
    assert all(ours.shape == theirs.shape for ours, theirs in pairs)
    return max(float(np.abs(ours - theirs).max()) for ours, theirs in pairs)


@pytest.mark.parametrize("kind", ["dense", "moe"])
@pytest.mark.parametrize(
    ("dtype", "size", "grid"),
    [
        ("float32", SMALL, (3, 5)),
        ("bfloat16", SMALL, (3, 5)),
        ("float16", SMALL, (3, 5)),
        pytest.param("float32", LARGE, (24, 40), marks=pytest.mark.slow),
    ],
)
def test_every_layer_head_and_text_row_equals_output_attentions(kind, dtype, size, grid, request):
    """Upstream in our steps is met exactly on the eager path; upstream in one pass as nearly as it meets itself.

    `rounding` is how far upstream's one pass in this precision lies from the same weights computed in float64. Another
    order of the same sums has errors of that size too, at most two bits more: that is the bound for one full pass, and
    for the rows, whose scores stay in float32 (three bits for sums over many keys). What is summed of n keys in float32
    may lose √n more roundings. Measured, dense and MoE, in multiples of `rounding`: eager's rows against the steps
    exactly 0, against one pass 0–0.6; those of the tiles against one pass 0.5–1.4, against float64 0.5–1.6; sums 0–2.6.
    """
    checkpoint = request.getfixturevalue(kind)
    image, answer = picture(*size), (70, 71, 72, 73)
    precision = getattr(torch, dtype)
    references: dict[str, np.ndarray] = {}
    for path in ("eager", "rows"):
        ours = engine(checkpoint, path, dtype=dtype, tile_bytes=20_000)  # several tiles per layer
        prompt = ours.prompt(Request(image, PROMPT))
        assert prompt.grid == grid
        if not references:
            model = upstream.load(checkpoint, precision)
            references = {
                "one pass": upstream.attentions(model, prompt, answer[:-1]),
                "steps": upstream.attentions_in_steps(model, prompt, answer[:-1]),
                "float64": upstream.attentions(
                    upstream.in_double_precision(checkpoint, precision), prompt, answer[:-1]
                ),
            }
            text = slice(prompt.image_end, None)
            rounding = float(np.abs(references["one pass"] - references["float64"])[:, :, text].max())
            assert references["float64"].std() > 1e-3, "random weights must make rows that differ"
            assert 0 < rounding < 2 * torch.finfo(precision).eps * 8
        with pytest.MonkeyPatch.context() as patch:
            witness = Witness(ours.model_info.num_heads, patch)
            last = len(prompt.tokens) + len(answer) - 1
            recording = ours.compare(Request(image, PROMPT, answer=answer, focus=(3, last))).recordings[0]
        assert recording.attention == path
        worst = {name: worst_rows(each, recording, witness) for name, each in references.items()}
        reduced = {name: worst_reduced(each, prompt, recording) for name, each in references.items()}
        print(
            f"{kind} {grid} {dtype} {path}: rounding {rounding:.1e}; rows and what is reduced of them, against", end=" "
        )
        print("; ".join(f"{name} {worst[name]:.1e} {reduced[name]:.1e}" for name in references))
        sums = float(np.sqrt(len(prompt.input_ids)) * np.finfo(np.float32).eps)
        if path == "eager":
            assert worst["steps"] <= 1e-6
            assert reduced["steps"] <= sums
        for name in ("one pass", "float64"):
            assert worst[name] <= 4 * rounding
            assert reduced[name] <= 8 * rounding + sums


def test_answer_rows_equal_those_of_step_by_step_generation_for_two_adapters(dense: Path, tmp_path: Path):
    """Token t is read at the row that predicts it: upstream's `generate` with its own cache and positions agrees."""
    from peft import PeftModel

    from inference.adapters.catalog import AdapterCatalog

    folders = {name: write_adapter(tmp_path / name, dense, seed=seed) for name, seed in (("one", 3), ("two", 4))}
    ours = Engine(
        Settings(model=str(dense), device="cpu", attention="eager"),
        AdapterCatalog(folders),
    )
    image = picture(*SMALL)
    prompt = ours.prompt(Request(image, PROMPT))
    for name, folder in folders.items():
        recording = ours.compare(Request(image, PROMPT, adapters=(name,), max_new_tokens=6)).recordings[0]
        model = PeftModel.from_pretrained(upstream.load(dense), folder).eval()
        generated = model.generate(
            **upstream.inputs(prompt),
            max_new_tokens=6,
            do_sample=False,
            output_attentions=True,
            return_dict_in_generate=True,
        )
        assert tuple(generated.sequences[0, len(prompt.input_ids) :].tolist()) == recording.answer_ids
        first = len(prompt.tokens)
        for step, layers in enumerate(generated.attentions):
            row = torch.stack([layer[0, :, -1, prompt.image_start : prompt.image_end] for layer in layers]).numpy()
            mean = row.mean(axis=1).reshape(-1, *prompt.grid)
            np.testing.assert_allclose(recording.by_token[first + step], mean, atol=1e-5, rtol=0)
            np.testing.assert_allclose(recording.image_share[first + step], row.sum(axis=-1), atol=1e-5, rtol=0)


def test_greedy_answers_equal_upstreams_generate_whatever_the_generation_config_says(dense: Path, tmp_path: Path):
    import json
    import shutil

    sampling = shutil.copytree(dense, tmp_path / "sampling")
    config = json.loads((sampling / "generation_config.json").read_text())
    config |= {"do_sample": True, "temperature": 5.0, "top_k": 50, "repetition_penalty": 2.0}
    (sampling / "generation_config.json").write_text(json.dumps(config))
    image = picture(*SMALL, seed=5)
    ours = engine(sampling)
    answer = ours.compare(Request(image, PROMPT, max_new_tokens=8)).recordings[0].answer_ids
    prompt = ours.prompt(Request(image, PROMPT))
    theirs = upstream.load(dense).generate(**upstream.inputs(prompt), max_new_tokens=8, do_sample=False)
    assert tuple(theirs[0, len(prompt.input_ids) :].tolist()) == answer


def test_log_probabilities_equal_those_of_one_full_pass(dense: Path):
    image, answer = picture(*SMALL), (70, 71, 72, 73)
    ours = engine(dense)
    prompt = ours.prompt(Request(image, PROMPT))
    recording = ours.compare(Request(image, PROMPT, answer=answer)).recordings[0]
    with torch.no_grad():
        logits = upstream.load(dense)(**upstream.inputs(prompt, answer)).logits[0]
    start = len(prompt.input_ids)
    expected = [float(torch.log_softmax(logits[start + i - 1], -1)[token]) for i, token in enumerate(answer)]
    np.testing.assert_allclose(recording.logprobs, expected, atol=2e-5)


def test_background_is_of_the_rows_before_the_shown_answer_and_not_of_its_own(dense: Path):
    """Upstream's rows between the image's end and the one that predicts the first answer token, sorted by hand."""
    ours, answer = engine(dense), (70, 71, 72)
    recording = ours.compare(Request(picture(*SMALL), PROMPT, answer=answer)).recordings[0]
    prompt = ours.prompt(Request(picture(*SMALL), PROMPT))
    predicts_first = len(prompt.input_ids) - 1
    reference = upstream.attentions(upstream.load(dense), prompt, answer[:-1])
    before = reference[:, :, prompt.image_end : predicts_first, prompt.image_start : prompt.image_end]
    stack = np.sort(before.mean(axis=1).astype(np.float64), axis=1)  # (layers, rows, cells), over heads
    assert recording.background_rows == stack.shape[1] == len(prompt.tokens) - 1
    shape = (len(stack), *prompt.grid)
    np.testing.assert_allclose(recording.background, stack.mean(axis=1).reshape(shape), atol=2e-6)
    below = 0.1 * (stack.shape[1] - 1)
    low = stack[:, int(below)] + (below - int(below)) * (stack[:, int(below) + 1] - stack[:, int(below)])
    np.testing.assert_allclose(recording.background_low, low.reshape(shape), atol=2e-6)
    shown = reference[:, :, predicts_first, prompt.image_start : prompt.image_end].mean(axis=1)
    with_itself = np.concatenate([before.mean(axis=1), shown[:, None]], axis=1).mean(axis=1)
    assert np.abs(recording.background.reshape(shown.shape) - with_itself).max() > 1e-4, "the shown row is left out"


def test_rows_before_the_image_and_the_future_get_exactly_nothing(dense: Path):
    """A mask function that is missing would put most of row 0 on the future; here every row sums to 1 without it."""
    query, key, value = torch.randn(1, 4, 6, 8), torch.randn(1, 2, 9, 8), torch.randn(1, 2, 9, 8)
    shown = []
    tiled_attention(query, key, value, None, 0.3, True, 2**20, lambda *tile: shown.append(tile))
    ((heads, first, weights),) = shown
    assert (heads, first) == (slice(0, 4), 3)
    for index in range(6):
        assert float(weights[:, index, index + 4 :].abs().max() if index < 5 else 0) == 0
        torch.testing.assert_close(weights[:, index].sum(-1), torch.ones(4))
    ours = engine(dense)
    kept: dict[int, torch.Tensor] = {}

    class KeepAll:
        def record(self, module, heads, first, weights):
            if hasattr(module, "layer_idx"):  # the language model's; the vision tower has no causal order
                kept[module.layer_idx] = weights.clone()

    prompt = ours.prompt(Request(picture(*SMALL), PROMPT))
    model = upstream.load(dense)
    model.config.text_config._attn_implementation = EAGER
    with torch.no_grad():
        model(**upstream.inputs(prompt), recorder=KeepAll())
    for weights in kept.values():
        future = torch.ones(weights.shape[1:], dtype=torch.bool).triu(1)
        assert float(weights[:, future].abs().max()) == 0
    assert len(kept) == ours.model_info.num_layers


def test_the_vision_tower_map_equals_upstreams_eager_attention_in_image_order(dense: Path, monkeypatch):
    """Reference: upstream's own eager function inside the tower; each patch is placed by upstream's own coordinates."""
    from transformers.models.qwen3_vl import modeling_qwen3_vl as modeling
    from transformers.vision_utils import get_vision_position_ids

    image = picture(96, 224, seed=9)  # 6 × 14 patches: raster order would fail
    results = {}
    for path in ("eager", "rows"):
        ours = engine(dense, path, tile_bytes=2_000)
        results[path] = (
            ours.compare(Request(image, PROMPT, answer=(70,), vision_tower=True)).recordings[0].vision_received
        )
    prompt = ours.prompt(Request(image, PROMPT))
    seen = []
    original = modeling.eager_attention_forward

    def spy(module, *arguments, **options):
        output, weights = original(module, *arguments, **options)
        if isinstance(module, modeling.Qwen3VLVisionAttention):
            seen.append(weights[0].mean(dim=(0, 1)))  # over heads and queries
        return output, weights

    monkeypatch.setattr(modeling, "eager_attention_forward", spy)
    with torch.no_grad():
        upstream.load(dense)(**upstream.inputs(prompt))
    grid = torch.tensor([prompt.image.grid_thw])
    coordinates = get_vision_position_ids(grid, 2)  # (patches, 2): row and column of each patch
    reference = np.zeros((len(seen), 6, 14), np.float32)
    for layer, received in enumerate(seen):
        for patch, (row, column) in enumerate(coordinates.tolist()):
            reference[layer, row, column] = received[patch]
    raster = np.stack(seen).reshape(reference.shape)
    assert np.abs(raster - reference).max() > 1e-3, "the two orders must differ for this test to mean anything"
    np.testing.assert_allclose(results["eager"], reference, atol=1e-6, rtol=0)
    np.testing.assert_allclose(results["rows"], reference, atol=1e-5, rtol=0)
    np.testing.assert_allclose(reference.sum(axis=(1, 2)), 1, atol=1e-5)


def test_auto_takes_eager_while_a_layers_matrix_fits_and_rows_beyond(dense: Path):
    small = Request(picture(*SMALL), PROMPT, answer=(70,))
    assert engine(dense, "auto").compare(small).recordings[0].attention == "eager"
    assert engine(dense, "auto", eager_layer_bytes=10_000).compare(small).recordings[0].attention == "rows"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("vision_layers", "vision_heads", "size", "grid"),
    [(1, 2, (1_568, 2_784), (49, 87)), (3, 4, (736, 1_312), (23, 41))],
    ids=["native", "whole tower"],
)
def test_at_a_screenshots_native_resolution_rows_and_received_equal_upstreams_eager_attention(
    vision_layers, vision_heads, size, grid, tmp_path, monkeypatch
):
    """2,784 × 1,568 pixels are 4,263 image tokens and 17,052 patches: many tiles on our side, one matrix on the other.

    The vision tower's reference is upstream's eager function as well, over some queries at a time: a whole matrix of
    four small heads would take 4.6 GB. One layer of two heads meets every tile there; for all of its layers a quarter
    as many patches are enough.
    """
    from transformers.integrations.sdpa_attention import sdpa_attention_forward
    from transformers.models.qwen3_vl import modeling_qwen3_vl as modeling

    image, answer, patches = picture(*size), (70, 71, 72), 4 * grid[0] * grid[1]
    checkpoint = write_checkpoint(tmp_path / "tower", vision_layers=vision_layers, vision_heads=vision_heads)
    ours = engine(checkpoint, "rows", limits=Limits(max_image_tokens=4_300))
    prompt = ours.prompt(Request(image, PROMPT))
    assert (prompt.grid, len(prompt.image.patches())) == (grid, patches)
    words = ours.passes.words

    def in_small_tiles(*arguments, **options):
        ours.passes.tile_bytes = 6 * patches
        return words(*arguments, **options)

    monkeypatch.setattr(ours.passes, "words", in_small_tiles)
    witness = Witness(ours.model_info.num_heads, monkeypatch)
    recording = ours.compare(Request(image, PROMPT, answer=answer, vision_tower=True)).recordings[0]
    assert witness.tiles >= 8 * ours.model_info.num_layers

    received = []

    def in_slices(module, query, key, value, attention_mask, scaling, **options):
        total = torch.zeros(key.shape[2])
        for start in range(0, query.shape[2], 1_000):
            part = query[:, :, start : start + 1_000]
            total += modeling.eager_attention_forward(module, part, key, value, None, scaling)[1].sum(dim=(0, 1, 2))
        received.append(total / (query.shape[1] * query.shape[2]))
        return sdpa_attention_forward(module, query, key, value, attention_mask, scaling=scaling, **options)

    monkeypatch.setitem(modeling.ALL_ATTENTION_FUNCTIONS._local_mapping, "in_slices", in_slices)
    model = upstream.load(checkpoint)
    model.config.vision_config._attn_implementation = "in_slices"
    reference = upstream.attentions(model, prompt, answer[:-1])
    assert worst_rows(reference, recording, witness) <= 1e-5
    assert worst_reduced(reference, prompt, recording) <= 1e-5
    expected = unblock(torch.stack(received).numpy(), prompt.image.grid_thw, 2)
    np.testing.assert_allclose(recording.vision_received * patches, expected * patches, atol=1e-3, rtol=0)
    np.testing.assert_allclose(recording.vision_received, expected, atol=1e-5, rtol=0)
