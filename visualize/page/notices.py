"""Decide how the page says what happens: notices of progress, refusals, and what an adapter is, in a few lines."""

from inference.descriptions import AdapterInfo
from inference.errors import VisualizerError
from inference.records import AnswerToken, Progress
from visualize.json_values import Json


def notice(kind: str, sentence: str, hint: str = "") -> Json:
    """A notice: "busy", "info" or "error", what is so and what to do."""
    return {"kind": kind, "sentence": sentence, "hint": hint}


def refusal(error: VisualizerError) -> Json:
    """The notice of an error."""
    return notice("error", error.message, error.hint)


def progress_notice(event: Progress | AnswerToken, writing: dict[str, str]) -> Json:
    """The notice of what runs: the stage's sentence and the answers so far, which `writing` collects."""
    if isinstance(event, AnswerToken):
        name = event.adapter or "base"
        begun = writing.get(name, "") if event.index else ""  # from the first token again: it was begun anew
        writing[name] = begun + event.text
        sentence = f"{name} writes its answer"
    else:
        sentence = event.sentence[:1].upper() + event.sentence[1:]
    words: list[Json] = [[name, text] for name, text in writing.items()]
    return {"kind": "busy", "sentence": sentence, "hint": "", "words": words}


def adapter_lines(adapter: AdapterInfo, *, named: bool = False) -> list[Json]:
    """What an adapter is, in a few lines; `named` where it is one of several."""
    if named:
        return [f"{adapter.name}: {line}" for line in adapter_lines(adapter)]
    if not adapter.usable:
        return list(adapter.notes)
    targets = ", ".join(adapter.target_modules)
    facts = f"{adapter.kind} · rank {adapter.rank} · α {adapter.alpha:g} · {targets} · {adapter.parameters:,} numbers"
    return [*filter(None, [adapter.description]), facts, *adapter.notes]
