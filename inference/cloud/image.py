"""What a container on Modal is made of: its packages, files and variables; it knows no request and no engine."""

import logging
import tomllib
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, requires
from pathlib import Path

import modal

from inference.errors import BackendError, InputError
from inference.named_adapters import named_adapters
from inference.resolve_model import resolve_model
from inference.settings import Settings, environment_variable

#: What the page, the batch and the caller need and the GPU class does not; and Modal itself, which the container has.
NOT_NEEDED = ("fastapi", "filelock", "gradio", "matplotlib", "modal", "packaging", "pydantic", "starlette", "tqdm")
#: Settings of the page and of the machine it runs on: no business of the container.
NOT_CARRIED = frozenset({"adapters_dir", "auth", "backend", "device", "host", "port", "share"})
PACKAGE = Path(__file__).parents[1]
#: What `requirements` come to, package by package with versions and SHA-256; `python -m tests.supply lock` writes it.
LOCK = Path(__file__).parent / "locks" / "container.txt"

_log = logging.getLogger(__name__)


def requirements() -> list[str]:
    """The package's own pins without what the container does not need: pyproject.toml is the one place for versions.

    Raises:
        BackendError: this is neither the project's folder nor an installed package.
    """
    pyproject = PACKAGE.parent / "pyproject.toml"
    try:
        if pyproject.is_file():
            pins = tomllib.loads(pyproject.read_text(encoding="utf-8"))["project"]["dependencies"]
        else:
            pins = [pin for pin in requires("lora-attention-visualizer") or [] if "extra ==" not in pin]
    except PackageNotFoundError as error:
        raise BackendError("To deploy, the package must be installed.", "Run pip install . first.") from error
    return [pin for pin in pins if not pin.startswith(NOT_NEEDED)]


def check_deployment(settings: Settings) -> None:
    """Refuse before deploying what could only fail afterwards, and warn of a model that is a folder of this machine.

    Raises:
        InputError: an adapter that is a folder of this machine, or has no `NAME=`.
    """
    for name, source in named_adapters(settings.adapter).items():
        if Path(source).is_dir():
            raise InputError(
                f"The adapter {name!r} is a folder of this machine.",
                f"Upload it: modal volume put {settings.cloud.modal_adapters_volume} {source} /{name}.",
            )
    model = settings.model
    if resolve_model(model).is_own_folder and not model.startswith(settings.cloud.modal_mount):
        _log.warning("the model %r is a folder of this machine; in the container it must be there too", model)


def container_image(settings: Settings, models: str, environ: Mapping[str, str]) -> modal.Image:
    """The image; where this machine deploys it, with the packages to install.

    Args:
        settings: of the deployment.
        models: folder in the container that keeps the Hub's files.
        environ: whose `VISUALIZER_…` variables are set in the container too.

    Raises:
        InputError: see `check_deployment`.
    """
    image = modal.Image.debian_slim(python_version="3.11")
    if modal.is_local():
        check_deployment(settings)
        image = image.uv_pip_install(requirements=[str(LOCK)], extra_options="--require-hashes")
    prefix = environment_variable("")
    carried = {
        name: value
        for name, value in environ.items()
        if name.startswith(prefix) and name.removeprefix(prefix).lower() not in NOT_CARRIED
    }
    return (
        image.env(
            {
                "HF_HOME": f"{models}/huggingface",
                "HF_XET_CACHE": "/tmp/xet",  # a volume with open files can be neither committed nor reloaded
                "HF_XET_LOG_DEST": "/tmp/xet-logs",
                **carried,
            }
        )
        .add_local_dir(str(PACKAGE / "demo" / "weights"), "/root/inference/demo/weights")
        .add_local_python_source("inference")
    )
