"""How a field that a program or the page sends is read, and refused in our words; it knows no web framework."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from reprlib import repr as shortened
from typing import Annotated, Literal, TypeVar

from pydantic import BaseModel, BeforeValidator, Field, InstanceOf, StrictStr, ValidationError, WithJsonSchema

from inference.boxes import Box, as_boxes
from inference.conversation import Conversation
from inference.errors import InputError, SelectionError
from inference.messages import read_messages
from inference.request import MAX_SCALE, NEW_TOKENS
from visualize.numbers.head_choice import read_head

BASE = "base"
PROMPT = "Describe the image."
DOCUMENTED = "GET /docs says what each field may hold."
Model = TypeVar("Model", bound=BaseModel)

_MOST = 10**9  # of any index or count: what is beyond is no number that a sentence should repeat
_NUMBER = re.compile(r"-?\d{1,9}(\.\d{0,17})?(e-?\d)?", re.ASCII)  # float() reads 0_5 and other scripts' digits too


@dataclass(frozen=True, slots=True)
class Expected:
    """What a field holds, for the sentence of a refusal, and the member of the tree that refuses it."""

    words: str
    error: type[InputError] = InputError


def number_of(value: object) -> object:
    """A form's text, or a slider's 32.0, as the number that it writes; anything else is left to be refused."""
    number = float(value) if isinstance(value, str) and _NUMBER.fullmatch(value) else value
    return int(number) if isinstance(number, float) and number.is_integer() else number


def as_list(value: object) -> object:
    """One thing as a list of one; of a list, what is not empty."""
    given = [value] if isinstance(value, str) or not isinstance(value, Sequence) else value
    return [name for name in given if name not in (None, "")]


def numbers_of(value: object) -> object:
    """One number, several, or text with commas between them, as a list; anything else is left to be refused."""
    given = value.split(",") if isinstance(value, str) else value
    if isinstance(given, Sequence):
        return [number_of(part.strip() if isinstance(part, str) else part) for part in given]
    return [given] if isinstance(given, (int, float)) else given


def _messages(value: object) -> Conversation:
    """Messages as JSON text, which a form sends, or as the list or object that JSON makes of it."""
    return value if isinstance(value, Conversation) else read_messages(value)


Index = Annotated[int, Field(strict=True, ge=0, le=_MOST)]
HeadChoice = Annotated[
    Index | Literal["mean", "max"] | tuple[tuple[Index, Index], ...],
    Field(
        description="mean (default), max, a 0-based head, or the mean of heads of any layers, such as L1H3,L0H2",
    ),
    BeforeValidator(lambda value: read_head(number_of(value))),
    Expected("a 0-based index, 'mean', 'max' or heads such as L1H3,L0H2", SelectionError),
]
Names = Annotated[list[StrictStr], BeforeValidator(as_list), Expected("a name, or a list of names")]
NewTokens = Annotated[
    int,
    Field(strict=True, ge=1, le=_MOST, description=f"most tokens of an answer; default {NEW_TOKENS}"),
    BeforeValidator(number_of),
    Expected("a whole number, 1 or more"),
]
Scale = Annotated[
    float,
    Field(strict=True, ge=0, le=MAX_SCALE, description="strength of the adapters, 1 as trained"),
    BeforeValidator(number_of),
    Expected(f"a number from 0 to {MAX_SCALE:g}"),
]
PhotoBoxes = Annotated[
    tuple[Box, ...],
    BeforeValidator(as_boxes),
    Field(
        description="measure in a box of the photo, for a knockout close its cells: top,left,bottom,right in pixels; "
        "repeatable, or several separated by ; (in JSON also four numbers, or a list of boxes); several are one area",
        json_schema_extra={"type": "array", "items": {"type": "string"}},
    ),
    Expected("top,left,bottom,right in pixels of the photo", SelectionError),
]
Messages = Annotated[
    InstanceOf[Conversation],
    BeforeValidator(_messages),
    WithJsonSchema({"type": "array", "items": {"type": "object"}}),
]


def parse(model: type[Model], values: Mapping[str, object], hint: str = DOCUMENTED) -> Model:
    """Read the fields of a model.

    Args:
        model: what is read.
        values: what was sent.
        hint: what to do about a wrong one.

    Raises:
        InputError: what is wrong first, as the member of the tree that fits, in a sentence of ours.
    """
    try:
        return model.model_validate(values)
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False)[0]
        name = str(first["loc"][0])
        raise _refused(model, name, first["type"], values.get(name), hint) from None


def _refused(model: type[BaseModel], name: str, problem: str, value: object, hint: str) -> InputError:
    if problem == "extra_forbidden":
        return InputError(f"Unknown field {name[:40]!r}; known are {', '.join(model.model_fields)}.", hint)
    if problem == "missing":
        return InputError(f"There is no {name}.", "Send it as the form field 'image', or base64 in JSON.")
    expected = next(part for part in model.model_fields[name].metadata if isinstance(part, Expected))
    return expected.error(f"{name} must be {expected.words}; not {shortened(value)}.", hint)


def variant_of(name: str) -> str | None:
    """The adapter's name, or None for base, as a visitor names either."""
    return None if name == BASE else name
