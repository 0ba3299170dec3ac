"""The embedded model: a small Qwen3-VL trained on a drawn world, with adapters; importing this loads no framework.

`inference.demo.world` draws the world's scenes, `inference.demo.screens` screens to click on;
`python -m inference.demo.training` makes the weights and their report.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Final

from inference.demo.world import Scene, scene

#: What training wrote: `model/`, `adapters/`, `report.json` and `report.md`.
WEIGHTS_DIR: Final = Path(__file__).parent / "weights"
#: The base checkpoint, in the layout of a real Qwen3-VL.
MODEL_DIR: Final = WEIGHTS_DIR / "model"
#: One folder per adapter, as PEFT saves them.
ADAPTERS_DIR: Final = WEIGHTS_DIR / "adapters"

#: The analysis that the page shows before anything ran, written by `python -m inference.demo.first_visit`.
FIRST_VISIT: Final = Path(__file__).parent / "first_visit.npz"

#: Adapter name to one sentence about what it was trained to do.
ADAPTER_DESCRIPTIONS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "find-red": 'Trained so that "Describe the image." names the red object, where there is one, not the largest.',
        "find-circle": 'Trained so that "Describe the image." names the circle, where there is one, not the largest.',
        "vision-lora": "Trained to name the star, where there is one, with LoRA in the vision tower too.",
        "untouched": "Never trained (B is zero): it changes nothing, so every difference must be exactly 0.",
        "noise": "Filled with random numbers instead of being trained: its answers fall apart.",
    }
)

#: Trained adapter to the world's word for the object that it names.
ADAPTER_TARGETS: Final[Mapping[str, str]] = MappingProxyType(
    {"find-red": "red", "find-circle": "circle", "vision-lora": "star"}
)


@dataclass(frozen=True, slots=True)
class ExampleScene:
    """The arguments of a scene worth showing first.

    Attributes:
        title: what to call it.
        seed: see `world.scene`.
        objects: see `world.scene`.
        size: `(height, width)` in pixels.
        must_have: words that it shows.
    """

    title: str
    seed: int
    objects: int
    size: tuple[int, int]
    must_have: tuple[str, ...]

    def draw(self) -> Scene:
        """Draw it."""
        return scene(self.seed, self.objects, self.size, self.must_have)


#: Scenes in which base, `find-red` and `find-circle` name three different objects.
EXAMPLE_SCENES: Final = (
    ExampleScene("Drawn scene: three objects", 148, 3, (224, 320), ("red", "circle", "star")),
    ExampleScene("Drawn scene: four objects", 215, 4, (288, 256), ("red", "circle", "star")),
)
