"""Many requests through Modal's map: unordered, with indices, failures in their place."""

import io
from dataclasses import replace

import numpy as np
import pytest

from inference import Comparison
from inference.batch.__main__ import main
from inference.errors import CrashedError, UnknownAdapterError
from tests.conftest import picture, wait_until
from tests.inference.cloud.conftest import EXACT, SINGLE


@pytest.fixture
def few(monkeypatch):
    """Windows of four, so that several are needed."""
    monkeypatch.setattr("inference.cloud.backend.WINDOW_PER_CONTAINER", 1)


@pytest.fixture
def requests(ask):
    """Questions about one picture, each of its own words."""

    def requests(count, bad=()):
        for index in range(count):
            adapters = ("nobody",) if index in bad else (None, "find-red")
            yield ask(prompt=f"What is {index}?", adapters=adapters, max_new_tokens=3)

    return requests


def test_each_request_gets_its_own_answer_or_its_own_error(connect, few, local, requests):
    found = dict(connect().compare_many(requests(10, bad=(2, 7))))
    assert sorted(found) == list(range(10))
    for index, request in enumerate(requests(10, bad=(2, 7))):
        outcome = found[index]
        if index in (2, 7):
            assert isinstance(outcome, UnknownAdapterError)
            continue
        assert isinstance(outcome, Comparison)
        expected = local.compare(request)
        assert (outcome.prompt, outcome.image.tobytes()) == (request.prompt, expected.image.tobytes())
        assert np.array_equal(outcome.recordings[1].by_token, expected.recordings[1].by_token)


def test_requests_are_read_on_as_answers_are_taken_and_leaving_begins_no_more(connect, few, requests):
    read = []

    def counted():
        for index, request in enumerate(requests(40)):
            read.append(index)
            yield request

    answers = connect().compare_many(counted())
    next(answers)
    answers.close()
    assert len(read) <= 8


@pytest.mark.slow
def test_leaving_ends_what_runs(connect, handles, slow, single, ask):
    engine = handles(SINGLE, str(slow)).engine
    before = engine.status.remote()
    long = (ask(prompt=f"Count {index}.", max_new_tokens=256) for index in range(4))
    answers = connect(SINGLE, model=str(slow)).compare_many([ask(max_new_tokens=1), *long])
    next(answers)
    answers.close()
    wait_until(lambda: not engine.status.remote()["busy"])
    assert engine.status.remote()["tokens"] - before["tokens"] < 1 + 4 * 256


def test_a_container_killed_in_the_middle_costs_no_answer(cloud, connect, few, requests):
    answers = connect().compare_many(requests(8))
    with cloud.holding("RemoteEngine", outputs=1):
        found = dict([next(answers)])
        cloud.kill("RemoteEngine")
    found |= dict(answers)
    assert sorted(found) == list(range(8))
    assert all(isinstance(outcome, Comparison) for outcome in found.values())


def test_what_modal_loses_is_told_at_its_index(connect, handles, few, requests):
    class Losing:
        @property
        def compare_item(self):
            return self

        def starmap(self, inputs, **options):
            raise RuntimeError("gone")

    found = dict(connect(handles=replace(handles(), engine=Losing())).compare_many(requests(3)))
    assert sorted(found) == [0, 1, 2]
    assert all(isinstance(outcome, CrashedError) for outcome in found.values())
    assert EXACT in str(found[0])


@pytest.mark.slow
@pytest.mark.parametrize(("app", "at_once"), [(EXACT, 4), (SINGLE, 1)])
def test_as_many_are_on_their_way_as_the_deployment_has_containers_for(
    connect, handles, few, single, requests, app, at_once
):
    """Not as the caller's own variables say, which another machine may have set otherwise."""
    taken = []

    class Counting:
        @property
        def compare_item(self):
            return self

        def starmap(self, inputs, **options):
            taken.append(len(inputs))
            raise RuntimeError("gone")

    backend = connect(app, handles=replace(handles(app), engine=Counting()), modal_max_containers=3)
    next(answers := backend.compare_many(requests(9)))
    answers.close()
    assert taken == [at_once]


@pytest.mark.slow
def test_the_batch_command_goes_through_modal_and_goes_on_where_it_was(connect, local, ask, tmp_path):
    for index in range(3):
        picture(96, 160, seed=index).save(tmp_path / f"{index}.png")
    command = [str(tmp_path), "--prompt", "What?", "--adapter", "find-red", "--backend", "modal"]
    command += ["--out", str(tmp_path / "out"), "--max-new-tokens", "3"]
    first, second = io.StringIO(), io.StringIO()
    assert main(command, {}, open_=lambda settings: connect(), stream=first) == 0
    files = sorted((tmp_path / "out").glob("*.npz"))
    times = [file.stat().st_mtime_ns for file in files]
    assert len(files) == 3
    assert main(command, {}, open_=lambda settings: connect(), stream=second) == 0
    assert "3 already done, 0 to do" in second.getvalue()
    assert [file.stat().st_mtime_ns for file in files] == times
    for index, file in enumerate(files):
        request = ask(image=picture(96, 160, seed=index), prompt="What?", adapters=(None, "find-red"), max_new_tokens=3)
        expected = local.compare(request).recordings[1].by_token
        assert np.array_equal(Comparison.load(file).recordings[1].by_token, expected)
