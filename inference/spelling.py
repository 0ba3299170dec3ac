"""Which tokens spell which characters of a text; it knows neither the tokens' roles nor what the characters mean."""

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from itertools import accumulate


class Spelling:
    """Which tokens spell which characters of a text.

    A token that adds no text begins a character which a later one completes: that character is also its own.

    Args:
        pieces: the text that each token adds.
    """

    def __init__(self, pieces: Sequence[str]) -> None:
        self._starts = [0, *accumulate(map(len, pieces))][:-1]
        self._stops = [start + max(len(piece), 1) for start, piece in zip(self._starts, pieces, strict=True)]

    def tokens(self, start: int, stop: int) -> range:
        """Indices of the tokens that spell any of the characters `start … stop − 1`."""
        return range(bisect_right(self._stops, start), bisect_left(self._starts, stop)) if start < stop else range(0)
