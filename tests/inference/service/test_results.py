"""What visitors leave here: bounded by bytes, separate by session, gone with it."""

import threading
from dataclasses import replace
from pathlib import Path

import pytest

from inference.errors import InputError
from inference.request import Request, digest
from inference.service.results import Result, ResultCache
from tests.conftest import picture
from tests.scripted_backend import comparison
from visualize.numbers.rank_heads import KeptRanks


def result(seed: int = 0, prompt: str = "What is here?") -> Result:
    request = Request(image=picture(64, 96, seed), prompt=prompt, adapters=(None, "find-red"))
    return Result(digest(request), request, comparison(request))


@pytest.fixture
def cache() -> ResultCache:
    cache = ResultCache(10 * result().nbytes)
    cache.begin("one")
    cache.begin("two")
    return cache


def test_a_result_is_its_own_visits_alone(cache: ResultCache):
    kept = result()
    cache.put("one", kept)
    assert cache.get("one", kept.key) is kept
    assert cache.get("two", kept.key) is None


def test_a_shared_example_is_everyones_and_stays(cache: ResultCache):
    shared = result()
    cache.share(shared)
    cache.end("one")
    assert cache.get("one", shared.key) is shared
    assert cache.get("nobody", shared.key) is shared
    assert cache.nbytes == 0


def test_bytes_are_bounded_and_the_least_recently_used_goes_first():
    results = [result(seed) for seed in range(4)]
    cache = ResultCache(3 * results[0].nbytes)
    cache.begin("one")
    for each in results[:3]:
        cache.put("one", each)
    assert cache.get("one", results[0].key) is results[0]  # used: now the second is the oldest
    cache.put("one", results[3])
    assert [cache.get("one", each.key) is not None for each in results] == [True, False, True, True]
    assert cache.nbytes == 3 * results[0].nbytes


def test_bytes_count_every_array_each_picture_that_is_held_and_what_may_be_kept_beside_them():
    kept = result()
    assert kept.comparison.image is kept.request.image.pixels
    twice = replace(kept, comparison=replace(kept.comparison, image=kept.comparison.image.copy()))
    assert twice.nbytes == kept.nbytes + 3 * 64 * 96
    arrays = [kept.comparison.image]
    for each in kept.comparison.recordings:
        arrays += [each.logprobs, each.by_token, each.by_head, each.group_share, each.background, each.background_low]
    ranks = KeptRanks.most_bytes(kept.comparison.model.num_heads)
    rows = kept.changes(kept.comparison)
    held = sum(array.nbytes for array in (*arrays, *rows.values(), *kept.changes(kept.comparison, "find-red").values()))
    assert kept.nbytes == held + ranks
    others = [replace(each, by_head=each.by_head.copy()) for each in kept.comparison.recordings]
    given = replace(kept, written=replace(kept.comparison, recordings=tuple(others)))
    assert given.nbytes == kept.nbytes + sum(array.nbytes for array in arrays[1:])


def test_putting_the_same_result_twice_counts_once(cache: ResultCache):
    cache.put("one", result())
    cache.put("one", result())
    assert cache.nbytes == result().nbytes


def test_a_result_larger_than_the_bound_is_refused_in_words():
    cache = ResultCache(1_000)
    cache.begin("one")
    with pytest.raises(InputError, match="keeps at most"):
        cache.put("one", result())
    assert cache.nbytes == 0


def test_everything_of_a_visit_goes_when_it_ends(cache: ResultCache, tmp_path: Path):
    file, both = tmp_path / "own.png", tmp_path / "both.png"
    for path in (file, both):
        path.touch()
    cache.put("one", result())
    cache.own_file("one", file)
    cache.own_file("one", both)
    cache.own_file("two", both)
    cache.end("one")
    assert cache.get("one", result().key) is None
    assert cache.nbytes == 0
    assert not file.exists()
    assert both.exists()
    cache.end("two")
    assert not both.exists()


def test_what_is_finished_after_the_visit_ended_is_not_kept(cache: ResultCache, tmp_path: Path):
    late = tmp_path / "late.png"
    late.touch()
    cache.end("one")
    cache.put("one", result())
    cache.own_file("one", late)
    assert cache.get("one", result().key) is None
    assert cache.nbytes == 0
    assert not late.exists()


def test_many_threads_leave_the_count_right(cache: ResultCache):
    results = [result(seed) for seed in range(6)]

    def work(session: str) -> None:
        for _ in range(20):
            for each in results:
                cache.put(session, each)
                cache.get(session, each.key)

    threads = [threading.Thread(target=work, args=(session,)) for session in ("one", "two", "one", "two")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    held = sum(each.nbytes for session in ("one", "two") for each in results if cache.get(session, each.key))
    assert cache.nbytes == held <= 10 * results[0].nbytes


def test_a_photo_is_kept_for_its_visit_within_the_same_bound(tmp_path: Path):
    photos = [result(seed).request.image for seed in range(3)]
    cache = ResultCache(2 * photos[0].nbytes)
    cache.begin("one")
    for index, photo in enumerate(photos):
        cache.put_photo("one", tmp_path / str(index), photo)
    assert [cache.photo("one", tmp_path / str(index)) for index in range(3)] == [None, *photos[1:]]
    assert cache.photo("two", tmp_path / "2") is None
    assert cache.nbytes == 2 * photos[0].nbytes
    cache.put_photo("one", tmp_path / "huge", Request(picture(500, 500), "What?").image)
    assert cache.photo("one", tmp_path / "huge") is None
    cache.end("one")
    assert cache.nbytes == 0
