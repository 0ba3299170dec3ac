"""What a model, a backend and an adapter say of themselves, before and beside any answer; the standard library only."""

import re
from dataclasses import dataclass
from reprlib import repr as shortened

from inference.errors import InputError
from inference.settings import BackendKind

#: Names that an adapter may not have: they mean something else on the page, in the routes or in `answer_from`.
RESERVED_NAMES = frozenset({"base", "own", "none"})
_NAME = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]{0,62}[A-Za-z0-9])?")


def check_adapter_name(name: object) -> str:
    """Return `name` if it is a plain label an adapter may have.

    Raises:
        InputError: not 1–64 letters, digits, `.`, `_`, `-` (a letter or digit first and last), or a reserved name.
    """
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        shown = repr(name[:80]) if isinstance(name, str) else shortened(name)
        raise InputError(
            f"{shown} cannot be an adapter's name.",
            "Use 1–64 letters, digits, '.', '_' or '-', starting and ending with a letter or digit.",
        )
    if name.lower() in RESERVED_NAMES:
        raise InputError(f"{name!r} is reserved and cannot be an adapter's name.", "Choose another name.")
    return name


@dataclass(frozen=True, slots=True)
class ModelInfo:
    """The base model and the shapes of its attention; `revision` is a commit or "", `version` this package's."""

    id: str
    revision: str
    family: str
    num_layers: int
    num_heads: int
    num_vision_layers: int
    num_vision_heads: int
    patch_size: int
    merge_size: int
    dtype: str
    device: str
    version: str


@dataclass(frozen=True, slots=True)
class BackendStatus:
    """What a backend runs on now; the page makes the words.

    Attributes:
        model: the base model's id.
        backend: "local" or "modal".
        device, dtype: what the model is on and computes in; both "" while no machine has loaded it.
        gpus: the kinds of GPU of which one starts when it is needed; empty where nothing has to start.
    """

    model: str
    backend: BackendKind
    device: str = ""
    dtype: str = ""
    gpus: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class AdapterInfo:
    """What an adapter's files say of it.

    Attributes:
        kind: "LoRA", "rsLoRA" or "DoRA"; "unusable" for one that cannot be used, and "skipped" for a folder of the
            adapters folder that is no adapter: both say why in `notes`.
        rank, alpha: the config's `r` and `lora_alpha`; `rank_pattern` and `alpha_pattern` are said in `notes`.
        target_modules: names of the adapted modules' last parts, sorted, e.g. `("k_proj", "q_proj")`.
        touches_vision: whether anything under the vision tower changes.
        parameters: numbers stored in its file.
        base_model: the base model it names; may differ from ours, which is a note, never a refusal.
        stamp: changes when its files are replaced; "" where that is not known.
        family, step: name of the training run and its step, for a folder of `checkpoint-N`; else "" and None.
    """

    name: str
    description: str
    kind: str
    rank: int
    alpha: float
    target_modules: tuple[str, ...]
    touches_vision: bool
    parameters: int
    base_model: str
    notes: tuple[str, ...] = ()
    family: str = ""
    step: int | None = None
    stamp: str = ""

    @property
    def usable(self) -> bool:
        """Whether it can be asked for."""
        return self.kind not in ("unusable", "skipped")
