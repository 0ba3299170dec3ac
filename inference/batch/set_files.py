"""What a batch with targets leaves of the whole set: a table, a picture of its training runs, a part of the index.

What the numbers mean is decided in `inference.batch.over_set`, how a run looks in `visualize.pictures.over_steps`.
"""

import base64
import csv
from collections.abc import Mapping
from html import escape
from pathlib import Path

from inference.batch.answers import harmless, whole_file
from inference.batch.measures import Cell
from inference.batch.over_set import MEASURED, Interval, SetScore, SetScores, sentence

TABLE, PICTURE = "targets.csv", "targets.png"
_WORDS = {
    "said": "said place in the target",
    "looked": "best head's peak in the target",
    "share": "attention in the target",
}


def write_set(folder: Path, scores: SetScores) -> None:
    """Write the table, and the picture where there is a training run; each whole or not at all.

    Raises:
        InputError: they cannot be written.
    """
    rows = [_row(score, scores) for score in scores.scores]
    with whole_file(folder / TABLE) as part, part.open("w", encoding="utf-8", newline="") as table:
        writer = csv.DictWriter(table, list(rows[0]))
        writer.writeheader()
        writer.writerows({column: harmless(cell) for column, cell in row.items()} for row in rows)
    if scores.families:
        with whole_file(folder / PICTURE) as part:
            _draw(scores, part)
    else:
        (folder / PICTURE).unlink(missing_ok=True)


def forget_set(folder: Path) -> None:
    """Delete what an earlier run with targets left: it is not this one's."""
    for name in (TABLE, PICTURE):
        (folder / name).unlink(missing_ok=True)


def set_section(folder: Path, scores: SetScores) -> str:
    """The set as a part of the index, in HTML: a sentence per training run, the picture, and a row per variant."""
    picture, sentences = "", "".join(f"<p>{_text(sentence(scores, name))}</p>\n" for name in scores.families)
    if scores.families:
        code = base64.b64encode((folder / PICTURE).read_bytes()).decode()
        picture = f'<img src="data:image/png;base64,{code}" alt="Rates of the training runs over their steps">\n'
    lines = "".join(
        f"<tr><td>{_text(score.variant)}</td>"
        + "".join(f"<td>{_percent(score.means[what])}</td>" for what in MEASURED)
        + "".join(f"<td>{_percent(score.changes.get(what), sign='+')}</td>" for what in ("said", "looked"))
        + f"<td>{'–' if score.answered != score.answered else f'{100 * score.answered:.0f} %'}</td></tr>\n"
        for score in scores.scores
    )
    first = scores.scores[0]
    missing = f"; {scores.missing:,} more could not be measured" if scores.missing else ""
    heads = " and ".join(f"layer {layer}, head {head}" for layer, head in dict.fromkeys(scores.heads))
    chosen = f"{heads}, chosen on the other half of the images by {scores.chosen_by}" if heads else "none"
    answers = f"{first.items:,} answer{'' if first.items == 1 else 's'}"
    images = f"{first.images:,} image{'' if first.images == 1 else 's'}"
    return (
        f"<h2>Over {answers} with a target, of {images}{missing}</h2>\n"
        f"{sentences}{picture}"
        f"<p>Best head: {_text(chosen)}; at the tokens: {_text(scores.focus)}. "
        "In brackets: 95 %, bootstrap over images.</p>\n"
        "<table>\n<thead><tr><th>variant</th>"
        + "".join(f"<th>{_WORDS[what]}</th>" for what in MEASURED)
        + "<th>said, against base</th><th>looked, against base</th><th>says a place</th></tr></thead>\n"
        f"<tbody>\n{lines}</tbody>\n</table>\n"
    )


def _row(score: SetScore, scores: SetScores) -> Mapping[str, Cell]:
    row: dict[str, Cell] = {"adapter": score.variant, "family": score.family, "step": score.step}
    row |= {
        "items": score.items,
        "images": score.images,
        "focus": scores.focus,
        "missing": scores.missing,
        "answered": _figure(score.answered),
    }
    for name, found in (("", score.means), ("_change", score.changes)):
        for what in MEASURED:
            each = found.get(what)
            for column, value in zip(
                ("", "_low", "_high"), (each.mean, each.low, each.high) if each else (None,) * 3, strict=True
            ):
                row[f"{what}{name}{column}"] = _figure(value)
    row["looked_heads"] = " ".join(f"{layer}.{head}" for layer, head in scores.heads)
    return row


def _draw(scores: SetScores, path: Path) -> None:
    from visualize.pictures.over_steps import Rate, steps_picture  # late: a batch without runs draws nothing

    base = next((each for each in scores.scores if each.variant == "base"), None)
    runs = {}
    for name in scores.families:
        run = scores.family(name)
        rates = []
        for what in MEASURED:
            found = [score.means[what] for score in run]
            level = base.means[what].mean if base else float("nan")
            means, lows, highs = zip(*((each.mean, each.low, each.high) for each in found), strict=True)
            rates.append(Rate(_WORDS[what], means, lows, highs, level))
        runs[name] = ([score.step or 0 for score in run], rates)
    steps_picture(runs).save(path, "PNG")


def _figure(value: float | None) -> float | None:
    """Six significant digits; None, an empty cell, for what is not known."""
    return None if value is None or value != value else float(f"{value:.6g}") + 0.0


def _percent(found: Interval | None, sign: str = "") -> str:
    """`83 % (71 … 92)`; a dash where there is none."""
    if found is None or found.mean != found.mean:
        return "–"
    bounds = "" if found.low != found.low else f" ({100 * found.low:{sign}.0f} … {100 * found.high:{sign}.0f})"
    return f"{100 * found.mean:{sign}.0f}{' points' if sign else ' %'}{bounds}".replace("-", "−")


def _text(words: str) -> str:
    """A stranger's words as text, in a direction of their own."""
    return f'<bdi dir="auto">{escape(words)}</bdi>'
