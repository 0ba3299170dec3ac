"""A request is well formed or is not made; how much it may hold is checked by whoever answers it."""

from dataclasses import replace

import numpy as np
import pytest

from inference.errors import ImageError, ImageTooLargeError, ImageTooThinError, InputError, PromptError, SelectionError
from inference.limits import check_limits
from inference.photo import Photo, upright_rgb
from inference.request import Request, digest
from inference.settings import Limits
from tests.conftest import picture


def ask(**changes) -> Request:
    return Request(**{"image": picture(20, 30), "prompt": "What is it?"} | changes)


def test_a_request_fills_in_whose_answer_is_replayed():
    assert ask().answer_from is None
    assert ask(adapters=(None, "a", "b")).answer_from == "a"
    assert ask(adapters=("b", None)).answer_from == "b"
    assert ask(adapters=(None, "a"), answer_from=None).answer_from is None
    assert ask(adapters=(None, "a"), answer_from="own").answer_from == "own"


@pytest.mark.parametrize(
    ("changes", "kind"),
    [
        ({"prompt": ""}, PromptError),
        ({"prompt": " \n\t"}, PromptError),
        ({"prompt": "half a pair \ud800"}, PromptError),
        ({"prompt": None}, PromptError),
        ({"adapters": ()}, InputError),
        ({"adapters": "find-red"}, InputError),
        ({"adapters": ("a", "a")}, InputError),
        ({"adapters": ("base",)}, InputError),
        ({"adapters": ("../x",)}, InputError),
        ({"answer_from": "a"}, InputError),
        ({"answer": ""}, InputError),
        ({"answer": ()}, InputError),
        ({"answer": (1, -1)}, InputError),
        ({"answer": (1, True)}, InputError),
        ({"answer": "\ud800"}, PromptError),
        ({"answer": 5}, InputError),
        ({"adapters": 5}, InputError),
        ({"focus": 3}, InputError),
        ({"modules": 5}, InputError),
        ({"system": 5}, PromptError),
        ({"focus": "letters"}, InputError),
        ({"focus": ()}, SelectionError),
        ({"focus": (1, 1)}, SelectionError),
        ({"focus": (-1,)}, InputError),
        ({"max_new_tokens": 0}, InputError),
        ({"max_new_tokens": 2.5}, InputError),
        ({"max_image_tokens": 0}, InputError),
        ({"scale": float("nan")}, InputError),
        ({"scale": -1}, InputError),
        ({"scale": "1"}, InputError),
        ({"scale": True}, InputError),
        ({"scale": 10**400}, InputError),
        ({"max_new_tokens": -(10**400)}, InputError),
        ({"modules": "q_proj"}, InputError),
    ],
)
def test_what_is_wrong_is_refused_when_the_request_is_made(changes, kind):
    with pytest.raises(kind) as caught:
        ask(**changes)
    assert caught.value.message
    assert caught.value.hint
    assert len(str(caught.value)) < 500


def test_a_pil_image_an_array_and_a_photo_become_the_same_photo():
    image = picture(20, 30)
    photo = upright_rgb(image)
    held = [ask(image=given).image for given in (image, np.asarray(image), photo)]
    assert all(isinstance(each, Photo) for each in held)
    assert held == [photo] * 3
    assert held[2] is photo
    assert replace(ask(image=photo), prompt="Again?").image is photo
    with pytest.raises(ImageError):
        ask(image="photo.jpg")


def test_the_digest_follows_the_photo_with_its_notes_and_every_option():
    asked = {"image": picture(64, 96), "prompt": "What is here?", "adapters": (None, "find-red")}
    base = Request(**asked)
    assert digest(base) == digest(Request(**asked))
    changed = [
        replace(base, image=picture(64, 96, 1)),
        replace(base, image=replace(base.image, notes=("The photo was turned upright.",))),
        replace(base, image=picture(96, 64)),
        replace(base, prompt="What?"),
        replace(base, system="Be brief."),
        replace(base, adapters=("find-red", None)),
        replace(base, answer_from=None),
        replace(base, answer=(1, 2)),
        replace(base, focus=(3,)),
        replace(base, focus="digits"),
        replace(base, scale=0.5),
        replace(base, max_new_tokens=3),
        replace(base, max_image_tokens=30),
        replace(base, modules=("q_proj",)),
        replace(base, vision_tower=True),
    ]
    digests = {digest(each) for each in changed}
    assert len(digests) == len(changed)
    assert digest(base) not in digests


def test_sequences_become_tuples_and_numbers_plain_ones():
    request = ask(adapters=["a"], focus=[np.int64(3)], answer=[1, 2], modules=["q_proj"], scale=1)
    assert (request.adapters, request.focus, request.answer, request.modules) == (("a",), (3,), (1, 2), ("q_proj",))
    assert (type(request.focus[0]), type(request.scale)) == (int, float)


@pytest.mark.parametrize(
    ("changes", "limit", "kind", "words"),
    [
        ({"prompt": "123456"}, {"max_prompt_characters": 5}, PromptError, "prompt has 6 characters; the limit is 5"),
        ({"prompt": "?", "system": "12345"}, {"max_prompt_characters": 4}, PromptError, "system text has 5 characters"),
        ({"prompt": "?", "answer": "12345"}, {"max_prompt_characters": 4}, PromptError, "answer has 5 characters"),
        ({"adapters": ("a", "b", None)}, {"max_variants": 2}, InputError, "3 variants .* limit is 2"),
        ({"answer": (1, 2, 3)}, {"max_new_tokens": 2}, InputError, "answer has 3 tokens; the limit is 2"),
        ({"max_new_tokens": 257}, {}, InputError, "max_new_tokens is 257; the limit is 256"),
        ({"max_image_tokens": 9_999}, {}, InputError, "at most 2,560 are allowed"),
        ({"image": picture(20, 30)}, {"max_pixels": 599}, ImageTooLargeError, "30 × 20 pixels; the limit is 599"),
        ({"image": picture(20, 61)}, {"max_aspect_ratio": 3}, ImageTooThinError, "the limit is 3 : 1"),
    ],
)
def test_what_is_beyond_a_limit_is_a_request_and_is_refused_at_the_door(changes, limit, kind, words):
    request = ask(**{"max_new_tokens": 2} | changes)
    with pytest.raises(kind, match=words):
        check_limits(request, Limits(**{"max_new_tokens": 2} | limit) if "answer" in changes else Limits(**limit))


def test_what_is_just_within_every_limit_passes():
    limits = Limits(
        max_pixels=600,
        max_aspect_ratio=1.5,
        max_prompt_characters=5,
        max_variants=2,
        max_new_tokens=3,
        max_image_tokens=4,
    )
    check_limits(
        ask(prompt="12345", adapters=(None, "a"), answer=(1, 2, 3), max_new_tokens=3, max_image_tokens=4), limits
    )
