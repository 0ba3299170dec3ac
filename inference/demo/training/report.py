"""The training's own report: what was measured on the files it lies beside, for programs and for readers.

It decides the report's layout. The weights are named by digest, so that a report can never be shown beside others.
"""

import dataclasses
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from inference.demo.training.checkpoint import digest
from inference.demo.training.clicking import Clicks
from inference.demo.training.localisation import HELD_OUT_SIZES, Accuracy, Localisation


@dataclass(frozen=True, slots=True)
class Run:
    """How the weights were made.

    Attributes:
        seed: of the whole run.
        device: in words.
        threads: CPU threads.
        seconds: wall time per stage and adapter.
        training_seconds: wall time of all training.
        versions: package versions.
        measuring_seconds: wall time of the evaluation.
    """

    seed: int
    device: str
    threads: int
    seconds: Mapping[str, float]
    training_seconds: float
    versions: Mapping[str, str]
    measuring_seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class Report:
    """Everything that was measured.

    Attributes:
        weights: path of each weight file below the report's folder, to its SHA-256.
        run: how they were made.
        accuracy: base, per kind of question and number of objects.
        named: adapter to the share of held-out scenes in which "Describe the image." names what it should (the largest
            object for adapters without a target).
        localisation: one entry per adapter with a target.
        clicks: hit rates, and what base and adapters say and look at.
    """

    weights: Mapping[str, str]
    run: Run
    accuracy: Sequence[Accuracy]
    named: Mapping[str, float]
    localisation: Sequence[Localisation]
    clicks: Clicks


def write_report(
    folder: Path,
    run: Run,
    accuracy: Sequence[Accuracy],
    named: Mapping[str, float],
    localisation: Sequence[Localisation],
    clicks: Clicks,
) -> Report:
    """Write `report.json` and `report.md` into the folder of the weights and return what they say."""
    files = sorted(folder.rglob("*.safetensors"))
    weights = {file.relative_to(folder).as_posix(): digest(file) for file in files}
    report = Report(weights, run, accuracy, named, localisation, clicks)
    content = json.dumps(dataclasses.asdict(report), indent=1, sort_keys=True)
    (folder / "report.json").write_text(content + "\n", encoding="utf-8")
    (folder / "report.md").write_text(_readable(report), encoding="utf-8")
    return report


def _readable(report: Report) -> str:
    """The same as Markdown."""
    run = report.run
    lines = [
        "# Report of the embedded model",
        "",
        "Written by `python -m inference.demo.training` about the files beside it. All figures are of the saved",
        "float16 weights, loaded again in float32, on scenes that training never drew, in "
        f"{len(HELD_OUT_SIZES)} image sizes ({_sizes()}).",
        "",
        f"- Trained in {run.training_seconds / 60:.0f} minutes on: {run.device}, {run.threads} thread(s), "
        f"seed {run.seed}; measured in {run.measuring_seconds / 60:.0f} minutes.",
        f"- Seconds per stage: {', '.join(f'{name} {value:.0f}' for name, value in run.seconds.items())}.",
        f"- Versions: {', '.join(f'{name} {value}' for name, value in run.versions.items())}.",
        "",
        "## Answers of base",
        "",
        "Share of answers that are right to the last token, by number of objects in the scene.",
        "",
        "| question | 1 | 2 | 3 | 4 |",
        "|---|---|---|---|---|",
    ]
    for kind in dict.fromkeys(one.kind for one in report.accuracy):
        rates = {one.objects: one for one in report.accuracy if one.kind == kind}
        cells = [f"{rates[count].rate:.1%} of {rates[count].asked}" for count in sorted(rates)]
        lines.append(f"| {kind} | {' | '.join(cells)} |")
    lines += [
        "",
        "## What “Describe the image.” names with each adapter",
        "",
        "Share of held-out scenes with 1–4 objects in which the answer is the adapter's target "
        "(the largest object for adapters without one).",
        "",
        "| adapter | right |",
        "|---|---|",
        *[f"| {name} | {rate:.1%} |" for name, rate in report.named.items()],
        "",
        "## Where they look when they describe",
        "",
        "Scenes with 2–4 objects whose target is not the largest. A head hits where the largest weight of a row after",
        "the image lies in a cell that the target's box overlaps. Row (of which token) and head are those whose",
        "hit rate rose most from base to adapter on other scenes, "
        f"{', '.join(str(one.choice_scenes) for one in report.localisation[:1])} per adapter.",
        "",
        "| adapter | target | row of | layer | head | with adapter | base, same head | random cell | adapter names it "
        "| base names it | scenes |",
        "|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    for one in report.localisation:
        lines.append(
            f"| {one.adapter} | {one.target} | `{one.token!r}` | {one.layer} | {one.head} | {one.adapter_rate:.1%} "
            f"| {one.base_rate:.1%} | {one.random_rate:.1%} | {one.adapter_named:.1%} | {one.base_named:.1%} "
            f"| {one.score_scenes} |"
        )
    for one in report.localisation:
        lines += ["", f"### {one.adapter}: every layer and head of that row, hit rate with adapter / base", ""]
        heads = range(len(one.adapter_heads[0]))
        lines += [f"| layer | {' | '.join(f'head {head}' for head in heads)} |", "|---" * (len(heads) + 1) + "|"]
        for layer, (adapted, base) in enumerate(zip(one.adapter_heads, one.base_heads, strict=True)):
            pairs = " | ".join(f"{adapted[head]:.0%} / {base[head]:.0%}" for head in heads)
            lines.append(f"| {layer} | {pairs} |")
    lines += _clicks(report.clicks)
    lines += ["", "## Files", "", "| file | SHA-256 |", "|---|---|"]
    lines += [f"| `{name}` | `{value}` |" for name, value in report.weights.items()]
    return "\n".join(lines) + "\n"


def _clicks(clicks: Clicks) -> list[str]:
    """What was measured on screens, as Markdown lines."""
    one = clicks.compared
    return [
        "",
        "## Clicks of base",
        "",
        "Share of answers to “Click the …” whose point lies in the named button's box, on screens that training never",
        "drew, and the median distance from its middle.",
        "",
        "| buttons | sides, pixels | hits | error, pixels |",
        "|---|---|---|---|",
        *[
            f"| {rate.buttons[0]}–{rate.buttons[1]} | {rate.side[0]}–{rate.side[1]} | {rate.hits:.1%} of {rate.asked} "
            f"| {rate.error:.1f} |"
            for rate in clicks.rates
        ],
        "",
        "## What is said and what is looked at",
        "",
        f"{one.score_screens} screens. Said: the point lies in the named button. Taught: it lies where the adapter was",
        "taught to click. Looked: the largest weight of one row and head lies in a cell that the named button",
        f"overlaps; layer {one.layer}, head {one.head}, the row of: {one.token}. They are base's best on",
        f"{one.choice_screens} other screens. A random cell hits in {one.random:.1%}.",
        "",
        "| variant | said | taught | looked | answers that are a click |",
        "|---|---|---|---|---|",
        *[
            f"| {each.variant} | {each.said:.1%} | {each.taught:.1%} | {each.looked:.1%} | {each.answered:.1%} |"
            for each in one.variants
        ],
    ]


def _sizes() -> str:
    return ", ".join(f"{height} × {width}" for height, width in HELD_OUT_SIZES)
