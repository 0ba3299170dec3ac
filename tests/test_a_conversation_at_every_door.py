"""One line of a training set, with tools and several turns, gives the same record by whichever door it comes."""

import base64
import io
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from starlette.testclient import TestClient

from inference import Backend, Comparison, Request, Settings, open_backend
from inference.batch.__main__ import main as batch
from inference.messages import read_messages
from inference.serialization import pack_comparison, pack_request, unpack_comparison, unpack_request
from inference.service.exports import Exports
from tests.built_page import build_handlers, build_server
from tests.checkpoints import knowing_tools
from tests.conftest import picture
from tests.conversations import WITH_TOOLS
from tests.inference.service.events import look, scene
from visualize import report_html

_, MESSAGES, TOOLS = WITH_TOOLS[2]
LINE = {"messages": MESSAGES, "tools": TOOLS}
PROMPT = read_messages(LINE)
NOTE = "The prompt is a conversation: system, 2 tools, 4 turns, 1 image."


@pytest.fixture(scope="module")
def engine(dense: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Backend]:
    folder = knowing_tools(dense, tmp_path_factory.mktemp("tools") / "checkpoint")
    backend = open_backend("local", model=str(folder), device="cpu")
    yield backend
    backend.close()


@pytest.fixture(scope="module")
def expected(engine: Backend) -> Comparison:
    return engine.compare(Request(picture(96, 160), LINE, max_new_tokens=2))


def photo() -> bytes:
    buffer = io.BytesIO()
    picture(96, 160).save(buffer, "PNG")
    return buffer.getvalue()


def through_the_page(engine: Backend, folder: Path) -> Comparison:
    page = build_handlers(Settings(), lambda: engine)
    visitor = SimpleNamespace(session_hash="one", client=SimpleNamespace(host="192.0.2.1"))
    (folder / "uploads").mkdir(exist_ok=True)
    (folder / "uploads" / "photo.png").write_bytes(photo())
    image = {"path": str(folder / "uploads" / "photo.png")}
    *_, done = page.analyze(visitor, image, json.dumps(LINE), "", [], "base", "adapter", 2, 1, [])
    shown = scene(page, done)
    words = ["".join(run["pieces"]) for run in shown["before"] if run["role"] == "prompt"]
    assert words[0] == "Youclick."  # a label is a token's text without the spaces at its ends
    assert words[1].replace("␣", "").startswith('{"type":"function","function":{"name":"computer_use"')
    assert NOTE in shown["warnings"]
    saved, _ = Exports(page.service).numbers(done.key, look(page, done), visitor)
    path = folder / "saved.npz"
    path.write_bytes(base64.b64decode(saved["source"].partition(",")[2]))
    return Comparison.load(path)


def through_a_batch(engine: Backend, folder: Path) -> Comparison:
    (folder / "in").mkdir()
    (folder / "in" / "photo.png").write_bytes(photo())
    (folder / "in" / "other.png").write_bytes(photo())
    lines = folder / "train.jsonl"
    lines.write_text(json.dumps(LINE | {"images": ["photo.png"], "source": "a training set"}) + "\n", encoding="utf-8")
    arguments = [str(folder / "in"), "--prompts", str(lines), "--max-new-tokens", "2", "--out", str(folder / "out")]
    staying = SimpleNamespace(
        adapters=engine.adapters,
        model_info=engine.model_info,
        compare_many=engine.compare_many,
        close=lambda: None,
    )
    assert batch(arguments, {}, open_=lambda settings: staying, stream=io.StringIO()) == 0
    (saved,) = (folder / "out").glob("*.npz")
    return Comparison.load(saved)


def through_the_wire(engine: Backend, folder: Path) -> Comparison:
    request = Request(picture(96, 160), LINE, max_new_tokens=2)
    answered = engine.compare(unpack_request(pack_request(request)))
    return unpack_comparison(pack_comparison(answered, float32=True), request.image.pixels)


@pytest.mark.parametrize("door", [through_the_page, through_a_batch, through_the_wire])
def test_the_record_is_the_same(
    engine: Backend,
    expected: Comparison,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    door: Callable[[Backend, Path], Comparison],
):
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path / "uploads"))
    comparison = door(engine, tmp_path)
    assert comparison.prompt == PROMPT
    assert comparison.system is None
    assert comparison.before == expected.before
    assert comparison.tokens == expected.tokens
    assert NOTE in comparison.notes
    assert np.array_equal(comparison.recordings[0].by_token, expected.recordings[0].by_token)


@pytest.mark.parametrize("form", ["text", "json"])
def test_the_answer_over_http_is_the_same(engine: Backend, expected: Comparison, form: str):
    with TestClient(build_server(Settings(), lambda: engine)) as client:
        if form == "text":
            sent = {"messages": json.dumps(LINE), "max_new_tokens": "2"}
            answer = client.post("/api/analyze", files={"image": photo()}, data=sent)
        else:
            body = {"image": base64.b64encode(photo()).decode(), "messages": LINE, "max_new_tokens": 2}
            answer = client.post("/api/analyze", json=body)
    assert answer.status_code == 200, answer.text
    assert NOTE in answer.json()["notes"]
    assert [token["text"] for token in answer.json()["tokens"]] == [token.text for token in expected.tokens]


def test_a_report_says_the_last_words_and_what_else_was_said(expected: Comparison):
    assert "Prompt: “Twice. (system, 2 tools, 4 turns, 1 image)”" in report_html(expected)


def test_a_model_whose_template_knows_no_tools_says_so():
    backend = open_backend("local", model="demo", device="cpu")
    with TestClient(build_server(Settings(), lambda: backend)) as client:
        answer = client.post("/api/analyze", files={"image": photo()}, data={"messages": json.dumps(LINE)})
    backend.close()
    assert answer.status_code == 422
    assert "shows no tools" in answer.json()["error"]["message"]


def test_messages_that_are_wrong_are_refused_at_the_doors(engine: Backend, tmp_path: Path):
    page = build_handlers(Settings(), lambda: engine)
    assert page.understood("What?") is None
    assert page.understood(json.dumps(LINE)) == [NOTE]
    assert "not JSON from line 1" in page.understood('[{"role": "user"')[0]
    with TestClient(build_server(Settings(), lambda: engine)) as client:
        image = base64.b64encode(photo()).decode()
        for fields, said in (
            ({"messages": []}, "must be a list of turns"),
            ({"messages": LINE, "prompt": "What?"}, "There are a prompt and messages"),
            ({"messages": LINE, "system": "Be brief."}, "brings its own system text"),
        ):
            answer = client.post("/api/analyze", json={"image": image} | fields)
            assert answer.status_code == 422
            assert answer.json()["error"]["code"] == "invalid_prompt"
            assert said in answer.json()["error"]["message"]
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "photo.png").write_bytes(photo())
    for line, words in (
        ({"messages": []}, "must be a list of turns"),
        (LINE | {"prompt": "What?"}, "a prompt and a conversation"),
        (LINE | {"images": ["a.png", "b.png"]}, "2 images are named"),
        (LINE | {"images": ["../a.png"]}, "a file within the images' folder"),
    ):
        (tmp_path / "lines.jsonl").write_text(json.dumps(line) + "\n", encoding="utf-8")
        stream = io.StringIO()
        arguments = [str(tmp_path / "in"), "--prompts", str(tmp_path / "lines.jsonl"), "--out", str(tmp_path / "out")]
        assert batch(arguments, {}, open_=lambda settings: engine, stream=stream) == 2
        assert f"lines.jsonl, line 1: {words}"[:20] in stream.getvalue()
        assert words in stream.getvalue()
