"""Every tunable, once, with its unit; environment variables and command-line flags fill it. It knows no framework.

Each field's `help` says what it bounds. The environment variable of a field is `VISUALIZER_` and its name in capitals;
fields with `flag` are command-line flags of `app.py` too. A flag wins over the environment, the environment over the
default.
"""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, is_dataclass
from importlib.util import find_spec
from typing import Any, Literal, get_args, get_origin

from inference.errors import InputError

MIB = 2**20

AttentionMode = Literal["auto", "eager", "rows"]
BackendKind = Literal["local", "modal"]
Precision = Literal["auto", "float32", "bfloat16", "float16"]


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
    max_conversation_characters: int = _setting(60_000, "longest conversation with its tools, in characters")
    max_images: int = _setting(8, "most images in one conversation")
    max_image_tokens: int = _setting(2_560, "most tokens of an image after the processor's resizing", flag=True)
    max_new_tokens: int = _setting(256, "most answer tokens that a request may ask for")
    max_variants: int = _setting(8, "most variants in one request")
    max_recorded_bytes: int = _setting(2_048 * MIB, "most bytes of recorded rows in one request, all variants")
    queue_length: int = _setting(32, "analyses waiting at once")
    pictures_at_once: int = _setting(2, "pictures decoded or drawn for visitors at the same time")
    decode_seconds: float = _setting(15.0, "longest that one picture may take to decode, in seconds")
    requests_per_minute: int = _setting(60, "analyses per address and minute, of the page and over HTTP together")
    sessions: int = _setting(1_000, "open pages remembered at once; beyond, the one idle longest is forgotten")
    new_sessions_per_hour: int = _setting(300, "pages that one address may open within an hour")
    uploaded_bytes: int = _setting(256 * MIB, "files of one address kept for the page; beyond, its oldest goes")
    uploaded_files: int = _setting(200, "files of one address kept for the page; beyond, its oldest goes")
    all_uploaded_bytes: int = _setting(2_048 * MIB, "files of all addresses kept for the page, in bytes")

    def __post_init__(self) -> None:
        for setting in fields(self):
            value = getattr(self, setting.name)
            if not (math.isfinite(value) and value > 0):
                raise InputError(f"{setting.name} must be a positive number, not {value!r}.")


@dataclass(frozen=True, slots=True)
class Cloud:
    """How the engine runs on Modal: read where it is deployed, and (names, waits) where it is called.

    Raises:
        InputError: a number out of its range, no GPU.
    """

    modal_app: str = _setting("lora-attention-visualizer", "name of the Modal app")
    modal_gpu: tuple[str, ...] = _setting(
        ("H100", "A100-80GB", "L40S"), "GPU types in order of preference; a comma-separated list"
    )
    modal_secret: str = _setting("", "name of a Modal secret that holds HF_TOKEN, for gated models and adapters")
    modal_models_volume: str = _setting("lora-attention-visualizer-models", "Modal volume that keeps the Hub's files")
    modal_adapters_volume: str = _setting("lora-attention-visualizer-adapters", "Modal volume of adapters")
    modal_mount: str = _setting("/volumes", "folder in the container under which the volumes are mounted")
    modal_timeout: int = _setting(600, "longest that one call may run, the loading of the model included, in seconds")
    modal_startup_timeout: int = _setting(
        900, "longest that a container may take to start, before the model, in seconds"
    )
    modal_scaledown_window: int = _setting(300, "how long an idle container stays, in seconds (2–3,600)")
    modal_min_containers: int = _setting(0, "containers that stay up without work")
    modal_max_containers: int = _setting(4, "most containers at once; each has its own GPU")
    modal_gpu_snapshot: bool = _setting(False, "snapshot the loaded model in GPU memory too (Modal calls it alpha)")
    modal_float32: bool = _setting(False, "send maps as float32 instead of scaled float16: exact, twice the bytes")
    modal_result_bytes: int = _setting(512 * MIB, "largest result that may travel, in bytes")
    modal_probe_seconds: float = _setting(5.0, "how long Modal may take to answer at all, in seconds")
    modal_start_seconds: float = _setting(420.0, "how long a GPU and the model may take to be there, in seconds")
    modal_attempts: int = _setting(3, "how often a container may die over one analysis before it is given up")
    modal_prewarm: bool = _setting(True, "start a GPU as soon as a visitor hands in a photo")

    def __post_init__(self) -> None:
        ranges = {"modal_min_containers": 0, "modal_scaledown_window": 2, "modal_max_containers": 1}
        for setting in fields(self):
            value = getattr(self, setting.name)
            if setting.type in (int, float) and not (math.isfinite(value) and value >= ranges.get(setting.name, 1)):
                raise InputError(f"{setting.name} must be {ranges.get(setting.name, 1)} or more, not {value!r}.")
        if self.modal_scaledown_window > 3_600:
            raise InputError(f"modal_scaledown_window must be 2–3,600 seconds, not {self.modal_scaledown_window}.")
        if self.modal_min_containers > self.modal_max_containers:
            raise InputError("modal_min_containers must not be larger than modal_max_containers.")
        if not self.modal_gpu:
            raise InputError("modal_gpu must name a GPU type.", "For example H100,A100-80GB,L40S.")


@dataclass(frozen=True, slots=True)
class Settings:
    """How this process runs; frozen, made once at the start.

    Raises:
        InputError: a value of the wrong type or outside its choices.
    """

    model: str = _setting(
        "",
        "'demo' (the embedded model), a checkpoint folder or a Hub id; default: demo, on Modal what was deployed",
        flag=True,
    )
    adapter: tuple[str, ...] = _setting((), "NAME=FOLDER_OR_HUB_ID of an adapter to offer; repeatable", flag=True)
    adapters_dir: str = _setting("", "folder whose sub-folders are adapters (or families of checkpoints)", flag=True)
    backend: BackendKind = _setting("local", "where the engine runs", flag=True)
    host: str = _setting("127.0.0.1", "address to listen on", flag=True)
    port: int = _setting(7860, "port to listen on", flag=True)
    metrics_port: int = _setting(0, "port of /metrics for an operator's Prometheus, not the page's; 0: none", flag=True)
    metrics_host: str = _setting("127.0.0.1", "address that /metrics listens on", flag=True)
    share: bool = _setting(False, "also open a public gradio.live link", flag=True)
    auth: str = _setting("", "USER:PASSWORD that guards the page and every route", flag=True, secret=True)
    allowed_host: tuple[str, ...] = _setting(
        (), "a name under which browsers may ask for this server, such as viz.example.org; repeatable", flag=True
    )
    attention: AttentionMode = _setting(
        "auto",
        "how attention is read: upstream's eager matrices, or only the asked rows; auto decides by bytes",
        flag=True,
    )
    device: str = _setting("auto", "'auto', 'cpu', 'cuda' or 'cuda:N'", flag=True)
    dtype: Precision = _setting("auto", "the weights' type; auto is float32 on a CPU, bfloat16 on CUDA", flag=True)
    eager_layer_bytes: int = _setting(
        256 * MIB, "largest matrix of one layer that 'auto' still computes eagerly, in bytes"
    )
    tile_bytes: int = _setting(
        0,
        "scores held at once while rows are recorded (and as much for their weights), in bytes; 0 is 32 MiB on a CPU, "
        "256 MiB on a GPU",
    )
    adapter_cache_bytes: int = _setting(
        -1,
        "adapters kept on the model, least recently used leave first, in bytes; -1 is 2 GiB on a CPU, on a GPU a "
        "quarter of what the model leaves free",
    )
    kept_bytes: int = _setting(
        -1,
        "what was read of the last images (vision features, keys and values per variant), least recently used leave "
        "first, in bytes; 0 keeps nothing between requests, -1 is 2 GiB on a CPU, on a GPU a quarter of what is free",
    )
    forced_bytes: int = _setting(
        -1,
        "attention weights of the text rows of two variants, held while they are forced into each other, in bytes; -1 "
        "is 2 GiB on a CPU, on a GPU a quarter of what the model leaves free",
    )
    result_cache_bytes: int = _setting(512 * MIB, "finished comparisons kept for the page's visitors, in bytes")
    limits: Limits = field(default_factory=Limits)
    cloud: Cloud = field(default_factory=Cloud)

    def __post_init__(self) -> None:
        for setting in fields(self):
            if get_origin(setting.type) is Literal and getattr(self, setting.name) not in get_args(setting.type):
                choices = ", ".join(get_args(setting.type))
                raise InputError(f"{setting.name} must be one of {choices}; not {getattr(self, setting.name)!r}.")
        least = {"eager_layer_bytes": 1, "tile_bytes": 0, "result_cache_bytes": 1}
        for name, bound in (least | {"adapter_cache_bytes": -1, "kept_bytes": -1, "forced_bytes": -1}).items():
            if getattr(self, name) < bound:
                raise InputError(f"{name} must be {bound} or more, not {getattr(self, name)}.")
        for name in ("port", "metrics_port"):
            if not 0 <= getattr(self, name) <= 65_535:
                raise InputError(f"{name} must be 0–65535, not {getattr(self, name)}.")
        if not re.fullmatch(r"auto|cpu|cuda(:\d{1,3})?", self.device):
            raise InputError(f"device must be auto, cpu, cuda or cuda:N; not {self.device!r}.")
        if self.auth and not all(self.auth.partition(":")[::2]):
            raise InputError("auth must have the form USER:PASSWORD, both not empty.")

    @property
    def base_model(self) -> str:
        """The base model asked for: the embedded one where nothing is said; "" on Modal, where the deployment says."""
        return self.model or ("demo" if self.backend == "local" else "")

    @classmethod
    def from_environment(cls, environ: Mapping[str, str]) -> "Settings":
        """Fill the fields from `VISUALIZER_…` variables; those that are absent keep their default.

        Args:
            environ: usually `os.environ`. A tuple is given comma-separated, a bool as 1/0/true/false. On a Hugging Face
                Space with a Modal token among its secrets, and where torch is not installed, the backend is Modal
                unless said otherwise.

        Raises:
            InputError: a value that cannot be read as its field's type.
        """
        given = _read(cls, environ)
        if "backend" not in given and (_is_space_with_token(environ) or find_spec("torch") is None):
            given["backend"] = "modal"
        return cls(limits=Limits(**_read(Limits, environ)), cloud=Cloud(**_read(Cloud, environ)), **given)


def environment_variable(name: str) -> str:
    """Name of the environment variable that fills the setting `name`."""
    return f"VISUALIZER_{name.upper()}"


def _is_space_with_token(environ: Mapping[str, str]) -> bool:
    return all(environ.get(name) for name in ("SPACE_ID", "MODAL_TOKEN_ID", "MODAL_TOKEN_SECRET"))


def _read(owner: type[Limits] | type[Cloud] | type[Settings], environ: Mapping[str, str]) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for setting in fields(owner):
        text = environ.get(environment_variable(setting.name), "")
        if text and not is_dataclass(setting.type):
            values[setting.name] = _parse(setting.name, setting.type, text)
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
