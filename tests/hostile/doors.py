"""The doors that a picture comes in by, and what each says of it: our routes, and Gradio's upload and queue.

An outcome is an analysis, or a refusal in a sentence of ours; anything else is a `Fault`. It knows no corpus.
"""

import base64
import html
import json
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import httpx

#: Codes of the refusals that a picture may meet; `internal_error`, say, is none.
CODES = frozenset(
    {
        *("not_an_image", "image_too_large", "image_too_thin", "image_structure", "invalid_image"),
        *("bad_request", "invalid_input", "too_many_requests"),
    }
)
#: Words that a sentence of ours about a picture has, where only the sentence is told.
_OURS = ("image", "photo", "picture", "pixels")
_NEVER = (
    "Traceback",
    "site-packages",
    "/root/",
    "/tmp/",
    'File "',
    "object at 0x",
    "internal_error",
    "inside the tool",
)


class Fault(AssertionError):  # noqa: N818 - a verdict, which pytest shows
    """Neither an analysis nor a refusal of ours."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a door said.

    Attributes:
        analysed: whether there is an answer.
        words: the refusal's code and sentence, or "".
        seconds: how long it took.
    """

    analysed: bool
    words: str
    seconds: float


class Doors:
    """Every door of one server; each takes the bytes of a picture.

    Args:
        address: of the server.
        patience: seconds after which silence is a fault.
    """

    def __init__(self, address: str, patience: float) -> None:
        self._client = httpx.Client(base_url=address, timeout=patience, headers={"accept": "application/json"})
        events = self._client.get("/config").json()["dependencies"]
        named = {event["api_name"]: event["id"] for event in events if event["api_name"]}
        photo = next(
            part["id"] for part in self._client.get("/config").json()["components"]
            if part["props"].get("elem_id") == "photo"
        )  # fmt: skip
        self._receive = next(
            event["id"] for event in events if [photo, "input"] in event["targets"] and event["inputs"]
        )
        self._analyze = named["analyze"]
        #: HTTP first, then Gradio, by turns.
        self.http: tuple[Callable[[bytes], Outcome], ...] = (self.form, self.base64, self.raw)
        self.gradio: tuple[Callable[[bytes], Outcome], ...] = (self.page, self.endpoint)

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def form(self, content: bytes) -> Outcome:
        """`/api/analyze`, as a browser's form or curl sends it."""
        return self._route(files={"image": ("photo", content)}, data={"prompt": "What?"})

    def base64(self, content: bytes) -> Outcome:
        """`/api/analyze`, base64 in JSON."""
        return self._route(json={"image": base64.b64encode(content).decode(), "prompt": "What?"})

    def raw(self, content: bytes) -> Outcome:
        """`/api/analyze`, the bytes as the body, which is no form: it must be refused."""
        outcome = self._route(content=content, headers={"content-type": "image/png"})
        if outcome.analysed or not outcome.words.startswith("bad_request"):
            raise Fault(f"a raw body was taken: {outcome}")
        return outcome

    def page(self, content: bytes) -> Outcome:
        """Gradio's upload, then the page's own event that looks at a picture as soon as it is there."""
        begun, sent = time.monotonic(), self._upload(content)
        done = self._event(self._receive, [sent])
        if not done["success"]:
            raise Fault(f"the page's event failed: {done['output']}")
        taken_away, notice = done["output"]["data"]
        analysed = taken_away is not None and (notice is None or notice.get("kind") != "error")
        words = "" if analysed else _checked(" ".join(map(str, (notice or {}).values())))
        return Outcome(analysed, words, time.monotonic() - begun)

    def endpoint(self, content: bytes) -> Outcome:
        """Gradio's upload, then the named endpoint, as `gradio_client` calls it."""
        begun, sent = time.monotonic(), self._upload(content)
        usual = ["What?", ["base"], None, "mean", "", "raw", False, "", "", 32, 1.0, "", "", None]
        done = self._event(self._analyze, [sent, *usual])
        if done["success"]:
            _check_answer(done["output"]["data"][0])
            return Outcome(True, "", time.monotonic() - begun)
        return Outcome(False, _checked(html.unescape(str(done["output"].get("error")))), time.monotonic() - begun)

    def _route(self, **sent: Any) -> Outcome:
        begun = time.monotonic()
        try:
            answer = self._client.post("/api/analyze", **sent)
        except httpx.HTTPError as error:
            raise Fault(f"no answer: {type(error).__name__}: {error}") from error
        seconds = time.monotonic() - begun
        if answer.status_code == 200:
            _check_answer(answer.json())
            return Outcome(True, "", seconds)
        try:
            found = answer.json()["error"]
        except (ValueError, LookupError, TypeError) as error:
            raise Fault(f"status {answer.status_code}, body {answer.text[:200]!r}") from error
        if not 400 <= answer.status_code < 500 or found["code"] not in CODES:
            raise Fault(f"status {answer.status_code}, {found}")
        return Outcome(False, f"{found['code']} {_checked(found['message'])}", seconds)

    def _upload(self, content: bytes) -> dict[str, Any]:
        try:
            answer = self._client.post("/gradio_api/upload", files={"files": ("photo.png", content, "image/png")})
        except httpx.HTTPError as error:
            raise Fault(f"no answer: {type(error).__name__}: {error}") from error
        if answer.status_code != 200:
            raise Fault(f"Gradio's upload answered {answer.status_code}")
        (path,) = answer.json()
        return {"path": path, "meta": {"_type": "gradio.FileData"}, "orig_name": "photo.png"}

    def _event(self, number: int, values: list[Any]) -> dict[str, Any]:
        """The last word of one event's stream."""
        session = secrets.token_hex(8)
        body = {"data": values, "fn_index": number, "session_hash": session}
        try:
            self._client.post("/gradio_api/queue/join", json=body).raise_for_status()
            with self._client.stream("GET", "/gradio_api/queue/data", params={"session_hash": session}) as lines:
                for line in lines.iter_lines():
                    said = json.loads(line[5:]) if line.startswith("data:") else {}
                    if said.get("msg") == "process_completed":
                        return dict(said)
        except httpx.HTTPError as error:
            raise Fault(f"no answer: {type(error).__name__}: {error}") from error
        raise Fault("the stream ended without an answer")


def _check_answer(answer: Any) -> None:
    (only,) = answer["maps"]
    rows = only["heatmap"]
    if [len(rows), len(rows[0])] != answer["grid"] or min(answer["image_size"]) < 1:
        raise Fault(f"an answer that is none: {answer['grid']}, {answer['image_size']}")


def _checked(sentence: str) -> str:
    if not any(word in sentence.lower() for word in _OURS) or any(word in sentence for word in _NEVER):
        raise Fault(f"no sentence of ours: {sentence[:300]!r}")
    return sentence
