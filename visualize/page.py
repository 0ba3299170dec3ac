"""Decide what the page says of a result, as plain JSON values that the browser turns into text and pictures.

The browser sends back only a `Choice`, and nothing in it is believed before `Choice.read` has checked it.
"""

import base64
import io
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Literal, TypeAlias, get_args

import numpy as np
from PIL import Image

from inference.errors import SelectionError, VisualizerError
from inference.records import AdapterInfo, AnswerToken, Comparison, Progress, Recording, Role
from visualize.bar import colour_bar_svg
from visualize.caption import layer_words, plain, quoted
from visualize.change import change_per_token, layer_of_largest_change, token_of_largest_change
from visualize.measures import js_divergence, row_divergence
from visualize.palette import DIVERGING, SEQUENTIAL, check_colormap
from visualize.panes import Pane, Panes, panes, variant_name
from visualize.reduce import Selection, View, answer_indices, select
from visualize.scale import ColourLimits, number
from visualize.tokens import chips

Json: TypeAlias = "bool | int | float | str | list[Json] | dict[str, Json] | None"
Head = int | Literal["mean", "max"]

FOLDER = Path(__file__).parent
LONGEST_SIDE = 760  # of a picture in the page, in pixels
_KEPT = ("colormap", "diverging", "opacity", "smooth", "log", "percentile")  # of a choice, from result to result
_PROMPT_CHIPS = 48  # more prompt words than this are not legible as chips


@dataclass(frozen=True, slots=True)
class Choice:
    """What a person looks at, as the page's controls say it.

    Attributes:
        layer, window: layers `layer − window … layer + window` that exist, averaged.
        token: index into the recording's tokens.
        head: "mean", "max" or a 0-based index.
        view, colormap, diverging, opacity, smooth, log, percentile: see `panes`.
    """

    layer: int
    token: int
    window: int = 0
    head: Head = "mean"
    view: View = "raw"
    colormap: str = SEQUENTIAL[0]
    diverging: str = DIVERGING[0]
    opacity: float = 0.6
    smooth: bool = True
    log: bool = False
    percentile: float = 100.0

    @classmethod
    def read(cls, value: object, comparison: Comparison) -> "Choice":
        """Check what a browser sent.

        Raises:
            SelectionError: something missing, of another type, or that this comparison does not have.
        """
        if not isinstance(value, Mapping):
            raise SelectionError("The page sent no choice of layer and token.", "Reload the page.")
        known = {each.name for each in fields(cls)}
        given = {name: each for name, each in value.items() if name in known and each is not None}
        choice = cls(given.pop("layer", None), given.pop("token", None), **given)
        for name in ("layer", "token", "window"):
            if isinstance(getattr(choice, name), bool) or not isinstance(getattr(choice, name), int):
                raise SelectionError(f"{name} must be a whole number; not {getattr(choice, name)!r}.")
        for name, low, high in (("opacity", 0, 1), ("percentile", 50, 100)):
            number_ = getattr(choice, name)
            if isinstance(number_, bool) or not isinstance(number_, (int, float)) or not low <= number_ <= high:
                raise SelectionError(f"{name} must be {low}–{high}; not {number_!r}.")
        layers = comparison.recordings[0].by_head.shape[0]
        if not (0 <= choice.layer < layers and 0 <= choice.window < layers):
            raise SelectionError(f"layer {choice.layer} does not exist: this result has layers 0–{layers - 1}.")
        check_colormap(choice.colormap, signed=False)
        check_colormap(choice.diverging, signed=True)
        return replace(choice, smooth=choice.smooth is True, log=choice.log is True)

    def selection(self, comparison: Comparison) -> Selection:
        """The layers, token, head and view that `panes` takes.

        Raises:
            SelectionError: what `Selection` refuses.
        """
        last = comparison.recordings[0].by_head.shape[0] - 1
        low, high = max(0, self.layer - self.window), min(last, self.layer + self.window)
        return Selection(self.layer if low == high else (low, high), self.token, self.head, self.view)

    def is_recorded(self, comparison: Comparison) -> bool:
        """Whether the comparison holds what is chosen; if not, a request with `focus=(token,)` records it."""
        return self.head == "mean" or all(each.focus == (self.token,) for each in comparison.recordings)


def opening_choice(comparison: Comparison, before: object = None) -> Choice:
    """What a new result opens on: the token on which the variants differ most, and its layer of largest change.

    Args:
        comparison: the new result.
        before: what the page's controls said; colours and the like are kept where they are well-formed.
    """
    choice = _most_changed(comparison)
    kept = {name: before[name] for name in _KEPT if name in before} if isinstance(before, Mapping) else {}
    try:
        return Choice.read(asdict(choice) | kept, comparison)
    except SelectionError:
        return choice


def _most_changed(comparison: Comparison) -> Choice:
    if len(comparison.recordings) > 1 and comparison.tokens:
        base, adapter = variants(comparison)
        token = token_of_largest_change(comparison, base, adapter)
        layer = layer_of_largest_change(comparison, base, adapter, token)
        if change_per_token(comparison.recording(base), comparison.recording(adapter)).any():
            return Choice(layer, token)
    recording = comparison.recordings[0]
    indices = answer_indices(recording.tokens)
    return Choice(recording.by_head.shape[0] // 2, indices[0] if indices else len(recording.tokens) - 1)


def variants(comparison: Comparison) -> tuple[str | None, str | None]:
    """The variant on the left and the one on the right; the second is None where only one was recorded."""
    names = [each.adapter for each in comparison.recordings]
    return (names[0], names[1]) if len(names) > 1 else (names[0], None)


def draw(comparison: Comparison, choice: Choice, *, longest_side: int = LONGEST_SIDE) -> Panes:
    """Draw what is chosen: the one place where the page's pictures are made.

    Args:
        comparison: what was recorded.
        choice: what to look at.
        longest_side: of the pictures, in pixels.

    Raises:
        SelectionError: see `panes`.
    """
    base, adapter = variants(comparison)
    photo = Image.fromarray(comparison.image)
    factor = longest_side / max(photo.size)
    size = (max(1, round(photo.width * factor)), max(1, round(photo.height * factor)))
    return panes(
        comparison,
        choice.selection(comparison),
        base=base,
        adapter=adapter,
        colormap=choice.colormap,
        diverging=choice.diverging,
        opacity=choice.opacity,
        smooth=choice.smooth,
        log=choice.log,
        percentile=choice.percentile,
        original_image=photo.resize(size, Image.Resampling.LANCZOS),
    )


def panes_json(drawn: Panes, comparison: Comparison, choice: Choice) -> dict[str, Json]:
    """The pictures as JPEG data URLs with captions, alternative texts and colour bars; the heads to choose from."""
    pictures: list[Json] = [_pane_json(each) for each in drawn]
    if len(comparison.recordings) > 1 and drawn.difference is None:
        pictures.append({"title": "difference", "missing": "No difference: each variant replayed its own answer."})
    signed = drawn.difference.drawing if drawn.difference else None
    shared = drawn.base.drawing
    return {
        "panes": pictures,
        "where": _where(comparison, choice),
        "notes": list(drawn.notes),
        "bar": _bar(shared.limits, shared.colormap),
        "difference_bar": _bar(signed.limits, signed.colormap) if signed else None,
        "sides": [f"{each.variant} looks more" for each in list(drawn)[:2]],
        "heads": _heads(comparison, choice),
    }


def answers_json(comparison: Comparison, choice: Choice, written: Comparison) -> dict[str, Json]:
    """The answers, the replayed one as chips with each token's share of attention on the image.

    Args:
        comparison: what is shown.
        choice: the chosen layer and token.
        written: the result in which the variants wrote their answers; the same, or the one before a click.
    """
    rows: list[Json] = []
    replayed = _replayed(comparison, written)
    for recording, own in zip(comparison.recordings, written.recordings, strict=True):
        chips = not comparison.tokens or own.adapter == replayed
        rows.append(
            {
                "variant": variant_name(recording),
                "text": own.answer,
                "replayed": chips,
                "chips": _chips(comparison, recording, choice, ("answer", "end")) if chips else None,
            }
        )
    first = comparison.recordings[0]
    words = sum(token.role == "prompt" for token in first.tokens)
    return {
        "rows": rows,
        "question": _chips(comparison, first, choice, ("prompt",)) if words <= _PROMPT_CHIPS else None,
        "warnings": _warnings(comparison, written),
        "legend": _legend(comparison),
    }


def numbers_json(drawn: Panes, comparison: Comparison, choice: Choice) -> dict[str, Json]:
    """The table of measures: one row per measure, one column per variant, and adapter − base."""
    columns = [drawn.base] + ([drawn.adapter] if drawn.adapter else [])
    recordings = comparison.recordings[: len(columns)]
    cells = comparison.grid[0] * comparison.grid[1]
    measures = [each.measures for each in columns if each.measures]
    comparable = drawn.difference is not None  # rows of different words are not
    shown = "percentage points" if choice.view == "contrast" else "%"
    rows: list[dict[str, Json]] = [
        _row("Share of attention on the image", "%", [each.image_share for each in measures], "share"),
        _row(
            f"Spread over the image: effective cells of {cells}", "cells", [each.effective_cells for each in measures]
        ),
        _row("Entropy over the image", "nats", [each.entropy for each in measures]),
        {"label": "Largest value shown", "unit": shown, "values": [_peak(each) for each in columns], "delta": ""},
    ]
    ordinal = _ordinal(recordings[0], choice.token)
    if ordinal is not None and comparison.tokens:
        given = [math.exp(float(each.logprobs[ordinal])) for each in recordings]
        rows.append(_row("Probability of this token", "%", given, "share"))
    if drawn.difference is not None:
        shift = [select(each, replace(choice.selection(comparison), view="raw")) for each in recordings]
        inside = js_divergence(*shift)
        rows.append(_only("Jensen–Shannon divergence over the image", "bits", float(inside)))
        if choice.head != "max":
            rows.append(_only("Jensen–Shannon divergence of the whole row", "bits", float(row_divergence(*shift))))
    return {
        "columns": [each.variant for each in columns],
        "rows": [row if comparable else {**row, "delta": ""} for row in rows],
        "change": f"{columns[1].variant} − {columns[0].variant}" if comparable else "",
    }


def controls_json(comparison: Comparison, choice: Choice) -> Json:
    """What the page's controls offer, and what is chosen."""
    recording = comparison.recordings[0]
    return {
        "choice": asdict(choice),
        "layers": recording.by_head.shape[0],
        "heads": recording.by_head.shape[1],
        "views": list(get_args(View)),
        "colormaps": list(SEQUENTIAL),
        "diverging": list(DIVERGING),
    }


def said(kind: str, sentence: str, hint: str = "") -> Json:
    """A notice: "busy", "info" or "error", what is so and what to do."""
    return {"kind": kind, "sentence": sentence, "hint": hint, "fraction": None}


def refusal(error: VisualizerError) -> Json:
    """The notice of an error."""
    return said("error", error.message, error.hint)


def happening(event: Progress | AnswerToken, writing: dict[str, str]) -> Json:
    """The notice of what runs: the stage's sentence and the answers so far, which `writing` collects."""
    if isinstance(event, AnswerToken):
        name = event.adapter or "base"
        begun = writing.get(name, "") if event.index else ""  # from the first token again: it was begun anew
        writing[name] = begun + event.text
        sentence, fraction = f"{name} writes its answer", None
    else:
        sentence, fraction = event.sentence[:1].upper() + event.sentence[1:], event.fraction
    words: list[Json] = [[name, text] for name, text in writing.items()]
    return {"kind": "busy", "sentence": sentence, "hint": "", "fraction": fraction, "words": words}


def adapter_lines(adapter: AdapterInfo) -> list[Json]:
    """What an adapter is, in a few lines."""
    if adapter.kind == "unusable":
        return list(adapter.notes)
    targets = ", ".join(adapter.target_modules)
    facts = f"{adapter.kind} · rank {adapter.rank} · α {adapter.alpha:g} · {targets} · {adapter.parameters:,} numbers"
    return [*filter(None, [adapter.description]), facts, *adapter.notes]


def data_url(picture: Image.Image, kind: Literal["JPEG", "PNG"]) -> str:
    """A picture as a `data:` URL; JPEG is fast, PNG exact."""
    buffer = io.BytesIO()
    picture.save(buffer, kind, **({"quality": 90} if kind == "JPEG" else {}))
    return f"data:image/{kind.lower()};base64,{base64.b64encode(buffer.getvalue()).decode()}"


def _pane_json(pane: Pane) -> Json:
    return {
        "title": plain(pane.variant),
        "source": data_url(pane.image, "JPEG"),
        "height": pane.image.height,
        "width": pane.image.width,
        "alt": pane.alt,
        "caption": pane.caption,
        "signed": pane.drawing.limits.signed,
    }


def _bar(limits: ColourLimits, colormap: str) -> Json:
    return {"svg": colour_bar_svg(limits, colormap=colormap), "words": limits.words(), "signed": limits.signed}


def _where(comparison: Comparison, choice: Choice) -> str:
    """The heading of the pictures; an answer token's row is the one that predicts it."""
    tokens = [each.tokens[choice.token] for each in comparison.recordings]
    predicted = tokens[0].role in ("answer", "end")
    words = dict.fromkeys("the end" if each.role == "end" else quoted(each) for each in tokens)
    word = f"{'Predicting' if predicted else 'Reading'} {' and '.join(words)}"
    head = {"mean": "mean of all heads", "max": "maximum over heads"}.get(str(choice.head), f"head {choice.head}")
    return f"{word} · {layer_words(choice.selection(comparison).layer)} · {head} · {choice.view} view"


def _heads(comparison: Comparison, choice: Choice) -> Json:
    """Single heads of the chosen layer, the most changed (or, for one variant, the most on the image) first."""
    if any(each.focus != (choice.token,) for each in comparison.recordings):
        return []
    layer = choice.layer
    maps = [each.by_head[layer] for each in comparison.recordings[:2]]  # (heads, grid_h, grid_w)
    if len(maps) == 2 and comparison.tokens:
        scores, word = row_divergence(*maps), "changed"
        order = np.argsort(-scores, kind="stable")
        return [[int(head), f"head {head} · {word} {number(float(scores[head]), 'bits')} bits"] for head in order]
    shares = maps[0].sum(axis=(-2, -1), dtype=np.float64)
    order = np.argsort(-shares, kind="stable")
    return [[int(head), f"head {head} · {number(float(shares[head]), 'share')} % on the image"] for head in order]


def _replayed(comparison: Comparison, written: Comparison) -> str | Literal[False] | None:
    """Whose answer the tokens are; False where nobody of these wrote them."""
    ids = tuple(token.id for token in comparison.tokens if token.role in ("answer", "end"))
    for recording in reversed(written.recordings):
        if recording.answer_ids == ids:
            return recording.adapter
    return False


def _chips(comparison: Comparison, recording: Recording, choice: Choice, roles: tuple[Role, ...]) -> Json:
    """Tokens to click; where all variants replayed the same words, each with every variant's share."""
    side_by_side = comparison.recordings if comparison.tokens else (recording,)
    layer = choice.selection(comparison).layer
    rows = [chips(each, layer, roles=roles) for each in side_by_side]
    return [
        {
            "index": same[0].index,
            "text": "end" if same[0].role == "end" else same[0].label,
            "role": same[0].role,
            "shares": [each.share for each in same],
            "chosen": same[0].index == choice.token,
        }
        for same in zip(*rows, strict=True)
    ]


def _legend(comparison: Comparison) -> str:
    names = [variant_name(each) for each in comparison.recordings]
    if len(names) == 1 or not comparison.tokens:
        return "Under each token: its share of attention on the image."
    return f"Under each token: its share of attention on the image, {names[0]} → {names[1]}."


def _warnings(comparison: Comparison, written: Comparison) -> Json:
    said: list[Json] = []
    answers = [each.answer for each in written.recordings]
    if len(answers) > 1 and answers[0] is not None and answers[0] == answers[1]:
        said.append("Both answers are the same: what changed, if anything, is only where the model looked.")
    said += written.notes
    if len(comparison.recordings) > 1 and comparison.tokens:
        change = change_per_token(comparison.recordings[0], comparison.recordings[1])
        noise = 1e-9 if comparison.model.dtype == "float32" else 1e-4
        if not change.any():
            said.append("The two variants look at exactly the same places: every difference is 0.")
        elif change.max() < noise:
            said.append("These differences are within rounding noise: do not read anything into their pattern.")
    return said


def _ordinal(recording: Recording, token: int) -> int | None:
    """Which replayed answer token this is, for `logprobs`."""
    indices = [index for index, each in enumerate(recording.tokens) if each.role in ("answer", "end")]
    return indices.index(token) if token in indices else None


def _row(label: str, unit: str, values: list[float], kind: Literal["share", "nats"] = "nats") -> dict[str, Json]:
    delta = ""
    if len(values) > 1 and all(map(math.isfinite, values)):
        points = "share difference" if kind == "share" else kind
        delta = number(values[1] - values[0], points, sign=True) + (" pp" if kind == "share" else "")
    return {"label": label, "unit": unit, "values": [number(each, kind) for each in values], "delta": delta}


def _only(label: str, unit: str, value: float) -> dict[str, Json]:
    return {"label": label, "unit": unit, "values": [], "delta": number(value, "bits")}


def _peak(pane: Pane) -> str:
    if pane.peak is None:
        return "–"
    value = float(pane.drawing.heat[pane.peak])
    return f"{number(value, pane.drawing.limits.unit)} at row {pane.peak[0]}, column {pane.peak[1]}"
