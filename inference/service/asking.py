"""What the page asks about a result: the question, and of which two variants; a browser may say anything."""

from collections.abc import Mapping
from dataclasses import replace

from inference.errors import SelectionError
from inference.explanations import Explanation
from inference.questions import AttributionOptions, ChanceOptions, KnockoutOptions, PartsOptions, Question
from inference.records import Comparison, Recording
from inference.service.schema import choice_of
from visualize.numbers.reduce import select
from visualize.numbers.token_choice import token_indices
from visualize.numbers.top_cells import top_cells
from visualize.page import Choice


def kind_of(look: object) -> str:
    """Which question the viewer asks, unchecked: a short text."""
    asked = look.get("ask") if isinstance(look, Mapping) else None
    return str(asked.get("kind"))[:40] if isinstance(asked, Mapping) else ""


def question_of(look: object, comparison: Comparison) -> tuple[Question[Explanation], tuple[str | None, str | None]]:
    """Read what the viewer asks: `look["ask"]` names the question, what is looked at says of what.

    Args:
        look: the viewer's state, as a browser sent it.
        comparison: what is shown.

    Returns:
        The question, and (first, second) variant.

    Raises:
        SelectionError: no such question, or what is looked at is not in this result.
    """
    kind, choice = kind_of(look), Choice.read(choice_of(look), comparison)
    variants = choice.pair(comparison)
    if len(variants) != 2:
        raise SelectionError("There is one variant only: nothing changed.", "Choose another one to compare with.")
    first, second = variants
    token = _measured(choice, comparison.recording(second))
    question: Question[Explanation]
    match kind:
        case "attribution":
            question = AttributionOptions(token)
        case "heads":
            question = AttributionOptions(token, by="head")
        case "knockout":
            question = KnockoutOptions(_cells(choice, comparison, second), token)
        case "chance":
            question = ChanceOptions(token)
        case "parts":
            question = PartsOptions(token)
        case _:
            raise SelectionError(f"There is no question {kind!r}.", "Reload the page.")
    return question, (first, second)


def _measured(choice: Choice, recording: Recording) -> int | None:
    """The first of the answer's tokens among those looked at; None, the answer's first, where none is."""
    looked_at = token_indices(recording, choice.token)
    return next((index for index in looked_at if recording.tokens[index].role in ("answer", "end")), None)


def _cells(choice: Choice, comparison: Comparison, variant: str | None) -> tuple[int, ...]:
    """The largest cells of the variant's map that is looked at; of the mean over heads, where single ones are not."""
    head = choice.head if choice.is_recorded(comparison) else "mean"
    selection = replace(choice, head=head, view="raw").selection(comparison)
    return top_cells(select(comparison.recording(variant), selection))
