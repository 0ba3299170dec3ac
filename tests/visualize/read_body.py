"""The body of a stack read back, as a browser reads it, with struct and numpy alone."""

import json
import struct

import numpy as np


def read_body(body):
    """(header, maps): `maps` has per pane float64 `(frames, grid_h, grid_w)`, named as the header names the pane."""
    magic, length = struct.unpack_from("<4sI", body)
    assert magic == b"LAV1"
    assert (8 + length) % 8 == 0
    header = json.loads(body[8 : 8 + length].decode("utf-8"))
    shape = (header["frames"], *header["grid"])
    cells = int(np.prod(shape))
    assert len(body) == 8 + length + 2 * cells * len(header["panes"])
    maps = {}
    for index, pane in enumerate(header["panes"]):
        values = struct.unpack_from(f"<{cells}e", body, 8 + length + 2 * cells * index)
        maps[pane["variant"]] = np.reshape(values, shape) * np.reshape(pane["scales"], (-1, 1, 1))
    return header, maps


def assert_within_rounding(sent, computed, *, slack=0.0):
    """Each value by at most 2⁻¹¹ of itself; below a 2²⁸th of its map's largest by half a step of float16 there.

    `slack` is what the reference itself may be off by.
    """
    for frame, exact in zip(sent, computed, strict=True):
        exact = np.asarray(exact, dtype=np.float64)
        allowed = np.maximum(np.abs(exact) * 2.0**-11, np.abs(exact).max() * 2.0**-39)
        assert (np.abs(frame - exact) <= allowed + slack).all()
