"""Records are checked where they are made; what is saved comes back bit for bit."""

import json
import pickle
from dataclasses import replace

import numpy as np
import pytest

from inference import errors
from inference.errors import CaptureError, InputError
from inference.records import Comparison
from inference.settings import Limits, Settings
from tests.visualize.factory import comparison


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
