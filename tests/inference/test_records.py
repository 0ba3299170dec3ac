"""Records are checked where they are made; what is saved comes back bit for bit."""

import json
import pickle
from dataclasses import replace

import numpy as np
import pytest

from inference import errors
from inference.errors import CaptureError, InputError
from inference.records import Comparison, Token, background_of, check_adapter_name
from inference.settings import Limits, Settings
from tests.visualize.factory import comparison


def test_names_that_are_not_plain_labels_are_refused():
    for good in ("a", "find-red", "run.v1_2-checkpoint-100", "keys", "x" * 64):
        assert check_adapter_name(good) == good
    for bad in ("", "-a", "a-", "a/b", "a b", "a\n", "<b>", "Base", "OWN", "x" * 65, None, 3, "é"):
        with pytest.raises(InputError):
            check_adapter_name(bad)


def test_an_answer_token_shows_the_row_before_it_and_nothing_else():
    assert Token(1, "a", "answer", 5, 4).query == 4
    for role, query in (("answer", 5), ("prompt", 4), ("end", 6), ("nobody", 5)):
        with pytest.raises(CaptureError):
            Token(1, "a", role, 5, query)


def test_the_background_leaves_out_the_row_that_predicts_the_answer_and_the_answers_own():
    """Worked out by hand: eleven rows come before, 0 … 10; then 1,000 for the row that is shown, and for the answer."""
    roles = ["template"] + ["prompt"] * 8 + ["template"] * 3 + ["answer", "end"]
    tokens = [Token(1, "x", role, i, i - (role in ("answer", "end"))) for i, role in enumerate(roles)]
    by_token = np.array([*range(10, -1, -1), 1_000, 1_000, 5_000], dtype=np.float32)[:, None, None, None]
    by_token = by_token * np.array([[[1], [2]]], dtype=np.float32)  # (tokens, 1 layer, 2 × 1 cells)
    mean, low, rows = background_of(by_token, tokens)
    assert (mean.dtype, low.dtype, rows) == (np.float32, np.float32, 11)
    assert mean.tolist() == [[[5], [10]]]
    assert low.tolist() == [[[1], [2]]]
    assert background_of(by_token[:12], tokens[:12])[2] == 11, "before any answer is known, too"
    with pytest.raises(CaptureError, match="got 1"):
        background_of(by_token[:1], tokens[:1])


def test_as_many_pieces_of_an_answer_as_it_has_tokens_or_none():
    one = comparison().recordings[0]
    assert replace(one, answer_pieces=()).answer_pieces == ()
    with pytest.raises(CaptureError, match="2 answer_pieces do not fit 3 answer_ids"):
        replace(one, answer_ids=(1, 2, 3), answer_pieces=("a", "b"))


def test_a_saved_comparison_comes_back_bit_for_bit(tmp_path):
    original = comparison()
    original.save(tmp_path / "run.npz")
    loaded = Comparison.load(tmp_path / "run.npz")
    for name in ("model", "prompt", "system", "grid", "tokens", "timings", "notes"):
        assert getattr(loaded, name) == getattr(original, name)
    assert np.array_equal(loaded.image, original.image)
    for ours, theirs in zip(loaded.recordings, original.recordings, strict=True):
        for name in (
            "adapter",
            "answer",
            "answer_ids",
            "answer_pieces",
            "tokens",
            "focus",
            "attention",
            "background_rows",
        ):
            assert getattr(ours, name) == getattr(theirs, name)
        for name in ("by_token", "by_head", "group_share", "logprobs", "background", "background_low"):
            assert np.array_equal(getattr(ours, name), getattr(theirs, name))


def test_a_saved_comparison_is_an_ordinary_npz_and_equal_comparisons_are_equal_files(tmp_path):
    original = comparison()
    original.save(tmp_path / "one.npz")
    comparison().save(tmp_path / "other.npz")
    assert (tmp_path / "one.npz").read_bytes() == (tmp_path / "other.npz").read_bytes()
    with np.load(tmp_path / "one.npz", allow_pickle=False) as file:
        assert np.array_equal(file["image"], original.image)
        assert np.array_equal(file["recording1.by_head"], original.recordings[1].by_head)
        assert json.loads(file["header"].tobytes())["prompt"] == original.prompt


def test_files_that_are_no_comparison_are_refused_and_nothing_is_unpickled(tmp_path):
    (tmp_path / "text.npz").write_text("hello")
    np.savez(tmp_path / "other.npz", a=np.zeros(3))
    np.savez(tmp_path / "pickled.npz", header=np.array([{"a": 1}], dtype=object))
    (tmp_path / "pickle.npz").write_bytes(pickle.dumps({"a": 1}))
    comparison().save(tmp_path / "good.npz")
    content = (tmp_path / "good.npz").read_bytes()
    (tmp_path / "empty.npz").write_bytes(b"")
    (tmp_path / "cut.npz").write_bytes(content[: len(content) // 2])
    middle = len(content) // 2
    (tmp_path / "flipped.npz").write_bytes(content[:middle] + bytes([content[middle] ^ 255]) + content[middle + 1 :])
    for name in ("text", "other", "pickled", "pickle", "missing", "empty", "cut", "flipped"):
        with pytest.raises(InputError, match="not a saved comparison"):
            Comparison.load(tmp_path / f"{name}.npz")


@pytest.mark.parametrize("damage", ["nan", "shape", "dtype", "sum", "focus"])
def test_a_recording_that_cannot_be_true_is_an_error(damage: str):
    good = comparison().recordings[0]
    changes = {
        "nan": {"by_head": good.by_head * np.float32("nan")},
        "shape": {"background": good.background[:, :-1]},
        "dtype": {"logprobs": good.logprobs.astype(np.float64)},
        "sum": {"group_share": good.group_share * np.float32(1.1)},
        "focus": {"focus": (99,)},
    }[damage]
    with pytest.raises(CaptureError):
        replace(good, **changes)


@pytest.mark.parametrize("change", [{"num_layers": 5}, {"num_heads": 4}])
def test_recordings_of_another_model_cannot_be_its_comparison(change):
    good = comparison()
    with pytest.raises(CaptureError, match=r"of base has shape .*; this model makes"):
        replace(good, model=replace(good.model, **change))


def test_variants_that_replayed_other_tokens_cannot_be_one_comparison():
    good = comparison()
    first, second = good.recordings[:2]
    with pytest.raises(CaptureError, match="other tokens"):
        replace(good, tokens=good.tokens[:-1], recordings=(first, second))


def test_every_error_keeps_its_message_and_hint_across_processes_and_has_a_code_and_a_status():
    kinds = [
        each for each in vars(errors).values() if isinstance(each, type) and issubclass(each, errors.VisualizerError)
    ]
    assert len(kinds) > 15
    for kind in kinds:
        copy = pickle.loads(pickle.dumps(kind("what", "do")))  # noqa: S301 - our own object
        assert (type(copy), copy.message, copy.hint, str(copy)) == (kind, "what", "do", "what do")
        assert 400 <= kind.status < 600
        assert kind.__name__ in errors.__doc__ or kind is errors.VisualizerError


def test_settings_are_read_from_the_environment_and_wrong_values_name_the_variable():
    settings = Settings.from_environment(
        {
            "VISUALIZER_PORT": "9000",
            "VISUALIZER_SHARE": "true",
            "VISUALIZER_ADAPTER": "a=x, b=y",
            "VISUALIZER_MAX_IMAGE_TOKENS": "64",
            "UNRELATED": "1",
        }
    )
    assert (settings.port, settings.share, settings.adapter) == (9000, True, ("a=x", "b=y"))
    assert settings.limits.max_image_tokens == 64
    for variable, value in (("PORT", "many"), ("SHARE", "perhaps"), ("BACKEND", "cloud"), ("PORT", "70000")):
        with pytest.raises(InputError):
            Settings.from_environment({f"VISUALIZER_{variable}": value})
    with pytest.raises(InputError):
        Settings.from_environment({"VISUALIZER_AUTH": "nocolon"})
    with pytest.raises(InputError):
        Limits(max_pixels=0)
    with pytest.raises(InputError):
        Settings(kept_bytes=-2)
