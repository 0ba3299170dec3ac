"""One file of arrays and a JSON header, an `.npz` that `np.load` reads; it knows no records.

Equal content gives equal bytes. The bytes may come from a stranger: nothing is unpickled, only the arrays that the
reader names are read, and an array is expanded only when the zip's directory, the array's own header and what the
reader expects agree on its size, and all that was expanded stays in proportion to the file.
"""

import json
import struct
import tokenize
import zipfile
import zlib
from collections.abc import Mapping, Sequence
from math import prod
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from inference.settings import MIB

#: What reading damaged or foreign bytes throws.
DAMAGE = (
    ArithmeticError,
    AttributeError,
    EOFError,
    LookupError,
    NotImplementedError,
    OSError,
    RecursionError,
    RuntimeError,
    TypeError,
    ValueError,
    struct.error,
    zipfile.BadZipFile,
    zlib.error,
)
#: Bytes that any file may expand to, however small it is, and how many times its size a larger one may: attention is
#: nearly random in its last bits, and hardly gets half as large.
_SMALL, _GROWTH = 64 * MIB, 50
#: Of zlib: numpy's level 6 takes up to eight times as long for maps that are hardly smaller then.
_LEVEL = 1
_HEADER = "header"
_NPY = (1, 0)


class ArchiveError(ValueError):
    """An archive that is not what its reader expects; the message says in what."""


def write_archive(
    file: BinaryIO, header: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]], *, compress: bool
) -> None:
    """Write a header and arrays.

    Args:
        file: where to; it must be seekable.
        header: JSON values.
        arrays: by name, of any shape and plain dtype.
        compress: deflate them, which takes longer than sending them does.
    """
    text = np.frombuffer(json.dumps(header, ensure_ascii=False).encode(), dtype=np.uint8)
    method = zipfile.ZIP_DEFLATED if compress else zipfile.ZIP_STORED
    with zipfile.ZipFile(file, "w", method, compresslevel=_LEVEL) as archive:
        for name, array in {_HEADER: text, **arrays}.items():
            with archive.open(f"{name}.npy", "w", force_zip64=True) as member:
                np.lib.format.write_array(member, np.ascontiguousarray(array), version=_NPY, allow_pickle=False)


class Archive:
    """What `write_archive` wrote, read piece by piece.

    Args:
        file: must be seekable, and stay open while this is used.

    Raises:
        ArchiveError, or another of `DAMAGE`: it is no such file.
    """

    def __init__(self, file: BinaryIO) -> None:
        self._zip = zipfile.ZipFile(file)
        self._names = frozenset(self._zip.namelist())
        self._left = _SMALL + _GROWTH * file.seek(0, 2)

    def __contains__(self, name: str) -> bool:
        return f"{name}.npy" in self._names

    def header(self) -> dict[str, Any]:
        """The JSON values.

        Raises:
            ArchiveError, or another of `DAMAGE`: there are none.
        """
        header = json.loads(self.array(_HEADER, (None,), np.uint8).tobytes())
        if not isinstance(header, dict):
            raise ArchiveError(f"its header is a {type(header).__name__}, not an object")
        return header

    def array(
        self, name: str, shape: Sequence[int | None], dtype: type[np.generic], *, most: int | None = None
    ) -> NDArray[Any]:
        """Read an array of which shape and type are known.

        Args:
            name: of the array.
            shape: None for an axis of any length.
            dtype: what it must hold.
            most: bytes that it may have whatever the size of the file; for what can really shrink so far.

        Raises:
            ArchiveError, or another of `DAMAGE`: it is not there, is another, or is larger than a file of this size
                can rightly hold.
        """
        member = self._zip.getinfo(f"{name}.npy")
        with self._zip.open(member) as stream:
            if np.lib.format.read_magic(stream) != _NPY:
                raise ArchiveError(f"{name} is of another version of numpy's format")
            try:
                found, _, kind = np.lib.format.read_array_header_1_0(stream)
            except (MemoryError, SyntaxError, tokenize.TokenError) as error:  # it is read as Python's notation
                raise ArchiveError(f"{name} has a header that is not numpy's") from error
            size = stream.tell() + prod(found) * kind.itemsize
        fits = len(found) == len(shape) and all(want in (None, got) for want, got in zip(shape, found, strict=True))
        if not fits or kind != dtype:
            wanted = " × ".join("any" if length is None else str(length) for length in shape)
            raise ArchiveError(f"{name} has shape {found} of {kind}, not {wanted} of {np.dtype(dtype)}")
        if member.file_size != size:
            raise ArchiveError(f"{name} expands to {member.file_size:,} bytes; its shape makes {size:,}")
        if size > (self._left if most is None else most):
            raise ArchiveError(f"{name} expands to {size:,} bytes, out of all proportion")
        self._left -= size if most is None else 0
        with self._zip.open(member) as stream:
            array: NDArray[Any] = np.lib.format.read_array(stream, allow_pickle=False)
        return array
