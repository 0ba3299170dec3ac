"""Is it more than chance: the sentence, the numbers and the picture of a `Chance`."""

import numpy as np

from inference.explanations import Chance
from visualize.findings.words import bits, counted, named, points
from visualize.json_values import Json
from visualize.numbers.scale import shared_limits
from visualize.pictures.bar import limits_json


def chance_sentence(found: Chance) -> str:
    """How many heads changed more than chance moves any head, and how likely chance alone says so."""
    first, second = map(named, found.variants)
    beyond, largest = int(found.beyond.sum()), float(found.divergence.max())
    layer, head = np.unravel_index(int(found.divergence.argmax()), found.divergence.shape)
    controls = f"{counted(len(found.controls), 'random adapter')} of the same size"
    level = f"level 1/{len(found.controls) + 1}"
    if not beyond:
        return (
            f"The change from {first} to {second} cannot be told apart from chance: no head of {found.divergence.size} "
            f"changed more than {controls} can move one (largest {bits(largest)}, by chance {bits(found.threshold)}; "
            f"{level})."
        )
    return (
        f"{counted(beyond, 'head')} of {found.divergence.size} changed more from {first} to {second} than {controls} "
        f"move any head ({bits(found.threshold)}; {level}); most layer {layer}, head {head} with {bits(largest)}."
    )


def chance_rows(found: Chance) -> list[tuple[str, str]]:
    """The numbers behind it."""
    largest = found.controls.max(axis=(1, 2))
    return [
        ("largest change of a head", bits(float(found.divergence.max()))),
        ("largest by chance, of all controls", bits(found.threshold)),
        ("largest by chance, mean over controls", bits(float(largest.mean()))),
        ("heads beyond chance", f"{int(found.beyond.sum())} of {found.beyond.size}"),
        ("mean change of image share", points(float(found.share.mean()))),
        ("the same by chance, mean over controls", points(float(found.control_shares.mean()))),
        ("what arithmetic alone moves, at most", bits(float(found.floor.max()))),
    ]


def chance_picture(found: Chance) -> dict[str, Json]:
    """A matrix of all heads; those within chance are dimmed."""
    return {
        "type": "matrix",
        "values": found.divergence.tolist(),
        "texts": [[bits(float(value)) for value in layer] for layer in found.divergence],
        "limits": limits_json(shared_limits(found.divergence.astype(np.float32), unit="bits")),
        "dim": (~found.beyond).tolist(),
        "label": "JS divergence",
    }
