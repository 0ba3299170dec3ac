"""Decide what the page says of the answers: who wrote what, each token's share of attention, what to beware of."""

from inference.records import Comparison, Recording, Role
from visualize.answers import legend, replayed_by, warnings
from visualize.caption import variant_name
from visualize.change import change_per_token
from visualize.json_values import Json
from visualize.page.choice import Choice
from visualize.tokens import chips

_PROMPT_CHIPS = 48  # more prompt words than this are not legible as chips


def answers_json(comparison: Comparison, choice: Choice, written: Comparison) -> dict[str, Json]:
    """The answers, the replayed one as chips with each token's share of attention on the image.

    Args:
        comparison: what is shown.
        choice: the chosen layer and token.
        written: the result in which the variants wrote their answers; the same, or the one before a click.
    """
    rows: list[Json] = []
    replayed = replayed_by(comparison, written)
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
    later = comparison.recordings[1:] if comparison.tokens else ()
    return {
        "rows": rows,
        "question": _chips(comparison, first, choice, ("prompt",)) if words <= _PROMPT_CHIPS else None,
        "warnings": list(
            warnings(comparison, written, {variant_name(each): change_per_token(first, each) for each in later})
        ),
        "legend": legend(comparison),
    }


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
