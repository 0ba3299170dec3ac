"""The cards' events as plain functions: a question about the result that is looked at, asked, answered, stopped."""

import time
from collections.abc import Iterator, Mapping
from contextlib import closing
from typing import Any, NamedTuple

import gradio as gr

from inference.errors import CancelledError, SelectionError
from inference.questions import QUESTIONS
from inference.records import Comparison
from inference.service.analysis import AnalysisService
from inference.service.cells import cells_of
from inference.service.failures import unforeseen
from inference.service.fields import parse
from inference.service.page_events import page_event
from inference.service.page_form import choice_of
from inference.service.prices import further
from inference.service.replayed_heads import extra_views
from inference.service.results import Explained, Result
from inference.service.schema import QuestionFields
from inference.service.session import Session
from inference.service.status import status_json
from inference.service.uploads import address_of
from inference.service.view import active
from visualize.findings.cards_json import findings_json
from visualize.numbers.opening import questioned
from visualize.page import Choice, Json

WORK = "explanation"  # as a session calls it
OFTEN = 0.1  # seconds between two words on progress: replays may be many and short


class CardView(NamedTuple):
    """What a question changes on the page: the cards, the line on top, the page's Stop button."""

    cards: Any = gr.skip()
    status: Any = gr.skip()
    stop: Any = gr.skip()


class Cards:
    """What the cards do.

    Args:
        service: where questions are answered and kept.
    """

    def __init__(self, service: AnalysisService) -> None:
        self._service = service

    @page_event
    def explain(self, key: object, look: object, request: gr.Request) -> Iterator[CardView]:
        """Answer the card's question that the viewer asks about what it looks at; `Cards` says what happens meanwhile.

        The cards' value is `{"key", "card", "state", …}`: "busy" with `sentence`, `done` and `of`; "done" with
        `findings`; "refused" with `sentence` and `hint`; "stopped".
        """
        session = self._service.session(str(request.session_hash))
        asked = look.get("question") if isinstance(look, Mapping) else None
        given: Mapping[str, object] = asked if isinstance(asked, Mapping) else {}
        begun: dict[str, Json] = {"key": str(key), "card": str(given.get("card"))[:40]}
        try:
            yield from self._answer(session, key, look, given, begun, address_of(request))
        except CancelledError:
            yield self._idle(session, begun | {"state": "stopped"})
        except Exception as error:  # noqa: BLE001 - the boundary: the card stays usable
            told = unforeseen(error, "a question failed")
            yield self._idle(session, begun | {"state": "refused", "sentence": told.message, "hint": told.hint})

    @page_event
    def stop(self, request: gr.Request) -> None:
        """Stop the question that runs for this session."""
        self._service.session(str(request.session_hash)).stop(WORK)

    def _answer(
        self,
        session: Session,
        key: object,
        look: object,
        given: Mapping[str, object],
        begun: dict[str, Json],
        address: str,
    ) -> Iterator[CardView]:
        result = self._service.kept(session, key)
        options = given.get("options")
        fields = parse(QuestionFields, options if isinstance(options, Mapping) else {})
        QUESTIONS[fields.question].check_images(len(result.comparison.images))
        choice = Choice.read(choice_of(look), result.comparison)
        token = _measured(result.comparison, choice)
        shown = result
        if fields.top is not None and not choice.is_recorded(result.comparison):
            focus = choice.focus(result.comparison)
            views = extra_views(result.comparison, focus, choice.view)
            shown = self._service.with_heads(session, result, focus, views, address=address)
        pair = choice.pair(result.comparison)
        cells, about = cells_of(fields, shown.comparison, pair[-1], choice.selection(shown.comparison))
        question, asked = fields.asked(token, cells), result.between(*pair)
        busy = begun | {
            "state": "busy",
            "done": 0,
            "of": question.replays(result.comparison.model, len(asked.adapters)),
        }
        stop = session.begin(WORK, result.key)
        yield CardView(busy | {"sentence": "Starting…"}, status_json(self._service), active(True))
        done, told, stage = 0, 0.0, ""
        explained: Explained | None = None
        with closing(
            self._service.explain(
                asked, question, address=address, session=session, of=result.key, about=about, cancelled=stop
            )
        ) as events:
            for event in events:
                if isinstance(event, Explained):
                    explained = event
                    break
                is_new, stage = stage != (now := getattr(event, "stage", "answer")), now
                done += stage == "replays"
                if time.monotonic() - told < OFTEN and not is_new:
                    continue
                told, sentence = time.monotonic(), getattr(event, "sentence", "writing the answer")
                yield CardView(busy | {"sentence": sentence[:1].upper() + sentence[1:], "done": done})
        if explained is not None:  # and the work is over: nothing is left to stop
            yield self._idle(session, begun | {"state": "done", "findings": _found(explained, result)})

    def _idle(self, session: Session, value: Json) -> CardView:
        return CardView(value, status_json(self._service), active(session.runs("analysis") or session.runs(WORK)))


def _measured(comparison: Comparison, choice: Choice) -> int:
    """The token that a question is about: the one that is looked at, if it is the answer's; else see `questioned`.

    Raises:
        SelectionError: several are looked at, or nothing was answered.
    """
    tokens = comparison.recordings[0].tokens
    if isinstance(choice.token, tuple):
        raise SelectionError("A question is about one token; several are looked at.", "Click one word of the answer.")
    if isinstance(choice.token, int) and tokens[choice.token].role in ("answer", "end"):
        return choice.token
    token = questioned(comparison)
    if tokens[token].role not in ("answer", "end"):
        raise SelectionError("A question is about a token of the answer; there is none.", "Ask something else.")
    return token


def _found(explained: Explained, result: Result) -> list[Json]:
    more = further(explained.explanation)
    return findings_json(explained.explanation, result.comparison, about=explained.about, more=more)
