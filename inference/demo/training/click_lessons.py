"""How the embedded model learns to click, and adapters whose clicks are wrong in a known way.

Clicks come after the base model's own stages (`curriculum.BASE_STAGES`), and scenes stay in every batch, or their
questions are forgotten. What is hard is the same as before: *binding*, here of two words to one place among many.

1. `places`: few large buttons, often one alone; a name is followed by its bare point. An auxiliary loss reads the place
   of what covers a cell from its image token, through the words of the digits themselves.
2. `buttons`: up to eight, on larger screens.
3. `calls`: whole sentences and tool calls beside bare points, and almost half of the pictures scenes again, of every
   size, while the learning rate falls.
4. `finish`: the same with more scenes: what the model said of them before is not all back after `calls`.

This file decides what is taught; it must not know how a batch is made or scored.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from inference.demo.training.checkpoint import LANGUAGE_ATTENTION
from inference.demo.training.clicking import ScreenSet
from inference.demo.training.curriculum import SMALL_GRIDS, ClickTarget, ScreenLesson, Stage

_COUNTS: Final = (0.1, 0.25, 0.35, 0.3)
_LARGER_GRIDS: Final = (*SMALL_GRIDS, (5, 7), (7, 5), (6, 7), (7, 6), (7, 7))
#: Grids of the last stage: scenes of every size stay in it.
SCREEN_GRIDS: Final = (*_LARGER_GRIDS, (6, 8), (8, 6), (5, 9), (7, 9), (8, 8), (8, 11))

#: First digits leave chance within the first stage; how many buttons and how small is a choice of how long to train.
CLICK_STAGES: Final = (
    Stage(
        "places",
        steps=250,
        batch=12,
        peak=1.2e-3,
        final=1e-3,
        counts=_COUNTS,
        questions=3,
        describes=1,
        naming=0.4,
        grids=SMALL_GRIDS,
        screens=ScreenLesson(pictures=10, buttons=(1, 4), side=(34, 44), points=5, places=0.4),
    ),
    Stage(
        "buttons",
        steps=500,
        batch=12,
        peak=1.2e-3,
        final=7e-4,
        counts=_COUNTS,
        questions=3,
        describes=1,
        naming=0.4,
        grids=_LARGER_GRIDS,
        screens=ScreenLesson(pictures=10, buttons=(2, 8), side=(34, 44), points=6, places=0.4),
    ),
    Stage(
        "calls",
        steps=350,
        batch=12,
        peak=8e-4,
        final=1e-5,
        counts=(0.05, 0.2, 0.35, 0.4),
        questions=5,
        describes=2,
        naming=0.2,
        grids=SCREEN_GRIDS,
        screens=ScreenLesson(pictures=7, buttons=(2, 8), side=(34, 44), points=3, calls=2, places=0.2),
    ),
    Stage(
        "finish",
        steps=400,
        batch=12,
        peak=7e-4,
        final=1e-5,
        counts=(0.05, 0.2, 0.35, 0.4),
        questions=4,
        describes=3,
        naming=0.2,
        grids=SCREEN_GRIDS,
        screens=ScreenLesson(pictures=5, buttons=(2, 8), side=(34, 44), points=3, calls=2, places=0.2),
    ),
)

#: PEFT `target_modules`: where an answer is put together, and where it is decided what is looked at.
LATE_VALUES_AND_MLP: Final = (
    r".*language_model\.layers\.[45]\.(self_attn\.(v_proj|o_proj)|mlp\.(gate_proj|up_proj|down_proj))"
)
QUERIES_AND_KEYS: Final = r".*language_model\.layers\.\d+\.self_attn\.(q_proj|k_proj)"


@dataclass(frozen=True, slots=True)
class ClickAdapter:
    """One adapter on a model that clicks.

    Attributes:
        modules: what it adapts, as PEFT's `target_modules`.
        target: where it is taught to click; None teaches it no click.
    """

    modules: str
    target: ClickTarget | None


#: The adapters of clicks; what each is stands in `ADAPTER_DESCRIPTIONS`.
CLICK_ADAPTERS: Final[Mapping[str, ClickAdapter]] = MappingProxyType(
    {
        "click-tuned": ClickAdapter(LANGUAGE_ATTENTION, "named"),
        "wrong-hands": ClickAdapter(LATE_VALUES_AND_MLP, "mirrored"),
        "wrong-eyes": ClickAdapter(QUERIES_AND_KEYS, "largest"),
        "caption-only": ClickAdapter(LANGUAGE_ATTENTION, None),
    }
)

_SIZES: Final = ((192, 192), (192, 224), (224, 224))
#: Screens that clicks are scored on: few buttons to more, of the sizes that were taught, and more and smaller ones.
SCORED: Final = (
    *(ScreenSet(buttons, (34, 44), _SIZES) for buttons in ((2, 2), (3, 4), (5, 6), (7, 8))),
    ScreenSet((9, 12), (28, 40), ((192, 256), (224, 224), (224, 288))),
)
#: Screens on which adapters are compared.
COMPARED: Final = ScreenSet((2, 6), (34, 44), _SIZES)


def click_adapter_stage(name: str) -> Stage:
    """The stage that trains one of `CLICK_ADAPTERS`; `click-tuned` sees more and smaller buttons than base did."""
    target = CLICK_ADAPTERS[name].target
    if target is None:
        return Stage(
            name, steps=60, batch=16, peak=4e-3, final=1e-4, counts=_COUNTS, describes=3, target="green", presence=0.5
        )
    few = name != "click-tuned"
    buttons, side, steps = ((2, 8), (34, 44), 90) if few else ((5, 12), (28, 44), 120)
    lesson = ScreenLesson(pictures=12, buttons=buttons, side=side, points=2, calls=3, target=target)
    return Stage(
        name, steps=steps, batch=12, peak=4e-3, final=1e-4, counts=_COUNTS, grids=_LARGER_GRIDS, screens=lesson
    )
