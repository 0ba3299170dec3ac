"""What the page's input column sends, as a typed model, and what its viewer says is looked at, unchecked.

It knows neither Gradio nor an engine.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, StrictStr

from inference.errors import PromptError, SelectionError
from inference.messages import as_prompt
from inference.photo import Photo
from inference.request import Request
from inference.service.fields import BASE, Expected, Names, NewTokens, Scale, as_list, parse, variant_of

MOST_ADAPTERS = 4  # beside the variant that they are compared with


class PageForm(BaseModel):
    """What the page's input column sends, in the order of its fields; a browser may send anything."""

    model_config = ConfigDict(frozen=True)

    image: Annotated[dict[str, Any] | None, Expected("an uploaded picture")]
    prompt: Annotated[StrictStr | None, Expected("text", PromptError)]
    system: Annotated[StrictStr | None, Expected("text", PromptError)]
    adapter: Annotated[
        list[StrictStr],
        BeforeValidator(as_list),
        Field(max_length=MOST_ADAPTERS),
        Expected(f"at most {MOST_ADAPTERS} adapters' names"),
    ]
    compare: Annotated[StrictStr | None, Expected("an adapter's name, or base")]
    replay: Annotated[Literal["adapter", "compare", "own"], Expected("adapter, compare or own")]
    max_new_tokens: NewTokens
    scale: Scale
    modules: Annotated[Names, Expected("names of modules")]
    more_images: Annotated[list[dict[str, Any]], BeforeValidator(as_list), Expected("uploaded pictures")]

    @classmethod
    def of(cls, sent: Sequence[object]) -> "PageForm":
        """Read the values of the widgets, in the order of the fields.

        Raises:
            InputError: a value that its widget cannot have.
        """
        return parse(cls, dict(zip(cls.model_fields, sent, strict=True)), "Reload the page, and try again.")

    def request(self, *photos: Photo) -> Request:
        """What the engine is asked of the photo and a conversation's other images.

        Raises:
            InputError: whatever is wrong, as the member of the tree that fits.
        """
        left, others = variant_of(self.compare or BASE), [variant_of(name) for name in self.adapter]
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
        return replace(request, answer=None, answer_from=variant_of(variant), focus=None)
    if not isinstance(text, str) or not text.strip():
        raise PromptError("There is no answer to replay.", "Write one.")
    return replace(request, answer=text, focus=None)
