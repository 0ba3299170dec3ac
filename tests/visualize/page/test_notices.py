"""How the page says what happens."""

from inference.descriptions import AdapterInfo
from inference.errors import SelectionError
from inference.records import AnswerToken, Progress
from visualize.page import adapter_lines, notice, progress_notice, refusal


def test_a_notice_has_its_kind_sentence_and_hint():
    assert notice("info", "So.", "Do.") == {"kind": "info", "sentence": "So.", "hint": "Do."}
    assert notice("busy", "So.")["hint"] == ""
    assert refusal(SelectionError("No.", "Else.")) == notice("error", "No.", "Else.")


def test_a_stage_is_said_with_the_answers_so_far():
    made = progress_notice(Progress("vision", "looking at the Image", 3.0), {"base": "a red"})
    assert made == {
        "kind": "busy",
        "sentence": "Looking at the Image",
        "hint": "",
        "words": [["base", "a red"]],
    }


def test_answers_grow_token_by_token_and_begin_anew_with_the_first():
    writing = {}
    for index, text in enumerate(("The", " red")):
        progress_notice(AnswerToken(None, index, text), writing)
    made = progress_notice(AnswerToken("find-red", 0, "A"), writing)
    assert made["words"] == [["base", "The red"], ["find-red", "A"]]
    assert (made["sentence"], made["kind"]) == ("find-red writes its answer", "busy")
    assert progress_notice(AnswerToken(None, 0, "New"), writing)["words"][0] == ["base", "New"]
    assert progress_notice(AnswerToken(None, 1, "!"), writing)["sentence"] == "base writes its answer"


def test_an_adapter_is_said_in_a_few_lines():
    info = AdapterInfo("a", "Names red.", "rsLoRA", 8, 16.5, ("k_proj", "q_proj"), False, 12_345, "b", ("A note.",))
    facts = "rsLoRA · rank 8 · α 16.5 · k_proj, q_proj · 12,345 numbers"
    assert adapter_lines(info) == ["Names red.", facts, "A note."]
    plain = AdapterInfo("a", "", "LoRA", 8, 16.0, ("q_proj",), False, 1, "b")
    assert adapter_lines(plain) == ["LoRA · rank 8 · α 16 · q_proj · 1 numbers"]
    bad = AdapterInfo("a", "Names red.", "unusable", 0, 0.0, (), False, 0, "", ("Its file is missing.",))
    assert adapter_lines(bad) == ["Its file is missing."]
    assert adapter_lines(info, named=True) == ["a: Names red.", f"a: {facts}", "a: A note."]
    assert adapter_lines(bad, named=True) == ["a: Its file is missing."]
