"""Small image files that say of themselves to be much: valid, but of more parts than any photo has."""

import io
import struct
import zlib

from PIL import Image


def jpeg_scans(repeated: int, size: tuple[int, int] = (16, 16)) -> bytes:
    """A progressive grey JPEG whose last scan comes so many times more.

    Args:
        repeated: how often.
        size: (width, height) in pixels.
    """
    buffer = io.BytesIO()
    Image.linear_gradient("L").resize(size).save(buffer, "JPEG", progressive=True, quality=30)
    content = buffer.getvalue()
    last = content.rindex(b"\xff\xda")
    tables = content.rfind(b"\xff\xc4", 0, last)  # the scan's own codes come before it
    scan = content[tables if tables > 0 else last : -2]
    return content[:-2] + scan * repeated + content[-2:]


def tiff_pages(pages: int, *, big: bool = False) -> bytes:
    """A TIFF of so many one-pixel pages, which all show the same pixel.

    Args:
        pages: how many.
        big: with offsets of 8 bytes.
    """
    tags = [(256, 1), (257, 1), (258, 8), (259, 1), (262, 1), (273, 0), (277, 1), (278, 1), (279, 1)]
    head = struct.pack("<2sHHHQ", b"II", 43, 8, 0, 16) if big else struct.pack("<2sHI", b"II", 42, 8)
    number, entry, offset = ("<Q", "<HHQQ", "<Q") if big else ("<H", "<HHII", "<I")
    size = struct.calcsize(number) + len(tags) * struct.calcsize(entry) + struct.calcsize(offset)
    content = [head]
    for page in range(pages):
        entries = b"".join(struct.pack(entry, tag, 4, 1, value) for tag, value in tags)
        following = len(head) + (page + 1) * size if page + 1 < pages else 0
        content += [struct.pack(number, len(tags)), entries, struct.pack(offset, following)]
    return b"".join(content)


def gif(frames: int = 1, comments: int = 0) -> bytes:
    """A one-pixel GIF of so many frames, after so many comments of one byte."""
    head = b"GIF89a" + struct.pack("<HHBBB", 1, 1, 0x80, 0, 0) + b"\0\0\0\xff\xff\xff"
    frame = b"\x2c" + struct.pack("<HHHHB", 0, 0, 1, 1, 0) + b"\x02\x02\x4c\x01\x00"
    return head + b"\x21\xfe\x01a\x00" * comments + frame * frames + b"\x3b"


def png(empty: int) -> bytes:
    """A one-pixel PNG with so many empty chunks that nobody reads."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", 1, 1, 8, 0, 0, 0, 0))
    return head + chunk(b"teSt", b"") * empty + chunk(b"IDAT", zlib.compress(b"\0\0")) + chunk(b"IEND", b"")


def webp_chunks(chunks: int) -> bytes:
    """A one-pixel WebP with so many empty chunks that nobody reads."""
    buffer = io.BytesIO()
    Image.new("RGB", (1, 1)).save(buffer, "WEBP", lossless=True)
    body = buffer.getvalue()[12:] + b"teSt\0\0\0\0" * chunks
    return b"RIFF" + struct.pack("<I", len(body) + 4) + b"WEBP" + body


def webp_of_one_colour(width: int, height: int) -> bytes:
    """A lossless WebP of 28 bytes that claims so many black pixels (each side at most 16,384), and has them.

    Neither transforms nor a colour cache, and of each of the five prefix codes one symbol, which takes no bits: "WebP
    Lossless Bitstream Specification", sections 3, 4 and 6.
    """
    code = 0b0001  # simple, one symbol, of one bit: 0
    codes = sum(code << 4 * each for each in range(5))
    bits = (width - 1) | (height - 1) << 14 | codes << (28 + 4 + 3)  # after alpha, version, and three times "none"
    data = b"\x2f" + bits.to_bytes(7, "little")
    return b"RIFF" + struct.pack("<I", len(data) + 12) + b"WEBPVP8L" + struct.pack("<I", len(data)) + data
