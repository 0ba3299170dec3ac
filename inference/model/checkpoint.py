"""Load a Qwen3-VL checkpoint from a folder or the Hub, and make its storage-less twin; nothing here runs it."""

from __future__ import annotations

import copy
import logging
from dataclasses import dataclass
from typing import Any

import torch
from safetensors import SafetensorError
from transformers import AutoConfig, AutoImageProcessor, AutoModelForImageTextToText, AutoTokenizer

from inference.descriptions import ModelInfo
from inference.errors import ModelLoadError, UnsupportedModelError
from inference.model.facts import FAMILIES
from inference.resolve_model import resolve_model
from inference.version import VERSION

logger = logging.getLogger(__name__)

_DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


@dataclass(frozen=True, slots=True, eq=False)
class Checkpoint:
    """A loaded base model with what prepares its input.

    Attributes:
        model: `Qwen3VLForConditionalGeneration` or its MoE kind, in eval mode, without gradients.
        end_ids: ids at which an answer ends.
    """

    model: Any
    tokenizer: Any
    image_processor: Any
    end_ids: frozenset[int]
    info: ModelInfo

    @property
    def device(self) -> torch.device:
        """Where the model's input goes."""
        return torch.device(self.model.device)

    def skeleton(self) -> torch.nn.Module:
        """The same model without storage (meta device), never wrapped by PEFT."""
        config = copy.deepcopy(self.model.config)
        with torch.device("meta"):
            twin: torch.nn.Module = AutoModelForImageTextToText.from_config(config, attn_implementation="sdpa")
        return twin


def load_checkpoint(model: str, device: str = "auto", dtype: str = "auto") -> Checkpoint:
    """Load a base model.

    Args:
        model: "demo" for the embedded one, a folder, or a Hub id.
        device: "auto", "cpu", "cuda" or "cuda:N".
        dtype: "auto" (float32 on a CPU, bfloat16 on CUDA), "float32", "bfloat16" or "float16".

    Raises:
        ModelLoadError: no such folder or id, files missing or damaged, no such device.
        UnsupportedModelError: another family than Qwen3-VL.
    """
    place = _device(device)
    precision = _dtype(dtype, place)
    name = resolve_model(model)
    source = name.source
    if name.folder is None and model.startswith(("/", "./", "../", "~")):
        raise ModelLoadError(f"There is no folder {model!r}.", "Name a checkpoint folder, or an id of the Hub.")
    try:
        config = AutoConfig.from_pretrained(source, trust_remote_code=False)  # and asks nobody at a terminal
        if config.model_type not in FAMILIES:
            raise UnsupportedModelError(
                f"{model!r} is a {config.model_type!r} checkpoint; this tool reads {' and '.join(FAMILIES.values())}.",
                "Choose a Qwen3-VL checkpoint.",
            )
        tokenizer = AutoTokenizer.from_pretrained(source, trust_remote_code=False)
        image_processor = AutoImageProcessor.from_pretrained(source, backend="pil", trust_remote_code=False)
        with_report: Any = AutoModelForImageTextToText.from_pretrained(
            source,
            output_loading_info=True,
            config=config,
            dtype=precision,
            attn_implementation="sdpa",
            use_safetensors=True,
            trust_remote_code=False,
            device_map={"": place} if place.type != "cpu" else None,
        )
    except torch.OutOfMemoryError as error:
        raise ModelLoadError(
            f"The model {model!r} does not fit into the memory of {place}.",
            "Choose a smaller model, a larger GPU, or --dtype bfloat16.",
        ) from error
    except (OSError, ValueError, KeyError, RuntimeError, SafetensorError) as error:
        logger.info("loading %r failed: %s: %s", model, type(error).__name__, error)
        raise ModelLoadError(
            f"The model {model!r} could not be loaded ({type(error).__name__}).",
            "Check the folder or id, the network, and for a gated model HF_TOKEN.",
        ) from error
    loaded, report = with_report
    left = {kind: sorted(map(str, report[kind])) for kind in ("missing_keys", "mismatched_keys") if report[kind]}
    if left:  # transformers only warns, and fills them with random numbers
        kind, keys = next(iter(left.items()))
        raise ModelLoadError(
            f"The files of {model!r} do not hold the whole model: {len(keys)} {kind.replace('_', ' ')}, "
            f"the first is {keys[0][:120]!r}.",
            "Download or copy the checkpoint again.",
        )
    loaded.eval().requires_grad_(False)
    return Checkpoint(loaded, tokenizer, image_processor, _end_ids(loaded, tokenizer), _info(name.id, loaded, place))


def _device(device: str) -> torch.device:
    if device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        place = torch.device(device)
    except RuntimeError as error:
        raise ModelLoadError(f"There is no device {device!r}.", "Use auto, cpu, cuda or cuda:N.") from error
    if place.type == "cuda" and (not torch.cuda.is_available() or (place.index or 0) >= torch.cuda.device_count()):
        raise ModelLoadError(f"{device!r} was asked for, but torch sees no such GPU here.", "Use --device auto or cpu.")
    return place


def _dtype(dtype: str, place: torch.device) -> torch.dtype:
    if dtype == "auto":
        return torch.float32 if place.type == "cpu" else torch.bfloat16
    if dtype not in _DTYPES:
        raise ModelLoadError(f"dtype must be one of auto, {', '.join(_DTYPES)}; not {dtype!r}.")
    return _DTYPES[dtype]


def _end_ids(model: Any, tokenizer: Any) -> frozenset[int]:
    """Ids that end an answer: the generation config's, else the tokenizer's."""
    ids = model.generation_config.eos_token_id
    if ids is None:
        ids = tokenizer.eos_token_id
    ids = [ids] if isinstance(ids, int) else ids or []
    if not ids:
        raise UnsupportedModelError("The checkpoint names no end-of-answer token (eos_token_id).")
    return frozenset(int(each) for each in ids)


def _info(id_: str, model: Any, place: torch.device) -> ModelInfo:
    text, vision = model.config.text_config, model.config.vision_config
    return ModelInfo(
        id=id_,
        revision=getattr(model.config, "_commit_hash", None) or "",
        family=FAMILIES[model.config.model_type],
        num_layers=text.num_hidden_layers,
        num_heads=text.num_attention_heads,
        num_vision_layers=vision.depth,
        num_vision_heads=vision.num_heads,
        patch_size=vision.patch_size,
        merge_size=vision.spatial_merge_size,
        dtype=str(model.dtype).removeprefix("torch."),
        device=torch.cuda.get_device_name(place) if place.type == "cuda" else place.type,
        version=VERSION,
    )
