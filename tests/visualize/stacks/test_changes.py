"""How rows changed is found once per pair of sides, whoever asks first, and as many bytes as are held are counted."""

import threading
from dataclasses import replace

import numpy as np
import pytest

from inference.errors import SelectionError
from inference.image_maps import PER_IMAGE, ImageMaps, SeenImage
from inference.recording import Recording
from inference.records import Comparison
from tests.visualize.factory import comparison, recording
from visualize.numbers.change import row_changes
from visualize.stacks import changes
from visualize.stacks.changes import KeptChanges, changes_against
from visualize.stacks.scene import scene_json

NAMES = (None, "b", "c")


@pytest.fixture
def found(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str | None, str | None]]:
    """The pairs of which changes were found, in their order."""
    pairs: list[tuple[str | None, str | None]] = []

    def find(base: Recording, adapter: Recording):
        pairs.append((base.adapter, adapter.adapter))
        return row_changes(base, adapter)

    monkeypatch.setattr(changes, "row_changes", find)
    return pairs


@pytest.fixture(scope="module")
def three():
    return comparison(*(recording(name, seed=seed) for seed, name in enumerate(NAMES)))


def test_each_side_is_found_once_whoever_asks_first(found, three):
    kept = KeptChanges()
    threads = [threading.Thread(target=kept, args=(three,)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for against in ("", "base", "b", "base"):
        rows = kept(three, against)
        first = None if against in ("", "base") else against
        others = {name or "base": name for name in NAMES if name != first}
        assert list(rows) == list(others)
        for name, other in others.items():
            np.testing.assert_array_equal(rows[name], row_changes(three.recording(first), three.recording(other)))
    assert found == [(None, "b"), (None, "c"), ("b", None), ("b", "c")]
    with pytest.raises(SelectionError, match="'nobody' is not in this comparison"):
        kept(three, "nobody")


def test_its_bytes_are_those_of_all_sides(three):
    kept = KeptChanges()
    held = sum(rows.nbytes for name in ("base", "b", "c") for rows in kept(three, name).values())
    assert KeptChanges.most_bytes(three) == held
    own = comparison(recording(), recording("a", seed=1), own=True)
    assert KeptChanges.most_bytes(own) == 0
    assert KeptChanges()(own) == changes_against(own) == {}


def of_two_images(one: Comparison) -> Comparison:
    """The same with another image before it: half of what the last group got is evenly on its cells."""

    def recorded(each: Recording) -> Recording:
        half = each.group_share[..., 3:] / 2
        groups = np.concatenate([each.group_share[..., :3], half, half], axis=-1)
        evenly = {name: np.full_like(getattr(each, name), 1 / np.prod(one.grid)) for name in PER_IMAGE[:-1]}
        evenly["by_token"] *= half.mean(axis=2)[..., None]
        return replace(each, group_share=groups, elsewhere=(ImageMaps(**evenly),))

    recordings = tuple(map(recorded, one.recordings))
    return replace(one, recordings=recordings, shown=1, elsewhere=(SeenImage(one.image, one.grid),))


def test_whichever_image_is_shown_its_own_are_found_and_once(found, three):
    two = of_two_images(three)
    kept = KeptChanges()
    ours = {shown: kept(two.showing(shown)) for shown in (1, 0)}
    for shown, rows in ours.items():
        for name, values in changes_against(two.showing(shown)).items():
            np.testing.assert_array_equal(rows[name], values)
    assert not np.array_equal(ours[0]["b"], ours[1]["b"])
    del found[:]
    assert [kept(two.showing(shown)) is rows for shown, rows in ours.items()] == [True, True]
    assert found == []
    held = [kept(two.showing(shown), name) for shown in (0, 1) for name in ("base", "b", "c")]
    assert KeptChanges.most_bytes(two) == sum(rows.nbytes for each in held for rows in each.values())


@pytest.mark.parametrize("against", ["", "base", "b"])
def test_a_scene_finds_no_pair_twice(found, three, against: str):
    scene_json(three, against=against)
    assert len(found) == len(set(found)) == (2 if against in ("", "base") else 4)
    kept = KeptChanges()
    assert scene_json(three, against=against, find_changes=kept) == scene_json(three, against=against)
    del found[:]
    scene_json(three, against=against, find_changes=kept)
    assert found == []
