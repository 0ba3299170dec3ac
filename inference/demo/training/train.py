"""Train the embedded model and its adapters and write them with a report: `python -m inference.demo.training`.

In order: the tokenizer; the base model, stage by stage; its weights in float16; each adapter on the weights as they
were saved; and last the report, measured on the saved files, loaded again. The whole run is seeded.
"""

import argparse
import dataclasses
import importlib.metadata
import logging
import platform
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Final

import numpy as np
import torch
from peft import PeftModel
from torch import nn
from transformers import PreTrainedTokenizerBase, Qwen3VLForConditionalGeneration

from inference.demo import ADAPTER_TARGETS, WEIGHTS_DIR
from inference.demo.tokenizer import build_tokenizer
from inference.demo.training.checkpoint import (
    BOTH_ATTENTIONS,
    LANGUAGE_ATTENTION,
    adapter_config,
    build_model,
    digest,
    load_checkpoint,
    move,
    save_adapter,
    save_checkpoint,
)
from inference.demo.training.click_lessons import CLICK_ADAPTERS, click_adapter_stage
from inference.demo.training.curriculum import Stage, adapter_stage, batches, learning_rate
from inference.demo.training.keeping import Keeping
from inference.demo.training.losses import loss, quicken
from inference.demo.training.measuring import measure
from inference.demo.training.optimizer import Optimizer
from inference.demo.training.packing import Packed, Packer
from inference.demo.training.report import Report, Run
from inference.demo.training.scale import Scale

log = logging.getLogger(__name__)

#: Each stage draws its pictures from its own range of seeds, all below the held-out ones.
SEEDS_PER_STAGE: Final = 1_000_000

#: Trained adapter to the modules it adapts.
ADAPTER_MODULES: Final[Mapping[str, str]] = MappingProxyType(
    {"find-red": LANGUAGE_ATTENTION, "find-circle": LANGUAGE_ATTENTION, "vision-lora": BOTH_ATTENTIONS}
)

#: Standard deviation of the noise adapter's B: enough for the answers to fall apart.
NOISE: Final = 2.0

#: Steps after which a run that is resumed goes on within a stage.
KEEP_EVERY: Final = 100

_LOG_EVERY: Final = 25


def main(arguments: Sequence[str] | None = None) -> None:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m inference.demo.training", description=__doc__)
    parser.add_argument(
        "--out", type=Path, default=WEIGHTS_DIR, help="folder for weights and report (default: %(default)s)"
    )
    parser.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--resume", type=Path, help="folder that keeps finished stages, to go on from after a stop")
    options = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", datefmt="%H:%M:%S")
    name = ("cuda" if torch.cuda.is_available() else "cpu") if options.device == "auto" else options.device
    train(options.out, torch.device(name), options.seed, Scale(), options.resume)


def train(out: Path, device: torch.device, seed: int, scale: Scale, resume: Path | None = None) -> Report:
    """Train everything, write it under `out` and measure what was written.

    Args:
        out: gets `model/`, `adapters/<name>/`, `report.json` and `report.md`.
        device: where to train.
        seed: seeds weights, pictures and questions.
        scale: how long and how much.
        resume: folder of finished stages, read and written; None keeps none.

    Returns:
        The report that was written.
    """
    model_folder, adapters_folder = out / "model", out / "adapters"
    tokenizer = build_tokenizer()
    keeping = Keeping(resume)
    seconds = train_base(model_folder, tokenizer, device, seed, scale, keeping)
    lessons = [(adapter_stage(name, ADAPTER_TARGETS[name]), modules) for name, modules in ADAPTER_MODULES.items()]
    lessons += [(click_adapter_stage(name), adapter.modules) for name, adapter in CLICK_ADAPTERS.items()]
    base = digest(model_folder / "model.safetensors")
    for number, (stage, target_modules) in enumerate(lessons):
        if scale.adapter_steps is not None:
            stage = dataclasses.replace(stage, steps=scale.adapter_steps)
        wrapped = wrap(model_folder, stage.name, target_modules, device, seed)
        core = core_of(wrapped)
        quicken(core)
        made_with = repr((seed, base, target_modules, stage))
        first = first_seed(seed, 100 + number)
        seconds[stage.name] = run_or_take(
            wrapped, core, Packer(tokenizer), stage, first, scale.workers, keeping, stage.name, made_with
        )
        save_adapter(wrapped, stage.name, adapters_folder / stage.name)
    write_untrained_adapters(model_folder, adapters_folder, device, seed)
    run = Run(
        seed=seed,
        device=describe_device(device),
        threads=torch.get_num_threads(),
        seconds={name: round(value, 1) for name, value in seconds.items()},
        training_seconds=round(sum(seconds.values()), 1),
        versions={name: importlib.metadata.version(name) for name in ("torch", "transformers", "peft", "numpy")},
    )
    return measure(out, device, run, scale, keeping)


def train_base(
    folder: Path,
    tokenizer: PreTrainedTokenizerBase,
    device: torch.device,
    seed: int,
    scale: Scale,
    keeping: Keeping,
) -> dict[str, float]:
    """Train the base model through its stages, save it and return each stage's seconds.

    Each stage starts from weights alone, with its own optimizer and pictures, so that a run that goes on from kept
    stages is the run that was broken off.
    """
    torch.manual_seed(seed)
    model = move(build_model(tokenizer), device)
    log.info("base model: %d parameters on %s", sum(part.numel() for part in model.parameters()), device)
    quicken(model)
    packer = Packer(tokenizer)
    seconds: dict[str, float] = {}
    for number, stage in enumerate(scale.base):
        made_with = repr((seed, scale.base[: number + 1]))
        name, first = f"{number}-{stage.name}", first_seed(seed, number)
        seconds[stage.name] = run_or_take(model, model, packer, stage, first, scale.workers, keeping, name, made_with)
    save_checkpoint(model, tokenizer, folder)
    return seconds


def run_or_take(
    model: nn.Module,
    core: Qwen3VLForConditionalGeneration,
    packer: Packer,
    stage: Stage,
    seed: int,
    workers: int,
    keeping: Keeping,
    name: str,
    made_with: str,
) -> float:
    """Run a stage and keep what it learned, or take what is kept of it; returns the seconds that its training took.

    Args:
        model: what is trained.
        core: the model inside.
        packer: turns pictures into batches.
        stage: what to teach.
        seed: seed of the stage's first picture.
        workers: processes that draw; see `Scale`.
        keeping: where states are kept.
        name: the state's name there.
        made_with: everything that decides it.
    """
    learned = {key: value for key, value in model.named_parameters() if value.requires_grad}
    state = keeping.find(name, made_with)
    if state is not None:
        for key, value in learned.items():
            value.data.copy_(state["weights"][key])
        seconds: float = state["seconds"]
        return seconds
    seconds = run_stage(model, core, packer, stage, seed, workers, keeping, f"{name}-part", made_with)
    weights = {key: value.detach() for key, value in learned.items()}
    keeping.keep(name, made_with, {"seconds": seconds, "weights": weights})
    keeping.drop(f"{name}-part")
    return seconds


def run_stage(
    model: nn.Module,
    core: Qwen3VLForConditionalGeneration,
    packer: Packer,
    stage: Stage,
    seed: int,
    workers: int,
    keeping: Keeping | None = None,
    name: str = "",
    made_with: str = "",
) -> float:
    """Run every step of one stage, or the ones that a broken-off run left, and return the seconds of them all.

    Args:
        model: what is trained, the model itself or PEFT's wrapper.
        core: the model inside.
        packer: turns pictures into batches.
        stage: what to teach.
        seed: seed of the stage's first picture.
        workers: processes that draw; see `Scale`.
        keeping: where every `KEEP_EVERY` steps are kept; None keeps none.
        name: the state's name there.
        made_with: everything that decides it.

    Raises:
        FloatingPointError: the loss is not finite.
    """
    keeping = keeping or Keeping(None)
    learned = {key: value for key, value in model.named_parameters() if value.requires_grad}
    optimizer = Optimizer(model.named_parameters())
    done, before = 0, 0.0
    state = keeping.find(name, made_with)
    if state is not None:
        done, before = state["done"], state["seconds"]
        for key, value in learned.items():
            value.data.copy_(state["weights"][key])
        optimizer.load_state(state["optimizer"])
    begun = time.monotonic()
    model.train()
    recent: list[float] = []
    for step, drawn in enumerate(batches(stage, seed, workers, done), start=done):
        batch = packer.pack(drawn, stage, np.random.default_rng([seed, step]))
        recent.append(optimisation_step(core, packer, stage, batch, optimizer, learning_rate(stage, step)))
        if len(recent) == _LOG_EVERY or step == stage.steps - 1:
            log.info("%s: step %d of %d, loss %.4f", stage.name, step + 1, stage.steps, sum(recent) / len(recent))
            recent.clear()
        if step % KEEP_EVERY == KEEP_EVERY - 1:
            weights = {key: value.detach() for key, value in learned.items()}
            seconds = before + time.monotonic() - begun
            values = {"done": step + 1, "seconds": seconds, "weights": weights, "optimizer": optimizer.state()}
            keeping.keep(name, made_with, values)
    return before + time.monotonic() - begun


def optimisation_step(
    core: Qwen3VLForConditionalGeneration,
    packer: Packer,
    stage: Stage,
    batch: Packed,
    optimizer: Optimizer,
    rate: float,
) -> float:
    """One step; returns the loss before it.

    Raises:
        FloatingPointError: the loss is not finite; nothing was changed.
    """
    value = loss(core, batch.to(core.device), packer, stage)
    if not torch.isfinite(value):
        raise FloatingPointError(f"stage {stage.name!r}: the loss is {value.item()}; lower its peak learning rate")
    torch.autograd.backward(value)
    optimizer.step(rate)
    return float(value.item())


def wrap(model_folder: Path, name: str, target_modules: str, device: torch.device, seed: int) -> PeftModel:
    """The saved base model with one fresh adapter, A random and B zero; only the adapter is trained."""
    torch.manual_seed(seed)
    model = move(load_checkpoint(model_folder), device)
    return PeftModel(model, adapter_config(target_modules), adapter_name=name)


def core_of(wrapped: PeftModel) -> Qwen3VLForConditionalGeneration:
    """The Qwen3-VL inside PEFT's wrapper."""
    core = wrapped.get_base_model()
    assert isinstance(core, Qwen3VLForConditionalGeneration)
    return core


def write_untrained_adapters(model_folder: Path, adapters_folder: Path, device: torch.device, seed: int) -> None:
    """Write `untouched` (B stays zero) and `noise` (B random)."""
    for name in ("untouched", "noise"):
        wrapped = wrap(model_folder, name, LANGUAGE_ATTENTION, device, seed)
        if name == "noise":
            with torch.no_grad():
                for parameter, value in wrapped.named_parameters():
                    if ".lora_B." in parameter:
                        value.normal_(std=NOISE)
        save_adapter(wrapped, name, adapters_folder / name)


def first_seed(seed: int, stage_number: int) -> int:
    """Seed of a stage's first picture; stages never share one, nor do runs of different seeds below 10."""
    return (seed * 150 + stage_number) * SEEDS_PER_STAGE


def describe_device(device: torch.device) -> str:
    """The device in words a reader of the report can place."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"{platform.machine()} CPU"
