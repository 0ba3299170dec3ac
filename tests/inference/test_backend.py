"""The seam: events in order, one request at a time, Stop that stops, checkpoints of every kind through one door."""

import gc
import shutil
import threading
import weakref
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import Qwen3VLForConditionalGeneration

from inference import AnswerToken, Attribution, Comparison, Progress, open_backend
from inference.errors import (
    BackendError,
    CancelledError,
    InputError,
    ModelLoadError,
    SelectionError,
    UnknownAdapterError,
    UnsupportedModelError,
)
from inference.model.passes import Passes
from inference.questions import AttributionOptions
from tests.adapters import write_adapter
from tests.checkpoints import write_checkpoint
from tests.conftest import picture, wait_until


@pytest.fixture(scope="module")
def backend(dense, tmp_path_factory):
    folder = write_adapter(tmp_path_factory.mktemp("adapter") / "one", dense)
    opened = open_backend("local", device="cpu", model=str(dense), adapters={"one": str(folder)})
    yield opened
    opened.close()


def test_a_stream_says_what_happens_and_ends_with_exactly_one_comparison(backend, ask):
    events = list(backend.stream(ask(adapters=(None, "one"))))
    assert [isinstance(event, Comparison) for event in events].count(True) == 1
    comparison = events[-1]
    assert isinstance(comparison, Comparison)
    stages = [event.stage for event in events if isinstance(event, Progress)]
    assert next(stage for stage in stages if stage != "queue") == "image"
    assert {"vision", "prompt", "answer", "replay"} <= set(stages)
    for recording in comparison.recordings:
        pieces = [e.text for e in events if isinstance(e, AnswerToken) and e.adapter == recording.adapter]
        assert len(pieces) == len(recording.answer_ids)
        assert "".join(pieces) == recording.answer
        assert recording.answer_pieces == tuple(pieces)
    assert {"image", "prompt", "total"} <= set(comparison.timings)


def test_a_stream_of_an_attribution_says_its_replays_and_ends_with_exactly_one(backend, ask):
    request = ask(adapters=(None, "one"))
    *events, last = backend.stream_explanation(request, AttributionOptions(by="layer"))
    assert isinstance(last, Attribution)
    assert all(isinstance(event, (Progress, AnswerToken)) for event in events)
    replays = [event.sentence for event in events if isinstance(event, Progress) and event.stage == "replays"]
    assert len(replays) == last.replays == 8 + 2 * backend.model_info().num_layers
    again = backend.explain(request, AttributionOptions(by="layer", layers=None))
    assert np.array_equal(again.outcomes, last.outcomes)
    assert np.array_equal(again.by_layer, last.by_layer)
    natural = [recording.logprobs[0] for recording in backend.compare(request).recordings]
    np.testing.assert_allclose([last.outcomes[0, 0, 0], last.outcomes[1, 1, 1]], natural, atol=1e-5)
    later = backend.explain(request, AttributionOptions(last.token + 1, by="head", layers=(1,)))
    assert later.token == last.token + 1
    assert np.isfinite(later.by_head).all(axis=1).tolist() == [False, True, False]
    with pytest.raises(SelectionError, match="outcome must be one of logprob, margin"):
        backend.explain(request, AttributionOptions(outcome="probability"))


def test_leaving_a_stream_of_an_attribution_stops_its_replays(backend, ask, monkeypatch):
    request = ask(adapters=(None, "one"), max_new_tokens=1)
    before = backend.compare(request).recordings[1].by_token
    held = Held(monkeypatch, at=6)  # the words of the one that writes, and five replays
    stream = backend.stream_explanation(request, AttributionOptions(by="head"))
    for event in stream:
        if isinstance(event, Progress) and event.sentence.startswith("replay 5 "):
            break
    assert held.reached.wait(60)
    stream.close()
    held.go_on.set()
    wait_until(lambda: not backend.busy())
    assert held.passes == 6
    assert np.array_equal(backend.compare(request).recordings[1].by_token, before)


def test_own_answers_are_replayed_each_through_its_own_variant(backend, ask):
    comparison = backend.compare(ask(adapters=(None, "one"), answer_from="own"))
    assert comparison.tokens == ()
    for recording in comparison.recordings:
        own = tuple(token.id for token in recording.tokens if token.role in ("answer", "end"))
        assert own == recording.answer_ids
        alone = backend.compare(ask(adapters=(recording.adapter,))).recordings[0]
        assert np.array_equal(alone.by_token, recording.by_token)


def test_the_base_models_answer_can_be_replayed_through_the_adapter(backend, ask):
    comparison = backend.compare(ask(adapters=(None, "one"), answer_from=None))
    replayed = tuple(token.id for token in comparison.tokens if token.role in ("answer", "end"))
    assert replayed == comparison.recording(None).answer_ids


class Held:
    """The language model stands still in one of its passes, until a test lets it go on."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, at: int) -> None:
        self.passes, self.reached, self.go_on = 0, threading.Event(), threading.Event()
        original = Qwen3VLForConditionalGeneration.forward

        def forward(model, *arguments, **options):
            self.passes += 1
            if self.passes == at:
                self.reached.set()
                assert self.go_on.wait(60)
            return original(model, *arguments, **options)

        monkeypatch.setattr(Qwen3VLForConditionalGeneration, "forward", forward)


def test_leaving_a_stream_stops_the_work(backend, ask, monkeypatch):
    """Counted at the model itself: after Stop the pass that was under way is finished, and none is begun."""
    held = Held(monkeypatch, at=12)
    stream = backend.stream(ask(max_new_tokens=256, adapters=(None, "one")))
    for event in stream:
        if isinstance(event, AnswerToken) and event.index == 2:
            break
    assert held.reached.wait(60)
    stream.close()
    held.go_on.set()
    wait_until(lambda: not backend.busy())
    assert held.passes == 12
    assert backend.compare(ask(max_new_tokens=1))


def test_closing_stops_the_work_and_tells_those_who_wait(dense, ask, monkeypatch):
    opened, held = open_backend("local", device="cpu", model=str(dense)), Held(monkeypatch, at=12)
    outcomes: list[str] = []

    def visitor() -> None:
        try:
            opened.compare(ask(max_new_tokens=256))
            outcomes.append("answered")
        except (BackendError, CancelledError) as error:
            outcomes.append(error.code)

    threads = [threading.Thread(target=visitor) for _ in range(3)]
    for thread in threads:
        thread.start()
    assert held.reached.wait(60)
    closing = threading.Thread(target=opened.close)
    closing.start()
    wait_until(lambda: outcomes == ["backend_unavailable"] * 2)
    held.go_on.set()
    for thread in (*threads, closing):
        thread.join(60)
    assert outcomes == ["backend_unavailable", "backend_unavailable", "cancelled"]
    assert held.passes == 12


def test_settings_count_where_nothing_else_is_said(dense, ask):
    from inference import Settings

    settings = Settings(model=str(dense), device="cpu", dtype="bfloat16", attention="rows")
    opened = open_backend("local", settings=settings)
    assert opened.model_info().dtype == "bfloat16"
    assert opened.compare(ask()).recordings[0].attention == "rows"
    assert open_backend("local", settings=settings, dtype="float32").model_info().dtype == "float32"


def test_requests_of_many_threads_are_answered_one_after_another_and_alike(backend, ask):
    expected = {name: backend.compare(ask(adapters=(name,))).recordings[0].by_token for name in (None, "one")}
    results: list[bool] = []

    def visitor(name):
        for _ in range(3):
            got = backend.compare(ask(adapters=(name,))).recordings[0].by_token
            results.append(np.array_equal(got, expected[name]))

    threads = [threading.Thread(target=visitor, args=(name,)) for name in (None, "one", None, "one")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == [True] * 12


def test_a_token_out_of_range_is_refused_and_the_backend_still_works(backend, ask):
    with pytest.raises(SelectionError, match="tokens 0–"):
        backend.compare(ask(focus=(10_000,)))
    with pytest.raises(SelectionError):
        backend.compare(ask(focus=(12,), answer=(70,), prompt="x"))
    assert backend.compare(ask())


@pytest.mark.parametrize("kind", ["dense", "dense-untied", "moe", "moe-tied"])
def test_every_kind_of_checkpoint_layout_loads_through_the_same_door(kind, tmp_path, ask):
    folder = write_checkpoint(tmp_path / kind, kind)
    opened = open_backend("local", device="cpu", model=str(folder))
    info = opened.model_info()
    assert info.family == ("Qwen3-VL MoE" if "moe" in kind else "Qwen3-VL")
    assert (info.num_layers, info.num_heads, info.num_vision_layers, info.patch_size) == (3, 4, 3, 16)
    assert info.id == kind
    comparison = opened.compare(ask(image=picture(96, 224)))
    assert comparison.grid == (3, 7)
    opened.close()


def test_a_half_precision_checkpoint_runs_in_float32_on_a_cpu(tmp_path):
    import torch

    folder = write_checkpoint(tmp_path / "half", "dense", dtype=torch.float16)
    opened = open_backend("local", model=str(folder), device="cpu")
    assert opened.model_info().dtype == "float32"
    assert open_backend("local", model=str(folder), device="cpu", dtype="bfloat16").model_info().dtype == "bfloat16"


def test_models_that_cannot_be_loaded_are_refused_with_a_reason(tmp_path, dense):
    import json
    import shutil

    with pytest.raises(ModelLoadError, match="There is no folder"):
        open_backend("local", model=str(tmp_path / "nothing"))
    with pytest.raises(ModelLoadError):
        open_backend("local", model="nobody/no-such-model")  # offline: the Hub cannot give it
    other = tmp_path / "other"
    other.mkdir()
    (other / "config.json").write_text(json.dumps({"model_type": "gpt2"}))
    with pytest.raises(UnsupportedModelError, match="gpt2"):
        open_backend("local", device="cpu", model=str(other))
    cut = shutil.copytree(dense, tmp_path / "cut")
    weights = cut / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:1_000])
    with pytest.raises(ModelLoadError):
        open_backend("local", device="cpu", model=str(cut))
    from safetensors.torch import load_file, save_file

    holed = shutil.copytree(dense, tmp_path / "holed")
    tensors = load_file(holed / "model.safetensors")
    del tensors["model.language_model.layers.1.self_attn.q_proj.weight"]
    save_file(tensors, holed / "model.safetensors", {"format": "pt"})
    with pytest.raises(ModelLoadError, match="do not hold the whole model"):
        open_backend("local", model=str(holed))
    with pytest.raises(ModelLoadError, match="sees no such GPU"):
        open_backend("local", model=str(dense), device="cuda:9")
    for option in ({"device": "toaster"}, {"dtype": "int4"}):
        with pytest.raises(InputError, match=f"not '{next(iter(option.values()))}'"):
            open_backend("local", model=str(dense), **option)


def test_a_closed_backend_says_so(dense, ask):
    opened = open_backend("local", device="cpu", model=str(dense))
    opened.close()
    with pytest.raises(BackendError, match="The engine was stopped"):
        opened.compare(ask())


def test_an_answer_does_not_depend_on_what_was_asked_before(backend, ask):
    plain = backend.compare(ask(image=picture(96, 160, seed=9)))
    assert backend.compare(ask(image=picture(96, 160, seed=9), vision_tower=True)).recordings[0].vision_received.any()
    again = backend.compare(ask(image=picture(96, 160, seed=9)))
    assert plain.recordings[0].vision_received is None
    assert again.recordings[0].vision_received is None


def test_an_adapter_that_appears_is_offered_and_one_that_was_replaced_is_read_again(dense, tmp_path, ask):
    """Against fresh backends: what a running one says after files changed is what a new one would say."""
    folder = tmp_path / "runs"
    write_adapter(folder / "first", dense, seed=1)
    opened = open_backend("local", device="cpu", model=str(dense), adapters_dir=folder)
    before = opened.compare(ask(adapters=("first",))).recordings[0].by_token
    write_adapter(folder / "second", dense, seed=2)
    assert [each.name for each in opened.adapters()] == ["first", "second"]
    second = opened.compare(ask(adapters=("second",))).recordings[0].by_token
    shutil.rmtree(folder / "first")
    with pytest.raises(UnknownAdapterError):
        opened.compare(ask(adapters=("first",)))
    write_adapter(folder / "first", dense, seed=3)
    after = opened.compare(ask(adapters=("first",))).recordings[0].by_token
    fresh = open_backend("local", device="cpu", model=str(dense), adapters_dir=folder)
    assert np.array_equal(fresh.compare(ask(adapters=("first",))).recordings[0].by_token, after)
    assert np.array_equal(fresh.compare(ask(adapters=("second",))).recordings[0].by_token, second)
    assert not np.array_equal(before, after)


def test_a_folder_with_an_impossible_name_gets_a_plain_one_and_its_own_is_told(dense, tmp_path, ask):
    folder = tmp_path / "runs"
    write_adapter(folder / "good", dense)
    write_adapter(folder / "so <bad>", dense, seed=2)
    opened = open_backend("local", device="cpu", model=str(dense), adapters_dir=folder)
    good, renamed = opened.adapters()
    assert (good.name, renamed.name, renamed.usable) == ("good", "so-bad", True)
    assert "Its folder is 'so <bad>'." in renamed.notes
    one, other = opened.compare(ask(adapters=("good", "so-bad"))).recordings
    assert not np.array_equal(one.by_token, other.by_token)


def test_an_overflow_is_an_error_and_not_a_picture(backend, monkeypatch, ask):
    from inference.errors import CaptureError

    words = Passes.words
    monkeypatch.setattr(Passes, "words", lambda *arguments, **options: words(*arguments, **options) * torch.inf)
    with pytest.raises(CaptureError, match="not finite"):
        backend.compare(ask(answer=(70, 71)))
    monkeypatch.undo()
    assert backend.compare(ask())


def test_out_of_memory_is_told_with_what_to_reduce(backend, monkeypatch, ask):
    import torch

    from inference.errors import OutOfMemoryError

    def full_gpu(*arguments, **options):
        raise torch.OutOfMemoryError("CUDA out of memory")

    def full_host(*arguments, **options):
        return torch.empty(2**60, dtype=torch.uint8)

    for full in (full_gpu, full_host):
        monkeypatch.setattr(Passes, "words", full)
        with pytest.raises(OutOfMemoryError, match="max_image_tokens"):
            backend.compare(ask())
        monkeypatch.undo()
    assert backend.compare(ask())


def test_a_failed_analysis_holds_no_tensors(backend, monkeypatch, ask):
    """Whoever keeps the error keeps its traceback, and with it frames: their tensors would stay on a full GPU."""
    held = []

    def breaks(*arguments, **options):
        large = torch.zeros(1_000)
        held.append(weakref.ref(large))
        raise RuntimeError("broken")

    monkeypatch.setattr(Passes, "words", breaks)
    gc.disable()
    try:
        with pytest.raises(RuntimeError, match="broken") as failure:
            backend.compare(ask())
        assert [each() for each in held] == [None]
        assert failure.traceback
    finally:
        gc.enable()


def test_files_of_the_checkpoint_are_only_read(dense: Path, ask):
    before = {path: path.stat().st_mtime_ns for path in dense.iterdir()}
    open_backend("local", device="cpu", model=str(dense)).compare(ask())
    assert {path: path.stat().st_mtime_ns for path in dense.iterdir()} == before
