"""Decide how far a variant looks from where it says: the places in its words beside its maps, in pixels and cells.

What a variant says are the words that it wrote itself; where an answer was given to all, that answer. Where it looks is
the peak of what is shown, at the middle of its cell, since the model has no finer place; shares are of the attention
itself, whatever the view. Of several places the nearest counts for a distance, and all together for a share.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from inference.boxes import MOST_BOXES, Box
from inference.measures import box_share
from inference.places import Frame, Place, Point, Said
from inference.recording import FloatArray, Recording
from inference.records import Comparison
from inference.said import frame_in, said_in
from visualize.numbers.caption import plain, variant_name
from visualize.numbers.reduce import select
from visualize.numbers.stack import Stack

#: So many places are written out in a sentence.
_MOST_SAID = 4


@dataclass(frozen=True, slots=True)
class Words:
    """What one variant says.

    Attributes:
        variant: `base` or an adapter's name.
        said: the places in its words; their tokens are indices into those words' own tokens.
        own: whether it wrote the words itself; else they were given.
        replayed: whether its rows follow these very words: after the first word that differs, they are another's.
    """

    variant: str
    said: Said
    own: bool
    replayed: bool


@dataclass(frozen=True, slots=True)
class LookedSaid:
    """Where a variant looks beside where it says, per layer of a stack; nan where one of the two is nowhere.

    Attributes:
        words: what it says.
        looked: the middle of the peak's cell, (x, y) in pixels of the photo; None without a peak.
        pixels: from there to the nearest said point, or to the nearest edge of a said box: 0 inside.
        cells: the same, in cells: their width across and their height down are both 1.
        share: share of the row's attention, 0–1, in the said boxes and in the cells of the said points together; nan
            for head "max", which is no row, and where nothing said, or more than `MOST_BOXES` places, lie on the photo.
    """

    words: Words
    looked: tuple[Point | None, ...]
    pixels: tuple[float, ...]
    cells: tuple[float, ...]
    share: tuple[float, ...]


def words_of(comparison: Comparison, recording: Recording, frame: Frame | None = None) -> Words:
    """The places in a variant's words.

    Args:
        comparison: what was recorded.
        recording: the variant's.
        frame: what the numbers are fractions of; None is what the prompt's tool description says, see `frame_in`.
    """
    frame = frame or frame_in(comparison.words)
    replayed = [token for token in recording.tokens if token.role == "answer"]
    answer, own = "".join(token.text for token in replayed), recording.answer is not None
    pieces: Sequence[str] | None = [token.text for token in replayed]
    follows = not own or recording.answer_ids == tuple(
        token.id for token in recording.tokens if token.role in ("answer", "end")
    )
    if own and not follows:
        answer = recording.answer or ""
        pieces = recording.answer_pieces if "".join(recording.answer_pieces) == answer else None
    said = said_in(answer, comparison.image_size, frame, pieces=pieces)
    return Words(variant_name(recording), said, own, follows)


def looked_said(comparison: Comparison, shown: Stack, frame: Frame | None = None) -> tuple[LookedSaid, ...]:
    """Where each variant of a stack looks beside where it says.

    Args:
        comparison: what was recorded.
        shown: what is shown of it; `token="digits"` shows the rows that predict the digits of the places.
        frame: see `words_of`.
    """
    recordings = {variant_name(recording): recording for recording in comparison.recordings}
    made = []
    for pane in shown.variants:
        recording = recordings[pane.variant]
        words = words_of(comparison, recording, frame)
        looked = [None if peak is None else middle_of(peak, comparison) for peak in pane.peaks]
        away = [nearest(point, words.said.places, comparison) for point in looked]
        shares = _shares(comparison, recording, shown, words.said)
        pixels, cells = zip(*away, strict=True)
        made.append(LookedSaid(words, tuple(looked), pixels, cells, shares))
    return tuple(made)


def says(said: Said) -> str:
    """The places in words, in pixels of the photo: `264, 110`, a box from corner to corner; of several, the first."""
    if not said.places:
        return "–"
    corners = " – ".join(map(point_words, said.places[0].corners))
    more = len(said.places) - 1
    return f"{corners} and {more} more" if more else corners


def said_line(words: Words) -> str:
    """What a variant says, in a sentence: `says 264, 110`; what lies beyond the photo, what was not read, whose words.

    Words of the answer are quoted on one line; escaping for HTML is left to whoever writes HTML.
    """
    places, unread = words.said.places, words.said.unread
    shown = "; ".join(" – ".join(map(point_words, place.corners)) for place in places[:_MOST_SAID])
    parts = [f"says {shown} (x, y in pixels)" if places else "says no place"]
    if len(places) > _MOST_SAID:
        parts.append(f"{len(places) - _MOST_SAID} more")
    beyond = sum(not place.is_on_photo for place in places)
    if beyond:
        parts.append(
            "it reaches beyond the photo"
            if len(places) == 1
            else f"{beyond} of them {'reaches' if beyond == 1 else 'reach'} beyond the photo"
        )
    if len(places) > MOST_BOXES:
        parts.append(f"whose share of attention is measured of at most {MOST_BOXES} places together")
    parts += [f"not read: “{plain(each.text)}”, {each.why}" for each in unread[:_MOST_SAID]]
    if len(unread) > _MOST_SAID:
        parts.append(f"{len(unread) - _MOST_SAID} more not read")
    if not words.replayed and places:
        parts.append("in its own words, while the pictures follow the replayed ones")
    return f"{plain(words.variant)} {', '.join(parts)}"


def point_words(point: Point | None) -> str:
    """A point in pixels: `264, 110`, in tenths where it is no whole pixel; a dash for none."""
    return "–" if point is None else ", ".join(f"{round(each, 1) + 0.0:.10g}".replace("-", "−") for each in point)


def middle_of(cell: tuple[int, int], comparison: Comparison) -> Point:
    """The middle of a cell (row, column), (x, y) in pixels of the photo."""
    (height, width), (rows, columns) = comparison.image_size, comparison.grid
    return (cell[1] + 0.5) * width / columns, (cell[0] + 0.5) * height / rows


def nearest(point: Point | None, places: Sequence[Place], comparison: Comparison) -> tuple[float, float]:
    """How far a point is from the nearest of some places, in pixels and in cells; nan where there is none.

    Each is the smallest by its own measure: cells may be wider than high.
    """
    if point is None or not places:
        return math.nan, math.nan
    (height, width), (rows, columns) = comparison.image_size, comparison.grid
    steps = [_to(point, place) for place in places]
    pixels = min(math.hypot(*step) for step in steps)
    return pixels, min(math.hypot(x * columns / width, y * rows / height) for x, y in steps)


def said_area(said: Said, grid: tuple[int, int]) -> tuple[Box, ...]:
    """What is said to be looked at, as boxes inside the photo: said boxes, cut to it, and the cells of said points.

    Args:
        said: the places.
        grid: (grid_h, grid_w).
    """
    areas = []
    for place in said.places:
        height, width = place.image_size
        top, left, bottom, right = place.box or (_cell_of(place, grid) if place.kind == "point" else (0, 0, 0, 0))
        cut = (max(top, 0.0), max(left, 0.0), min(bottom, float(height)), min(right, float(width)))
        if cut[0] < cut[2] and cut[1] < cut[3]:
            areas.append(cut)
    return tuple(areas)


def _to(point: Point, place: Place) -> Point:
    """From a point to a place: (across, down) in pixels, both ≥ 0; to what is nearest of it."""
    (x, y), corners = point, place.corners
    (left, right), (top, bottom) = (sorted((corners[0][axis], corners[-1][axis])) for axis in (0, 1))
    return max(left - x, x - right, 0.0), max(top - y, y - bottom, 0.0)


def _cell_of(place: Place, grid: tuple[int, int]) -> Box:
    """The cell that a point lies in; nothing for a point that is not on the photo."""
    if not place.is_on_photo:
        return (0, 0, 0, 0)
    (height, width), (rows, columns), (x, y) = place.image_size, grid, place.corners[0]
    row, column = min(int(y * rows / height), rows - 1), min(int(x * columns / width), columns - 1)
    return row * height / rows, column * width / columns, (row + 1) * height / rows, (column + 1) * width / columns


def _shares(comparison: Comparison, recording: Recording, shown: Stack, said: Said) -> tuple[float, ...]:
    area = said_area(said, comparison.grid)
    if not 0 < len(area) <= MOST_BOXES or shown.selections[0].head == "max":
        return (math.nan,) * len(shown.selections)
    maps: list[FloatArray] = [select(recording, replace(each, view="raw")) for each in shown.selections]
    return tuple(float(box_share(each, area, comparison.image_size)) for each in maps)
