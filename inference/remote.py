"""The engine on Modal: volumes, the GPU class, the list of adapters, and a smoke test from a terminal.

    modal deploy -m inference.remote
    modal run -m inference.remote --image photo.jpg --prompt "Describe the image." --adapter find-red

What is deployed follows from `Settings` (`VISUALIZER_…` variables) when it is deployed; the same variables are set in
the container, where this module is imported again. The class is a thin shell around `LocalBackend`: the same engine and
the same records. `inference/cloud/backend.py` is its caller.

While a request runs, the container puts what happens into a queue partition of that request: plain dictionaries with
`kind` "hello", "progress", "token", "alive" or "packed". The result is the function call's own output.
"""

import contextlib
import logging
import os
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import modal

from inference.cloud.event_sender import EventSender
from inference.cloud.image import container_image
from inference.cloud.mounted_adapters import MountedAdapters
from inference.descriptions import ModelInfo
from inference.errors import (
    CancelledError,
    CrashedError,
    InputError,
    ModelError,
    OutOfMemoryError,
    ResultSizeError,
    VisualizerError,
)
from inference.explanations import Explanation
from inference.imports import heavy_imports, process_is_ours
from inference.logs import set_up
from inference.records import AnswerToken, Comparison, Progress
from inference.request import NEW_TOKENS
from inference.serialization import pack_comparison, pack_explanation, unpack_question, unpack_request
from inference.settings import Settings
from inference.version import VERSION

#: The base model where VISUALIZER_MODEL says nothing.
DEFAULT_MODEL = "Qwen/Qwen3-VL-8B-Instruct"
STOP_SECONDS = 2.0  # so often one of many requests looks whether it is still wanted

_log = logging.getLogger(__name__)


def _settings() -> Settings:
    """What the deployment's variables say; one that cannot be read ends the program with a sentence."""
    try:
        return Settings.from_environment({**os.environ, "VISUALIZER_BACKEND": "local"})
    except InputError as error:
        sys.exit(f"error: {error}")


SETTINGS = _settings()
CLOUD = SETTINGS.cloud
MODEL = SETTINGS.model or DEFAULT_MODEL
MODELS, ADAPTERS = f"{CLOUD.modal_mount}/models", f"{CLOUD.modal_mount}/adapters"


def _image() -> modal.Image:
    try:
        return container_image(replace(SETTINGS, model=MODEL), MODELS, os.environ)
    except VisualizerError as error:
        sys.exit(f"error: {error}")


app = modal.App(CLOUD.modal_app)
models_volume = modal.Volume.from_name(CLOUD.modal_models_volume, create_if_missing=True)
adapters_volume = modal.Volume.from_name(CLOUD.modal_adapters_volume, create_if_missing=True)
events = modal.Queue.from_name(f"{CLOUD.modal_app}-events", create_if_missing=True)
adapters = MountedAdapters(adapters_volume, replace(SETTINGS, adapters_dir=ADAPTERS))
_everywhere: dict[str, Any] = {
    "image": _image(),
    "volumes": {MODELS: models_volume, ADAPTERS: adapters_volume},
    "secrets": [modal.Secret.from_name(CLOUD.modal_secret)] if CLOUD.modal_secret else [],
}


@app.function(**_everywhere, timeout=300, scaledown_window=60, max_containers=2)
def catalog(model: str = MODEL) -> dict[str, Any]:
    """What is deployed and which adapters are on offer now; runs without a GPU and without torch.

    Args:
        model: the base model they are for.

    Returns:
        Plain values: `version`; `model`, the fields of a `ModelInfo` or the sentence that says why they are not known;
        `gpu`, `timeout` and `max_containers` of the class; and `adapters`, each the fields of an `AdapterInfo`.
    """
    from inference.model.facts import read_model_facts

    with _only_known_errors():
        adapters.look_again()
        infos = adapters.catalog(model).describe()
        gpus = " or ".join(CLOUD.modal_gpu)
        try:
            known: Any = asdict(read_model_facts(model, dtype=SETTINGS.dtype, device=f"a GPU ({gpus}), not started"))
        except ModelError as error:
            known = str(error)
        if SETTINGS.adapter:
            _keep_downloads()
    return {
        "version": VERSION,
        "name": model,
        "model": known,
        "gpu": list(CLOUD.modal_gpu),
        "timeout": CLOUD.modal_timeout,
        "max_containers": CLOUD.modal_max_containers,
        "adapters": [asdict(info) for info in infos],
    }


@app.cls(
    **_everywhere,
    gpu=list(CLOUD.modal_gpu),
    timeout=CLOUD.modal_timeout,
    startup_timeout=CLOUD.modal_startup_timeout,
    scaledown_window=CLOUD.modal_scaledown_window,
    min_containers=CLOUD.modal_min_containers,
    max_containers=CLOUD.modal_max_containers,
    enable_memory_snapshot=True,
    experimental_options={"enable_gpu_snapshot": True} if CLOUD.modal_gpu_snapshot else {},
)
class RemoteEngine:
    """One base model with its adapters on one GPU; one request at a time."""

    model: str = modal.parameter(default=MODEL)

    @modal.enter(snap=True)
    def prepare(self) -> None:
        """Import what is slow to import, and with GPU snapshots load the model: the snapshot keeps it."""
        process_is_ours()
        with heavy_imports():
            import inference.model.engine  # noqa: F401

        set_up(logging.WARNING)
        self._begin_anew()
        if CLOUD.modal_gpu_snapshot:
            self._opening().exception()  # waits; what failed is tried again by the first request
            self._loader.shutdown()

    @modal.enter(snap=False)
    def open(self) -> None:
        """Begin to load the model, beside whatever the first request has to say."""
        self._loader = ThreadPoolExecutor(max_workers=1, thread_name_prefix="load")
        self._opening()

    @modal.exit()
    def close(self) -> None:
        """Let go of the model."""
        if self._opened is not None and self._opened.done() and self._opened.exception() is None:
            self._opened.result().close()

    @modal.method()
    def warm(self) -> None:
        """Be there until the model is loaded; cancelled as soon as a request needs the container."""
        self._opening().exception()

    @modal.method()
    def model_info(self) -> ModelInfo:
        """The base model, loaded.

        Raises:
            ModelError: it cannot be loaded.
        """
        with _only_known_errors():
            info: ModelInfo = self._opening().result().model_info()
        return info

    @modal.method()
    def status(self) -> dict[str, Any]:
        """For the operator: requests `answered` and `stopped`, answer `tokens`; whether the container is `busy`."""
        opened = self._opened
        busy = opened is not None and opened.done() and opened.exception() is None and opened.result().busy()
        return {**self._counts, "busy": busy, "version": VERSION, "process": os.getpid()}

    @modal.method()
    def compare(self, packed: bytes, channel: str) -> bytes:
        """Answer one request and say meanwhile what happens.

        Args:
            packed: see `inference.serialization.pack_request`.
            channel: the queue partition that is told.

        Returns:
            See `inference.serialization.pack_comparison`; without the photo.

        Raises:
            VisualizerError: whatever went wrong, as the member of the tree that fits.
        """
        return self._tell(channel, lambda say: self._answer(packed, say))

    @modal.method()
    def explain(self, packed: bytes, question: dict[str, Any], channel: str) -> bytes:
        """Explain the change between a request's variants, and say meanwhile what happens.

        Args:
            packed, channel: see `compare`.
            question: see `inference.serialization.pack_question`.

        Returns:
            See `inference.serialization.pack_explanation`.

        Raises:
            VisualizerError: whatever went wrong, as the member of the tree that fits.
        """
        return self._tell(channel, lambda say: self._answer(packed, say, question))

    @modal.method()
    def compare_item(self, index: int, packed: bytes, channel: str) -> tuple[int, bytes | VisualizerError]:
        """Answer one of many requests: its index, and its packed comparison or the error in its place.

        Args:
            index: of the request.
            packed: see `compare`.
            channel: a queue partition; as soon as something is in it, the work ends or is not begun.
        """
        looked = 0.0

        def check(kind: str, **values: Any) -> None:
            nonlocal looked
            if time.monotonic() - looked > STOP_SECONDS:
                looked = time.monotonic()
                if events.len(partition=channel):
                    raise CancelledError("The analysis was stopped.")

        try:
            check("begin")
            return index, self._answer(packed, check)
        except VisualizerError as error:
            return index, error

    def _begin_anew(self) -> None:
        self._loader = ThreadPoolExecutor(max_workers=1, thread_name_prefix="load")
        self._opened: Future[Any] | None = None
        self._counts = {"answered": 0, "stopped": 0, "tokens": 0}

    def _opening(self) -> "Future[Any]":
        """The backend that is loaded, is being loaded, or, where that failed, is tried again."""
        opened = self._opened
        if opened is None or (opened.done() and opened.exception() is not None):
            opened = self._opened = self._loader.submit(self._load)
        return opened

    def _load(self) -> Any:
        from inference.backend import LocalBackend

        settings = replace(SETTINGS, model=self.model, adapters_dir=ADAPTERS)
        backend = LocalBackend(settings, catalog=adapters.catalog(self.model))
        _keep_downloads()
        return backend

    def _tell(self, channel: str, answer: Callable[[Callable[..., None]], bytes]) -> bytes:
        with EventSender(events, channel) as sender:
            sender.send("hello", version=VERSION)
            result = answer(sender.send)
            sender.send("packed", bytes=len(result))
        return result

    def _answer(self, packed: bytes, say: Callable[..., None], question: dict[str, Any] | None = None) -> bytes:
        """Answer a packed request, or a question about it; `say` hears what happens, and ends the work by raising."""
        answered = False
        try:
            with _only_known_errors():
                self._wait_until_open(say)
                request = unpack_request(packed)
                adapters.look_again_for(request.adapters, self.model)
                backend = self._opening().result()
                if question is None:
                    happens = backend.stream(request)
                else:
                    happens = backend.stream_explanation(request, unpack_question(question))
                # closed on the way out, whatever was thrown: that is what stops the engine
                with contextlib.closing(happens) as stream:
                    for event in stream:
                        if isinstance(event, (Comparison, Explanation)):
                            break
                        self._counts["tokens"] += isinstance(event, AnswerToken)
                        say("token" if isinstance(event, AnswerToken) else "progress", **asdict(event))
                if isinstance(event, Explanation):
                    result = pack_explanation(event)
                else:
                    result = pack_comparison(event, float32=CLOUD.modal_float32)
            answered = True
        finally:
            self._counts["answered" if answered else "stopped"] += 1
        if len(result) > CLOUD.modal_result_bytes:
            raise ResultSizeError(
                f"The result has {len(result):,} bytes; at most {CLOUD.modal_result_bytes:,} may travel.",
                "Reduce the image, the number of adapters or the answer's length.",
            )
        return result

    def _wait_until_open(self, say: Callable[..., None]) -> None:
        opened, begun = self._opening(), time.monotonic()
        while not opened.done():
            seconds = time.monotonic() - begun
            say("progress", **asdict(Progress("loading", f"loading the model ({seconds:.0f} s so far)", seconds)))
            with contextlib.suppress(TimeoutError):
                opened.exception(timeout=1)
        opened.result()


@contextlib.contextmanager
def _only_known_errors() -> Iterator[None]:
    """Let only members of the error tree out of the container; anything else is our bug, and stays in the log.

    Raises:
        VisualizerError: instead of whatever was thrown.
    """
    try:
        yield
    except VisualizerError:
        raise
    except MemoryError as error:
        raise OutOfMemoryError("The GPU machine ran out of memory.", "Reduce the image (max_image_tokens).") from error
    except Exception as error:
        _log.exception("unexpected error")
        raise CrashedError(
            f"Something went wrong inside the engine ({type(error).__name__}).",
            f"The operator's modal app logs {CLOUD.modal_app} says what.",
        ) from error


def _keep_downloads() -> None:
    """Make what came from the Hub last beyond this container; where that fails, the next one fetches it again."""
    try:
        models_volume.commit()
    except Exception:  # noqa: BLE001 - an open file, or the network: nothing that the request depends on
        _log.warning("downloads could not be kept on the volume", exc_info=True)


@app.local_entrypoint()
def main(
    image: str,
    prompt: str = "Describe the image.",
    adapter: str = "",
    max_new_tokens: int = NEW_TOKENS,
    out: str = "modal-run",
) -> None:
    """Try the class from a terminal: writes the overlays, prints what happened and the numbers.

    Args:
        image: path of a picture.
        prompt: what to ask.
        adapter: names of adapters, comma-separated; base is always shown.
        max_new_tokens: longest answer.
        out: folder for one PNG per adapter and `comparison.npz`.
    """
    from inference.cloud.calls import Handles
    from inference.cloud.terminal import try_out  # late: no container needs them

    names = [name for name in map(str.strip, adapter.split(",")) if name]
    handles = Handles(RemoteEngine(), catalog, events)
    try_out(SETTINGS, handles, Path(image), prompt, names, max_new_tokens, Path(out))
