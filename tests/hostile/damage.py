"""What damage does to a picture's bytes: cut, flipped, its chunks, segments, blocks and directories rearranged.

Each function gives one damaged copy; what a reader makes of it is not known here.
"""

import struct
import zlib
from collections.abc import Callable

import numpy as np

Damage = Callable[[bytes, np.random.Generator], bytes]
PNG = b"\x89PNG\r\n\x1a\n"
_EXTREMES = (0, 1, 0x7F, 0x80, 0xFF, 0x7FFF, 0x8000, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF)


def cut(content: bytes, rng: np.random.Generator) -> bytes:
    """Everything up to some place."""
    return content[: int(rng.integers(0, max(len(content), 1)))]


def flip(content: bytes, rng: np.random.Generator) -> bytes:
    """One to eight bits turned round, most of them where a header is."""
    changed = bytearray(content)
    for _ in range(int(rng.integers(1, 9))):
        reach = len(changed) if rng.random() < 0.4 else min(len(changed), 128)
        if reach:
            changed[int(rng.integers(reach))] ^= 1 << int(rng.integers(8))
    return bytes(changed)


def extremes(content: bytes, rng: np.random.Generator) -> bytes:
    """A field of two or four bytes set to a number at the edge of what it can hold."""
    changed = bytearray(content)
    width = int(rng.choice([2, 4]))
    if len(changed) <= width:
        return content
    value = int(rng.choice(_EXTREMES)) % (1 << (8 * width))
    place = int(rng.integers(0, min(len(changed) - width, 256)))
    changed[place : place + width] = value.to_bytes(width, "big" if rng.random() < 0.5 else "little")
    return bytes(changed)


def splice(content: bytes, rng: np.random.Generator) -> bytes:
    """A piece of it taken out, doubled, or put elsewhere."""
    if len(content) < 4:
        return content
    start, end = sorted(int(place) for place in rng.integers(0, len(content), 2))
    piece, rest = content[start:end], content[:start] + content[end:]
    times, place = int(rng.choice([0, 1, 2, 40])), int(rng.integers(0, len(rest) + 1))
    return rest[:place] + piece * times + rest[place:]


def wrong_magic(content: bytes, rng: np.random.Generator) -> bytes:
    """Another format's first bytes before this one's."""
    heads = (PNG, b"\xff\xd8\xff\xe0", b"GIF89a", b"II*\0", b"MM\0*", b"BM", b"RIFF\xff\xff\xff\xffWEBP", b"%PDF-1.7\n")
    head = heads[int(rng.integers(len(heads)))]
    return head + content[len(head) :]


def chunk_surgery(content: bytes, rng: np.random.Generator) -> bytes:
    """A PNG's chunks dropped, doubled, shuffled or given other bytes with a right checksum."""
    if not content.startswith(PNG):
        return splice(content, rng)
    chunks = png_chunks(content)
    act, index = int(rng.integers(4)), int(rng.integers(len(chunks)))
    kind, body = chunks[index]
    if act == 0:
        del chunks[index]
    elif act == 1:
        chunks[index:index] = [(kind, body)] * int(rng.integers(1, 30))
    elif act == 2:
        order = rng.permutation(len(chunks))
        chunks = [chunks[each] for each in order]
    else:
        chunks[index] = (kind, extremes(body, rng) if len(body) > 4 else flip(body, rng))
    return PNG + b"".join(png_chunk(kind, body) for kind, body in chunks)


def segment_surgery(content: bytes, rng: np.random.Generator) -> bytes:
    """A JPEG's segments before its scan dropped, doubled, emptied or with a wrong length."""
    if not content.startswith(b"\xff\xd8"):
        return splice(content, rng)
    segments, place = [], 2
    while place + 4 <= len(content) and content[place] == 0xFF and content[place + 1] != 0xDA:
        length = int.from_bytes(content[place + 2 : place + 4], "big") + 2
        segments.append(content[place : place + length])
        place += length
    if not segments:
        return flip(content, rng)
    act, index = int(rng.integers(4)), int(rng.integers(len(segments)))
    if act == 0:
        del segments[index]
    elif act == 1:
        segments[index:index] = [segments[index]] * int(rng.integers(1, 60))
    elif act == 2:
        segments[index] = segments[index][:2] + b"\0\2"
    else:
        wrong = int(rng.choice([0, 1, 0xFFFF, len(segments[index]) + 7]))
        segments[index] = segments[index][:2] + struct.pack(">H", wrong) + segments[index][4:]
    return content[:2] + b"".join(segments) + content[place:]


def directory_surgery(content: bytes, rng: np.random.Generator) -> bytes:
    """Of a little-endian TIFF's first directory, one entry's tag, type, count or value set to something extreme."""
    if not content.startswith(b"II*\0") or len(content) < 10:
        return extremes(content, rng)
    start = int.from_bytes(content[4:8], "little")
    if start + 2 > len(content):
        return flip(content, rng)
    count = int.from_bytes(content[start : start + 2], "little")
    entry = start + 2 + 12 * int(rng.integers(max(count, 1)))
    field, width = [(0, 2), (2, 2), (4, 4), (8, 4)][int(rng.integers(4))]
    changed = bytearray(content)
    value = int(rng.choice([*_EXTREMES, 2, 3, 4, 5, 12, 256, 257, 258, 259, 273, 279, 322, 330, 34675]))
    changed[entry + field : entry + field + width] = (value % (1 << 8 * width)).to_bytes(width, "little")
    return bytes(changed)


#: Every kind of damage, by its name.
DAMAGES: dict[str, Damage] = {
    "cut": cut,
    "flip": flip,
    "extremes": extremes,
    "splice": splice,
    "magic": wrong_magic,
    "chunks": chunk_surgery,
    "segments": segment_surgery,
    "directory": directory_surgery,
}


def png_chunks(content: bytes) -> list[tuple[bytes, bytes]]:
    """(kind, body) of a whole PNG's chunks."""
    chunks, place = [], len(PNG)
    while place + 12 <= len(content):
        length = int.from_bytes(content[place : place + 4], "big")
        chunks.append((content[place + 4 : place + 8], content[place + 8 : place + 8 + length]))
        place += 12 + length
    return chunks


def png_chunk(kind: bytes, body: bytes) -> bytes:
    """A chunk as it is written, with its checksum."""
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
