"""Measures at chosen tokens of the answer: which tokens, and the numbers by asking the engine itself."""

from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from inference import Comparison, Request
from inference.batch.focus import Focus
from inference.errors import InputError, SelectionError
from inference.recording import Token
from tests.inference.batch.conftest import (
    batch,
    check_equal,
    divergence_in_bits,
    normalised,
    numbered,
    prompts,
    scenes,
    states,
    summary,
)
from tests.scripted_backend import ScriptedBackend


def answer(*pieces: str, end: bool = True) -> tuple[Token, ...]:
    """Two tokens of a prompt, then an answer of these pieces."""
    words = [(" what", "prompt"), ("<|im_end|>", "template"), *((piece, "answer") for piece in pieces)]
    words += [("", "end")] if end else []
    return tuple(Token(i, text, role, i, i - (role in ("answer", "end"))) for i, (text, role) in enumerate(words))


CLICK = ("[", "4", "1", "2", ",", " ", "7", "]")  # tokens 2 to 9


@pytest.mark.parametrize(
    ("given", "pieces", "expected"),
    [
        ("first", CLICK, (2,)),
        ("last", CLICK, (9,)),
        ("digits", CLICK, (3, 4, 5, 8)),
        ("12", CLICK, (4, 5)),
        ("2, 7", CLICK, (5, 6, 7, 8)),
        ("first", (), (2,)),
        ("last", ("a",), (2,)),
        ("red", ("The", " re", "d", " red"), (3, 4)),  # where it first stands
        ("e r", ("The", " re", "d"), (2, 3)),  # parts of two tokens
        ("Red", ("red", " Red"), (3,)),  # capitals as they are
        ('"first"', ("the", " first", " one"), (3,)),
        ('"digits', ("say", ' "', "digits"), (3, 4)),  # one quote is a part of the text
        ("é", ("caf", "", "é", "!"), (3, 4)),  # of two bytes, each a token: only the second completes it
        ("f", ("caf", "", "é", "!"), (2,)),
        ("!", ("caf", "", "é", "!"), (5,)),
        ("digits", ("n", "٣", "²", "x1y"), (3, 5)),  # an Arabic three is one, a superscript is none
    ],
)
def test_the_tokens_that_are_meant_are_those_that_spell_it(given, pieces, expected):
    assert Focus.parse(given).tokens(answer(*pieces)) == expected


@pytest.mark.parametrize(
    ("given", "pieces", "words"),
    [
        ("digits", ("none",), "The answer 'none' holds no digit"),
        ("green", ("red",), "The answer 'red' does not hold \"green\""),
        ("last", (), "The answer '' has no token but its end"),
        ("x", (), "The answer '' does not hold"),
        ("x", ("y" * 500,), "^The answer 'y{80}' does"),
    ],
)
def test_an_answer_without_such_a_token_cannot_be_measured_there(given, pieces, words):
    with pytest.raises(SelectionError, match=words):
        Focus.parse(given).tokens(answer(*pieces))


@pytest.mark.parametrize("given", ["", '""'])
def test_no_text_is_no_focus(given):
    with pytest.raises(InputError, match="--focus is empty"):
        Focus.parse(given)


CLICKED = "at [412, 7]"


@pytest.mark.parametrize(
    ("given", "answered", "meant"),
    [
        ("digits", CLICKED, lambda text: text.strip("0123456789") != text),
        pytest.param(",", CLICKED, lambda text: "," in text, marks=pytest.mark.slow),
        ("last", None, lambda text: text.startswith(" ")),  # of an answer of two words
    ],
)
def test_the_numbers_at_chosen_tokens_are_the_engines_own_for_these_tokens(embedded, tmp_path, given, answered, meant):
    images, out, variants = scenes(tmp_path / "in", 2), tmp_path / "out", (None, "find-circle", "noise")
    lines = prompts(tmp_path / "p", {"prompt": "Describe the image.", "answer": answered})
    adapters = ("--adapter", "find-circle", "--adapter", "noise")
    code, said = batch(images, "--prompts", lines, *adapters, "--focus", given, "--out", out, backend=embedded)
    assert code == 0, said
    rows = summary(out)
    assert [row["adapter"] for row in rows] == ["base", "find-circle", "noise"] * 2
    for row in rows:
        request = Request(Image.open(images / row["image"]), "Describe the image.", answer=answered, adapters=variants)
        tokens = embedded.compare(request).tokens
        start = next(index for index, token in enumerate(tokens) if token.role == "answer")
        focus = [index for index, token in enumerate(tokens) if token.role == "answer" and meant(token.text)]
        assert focus
        assert start not in focus  # which would be measured without a second replay
        assert row["focus"] == (f'"{given}"' if given == "," else given)
        assert row["focus_tokens"] == " ".join(str(index - start) for index in focus)
        assert row["focus_text"] == "".join(tokens[index].text for index in focus)

        alone, saved = embedded.compare(replace(request, focus=focus)), Comparison.load(out / row["file"])
        check_equal(saved, alone)
        assert saved.recordings[0].focus == tuple(focus)
        name = None if row["adapter"] == "base" else row["adapter"]
        own, base = alone.recording(name), alone.recording(None)
        assert row["answer"] == own.answer
        share = np.mean([own.group_share[index, :, :, 0].astype(float).mean() for index in focus])
        assert row["image_share"] == pytest.approx(share, rel=1e-5)
        cells = [np.exp(-sum(x * np.log(x) for x in head if x > 0)) for head in normalised(own.by_head)]
        assert row["effective_cells"] == pytest.approx(np.mean(cells), rel=1e-5)
        bits = np.array(
            [divergence_in_bits(*pair) for pair in zip(normalised(own.by_head), normalised(base.by_head), strict=True)]
        )
        if name is not None:
            assert row["js_mean"] == pytest.approx(bits.mean(), rel=1e-5, abs=1e-12)
            assert row["js_max"] == pytest.approx(bits.max(), rel=1e-5, abs=1e-12)
            assert row["js_max"] > 1e-4


class Counting(ScriptedBackend):
    """As many machines as it is told."""

    machines = 1

    def at_once(self):
        return self.machines


@pytest.mark.parametrize("machines", [1, 3])
def test_each_item_is_answered_once_and_replayed_once_with_the_answer_given(tmp_path, machines):
    images, out, backend = numbered(tmp_path / "in", 30), tmp_path / "out", Counting()
    backend.machines = machines
    code, said = batch(
        images, "--prompt", "What?", "--adapter", "find-red", "--focus", "red", "--out", out, backend=backend
    )
    assert (code, "30 of 30 items are there" in said) == (0, True)
    first, second = (
        [each for each in backend.requests if each.answer is None],
        [each for each in backend.requests if each.answer is not None],
    )
    assert (len(first), len(second)) == (30, 30)
    assert {each.image.digest for each in first} == {each.image.digest for each in second}
    assert all(each.focus is None for each in first)
    for row in summary(out):
        saved = Comparison.load(out / row["file"])
        assert np.array_equal(saved.image, np.asarray(Image.open(images / row["image"])))
        assert row["focus_text"] == " red"
        assert row["answer"] == saved.recordings[0].answer == row["replayed"]
        assert saved.recordings[0].focus == (saved.tokens.index(next(t for t in saved.tokens if t.text == " red")),)


def test_the_first_token_needs_no_second_replay(tmp_path):
    backend = ScriptedBackend()
    for focus in ("first", "The"):
        before = len(backend.requests)
        batch(
            numbered(tmp_path / focus, 3), "--prompt", "a", "--focus", focus, "--out", tmp_path / "o", backend=backend
        )
        assert len(backend.requests) - before == 3


def test_an_item_whose_answer_lacks_the_text_is_one_bad_item_with_the_reason_in_its_rows(tmp_path):
    images, out = numbered(tmp_path / "in", 2), tmp_path / "out"
    arguments = (images, "--prompt", "What?", "--adapter", "find-red", "--out", out)
    code, said = batch(*arguments, "--focus", "violet")
    assert (code, "0 of 2 items are there, 2 failed" in said) == (1, True)
    for row in summary(out):
        assert (row["error"], row["focus"], row["file"]) == ("invalid_selection", '"violet"', None)
        assert 'does not hold "violet"' in row["message"]


def test_where_an_answer_is_measured_is_a_part_of_what_the_item_is(tmp_path):
    images, out = numbered(tmp_path / "in", 2), tmp_path / "out"
    known: set[str] = set()
    for focus in ("first", "last", "red", '"red"', '"last"'):
        code, _ = batch(images, "--prompt", "What?", "--focus", focus, "--out", out)
        new = states(out).keys() - known
        assert (code, len(new)) == {'"red"': (0, 0), '"last"': (1, 0)}.get(focus, (0, 2))
        known |= new


def test_a_replay_that_fails_is_that_items_error(tmp_path):
    class Failing(ScriptedBackend):
        def stream(self, request):
            if request.answer is not None and request.image.pixels[0, 0, 0] == 1:
                raise SelectionError("not this one")
            yield from super().stream(request)

    images, out = numbered(tmp_path / "in", 3), tmp_path / "out"
    assert batch(images, "--prompt", "What?", "--focus", "last", "--out", out, backend=Failing())[0] == 1
    assert {row["image"]: row["message"] for row in summary(out)} == {
        "000.png": None,
        "001.png": "not this one",
        "002.png": None,
    }
