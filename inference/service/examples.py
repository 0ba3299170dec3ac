"""The pictures that the page begins with, and the result that a first visit shows; it knows no page."""

from dataclasses import dataclass
from pathlib import Path

import matplotlib
from PIL import Image

from inference.demo import DESCRIBED_BY, EXAMPLE_SCENES, EXAMPLE_SCREENS, FIRST_VISIT, LOOKING_LAYER, SCREENSHOT
from inference.records import Comparison
from inference.request import Request, digest
from inference.resolve_model import resolve_model
from inference.service.fields import PROMPT
from inference.service.results import Result
from inference.settings import Settings
from visualize.page import Json, data_url

_KNOWN = "the kind the model was trained on"


@dataclass(frozen=True, slots=True, eq=False)
class Example:
    """A picture to begin with; `kind` says whether the model knows its like.

    Attributes:
        title: what to call it.
        kind: in words.
        image: the picture.
        prompt: what is asked about it.
        adapter: the one that shows something with it; None leaves what is chosen.
    """

    title: str
    kind: str
    image: Image.Image
    prompt: str = PROMPT
    adapter: str | None = None

    def thumbnail(self) -> Json:
        """What the page shows to choose it by."""
        small = self.image.copy()
        small.thumbnail((128, 128))
        return {"title": self.title, "kind": self.kind, "source": data_url(small, "JPEG")}


def examples(settings: Settings) -> list[Example]:
    """What the page begins with: of the embedded model's world, where that is the model, and a screenshot and a photo.

    The screens come first, one for each way in which a click goes wrong, then a scene that is described. The screenshot
    is one of this page, the photo one that matplotlib brings along; both lie outside what the embedded model knows.
    """
    own = resolve_model(settings.base_model).is_demo
    outside = ": outside what the embedded model knows" if own else ""
    screens = [
        Example(each.title, _KNOWN, each.draw().image, each.prompt, each.adapter) for each in EXAMPLE_SCREENS if own
    ]
    scenes = [
        Example(each.title, _KNOWN, each.draw().image, PROMPT, DESCRIBED_BY) for each in EXAMPLE_SCENES[:1] if own
    ]
    screenshot = Image.open(SCREENSHOT).convert("RGB")
    photo = Image.open(Path(matplotlib.get_data_path(), "sample_data", "grace_hopper.jpg")).convert("RGB")
    photo.thumbnail((640, 640))
    return [
        *screens,
        *scenes,
        Example("Screenshot: this page", f"a real screenshot{outside}", screenshot, 'Click the "Analyze" button.'),
        Example("Photo: Grace Hopper", f"a real photo{outside}", photo),
    ]


def first_result(settings: Settings) -> Result | None:
    """The shipped result of the embedded model, with the request that the page's own fields would make of it.

    It opens on the word that names the button to be clicked, with that button's box: where it is, is a fact there.
    """
    if not resolve_model(settings.base_model).is_demo or not FIRST_VISIT.exists():
        return None
    comparison = Comparison.load(FIRST_VISIT)
    request = Request(
        image=comparison.image,
        prompt=comparison.prompt,
        system=comparison.system,
        adapters=tuple(recording.adapter for recording in comparison.recordings),
    )
    shown = EXAMPLE_SCREENS[0]
    named = shown.draw().find(shown.name)
    word = next(index for index, token in enumerate(comparison.tokens) if token.text == f" {named.shape}")
    opens: dict[str, Json] = {"token": word, "layer": LOOKING_LAYER, "boxes": [list(named.box)]}
    return Result(digest(request), request, comparison, opens=opens)
