"""At which tokens of its answer an item is measured, and how the answer is replayed to be measured there.

| `--focus` | the tokens that the measures are about |
|---|---|
| `first` | the answer's first; in an answer that is empty, its end |
| `last` | the last that is no end |
| `digits` | those of the points and boxes that it says; in an answer without any, all that spell a decimal digit |
| `"text"`, or any other word | those that spell this text where it first stands in the answer, capitals as they are |

A token that spells only a part of the text, or a digit and something else, counts. Which these are is known only when
the answer is, and of each head only the rows that were asked for are recorded. So an item whose tokens are others than
the first is answered as ever, and then the same answer is replayed once more through all variants with the right rows
recorded; nothing is written anew.
"""

from collections.abc import Iterable, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from itertools import islice

from inference.backend import Backend
from inference.errors import CaptureError, InputError, SelectionError, VisualizerError
from inference.focus import digit_tokens, focus_of
from inference.recording import Token
from inference.records import Comparison, Outcomes
from inference.request import Request
from inference.spelling import Spelling

WORDS = ("first", "last", "digits")
#: Where a backend works on several items at once, so many of each machine's are answered before they are replayed.
ITEMS_PER_MACHINE = 4
_SHOWN = 80


@dataclass(frozen=True, slots=True)
class Focus:
    """One of `WORDS`, or a text in double quotes: what `--focus` says."""

    given: str = "first"

    @classmethod
    def parse(cls, given: str) -> "Focus":
        """Read the option.

        Raises:
            InputError: there is no text.
        """
        if given in WORDS:
            return cls(given)
        quoted = len(given) > 1 and given[0] == given[-1] == '"'
        text = given[1:-1] if quoted else given
        if not text:
            raise InputError("--focus is empty.", f"Choose {', '.join(WORDS)} or a text that the answers hold.")
        return cls(f'"{text}"')

    @property
    def text(self) -> str | None:
        """The text that the tokens spell; None where a word says which they are."""
        return None if self.given in WORDS else self.given[1:-1]

    def tokens(self, tokens: Sequence[Token]) -> tuple[int, ...]:
        """Indices of the tokens that are meant.

        Args:
            tokens: see `Comparison.tokens`.

        Raises:
            SelectionError: the answer has none.
        """
        if self.given == "first":
            return focus_of(tokens, "first")
        answer = [index for index, token in enumerate(tokens) if token.role == "answer"]
        words = "".join(tokens[index].text for index in answer)
        if self.given == "digits":
            meant = digit_tokens(tokens)
        elif self.text is None:
            meant = tuple(answer[-1:])
        else:
            found = words.find(self.text)
            spelled = Spelling([tokens[index].text for index in answer])
            place = spelled.tokens(found, found + len(self.text)) if found >= 0 else ()
            meant = tuple(answer[index] for index in place)
        if not meant:
            what = {"last": "has no token but its end", "digits": "holds no digit"}
            missing = what.get(self.given, f"does not hold {self.given}")
            raise SelectionError(
                f"The answer {words[:_SHOWN]!r} {missing}: there is nothing to measure at.", "Choose another --focus."
            )
        return meant


def compare_at(backend: Backend, requests: Iterable[Request], focus: Focus) -> Outcomes:
    """Answer many requests like `Backend.compare_many`, with `by_head` taken at the tokens that are meant.

    Args:
        backend: who answers.
        requests: may be lazy; without `focus` of their own.
        focus: the tokens.
    """
    machines, numbered = backend.at_once(), enumerate(requests)
    together = 1 if machines == 1 else machines * ITEMS_PER_MACHINE  # one machine keeps what it has read of one image
    while taken := list(islice(numbered, together)):
        again: list[tuple[int, _Answered, Request]] = []
        with closing(backend.compare_many(request for _, request in taken)) as outcomes:
            for place, outcome in outcomes:
                index, request = taken[place]
                replay = _replay(request, outcome, focus)
                if isinstance(outcome, Comparison) and isinstance(replay, Request):
                    again.append((index, _Answered.of(outcome), replay))
                else:
                    yield index, replay if isinstance(replay, VisualizerError) else outcome
        with closing(backend.compare_many(replay for *_, replay in again)) as outcomes:
            for place, outcome in outcomes:
                index, answered, _ = again[place]
                yield index, answered.measured_at(outcome) if isinstance(outcome, Comparison) else outcome


def _replay(request: Request, outcome: Comparison | VisualizerError, focus: Focus) -> Request | VisualizerError | None:
    """The request that measures an answer at the right tokens; None where it is measured there, or there is none."""
    if isinstance(outcome, VisualizerError):
        return None
    try:
        meant = focus.tokens(outcome.tokens)
    except SelectionError as error:
        return error
    if meant == outcome.recordings[0].focus:
        return None
    answer = tuple(token.id for token in outcome.tokens if token.role in ("answer", "end"))
    return replace(request, answer=answer, focus=meant)


@dataclass(frozen=True, slots=True)
class _Answered:
    """What of a first answer a replay does not say: what each variant wrote itself, the notes on that, the time."""

    tokens: tuple[Token, ...]
    written: tuple[tuple[str | None, tuple[int, ...], tuple[str, ...]], ...]
    notes: tuple[str, ...]
    timings: dict[str, float]

    @classmethod
    def of(cls, comparison: Comparison) -> "_Answered":
        written = tuple((each.answer, each.answer_ids, each.answer_pieces) for each in comparison.recordings)
        return cls(comparison.tokens, written, comparison.notes, dict(comparison.timings))

    def measured_at(self, replayed: Comparison) -> Comparison | VisualizerError:
        if replayed.tokens != self.tokens:
            return CaptureError("The replayed answer is not the answer: its tokens differ.")
        recordings = tuple(
            replace(recording, answer=answer, answer_ids=ids, answer_pieces=pieces)
            for recording, (answer, ids, pieces) in zip(replayed.recordings, self.written, strict=True)
        )
        stages = {**self.timings, **replayed.timings}
        timings = {stage: self.timings.get(stage, 0.0) + replayed.timings.get(stage, 0.0) for stage in stages}
        return replace(replayed, recordings=recordings, notes=self.notes, timings=timings)
