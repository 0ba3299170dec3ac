"""The reverse of `visualize.map_bytes`, written from its description."""

import json
from typing import Any, NamedTuple

import numpy as np


class Body(NamedTuple):
    """The header, and per pane its maps, `(frames, grid_h, grid_w)` float64."""

    header: dict[str, Any]
    maps: list[Any]


def read_body(body: bytes) -> Body:
    assert body[:4] == b"LAV1"
    length = int.from_bytes(body[4:8], "little")
    header = json.loads(body[8 : 8 + length])
    at, shape, maps = 8 + length, (header["frames"], *header["grid"]), []
    assert at % 8 == 0
    for pane in header["panes"]:
        count = int(np.prod(shape))
        values = np.frombuffer(body, "<f2", count, at).reshape(shape).astype(np.float64)
        maps.append(values * np.array(pane["scales"])[:, None, None])
        at += 2 * count
    assert at == len(body)
    return Body(header, maps)
