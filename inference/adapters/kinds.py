"""Which kinds of adapter can be shown truly, by what their config says; each refusal gives its true reason.

The measure: with the adapter off the model is the base bit for bit, and with it on it is scaling · B · A of the file
added to the base's weights (DoRA: renormed), which a test does by hand for every accepted kind. Read in PEFT 0.21.
"""

from collections.abc import Mapping
from typing import Any

from inference.errors import AdapterRefusedError

#: Only shape what A and B begin with; the file replaces both. EVA and MiCA leave the base's weights alone, too.
_HARMLESS_INITS = (True, False, "gaussian", "orthogonal", "eva", "mica")
#: Wider than any matrix of the family: more is no low rank, and takes memory before it is compared with the file.
MOST_RANK = 65_536
_PLAIN = "Train or convert it as plain LoRA, rsLoRA or DoRA."
_CONVERT = "Save it again with save_pretrained(path_initial_model_for_weight_conversion=…), which makes it plain LoRA."
#: Trained on weights that the initialisation had changed: A and B of the file belong to those, not to the base model.
_REFUSED_INITS = {
    "pissa": "took the largest singular values out of the base weights, and PEFT does so again when it loads",
    "olora": "took an orthonormal part out of the base weights, and PEFT does so again when it loads",
    "corda": "took a part out of the base weights before training, which its file does not hold",
    "lora_ga": "took the first gradient's part out of the base weights before training, which its file does not hold",
    "loftq": "quantised the base weights, and PEFT does so again when it loads",
}
_REFUSED_OPTIONS = {
    "alora_invocation_tokens": "an activated LoRA is on for a part of the tokens only, and PEFT wants to be told which",
    "arrow_config": "a router mixes several adapters, which are not in this file",
    "layer_replication": "it repeats layers of the base model: there is no base with the same layers to compare with",
    "lora_bias": "it adds a bias, which this tool does not check against the base model",
    "trainable_token_indices": "it replaces rows of the embedding, which this tool does not check",
    "use_qalora": "QALoRA pools the input before A, on quantised layers that this tool does not load",
    "use_bdlora": "A or B is block-diagonal, which this tool does not check",
    "kasa_config": "KaSA takes the smallest singular values out of the base weights",
    "monteclora_config": "its file holds a sampler beside A and B, which this tool does not check",
    "velora_config": "its file holds a projection for training beside A and B, which this tool does not check",
}
_INERT_OPTIONS = frozenset(
    """
    alpha_pattern auto_mapping base_model_name_or_path bias corda_config ensure_weight_tying eva_config exclude_modules
    fan_in_fan_out inference_mode init_lora_weights layers_pattern layers_to_transform loftq_config lora_alpha
    lora_dropout lora_ga_config megatron_config megatron_core modules_to_save peft_type peft_version qalora_group_size r
    rank_pattern revision runtime_config target_modules target_parameters task_type use_dora use_rslora
    """.split()  # noqa: SIM905 - a list of thirty strings reads worse
)


def refuse_untrue_kinds(name: str, config: Mapping[str, Any]) -> None:
    """Refuse an adapter whose picture would be untrue, or whose config makes no sense.

    Args:
        name: what to call it.
        config: the content of its adapter_config.json.

    Raises:
        AdapterRefusedError: with the reason and what to do.
    """

    def refuse(what: str, hint: str = _PLAIN) -> None:
        raise AdapterRefusedError(f"Adapter {name!r} {what}.", hint)

    if config.get("peft_type") != "LORA":
        refuse(f"is of PEFT type {str(config.get('peft_type'))[:40]!r}, not LORA")
    if config.get("bias", "none") != "none":
        refuse(f"trains biases (bias={str(config['bias'])[:40]!r}), which stay on when the adapter is off")
    init = config.get("init_lora_weights", True)
    if init not in _HARMLESS_INITS:
        reason = next((why for start, why in _REFUSED_INITS.items() if str(init).startswith(start)), None)
        if reason is None:
            refuse(f"was initialised with {str(init)[:40]!r}, which is not known here")
        refuse(f"was initialised with {str(init)[:40]!r}, which {reason}", _PLAIN if init == "loftq" else _CONVERT)
    for option, reason in _REFUSED_OPTIONS.items():
        if config.get(option):
            refuse(f"uses {option}: {reason}")
    unknown = sorted(key for key, value in config.items() if value and key not in _INERT_OPTIONS)
    if unknown:
        refuse(f"uses options that are not known here: {', '.join(key[:40] for key in unknown[:5])}")
    rank, alpha = config.get("r"), config.get("lora_alpha")
    if not (_is_rank(rank) and _is_number(alpha)):
        words = f"Both must be numbers, the rank a whole one from 1 to {MOST_RANK:,}."
        refuse(f"has rank {str(rank)[:40]!r} and alpha {str(alpha)[:40]!r}", words)
    for option in ("modules_to_save", "target_parameters"):
        names = config.get(option)
        if names and not (isinstance(names, list) and all(isinstance(entry, str) for entry in names)):
            refuse(f"has {option} that is not a list of names", "Copy its config again.")
    for option in ("rank_pattern", "alpha_pattern"):
        pattern = config.get(option)
        if pattern and not (isinstance(pattern, dict) and all(map(_is_number, pattern.values()))):
            refuse(f"has {option} that does not map names to numbers", "Copy its config again.")
        if option == "rank_pattern" and not all(map(_is_rank, (pattern or {}).values())):
            refuse(f"has a rank in rank_pattern that is none: whole numbers from 1 to {MOST_RANK:,} are", _PLAIN)


def _is_rank(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 < value <= MOST_RANK


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) < 1e9  # neither NaN nor inf
