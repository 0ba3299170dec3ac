"""What a batch says of answers that say places: where, whether in the box of their line, at which tokens."""

from inference import Comparison
from tests.inference.batch.conftest import batch, photos, prompts, summary
from tests.scripted_backend import ANSWER, ScriptedBackend

CLICK = ("[", "250", ", ", "500", "] or [", "750", ",", "1500", "]")  # (24, 32) and (72, 96) of 96 × 64: one beyond it


def test_a_row_says_the_places_and_whether_they_lie_in_the_box_of_its_line(tmp_path):
    lines = prompts(
        tmp_path / "p.jsonl",
        {"prompt": "Where?", "box": [0, 0, 40, 40]},
        {"prompt": "Where?", "box": [0, 60, 64, 96]},
        {"prompt": "What?"},
    )
    out, backend = tmp_path / "out", ScriptedBackend(answer=CLICK)
    images = photos(tmp_path / "in", 1)
    code, said = batch(images, "--prompts", lines, "--adapter", "find-red", "--out", out, backend=backend)
    assert code == 0, said
    rows = summary(out)
    assert [row["said"] for row in rows] == ["24,32;72,96"] * 6
    assert [row["said_in_box"] for row in rows] == [0.5, 0.5, 0, 0, None, None]


def test_an_answer_without_a_place_says_none(tmp_path):
    lines = prompts(tmp_path / "p.jsonl", {"prompt": "What?", "box": [0, 0, 40, 40]})
    code, said = batch(photos(tmp_path / "in", 1), "--prompts", lines, "--out", tmp_path / "out")
    assert (code, "with a place" in said) == (0, False)
    (row,) = summary(tmp_path / "out")
    assert (row["answer"], row["said"], row["said_in_box"]) == ("".join(ANSWER), "", None)


def test_the_first_token_is_measured_where_it_is_asked_for_and_the_digits_without_a_second_replay(tmp_path):
    images = photos(tmp_path / "in", 2)
    lines = prompts(tmp_path / "p.jsonl", {"prompt": "Where?"})
    for focus, tokens, words in (("first", "0", "["), ("digits", "1 3 5 7", "2505007501500")):
        backend, out = ScriptedBackend(answer=CLICK), tmp_path / focus
        code, said = batch(images, "--prompts", lines, "--focus", focus, "--out", out, backend=backend)
        assert code == 0, said
        assert [(row["focus_tokens"], row["focus_text"]) for row in summary(out)] == [(tokens, words)] * 2
        assert len(backend.requests) == 2  # one per picture
        hint = "2 answers with a place, measured at the first token; --focus digits: at its digits."
        assert (hint in said) == (focus == "first")
        start = Comparison.load(out / summary(out)[0]["file"]).recordings[0].focus[0]
        assert start == (5 if focus == "first" else 6)
