"""What a checkpoint's config.json says of the model, read without torch and without its weights."""

import json
from pathlib import Path

from huggingface_hub import hf_hub_download
from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

from inference.descriptions import ModelInfo
from inference.errors import ModelLoadError, UnsupportedModelError
from inference.resolve_model import resolve_model
from inference.version import VERSION

FAMILIES = {"qwen3_vl": "Qwen3-VL", "qwen3_vl_moe": "Qwen3-VL MoE"}


def read_model_facts(model: str, *, dtype: str, device: str) -> ModelInfo:
    """Describe a model that is not loaded.

    Args:
        model: "demo", a folder, or a Hub id.
        dtype, device: words for what only loading decides.

    Raises:
        ModelLoadError: no such folder or id, or a config that cannot be read.
        UnsupportedModelError: another family than Qwen3-VL.
    """
    try:
        path = _config_file(model)
        config = json.loads(path.read_text(encoding="utf-8"))
        text, vision = config["text_config"], config["vision_config"]
        if config["model_type"] not in FAMILIES:
            raise UnsupportedModelError(
                f"{model!r} is a {str(config['model_type'])[:40]!r} checkpoint, not a Qwen3-VL."
            )
        return ModelInfo(
            id=resolve_model(model).id,
            revision=path.parent.name if path.parent.parent.name == "snapshots" else "",
            family=FAMILIES[config["model_type"]],
            num_layers=int(text["num_hidden_layers"]),
            num_heads=int(text["num_attention_heads"]),
            num_vision_layers=int(vision["depth"]),
            num_vision_heads=int(vision["num_heads"]),
            patch_size=int(vision["patch_size"]),
            merge_size=int(vision["spatial_merge_size"]),
            dtype=dtype,
            device=device,
            version=VERSION,
        )
    except (OSError, LookupError, TypeError, ValueError, HfHubHTTPError) as error:
        raise ModelLoadError(
            f"The config of the model {model!r} could not be read ({type(error).__name__}).",
            "Check the folder or id, the network, and for a gated model HF_TOKEN.",
        ) from error


def _config_file(model: str) -> Path:
    folder = resolve_model(model).folder
    if folder is not None:
        return folder / "config.json"
    try:
        return Path(hf_hub_download(model, "config.json"))
    except (HFValidationError, LocalEntryNotFoundError) as error:
        raise OSError(str(error)) from error
