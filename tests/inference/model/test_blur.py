"""Deletion and insertion: every point is what a comparison of that picture says; what travels, and what is refused."""

from dataclasses import fields, replace

import numpy as np
import pytest
from PIL import ImageFilter

from inference import measures
from inference.adapters.catalog import AdapterCatalog
from inference.demo.world import scene
from inference.errors import CancelledError, CaptureError, SelectionError
from inference.explanations import Blur
from inference.model.blur import mix
from inference.model.engine import Engine
from inference.photo import Photo, upright_rgb
from inference.questions import BlurOptions
from inference.request import Request
from inference.serialization import pack_explanation, pack_question, unpack_explanation, unpack_question
from inference.settings import Settings

DRAWN = scene(961_000_006, objects=3, size=(192, 256), must_have=("red", "circle"))
GRID = (6, 8)  # cells of 32 pixels
VARIANTS = (None, "find-red", "vision-lora")
ORDER = np.random.default_rng(1).permutation(48).tolist()


@pytest.fixture(scope="module")
def engine() -> Engine:
    settings = Settings(model="demo", device="cpu")
    return Engine(settings, AdapterCatalog.from_settings(settings))


def ask(*adapters: str | None, image=DRAWN.image) -> Request:
    return Request(image, "Describe the image.", adapters=adapters, answer="red circle")


@pytest.fixture(scope="module")
def found(engine) -> Blur:
    return engine.explain(ask(*VARIANTS), BlurOptions(ORDER, steps=3))


def test_every_point_is_what_a_comparison_of_that_picture_says(found, engine):
    sharp, soft = (
        np.asarray(each) for each in (DRAWN.image, DRAWN.image.filter(ImageFilter.GaussianBlur(found.radius)))
    )
    assert (found.grid, found.radius, found.counts.tolist()) == (GRID, 32, [0, 16, 32, 48])
    assert found.order.tolist() == ORDER
    for ground, over, outcomes in ((sharp, soft, found.deletion), (soft, sharp, found.insertion)):
        for step, count in enumerate((0, 16, 32, 48)):
            pixels = ground.copy()
            for cell in ORDER[:count]:
                y, x = 32 * (cell // 8), 32 * (cell % 8)
                pixels[y : y + 32, x : x + 32] = over[y : y + 32, x : x + 32]
            compared = engine.compare(ask(*VARIANTS, image=pixels))
            expected = [recording.logprobs[0] for recording in compared.recordings]
            np.testing.assert_allclose(outcomes[:, step], expected, atol=1e-5, rtol=0)
    assert np.ptp(found.deletion, axis=1).min() > 0.01


def test_its_ends_are_shared_and_its_price_was_said(found, engine):
    assert np.array_equal(found.deletion[:, 0], found.insertion[:, -1])
    assert np.array_equal(found.deletion[:, -1], found.insertion[:, 0])
    assert found.replays == BlurOptions(ORDER, steps=3).replays(engine.model_info, 3) == 18


def test_the_targets_cells_first_is_a_good_order_and_last_a_bad_one(engine):
    covered = measures.cell_coverage(DRAWN.find("red").box, DRAWN.size, GRID).ravel()
    good, bad = np.argsort(-covered, kind="stable"), np.argsort(covered, kind="stable")
    first, last = (engine.explain(ask("find-red"), BlurOptions(order.tolist(), steps=2)) for order in (good, bad))
    assert first.deletion_area(0) < 0.3 < 0.7 < last.deletion_area(0)
    assert last.insertion_area(0) < 0.3 < 0.7 < first.insertion_area(0)


def test_the_engine_is_bit_for_bit_as_before_also_when_it_was_stopped(engine, found):
    before = engine.compare(ask(*VARIANTS))
    kept = set(engine.cache)
    again = engine.explain(ask(*VARIANTS), BlurOptions(ORDER, steps=3))
    assert np.array_equal(again.deletion, found.deletion)
    assert np.array_equal(again.insertion, found.insertion)
    assert set(engine.cache) == kept, "no blurred picture is kept, and what was read of the photo is"
    asked = []

    def stop() -> bool:
        asked.append(True)
        return len(asked) == 60

    with pytest.raises(CancelledError):
        engine.explain(ask(*VARIANTS), BlurOptions(ORDER, steps=3), stop=stop)
    assert len(asked) == 60
    after = engine.compare(ask(*VARIANTS))
    for one, other in zip(before.recordings, after.recordings, strict=True):
        assert np.array_equal(one.by_token, other.by_token)
        assert np.array_equal(one.logprobs, other.logprobs)


def test_cells_of_another_photo_are_laid_over_up_to_the_nearest_edge():
    ground, over = (upright_rgb(np.full((5, 7, 3), value, np.uint8)) for value in (10, 20))
    mixed = mix(ground, over, np.array([1, 3, 5]), (2, 3))  # edges: rows 0 2 5 (2.5 to even), columns 0 2 5 7
    assert isinstance(mixed, Photo)
    rows = ["0011100", "0011100", "1100011", "1100011", "1100011"]
    assert mixed.pixels[..., 0].tolist() == [[20 if each == "1" else 10 for each in row] for row in rows]


@pytest.mark.parametrize("order", [(), (0, 0), (1, 2), (0, 2), (-1, 0), ("0",)])
def test_an_order_that_is_none_is_refused(order):
    with pytest.raises(SelectionError):
        BlurOptions(order)


@pytest.mark.parametrize("steps", [0, 65, 1.5])
def test_steps_that_are_none_are_refused(steps):
    with pytest.raises(SelectionError, match="steps"):
        BlurOptions(range(3), steps=steps)


def test_an_image_of_fewer_cells_takes_one_a_step():
    assert BlurOptions(range(3), steps=8).steps == 3


def test_an_order_of_another_image_is_refused_before_anything_runs(engine, monkeypatch):
    monkeypatch.setattr(engine.passes, "text", None)
    monkeypatch.setattr(engine.passes, "vision", None)
    with pytest.raises(SelectionError, match="order holds 47 cells; this image has 6 × 8 = 48"):
        engine.explain(ask(None), BlurOptions(range(47)))


def test_question_and_record_come_back_as_they_were(found):
    question = BlurOptions(ORDER, 9, steps=3)
    assert unpack_question(pack_question(question)) == question
    back = unpack_explanation(pack_explanation(found))
    for each in fields(found):
        assert np.array_equal(getattr(back, each.name), getattr(found, each.name)), each.name


def test_areas_are_worked_out_by_hand(found):
    steps = np.log([[1.0, 0.5, 0.0 + 1e-300, 1e-300]])
    made = replace(found, variants=(None,), deletion=steps, insertion=steps[:, ::-1].copy())
    made = replace(made, counts=np.array([0, 12, 24, 48]))
    assert made.deletion_area(0) == pytest.approx(0.25 * 0.75 + 0.25 * 0.25)
    assert made.insertion_area(0) == pytest.approx(0.25 * 0.25 + 0.5 * 0.75)


@pytest.mark.parametrize(
    "wrong",
    [
        {"counts": np.array([0, 16, 32, 47])},
        {"counts": np.array([1, 16, 32, 48])},
        {"counts": np.array([0, 32, 16, 48])},
        {"order": np.arange(47)},
        {"deletion": np.zeros((3, 3))},
        {"insertion": np.full((3, 4), np.nan)},
    ],
)
def test_a_record_that_cannot_be_is_refused(found, wrong):
    with pytest.raises(CaptureError):
        replace(found, **wrong)
