"""Decide how a training run over its steps looks: rates with their intervals, base as a level; parts told apart without
colour, too.
"""

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.figure import Figure
from PIL import Image

from visualize.numbers.caption import plain
from visualize.pictures.typeface import drawable

#: Colour, marker and dashes of each line, in the order given.
_LOOKS = (("#b3402e", "o", "-"), ("#2f6f94", "s", "--"), ("#6b6b6b", "^", ":"))


@dataclass(frozen=True, slots=True)
class Rate:
    """One line of a run.

    Attributes:
        name: what it is a rate of.
        means: 0–1, one per step.
        lows, highs: their intervals; nan where there is none.
        base: the same of base, drawn as a level; nan for none.
    """

    name: str
    means: Sequence[float]
    lows: Sequence[float]
    highs: Sequence[float]
    base: float


def steps_picture(runs: Mapping[str, tuple[Sequence[int], Sequence[Rate]]], *, dots_per_inch: int = 120) -> Image.Image:
    """Training runs over their steps, one below the other.

    Args:
        runs: a run's name to its steps, ascending, and at most three rates.
        dots_per_inch: of a picture in which each run is 2.6 inches high.

    Returns:
        PIL image, mode RGB.
    """
    figure = Figure(figsize=(7, 0.4 + 2.6 * len(runs)), dpi=dots_per_inch, layout="constrained")
    for axes, (name, (steps, rates)) in zip(
        figure.subplots(len(runs), 1, squeeze=False)[:, 0], runs.items(), strict=True
    ):
        for rate, (colour, marker, dashes) in zip(rates, _LOOKS, strict=False):
            means, around = 100 * np.array(rate.means), 100 * np.array([rate.lows, rate.highs])
            axes.fill_between(steps, *around, color=colour, alpha=0.15, lw=0)
            axes.plot(steps, means, color=colour, marker=marker, ls=dashes, label=rate.name)
            axes.axhline(100 * rate.base, color=colour, ls=dashes, lw=0.7)
        axes.set(
            ylim=(-3, 103), xlabel="step", ylabel="%", xticks=steps if len(steps) <= 12 else None or axes.get_xticks()
        )
        axes.set_title(drawable(plain(name, most=60)), fontsize=10, parse_math=False)
    handles, labels = figure.axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside right upper", fontsize=8, frameon=False, title="thin: base")
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png")
    return Image.open(buffer).convert("RGB")
