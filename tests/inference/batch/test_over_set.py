"""What is said of a whole set: every rate by another route, heads never judged by what chose them, words by numbers."""

import base64
import csv
import dataclasses
import io
import math
import re

import numpy as np
import pytest
from PIL import Image
from scipy import stats

from inference import Comparison
from inference.batch.measures import hits_of, measured
from inference.batch.over_set import Interval, SetScore, SetScores, interval, sentence, set_scores
from inference.batch.set_files import set_section, write_set
from inference.batch.target import Target
from inference.descriptions import AdapterInfo
from tests.inference.batch.conftest import batch, photos, prompts
from tests.scripted_backend import ADAPTERS, HOSTILE, ScriptedBackend, adapter

SHAPE = (3, 5)


def packed(hits: np.ndarray) -> str:
    digits = "".join("01"[int(hit)] for hit in hits.ravel()).ljust(16, "0")
    return f"3x5:{int(digits, 2):04x}"


def row(item: int, name: str, hits: np.ndarray, said: float | None, share: float, image: str = "") -> dict[str, object]:
    about = {
        "item": item,
        "target_image": image or f"{item}.png",
        "focus": "digits",
        "adapter": name,
        "answer": "words",
    }
    return about | {"hits": packed(hits), "said_in_box": said, "box_share": share}


def family(name: str, step: int) -> AdapterInfo:
    return dataclasses.replace(adapter(f"{name}-{step}"), family=name, step=step)


@pytest.fixture(scope="module")
def dice() -> np.random.Generator:
    return np.random.default_rng(5)


def test_the_hits_of_a_row_are_those_of_its_file(tmp_path):
    images, out = photos(tmp_path / "in", 1), tmp_path / "out"
    assert batch(images, "--prompt", "What?", "--adapter", "find-red", "--out", out)[0] == 0
    comparison = Comparison.load(next(out.glob("*.npz")))
    rows = measured(comparison, Target(((0, 0, 32, 64),)))
    for recording, of_variant in zip(comparison.recordings, rows, strict=True):
        expected = [
            [np.unravel_index(heat.argmax(), heat.shape) in ((0, 0), (0, 1)) for heat in layer]
            for layer in recording.by_head
        ]
        assert hits_of(of_variant["hits"]).tolist() == expected
        assert len({*np.ravel(expected)}) == 2


def test_an_interval_is_scipys_and_answers_about_one_image_are_one_witness(dice):
    values, images = dice.random(300) ** 3, np.repeat(np.arange(60), 5)
    ours = interval(values, images)
    sums = values.reshape(60, 5).mean(axis=1)
    theirs = stats.bootstrap((sums,), np.mean, n_resamples=20_000, method="percentile", rng=1).confidence_interval
    assert ours.mean == pytest.approx(values.mean(), abs=1e-12)
    assert (ours.low, ours.high) == pytest.approx((theirs.low, theirs.high), abs=4e-3)
    same = interval(np.repeat(sums, 5), images)
    alone = interval(np.repeat(sums, 5), np.arange(300))
    assert same.high - same.low == pytest.approx((alone.high - alone.low) * math.sqrt(5), rel=0.15)


def test_sets_of_different_size_per_image_weigh_each_item_the_same():
    values, images = np.array([1, 1, 1, 0, 0, 0, 0], float), np.array([0, 0, 0, 1, 2, 3, 3])
    found = interval(values, images)
    assert found.mean == pytest.approx(3 / 7)
    drawn = np.array(np.meshgrid(*[range(4)] * 4)).reshape(4, -1)  # every resample of four images there is
    sums, sizes = np.array([3, 0, 0, 0]), np.array([3, 1, 1, 2])
    ratios = sums[drawn].sum(axis=0) / sizes[drawn].sum(axis=0)
    assert (found.low, found.high) == pytest.approx(tuple(np.percentile(ratios, [2.5, 97.5])), abs=0.05)


def test_fewer_than_four_images_have_no_interval():
    assert all(
        math.isnan(each)
        for each in (interval(np.ones(9), np.arange(9) % 3).low, interval(np.ones(3), np.arange(3)).high)
    )
    assert not math.isnan(interval(np.ones(4), np.arange(4)).low)


def test_a_head_is_chosen_on_the_other_half_and_the_same_for_all(dice):
    """Head (1, 2) is right on even images alone, (2, 4) on odd ones alone: each is chosen where it is of no use."""
    rows = []
    for item in range(12):
        hits = dice.random(SHAPE) < 0.2
        hits[1, 2], hits[2, 4] = item % 2 == 0, item % 2 == 1
        rows += [row(item, "base", hits, 1, 0.5), row(item, "a", ~hits, None, 0.25)]
    scores = set_scores(rows, [adapter("a")])
    assert scores.heads == ((2, 4), (1, 2))
    assert scores.chosen_by == "base"
    assert [each.means["looked"].mean for each in scores.scores] == [0, 1]
    assert [each.means["said"].mean for each in scores.scores] == [1, 0]
    assert [each.answered for each in scores.scores] == [1, 0]
    assert [each.means["share"].mean for each in scores.scores] == [0.5, 0.25]
    assert scores.scores[0].changes == {}
    assert {what: change.mean for what, change in scores.scores[1].changes.items()} == {
        "said": -1,
        "looked": 1,
        "share": -0.25,
    }


def test_changes_are_paired(dice):
    """Each item of the adapter is 0.1 below base's: however items differ, the change does not."""
    rows, shares = [], dice.random(40)
    for item, share in enumerate(shares):
        rows += [
            row(item, "base", np.ones(SHAPE, bool), 1, share),
            row(item, "a", np.ones(SHAPE, bool), 1, share - 0.1),
        ]
    change = set_scores(rows, [adapter("a")]).scores[1].changes["share"]
    assert (change.low, change.mean, change.high) == pytest.approx((-0.1, -0.1, -0.1))


def test_without_base_the_first_variant_chooses_and_nothing_changes(dice):
    rows = [row(item, name, dice.random(SHAPE) < 0.5, 1, 0.5) for item in range(6) for name in ("b", "a")]
    scores = set_scores(rows, [adapter("b"), adapter("a")])
    assert scores.chosen_by == "b"
    assert all(each.changes == {} for each in scores.scores)


def test_one_image_chooses_no_head_and_rows_without_a_target_count_nowhere():
    rows = [
        row(1, "base", np.ones(SHAPE, bool), 1, 0.5, "same.png"),
        row(2, "base", np.ones(SHAPE, bool), 0, 0.5, "same.png"),
    ]
    no_target = {"item": 3, "image": "x.png", "adapter": "base"}
    scores = set_scores([*rows, no_target], [])
    assert scores.heads == ()
    assert math.isnan(scores.scores[0].means["looked"].mean)
    assert (scores.scores[0].items, scores.scores[0].images, scores.scores[0].means["said"].mean) == (2, 1, 0.5)
    assert set_scores([no_target], []) is None


def scored(name: str, step: int, said: tuple[float, float, float], looked: tuple[float, float, float]) -> SetScore:
    changes = {"said": Interval(*said), "looked": Interval(*looked), "share": Interval(0, 0, 0)}
    means = {
        "said": Interval(0.9 + said[0], 0, 1),
        "looked": Interval(0.8 + looked[0], 0, 1),
        "share": Interval(0.3, 0, 1),
    }
    return SetScore(f"{name}-{step}", name, step, 20, 20, 1.0, means, changes)


LEVEL, FALLEN = (-0.1, -0.2, 0.01), (-0.3, -0.4, -0.15)
SAID = "said falls to 60 % at {} (−30 points, 95 % −40 … −15)"
LOOKED = "looked falls to 50 % at {} (−30 points, 95 % −40 … −15)"
NOT_SAID, NOT_LOOKED = "said does not fall beyond chance", "looked does not fall beyond chance"


@pytest.mark.parametrize(
    ("said", "looked", "words"),
    [
        ((LEVEL, LEVEL), (LEVEL, LEVEL), f"{NOT_SAID}; {NOT_LOOKED}: neither hands nor eyes."),
        ((FALLEN, FALLEN), (LEVEL, LEVEL), f"{SAID.format(10)}; {NOT_LOOKED}: the hands, not the eyes."),
        ((LEVEL, LEVEL), (LEVEL, FALLEN), f"{NOT_SAID}; {LOOKED.format('1,020')}: the eyes, not the hands."),
        ((FALLEN, FALLEN), (LEVEL, FALLEN), f"{SAID.format(10)}; {LOOKED.format('1,020')}: the hands first."),
        ((LEVEL, FALLEN), (FALLEN, FALLEN), f"{SAID.format('1,020')}; {LOOKED.format(10)}: the eyes first."),
        (
            (LEVEL, FALLEN),
            (LEVEL, FALLEN),
            f"{SAID.format('1,020')}; {LOOKED.format('1,020')}: hands and eyes at the same checkpoint.",
        ),
    ],
)
def test_what_became_of_a_run_is_said_with_its_numbers(said, looked, words):
    run = [scored("run", step, said[index], looked[index]) for index, step in enumerate((10, 1_020))]
    scores = SetScores((run[1], run[0]), ((0, 0), (0, 1)), "base", "digits")  # asked in another order
    assert sentence(scores, "run") == f"run, checkpoints 10, 1,020: {words}"
    assert scores.families == ("run",)


def test_a_single_checkpoint_is_no_run_and_one_without_base_falls_below_nothing():
    one = scored("run", 10, LEVEL, LEVEL)
    assert SetScores((one,), (), "base", "first").families == ()
    bare = dataclasses.replace(one, changes={})
    scores = SetScores((bare, dataclasses.replace(bare, step=20)), (), "run-10", "first")
    assert "nothing that a checkpoint could fall below" in sentence(scores, "run")


def family_rows(items: int, hits: np.ndarray, image: str = "", **more: object) -> list[dict[str, object]]:
    """Base right, two checkpoints wrong, in words and eyes."""
    rows = []
    for item in range(items):
        rows.append(row(item, "base", hits, 1, 0.5, image) | more)
        rows += [row(item, f"run-{step}", ~hits, 0, 0.1, image) | more for step in (10, 20)]
    return rows


RUN = [family("run", 10), family("run", 20)]


def test_answers_that_could_not_be_measured_are_counted_and_nothing_is_concluded_without_them():
    hits = np.ones(SHAPE, bool)
    failed = [
        {"item": 90 + index, "target_image": f"{index}.png", "adapter": name, "error": "invalid_selection"}
        for index in range(2)
        for name in ("base", "run-10", "run-20")
    ]
    scores = set_scores([*family_rows(8, hits), *failed], RUN)
    assert (scores.missing, scores.scores[0].items) == (2, 8)
    assert "2 of 10 answers with a target could not be measured, so nothing is concluded" in sentence(scores, "run")
    assert "hands" in sentence(set_scores(family_rows(8, hits), RUN), "run")


def test_an_answer_that_was_given_is_nobodys_own_word():
    scores = set_scores(family_rows(8, np.ones(SHAPE, bool), answer=None), RUN)
    for score in scores.scores:
        assert math.isnan(score.means["said"].mean)
        assert math.isnan(score.answered)
    words = sentence(scores, "run")
    assert words.endswith(
        "looked falls to 0 % at 10 (−100 points, 95 % −100 … −100): only one of the two was measured."
    )
    assert "said" not in words


@pytest.mark.parametrize("images", [1, 3])
def test_of_too_few_images_nothing_is_concluded(images):
    rows = [row | {"target_image": f"{row['item'] % images}.png"} for row in family_rows(9, np.ones(SHAPE, bool))]
    words = sentence(set_scores(rows, RUN), "run")
    assert words == f"run: {images} images are too few for an interval, at least 4 are needed."


def test_a_later_run_leaves_no_picture_and_no_table_of_an_earlier_one(tmp_path):
    out, images = tmp_path / "out", photos(tmp_path / "in", 1)
    out.mkdir()
    for name in ("targets.csv", "targets.png"):
        (out / name).write_text("old")
    lines = prompts(tmp_path / "p.jsonl", {"prompt": "Where?", "target": [0, 0, 40, 40]})
    assert batch(images, "--prompts", lines, "--out", out)[0] == 0
    assert not (out / "targets.png").exists()
    assert read_table(out)
    assert batch(images, "--prompt", "Where?", "--out", out)[0] == 0
    assert not (out / "targets.csv").exists()


class Family(ScriptedBackend):
    """Says the right place; two of its adapters are checkpoints of one training run."""

    def __init__(self) -> None:
        super().__init__(answer=("[", "250", ", ", "500", "]"))
        self.offered = (*ADAPTERS, family("run", 10), family("run", 20))


def read_table(out):
    with (out / "targets.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_a_batch_leaves_a_table_a_picture_and_a_part_of_its_index(tmp_path):
    lines = prompts(tmp_path / "p.jsonl", {"prompt": "Where?", "target": [0, 0, 40, 40]})
    images, out = photos(tmp_path / "in", 4), tmp_path / "out"
    arguments = (images, "--prompts", lines, "--adapter", "run", "--out", out, "--focus", "digits", "--report")
    code, said = batch(*arguments, backend=Family())
    assert code == 0, said
    table = read_table(out)
    assert [each["adapter"] for each in table] == ["base", "run-10", "run-20"]
    assert {each["items"] for each in table} == {"4"}
    assert {each["said"] for each in table} == {"1.0"}
    assert [each["said_change"] for each in table] == ["", "0.0", "0.0"]
    assert f"Over 4 answers with a target: {out / 'targets.csv'}" in said
    assert re.search(r"\n  base: said 100 %, looked \d+ %, share \d+ %\n", said)
    assert "  run, checkpoints 10, 20: said does not fall beyond chance;" in said
    html = (out / "index.html").read_text(encoding="utf-8")
    assert "Over 4 answers with a target, of 4 images" in html
    picture = base64.b64decode(re.search(r'src="data:image/png;base64,([^"]+)"', html)[1])
    assert picture == (out / "targets.png").read_bytes()
    assert Image.open(io.BytesIO(picture)).size[1] > 300
    cover = np.zeros((64, 96))
    cover[:40, :40] = 1
    cover = cover.reshape(2, 32, 3, 32).mean(axis=(1, 3))
    shares = {}  # by another route: from the files, cell by cell
    for comparison in map(Comparison.load, out.glob("*.npz")):
        for recording in comparison.recordings:
            in_it = (recording.by_head.astype(float) * cover).sum(axis=(2, 3))
            shares.setdefault(recording.adapter or "base", []).append(in_it.mean())
    for each in table:
        assert float(each["share"]) == pytest.approx(np.mean(shares[each["adapter"]]), rel=1e-4)


def test_a_batch_without_a_target_leaves_none_of_it(tmp_path):
    out = tmp_path / "out"
    code, said = batch(photos(tmp_path / "in", 2), "--prompt", "What?", "--out", out, "--report")
    assert code == 0
    assert not (out / "targets.csv").exists()
    assert "a target" not in said + (out / "index.html").read_text(encoding="utf-8")


def test_what_is_not_known_is_an_empty_cell_and_a_dash(tmp_path):
    nothing = Interval(math.nan, math.nan, math.nan)
    means = {"said": Interval(0.5, math.nan, math.nan), "looked": nothing, "share": Interval(0.1234567, 0.1, 0.2)}
    scores = SetScores((SetScore("=<a", "", None, 1, 1, 0.0, means, {}),), (), "=<a", HOSTILE)
    write_set(tmp_path, scores)
    (only,) = read_table(tmp_path)
    assert (only["adapter"], only["said"], only["said_low"], only["looked"], only["share"]) == (
        "'=<a",
        "0.5",
        "",
        "",
        "0.123457",
    )
    assert not (tmp_path / "targets.png").exists()
    html = set_section(tmp_path, scores)
    assert HOSTILE not in html
    cells = re.findall(r"<td>(.*?)</td>", html)
    assert cells == ['<bdi dir="auto">=&lt;a</bdi>', "50 %", "–", "12 % (10 … 20)", "–", "–", "0 %"]
