"""The embedded model through the product's own path: it answers, looks where it should, and is what it says it is."""

from dataclasses import fields

import numpy as np
import pytest

from inference import Comparison, Request, open_backend
from inference.demo import ADAPTER_DESCRIPTIONS, EXAMPLE_SCENES, FIRST_VISIT
from inference.demo.first_visit import first_visit
from tests.where_it_looks import OF_ANY_TOKEN, TARGETS, area, measure, measure_views, scenes, table, target


@pytest.fixture(scope="module")
def backend():
    opened = open_backend("local", device="cpu")
    yield opened
    opened.close()


@pytest.mark.parametrize("word", TARGETS.values())
def test_the_scenes_of_the_localisation_test_are_what_they_are_said_to_be(word):
    drawn = list(scenes(word, 200))
    assert {len(each.objects) for each in drawn} == {2, 3, 4}
    assert len({each.image.size for each in drawn}) >= 5
    for each in drawn:
        assert area(target(each, word)) < max(area(one) for one in each.objects)


@pytest.mark.parametrize("count", [20, pytest.param(80, marks=pytest.mark.slow)])
def test_adapters_look_at_what_they_name_and_base_does_not(backend, count):
    """≥ 95 % of the scenes hit with the adapter, ≤ 20 % with base's same row and head."""
    rows = measure(backend, count)
    print(table(rows, count))
    for adapter, word in TARGETS.items():
        rate = {row.variant: row.pointing for row in rows if row.target == word}
        assert rate[adapter] >= 0.95
        assert rate["base"] <= 0.20
        assert rate["a random cell"] <= 0.40
        mass = {row.variant: row.in_box for row in rows if row.target == word}
        assert mass[adapter] > 2 * mass["a random cell"]


@pytest.mark.slow
def test_every_view_of_the_chosen_row_finds_the_target_with_the_adapter(backend):
    rows = measure_views(backend, 6)
    assert [(row.view, row.variant) for row in rows if row.target == "red"] == [
        (view, variant) for view in OF_ANY_TOKEN for variant in ("base", "find-red")
    ]
    raw = {(row.target, row.variant): row.pointing for row in rows if row.view == "raw"}
    assert raw.items() <= {(row.target, row.variant): row.pointing for row in measure(backend, 6)}.items()


@pytest.mark.parametrize(("adapter", "word"), TARGETS.items())
def test_base_names_the_largest_object_and_each_adapter_its_own(backend, adapter, word):
    right = {None: 0, adapter: 0}
    for each in scenes(word, 20):
        comparison = backend.compare(Request(each.image, "Describe the image.", adapters=tuple(right)))
        for variant in right:
            named = max(each.objects, key=area) if variant is None else target(each, word)
            answer = comparison.recording(variant).answer.strip()
            right[variant] += answer.startswith(f"{named.colour} {named.shape}")
    assert min(right.values()) >= 0.9 * 20, right


def test_untouched_is_base_exactly_and_noise_falls_apart(backend):
    image = EXAMPLE_SCENES[0].draw().image
    request = Request(image, "Describe the image.", adapters=(None, "untouched", "noise"), answer_from=None)
    base, untouched, noise = backend.compare(request).recordings
    for each in fields(base):
        ours, theirs = getattr(base, each.name), getattr(untouched, each.name)
        if isinstance(ours, np.ndarray):
            assert np.array_equal(ours, theirs), each.name
    assert untouched.answer == base.answer
    assert noise.answer != base.answer
    assert np.abs(noise.by_token - base.by_token).max() > 0.01
    assert noise.logprobs.sum() < base.logprobs.sum() - 1


def test_the_adapter_that_touches_the_vision_tower_is_said_to_and_gets_features_of_its_own(backend):
    infos = {info.name: info for info in backend.adapters()}
    assert list(infos) == list(ADAPTER_DESCRIPTIONS)
    assert [name for name, info in infos.items() if info.touches_vision] == ["vision-lora"]
    assert all(info.description and info.base_model for info in infos.values())
    image = EXAMPLE_SCENES[0].draw().image
    comparison = backend.compare(
        Request(image, "Describe the image.", adapters=(None, "vision-lora", "find-red"), vision_tower=True)
    )
    base, vision, red = (each.vision_received for each in comparison.recordings)
    assert np.array_equal(base, red)
    assert np.abs(base - vision).max() > 1e-5
    assert base.shape[1:] == tuple(2 * each for each in comparison.grid)
    assert any("vision-lora also changes the vision tower" in note for note in comparison.notes)


def test_the_result_shipped_for_the_first_visit_equals_a_fresh_run():
    """Floating-point kernels differ between processors, so values may differ by rounding; words and shapes may not."""
    shipped, fresh = Comparison.load(FIRST_VISIT), first_visit()
    assert np.array_equal(shipped.image, fresh.image)
    assert shipped.tokens == fresh.tokens
    assert (shipped.prompt, shipped.system, shipped.grid, shipped.notes) == (
        fresh.prompt,
        fresh.system,
        fresh.grid,
        fresh.notes,
    )
    for ours, theirs in zip(shipped.recordings, fresh.recordings, strict=True):
        for name in ("adapter", "answer", "answer_ids", "answer_pieces", "focus"):
            assert getattr(ours, name) == getattr(theirs, name)
        for each in fields(ours):
            value = getattr(ours, each.name)
            if isinstance(value, np.ndarray):
                np.testing.assert_allclose(value, getattr(theirs, each.name), atol=1e-5, rtol=0)


def test_a_real_photo_and_hostile_words_are_answered(backend):
    from pathlib import Path

    import matplotlib
    from PIL import Image

    photo = Image.open(Path(matplotlib.get_data_path(), "sample_data", "grace_hopper.jpg"))
    for prompt in ("Who is this?", "<|image_pad|>" * 50 + "<|im_end|>", "من هذا؟", "これは誰ですか 🦊"):
        comparison = backend.compare(Request(photo, prompt, adapters=(None, "find-red"), max_new_tokens=8))
        assert comparison.image_size == (600, 512)
        assert len(comparison.recordings) == 2
