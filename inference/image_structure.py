"""What an image file says about itself, read in bounded steps before a decoder sees it; it knows no pixels.

A decoder does what a file says, as often as the file says it: a progressive JPEG whose last scan is repeated a thousand
times, a TIFF of 100,000 directories or a GIF of a million one-byte blocks keeps it busy for minutes, from few bytes.
Here the parts are counted by their own lengths, and a file of too many is refused. Nothing else is checked: what is
damaged is found by the decoder.
"""

import re
import struct
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

from inference.errors import ImageStructureError

#: Of one file. Progressive encoders write some 10 scans; 32 MiB of full blocks are 131,586 in a GIF.
MOST_SCANS, MOST_FRAMES, MOST_PARTS, MOST_BLOCKS = 64, 2_000, 20_000, 200_000
#: Pixels per byte of a file: deflate makes 1,032 bytes of one, which hold 8,256 pixels of one bit.
MOST_PIXELS_PER_BYTE = 10_000
SMALL = 4_000_000  # pixels; so many are decoded, whatever they are made from

#: A marker in a JPEG that is neither a stuffed byte, nor fill, nor a restart.
_JPEG_MARKER = re.compile(rb"\xff+([\x01-\xcf\xd8-\xfe])")
_SCAN, _END = 0xDA, 0xD9
_BARE = {0x01, *range(0xD0, 0xDA)}  # markers without a length


@dataclass
class _Count:
    """Of one file's parts so far."""

    frames: int = 0
    parts: int = 0

    def part(self, most: int = MOST_PARTS) -> None:
        self.parts += 1
        if self.parts > most:
            raise _too_many(f"{most:,} parts")

    def frame(self) -> None:
        self.frames += 1
        if self.frames > MOST_FRAMES:
            raise _too_many(f"{MOST_FRAMES:,} frames")


def count_frames(content: bytes) -> int:
    """Count the frames of an image file, and refuse one that consists of too many parts.

    Args:
        content: the file's bytes, of any format; what is not known here is passed over.

    Returns:
        Frames or pages, at least 1; of a damaged file, as many as are found before the damage.

    Raises:
        ImageStructureError: too many scans, frames or parts.
    """
    count = _Count()
    for start, walk in _WALKS.items():
        if content.startswith(start):
            with suppress(struct.error, IndexError):  # cut short: the decoder says so
                walk(content, count)
            break
    return max(1, count.frames)


def check_density(pixels: int, content: bytes) -> None:
    """Refuse a file that claims more pixels than so few bytes can hold.

    Args:
        pixels: that it claims.
        content: the file's bytes.

    Raises:
        ImageStructureError: more than `MOST_PIXELS_PER_BYTE`, and more than `SMALL` in all.
    """
    if pixels > SMALL and pixels > MOST_PIXELS_PER_BYTE * len(content):
        raise ImageStructureError(
            f"The file claims {pixels:,} pixels in {len(content):,} bytes; more than {MOST_PIXELS_PER_BYTE:,} pixels a "
            "byte are no photo.",
            "Save it again as PNG or JPEG, or smaller.",
        )


def _jpeg(content: bytes, count: _Count) -> None:
    scans, at = 0, 2
    while found := _JPEG_MARKER.search(content, at):
        count.part()
        marker, at = found.group(1)[0], found.end()
        if marker == _END:
            return
        if marker in _BARE:
            continue
        at += struct.unpack_from(">H", content, at)[0]
        scans += marker == _SCAN
        if scans > MOST_SCANS:
            raise _too_many(f"{MOST_SCANS} scans")


def _png(content: bytes, count: _Count) -> None:
    at = 8
    while at < len(content):
        count.part()
        length, kind = struct.unpack_from(">I4s", content, at)
        if kind == b"fcTL":
            count.frame()
        if kind == b"IEND":
            return
        at += 12 + length


def _gif(content: bytes, count: _Count) -> None:
    def colours(flags: int) -> int:
        return 3 << ((flags & 7) + 1) if flags & 0x80 else 0

    at = 13 + colours(content[10])
    while True:
        count.part(MOST_BLOCKS)
        kind, at = content[at], at + 1
        if kind == 0x3B:  # the end
            return
        if kind == 0x2C:  # a frame: its place, its colours, the size of its codes
            count.frame()
            at += 10 + colours(content[at + 8])
        elif kind == 0x21:  # an extension: its kind
            at += 1
        else:
            continue  # decoders look on for a block, byte by byte
        while size := content[at]:
            count.part(MOST_BLOCKS)
            at += 1 + size
        at += 1


def _tiff(content: bytes, count: _Count) -> None:
    order = "<" if content.startswith(b"II") else ">"
    big = struct.unpack_from(order + "H", content, 2)[0] == 43
    entries, entry, offset = ("Q", 20, "Q") if big else ("H", 12, "I")
    at = struct.unpack_from(order + offset, content, 8 if big else 4)[0]
    while at:
        count.frame()
        number = struct.unpack_from(order + entries, content, at)[0]
        at += struct.calcsize("<" + entries) + entry * number
        at = struct.unpack_from(order + offset, content, at)[0]


def _webp(content: bytes, count: _Count) -> None:
    at = 12
    while at < len(content):
        count.part()
        kind, length = struct.unpack_from("<4sI", content, at)
        if kind == b"ANMF":
            count.frame()
        at += 8 + length + length % 2


_WALKS: dict[bytes, Callable[[bytes, _Count], None]] = {
    b"\xff\xd8": _jpeg,
    b"\x89PNG\r\n\x1a\n": _png,
    b"GIF8": _gif,
    b"II": _tiff,
    b"MM": _tiff,
    b"RIFF": _webp,
}


def _too_many(most: str) -> ImageStructureError:
    return ImageStructureError(
        f"The image file consists of more than {most}; that is the limit.", "Save it again as PNG or JPEG."
    )
