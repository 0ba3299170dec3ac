"""Decide how a body of maps is made small for a file: everything comes back bit for bit, as `unpack.js` does it.

1. A difference is nearly what two variants' maps say already: each of its values is written as its distance from
   (later − first), in steps of float16. The difference itself is never rounded anew: its own bits come back.
2. A pane's high bytes come before its low bytes: the high ones (sign, exponent) repeat, the low ones hardly.
3. All of it is deflated, without a header or checksum around it.
"""

import json
import zlib
from typing import Any

import numpy as np
from numpy.typing import NDArray

_Bits = NDArray[np.uint16]


def packed(body: bytes) -> bytes:
    """A body made small, see `map_bytes` for what a body is.

    Args:
        body: header and maps.

    Returns:
        Raw deflate of the same header, as it was, and the panes' maps as above.
    """
    start = 8 + int.from_bytes(body[4:8], "little")
    header: dict[str, Any] = json.loads(body[8:start])
    panes = header["panes"]
    bits = np.frombuffer(body, "<u2", offset=start).reshape(len(panes), header["frames"], -1)
    scales = np.array([pane["scales"] for pane in panes])[:, :, None]  # (panes, frames, 1)
    variants = {pane["of"]: index for index, pane in enumerate(panes) if not pane["difference"]}
    parts = [body[:start]]
    for index, pane in enumerate(panes):
        block = bits[index]
        if pane["difference"]:
            later = variants[pane["of"]]
            values = bits[[later, 0]].view(np.float16).astype(np.float64) * scales[[later, 0]]
            values = values.astype(np.float32).astype(np.float64)  # as a browser holds them
            block = _distance(block, _nearly(values[0] - values[1], scales[index]))
        parts.append(np.ascontiguousarray(block).view(np.uint8).reshape(-1, 2)[:, ::-1].T.tobytes())
    deflate = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    return deflate.compress(b"".join(parts)) + deflate.flush()


def _nearly(values: NDArray[np.float64], scales: NDArray[np.float64]) -> _Bits:
    """Bits of values on a scale as float16, by whole numbers alone; right where float16 is normal, near elsewhere."""
    scaled = np.divide(values, scales, out=np.zeros(values.shape), where=scales > 0).astype(np.float32)
    whole = scaled.view(np.uint32).astype(np.int64)
    magnitude = np.clip((((whole & 0x7FFFFFFF) + 0x1000) >> 13) - (112 << 10), 0, 0x7BFF)  # the exponents' biases
    return np.asarray(magnitude | whole >> 31 << 15, dtype=np.uint16)


def _distance(bits: _Bits, near: _Bits) -> _Bits:
    """From `near` to `bits` in steps of float16: 0, −1, 1, −2, … written as 0, 1, 2, 3, …"""
    steps = (_in_order(bits) - _in_order(near)).view(np.int16).astype(np.int32)
    return ((steps << 1) ^ (steps >> 15)).astype(np.uint16)


def _in_order(bits: _Bits) -> _Bits:
    """Float16 bits so that greater values are greater numbers."""
    return np.where(bits & 0x8000, ~bits, bits | 0x8000).astype(np.uint16)
