"""How much of a well-formed request an operator allows: the one check of every door, before any work is queued."""

from collections.abc import Sequence

from inference.conversation import Conversation
from inference.errors import ImageTooLargeError, InputError, PromptError
from inference.photo import Photo, check_size
from inference.request import Request
from inference.settings import Limits


def check_limits(request: Request, limits: Limits) -> None:
    """Check a request against the bounds of whoever answers it.

    Args:
        request: what is asked.
        limits: bounds on pixels, shape, words, variants and tokens; what bounds queue and rate is no matter of a
            request. The tokens of an answer given as text are counted by the engine, which has the tokenizer.

    Raises:
        InputError: what is beyond a limit, as the member of the tree that fits; it names the limit.
    """
    if len(request.images) > limits.max_images:
        raise InputError(
            f"{len(request.images)} images were sent; the limit is {limits.max_images}.", "Leave some out."
        )
    for photo in request.images:
        check_size(photo.size, limits)
    check_pixels(request.images, limits)
    answer = request.answer if isinstance(request.answer, str) else ""
    longest = limits.max_prompt_characters
    words = request.prompt if isinstance(request.prompt, str) else ""
    for name, text in (("prompt", words), ("system text", request.system or ""), ("answer", answer)):
        if len(text) > longest:
            raise PromptError(f"The {name} has {len(text):,} characters; the limit is {longest:,}.", "Shorten it.")
    if isinstance(request.prompt, Conversation):
        _check_conversation(request.prompt, limits)
    if len(request.adapters) > limits.max_variants:
        raise InputError(
            f"{len(request.adapters)} variants were asked for; the limit is {limits.max_variants}.", "Ask twice."
        )
    if isinstance(request.answer, tuple):
        check_answer_length(len(request.answer), limits)
    if request.max_new_tokens > limits.max_new_tokens:
        raise InputError(
            f"max_new_tokens is {request.max_new_tokens:,}; the limit is {limits.max_new_tokens:,}.",
            "Ask for fewer tokens.",
        )
    if (request.max_image_tokens or 0) > limits.max_image_tokens:
        raise InputError(
            f"max_image_tokens is {request.max_image_tokens:,}; here at most {limits.max_image_tokens:,} are allowed.",
            "Ask for fewer, or let the operator raise --max-image-tokens.",
        )


def _check_conversation(conversation: Conversation, limits: Limits) -> None:
    """What comes before the image is read; of what comes after it, each token is recorded, too."""
    whole, after = (sum(map(len, texts)) for texts in (conversation.texts, conversation.after_image))
    for what, length, most in (
        ("The conversation", whole, limits.max_conversation_characters),
        ("What comes after the conversation's image", after, limits.max_prompt_characters),
    ):
        if length > most:
            raise PromptError(f"{what} has {length:,} characters; the limit is {most:,}.", "Leave out earlier turns.")


def check_pixels(photos: Sequence[Photo], limits: Limits) -> None:
    """Pass images that have no more pixels together than one may have: all are held decoded while they wait.

    Raises:
        ImageTooLargeError: they have more.
    """
    pixels = sum(photo.size[0] * photo.size[1] for photo in photos)
    if pixels > limits.max_pixels:
        raise ImageTooLargeError(
            f"The images have {pixels:,} pixels together; the limit is {limits.max_pixels:,}.", "Send smaller ones."
        )


def check_count(images: int, limits: Limits) -> None:
    """Check how many images came, before any is decoded.

    Raises:
        InputError: more than `max_images`.
    """
    if images > limits.max_images:
        raise InputError(f"{images} images were sent; the limit is {limits.max_images}.", "Leave some out.")


def check_answer_length(tokens: int, limits: Limits) -> None:
    """Check how many tokens a given answer has.

    Raises:
        InputError: more than `max_new_tokens`.
    """
    if tokens > limits.max_new_tokens:
        raise InputError(f"The answer has {tokens:,} tokens; the limit is {limits.max_new_tokens:,}.", "Shorten it.")
