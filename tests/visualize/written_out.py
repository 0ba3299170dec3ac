"""The figures of a recording written out with numpy and scipy: the second route to every number that a person reads."""

from decimal import Decimal

import numpy as np
from scipy.spatial.distance import jensenshannon
from scipy.stats import entropy


def row(recording, token, layers, head="mean"):
    """One token's attention on the cells, float64, mean over the layers: `(grid_h, grid_w)`."""
    if head == "mean":
        return np.mean([recording.by_token[token, layer].astype(float) for layer in layers], axis=0)
    heads = [recording.by_head[layer].astype(float) for layer in layers]
    return np.mean([np.max(each, axis=0) if head == "max" else each[head] for each in heads], axis=0)


def contrast(recording, token, layers):
    """The row minus the mean of the other rows before the one that predicts the first answer token."""
    text = [index for index, each in enumerate(recording.tokens) if each.role in ("prompt", "template")][:-1]
    others = [row(recording, index, layers) for index in text if index != token]
    return row(recording, token, layers) - np.mean(others, axis=0)


def nats(heat):
    return entropy(heat.ravel())


def bits_over_image(first, second):
    return jensenshannon(first.ravel(), second.ravel(), base=2) ** 2


def bits_of_row(first, second):
    whole = [np.append(heat.ravel(), 1 - heat.sum()) for heat in (first, second)]
    return jensenshannon(*whole, base=2) ** 2


def largest(values, allowed=None):
    """(row, column) of the largest value above 0, by sorting all cells; None where there is none."""
    cells = [cell for cell in np.ndindex(*values.shape) if allowed is None or allowed[cell]]
    best = max(cells, key=lambda cell: (values[cell], [-index for index in cell]))
    return best if values[best] > 0 else None


def digits(value, *, sign=False):
    """A number as the page writes it: three significant digits, a real minus, no zeros at the end."""
    if abs(value) >= 1000:
        text = f"{value:.0f}"
    elif 0 < abs(value) < 1e-4:
        text = f"{value:.1e}"
    else:
        text = format(Decimal(f"{value:.3g}"), "f")
    return ("+" if sign and value > 0 else "") + text.replace("-", "−")
