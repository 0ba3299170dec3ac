"""The line on top, and the adapters on offer."""

import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

from tests.inference.service.events import fields, is_skipped, page_over, upload, visitor
from tests.scripted_backend import ScriptedBackend, adapter


def test_the_status_line_names_model_backend_device_and_queue(page: Any):
    assert page.status() == {"state": "ready", "words": ["scripted", "local", "cpu, float32", "nobody is waiting"]}


def test_adapters_are_offered_when_the_backend_is_open(page: Any):
    page.wait()
    waited = page.offer([])
    assert is_skipped(waited.notice)
    assert waited.status["state"] == "ready"
    assert waited.adapter["choices"] == [(name, name) for name in ("find-red", "vision-lora", "silent")]
    assert waited.adapter["value"] == ["find-red"]
    assert waited.compare["choices"] == [("base", "base"), *waited.adapter["choices"]]
    assert any("rank 8" in line for line in waited.about)


def test_the_adapter_chosen_at_first_can_be_used_and_those_that_cannot_say_so(backend: ScriptedBackend):
    broken = replace(adapter("broken"), kind="unusable", notes=("Its weights are not there.",))
    backend.adapters = lambda: (broken, adapter("whole"))
    offer = page_over(backend).offer([])
    assert offer.adapter["choices"] == [("broken (cannot be used)", "broken"), ("whole", "whole")]
    assert offer.adapter["value"] == ["whole"]
    assert any("rank 8" in line for line in offer.about)
    backend.adapters = lambda: (broken,)
    offer = page_over(backend).offer([])
    assert offer.adapter["value"] == []
    assert page_over(backend).about("broken") == ["Its weights are not there."]


def test_the_adapters_that_are_chosen_when_the_backend_is_open_stay_chosen_where_they_can_be_used(
    page: Any, backend: ScriptedBackend
):
    for chosen in (["silent", "vision-lora"], ["vision-lora"]):
        assert "value" not in page.offer(chosen).adapter
    assert page.offer(["silent"]).about == page.about(["silent"])
    both = ["silent", "find-red"]
    assert page.offer(both).about == page.about(both)
    other = page.about(both[::-1])
    assert sorted(other) == sorted(page.about(both))
    assert other != page.about(both), "in the order of the choice"
    assert page.offer(["silent"] * 1_000).adapter["value"] == ["silent"]
    for nothing in (None, [], ["gone"], [["find-red"]], "silent"):
        assert page.offer(nothing).adapter["value"] == ["find-red"]
    backend.adapters = lambda: (adapter("another"), replace(adapter("silent"), kind="unusable"))
    assert page.offer(["silent"]).adapter["value"] == ["another"]
    assert page.offer(["silent", "another"]).adapter["value"] == ["another"]


def test_folders_that_are_no_adapters_are_no_choice_and_are_said_with_their_reason(backend: ScriptedBackend):
    folders = tuple(
        replace(adapter(f"folder{index}"), kind="skipped", notes=(f"'folder{index}' is a merged model.",))
        for index in range(5)
    )
    backend.adapters = lambda: (adapter("whole"), *folders[:1])
    offer = page_over(backend).offer([])
    assert offer.adapter["choices"] == [("whole", "whole")]
    assert offer.notice["sentence"] == "Below the adapters folder 1 folder is not offered."
    assert offer.notice["hint"] == "'folder0' is a merged model."
    backend.adapters = lambda: folders
    offer = page_over(backend).offer([])
    assert offer.adapter["choices"] == []
    assert offer.about == ["No adapter is offered: the base model is shown alone."]
    assert "5 folders are" in offer.notice["sentence"]
    assert offer.notice["hint"].endswith("'folder2' is a merged model. … and 2 more: see /api/adapters.")


def test_who_works_and_who_waits_is_said_while_it_is_so(uploads: Path):
    gate = threading.Event()
    page = page_over(ScriptedBackend(gate=gate))
    image = upload(uploads)
    runs = [page.analyze(visitor(name), *fields(image, prompt=f"{name}?")) for name in ("one", "two", "three")]
    told: list[list[str]] = []
    for run in runs:
        while not next(run).notice.get("sentence", "").startswith(("Looking", "Waiting")):
            pass
        told.append(page.status()["words"][3:])
    assert told == [
        ["1 analysis is running"],
        ["1 analysis is running", "1 waiting"],
        ["1 analysis is running", "2 waiting"],
    ]
    gate.set()
    for run in runs:
        view = list(run)[-1]
        assert view.notice is None
    assert view.status["words"][3:] == page.status()["words"][3:] == ["nobody is waiting"]
