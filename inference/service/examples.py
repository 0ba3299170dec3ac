"""The pictures that the page begins with, and the result that a first visit shows; it knows no page."""

from dataclasses import dataclass
from pathlib import Path

import matplotlib
from PIL import Image

from inference.demo import EXAMPLE_SCENES, FIRST_VISIT
from inference.records import Comparison
from inference.request import Request, digest
from inference.resolve_model import resolve_model
from inference.service.results import Result
from inference.service.schema import PROMPT
from inference.settings import Settings
from visualize.page import Json, data_url


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
    """Two scenes of the embedded model's world, where that is the model, and a photo that matplotlib brings along."""
    own = resolve_model(settings.base_model).is_demo
    scenes = [Example(scene.title, "the kind the model was trained on", scene.draw().image) for scene in EXAMPLE_SCENES]
    photo = Image.open(Path(matplotlib.get_data_path(), "sample_data", "grace_hopper.jpg")).convert("RGB")
    photo.thumbnail((640, 640))
    kind = "a real photo: outside what the embedded model knows" if own else "a real photo"
    return [*(scenes if own else []), Example("Photo: Grace Hopper", kind, photo)]


def first_result(settings: Settings) -> Result | None:
    """The shipped result of the embedded model, with the request that the page's own fields would make of it."""
    if not resolve_model(settings.base_model).is_demo or not FIRST_VISIT.exists():
        return None
    comparison = Comparison.load(FIRST_VISIT)
    request = Request(
        image=comparison.image,
        prompt=comparison.prompt,
        system=comparison.system,
        adapters=tuple(recording.adapter for recording in comparison.recordings),
    )
    return Result(digest(request), request, comparison)
