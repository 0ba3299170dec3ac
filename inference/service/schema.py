"""What programs send over HTTP, and the questions that the page asks too, as typed models.

It knows no web framework and no engine. A visitor names the operator's adapters, never a path and never a Hub id.
"""

import base64
import binascii
from collections.abc import Sequence
from dataclasses import replace
from typing import Annotated, Literal, Self, get_args

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, StrictStr, WithJsonSchema, model_validator

from inference.boxes import on_photo
from inference.errors import InputError, NotAnImageError, PromptError, SelectionError
from inference.explanations import Explanation
from inference.photo import Photo
from inference.questions import CONTROLS, Question
from inference.request import NEW_TOKENS, Request
from inference.serialization import unpack_question
from inference.service.fields import (
    PROMPT,
    Expected,
    HeadChoice,
    Index,
    Messages,
    Names,
    NewTokens,
    PhotoBoxes,
    Scale,
    number_of,
    numbers_of,
    variant_of,
)
from visualize.analysis_json import PICTURE_SIDE
from visualize.numbers.views import VIEWS, View

#: Fields with which a program might say where an image lies, on the server or elsewhere.
_PATHS = ("image_path", "image_url", "path", "url")
_VIEWS = ", ".join(get_args(View))


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
            adapters=[variant_of(name) for name in (*self.adapter, *self.adapter_name)] or (None,),
            answer_from=variant_of(self.answer_from),
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
        BeforeValidator(numbers_of),
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
        BeforeValidator(numbers_of),
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
        BeforeValidator(numbers_of),
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
