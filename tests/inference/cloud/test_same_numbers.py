"""What comes back from Modal is what the same engine says here."""

import threading
from dataclasses import fields, replace

import numpy as np
import pytest

from inference import AnswerToken, Attribution, Comparison, Progress
from inference.descriptions import BackendStatus
from inference.errors import InputError, SelectionError, UnknownAdapterError
from inference.questions import AttributionOptions
from inference.serialization import split_comparison
from tests.inference.cloud.conftest import EXACT

VARIANTS = (None, "find-red", "vision-lora")


def largest_difference(one: Comparison, other: Comparison) -> float:
    first, second = split_comparison(one)[1], split_comparison(other)[1]
    assert first.keys() == second.keys()
    return max(float(np.abs(first[name].astype(np.float64) - second[name]).max()) for name in first)


def assert_same_words(one: Comparison, other: Comparison) -> None:
    first, second = split_comparison(one)[0], split_comparison(other)[0]
    assert first.pop("timings").keys() == second.pop("timings").keys()
    assert first == second


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"adapters": VARIANTS, "vision_tower": True, "system": "Be brief."},
        {"adapters": (None, "find-circle"), "answer_from": "own"},
        {"adapters": ("find-red",), "answer": "red cross", "focus": (0, 3), "scale": 0.5},
    ],
)
def test_a_comparison_equals_the_local_one(connect, local, ask, options):
    theirs, ours = connect().compare(ask(**options)), local.compare(ask(**options))
    print("largest difference:", largest_difference(theirs, ours))
    assert largest_difference(theirs, ours) == 0
    assert_same_words(theirs, ours)


def test_a_stream_tells_its_stages_in_order_and_ends_with_the_comparison(connect, ask):
    events = list(connect().stream(ask(adapters=(None, "find-red"))))
    stages = [event.stage for event in events if isinstance(event, Progress)]
    order = [stages.index(stage) for stage in ("modal", "image", "prompt", "answer", "replay", "receiving")]
    assert order == sorted(order)
    elapsed = [event.elapsed for event in events if isinstance(event, Progress)]
    assert elapsed == sorted(elapsed)
    assert [isinstance(event, Comparison) for event in events].index(True) == len(events) - 1
    for recording in events[-1].recordings:
        pieces = [each for each in events if isinstance(each, AnswerToken) and each.adapter == recording.adapter]
        assert [each.index for each in pieces] == list(range(len(recording.answer_ids)))
        assert "".join(each.text for each in pieces) == recording.answer


def test_an_attribution_equals_the_local_one_bit_for_bit_and_tells_its_replays(connect, local, ask):
    request, options = ask(adapters=(None, "find-red")), AttributionOptions(by="head", layers=(0, 3))
    *events, theirs = connect().stream_explanation(request, options)
    ours = local.explain(request, AttributionOptions(by="head", layers=(0, 3)))
    stages = [event.stage for event in events if isinstance(event, Progress)]
    assert {"modal", "prompt", "replays", "receiving"} <= set(stages)
    for field in fields(Attribution):
        one, other = getattr(theirs, field.name), getattr(ours, field.name)
        if field.name == "timings":
            assert one.keys() == other.keys()
        elif isinstance(other, np.ndarray):
            np.testing.assert_array_equal(one, other)
        else:
            assert one == other
    with pytest.raises(SelectionError, match="two variants"):
        connect().explain(ask(adapters=("find-red",)), AttributionOptions())


def test_two_callers_with_different_adapters_at_once_get_their_own(connect, local, ask):
    backend, found = connect(), {}

    def caller(name):
        found[name] = [backend.compare(ask(adapters=(None, name))) for _ in range(3)]

    threads = [threading.Thread(target=caller, args=(name,)) for name in ("find-red", "find-circle")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    for name in ("find-red", "find-circle"):
        expected = local.compare(ask(adapters=(None, name)))
        assert [largest_difference(each, expected) for each in found[name]] == [0, 0, 0]


def test_refusals_of_the_engine_arrive_as_themselves_and_the_next_request_is_answered(connect, ask):
    backend = connect()
    with pytest.raises(UnknownAdapterError, match="nobody"):
        backend.compare(ask(adapters=("nobody",)))
    with pytest.raises(SelectionError, match="tokens 0–"):
        backend.compare(ask(focus=(10_000,)))
    with pytest.raises(InputError, match="max_image_tokens"):
        backend.compare(ask(max_image_tokens=1_000_000))
    assert backend.compare(ask())


def test_what_stands_on_the_page(connect, handles, ask):
    backend = connect()
    assert backend.status() == BackendStatus("demo", "modal", gpus=("H100", "A100-80GB", "L40S"))
    assert [info.name for info in backend.adapters()][:2] == ["find-red", "find-circle"]
    known = backend.model_info()
    assert known.device == "a GPU (H100 or A100-80GB or L40S), not started"
    loaded = backend.compare(ask()).model
    assert replace(known, device=loaded.device, dtype=loaded.dtype) == loaded
    assert backend.model_info() == loaded == handles().engine.model_info.remote()
    assert backend.status() == BackendStatus("demo", "modal", "cpu", "float32")
    assert backend.at_once() == 4


def test_what_is_deployed_is_what_the_settings_say(cloud):
    found = cloud.definitions(EXACT)
    engine, catalog = found["RemoteEngine.*"], found["catalog"]
    assert engine.gpus == ["H100", "A100-80GB", "L40S"]
    assert (engine.timeout, engine.startup_timeout, engine.scaledown_window) == (600, 900, 300)
    assert (engine.min_containers, engine.max_containers, engine.memory_snapshot) == (0, 4, True)
    assert sorted(engine.methods) == ["compare", "compare_item", "explain", "model_info", "status", "warm"]
    assert set(engine.volumes.values()) == {
        "lora-attention-visualizer-models",
        "lora-attention-visualizer-adapters",
    }
    assert catalog.gpus == []
    commands = " ".join(engine.image_commands)
    assert "--require-hashes" in commands  # what the lock holds is held in tests/test_supply.py
    assert "gradio" not in commands
