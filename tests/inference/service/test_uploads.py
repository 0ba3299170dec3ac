"""Files that visitors uploaded: bounded, theirs alone, and gone when the process is."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from inference.errors import InputError
from inference.service.uploads import Uploads, uploaded
from inference.settings import Limits
from tests import ROOT


def written(folder: Path, *names: str, size: int = 10) -> list[Path]:
    for name in names:
        (folder / name).write_bytes(b"x" * size)
    return [folder / name for name in names]


def there(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_an_address_that_uploads_too_much_loses_its_oldest(tmp_path: Path):
    uploads = Uploads(Limits(uploaded_bytes=25))
    uploads.add("other", written(tmp_path, "z"))
    for name in "abc":
        uploads.add("one", written(tmp_path, name))
    assert there(tmp_path) == ["b", "c", "z"]
    assert uploads.nbytes == 30
    uploads.add("one", written(tmp_path, "b"))  # sent again: it is the youngest now
    uploads.add("one", written(tmp_path, "d"))
    assert there(tmp_path) == ["b", "d", "z"]


def test_nine_hundred_files_at_once_are_too_many(tmp_path: Path):
    uploads = Uploads(Limits(uploaded_files=200))
    uploads.add("one", written(tmp_path, *(f"{each:03}" for each in range(900))))
    assert len(there(tmp_path)) == 200


def test_all_together_have_a_bound_too(tmp_path: Path):
    uploads = Uploads(Limits(all_uploaded_bytes=35))
    for address in range(6):
        uploads.add(str(address), written(tmp_path, f"of {address}"))
    assert there(tmp_path) == ["of 3", "of 4", "of 5"]


def test_what_went_in_another_way_is_not_counted(tmp_path: Path):
    uploads = Uploads(Limits(uploaded_bytes=25))
    uploads.add("one", written(tmp_path, "a", "b"))
    (tmp_path / "a").unlink()
    uploads.add("one", written(tmp_path, "c"))
    assert there(tmp_path) == ["b", "c"]


def test_a_shipped_file_is_nobodys_whoever_uploads_the_same(tmp_path: Path):
    (shipped,) = written(tmp_path, "shipped", size=100)
    uploads = Uploads(Limits(uploaded_bytes=25))
    uploads.ship([tmp_path / "." / "shipped"])
    uploads.add("one", [shipped])
    assert shipped not in uploads
    uploads.add("one", written(tmp_path, "a", "b", "c"))
    assert shipped.exists()


@pytest.mark.parametrize(
    "image",
    [
        None,
        "photo.png",
        {"path": None},
        {"path": ["photo.png"]},
        {"path": ""},
        {"path": "/etc/passwd"},
        {"path": "../secret"},
        {"path": "a\0b"},
        {"path": "x" * 100_000},
        {"path": "http://127.0.0.1/photo.png"},
    ],
)
def test_no_other_file_is_opened(image: object, uploads: Path):
    (uploads.parent / "secret").write_bytes(b"secret")
    with pytest.raises(InputError):
        uploaded(image)


def test_neither_a_folder_nor_a_link_to_elsewhere_is_opened(uploads: Path):
    (uploads.parent / "secret").write_bytes(b"secret")
    (uploads / "link").symlink_to(uploads.parent / "secret")
    for path in (uploads, uploads / "link", uploads / ".." / "secret"):
        with pytest.raises(InputError, match="no longer here"):
            uploaded({"path": str(path)})
    assert uploaded({"path": str(written(uploads, "photo")[0])}) == (uploads / "photo").resolve()


def test_what_failed_uploads_left_is_swept_and_what_is_written_to_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    folder = tmp_path / "lora-attention-visualizer-test"
    folder.mkdir()
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(folder))
    written(folder, "tmpleft", "photo")
    (folder / "tmpfolder").mkdir()
    with (folder / "tmpopen").open("wb"):
        Uploads(Limits()).sweep()
        assert there(folder) == ["photo", "tmpfolder", "tmpopen"]
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path))  # where others may keep files
    written(tmp_path, "tmpothers")
    Uploads(Limits()).sweep()
    assert (tmp_path / "tmpothers").exists()


SERVER = """
import sys
from inference.imports import without_stubs
with without_stubs():
    from inference.service.uploads import use_own_folder
folder = use_own_folder()
(folder / "photo").write_text("a photo")
print(folder, flush=True)
sys.stdin.readline()
"""


@pytest.mark.slow
def test_a_process_has_a_folder_of_its_own_that_goes_with_it(tmp_path: Path):
    def started() -> "subprocess.Popen[str]":
        environment = os.environ | {"GRADIO_TEMP_DIR": str(tmp_path), "PYTHONPATH": str(ROOT)}
        return subprocess.Popen(
            [sys.executable, "-c", SERVER], env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def folder(process: "subprocess.Popen[str]") -> Path:
        assert process.stdout is not None
        return Path(process.stdout.readline().strip())

    (tmp_path / "someone else's").mkdir()
    with started() as killed, started() as alive:
        first, second = folder(killed), folder(alive)
        assert first != second
        killed.kill()
        killed.wait()
        assert (first / "photo").exists()  # nobody could delete it
        with started() as third:
            assert folder(third).parent == tmp_path
            assert not first.exists()
            assert (second / "photo").exists()
            third.communicate("end\n")
        alive.communicate("end\n")
    assert there(tmp_path) == ["someone else's"]
