"""Decide what a base model's name means: the embedded one, a folder here, or an id of the Hub; it loads nothing."""

from dataclasses import dataclass
from pathlib import Path

DEMO = "demo"


@dataclass(frozen=True, slots=True)
class ModelName:
    """What a person called a base model, resolved.

    Attributes:
        id: what to call it: "demo", the folder's own name, or the Hub id as it was given.
        folder: where its files are on this machine; None for a Hub id.
        is_demo: whether it is the embedded model.
    """

    id: str
    folder: Path | None
    is_demo: bool = False

    @property
    def source(self) -> str:
        """What `from_pretrained` takes."""
        return str(self.folder) if self.folder is not None else self.id

    @property
    def is_own_folder(self) -> bool:
        """Whether it is a folder of a person's, which another machine does not have."""
        return self.folder is not None and not self.is_demo


def resolve_model(model: str) -> ModelName:
    """Resolve the name of a base model.

    Args:
        model: "demo", a folder, or a Hub id; "" where a deployment decides, which is an id without a folder.
    """
    if model == DEMO:
        from inference.demo import MODEL_DIR

        return ModelName(DEMO, MODEL_DIR, is_demo=True)
    folder = Path(model)
    return ModelName(folder.name, folder) if model and folder.is_dir() else ModelName(model, None)
