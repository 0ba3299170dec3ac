"""A page for each answer and an index of them: made once, kept, gone on with, and never markup of a stranger's."""

import os
import re
from html import unescape
from pathlib import Path

import pytest

from inference import Comparison
from inference.batch import pages
from inference.batch.pages import write_index
from tests.inference.batch.conftest import batch, photos, prompts, summary
from tests.scripted_backend import ScriptedBackend
from tests.visualize.report_read import Page

HOSTILE = "<img src=x onerror=y>&\"'"


def rows_of(out: Path) -> list[list[str]]:
    html = (out / "index.html").read_text(encoding="utf-8")
    body = html[html.index("<tbody>") :]
    cells = [re.findall(r"<td>(.*?)</td>", line) for line in body.splitlines() if line.startswith("<tr>")]
    return [[unescape(re.sub("<[^>]*>", "", cell)) for cell in row] for row in cells]


def links_of(out: Path) -> list[str]:
    return [
        value for name, value in Page((out / "index.html").read_text(encoding="utf-8")).attributes if name == "href"
    ]


def asked(tmp_path: Path, count: int = 3) -> tuple[object, ...]:
    images = photos(tmp_path / "in", count)
    return (images, "--prompt", "What?", "--adapter", "find-red", "--out", tmp_path / "out")


def test_each_answer_gets_the_page_that_its_file_makes(tmp_path):
    code, said = batch(*asked(tmp_path), "--report")
    assert code == 0
    out = tmp_path / "out"
    assert f"3 pages, 0 already made: {out / 'index.html'}" in said
    answers = sorted(out.glob("*.npz"))
    for path in answers:
        Comparison.load(path).report(tmp_path / "again.html")
        assert path.with_suffix(".html").read_bytes() == (tmp_path / "again.html").read_bytes()
    assert sorted(links_of(out)) == [path.with_suffix(".html").name for path in answers]
    assert not list(out.glob(".*.part"))


def test_without_the_flag_there_is_no_page(tmp_path):
    batch(*asked(tmp_path))
    assert not list((tmp_path / "out").glob("*.html"))


def rows(item: int, image: str, *changes: float | None, answer: str | None = "blue") -> list[dict]:
    """The summary's rows of one item: base, and an adapter per change."""
    about = {"item": item, "image": image, "prompt": "What?", "replayed": "red circle", "file": f"{image}-0.npz"}
    made = [{**about, "adapter": "base", "answer": answer}]
    for index, change in enumerate(changes):
        most = {} if change is None else {"js_max": change, "js_layer": index + 3, "js_head": 7}
        made.append({**about, "adapter": f"a{index}", "answer": answer and f"{answer}-{index}", **most})
    return made


def test_the_index_lists_images_answers_and_the_largest_change_first(tmp_path):
    for name in ("low", "high", "even"):
        (tmp_path / f"{name}-0.html").write_text("a page")
    failed = [{"item": 4, "image": "failed", "prompt": "Why?", "adapter": "base", "message": "It <failed>."}]
    all_rows = [
        *rows(1, "low", 0.012345),
        *rows(2, "even", None),
        *rows(3, "high", 0.1, 0.5, answer=None),
        *failed,
        *rows(5, "zero", 0.0),
    ]
    write_index(tmp_path, iter(all_rows))
    given = "base: red circlea0: red circlea1: red circle"
    assert rows_of(tmp_path) == [
        ["high", "What?", given, "0.5 bits: a1, layer 4, head 7"],
        ["low", "What?", "base: bluea0: blue-0", "0.0123 bits: a0, layer 3, head 7"],
        ["zero", "What?", "base: bluea0: blue-0", "0 bits: a0, layer 3, head 7"],
        ["even", "What?", "base: bluea0: blue-0", ""],
        ["failed", "Why?", "It <failed>.", ""],
    ]
    assert links_of(tmp_path) == ["high-0.html", "low-0.html", "even-0.html"]


def test_the_index_of_a_run_says_what_its_summary_says(tmp_path):
    batch(*asked(tmp_path, 2), "--report")
    base, adapter, *_ = summary(tmp_path / "out")
    assert adapter["js_max"] > 0
    head = f"find-red, layer {adapter['js_layer']}, head {adapter['js_head']}"
    answers = f"base: {base['answer']}find-red: {adapter['answer']}"
    assert rows_of(tmp_path / "out")[0] == ["photo00.png", "What?", answers, f"{adapter['js_max']:.3g} bits: {head}"]


def test_pages_that_are_there_are_kept_and_old_ones_made_again(tmp_path):
    arguments = (*asked(tmp_path), "--report")
    batch(*arguments)
    made = sorted(path for path in (tmp_path / "out").glob("*.html") if path.name != "index.html")
    made[0].write_text("kept")
    made[1].unlink()
    os.utime(made[2], ns=(1, 1))
    made[2].write_text("old")
    os.utime(made[2], ns=(1, 1))
    backend = ScriptedBackend()
    code, said = batch(*arguments, backend=backend)
    assert code == 0
    assert not backend.requests
    assert "3 pages, 1 already made" in said
    assert made[0].read_text() == "kept"
    assert all(path.read_text(encoding="utf-8").startswith("<!doctype html>") for path in made[1:])


def test_a_run_that_is_stopped_while_it_makes_pages_goes_on_with_the_others(tmp_path, monkeypatch):
    arguments, out = (*asked(tmp_path), "--report"), tmp_path / "out"
    report, made = Comparison.report, []

    def once(self: Comparison, path: Path, **more: object) -> None:
        if made:
            raise KeyboardInterrupt
        made.append(path)
        report(self, path)

    monkeypatch.setattr(Comparison, "report", once)
    code, said = batch(*arguments)
    assert (code, "Stopped." in said) == (130, True)
    assert len(links_of(out)) == 1
    assert len(rows_of(out)) == 3
    assert not list(out.glob(".*.part"))
    monkeypatch.undo()
    code, said = batch(*arguments)
    assert code == 0
    assert "3 pages, 1 already made" in said
    assert len(links_of(out)) == 3


def test_the_index_names_items_that_failed_at_its_end_and_links_no_page(tmp_path):
    images = photos(tmp_path / "in", 2)
    (images / "broken.png").write_bytes(b"no image")
    code, _ = batch(images, "--prompt", "What?", "--adapter", "find-red", "--out", tmp_path / "out", "--report")
    assert code == 1
    *_, last = rows_of(tmp_path / "out")
    assert last[0] == "broken.png"
    message = next(row["message"] for row in summary(tmp_path / "out") if row["image"] == "broken.png")
    assert last[2] == message
    assert last[3] == ""
    assert len(links_of(tmp_path / "out")) == 2


def test_hostile_names_prompts_and_answers_stay_words(tmp_path):
    images = photos(tmp_path / "in", 1)
    (images / "photo00.png").rename(images / "<b>&'.png")
    lines = prompts(tmp_path / "p.jsonl", {"prompt": HOSTILE})
    batch(images, "--prompts", lines, "--adapter", "find-red", "--out", tmp_path / "out", "--report")
    page = Page((tmp_path / "out" / "index.html").read_text(encoding="utf-8"))
    assert {"<b>&'.png", HOSTILE} <= set(page.texts)
    (tmp_path / "x-0.html").write_text("a page")
    hostile = [{**row, "prompt": HOSTILE, "adapter": HOSTILE} for row in rows(1, "x", 0.5, answer=HOSTILE)]
    write_index(tmp_path, [{**row, "file": "x-0.npz", "image": HOSTILE} for row in hostile])
    made = Page((tmp_path / "index.html").read_text(encoding="utf-8"))
    for each in (page, made):
        assert not {"b", "img", "script"} & set(each.tags)
        assert {name for name, _ in each.attributes} == {
            *("lang", "charset", "http-equiv", "content", "name", "href", "dir")
        }
    assert made.texts.count(HOSTILE) == 6  # image, prompt, two names and base's answer, whose change is largest
    assert f"{HOSTILE}-0" in made.texts


def test_a_page_that_cannot_be_written_stops_the_run_and_says_why(tmp_path, monkeypatch):
    def full(self: Comparison, path: Path, **more: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Comparison, "report", full)
    code, said = batch(*asked(tmp_path, 1), "--report")
    assert code == 2
    assert "cannot be written to: No space left on device" in said


def test_one_variant_alone_has_no_change(tmp_path):
    images = photos(tmp_path / "in", 1)
    batch(images, "--prompt", "What?", "--out", tmp_path / "out", "--report")
    ((_, _, answers, change),) = rows_of(tmp_path / "out")
    assert answers.startswith("base: ")
    assert change == ""


@pytest.mark.parametrize("name", ["photo-0123456789abcdef.npz", "a.npz.b-0123456789abcdef.npz"])
def test_a_page_has_its_answers_name(name):
    assert pages.Page(name).name == name[:-4] + ".html"


def test_a_page_holds_the_boxes_of_its_line_and_each_line_has_its_own(tmp_path):
    images, box = photos(tmp_path / "in", 1), [8, 16, 40, 80]
    lines = prompts(
        tmp_path / "p.jsonl",
        {"prompt": "What?", "box": box},
        {"prompt": "What?", "box": [0, 0, 9, 9]},
        {"prompt": "What?"},
    )
    arguments = (images, "--prompts", lines, "--adapter", "find-red", "--out", tmp_path / "out", "--report")
    code, said = batch(*arguments)
    assert code == 0
    assert "3 pages, 0 already made" in said
    (answer,) = (tmp_path / "out").glob("*.npz")
    links = links_of(tmp_path / "out")
    assert len(set(links)) == 3
    drawn = []
    for link in links:
        page = Page((tmp_path / "out" / link).read_text(encoding="utf-8"))
        drawn.append(page.about()["scene"]["opening"]["boxes"])
    assert sorted(drawn) == [[], [[0, 0, 9, 9]], [box]]
    Comparison.load(answer).report(tmp_path / "again.html", boxes=[(8, 16, 40, 80)])
    there = [(tmp_path / "out" / link).read_bytes() for link in links]
    assert (tmp_path / "again.html").read_bytes() in there
    code, said = batch(*arguments)
    assert "3 pages, 3 already made" in said


def test_an_index_of_nothing_is_an_empty_table(tmp_path):
    write_index(tmp_path, [])
    assert rows_of(tmp_path) == []
