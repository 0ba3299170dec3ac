"""Small files of every format that Pillow opens, to begin damage from; which of them a door takes is not known here.

Where Pillow writes a format it does; the others are the shortest headers that their readers take, with some pixels.
"""

import io
import struct
import zlib
from collections.abc import Iterator
from typing import Any

import numpy as np
from PIL import Image

#: What the doors promise to read; MPO is a JPEG with more of them behind it.
READ = frozenset({"PNG", "JPEG", "WEBP", "GIF", "TIFF", "BMP", "MPO"})
#: (format, mode, what its writer is told).
_WRITTEN: tuple[tuple[str, str, dict[str, Any]], ...] = (
    *(("PNG", mode, {}) for mode in ("1", "L", "LA", "P", "RGB", "RGBA", "I;16")),
    ("PNG", "RGB", {"save_all": True, "append_images": 3, "duration": 40}),  # APNG
    *(("JPEG", mode, {}) for mode in ("L", "RGB", "CMYK")),
    ("JPEG", "RGB", {"progressive": True, "restart_marker_blocks": 1}),
    *(("WEBP", mode, {"lossless": lossless}) for mode in ("RGB", "RGBA") for lossless in (False, True)),
    ("WEBP", "RGB", {"save_all": True, "append_images": 3}),
    *(("GIF", mode, {}) for mode in ("P", "L", "RGB")),
    ("GIF", "P", {"save_all": True, "append_images": 4, "comment": b"a comment"}),
    *(("TIFF", mode, {}) for mode in ("1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "LAB", "I", "I;16", "F")),
    *(
        ("TIFF", "RGB", {"compression": each})
        for each in ("tiff_lzw", "tiff_adobe_deflate", "packbits", "jpeg", "lzma", "zstd")
    ),
    *(("TIFF", "1", {"compression": each}) for each in ("group3", "group4", "tiff_ccitt")),
    ("TIFF", "RGB", {"save_all": True, "append_images": 3}),
    ("TIFF", "RGB", {"big_tiff": True}),
    *(("BMP", mode, {}) for mode in ("1", "L", "P", "RGB", "RGBA")),
    ("MPO", "RGB", {"save_all": True, "append_images": 2}),
    ("AVIF", "RGB", {}),
    ("AVIF", "RGBA", {"save_all": True, "append_images": 2}),
    ("BLP", "P", {}),
    *(("DDS", mode, {}) for mode in ("L", "RGB", "RGBA")),
    ("DIB", "RGB", {}),
    ("EPS", "RGB", {}),
    ("ICO", "RGBA", {}),
    ("ICO", "RGBA", {"bitmap_format": "bmp"}),
    ("IM", "RGB", {}),
    ("JPEG2000", "RGB", {}),
    ("JPEG2000", "RGBA", {"irreversible": True}),
    ("MSP", "1", {}),
    ("PALM", "P", {}),
    *(("PCX", mode, {}) for mode in ("1", "L", "P", "RGB")),
    ("PDF", "RGB", {}),
    *(("PPM", mode, {}) for mode in ("1", "L", "RGB", "I;16", "F")),
    ("QOI", "RGB", {}),
    *(("SGI", mode, {}) for mode in ("L", "RGB", "RGBA")),
    ("SPIDER", "F", {}),
    *(("TGA", mode, {"compression": each}) for mode in ("L", "RGB", "RGBA") for each in (None, "tga_rle")),
    ("XBM", "1", {}),
)


def valid_images(seed: int) -> Iterator[tuple[str, str, bytes]]:
    """(format, label, content) of each; equal seeds give equal bytes, up to the versions of Pillow's encoders."""
    rng = np.random.default_rng(seed)
    for index, (form, mode, options) in enumerate(_WRITTEN):
        size = tuple(int(side) for side in rng.integers(8, 48, 2))
        yield form, f"{form.lower()}-{mode.replace(';', '')}-{index}", saved(form, mode, options, size, rng)
    for form, content in _by_hand().items():
        yield form, form.lower(), content


def saved(form: str, mode: str, options: dict[str, Any], size: tuple[int, int], rng: np.random.Generator) -> bytes:
    """A picture of noise as Pillow writes it; `append_images` is a number of further frames."""
    given = dict(options)
    if "append_images" in given:
        given["append_images"] = [picture(mode, size, rng) for _ in range(given["append_images"])]
    file = io.BytesIO()
    picture(mode, size, rng).save(file, form, **given)
    return file.getvalue()


def picture(mode: str, size: tuple[int, int], rng: np.random.Generator) -> Image.Image:
    """Noise of any mode, `size` as (width, height)."""
    width, height = size
    if mode in ("I;16", "I", "F"):
        values = rng.integers(0, 65_536, (height, width))
        kind = {"I;16": np.uint16, "I": np.int32, "F": np.float32}[mode]
        return Image.fromarray(values.astype(kind))
    noise = Image.fromarray(rng.integers(0, 256, (height, width, 3), dtype=np.uint8))
    if mode == "LAB":
        return Image.frombytes("LAB", size, noise.tobytes())
    if mode in ("LA", "RGBA"):
        noise.putalpha(Image.fromarray(rng.integers(0, 256, (height, width), dtype=np.uint8)))
        return noise.convert(mode)
    return noise.convert(mode)


def _by_hand() -> dict[str, bytes]:
    """Headers of the formats that Pillow reads and does not write."""
    pcx = io.BytesIO()
    Image.new("L", (8, 8), 99).save(pcx, "PCX")
    ico = io.BytesIO()
    Image.new("RGBA", (16, 16)).save(ico, "ICO", sizes=[(16, 16)], bitmap_format="bmp")
    png = io.BytesIO()
    Image.new("RGBA", (16, 16)).save(png, "PNG")
    cards = ("SIMPLE  = T", "BITPIX  = 8", "NAXIS   = 2", "NAXIS1  = 8", "NAXIS2  = 8", "END")
    fits = b"".join(card.ljust(80).encode() for card in cards)
    flic = struct.pack("<IHHHHHHI", 144, 0xAF11, 1, 8, 8, 8, 3, 5).ljust(128, b"\0")
    flic += struct.pack("<IHH", 16, 0xF1FA, 0) + bytes(8)
    psd = b"8BPS" + struct.pack(">H6xHIIHH", 1, 3, 8, 8, 8, 3) + bytes(12) + struct.pack(">H", 0) + bytes(192)
    mcidas = struct.pack(">64i", 0, 4, *[0] * 6, 8, 8, 1, *[0] * 2, 1, *[0] * 50)
    return {
        "CUR": b"\0\0\2\0" + ico.getvalue()[4:],
        "DCX": struct.pack("<III", 0x3ADE68B1, 12, 0) + pcx.getvalue(),
        "FITS": fits.ljust(2_880) + bytes(2_880),
        "FLI": flic,
        "FTEX": b"FTEX" + struct.pack("<IIIIIIII", 7, 8, 8, 1, 1, 1, 24, 192) + bytes(192),
        "GBR": struct.pack(">IIIII", 20, 1, 8, 8, 1) + bytes(64),
        "ICNS": b"icns"
        + struct.pack(">I", len(png.getvalue()) + 16)
        + b"icp4"
        + struct.pack(">I", len(png.getvalue()) + 8)
        + png.getvalue(),
        "IMT": b"*PIL\nwidth 8\nheight 8\n\x0c" + bytes(64),
        "IPTC": b"\x1c\x03\x3c\0\2\1\0\x1c\x03\x14\0\1\x08\x1c\x08\x0a\0\x08" + bytes(8),
        "MCIDAS": mcidas + bytes(64),
        "MPEG": b"\0\0\1\xb3\0\x80\x08\x13" + bytes(64),
        "PCD": bytes(2_048) + b"PCD_" + bytes(200_000),
        "PIXAR": b"\200\350\000\000".ljust(416, b"\0") + struct.pack("<HHIHH", 8, 8, 0, 14, 2).ljust(1_000, b"\0"),
        "PSD": psd,
        "SUN": struct.pack(">8I", 0x59A66A95, 8, 8, 24, 192, 1, 0, 0) + bytes(192),
        "WMF": b"\xd7\xcd\xc6\x9a" + struct.pack("<HhhhhHIH", 0, 0, 0, 100, 100, 96, 0, 0) + b"\1\0\x09\0" + bytes(64),
        "XPM": b'/* XPM */\nstatic char *x[] = {\n"2 1 1 1",\n"a c #112233",\n"aa"};\n',
        "XVTHUMB": b"P7 332\n#END_OF_COMMENTS\n8 8 255\n" + bytes(64),
        "BUFR": b"BUFR" + bytes(64),
        "GRIB": b"GRIB\0\0\0\1" + bytes(64),
        "HDF5": b"\x89HDF\r\n\x1a\n" + bytes(64),
        "SVG": b'<svg xmlns="http://www.w3.org/2000/svg" onload="alert(1)"><image href="file:///etc/passwd"/></svg>',
        "HTML": b"<!doctype html><script>alert(1)</script>",
        "ZIP": b"PK\5\6" + bytes(18),
        "GZIP": zlib.compress(b"x" * 1_000, wbits=31),
        "NOTHING": b"",
        "ZEROS": bytes(1_000),
    }
