"""Decide how maps travel to a browser: one body of a JSON header and float16 maps, and how exact they are.

    LAV1 · uint32 length n of the header · n bytes of UTF-8 JSON, padded with spaces · per pane its maps, float16

All numbers are little-endian, and the maps begin at a multiple of 8 bytes. A map is divided by a power of two of its
own, its scale, that brings its largest value to 2¹⁴–2¹⁵: then all values down to a 2²⁸th of the largest keep 11
significant bits, and multiplying by the scale again is exact.
"""

import json
from collections.abc import Mapping, Sequence

import numpy as np

from inference.recording import FloatArray
from visualize.json_values import Json
from visualize.numbers.scale import Unit

MAGIC = b"LAV1"
#: A value that was sent differs from the one that was computed by at most this fraction of itself.
ROUNDING = 2.0**-11

_TOP = 15  # the largest value of a map is below 2¹⁵; float16 ends at 2¹⁶


def scales_of(maps: FloatArray) -> list[float]:
    """What each map is divided by: a power of two; 0 for a map of zeros.

    Args:
        maps: `(frames, grid_h, grid_w)`, finite.
    """
    largest = np.abs(maps).max(axis=(1, 2)).astype(np.float64)
    return [2.0 ** (int(np.frexp(value)[1]) - _TOP) if value else 0.0 for value in largest]


def body(header: Mapping[str, Json], maps: Sequence[FloatArray]) -> bytes:
    """The body of a header and its panes' maps.

    Args:
        header: plain values; nan has no place in JSON and is refused.
        maps: `(frames, grid_h, grid_w)` per pane, in the header's order, whose scales the header holds.
    """
    text = json.dumps(header, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode()
    text += b" " * (-(8 + len(text)) % 8)
    return b"".join([MAGIC, len(text).to_bytes(4, "little"), text, *map(_float16, maps)])


def _float16(maps: FloatArray) -> bytes:
    scales = np.array(scales_of(maps))[:, None, None]
    scaled = np.divide(maps, scales, out=np.zeros(maps.shape), where=scales > 0)
    return bytes(scaled.astype("<f2").data)


def unit_json(unit: Unit) -> dict[str, Json]:
    """How a browser writes a value of a map: times `factor`, with a sign where `signed`, and `unit` after it."""
    short = {"share": "%", "share difference": "pp", "ratio": "×", "ratio difference": "×"}
    signed = unit.endswith("difference")
    return {"unit": short.get(unit, "logits"), "signed": signed, "factor": 100 if unit.startswith("share") else 1}
