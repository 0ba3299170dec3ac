"""Measure a training's saved files, loaded again, and write its report.

It decides which figures a report holds; it must not know how the weights came to be. Each part is kept with the digests
of the files that it is about, so that a run that was broken off measures nothing twice.
"""

import dataclasses
import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from peft import PeftModel
from transformers import AutoTokenizer

from inference.demo import ADAPTER_DESCRIPTIONS, ADAPTER_TARGETS
from inference.demo.training.checkpoint import digest, load_checkpoint, load_image_processor, move
from inference.demo.training.click_lessons import CLICK_ADAPTERS, COMPARED, SCORED
from inference.demo.training.clicking import (
    ClickComparison,
    ClickRate,
    Clicks,
    SaidAndLooked,
    click_rate,
    compare_clicks,
)
from inference.demo.training.keeping import Keeping
from inference.demo.training.localisation import Accuracy, Localisation, accuracy, describe_accuracy, localise
from inference.demo.training.reader import Reader
from inference.demo.training.report import Report, Run, write_report
from inference.demo.training.scale import Scale

log = logging.getLogger(__name__)


def measure(out: Path, device: torch.device, run: Run, scale: Scale, keeping: Keeping) -> Report:
    """Measure the saved files and write `report.json` and `report.md` beside them."""
    files = Files(out, device, scale, keeping)
    answers = files.answers()
    named: dict[str, float] = {}
    localisations: list[Localisation] = []
    for name in (name for name in ADAPTER_DESCRIPTIONS if name not in CLICK_ADAPTERS):
        named[name], found = files.adapter(name)
        localisations += [] if found is None else [found]
    clicks = Clicks(files.click_rates(), files.clicks_compared())
    finished = dataclasses.replace(run, measuring_seconds=round(files.seconds, 1))
    return write_report(out, finished, answers, named, localisations, clicks)


@dataclass(slots=True)
class Files:
    """The saved files and what is measured of them.

    Attributes:
        out: holds `model/` and `adapters/`.
        device: where to run.
        scale: how much.
        keeping: where each part is kept.
        seconds: wall time of what was measured so far, whenever that was.
    """

    out: Path
    device: torch.device
    scale: Scale
    keeping: Keeping
    seconds: float = 0.0

    def answers(self) -> list[Accuracy]:
        """Base's answers about scenes."""
        count = self.scale.accuracy_scenes

        def work() -> list[dict[str, Any]]:
            return [dataclasses.asdict(each) for each in accuracy(self._base(), count)]

        found = [Accuracy(**each) for each in self._once("answers", (), count, work)]
        log.info("accuracy: %s", ", ".join(f"{one.kind} {one.objects}: {one.rate:.3f}" for one in found))
        return found

    def adapter(self, name: str) -> tuple[float, Localisation | None]:
        """How often an adapter names what it should, and, where it has a target, where it looks."""
        scale, target = self.scale, ADAPTER_TARGETS.get(name)

        def work() -> dict[str, Any]:
            wrapped = PeftModel.from_pretrained(self._loaded(), self.out / "adapters" / name, name).eval()
            reader = self._reader(wrapped)
            rate = describe_accuracy(reader, target, scale.describe_scenes)
            if target is None:
                return {"rate": rate, "looks": None}
            looks = localise(wrapped, reader, name, target, scale.choice_scenes, scale.score_scenes)
            return {"rate": rate, "looks": dataclasses.asdict(looks)}

        counts = (scale.describe_scenes, scale.choice_scenes, scale.score_scenes)
        made = self._once(f"adapter-{name}", (name,), counts, work)
        log.info("%s: names %s in %.3f of scenes", name, target or "the largest", made["rate"])
        if made["looks"] is None:
            return made["rate"], None
        found = Localisation(**made["looks"])
        log.info(
            "%s: layer %d head %d hits %.3f, base %.3f, random %.3f",
            name, found.layer, found.head, found.adapter_rate, found.base_rate, found.random_rate,
        )  # fmt: skip
        return made["rate"], found

    def click_rates(self) -> tuple[ClickRate, ...]:
        """Base's hit rate by number of buttons."""
        count = self.scale.click_screens

        def work() -> list[dict[str, Any]]:
            base = self._base()
            return [dataclasses.asdict(click_rate(base, screens, count)) for screens in SCORED]

        found = tuple(ClickRate(**each) for each in self._once("clicks", (), (count, SCORED), work))
        for one in found:
            log.info("clicks, %d to %d buttons: %.3f", *one.buttons, one.hits)
        return found

    def clicks_compared(self) -> ClickComparison:
        """What base and each of `CLICK_ADAPTERS` says and looks at."""
        first, *others = CLICK_ADAPTERS
        counts = (self.scale.click_choice_screens, self.scale.click_score_screens)

        def work() -> dict[str, Any]:
            folder = self.out / "adapters"
            wrapped = PeftModel.from_pretrained(self._loaded(), folder / first, adapter_name=first)
            for name in others:
                wrapped.load_adapter(folder / name, adapter_name=name)
            targets = {name: adapter.target or "named" for name, adapter in CLICK_ADAPTERS.items()}
            reader = self._reader(wrapped.eval())
            return dataclasses.asdict(compare_clicks(wrapped, reader, targets, COMPARED, *counts))

        made = self._once("compared", tuple(CLICK_ADAPTERS), (counts, COMPARED), work)
        variants = tuple(SaidAndLooked(**each) for each in made["variants"])
        for one in variants:
            log.info("%s: said %.3f, taught %.3f, looked %.3f", one.variant, one.said, one.taught, one.looked)
        return ClickComparison(**{**made, "variants": variants})

    def _once(self, what: str, adapters: tuple[str, ...], counts: object, work: Callable[[], Any]) -> Any:
        """What `work` measures, as plain values, or what is kept of it."""
        weights = [self.out / "model" / "model.safetensors"]
        weights += [self.out / "adapters" / name / "adapter_model.safetensors" for name in adapters]
        made_with = repr(([digest(file) for file in weights], counts))
        kept: Mapping[str, Any] | None = self.keeping.find(f"measured-{what}", made_with, others=True)
        if kept is None:
            begun = time.monotonic()
            value = work()
            kept = {"value": value, "seconds": time.monotonic() - begun}
            self.keeping.keep(f"measured-{what}", made_with, kept)
        self.seconds += kept["seconds"]
        return kept["value"]

    def _base(self) -> Reader:
        return self._reader(self._loaded())

    def _loaded(self) -> Any:
        return move(load_checkpoint(self.out / "model"), self.device)

    def _reader(self, model: Any) -> Reader:
        folder = self.out / "model"
        return Reader(model, AutoTokenizer.from_pretrained(folder), load_image_processor(folder))
