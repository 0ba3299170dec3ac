"""How much of an adapter is on, and where; it knows neither weights nor models."""

from typing import Literal, NamedTuple, get_args

Group = Literal["vision tower", "q and k", "v and o", "MLP"]
GROUPS: tuple[Group, ...] = get_args(Group)
_PROJECTIONS: dict[str, Group] = {"q_proj": "q and k", "k_proj": "q and k", "v_proj": "v and o", "o_proj": "v and o"}


class Portion(NamedTuple):
    """A part of an adapter, at a strength; the default is all of it, as trained.

    Attributes:
        scale: factor on its strength.
        modules: names of target modules, or of any part of their path, that stay on; None is all.
        group: only modules of this group; None is all.
        layers: only layers `first` to `last` of the language model; None is all, and what is in no layer.
    """

    scale: float = 1.0
    modules: tuple[str, ...] | None = None
    group: Group | None = None
    layers: tuple[int, int] | None = None

    @property
    def whole(self) -> bool:
        """Whether it is the adapter as trained."""
        return self == Portion()

    def holds(self, path: str) -> bool:
        """Whether the module at a path of the model stays on."""
        if self.modules is not None and not set(path.split(".")) & set(self.modules):
            return False
        if self.group is not None and group_of(path) != self.group:
            return False
        if self.layers is not None:
            layer = layer_of(path)
            return layer is not None and self.layers[0] <= layer <= self.layers[1]
        return True


def group_of(path: str) -> Group | None:
    """The group of the module at a path; None for what is in none of them, such as embeddings."""
    parts = path.split(".")
    if "visual" in parts:
        return "vision tower"
    found = next((_PROJECTIONS[part] for part in parts if part in _PROJECTIONS), None)
    return found or ("MLP" if "mlp" in parts else None)


def layer_of(path: str) -> int | None:
    """The language model's layer that the module at a path is in, or None."""
    parts = path.split(".")
    if "visual" in parts or "layers" not in parts:
        return None
    return int(parts[parts.index("layers") + 1])
