"""Knockout: exact where the set leaves one answer, and against upstream with a mask of its own everywhere else."""

import numpy as np
import pytest
import torch

from inference import KnockoutOptions
from inference.errors import CancelledError, SelectionError
from inference.model.knockout import control_sets
from tests import upstream
from tests.inference.model.placed import ANSWER, GRID, IMAGE, PROMPT, ask

CELLS = 15
SOME = (6, 7, 11)
KINDS = ["dense", pytest.param("moe", marks=pytest.mark.slow), pytest.param("gqa", marks=pytest.mark.slow)]


@pytest.fixture(params=KINDS)
def model(request, placed):
    return placed(request.param)


@pytest.fixture(params=["eager", "rows"])
def engine(request, model):
    return model.engine(request.param)


def expected(model, adapter: str | None, closed, index: int, rows: str = "text", layers=None) -> float:
    """Log-probability of an answer token from one full upstream pass with a four-dimensional mask."""
    prompt = upstream.build_prompt(model.checkpoint, IMAGE, PROMPT)
    loaded = (
        upstream.load(model.checkpoint)
        if adapter is None
        else upstream.load_with_adapter(model.checkpoint, model.folders[adapter], torch.float32)
    )
    whole = upstream.inputs(prompt, ANSWER[:index])
    length = whole["input_ids"].shape[1]
    visible = torch.ones(length, length).tril().bool()
    first = prompt.image_end if rows == "text" else prompt.length - 1
    visible[first:, [prompt.image_start + cell for cell in closed]] = False
    mask = torch.zeros(1, 1, length, length).masked_fill(~visible, float("-inf"))
    positions, _ = loaded.model.get_rope_index(whole["input_ids"], whole["mm_token_type_ids"], whole["image_grid_thw"])
    with torch.no_grad():
        output = loaded(**whole | {"attention_mask": mask, "position_ids": positions}, use_cache=False)
    return float(torch.log_softmax(output.logits[0, -1].double(), dim=-1)[ANSWER[index]])


@pytest.mark.parametrize(("closed", "rows"), [(tuple(range(CELLS)), "text"), (SOME, "text"), (SOME, "answer")])
def test_it_is_upstreams_own_pass_with_a_mask(closed, rows, model, engine):
    request, index = ask(None, "language"), 2
    token = len(engine.prompt(request).tokens) + index
    found = engine.explain(request, KnockoutOptions(closed, token, rows=rows, controls=2, seed=3))
    for variant, adapter in enumerate((None, "language")):
        natural = expected(model, adapter, (), index)
        assert found.logprobs[variant] == pytest.approx(natural, abs=1e-5)
        assert found.changes[variant] == pytest.approx(
            expected(model, adapter, closed, index, rows) - natural, abs=2e-5
        )
        for cells, change in zip(found.control_cells, found.control_changes[:, variant], strict=True):
            other = expected(model, adapter, np.flatnonzero(cells), index, rows) - natural
            assert change == pytest.approx(other, abs=2e-5)
    assert np.array_equal(np.flatnonzero(found.cells), closed)
    assert found.token == token
    assert found.rows == rows


def test_the_empty_set_changes_nothing_bit_for_bit(engine):
    found = engine.explain(ask(None, "language", "other"), KnockoutOptions(()))
    assert (found.changes == 0).all()
    assert found.control_changes.shape == (0, 3)
    assert found.replays == 6


def test_chosen_layers_alone_are_closed(engine):
    whole, one, each = (
        engine.explain(ask("language"), KnockoutOptions(SOME, layers=layers, controls=0)).changes[0]
        for layers in (None, (1,), (0, 1, 2))
    )
    assert whole == each
    assert one != whole
    assert one != 0


def test_a_layer_that_nothing_follows_is_closed_for_its_own_row_only(placed):
    """In the last layer only the measured row's own attention can matter: the rows before it have no way to it."""
    engine = placed("dense").engine("eager")
    text, answer = (
        engine.explain(ask(None), KnockoutOptions(SOME, rows=rows, layers=(2,), controls=0)).changes[0]
        for rows in ("text", "answer")
    )
    assert text == pytest.approx(answer, abs=1e-6)
    assert text != 0


def test_what_is_kept_and_the_model_are_as_before(placed):
    engine = placed("dense").engine("rows")
    request = ask(None, "language")
    before = engine.compare(request)
    engine.explain(request, KnockoutOptions(SOME))
    after = engine.compare(request)
    for one, other in zip(before.recordings, after.recordings, strict=True):
        assert np.array_equal(one.by_head, other.by_head)
        assert np.array_equal(one.logprobs, other.logprobs)


def test_it_stops_between_replays_and_leaves_the_model_as_it_was(placed):
    engine = placed("dense").engine("eager")
    before = engine.compare(ask(None)).recordings[0].by_head
    said = []
    with pytest.raises(CancelledError):
        engine.explain(ask(None), KnockoutOptions(SOME), emit=said.append, stop=lambda: len(said) > 6)
    assert np.array_equal(engine.compare(ask(None)).recordings[0].by_head, before)


def test_a_cell_that_the_image_does_not_have_is_refused_before_anything_runs(placed):
    said = []
    with pytest.raises(SelectionError, match="3 × 5 cells, 0–14"):
        placed("dense").engine("eager").explain(ask(None), KnockoutOptions((15,)), emit=said.append)
    assert all(event.stage == "image" for event in said)


# the other sets


@pytest.mark.parametrize("shape", ["shifted", "scattered"])
def test_other_sets_are_as_large_all_different_and_not_the_set(shape):
    cells = np.zeros((6, 9), bool)
    cells[1:3, 2:5] = True
    cells[1, 2] = False
    found = control_sets(cells, KnockoutOptions((0,), controls=16, shape=shape, seed=5))
    assert found.shape == (16, 6, 9)
    assert (found.sum(axis=(1, 2)) == 5).all()
    assert len({each.tobytes() for each in [*found, cells]}) == 17
    again = control_sets(cells, KnockoutOptions((0,), controls=16, shape=shape, seed=5))
    other = control_sets(cells, KnockoutOptions((0,), controls=16, shape=shape, seed=6))
    assert np.array_equal(found, again)
    assert not np.array_equal(found, other)


def test_a_shifted_set_has_the_same_shape():
    cells = np.zeros((4, 6), bool)
    cells[[0, 1, 1], [0, 0, 1]] = True
    for each in control_sets(cells, KnockoutOptions((0,), controls=14, seed=1)):
        rows, columns = np.nonzero(each)
        assert sorted(zip(rows - rows.min(), columns - columns.min(), strict=True)) == [(0, 0), (1, 0), (1, 1)]


def test_where_there_is_no_room_there_are_fewer_and_it_is_said(placed):
    engine = placed("dense").engine("eager")
    found = engine.explain(ask(None), KnockoutOptions(range(10), controls=16))  # two of three rows: one other place
    assert found.control_changes.shape == (1, 1)
    assert "room for 1 other places" in found.notes[-1]
    whole = engine.explain(ask(None), KnockoutOptions(range(CELLS), controls=16))
    assert whole.control_cells.shape == (0, *GRID)
    assert whole.rank(0) == 1


def test_the_rank_counts_the_sets_that_lower_it_as_much(placed):
    found = placed("dense").engine("eager").explain(ask(None, "language"), KnockoutOptions(SOME, controls=8, seed=2))
    for variant in (0, 1):
        lower = [change for change in found.control_changes[:, variant] if change <= found.changes[variant]]
        assert found.rank(variant) == 1 + len(lower)
