"""What programs and the page send, as typed models: read here and nowhere else, and refused in our words.

It knows no web framework and no engine. A visitor names the operator's adapters, never a path and never a Hub id.
"""

import base64
import binascii
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from reprlib import repr as shortened
from typing import Annotated, Any, Literal, Self, TypeVar, get_args

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    InstanceOf,
    StrictStr,
    ValidationError,
    WithJsonSchema,
    model_validator,
)

from inference.boxes import Box, as_boxes, on_photo
from inference.conversation import Conversation
from inference.errors import InputError, NotAnImageError, PromptError, SelectionError
from inference.explanations import Explanation
from inference.messages import as_prompt, read_messages
from inference.photo import Photo
from inference.questions import CONTROLS, Question
from inference.request import MAX_SCALE, NEW_TOKENS, Request
from inference.serialization import unpack_question
from visualize.analysis_json import PICTURE_SIDE
from visualize.numbers.head_choice import read_head
from visualize.numbers.views import VIEWS, View

BASE = "base"
PROMPT = "Describe the image."
MOST_ADAPTERS = 4  # beside the variant that they are compared with
Model = TypeVar("Model", bound=BaseModel)

#: Fields that the seed's JSON body had, and their like: they say where an image lies on the server or elsewhere.
_PATHS = ("image_path", "image_url", "path", "url")
_MOST = 10**9  # of any index or count: what is beyond is no number that a sentence should repeat
_NUMBER = re.compile(r"-?\d{1,9}(\.\d{0,17})?(e-?\d)?", re.ASCII)  # float() reads 0_5 and other scripts' digits too
_VIEWS = ", ".join(get_args(View))


@dataclass(frozen=True, slots=True)
class Expected:
    """What a field holds, for the sentence of a refusal, and the member of the tree that refuses it."""

    words: str
    error: type[InputError] = InputError


def number_of(value: object) -> object:
    """A form's text, or a slider's 32.0, as the number that it writes; anything else is left to be refused."""
    number = float(value) if isinstance(value, str) and _NUMBER.fullmatch(value) else value
    return int(number) if isinstance(number, float) and number.is_integer() else number


def _list(value: object) -> object:
    given = [value] if isinstance(value, str) or not isinstance(value, Sequence) else value
    return [name for name in given if name not in (None, "")]


def _numbers(value: object) -> object:
    """One number, several, or text with commas between them, as a list; anything else is left to be refused."""
    given = value.split(",") if isinstance(value, str) else value
    if isinstance(given, Sequence):
        return [number_of(part.strip() if isinstance(part, str) else part) for part in given]
    return [given] if isinstance(given, (int, float)) else given


def _images(value: object) -> tuple[bytes, ...]:
    """One image, or several in a list, each as `_image_bytes` reads it."""
    return tuple(map(_image_bytes, value)) if isinstance(value, list) else (_image_bytes(value),)


def _image_bytes(value: object) -> bytes:
    """A file's bytes as they are; base64 decoded, also from a `data:` URL."""
    if isinstance(value, bytes):
        return value
    if not isinstance(value, str):
        raise NotAnImageError("The field 'image' must hold base64 text.", "Encode the file's bytes.")
    encoded = value.partition(",")[2] if value.startswith("data:") else value
    try:
        return base64.b64decode("".join(encoded.split()), validate=True)
    except (binascii.Error, ValueError) as error:
        raise NotAnImageError("The field 'image' is not base64.", "Encode the file's bytes, not its name.") from error


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
Names = Annotated[list[StrictStr], BeforeValidator(_list), Expected("a name, or a list of names")]
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


class AnalyzeFields(BaseModel):
    """The fields of one analysis over HTTP, as a form or as JSON; each one's description is its documentation."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    image: Annotated[
        tuple[bytes, ...],
        BeforeValidator(_images),
        Field(
            min_length=1,
            description="the picture: a file in a form, base64 (or a data: URL) in JSON; of several, in the order of "
            "their places in messages: repeated in a form, a list in JSON",
        ),
        Expected("at least one picture", NotAnImageError),
        WithJsonSchema({"type": "string", "format": "binary"}),
    ]
    prompt: Annotated[StrictStr, Field(description=f"the question; default: {PROMPT}"), Expected("text")] = PROMPT
    messages: Annotated[
        Messages | None,
        Field(
            description="in place of prompt and system, a conversation as training sets write it (OpenAI's, Qwen's, "
            "LLaMA-Factory's or ShareGPT's form): a list of turns, or an object of messages and tools; in a form its "
            "JSON text. The image stands where it says <image> or has an image part; the picture comes as image"
        ),
        Expected("a list of turns, or an object of messages and tools", PromptError),
    ] = None
    system: Annotated[StrictStr, Field(description="a system text"), Expected("text")] = ""
    adapter: Annotated[
        Names, Field(description="whom to ask, repeatable: base or an adapter's name; default base")
    ] = []
    adapter_name: Annotated[Names, Field(description="the same as adapter")] = []
    answer_from: Annotated[
        StrictStr,
        Field(description="whose answer is replayed through all: base, an adapter asked, or own (each its own)"),
        Expected("base, an adapter asked, or own"),
    ] = ""
    layer: Annotated[
        Index | None,
        Field(description="0-based; default: the middle layer"),
        BeforeValidator(number_of),
        Expected("a 0-based index", SelectionError),
    ] = None
    head: HeadChoice = "mean"
    token: Annotated[
        Index | Literal["answer", "digits"] | None,
        Field(
            description="0-based index into tokens, answer (mean over it), or digits (mean over those of the points "
            "and boxes that the answer says; where it says none, over every digit); default: digits where it says a "
            "place, else the first answer token"
        ),
        BeforeValidator(number_of),
        Expected("a 0-based index into tokens, 'answer' or 'digits'", SelectionError),
    ] = None
    view: Annotated[
        View,
        Field(description=f"one of {_VIEWS}; default raw"),
        Expected(f"one of {_VIEWS}", SelectionError),
    ] = "raw"
    of_image: Annotated[
        Index | None,
        Field(description="of several images, whose maps: a 0-based index in their order; default the last"),
        BeforeValidator(number_of),
        Expected("a 0-based index", SelectionError),
    ] = None
    box: PhotoBoxes = ()
    overlay: Annotated[
        bool,
        Field(
            description="true adds to each map a PNG data URL of the image with the map laid on it, made smaller where "
            f"its longest side has more than {PICTURE_SIDE:,} pixels"
        ),
        Expected("true or false"),
    ] = False
    max_new_tokens: NewTokens = NEW_TOKENS
    scale: Scale = 1.0

    @model_validator(mode="before")
    @classmethod
    def _without_what_was_left_empty(cls, values: dict[str, object]) -> dict[str, object]:
        for name in _PATHS:
            if values.get(name):
                raise InputError(
                    f"{name} is refused: this server reads no paths and fetches nothing for a visitor.",
                    "Send the image's bytes as the form field 'image', or base64 in JSON.",
                )
        kept = {name: value for name, value in values.items() if value is not None}
        return {name: value for name, value in kept.items() if value != "" or name in ("prompt", "image_path")}

    @model_validator(mode="after")
    def _one_prompt(self) -> Self:
        if self.messages is not None and self.prompt != PROMPT:
            raise PromptError("There are a prompt and messages.", "Send one of them.")
        return self

    @model_validator(mode="after")
    def _heads_of_one_token(self) -> Self:
        if self.head != "mean" and self.token == "answer":
            raise SelectionError(
                "Single heads are recorded for one token; 'answer' is a mean of several.", "Choose one token."
            )
        return self

    def request(self, *photos: Photo) -> Request:
        """What the engine is asked of the decoded images.

        Raises:
            InputError: whatever is wrong, as the member of the tree that fits; also a box that misses the photo.
        """
        if self.of_image is not None and self.of_image >= len(photos):
            raise SelectionError(
                f"There is no image {self.of_image}; there are images 0–{len(photos) - 1}.", "They are counted from 0."
            )
        on_photo(self.box, photos[-1 if self.of_image is None else self.of_image].size)
        needed = VIEWS[self.view].recorded
        return Request(
            image=photos,
            prompt=self.prompt if self.messages is None else self.messages,
            system=self.system or None,
            adapters=[_variant(name) for name in (*self.adapter, *self.adapter_name)] or (None,),
            answer_from=_variant(self.answer_from),
            focus=(self.token,) if isinstance(self.token, int) else "digits" if self.token == "digits" else None,
            max_new_tokens=self.max_new_tokens,
            scale=self.scale,
            views=() if needed is None else (needed,),
        )


#: The questions that have words for an answer; the others are asked from Python.
Asked = Literal["attribution", "knockout", "chance", "parts"]


class QuestionFields(BaseModel):
    """A question about a change and its options, over HTTP and from the page; what is left out is as usual."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    question: Annotated[
        Asked,
        Field(description=f"one of {', '.join(get_args(Asked))}; of several images, attribution alone"),
        Expected(f"one of {', '.join(get_args(Asked))}", SelectionError),
    ]
    by: Annotated[
        Literal["layer", "head"] | None,
        Field(description="attribution: also single layers, or single heads"),
        Expected("layer or head", SelectionError),
    ] = None
    layers: Annotated[
        list[Index] | None,
        Field(description="attribution: whose heads; knockout: in which layers; default all"),
        BeforeValidator(_numbers),
        Expected("0-based layers", SelectionError),
    ] = None
    outcome: Annotated[
        Literal["logprob", "margin"] | None,
        Field(description="attribution: log p of the token, or the margin between what the two would say"),
        Expected("logprob or margin", SelectionError),
    ] = None
    cells: Annotated[
        list[Index] | None,
        Field(description="knockout: cells of the image, cell (y, x) is y · grid_w + x"),
        BeforeValidator(_numbers),
        Expected("0-based cells", SelectionError),
    ] = None
    top: Annotated[
        float | None,
        Field(strict=True, gt=0, le=100, description="knockout: in place of cells, the top percent of the last map"),
        BeforeValidator(number_of),
        Expected("a percentage above 0, at most 100", SelectionError),
    ] = None
    box: PhotoBoxes = ()
    rows: Annotated[
        Literal["text", "answer"] | None,
        Field(description="knockout: whose looking is forbidden; default text"),
        Expected("text or answer", SelectionError),
    ] = None
    controls: Annotated[
        Index | None,
        Field(description=f"knockout, chance: so many random ones beside it; default {CONTROLS}"),
        BeforeValidator(number_of),
        Expected("a whole number", SelectionError),
    ] = None
    shape: Annotated[
        Literal["shifted", "scattered"] | None,
        Field(description="knockout: the other sets; default shifted for a box, scattered else"),
        Expected("shifted or scattered", SelectionError),
    ] = None
    seed: Annotated[
        Index | None,
        Field(description="knockout, chance: of the random ones; default 0"),
        BeforeValidator(number_of),
        Expected("a whole number", SelectionError),
    ] = None
    strengths: Annotated[
        list[float] | None,
        Field(description="parts: strengths of the whole adapter, rising, 1 as trained"),
        BeforeValidator(_numbers),
        Expected("numbers, rising", SelectionError),
    ] = None

    def asked(self, token: int | None, cells: Sequence[int] | None) -> Question[Explanation]:
        """The question.

        Args:
            token: that is measured, see `Question`.
            cells: what `cells`, `top` or `box` name.

        Raises:
            InputError: an option that this question does not have, or what the question itself refuses.
        """
        options = {
            name: getattr(self, name) for name in QuestionFields.model_fields if name not in ("question", "cells")
        }
        given = {name: value for name, value in options.items() if value is not None and name not in ("top", "box")}
        if cells is not None:
            given["cells"] = tuple(cells)
            given.setdefault("shape", "shifted" if self.box else "scattered")
        elif self.question == "knockout":
            raise SelectionError("There are no cells that nobody may look at.", "Name them: cells, top or box.")
        return unpack_question({"kind": self.question, "token": token, **given})


class ExplainFields(AnalyzeFields, QuestionFields):
    """The fields of one question about a change over HTTP: those of an analysis, and the question's."""

    @model_validator(mode="after")
    def _about_two_variants(self) -> Self:
        if self.overlay:
            raise InputError("overlay is a field of /api/analyze: an explanation has no map.", "Leave it out.")
        if self.token == "answer":
            raise SelectionError("A question is about one token; 'answer' is several.", "Give its index into tokens.")
        return self

    def request(self, *photos: Photo) -> Request:
        """What the engine is asked: of one adapter alone, against base."""
        asked = super().request(*photos)
        if len(asked.adapters) == 1 and asked.adapters[0] is not None:
            asked = replace(asked, adapters=(None, *asked.adapters), answer_from=asked.answer_from)
        return replace(asked, focus=None)


class PageForm(BaseModel):
    """What the page's input column sends, in the order of its fields; a browser may send anything."""

    model_config = ConfigDict(frozen=True)

    image: Annotated[dict[str, Any] | None, Expected("an uploaded picture")]
    prompt: Annotated[StrictStr | None, Expected("text", PromptError)]
    system: Annotated[StrictStr | None, Expected("text", PromptError)]
    adapter: Annotated[
        list[StrictStr],
        BeforeValidator(_list),
        Field(max_length=MOST_ADAPTERS),
        Expected(f"at most {MOST_ADAPTERS} adapters' names"),
    ]
    compare: Annotated[StrictStr | None, Expected("an adapter's name, or base")]
    replay: Annotated[Literal["adapter", "compare", "own"], Expected("adapter, compare or own")]
    max_new_tokens: NewTokens
    scale: Scale
    modules: Annotated[Names, Expected("names of modules")]
    more_images: Annotated[list[dict[str, Any]], BeforeValidator(_list), Expected("uploaded pictures")]

    @classmethod
    def of(cls, sent: Sequence[object]) -> "PageForm":
        """Read the values of the widgets, in the order of the fields.

        Raises:
            InputError: a value that its widget cannot have.
        """
        return parse(cls, dict(zip(cls.model_fields, sent, strict=True)))

    def request(self, *photos: Photo) -> Request:
        """What the engine is asked of the photo and a conversation's other images.

        Raises:
            InputError: whatever is wrong, as the member of the tree that fits.
        """
        left, others = _variant(self.compare or BASE), [_variant(name) for name in self.adapter]
        if left in others and left is not None:
            raise SelectionError(f"{left} would be compared with itself.", "Choose another variant to compare with.")
        adapters = tuple(dict.fromkeys([left, *others]))
        return Request(
            image=photos,
            prompt=as_prompt(self.prompt or ""),
            system=self.system or None,
            adapters=adapters,
            answer_from={"own": "own", "compare": left, "adapter": adapters[min(1, len(adapters) - 1)]}[self.replay],
            max_new_tokens=self.max_new_tokens,
            scale=self.scale,
            modules=tuple(self.modules) or None,
        )


def choice_of(look: object) -> object:
    """What the viewer says is looked at, unchecked: `Choice.read` checks it against a result."""
    return look.get("choice") if isinstance(look, Mapping) else None


def image_of(look: object) -> int | None:
    """Which of several images the viewer says is looked at, unchecked; None is the one that a result shows."""
    image = look.get("image") if isinstance(look, Mapping) else None
    return image if isinstance(image, int) and not isinstance(image, bool) else None


def with_answer(request: Request, look: object) -> Request:
    """The same question with another answer replayed: a text that a person wrote, or a variant's own answer.

    Raises:
        PromptError: neither.
        InputError: a variant that was not asked.
    """
    answer = look.get("answer") if isinstance(look, Mapping) else None
    given = answer if isinstance(answer, Mapping) else {}
    text, variant = given.get("text"), given.get("variant")
    if isinstance(variant, str):
        return replace(request, answer=None, answer_from=_variant(variant), focus=None)
    if not isinstance(text, str) or not text.strip():
        raise PromptError("There is no answer to replay.", "Write one.")
    return replace(request, answer=text, focus=None)


def parse(model: type[Model], values: Mapping[str, object]) -> Model:
    """Read the fields of a model.

    Raises:
        InputError: what is wrong first, as the member of the tree that fits, in a sentence of ours.
    """
    try:
        return model.model_validate(values)
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False)[0]
        name = str(first["loc"][0])
        raise _refused(model, name, first["type"], values.get(name)) from None


def _refused(model: type[BaseModel], name: str, problem: str, value: object) -> InputError:
    hint = "Reload the page, and try again." if model is PageForm else "GET /docs says what each field may hold."
    if problem == "extra_forbidden":
        return InputError(f"Unknown field {name[:40]!r}; known are {', '.join(model.model_fields)}.", hint)
    if problem == "missing":
        return InputError(f"There is no {name}.", "Send it as the form field 'image', or base64 in JSON.")
    expected = next(part for part in model.model_fields[name].metadata if isinstance(part, Expected))
    return expected.error(f"{name} must be {expected.words}; not {shortened(value)}.", hint)


def _variant(name: str) -> str | None:
    return None if name == BASE else name
