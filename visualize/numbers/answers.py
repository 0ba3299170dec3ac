"""Decide what is said of the answers: whose is replayed, what stands under its tokens, what to beware of."""

from collections.abc import Mapping
from typing import Literal

from inference.measures import Measure
from inference.recording import Recording
from inference.records import Comparison
from visualize.numbers.caption import variant_name
from visualize.numbers.tokens import label_of

#: Largest change of a token, in bits, that rounding alone can make.
NOISE, NOISE_HALF = 1e-9, 1e-4  # in float32; in bfloat16 and float16


def replayed_by(comparison: Comparison, written: Comparison) -> str | Literal[False] | None:
    """Whose answer the tokens of a comparison are (None is the base model); False where nobody of these wrote it.

    Args:
        comparison: what is shown.
        written: the result in which the variants wrote their answers; the same, or the one before a replay.
    """
    ids = tuple(token.id for token in comparison.tokens if token.role in ("answer", "end"))
    for recording in reversed(written.recordings):
        if recording.answer_ids == ids:
            return recording.adapter
    return False


def own_words(recording: Recording, comparison: Comparison) -> tuple[tuple[str, ...], int | None]:
    """The words of the answer that a variant wrote itself, and where they part from the replayed ones.

    Args:
        recording: of the result in which the variants wrote their answers.
        comparison: what is shown.

    Returns:
        (labels, parts): a label per token, none where they are not known; and the first that is another token than the
        replayed answer's, or lies beyond its end, None where there is no such one. Up to and with that one, the rows
        that predict the words are those of the replayed answer: they have the same words before them.
    """
    replayed = [token.id for token in comparison.tokens if token.role in ("answer", "end")]
    last = len(recording.answer_pieces) - 1
    ends = {token.id: token.text for token in comparison.tokens if token.role == "end"}
    labels = [
        label_of(piece or ends.get(token, ""), "end" if index == last else "answer")
        for index, (token, piece) in enumerate(zip(recording.answer_ids, recording.answer_pieces, strict=False))
    ]
    differing = (index for index, token in enumerate(recording.answer_ids) if [token] != replayed[index : index + 1])
    return tuple(labels), next(differing, None)


def legend(comparison: Comparison) -> str:
    """What stands under the tokens of an answer, in a sentence."""
    names = [variant_name(each) for each in comparison.recordings]
    if len(names) == 1 or not comparison.tokens:
        return "Under each token: its share of attention on the image, mean of all heads."
    return f"Under each token: its share of attention on the image, mean of all heads, {' → '.join(names)}."


def warnings(comparison: Comparison, written: Comparison, changes: Mapping[str, Measure]) -> list[str]:
    """What to beware of before reading anything into a result, a sentence each.

    Args:
        comparison: what is shown.
        written: see `replayed_by`.
        changes: per later variant, how much each answer token changed against the first, in bits; empty where that
            cannot be told.
    """
    said = []
    answers = [each.answer for each in written.recordings]
    if len(answers) > 1 and answers[0] is not None and len(set(answers)) == 1:
        both = "Both" if len(answers) == 2 else "All"
        where = "where the model looked and how likely they are"
        if comparison.recordings[0].answer is None:
            said.append(f"{both} wrote the same answer themselves; the one that is replayed was given.")
        else:
            said.append(f"{both} answers are the same: what changed, if anything, is {where}.")
    said += written.notes
    noise = NOISE if comparison.model.dtype == "float32" else NOISE_HALF
    for name, change in changes.items():
        names = f"{name} and {variant_name(comparison.recordings[0])}"
        pair = "The two variants" if len(changes) == 1 else names
        if not change.any():
            said.append(f"{pair} look at exactly the same places: every difference is 0.")
        elif change.max() < noise:
            these = "These differences" if len(changes) == 1 else f"Differences between {names}"
            said.append(f"{these} are within rounding noise: do not read anything into their pattern.")
    return said
