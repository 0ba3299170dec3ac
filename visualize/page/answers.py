"""Decide what the page says of the answers: who wrote what, each token's share of attention, what to beware of."""

from typing import Literal

from inference.records import Comparison, Recording, Role
from visualize.caption import variant_name
from visualize.change import change_per_token
from visualize.json_values import Json
from visualize.page.choice import Choice
from visualize.tokens import chips

_PROMPT_CHIPS = 48  # more prompt words than this are not legible as chips
#: Largest change of a token, in bits, that rounding alone can make.
NOISE, NOISE_HALF = 1e-9, 1e-4  # in float32; in bfloat16 and float16


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
        is_replayed = not comparison.tokens or own.adapter == replayed
        rows.append(
            {
                "variant": variant_name(recording),
                "text": own.answer,
                "replayed": is_replayed,
                "chips": _chips(comparison, recording, choice, ("answer", "end")) if is_replayed else None,
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
            "shares": [chip.share for chip in same],
            "chosen": same[0].index == choice.token,
        }
        for same in zip(*rows, strict=True)
    ]


def _legend(comparison: Comparison) -> str:
    names = [variant_name(each) for each in comparison.recordings]
    if len(names) == 1 or not comparison.tokens:
        return "Under each token: its share of attention on the image."
    return f"Under each token: its share of attention on the image, {names[0]} → {names[1]}."


def _warnings(comparison: Comparison, written: Comparison) -> list[Json]:
    warnings: list[Json] = []
    answers = [each.answer for each in written.recordings]
    if len(answers) > 1 and answers[0] is not None and answers[0] == answers[1]:
        warnings.append("Both answers are the same: what changed, if anything, is only where the model looked.")
    warnings += written.notes
    if len(comparison.recordings) > 1 and comparison.tokens:
        change = change_per_token(comparison.recordings[0], comparison.recordings[1])
        noise = NOISE if comparison.model.dtype == "float32" else NOISE_HALF
        if not change.any():
            warnings.append("The two variants look at exactly the same places: every difference is 0.")
        elif change.max() < noise:
            warnings.append("These differences are within rounding noise: do not read anything into their pattern.")
    return warnings
