"""Runs of the command in this process, folders of images, and second routes to its numbers."""

import csv
import io
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from inference import Comparison, open_backend
from inference.batch.__main__ import main
from inference.batch.answers import COLUMNS
from inference.demo import EXAMPLE_SCENES
from inference.demo.world import scene
from tests.conftest import picture
from tests.scripted_backend import ScriptedBackend

ARRAYS = ("logprobs", "by_token", "by_head", "group_share", "background", "background_low")


@pytest.fixture(scope="package")
def embedded():
    """The embedded model, opened once; a batch may not close it."""
    opened = open_backend("local", device="cpu")
    close, opened.close = opened.close, lambda: None
    yield opened
    close()


def photos(folder: Path, count: int) -> Path:
    folder.mkdir(exist_ok=True)
    for index in range(count):
        picture(64, 96, seed=index).save(folder / f"photo{index:02d}.png")
    return folder


def scenes(folder: Path, count: int) -> Path:
    folder.mkdir(exist_ok=True)
    for index, example in enumerate(EXAMPLE_SCENES[:count]):
        example.draw().image.save(folder / f"example{index}.png")
    for index in range(count - len(EXAMPLE_SCENES)):
        scene(9_000 + index, 3, (224, 288), ("red", "circle")).image.save(folder / f"scene{index:02d}.png")
    return folder


def batch(*arguments: object, backend: object = None) -> tuple[int, str]:
    """Run the command in this process; its exit code and what it said."""
    said = io.StringIO()
    code = main([str(each) for each in arguments], {}, open_=lambda settings: backend or ScriptedBackend(), stream=said)
    return code, said.getvalue()


def prompts(path: Path, *lines: object) -> Path:
    path.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    return path


def summary(out: Path) -> list[dict]:
    rows = [json.loads(row) for row in (out / "summary.jsonl").read_text(encoding="utf-8").splitlines()]
    assert all(tuple(row) == COLUMNS for row in rows)
    return rows


def table(out: Path) -> list[dict]:
    with (out / "summary.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def states(out: Path) -> dict[str, tuple[int, bytes]]:
    return {path.name: (path.stat().st_mtime_ns, path.read_bytes()) for path in out.glob("*.npz")}


def numbered(folder: Path, count: int) -> Path:
    folder.mkdir()
    for index in range(count):
        Image.new("RGB", (64, 64), (index, 0, 0)).save(folder / f"{index:03d}.png")
    return folder


def check_equal(one: Comparison, other: Comparison) -> None:
    assert (one.prompt, one.system, one.tokens, one.notes) == (other.prompt, other.system, other.tokens, other.notes)
    for mine, yours in zip(one.recordings, other.recordings, strict=True):
        assert (mine.adapter, mine.answer, mine.answer_ids, mine.answer_pieces) == (
            yours.adapter,
            yours.answer,
            yours.answer_ids,
            yours.answer_pieces,
        )
        for name in ARRAYS:
            assert np.array_equal(getattr(mine, name), getattr(yours, name)), name


def normalised(by_head):
    rows = by_head.reshape(-1, by_head.shape[-2] * by_head.shape[-1]).astype(float)
    return rows / rows.sum(axis=1, keepdims=True)


def divergence_in_bits(p, q):
    """Jensen–Shannon divergence as the entropy of the mean minus the mean of the entropies."""

    def entropy(row):
        return -sum(x * np.log2(x) for x in row if x > 0)

    return max(entropy((p + q) / 2) - (entropy(p) + entropy(q)) / 2, 0.0)
