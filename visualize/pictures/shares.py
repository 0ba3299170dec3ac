"""Decide how the shares of attention look: one stacked column per layer, parts told apart without colour, too."""

import io
from collections.abc import Sequence
from itertools import cycle, islice

import numpy as np
from matplotlib.figure import Figure
from PIL import Image

from inference.records import Comparison
from visualize.numbers.caption import plain, token_words, variant_name
from visualize.numbers.group_shares import group_shares
from visualize.numbers.head_choice import Head, head_words
from visualize.numbers.reduce import Selection
from visualize.numbers.side_by_side import recordings_of
from visualize.numbers.token_choice import TokenChoice
from visualize.pictures.typeface import drawable

#: Colour and hatch of each group, from the bottom up; the viewer's are the same (`viewer.css`).
_LOOKS = (("#2f6f94", ""), ("#e3a637", "//"), ("#c3c8cc", ".."), ("#8a5aa3", "--"))
_OTHER_IMAGES = (("#6fa8cc", ""), ("#a9cde4", ""))  # by turns


def shares_picture(
    comparison: Comparison,
    token: TokenChoice = "focus",
    *,
    head: Head = "mean",
    variants: Sequence[str | None] | None = None,
    dots_per_inch: int = 120,
) -> Image.Image:
    """On what each layer's attention is: image, question, template, answer; one picture per variant, side by side.

    Args:
        comparison: what was recorded.
        token: whose rows; of several, the mean.
        head: see `group_shares`.
        variants: None is all, in the order recorded.
        dots_per_inch: of a picture that is 3 inches high.

    Returns:
        PIL image, mode RGB.

    Raises:
        SelectionError: a variant, token or head that this comparison does not have.
    """
    recordings = recordings_of(comparison, variants)
    layers = np.arange(comparison.model.num_layers)
    figure = Figure(figsize=(1.2 + 4 * len(recordings), 3), dpi=dots_per_inch, layout="constrained")
    axes = figure.subplots(1, len(recordings), sharey=True, squeeze=False)[0]
    for one, recording in zip(axes, recordings, strict=True):
        shares = 100 * np.array([group_shares(recording, Selection(int(layer), token, head)) for layer in layers])
        bottom = np.zeros(len(layers))
        looks = [*_LOOKS, *islice(cycle(_OTHER_IMAGES), len(comparison.elsewhere))]
        for group, values, (colour, hatch) in zip(comparison.groups, shares.T, looks, strict=True):
            one.bar(layers, values, 0.92, bottom, color=colour, hatch=hatch, edgecolor="white", lw=0.4, label=group)
            bottom += values
        one.set(xlim=(-0.5, len(layers) - 0.5), ylim=(0, 100), xlabel="layer")
        one.set_title(drawable(plain(variant_name(recording), most=60)), fontsize=10, parse_math=False)
    axes[0].set_ylabel("% of the attention")
    handles, labels = axes[0].get_legend_handles_labels()
    figure.legend(handles[::-1], labels[::-1], loc="outside right upper", fontsize=8, frameon=False)
    row = token_words(recordings[0], Selection(0, token))
    heads = head_words("mean" if head == "max" else head)
    figure.suptitle(drawable(f"{row} · {heads}"), fontsize=9, parse_math=False)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png")
    return Image.open(buffer).convert("RGB")
