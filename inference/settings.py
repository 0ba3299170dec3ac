"""Every tunable, once, with its unit; environment variables and command-line flags fill it. It knows no framework.

Each field's `help` says what it bounds. The environment variable of a field is `VISUALIZER_` and its name in capitals;
fields with `flag` are command-line flags of `app.py` too. A flag wins over the environment, the environment over the
default.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any, Literal, get_args, get_origin

from inference.errors import InputError

MIB = 2**20

AttentionMode = Literal["auto", "eager", "rows"]
BackendKind = Literal["local", "modal"]


def _setting(default: Any, help_: str, *, flag: bool = False, secret: bool = False) -> Any:
    return field(default=default, metadata={"help": help_, "flag": flag, "secret": secret})


@dataclass(frozen=True, slots=True)
class Limits:
    """What a visitor may send; every refusal names the limit, what came and what to do.

    Raises:
        InputError: a limit that is not positive.
    """

    max_upload_bytes: int = _setting(32 * MIB, "largest image file, in bytes")
    max_pixels: int = _setting(80_000_000, "largest image before resizing, in pixels")
    max_aspect_ratio: float = _setting(200.0, "longest side over shortest side (Qwen's own limit)")
    max_prompt_characters: int = _setting(8_000, "longest prompt or system text, in characters")
    max_image_tokens: int = _setting(2_560, "most image tokens after the processor's resizing", flag=True)
    max_new_tokens: int = _setting(256, "most answer tokens that a request may ask for")
    max_variants: int = _setting(8, "most variants in one request")
    queue_length: int = _setting(32, "analyses waiting at once")
    requests_per_minute: int = _setting(60, "analyses over HTTP per address and minute")

    def __post_init__(self) -> None:
        for each in fields(self):
            value = getattr(self, each.name)
            if not (math.isfinite(value) and value > 0):
                raise InputError(f"{each.name} must be a positive number, not {value!r}.")


@dataclass(frozen=True, slots=True)
class Settings:
    """How this process runs; frozen, made once at the start.

    Raises:
        InputError: a value of the wrong type or outside its choices.
    """

    model: str = _setting(
        "demo", "'demo', a checkpoint folder or a Hub id such as Qwen/Qwen3-VL-2B-Instruct", flag=True
    )
    adapter: tuple[str, ...] = _setting((), "NAME=FOLDER_OR_HUB_ID of an adapter to offer; repeatable", flag=True)
    adapters_dir: str = _setting("", "folder whose sub-folders are adapters (or families of checkpoints)", flag=True)
    backend: BackendKind = _setting("local", "where the engine runs", flag=True)
    host: str = _setting("127.0.0.1", "address to listen on", flag=True)
    port: int = _setting(7860, "port to listen on", flag=True)
    share: bool = _setting(False, "also open a public gradio.live link", flag=True)
    auth: str = _setting("", "USER:PASSWORD that guards the page and every route", flag=True, secret=True)
    attention: AttentionMode = _setting(
        "auto",
        "how attention is read: upstream's eager matrices, or only the asked rows; auto decides by bytes",
        flag=True,
    )
    device: str = _setting("auto", "'auto', 'cpu', 'cuda' or 'cuda:N'", flag=True)
    dtype: str = _setting(
        "auto", "'auto' (float32 on a CPU, bfloat16 on CUDA), 'float32', 'bfloat16', 'float16'", flag=True
    )
    eager_layer_bytes: int = _setting(
        256 * MIB, "largest matrix of one layer that 'auto' still computes eagerly, in bytes"
    )
    tile_bytes: int = _setting(
        0, "scores held at once while rows are recorded, in bytes; 0 is 4 MiB on a CPU (its cache), 256 MiB on a GPU"
    )
    adapter_cache_bytes: int = _setting(
        2_048 * MIB, "adapters kept on the model, least recently used leave first, in bytes"
    )
    kept_bytes: int = _setting(
        2_048 * MIB,
        "what was read of the last images (vision features, keys and values per variant), least recently used leave "
        "first, in bytes; 0 keeps nothing between requests",
    )
    result_cache_bytes: int = _setting(512 * MIB, "finished comparisons kept for the page's visitors, in bytes")
    limits: Limits = field(default_factory=Limits)

    def __post_init__(self) -> None:
        for each in fields(self):
            if get_origin(each.type) is Literal and getattr(self, each.name) not in get_args(each.type):
                choices = ", ".join(get_args(each.type))
                raise InputError(f"{each.name} must be one of {choices}; not {getattr(self, each.name)!r}.")
        for name in ("eager_layer_bytes",):
            if getattr(self, name) < 1:
                raise InputError(f"{name} must be 1 or more, not {getattr(self, name)}.")
        for name in ("tile_bytes", "adapter_cache_bytes", "kept_bytes", "result_cache_bytes"):
            if getattr(self, name) < 0:
                raise InputError(f"{name} must not be negative.")
        if not 0 <= self.port <= 65_535:
            raise InputError(f"port must be 0–65535, not {self.port}.")
        if self.auth and not all(self.auth.partition(":")[::2]):
            raise InputError("auth must have the form USER:PASSWORD, both not empty.")

    @classmethod
    def from_environment(cls, environ: Mapping[str, str]) -> "Settings":
        """Fill the fields from `VISUALIZER_…` variables; those that are absent keep their default.

        Args:
            environ: usually `os.environ`. A tuple is given comma-separated, a bool as 1/0/true/false.

        Raises:
            InputError: a value that cannot be read as its field's type.
        """
        limits = Limits(**_read(Limits, environ))
        return cls(limits=limits, **_read(cls, environ))


def environment_variable(name: str) -> str:
    """Name of the environment variable that fills the setting `name`."""
    return f"VISUALIZER_{name.upper()}"


def _read(owner: type[Limits] | type[Settings], environ: Mapping[str, str]) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for each in fields(owner):
        text = environ.get(environment_variable(each.name), "")
        if text and each.name != "limits":
            values[each.name] = _parse(each.name, each.type, text)
    return values


def _parse(name: str, kind: Any, text: str) -> Any:
    variable = environment_variable(name)
    if kind is bool:
        lowered = text.strip().lower()
        if lowered not in {"1", "0", "true", "false", "yes", "no"}:
            raise InputError(f"{variable} must be true or false, not {text!r}.")
        return lowered in {"1", "true", "yes"}
    if kind in (int, float):
        try:
            return kind(text)
        except ValueError as error:
            raise InputError(f"{variable} must be a number, not {text!r}.") from error
    if get_origin(kind) is tuple:
        return tuple(part.strip() for part in text.split(",") if part.strip())
    return text
