"""Measure a training's saved files, loaded again, and write its report.

It decides which figures a report holds; it must not know how the weights came to be.
"""

import dataclasses
import logging
import time
from pathlib import Path

import torch
from peft import PeftModel
from transformers import AutoTokenizer

from inference.demo import ADAPTER_DESCRIPTIONS, ADAPTER_TARGETS
from inference.demo.training.checkpoint import load_checkpoint, load_image_processor, move
from inference.demo.training.click_lessons import CLICK_ADAPTERS, COMPARED, SCORED
from inference.demo.training.clicking import Clicks, click_rate, compare_clicks
from inference.demo.training.localisation import Localisation, accuracy, describe_accuracy, localise
from inference.demo.training.reader import Reader
from inference.demo.training.report import Report, Run, write_report
from inference.demo.training.scale import Scale

log = logging.getLogger(__name__)


def measure(out: Path, device: torch.device, run: Run, scale: Scale) -> Report:
    """Measure the saved files and write `report.json` and `report.md` beside them."""
    begun = time.monotonic()
    model_folder, adapters_folder = out / "model", out / "adapters"
    tokenizer = AutoTokenizer.from_pretrained(model_folder)
    processor = load_image_processor(model_folder)
    base = move(load_checkpoint(model_folder), device)
    answers = accuracy(Reader(base, tokenizer, processor), scale.accuracy_scenes)
    log.info("accuracy: %s", ", ".join(f"{one.kind} {one.objects}: {one.rate:.3f}" for one in answers))
    named: dict[str, float] = {}
    localisations: list[Localisation] = []
    for name in (name for name in ADAPTER_DESCRIPTIONS if name not in CLICK_ADAPTERS):
        fresh = move(load_checkpoint(model_folder), device)
        wrapped = PeftModel.from_pretrained(fresh, adapters_folder / name, name).eval()
        reader = Reader(wrapped, tokenizer, processor)
        target = ADAPTER_TARGETS.get(name)
        named[name] = describe_accuracy(reader, target, scale.describe_scenes)
        log.info("%s: names %s in %.3f of scenes", name, target or "the largest", named[name])
        if target is not None:
            found = localise(wrapped, reader, name, target, scale.choice_scenes, scale.score_scenes)
            localisations.append(found)
            log.info(
                "%s: layer %d head %d hits %.3f, base %.3f, random %.3f",
                name, found.layer, found.head, found.adapter_rate, found.base_rate, found.random_rate,
            )  # fmt: skip
    clicks = measure_clicks(out, device, scale) if scale.clicks else None
    finished = dataclasses.replace(run, measuring_seconds=round(time.monotonic() - begun, 1))
    return write_report(out, finished, answers, named, localisations, clicks)


def measure_clicks(out: Path, device: torch.device, scale: Scale) -> Clicks:
    """Base's hit rate by number of buttons, and what base and each of `CLICK_ADAPTERS` says and looks at.

    Args:
        out: holds `model/` and `adapters/`.
        device: where to run.
        scale: how many screens.
    """
    model_folder, adapters_folder = out / "model", out / "adapters"
    tokenizer = AutoTokenizer.from_pretrained(model_folder)
    processor = load_image_processor(model_folder)
    base = Reader(move(load_checkpoint(model_folder), device), tokenizer, processor)
    rates = []
    for screens in SCORED:
        rates.append(click_rate(base, screens, scale.click_screens))
        log.info("clicks, %d to %d buttons: %.3f", *screens.buttons, rates[-1].hits)
    first, *others = CLICK_ADAPTERS
    wrapped = PeftModel.from_pretrained(
        move(load_checkpoint(model_folder), device), adapters_folder / first, adapter_name=first
    )
    for name in others:
        wrapped.load_adapter(adapters_folder / name, adapter_name=name)
    targets = {name: adapter.target or "named" for name, adapter in CLICK_ADAPTERS.items()}
    reader = Reader(wrapped.eval(), tokenizer, processor)
    compared = compare_clicks(wrapped, reader, targets, COMPARED, scale.click_choice_screens, scale.click_score_screens)
    for one in compared.variants:
        log.info("%s: said %.3f, taught %.3f, looked %.3f", one.variant, one.said, one.taught, one.looked)
    return Clicks(tuple(rates), compared)
