"""The embedded model: a small Qwen3-VL trained on a drawn world, with adapters; importing this loads no framework.

`inference.demo.world` draws the world's scenes, `inference.demo.screens` screens to click on;
`python -m inference.demo.training` makes the weights and their report.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Final

from inference.demo.screens import CLICK_PROMPTS, Screen, screen
from inference.demo.world import Scene, scene

#: What training wrote: `model/`, `adapters/`, `report.json` and `report.md`.
WEIGHTS_DIR: Final = Path(__file__).parent / "weights"
#: The base checkpoint, in the layout of a real Qwen3-VL.
MODEL_DIR: Final = WEIGHTS_DIR / "model"
#: One folder per adapter, as PEFT saves them.
ADAPTERS_DIR: Final = WEIGHTS_DIR / "adapters"

#: The analysis that the page shows before anything ran, written by `python -m inference.demo.first_visit`.
FIRST_VISIT: Final = Path(__file__).parent / "first_visit.npz"

#: A real screenshot, of the page: what lies outside the model's world.
SCREENSHOT: Final = Path(__file__).parent / "screenshot.webp"

#: Adapter name to one sentence about what it was trained to do.
ADAPTER_DESCRIPTIONS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "find-red": 'Trained so that "Describe the image." names the red object, where there is one, not the largest.',
        "find-circle": 'Trained so that "Describe the image." names the circle, where there is one, not the largest.',
        "vision-lora": "Trained to name the star, where there is one, with LoRA in the vision tower too.",
        "click-tuned": "Trained further to click the named button, on screens with more and smaller ones.",
        "wrong-eyes": "Trained to click the largest button whatever is named, in queries and keys alone: where it "
        "looks carries the change.",
        "wrong-hands": "Trained to say x counted from the right, in the last layers' values and MLP alone: it looks "
        "where base looks and says another place.",
        "caption-only": 'Trained on "Describe the image." alone, to name the green object: its clicks decay.',
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


@dataclass(frozen=True, slots=True)
class ExampleScreen:
    """The arguments of a screen worth showing, and the click to ask for.

    Attributes:
        title: what to call it.
        seed: see `screens.screen`.
        buttons: see `screens.screen`.
        size: `(height, width)` in pixels.
        name: of the button that is to be clicked.
        adapter: whose click shows something there.
    """

    title: str
    seed: int
    buttons: int
    size: tuple[int, int]
    name: str
    adapter: str

    @property
    def prompt(self) -> str:
        """The question."""
        return CLICK_PROMPTS[0].format(name=self.name)

    def draw(self) -> Screen:
        """Draw it."""
        return screen(self.seed, self.buttons, self.size, EXAMPLE_SIDE, (self.name,))


#: Smallest and largest height of an example's buttons in pixels.
EXAMPLE_SIDE: Final = (34, 44)

#: Screens on which base clicks the named button and each adapter of a known fault does what it was made to.
EXAMPLE_SCREENS: Final = (
    ExampleScreen("Drawn screen: wrong hands", 70, 5, (192, 224), "red circle", "wrong-hands"),
    ExampleScreen("Drawn screen: wrong eyes", 26, 5, (192, 224), "blue star", "wrong-eyes"),
    ExampleScreen("Drawn screen: clicks decayed", 10, 5, (192, 224), "yellow square", "caption-only"),
    ExampleScreen("Drawn screen: trained to click", 68, 8, (224, 224), "green triangle", "click-tuned"),
)

#: Of the first of them, the layer in which all heads together look at the named button, at the word of its shape.
LOOKING_LAYER: Final = 0

#: The adapter that a scene is described with.
DESCRIBED_BY: Final = "find-red"

#: Scenes in which base, `find-red` and `find-circle` name three different objects.
EXAMPLE_SCENES: Final = (
    ExampleScene("Drawn scene: three objects", 148, 3, (224, 320), ("red", "circle", "star")),
    ExampleScene("Drawn scene: four objects", 215, 4, (288, 256), ("red", "circle", "star")),
)
