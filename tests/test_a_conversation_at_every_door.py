"""One line of a training set, with tools and several turns, gives the same record by whichever door it comes."""

import base64
import io
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image
from starlette.testclient import TestClient

from inference import Backend, Comparison, Request, Settings, open_backend
from inference.batch.__main__ import main as batch
from inference.messages import read_messages
from inference.serialization import pack_comparison, pack_request, unpack_comparison, unpack_request
from inference.service.exports import Exports
from inference.settings import Limits
from tests.built_page import build_handlers, build_server, build_server_of
from tests.checkpoints import knowing_tools
from tests.conftest import picture
from tests.conversations import IMAGE, WITH_TOOLS, text
from tests.inference.service.events import look, scene
from visualize import report_html, shares_picture
from visualize.numbers.reduce import Selection
from visualize.stacks.groups_json import groups_json
from visualize.stacks.scene import scene_json

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
    *_, done = page.analyze(visitor, image, json.dumps(LINE), "", [], "base", "adapter", 2, 1, [], None)
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


SIZES = ((96, 160), (160, 64), (96, 160), (128, 192))
PICTURES = [picture(*size, seed=seed) for seed, size in enumerate(SIZES)]
SCREENS = {
    "messages": [
        {"role": "user", "content": [IMAGE, text("Then "), IMAGE, text("came.")]},
        {"role": "assistant", "content": "I look."},
        {"role": "user", "content": [IMAGE, text("and now "), IMAGE, text("click the red circle.")]},
    ],
    "tools": TOOLS,
}


OTHER_WAYS = [("form", 0), ("form", 1), ("json", None), ("json", 0)]


@pytest.fixture(scope="module")
def four(engine: Backend) -> Comparison:
    return engine.compare(Request(PICTURES, SCREENS, max_new_tokens=2))


def files(folder: Path) -> list[str]:
    folder.mkdir()
    for index, each in enumerate(PICTURES):
        each.save(folder / f"screen{index}.png")
    return [f"screen{index}.png" for index in range(len(PICTURES))]


@pytest.mark.parametrize(
    ("form", "of_image"),
    [("form", None), ("json", 1), *(pytest.param(*each, marks=pytest.mark.slow) for each in OTHER_WAYS)],
)
def test_four_screenshots_over_http(engine: Backend, four: Comparison, tmp_path: Path, form: str, of_image: int | None):
    contents = [(tmp_path / "in" / name).read_bytes() for name in files(tmp_path / "in")]
    more = {} if of_image is None else {"of_image": of_image}
    with TestClient(build_server(Settings(), lambda: engine)) as client:
        if form == "form":
            sent = {"messages": json.dumps(SCREENS), "max_new_tokens": "2"} | {
                name: str(at) for name, at in more.items()
            }
            answer = client.post("/api/analyze", files=[("image", content) for content in contents], data=sent)
        else:
            images = [base64.b64encode(content).decode() for content in contents]
            body = {"image": images, "messages": SCREENS, "max_new_tokens": 2} | more
            answer = client.post("/api/analyze", json=body)
    assert answer.status_code == 200, answer.text
    got, shown = answer.json(), four.showing(3 if of_image is None else of_image)
    assert got["of_image"] == shown.shown
    assert [each["grid"] for each in got["images"]] == [[3, 5], [5, 2], [3, 5], [4, 6]]
    assert got["image_size"] == list(shown.image_size)
    (entry,) = got["maps"]
    recording, first = shown.recordings[0], next(at for at, each in enumerate(shown.tokens) if each.role == "answer")
    assert np.allclose(entry["heatmap"], recording.by_token[first, entry["layer"]])
    row = four.recordings[0].group_share[first, entry["layer"]].mean(axis=0, dtype=np.float64)
    assert entry["shares"]["image 4"] == pytest.approx(row[0])
    assert entry["shares"]["image 2"] == pytest.approx(row[5])
    assert sum(entry["shares"].values()) == pytest.approx(1, abs=1e-5)


def test_four_screenshots_in_a_batch_are_found_again(engine: Backend, four: Comparison, tmp_path: Path):
    names = files(tmp_path / "in")
    lines = tmp_path / "train.jsonl"
    lines.write_text(json.dumps(SCREENS | {"images": names}) + "\n", encoding="utf-8")
    asked: list[Request] = []

    def compare_many(requests):
        listed = list(requests)
        asked.extend(listed)
        return engine.compare_many(listed)

    staying = SimpleNamespace(
        adapters=engine.adapters, model_info=engine.model_info, compare_many=compare_many, close=lambda: None
    )
    arguments = [str(tmp_path / "in"), "--prompts", str(lines), "--max-new-tokens", "2", "--out", str(tmp_path / "out")]

    def run() -> Comparison:
        assert batch(arguments, {}, open_=lambda settings: staying, stream=io.StringIO()) == 0
        *_, last = sorted((tmp_path / "out").glob("*.npz"), key=lambda path: path.stat().st_mtime_ns)
        return Comparison.load(last)

    saved = run()
    assert np.array_equal(saved.showing(1).recordings[0].by_token, four.showing(1).recordings[0].by_token)
    run()
    assert len(asked) == 1, "it was there"
    picture(*SIZES[2], seed=9).save(tmp_path / "in" / names[2])
    changed = run()
    assert len(asked) == 2, "another third image is another item"
    assert not np.array_equal(changed.images[2].pixels, saved.images[2].pixels)
    (tmp_path / "in" / names[2]).unlink()
    stream = io.StringIO()
    assert batch(arguments, {}, open_=lambda settings: staying, stream=stream) == 1
    assert "no file 'screen2.png'" in (tmp_path / "out" / "summary.csv").read_text()


def test_four_screenshots_on_the_page(
    engine: Backend, four: Comparison, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """The viewer looks at each by the result's ticket with the image's number; what is saved shows what it looks at."""
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path / "uploads"))
    paths = [{"path": str(tmp_path / "uploads" / name)} for name in files(tmp_path / "uploads")]
    page = build_handlers(Settings(limits=Limits(max_images=4)), lambda: engine)
    visitor = SimpleNamespace(session_hash="one", client=SimpleNamespace(host="192.0.2.1"))
    assert page.receive_more(paths[1:], visitor)[1] is None
    sent = [json.dumps(SCREENS), "", [], "base", "adapter", 2, 1, []]
    *_, done = page.analyze(visitor, paths[0], *sent, paths[1:])
    ticket = done.viewer["ticket"]
    for index, size in enumerate(SIZES):
        result = page.service.looked_at(f"{ticket}.{index}")
        assert result.changes is page.service.looked_at(ticket).changes, "found once for all who look"
        shown = scene_json(result.comparison)
        assert scene_json(result.comparison, find_changes=result.changes) == shown
        assert (shown["images"], shown["shown"], shown["image_size"]) == (4, index, list(size))
        images = [run["pieces"] for run in shown["before"] if run["role"] == "image"]
        assert images == [["image 1"], ["image 2"], ["image 3"]], "the last one ends what comes before"
        ours, theirs = result.comparison.recordings[0], four.showing(index).recordings[0]
        assert np.array_equal(ours.by_token, theirs.by_token)
        groups = groups_json(result.comparison, [Selection(0, "focus")], [None])
        assert groups["names"][0] == f"image {index + 1}"
        assert sum(groups["values"]["base"][0]) == pytest.approx(1, abs=1e-3)
        at = {"choice": shown["opening"], "image": index}
        for save in ("numbers", "picture"):
            saved, refused = getattr(Exports(page.service), save)(done.key, at, visitor)
            assert refused is None, refused
        saved, _ = Exports(page.service).numbers(done.key, at, visitor)
        (tmp_path / "saved.npz").write_bytes(base64.b64decode(saved["source"].partition(",")[2]))
        assert Comparison.load(tmp_path / "saved.npz").shown == index
    assert page.service.looked_at(ticket).comparison.shown == 3
    *_, recorded = page.record(done.key, {"choice": shown["opening"] | {"token": 0, "head": 1}, "image": 1}, visitor)
    assert recorded.viewer["focus"] == [0, 0]
    heads = page.service.looked_at(f"{ticket}.1", (0,)).comparison.recordings[0]
    alone = engine.compare(
        Request(PICTURES, SCREENS, answer=four.recordings[0].answer_ids, focus=(0,), max_new_tokens=2)
    )
    assert np.array_equal(heads.by_head, alone.showing(1).recordings[0].by_head)
    with TestClient(build_server_of(page.service)) as client:
        sides = {}
        for name in (ticket, f"{ticket}.0", f"{ticket}.3"):
            sides[name] = Image.open(io.BytesIO(client.get(f"/visits/{name}/photo").content)).size
        assert sides == {ticket: (192, 128), f"{ticket}.0": (160, 96), f"{ticket}.3": (192, 128)}
        assert client.get(f"/visits/{ticket}.0/cards").json() == []
        for wrong in ("4", "99", "-1", "x", "1.1"):
            assert client.get(f"/visits/{ticket}.{wrong}/scene").status_code in (404, 422), wrong
    *_, refused = page.analyze(visitor, paths[0], *sent, paths[1:] * 2)
    assert "7 images were sent; the limit is 4" in refused.notice["sentence"]
    *_, refused = page.analyze(visitor, paths[0], *sent, [{"path": "/etc/passwd"}] * 3)
    assert "no longer here" in refused.notice["sentence"]


def test_too_many_images_and_one_that_is_not_there_are_refused_at_http(engine: Backend, tmp_path: Path):
    contents = [(tmp_path / "in" / name).read_bytes() for name in files(tmp_path / "in")]
    limits = Limits(max_images=3)
    with TestClient(build_server(Settings(limits=limits), lambda: engine)) as client:
        images = [base64.b64encode(content).decode() for content in contents]
        for fields, said in (
            ({"image": images}, "4 images were sent; the limit is 3"),
            ({"image": images[:3], "messages": SCREENS}, "places for images: 4; images that came: 3"),
            ({"image": images[:2], "of_image": 2}, "There is no image 2; there are images 0–1"),
            ({"image": []}, "at least one picture"),
        ):
            answer = client.post("/api/analyze", json=fields)
            assert 400 <= answer.status_code < 500
            assert said in answer.json()["error"]["message"]
        form = client.post("/api/analyze", files=[("image", content) for content in contents], data={"prompt": "x"})
        assert 400 <= form.status_code < 500


def test_a_report_and_the_picture_of_shares_are_of_the_image_that_is_shown(four: Comparison):
    for index, (height, width) in enumerate(SIZES):
        shown = four.showing(index)
        assert f"image {index + 1} of 4: photo of {width} × {height}" in report_html(shown)
        assert shares_picture(shown).mode == "RGB"  # a colour for each of seven groups


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
        (LINE | {"images": ["a.png", "b.png"]}, "2 images are named; the conversation has places for 1"),
        (LINE | {"images": ["../a.png"]}, "a file within the images' folder"),
    ):
        (tmp_path / "lines.jsonl").write_text(json.dumps(line) + "\n", encoding="utf-8")
        stream = io.StringIO()
        arguments = [str(tmp_path / "in"), "--prompts", str(tmp_path / "lines.jsonl"), "--out", str(tmp_path / "out")]
        assert batch(arguments, {}, open_=lambda settings: engine, stream=stream) == 2
        assert f"lines.jsonl, line 1: {words}"[:20] in stream.getvalue()
        assert words in stream.getvalue()
