"""A saved file of a few megabytes that expands to gigabytes is refused unread; what of it is unknown is left alone."""

import io
import json
import tracemalloc
import zipfile
from pathlib import Path

import numpy as np
import pytest

from inference import Comparison
from inference.errors import InputError
from tests.visualize import factory

GIGABYTES = 2_500_000_000


def with_zeros(path: Path, name: str, shape: tuple[int, ...], grid: list[int] | None = None) -> Path:
    """A saved comparison with a float32 array of zeros beside or in place of what it has, written piece by piece."""
    factory.comparison().save(path)
    with zipfile.ZipFile(path) as archive:
        members = {member: archive.read(member) for member in archive.namelist()}
    header = json.loads(np.load(io.BytesIO(members["header.npy"])).tobytes()) | ({"grid": grid} if grid else {})
    text = io.BytesIO()
    np.save(text, np.frombuffer(json.dumps(header).encode(), dtype=np.uint8))
    members |= {"header.npy": text.getvalue(), f"{name}.npy": b""}
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        for member, content in members.items():
            with archive.open(member, "w", force_zip64=True) as stream:
                if member != f"{name}.npy":
                    stream.write(content)
                    continue
                described = {"descr": "<f4", "fortran_order": False, "shape": shape}
                np.lib.format.write_array_header_1_0(stream, described)
                left = int(np.prod(shape)) * 4
                while left:
                    left -= stream.write(bytes(min(left, 2**24)))
    return path


@pytest.mark.hostile
def test_11_megabytes_that_expand_to_2_5_gigabytes_are_refused_unread(tmp_path: Path):
    tokens, layers, height, _ = factory.comparison().recordings[0].by_token.shape
    width = GIGABYTES // (4 * tokens * layers * height)
    path = with_zeros(tmp_path / "bomb.npz", "recording0.by_token", (tokens, layers, height, width), [height, width])
    assert 9e6 < path.stat().st_size < 14e6
    tracemalloc.start()
    try:
        with pytest.raises(InputError, match=r"by_token expands to 2,499,.* bytes, out of all proportion"):
            Comparison.load(path)
        assert tracemalloc.get_traced_memory()[1] < 20_000_000
    finally:
        tracemalloc.stop()


@pytest.mark.hostile
def test_an_array_that_the_format_does_not_know_is_never_expanded(tmp_path: Path):
    path = with_zeros(tmp_path / "bomb.npz", "recording0.never_heard_of", (GIGABYTES // 4,))
    tracemalloc.start()
    try:
        loaded = Comparison.load(path)
        assert tracemalloc.get_traced_memory()[1] < 20_000_000
    finally:
        tracemalloc.stop()
    assert len(loaded.recordings) == len(factory.comparison().recordings)
