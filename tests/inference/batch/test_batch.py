"""Many images at once: nothing twice, nothing lost, one bad item is one bad item, and numbers with a second route."""

import gc
import io
import os
import re
import signal
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from inference import Comparison, Request
from inference.batch.__main__ import main
from inference.batch.answers import Answers, only_run, write_summary
from inference.batch.items import items_of, list_images, read_lines, safe_stem
from inference.batch.progress import ProgressBar
from inference.batch.run import ENOUGH, UNSAVED
from inference.demo import ADAPTERS_DIR
from inference.errors import (
    CancelledError,
    ModelLoadError,
    ResultSizeError,
    SelectionError,
    UnreachableError,
    VisualizerError,
)
from tests import ROOT
from tests.conftest import picture
from tests.inference.batch.conftest import (
    batch,
    check_equal,
    divergence_in_bits,
    normalised,
    numbered,
    photos,
    prompts,
    scenes,
    states,
    summary,
    table,
)
from tests.scripted_backend import ScriptedBackend, adapter

# compare_many


def test_many_requests_are_answered_lazily_each_with_its_index(embedded):
    read: list[int] = []

    def requests():
        for index in range(100):
            read.append(index)
            yield Request(picture(64, 96, seed=index), f"Question {index}?", max_new_tokens=1)

    answers = embedded.compare_many(requests())
    assert read == []
    got = dict(next(answers) for _ in range(3))
    assert sorted(got) == [0, 1, 2]
    assert all(isinstance(each, Comparison) and each.prompt == f"Question {index}?" for index, each in got.items())
    answers.close()
    assert len(read) <= 4


def test_a_request_that_fails_gives_its_error_in_its_place(embedded):
    fine = Request(picture(64, 96), "What is it?", max_new_tokens=1)
    wrong = Request(picture(64, 96), "What is it?", max_new_tokens=1, adapters=("nobody",))
    outcomes = dict(embedded.compare_many([fine, wrong, fine]))
    assert [type(outcomes[index]) for index in (0, 2)] == [Comparison, Comparison]
    assert isinstance(outcomes[1], VisualizerError)
    assert outcomes[1].code == "unknown_adapter"


def test_a_bug_is_not_taken_for_an_answer(embedded, monkeypatch):
    def broken(*arguments):
        raise ZeroDivisionError

    monkeypatch.setattr(embedded._engine, "compare", broken)
    with pytest.raises(ZeroDivisionError):
        list(embedded.compare_many([Request(picture(64, 96), "What?")]))


# the command


def test_every_image_is_asked_every_prompt_with_every_variant(tmp_path):
    images, out = photos(tmp_path / "in", 31), tmp_path / "out"
    backend = ScriptedBackend()
    lines = prompts(
        tmp_path / "prompts.jsonl",
        {"prompt": "What is here?", "id": "what"},
        {"prompt": "Where?", "system": "Be brief.", "id": 7},
        {"prompt": "Only here", "image": "photo03.png", "answer": "there"},
    )
    asked = (images, "--prompts", lines, "--adapter", "find-red", "--adapter", "silent", "--out", out)
    code, said = batch(*asked, "--vision-tower", "--max-new-tokens", 5, backend=backend)
    assert code == 0
    assert "31 images, 3 prompts: 63 items, each asked of base, find-red, silent." in said
    assert "63 of 63 items are there, 0 failed" in said
    assert len(backend.requests) == 63
    assert all(each.vision_tower and each.max_new_tokens == 5 for each in backend.requests)
    rows = summary(out)
    assert [row["item"] for row in rows] == [item for item in range(1, 64) for _ in range(3)]
    assert [row["adapter"] for row in rows[:3]] == ["base", "find-red", "silent"]
    assert {(row["image"], row["id"]) for row in rows} == {
        *((f"photo{index:02d}.png", label) for index in range(31) for label in ("what", "7")),
        ("photo03.png", ""),
    }
    for row in rows:
        comparison = Comparison.load(out / row["file"])
        assert comparison.prompt == row["prompt"]
        assert np.array_equal(comparison.image, np.asarray(Image.open(images / row["image"])))
    assert [row["answer"] for row in rows if row["prompt"] == "Only here"] == [None] * 3
    assert [{key: value or "" for key, value in row.items()} for row in table(out)] == [
        {key: "" if value is None else str(value) for key, value in row.items()} for row in rows
    ]


def test_running_again_computes_nothing_and_says_the_same(tmp_path):
    images, out = photos(tmp_path / "in", 6), tmp_path / "out"
    asked = (images, "--prompt", "What?", "--adapter", "find-red", "--out", out)
    assert batch(*asked)[0] == 0
    before, rows = states(out), summary(out)
    for _ in range(2):
        backend = ScriptedBackend()
        code, said = batch(*asked, backend=backend)
        assert (code, backend.requests) == (0, [])
        assert "6 already done, 0 to do." in said
        assert states(out) == before
        assert summary(out) == rows
        (out / ".measured.jsonl").unlink()  # the notes are a convenience: the files say all of it


def test_what_an_answer_depends_on_makes_another_item(tmp_path, monkeypatch):
    images, out = photos(tmp_path / "in", 2), tmp_path / "out"
    copy = tmp_path / "copy"
    copy.mkdir()
    for file in (ADAPTERS_DIR / "find-red").iterdir():
        (copy / file.name).write_bytes(file.read_bytes())

    def asks(*more: object, prompt: str = "What?") -> int:
        backend = ScriptedBackend()
        assert batch(images, "--prompt", prompt, "--out", out, *more, backend=backend)[0] == 0
        return len(backend.requests)

    assert asks() == 2
    assert asks() == 0
    assert asks(prompt="Where?") == 2
    assert asks("--adapter", "find-red") == 2
    assert asks("--adapter", "find-red", "--adapter", "silent") == 2
    assert asks("--adapter", "find-red", "--no-base") == 2
    assert asks("--max-new-tokens", 3) == 2
    assert asks("--vision-tower") == 2
    assert asks("--max-image-tokens", 99) == 2
    assert asks("--attention", "rows") == 2
    assert asks("--model", ROOT / "inference/demo/weights/model") == 2
    assert asks("--adapter", f"find-red={copy}") == 0  # the same files, wherever they lie
    (copy / "adapter_config.json").write_text((copy / "adapter_config.json").read_text() + "\n")
    assert asks("--adapter", f"find-red={copy}") == 2
    picture(64, 96, seed=99).save(images / "photo01.png")
    assert asks() == 1
    assert asks("--device", "cpu") == 0


def test_an_adapter_uploaded_anew_under_its_name_is_asked_again(tmp_path):
    """Its files are elsewhere and cannot be read: the stamp that comes with the list tells."""
    images, out = photos(tmp_path / "in", 2), tmp_path / "out"

    def asks(stamp: str) -> int:
        backend = ScriptedBackend()
        backend.adapters = lambda: (replace(adapter("find-red"), stamp=stamp),)
        arguments = ["--prompt", "What?", "--adapter", "find-red", "--backend", "modal", "--out", out]
        assert batch(images, *arguments, backend=backend)[0] == 0
        return len(backend.requests)

    assert [asks("a"), asks("a"), asks("b"), asks("b")] == [2, 0, 2, 0]


def test_a_file_that_does_not_load_is_made_again_and_only_that(tmp_path):
    images, out = photos(tmp_path / "in", 5), tmp_path / "out"
    asked = (images, "--prompt", "What?", "--out", out)
    batch(*asked)
    before = states(out)
    cut, flipped, *_ = sorted(before)
    (out / cut).write_bytes(before[cut][1][:-100])
    content = bytearray(before[flipped][1])
    content[len(content) // 2] ^= 0xFF
    (out / flipped).write_bytes(content)
    (out / f".{cut}.part").write_bytes(b"half")
    backend = ScriptedBackend()
    assert batch(*asked, backend=backend)[0] == 0
    assert len(backend.requests) == 2
    after = states(out)
    assert [name for name in after if after[name] != before[name]] != []
    assert {name for name in after if after[name][0] != before[name][0]} == {cut, flipped}
    assert all(Comparison.load(out / name).prompt == "What?" for name in after)
    assert not list(out.glob(".*.part"))


def test_the_same_image_and_words_are_answered_once(tmp_path):
    images, out = photos(tmp_path / "in", 2), tmp_path / "out"
    (images / "sub").mkdir()
    (images / "sub" / "photo00.png").write_bytes((images / "photo00.png").read_bytes())
    backend = ScriptedBackend()
    lines = prompts(tmp_path / "p", {"prompt": "What?", "id": "a"}, {"prompt": "What?", "id": "b"})
    code, said = batch(images, "--prompts", lines, "--out", out, backend=backend)
    assert (code, len(backend.requests)) == (0, 2)
    assert "6 of 6 items" in said
    assert len({row["file"] for row in summary(out)}) == 2
    backend = ScriptedBackend(fail=SelectionError("no"))
    assert batch(images, "--prompts", lines, "--out", tmp_path / "other", backend=backend)[0] == 1
    assert [row["error"] for row in summary(tmp_path / "other")] == ["invalid_selection"] * 6


@pytest.mark.slow
def test_memory_does_not_grow_with_the_number_of_images(tmp_path, monkeypatch):
    """The scripted backend takes two requests at a time, and few answers may wait to be saved, however slow that is."""
    images = photos(tmp_path / "in", 20)
    alive: list[int] = []
    kept: list[str] = []
    keep = Answers.keep
    kinds = (Request, Comparison)
    before = {id(each): each for each in gc.get_objects() if type(each) in kinds}  # what other tests hold

    def counting(self, name, comparison, boxes):
        time.sleep(0.02)
        kept.append(name)
        if len(kept) % 5 == 0:  # it looks at everything that Python holds
            found = [type(each) for each in gc.get_objects() if type(each) in kinds and id(each) not in before]
            alive.append(max(found.count(kind) for kind in kinds))
        keep(self, name, comparison, boxes)

    monkeypatch.setattr(Answers, "keep", counting)
    backend = ScriptedBackend()
    backend.requests = _Forgetful()
    gc.collect()
    assert batch(images, "--prompt", "What?", "--out", tmp_path / "out", backend=backend)[0] == 0
    assert len(kept) == 5 * len(alive) == 20
    assert max(alive) <= UNSAVED + 4  # one in the engine's hand, one as it came, one with the photo's notes, one asked


class _Forgetful(list):
    def append(self, value):
        pass


def test_the_engine_does_not_wait_for_the_disk_but_is_never_far_ahead(tmp_path, monkeypatch):
    images, out = numbered(tmp_path / "in", 12), tmp_path / "out"
    far_ahead, keep = threading.Event(), Answers.keep
    ahead: list[int] = []

    class Watching(ScriptedBackend):
        def compare(self, request):
            ahead.append(len(self.requests) - len(list(out.glob("*.npz"))))
            if len(ahead) > UNSAVED:
                far_ahead.set()
            return super().compare(request)

    def waiting(self, name, comparison, boxes):
        assert far_ahead.wait(60)
        keep(self, name, comparison, boxes)

    monkeypatch.setattr(Answers, "keep", waiting)
    assert batch(images, "--prompt", "What?", "--out", out, backend=Watching())[0] == 0
    assert ahead[: UNSAVED + 1] == [*range(UNSAVED + 1)]
    assert max(ahead) == UNSAVED
    assert len(states(out)) == 12


# what goes wrong


def test_one_bad_item_is_one_bad_item_and_is_tried_again(tmp_path):
    images, out = photos(tmp_path / "in", 4), tmp_path / "out"
    (images / "photo01.png").write_bytes(b"no image at all")
    (images / "photo02.png").write_bytes((images / "photo02.png").read_bytes()[:200])
    picture(1, 400).save(images / "thin.png")
    os.mkfifo(images / "pipe.png")
    lines = prompts(tmp_path / "p", {"prompt": "What?"}, {"prompt": "Where?", "image": "sub/missing.png"})
    asked = (images, "--prompts", lines, "--adapter", "find-red", "--out", out)
    code, said = batch(*asked)
    assert code == 1
    assert "2 of 7 items are there, 5 failed" in said
    errors = {row["image"]: row["error"] for row in summary(out) if row["adapter"] == "find-red"}
    assert errors == {
        "photo00.png": None,
        "photo01.png": "not_an_image",
        "photo02.png": "not_an_image",
        "photo03.png": None,
        "pipe.png": "invalid_image",
        "thin.png": "image_too_thin",
        "sub/missing.png": "invalid_image",
    }
    for row in summary(out):
        assert (row["error"] is None) == (row["message"] is None) == (row["file"] is not None)
    (images / "sub").mkdir()
    picture(64, 96, seed=50).save(images / "sub" / "missing.png")
    picture(64, 96, seed=51).save(images / "photo01.png")
    backend = ScriptedBackend()
    code, said = batch(*asked, backend=backend)
    assert code == 1
    assert sorted(each.prompt for each in backend.requests) == ["What?", "What?", "Where?"]  # sub/missing.png has both
    assert "5 of 8 items are there, 3 failed" in said


class Failing(ScriptedBackend):
    """Fails where the photo's number (its red corner) is in `errors`."""

    def __init__(self, errors: dict[int, Exception]) -> None:
        super().__init__()
        self.errors = errors

    def stream(self, request):
        error = self.errors.get(int(request.image.pixels[0, 0, 0]))
        if error is not None:
            raise error
        yield from super().stream(request)


def test_a_bug_costs_the_items_under_way_and_the_rest_goes_on(tmp_path, caplog):
    images, out = numbered(tmp_path / "in", 12), tmp_path / "out"
    code, said = batch(images, "--prompt", "What?", "--out", out, backend=Failing({4: ZeroDivisionError("oh")}))
    assert code == 1
    assert "ZeroDivisionError" in caplog.text
    failed = [row["image"] for row in summary(out) if row["error"]]
    assert "004.png" in failed
    assert len(failed) <= 2  # the scripted backend has two under way
    assert {row["error"] for row in summary(out)} == {None, "internal_error"}
    assert f"{12 - len(failed)} of 12 items are there, {len(failed)} failed" in said


@pytest.mark.parametrize(
    "error",
    [
        UnreachableError("Modal does not answer.", "Try later."),
        CancelledError("The app was stopped on Modal.", "Try again."),
        ModelLoadError("The model cannot be loaded."),
    ],
)
def test_when_the_engine_is_gone_the_run_stops_and_says_so(error, tmp_path):
    images, out = numbered(tmp_path / "in", 40), tmp_path / "out"
    gone = dict.fromkeys(range(10, 40), error)
    code, said = batch(images, "--prompt", "What?", "--out", out, backend=Failing(gone))
    assert code == 2
    assert f"Stopped, since it cannot go on: {error}" in said
    assert f"10 of 40 items are there, {ENOUGH} failed" in said


def test_items_that_are_too_large_are_not_the_engines_fault(tmp_path):
    images, out = numbered(tmp_path / "in", 40), tmp_path / "out"
    too_large = dict.fromkeys(range(40), ResultSizeError("Too large."))
    code, said = batch(images, "--prompt", "Where?", "--out", out, backend=Failing(too_large))
    assert (code, "0 of 40 items are there, 40 failed" in said) == (1, True)  # the items' own fault


def test_a_full_disk_stops_with_one_line_and_leaves_no_half_file(tmp_path, monkeypatch):
    images, out = numbered(tmp_path / "in", 3), tmp_path / "out"

    def full(self, path):
        Path(path).write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Comparison, "save", full)
    code, said = batch(images, "--prompt", "What?", "--out", out)
    assert code == 2
    assert "No space left on device" in said
    assert "Traceback" not in said
    assert not list(out.glob("*.npz"))
    assert not list(out.glob(".*.part"))


def test_a_bug_in_saving_costs_one_item_unless_it_is_every_items(tmp_path, monkeypatch, caplog):
    images = numbered(tmp_path / "in", 20)
    save, bad = Comparison.save, {3}

    def sometimes(self, path):
        if self.image[0, 0, 0] in bad:
            raise ZeroDivisionError("oh")
        save(self, path)

    monkeypatch.setattr(Comparison, "save", sometimes)
    code, said = batch(images, "--prompt", "What?", "--out", tmp_path / "out")
    assert (code, "19 of 20 items are there, 1 failed" in said) == (1, True)
    assert [row["image"] for row in summary(tmp_path / "out") if row["error"]] == ["003.png"]
    assert "ZeroDivisionError" in caplog.text
    bad.update(range(20))
    code, said = batch(images, "--prompt", "What?", "--out", tmp_path / "other")
    assert (code, f"0 of 20 items are there, {ENOUGH} failed" in said) == (2, True)


def test_an_answer_of_another_version_is_not_saved(tmp_path):
    images, out = numbered(tmp_path / "in", 3), tmp_path / "out"

    class Older(ScriptedBackend):
        def compare(self, request):
            answer = super().compare(request)
            return replace(answer, model=replace(answer.model, version="0.0.1"))

    code, said = batch(images, "--prompt", "What?", "--out", out, backend=Older())
    assert code == 1
    assert "Version 0.0.1 of this tool answered" in said
    assert {row["error"] for row in summary(out)} == {"backend_version"}
    assert not list(out.glob("*.npz"))


def test_ctrl_c_saves_what_came_before_it(tmp_path, monkeypatch):
    images, out = numbered(tmp_path / "in", 4), tmp_path / "out"
    saved, keep = [], Answers.keep

    def slowly(self, name, comparison, boxes):
        time.sleep(0.3)
        keep(self, name, comparison, boxes)
        saved.append(name)

    monkeypatch.setattr(Answers, "keep", slowly)
    code, said = batch(images, "--prompt", "What?", "--out", out, backend=Failing({2: KeyboardInterrupt()}))
    assert code == 130
    assert len(saved) == len(states(out)) >= 2
    assert f"{len(saved)} of 4 items are there, 0 failed" in said
    assert len(summary(out)) == len(saved)


def test_ctrl_c_says_what_is_done_and_how_to_go_on(tmp_path):
    images, out = numbered(tmp_path / "in", 10), tmp_path / "out"
    asked = (images, "--prompt", "What?", "--out", out)
    code, said = batch(*asked, backend=Failing({6: KeyboardInterrupt()}))
    assert code == 130
    done = len(list(out.glob("*.npz")))
    assert 5 <= done <= 7
    assert f"{done} of 10 items are there, 0 failed" in said
    assert "The same command again goes on" in said
    assert len(summary(out)) == done
    backend = ScriptedBackend()
    assert batch(*asked, backend=backend)[0] == 0
    assert len(backend.requests) == 10 - done


def test_a_second_run_keeps_out(tmp_path):
    images, out = numbered(tmp_path / "in", 1), tmp_path / "out"
    with only_run(out):
        code, said = batch(images, "--prompt", "What?", "--out", out)
    assert code == 2
    assert "Another run is writing" in said
    assert batch(images, "--prompt", "What?", "--out", out)[0] == 0


@pytest.mark.parametrize(
    ("lines", "words"),
    [
        (b'{"prompt": "a"}\n\n{"prompt": oops}\n', "line 3: this is not JSON"),
        (b'["a"]\n', "line 1: expected a JSON object; got list"),
        (b'{"prompt": "a", "promt": "b"}', "line 1: unknown key 'promt'"),
        (b'{"image": "photo00.png"}', "line 1: there is no prompt"),
        (b'{"prompt": 3}', "line 1: prompt must be text; got 3."),
        (b'{"prompt": "  "}', "line 1: The prompt is empty"),
        (b'{"prompt": "a", "answer": ""}', "line 1: answer is empty"),
        (b'{"prompt": "a", "image": "../secret.png"}', "line 1: image must name a file within"),
        (b'{"prompt": "a", "image": "/etc/passwd"}', "line 1: image must name a file within"),
        (b'{"prompt": "a", "image": "a\\u0000.png"}', "line 1: image must name a file within"),
        (b'{"prompt": "a", "image": ""}', "line 1: image must name a file within"),
        (b'{"prompt": "\\ud800"}', "line 1: prompt holds half of a surrogate pair"),
        (b'{"prompt": "a", "box": [1, 2, 3]}', "line 1: A box must be four numbers"),
        (b'{"prompt": "a", "box": [[9, 2, 3, 4], [0, 0, 1, 1]]}', "line 1: The box (9, 2, 3, 4) is in the wrong order"),
        (b'{"prompt": "a", "box": [1, 1, NaN, 4]}', "line 1: A box must be four finite numbers"),
        (b"[" * 100_000, "line 1: this is not JSON"),
        (b"\xff\xfe", "not UTF-8"),
        (b"\n\n", "holds no prompt"),
    ],
)
def test_a_bad_line_is_one_clear_line_with_its_number(lines, words, tmp_path):
    path = tmp_path / "prompts.jsonl"
    path.write_bytes(lines)
    code, said = batch(photos(tmp_path / "in", 1), "--prompts", path, "--out", tmp_path / "out")
    assert code == 2
    assert words in said
    assert said.count("\n") == 1


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["nowhere", "--prompt", "a", "--out", "out"], "'nowhere' is not a folder"),
        (["empty", "--prompt", "a", "--out", "out"], "There is no image in 'empty'"),
        (["in", "--prompts", "nowhere.jsonl", "--out", "out"], "'nowhere.jsonl' cannot be read"),
        (["in", "--prompt", " ", "--out", "out"], "--prompt: The prompt is empty"),
        (["in", "--prompt", "a", "--out", "in/photo00.png"], "'in/photo00.png' cannot be written to"),
        (
            ["in", "--prompt", "a", "--out", "out", "--adapter", "nobody"],
            "No adapter is called 'nobody'; on offer: fin",
        ),
        (["in", "--prompt", "a", "--out", "out", "--adapter", "x="], "NAME=FOLDER_OR_HUB_ID"),
        (["in", "--prompt", "a", "--out", "out", "--adapter", "base=x"], "reserved"),
        (["in", "--prompt", "a", "--out", "out", "--adapter", "silent", "--adapter", "silent"], "may appear once"),
        (["in", "--prompt", "a", "--out", "out", "--no-base"], "leaves no one to ask"),
        (["in", "--prompt", "a", "--out", "out", "--max-new-tokens", "0"], "max_new_tokens"),
    ],
)
def test_what_cannot_begin_says_why_without_a_traceback(arguments, words, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    photos(tmp_path / "in", 1)
    (tmp_path / "empty").mkdir()
    code, said = batch(*arguments)
    assert code == 2
    last = said.splitlines()[-1]
    assert last.startswith("python -m inference.batch: error: ")
    assert words in last
    assert len(said.splitlines()) <= 2


@pytest.mark.parametrize(
    "arguments", [["in"], ["in", "--out", "o"], ["in", "--out", "o", "--prompt", "a", "--port", "1"]]
)
def test_a_bad_command_line_is_code_2(arguments, capsys):
    with pytest.raises(SystemExit) as stopped:
        main(arguments, {})
    assert stopped.value.code == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_an_adapter_is_offered_with_its_source_and_a_family_is_all_its_steps(tmp_path):
    images = photos(tmp_path / "in", 1)
    seen = []

    def open_(settings):
        seen.append(settings.adapter)
        steps = [adapter("run-checkpoint-2"), adapter("run-checkpoint-10")]
        backend = ScriptedBackend()
        backend.adapters = lambda: tuple(_step(each) for each in steps)
        seen.append(backend)
        return backend

    said = io.StringIO()
    environ = {"VISUALIZER_ADAPTER": "run=elsewhere,other=there"}
    arguments = [str(images), "--prompt", "a", "--adapter", "run=here", "--out", str(tmp_path / "out")]
    main(arguments, environ, open_=open_, stream=said)
    assert seen[0] == ("other=there", "run=here")
    assert "each asked of base, run-checkpoint-2, run-checkpoint-10." in said.getvalue()


def test_modal_has_no_adapters_of_this_machine(tmp_path):
    images, out = photos(tmp_path / "in", 1), tmp_path / "out"
    code, said = batch(images, "--prompt", "a", "--backend", "modal", "--adapter", "run=here", "--out", out)
    assert code == 2
    assert "not of this machine" in said
    assert not out.exists()


def _step(info):
    return replace(info, family="run")


# hostile names and words

NAMES = [
    "=cmd|' C calc'!A0.png",
    "-rf.png",
    "a\nb\x1b[31m.png",
    "a..png.png",
    "имя 图片.png",
    "CON.png",
    "x" * 240 + ".png",
    "${HOME}`id`.png",
    "%00%2e%2e%2f.png",
    os.fsdecode(b"\xff\xfe.png"),
]
WORDS = [
    "=1+1",
    "+1",
    "-1",
    "@SUM(A1)",
    "\t=1",
    '"quoted", \n\r\n lines',
    "<script>alert(1)</script>",
    "\u2028 \x1b[2J",
]


def test_hostile_names_and_words_stay_text(tmp_path):
    images, out = tmp_path / "in", tmp_path / "out"
    images.mkdir()
    for index, name in enumerate(NAMES):
        picture(64, 96, seed=index).save(images / name, "PNG")
    (images / "broken\x1b[31m.png").write_bytes(b"")
    lines = prompts(tmp_path / "p", *({"prompt": words, "id": words} for words in WORDS))
    code, said = batch(images, "--prompts", lines, "--adapter", "find-red", "--out", out)
    assert code == 1
    assert f"{len(NAMES) * len(WORDS)} of {(len(NAMES) + 1) * len(WORDS)} items are there" in said
    assert "\x1b" not in said
    files = {path.name for path in out.iterdir()} - {"summary.csv", "summary.jsonl", ".measured.jsonl", ".lock"}
    assert len(files) == len(NAMES) * len(WORDS)
    assert all(re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,59}-[0-9a-f]{16}\.npz", name) for name in files)
    rows = summary(out)
    assert {row["prompt"] for row in rows} == set(WORDS)
    for row, cells in zip(rows, table(out), strict=True):
        for name in ("image", "prompt", "id", "answer", "notes"):
            text, cell = (row[name] or "").replace("\r", "\\x0d").replace("\x1b", "\\x1b"), cells[name]
            assert cell in (text, f"'{text}")
            assert not cell.startswith(("=", "+", "-", "@", "\t", "\r", "\n"))
        assert cells["logprob"] in ("", str(row["logprob"]))  # numbers stay numbers: no apostrophe
    assert any(cells["logprob"].startswith("-") for cells in table(out))


@pytest.mark.parametrize(
    ("words", "cell"),
    [
        ("plain", "plain"),
        ("a = b", "a = b"),
        (" =1+1", "' =1+1"),
        ("\ufeff=1+1", "'\ufeff=1+1"),
        ("\u200b\u00a0@SUM(A1)", "'\u200b\u00a0@SUM(A1)"),
        ("＝1+1", "'＝1+1"),
        ("＋1", "'＋1"),
        ("\x00=1", "'\\x00=1"),
        ("\x1b[31mred\x07", "\\x1b[31mred\\x07"),
        ("\x9b31m", "\\x9b31m"),
        ("two\nlines\tand a tab", "two\nlines\tand a tab"),
        ("\ttab", "'\ttab"),
    ],
)
def test_a_cell_of_the_table_is_no_formula_and_commands_no_terminal(tmp_path, words, cell):
    write_summary(tmp_path, [{"prompt": words, "logprob": -1.5}])
    (row,) = table(tmp_path)
    assert (row["prompt"], row["logprob"]) == (cell, "-1.5")
    assert summary(tmp_path)[0]["prompt"] == words  # the lines hold the words themselves


def test_names_are_made_safe():
    assert safe_stem("sub/photo 1.jpg") == "photo_1"
    assert safe_stem("../../etc/passwd") == "passwd"
    assert safe_stem("....png") == "image"
    assert safe_stem("图片.png") == "image"
    assert len(safe_stem("y" * 300)) == 60


def test_images_are_found_in_sub_folders_and_hidden_ones_are_not(tmp_path):
    for name in ("b.PNG", "a.jpg", "sub/c.webp", ".hidden.png", ".git/d.png", "notes.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "folder.png").mkdir()
    assert list_images(tmp_path) == ("a.jpg", "b.PNG", "sub/c.webp")


def test_items_go_image_by_image_so_that_vision_features_are_used_again(tmp_path):
    path = tmp_path / "p"
    path.write_text('\ufeff{"prompt": "1"}\r\n{"prompt": "2", "image": "./b.png"}\n{"prompt": "3", "image": "z.png"}\n')
    items = items_of(read_lines(path), ("a.png", "b.png"))
    assert items == (("a.png", 0), ("b.png", 0), ("b.png", 1), ("z.png", 2))


# the numbers


def test_the_numbers_are_those_of_the_files_by_another_route(embedded, tmp_path):
    images, out = scenes(tmp_path / "in", 2), tmp_path / "out"
    asked = (images, "--prompt", "Describe the image.", "--adapter", "find-red", "--adapter", "untouched", "--out", out)
    assert batch(*asked, backend=embedded)[0] == 0
    rows = summary(out)
    assert [row["adapter"] for row in rows] == ["base", "find-red", "untouched"] * 2
    for row in rows:
        comparison = Comparison.load(out / row["file"])
        name = None if row["adapter"] == "base" else row["adapter"]
        base, own = comparison.recording(None), comparison.recording(name)
        first = next(index for index, token in enumerate(own.tokens) if token.role == "answer")
        share = own.group_share[first, :, :, 0].astype(float)
        assert row["image_share"] == pytest.approx(share.mean(), rel=1e-5)
        assert row["image_share"] == pytest.approx(own.by_token[first].sum(axis=(1, 2)).mean(), rel=1e-4)
        p, q = (normalised(each.by_head) for each in (own, base))
        cells = [np.exp(-sum(x * np.log(x) for x in head if x > 0)) for head in p]
        assert row["effective_cells"] == pytest.approx(np.mean(cells), rel=1e-5)
        assert row["cells"] == p.shape[1]
        assert row["replayed"] == comparison.recording("find-red").answer
        assert row["answer"] == own.answer
        assert row["logprob"] == pytest.approx(float(sum(own.logprobs)), rel=1e-4)
        assert row["replayed_tokens"] == len(own.logprobs)
        assert row["seconds"] == pytest.approx(comparison.timings["total"], rel=1e-5)
        bits = np.array([divergence_in_bits(*pair) for pair in zip(p, q, strict=True)])
        if name is None:
            assert row["js_mean"] is row["js_max"] is row["js_layer"] is row["js_head"] is None
        else:
            assert row["js_mean"] == pytest.approx(bits.mean(), rel=1e-5, abs=1e-12)
            assert row["js_max"] == pytest.approx(bits.max(), rel=1e-5, abs=1e-12)
            assert row["js_layer"] * own.by_head.shape[1] + row["js_head"] == bits.argmax()
        if name == "untouched":
            assert row["js_max"] == 0
    assert max(row["js_max"] or 0 for row in rows) > 0.1


def test_a_batch_equals_one_request_at_a_time(embedded, tmp_path):
    images, out = scenes(tmp_path / "in", 2), tmp_path / "out"
    lines = prompts(tmp_path / "p", {"prompt": "Describe the image.", "system": "Be brief.", "answer": "red circle"})
    assert batch(images, "--prompts", lines, "--adapter", "find-circle", "--out", out, backend=embedded)[0] == 0
    for row in summary(out):
        assert (row["answer"], row["replayed"]) == (None, "red circle")
        image = Image.open(images / row["image"])
        words = {"system": "Be brief.", "answer": "red circle", "adapters": (None, "find-circle")}
        alone = embedded.compare(Request(image, "Describe the image.", max_new_tokens=32, **words))
        check_equal(alone, Comparison.load(out / row["file"]))


def test_what_was_done_to_a_photo_is_in_the_file_and_in_the_summary(tmp_path):
    images, out = tmp_path / "in", tmp_path / "out"
    images.mkdir()
    exif = Image.Exif()
    exif[0x0112] = 6
    picture(64, 96).save(images / "turned.jpg", exif=exif)
    assert batch(images, "--prompt", "What?", "--out", out)[0] == 0
    [row] = summary(out)
    assert "turned upright" in row["notes"]
    comparison = Comparison.load(out / row["file"])
    assert comparison.image_size == (96, 64)
    assert "turned upright" in " ".join(comparison.notes)


# a real process, killed


@pytest.mark.slow
def test_a_killed_run_goes_on_without_doing_anything_twice(embedded, tmp_path):
    images, out, whole = scenes(tmp_path / "in", 12), tmp_path / "out", tmp_path / "whole"
    asked = [images, "--prompt", "Describe the image.", "--adapter", "find-red", "--adapter", "find-circle"]
    command = [*map(str, asked), "--device", "cpu", "--out", str(out)]

    killed = _interrupted(command, files=3, by=signal.SIGKILL)
    assert killed.returncode == -signal.SIGKILL
    finished = states(out)
    assert len(finished) == 3
    assert all(Comparison.load(out / name).prompt == "Describe the image." for name in finished)  # none is half

    stopped = _interrupted(command, files=2, by=signal.SIGINT)
    assert stopped.returncode == 130
    assert f"{len(finished)} already done, {12 - len(finished)} to do." in stopped.stderr
    assert "Traceback" not in stopped.stderr
    more = states(out)
    assert len(finished) < len(more) < 12
    assert {name: more[name] for name in finished} == finished
    assert len(summary(out)) == 3 * len(more)

    assert batch(*asked, "--out", out, backend=embedded)[0] == 0
    last = states(out)
    assert len(last) == 12
    assert {name: last[name] for name in more} == more
    assert not list(out.glob(".*.part"))

    assert batch(*asked, "--out", whole, backend=embedded)[0] == 0
    assert sorted(states(whole)) == sorted(last)
    for name in last:
        check_equal(Comparison.load(whole / name), Comparison.load(out / name))
    for one, other in zip(summary(whole), summary(out), strict=True):
        assert {**one, "seconds": 0} == {**other, "seconds": 0}


STANDS_STILL = """
import os, signal, sys
from inference.batch.__main__ import main
from inference.batch.answers import Answers
keep, kept = Answers.keep, []
def keep_and_stand_still(self, name, comparison, boxes):
    keep(self, name, comparison, boxes)
    kept.append(name)
    if len(kept) == int(sys.argv[1]):
        os.kill(os.getpid(), signal.SIGSTOP)
Answers.keep = keep_and_stand_still
sys.exit(main(sys.argv[2:], {}))
"""


def _interrupted(command: list[str], *, files: int, by: signal.Signals) -> subprocess.CompletedProcess[str]:
    """The command as a process that stands still after so many files, gets a signal and goes on."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background job may ignore it
    line = [sys.executable, "-c", STANDS_STILL, str(files), *command]
    process = subprocess.Popen(line, cwd=ROOT, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True)
    signal.signal(signal.SIGINT, before)
    _, status = os.waitpid(process.pid, os.WUNTRACED)
    assert os.WIFSTOPPED(status)
    process.send_signal(by)
    process.send_signal(signal.SIGCONT)
    _, said = process.communicate(timeout=120)
    return subprocess.CompletedProcess(line, process.returncode, stderr=said)


# the progress


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.fixture
def now(monkeypatch):
    """The progress's clock: seconds in a list of one."""
    seconds = [0.0]
    monkeypatch.setattr("tqdm.std.time", lambda: seconds[0])
    return seconds


def test_plain_lines_come_at_most_every_five_seconds(now):
    stream = io.StringIO()
    bar = ProgressBar(100, 10, stream)
    assert stream.getvalue() == ""
    for index in range(61):
        now[0] += 1.0
        bar.step(failed=index == 0)
    assert len(stream.getvalue().splitlines()) == 12
    bar.close()
    lines = stream.getvalue().splitlines()
    assert lines[0] == "15/100, 1 failed, 60 items/min, 01:25 left, 00:05 so far"
    assert lines[-1] == "71/100, 1 failed, 60 items/min, 00:29 left, 01:01 so far"
    assert len(lines) == 13
    assert "\r" not in stream.getvalue()


def test_a_terminal_has_a_bar_that_ends_with_a_new_line(now):
    stream = Terminal()
    bar = ProgressBar(4, 0, stream)
    for _ in range(4):
        now[0] += 30.0
        bar.step()
    bar.close()
    states = [state.rstrip() for state in stream.getvalue().split("\r")]
    assert states[:2] == ["", "[--------------------] 0/4, ? items/min, ? left, 00:00 so far"]
    assert states[2] == "[#####---------------] 1/4, 2 items/min, 01:30 left, 00:30 so far"
    assert states[-1] == "[####################] 4/4, 2 items/min, 00:00 left, 02:00 so far"
    assert stream.getvalue().endswith("\n")


def test_where_nothing_is_to_do_there_is_no_progress():
    for stream in (io.StringIO(), Terminal()):
        ProgressBar(4, 4, stream).close()
        assert stream.getvalue() == ""
