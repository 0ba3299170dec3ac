"""Small files that ask much of whoever reads them: of time, of memory, or both. Each is made when it is asked for.

A size that is declared stays below the 80 million pixels that a photo may have: what is above is refused unread.
"""

import io
import struct
import zlib
from collections.abc import Callable

import numpy as np
from PIL import Image

from tests.hostile.damage import PNG, png_chunk, png_chunks
from tests.hostile.valid_images import picture, saved

Make = Callable[[], bytes]
SIDE = 8_944  # its square is just below 80 million


def zeros(amount: int, level: int = 9) -> bytes:
    """So many zero bytes, deflated, without ever holding them."""
    packer, piece = zlib.compressobj(level), bytes(2**20)
    packed = [packer.compress(piece) for _ in range(amount // len(piece))]
    return b"".join([*packed, packer.compress(piece[: amount % len(piece)]), packer.flush()])


def webp_of_one_colour(side: int = SIDE) -> bytes:
    """34 bytes that are whole: each of its five codes has one symbol, and no pixel takes a bit."""
    bits = (side - 1) | (side - 1) << 14 | 0b1 << 35 | 0b1 << 39 | 0b1 << 43 | 0b1 << 47 | 0b1 << 51
    body = b"\x2f" + bits.to_bytes(13, "little")
    return b"RIFF" + struct.pack("<I", 4 + 8 + len(body)) + b"WEBPVP8L" + struct.pack("<I", len(body)) + body


def png(side: tuple[int, int], depth: int, colour: int, *between: bytes, data: bytes | None = None) -> bytes:
    """A black PNG of (width, height); `between` are chunks before its pixels."""
    width, height = side
    channels = {0: 1, 2: 3, 4: 2, 6: 4}[colour]
    rows = (1 + -(-width * channels * depth // 8)) * height
    head = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    return (
        PNG + png_chunk(b"IHDR", head) + b"".join(between) + png_chunk(b"IDAT", zeros(rows) if data is None else data)
    )


def empty_chunks(count: int) -> bytes:
    return png((8, 8), 8, 2, png_chunk(b"abCd", b"") * count)


def inflating_text(kind: bytes, amount: int, count: int = 1) -> bytes:
    """Text, profile or EXIF chunks that expand to `amount` bytes each."""
    packed = zeros(amount)
    body = {
        b"zTXt": b"Comment\0\0" + packed,
        b"iTXt": b"Comment\0\1\0\0\0" + packed,
        b"iCCP": b"ICC\0\0" + packed,
        b"eXIf": b"II*\0\x08\0\0\0" + bytes(min(amount, 2**20)),
    }[kind]
    return png((8, 8), 8, 2, png_chunk(kind, body) * count)


def many_scans(side: int, scans: int) -> bytes:
    """A progressive JPEG whose last scan comes again and again."""
    whole = io.BytesIO()
    Image.new("RGB", (side, side), (90, 120, 40)).save(whole, "JPEG", progressive=True, quality=20)
    content = whole.getvalue()
    last = content.rindex(b"\xff\xda")
    return content[:last] + content[last:-2] * scans + b"\xff\xd9"


def declared(kind: str, side: int = SIDE) -> bytes:
    """A format's shortest file that says it is large and has hardly any data."""
    if kind == "PNG":
        return png((side, side), 8, 6, data=zlib.compress(b"\0"))
    if kind == "GIF":
        return b"GIF89a" + struct.pack("<HHBBB", side, side, 0x80, 0, 0) + bytes(6) + _frame(side, side) + b";"
    if kind == "BMP":  # run-length coded, and over at once
        head = struct.pack("<IiiHHIIiiII", 40, side, side, 1, 8, 1, 2, 0, 0, 256, 0)
        return b"BM" + struct.pack("<IHHI", 0, 0, 0, 54 + 1_024) + head + bytes(1_024) + b"\0\1"
    if kind == "TIFF":
        return tiff([_entries(side, side, 8, 3, 1, 8, 4)])
    small = io.BytesIO()
    Image.new("RGB", (16, 16)).save(small, "JPEG", progressive=kind == "JPEG-progressive")
    content = small.getvalue()
    place = content.index(b"\xff\xc2" if kind == "JPEG-progressive" else b"\xff\xc0")
    return content[: place + 5] + struct.pack(">HH", side, side) + content[place + 9 :]


def _frame(width: int, height: int) -> bytes:
    return b"," + struct.pack("<HHHHB", 0, 0, width, height, 0) + b"\2\1\x44\0"


def gif_of(piece: bytes, count: int) -> bytes:
    """A small GIF with something many times in it."""
    return b"GIF89a" + struct.pack("<HHBBB", 8, 8, 0x80, 0, 0) + bytes(6) + piece * count + _frame(1, 1) + b";"


def _entries(width: int, height: int, bits: int, channels: int, form: int, offset: int, length: int, packed: int = 8):
    """A directory's entries, (tag, value); `form` is 1 for whole numbers, 2 for signed ones, 3 for floats."""
    colour = 2 if channels == 3 else 1
    return [(256, width), (257, height), (258, bits), (259, packed), (262, colour), (273, offset), (277, channels),
            (278, height), (279, length), (339, form)]  # fmt: skip


def tiff(directories: list[list[tuple[int, int]]], data: bytes = b"", *, loop: int | None = None) -> bytes:
    """A little-endian TIFF: the data at 8, then the directories; `loop` is the one that the last one leads back to."""
    place = 8 + len(data)
    parts, starts = [data], []
    for entries in directories:
        starts.append(place)
        body = struct.pack("<H", len(entries)) + b"".join(
            struct.pack("<HHII", tag, 4, 1, value) for tag, value in entries
        )
        place += len(body) + 4
        parts.append(body + struct.pack("<I", place))
    end = starts[loop] if loop is not None else 0
    whole = b"".join(parts)
    return b"II*\0" + struct.pack("<I", starts[0]) + whole[:-4] + struct.pack("<I", end)


def tiff_of_directories(count: int, loop: int | None = None) -> bytes:
    """Directories of one pixel each."""
    return tiff([_entries(1, 1, 8, 1, 1, 8, 1, 1)] * count, b"\0", loop=loop)


def tiff_of_numbers(side: int, form: int) -> bytes:
    """32-bit floats (form 3) or signed integers (2), all zero."""
    data = zeros(side * side * 4)
    return tiff([_entries(side, side, 32, 1, form, 8, len(data))], data)


def apng_of(frames: int) -> bytes:
    """Frames of one pixel each."""
    control = png_chunk(b"acTL", struct.pack(">II", frames, 0))
    one = png_chunk(b"fcTL", struct.pack(">IIIIIHHBB", 0, 8, 8, 0, 0, 1, 100, 0, 0))
    more = b"".join(
        png_chunk(b"fcTL", struct.pack(">IIIIIHHBB", 2 * each + 1, 1, 1, 0, 0, 1, 100, 0, 0))
        + png_chunk(b"fdAT", struct.pack(">I", 2 * each + 2) + zlib.compress(bytes(4)))
        for each in range(frames - 1)
    )
    return png((8, 8), 8, 2, control, one) + more + png_chunk(b"IEND", b"")


def webp_of_frames(frames: int, side: int) -> bytes:
    """An animation whose frames are large and take a few bytes each."""
    picture_ = webp_of_one_colour(side)[12:]
    frame = struct.pack("<I", 0)[:3] * 2 + ((side - 1).to_bytes(3, "little")) * 2 + b"\x0a\0\0\0" + picture_
    chunk = b"ANMF" + struct.pack("<I", len(frame)) + frame + b"\0" * (len(frame) % 2)
    head = b"VP8X" + struct.pack("<I", 10) + b"\x02\0\0\0" + ((side - 1).to_bytes(3, "little")) * 2
    body = b"WEBP" + head + b"ANIM" + struct.pack("<I", 6) + bytes(6) + chunk * frames
    return b"RIFF" + struct.pack("<I", len(body)) + body


def bombs() -> dict[str, Make]:
    """All of them, by name."""
    made: dict[str, Make] = {
        "webp-34-bytes": webp_of_one_colour,
        "webp-animation-of-2000": lambda: webp_of_frames(2_000, 4_000),
        "png-a-million-empty-chunks": lambda: empty_chunks(10**6),
        "png-16-bit-grey": lambda: png((SIDE, SIDE), 16, 0),
        "png-16-bit-colour": lambda: png((SIDE, SIDE), 16, 6),
        "png-palette-of-alpha": lambda: png((SIDE, SIDE), 8, 4),
        "apng-50000-frames": lambda: apng_of(50_000),
        "jpeg-1000-scans": lambda: many_scans(3_000, 1_000),
        "jpeg-200-scans-large": lambda: many_scans(6_000, 200),
        "tiff-float": lambda: tiff_of_numbers(SIDE, 3),
        "tiff-int32": lambda: tiff_of_numbers(SIDE, 2),
        "tiff-30000-directories": lambda: tiff_of_directories(30_000),
        "tiff-100000-directories": lambda: tiff_of_directories(100_000),
        "tiff-loop-of-1": lambda: tiff_of_directories(1, loop=0),
        "tiff-loop-of-1000": lambda: tiff_of_directories(1_000, loop=500),
        "gif-millions-of-comments": lambda: gif_of(b"\x21\xfe\1a\0", 6_000_000),
        "gif-millions-of-empty-comments": lambda: gif_of(b"\x21\xfe\0", 10_000_000),
        "gif-millions-of-tiny-frames": lambda: gif_of(b"," + struct.pack("<HHHHB", 0, 0, 1, 1, 0) + b"\2\0", 2_500_000),
        "gif-a-million-one-byte-blocks": lambda: gif_of(b"\x21\xfe" + b"\1a" * 10**6 + b"\0", 12),
    }
    for kind in (b"zTXt", b"iTXt", b"iCCP", b"eXIf"):
        name = kind.decode()
        made[f"png-{name}-of-a-gigabyte"] = lambda kind=kind: inflating_text(kind, 2**30)  # type: ignore[misc]
        made[f"png-1000-{name}-of-a-megabyte"] = lambda kind=kind: inflating_text(kind, 10**6, 30)  # type: ignore[misc]
    for kind in ("PNG", "GIF", "BMP", "TIFF", "JPEG", "JPEG-progressive"):
        made[f"{kind.lower()}-declared"] = lambda kind=kind: declared(kind)  # type: ignore[misc]
    return made


def small_bombs(rng: np.random.Generator) -> dict[str, bytes]:
    """The same in sizes that cost nobody anything, polyglots, and profiles and EXIF of junk."""
    junk = bytes(rng.integers(0, 256, int(rng.integers(16, 4_000)), dtype=np.uint8))
    plain = saved("PNG", "RGB", {}, (12, 9), rng)
    jpeg = saved("JPEG", "RGB", {}, (24, 16), rng)
    gif, webp = saved("GIF", "P", {}, (9, 9), rng), saved("WEBP", "RGB", {}, (9, 9), rng)
    html = b"<script>alert(1)</script>"
    return {
        "webp-one-colour": webp_of_one_colour(int(rng.integers(16, 300))),
        "webp-animation": webp_of_frames(int(rng.integers(2, 20)), 32),
        "png-empty-chunks": empty_chunks(int(rng.integers(10, 2_000))),
        "png-16-bit": png((int(rng.integers(1, 200)), 64), 16, int(rng.choice([0, 2, 4, 6]))),
        "png-text": inflating_text(bytes(rng.choice([b"zTXt", b"iTXt", b"iCCP", b"eXIf"])), 2**16),
        "png-text-limit": inflating_text(bytes(rng.choice([b"zTXt", b"iTXt"])), 2**21),
        "apng": apng_of(int(rng.integers(1, 50))),
        "jpeg-scans": many_scans(64, int(rng.integers(2, 80))),
        "tiff-float": tiff_of_numbers(int(rng.integers(1, 64)), 3),
        "tiff-int32": tiff_of_numbers(int(rng.integers(1, 64)), 2),
        "tiff-directories": tiff_of_directories(int(rng.integers(2, 200))),
        "tiff-loop": tiff_of_directories(int(rng.integers(2, 50)), loop=int(rng.integers(0, 2))),
        "tiff-nan": tiff([_entries(2, 2, 32, 1, 3, 8, 16, 1)], b"\xff\xff\xff\x7f\0\0\xc0\x7f\0\0\x80\x7f\0\0\x80\xff"),
        "gif-comments": gif_of(b"\x21\xfe\1a\0", int(rng.integers(1, 5_000))),
        "gif-frames": gif_of(b"," + struct.pack("<HHHHB", 0, 0, 1, 1, 0) + b"\2\0", int(rng.integers(1, 3_000))),
        "beyond-the-limit": declared(str(rng.choice(["PNG", "GIF", "TIFF", "JPEG"])), 60_000),
        "thin": png((int(rng.integers(2_000, 20_000)), 1), 1, 0),
        "png-then-zip": plain + b"PK\3\4" + junk + b"PK\5\6" + bytes(18),
        "gif-then-script": gif + b"/*" + html + b"*/=1;",
        "jpeg-in-comment": jpeg[:2] + b"\xff\xfe" + struct.pack(">H", len(html) + 2) + html + jpeg[2:],
        "pdf-then-png": b"%PDF-1.7\n" + plain,
        "webp-then-elf": webp + b"\x7fELF" + junk,
        "html-then-jpeg": html + jpeg,
        "png-with-icc-of-junk": _with_chunk(plain, b"iCCP", b"p\0\0" + zlib.compress(junk)),
        "png-with-exif-of-junk": _with_chunk(plain, b"eXIf", b"II*\0\x08\0\0\0" + junk),
        "jpeg-with-icc-of-junk": _with_segment(jpeg, 0xE2, b"ICC_PROFILE\0\1\1" + junk),
        "jpeg-with-exif-of-junk": _with_segment(jpeg, 0xE1, b"Exif\0\0MM\0*\0\0\0\x08" + junk),
        "jpeg-with-exif-loop": _with_segment(jpeg, 0xE1, b"Exif\0\0" + tiff_of_directories(3, loop=0)),
        "jpeg-with-orientation": _with_segment(jpeg, 0xE1, _orientation(int(rng.integers(0, 70_000)) % 65_536)),
        "mpo-of-junk": _with_segment(jpeg, 0xE2, b"MPF\0II*\0\x08\0\0\0" + junk),
        "junk": junk,
    }


def _orientation(value: int) -> bytes:
    return b"Exif\0\0II*\0\x08\0\0\0" + struct.pack("<HHHIHHI", 1, 0x112, 3, 1, value, 0, 0)


def _with_chunk(content: bytes, kind: bytes, body: bytes) -> bytes:
    first, *rest = png_chunks(content)
    return PNG + b"".join(png_chunk(*each) for each in (first, (kind, body), *rest))


def _with_segment(content: bytes, marker: int, body: bytes) -> bytes:
    return content[:2] + bytes([0xFF, marker]) + struct.pack(">H", len(body) + 2) + body + content[2:]


def noise(side: int, form: str, rng: np.random.Generator) -> bytes:
    """A picture that no encoder makes small."""
    file = io.BytesIO()
    picture("RGB", (side, side), rng).save(file, form)
    return file.getvalue()
