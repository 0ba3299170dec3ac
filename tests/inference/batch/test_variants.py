"""Whom a batch asks: named adapters, or all that an adapters folder holds, and what it says of the others."""

import shutil
from pathlib import Path

import pytest

from inference import Backend, Settings, open_backend
from inference.demo import ADAPTERS_DIR
from tests.inference.batch.conftest import batch, numbered, summary


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """Two adapters, one of them within a family, one that cannot be used, a merged model, and a folder of papers."""
    folder = tmp_path_factory.mktemp("adapters")
    shutil.copytree(ADAPTERS_DIR / "find-circle", folder / "mine")
    shutil.copytree(ADAPTERS_DIR / "untouched", folder / "run" / "checkpoint-10")
    shutil.copytree(ADAPTERS_DIR / "noise", folder / "broken")
    (folder / "broken" / "adapter_model.safetensors").write_bytes(b"no weights")
    (folder / "papers").mkdir()
    (folder / "papers" / "notes.txt").write_text("no adapter")
    return folder


@pytest.fixture(scope="module")
def backend(folder) -> Backend:
    opened = open_backend("local", adapters_dir=folder, device="cpu")
    close, opened.close = opened.close, lambda: None
    yield opened
    close()


def run(tmp_path: Path, backend: Backend, *arguments: object) -> tuple[int, str, list[str]]:
    """Exit code, what was said, and whom the items were asked of."""
    images, out = numbered(tmp_path / "in", 1), tmp_path / "out"
    code, said = batch(images, "--prompt", "What?", "--out", out, "--max-new-tokens", 2, *arguments, backend=backend)
    return code, said, [row["adapter"] for row in summary(out)] if code == 0 else []


def test_without_adapter_all_usable_ones_of_the_folder_are_asked_and_the_others_are_named_with_the_reason(
    tmp_path, backend, folder
):
    code, said, asked = run(tmp_path, backend, "--adapters-dir", folder)
    assert (code, asked) == (0, ["base", "mine", "run-checkpoint-10"])  # none of the embedded model's own
    assert f"No --adapter was chosen: asking 2 adapters of {folder}." in said
    assert "each asked of base, mine, run-checkpoint-10." in said
    reasons = [line for line in said.splitlines() if line.startswith("  not asked: ")]
    assert [line.split(": ")[1] for line in reasons] == ["broken", "papers"]
    assert "safetensors" in reasons[0]
    assert "adapter" in reasons[1]


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--adapter", "mine"], ["base", "mine"]),
        (["--adapter", "find-red"], ["base", "find-red"]),
        (["--no-base"], ["mine", "run-checkpoint-10"]),
    ],
)
def test_who_is_named_is_asked_alone(tmp_path, backend, folder, arguments, expected):
    code, said, asked = run(tmp_path, backend, "--adapters-dir", folder, *arguments)
    assert (code, asked) == (0, expected)
    assert ("not asked" in said) == ("--no-base" in arguments)


def test_without_a_folder_base_is_asked_alone(tmp_path, backend):
    assert run(tmp_path, backend)[2] == ["base"]


def test_a_folder_without_a_usable_adapter_is_no_reason_to_ask_base_alone(tmp_path, folder):
    bad = tmp_path / "bad"
    shutil.copytree(folder / "broken", bad / "broken")
    opened = open_backend("local", settings=Settings(adapters_dir=str(bad), device="cpu"))
    code, said, _ = run(tmp_path, opened, "--adapters-dir", bad)
    assert code == 2
    last = said.splitlines()[-1]
    assert "holds no adapter that can be used" in last
    assert "safetensors" in last


def test_more_adapters_than_may_be_asked_at_once_say_how_to_choose(tmp_path):
    many = tmp_path / "many"
    for index in range(9):
        shutil.copytree(ADAPTERS_DIR / "untouched", many / f"a{index}")
    opened = open_backend("local", adapters_dir=many, device="cpu")
    code, said, _ = run(tmp_path, opened, "--adapters-dir", many)
    assert code == 2
    assert "10 variants were asked for; the limit is 8. Choose some with --adapter" in said.splitlines()[-1]
