"""Decide which cells are attention sinks: they draw attention whatever is asked; this file knows no picture.

Vision-language models park attention on a few cells that hold no answer (arXiv 2503.03321 calls them visual attention
sinks; in maps of Qwen3-VL two cells of 1,372 can hold almost half). A sink is told from an object by looking at every
text row at once: a row about an object looks at the object, all rows look at a sink.
"""

import numpy as np
from numpy.typing import NDArray

from inference.errors import SelectionError
from inference.recording import Recording

#: A sink's 10th-percentile share is at least this many times the share of a cell if the mean row were spread evenly.
SINK_MULTIPLE = 8.0
#: Below this many text rows a 10th percentile says nothing of "nearly every row", and no cell is called a sink.
MIN_ROWS = 4


def sink_cells(recording: Recording, layer: int | tuple[int, int]) -> NDArray[np.bool_]:
    """Cells whose share is high for nearly every text row after the image.

    A cell is a sink where `background_low ≥ SINK_MULTIPLE · mean(background)`: nine of ten prompt and template rows
    give it at least 8 times the share that a cell has when the layer's mean row is spread evenly over the image. Both
    sides scale with the layer's attention on the image, so a layer that hardly looks at it is judged like any other.
    Answer rows take no part. An object that nearly every text row looks at cannot be told from a sink this way: sinks
    are therefore marked on pictures and left out only in the view that says so.

    Args:
        recording: what one variant attended to.
        layer: 0-based index, or a window `(first, last)`, both included, over which both sides are averaged first.

    Returns:
        `(grid_h, grid_w)` bool. All False where `background_rows` is below `MIN_ROWS` or the rows see no image.

    Raises:
        SelectionError: the recording does not have that layer.
    """
    first, last = layer if isinstance(layer, tuple) else (layer, layer)
    count = recording.background.shape[0]
    if not 0 <= first <= last < count:
        raise SelectionError(
            f"layer {layer} does not exist: this result has layers 0–{count - 1}.", "Choose one of them."
        )
    mean = recording.background[first : last + 1].mean(axis=0, dtype=np.float64)
    low = recording.background_low[first : last + 1].mean(axis=0, dtype=np.float64)
    if recording.background_rows < MIN_ROWS or not mean.any():
        return np.zeros(mean.shape, dtype=np.bool_)
    return np.asarray(low >= SINK_MULTIPLE * mean.mean(), dtype=np.bool_)


def check_sinks_known(recording: Recording) -> None:
    """Pass a recording with enough text rows to tell sinks from objects.

    Raises:
        SelectionError: fewer than `MIN_ROWS`.
    """
    if recording.background_rows < MIN_ROWS:
        raise SelectionError(
            f"Sinks show in many text rows at once; this recording has {recording.background_rows}, "
            f"at least {MIN_ROWS} are needed.",
            "Choose another view.",
        )
