"""Decide what a browser or a program gets of what the variants say: places, their pixels, what could not be read."""

from collections.abc import Sequence

from inference.places import Said
from inference.records import Comparison
from visualize.json_values import Json, finite
from visualize.numbers.looked_said import LookedSaid, Words, said_line, words_of
from visualize.pictures.said_marks import style_json


def places_json(words: Words) -> dict[str, Json]:
    """What one variant says, in plain values.

    Args:
        words: its places.

    Returns:
        `adapter`; `own`, whether it wrote the words itself; `replayed`, whether its rows follow them; `places`: `kind`,
        `key`, `label`, `numbers` (text as said, its `span` of characters and its `tokens`, counted in the answer),
        `unit`, `pixels` (x, y of the point or of both corners, on the upright photo) and `on_photo`; `unread`: `text`
        and `why`.
    """
    return {"adapter": words.variant, "own": words.own, "replayed": words.replayed, **_places(words.said)}


def said_json(comparison: Comparison) -> list[Json]:
    """What each variant says, see `places_json`; with its `style` and its `line`, a sentence for a legend."""
    found = [words_of(comparison, each) for each in comparison.recordings]
    return [
        {**places_json(words), "style": style_json(index), "line": said_line(words)}
        for index, words in enumerate(found)
    ]


def looked_said_json(found: Sequence[LookedSaid], index: int = 0) -> list[Json]:
    """What each variant says beside where it looks, in plain values.

    Args:
        found: see `looked_said`.
        index: of the layer.

    Returns:
        Per variant what `places_json` has, and `looked`: `at`, the middle of the peak's cell (x, y in pixels); from
        there to what it says `pixels` and `cells`; and `share`, 0–1, see `LookedSaid`. None where there is none.
    """
    made: list[Json] = []
    for each in found:
        looked = each.looked[index]
        numbers: dict[str, Json] = {
            "at": None if looked is None else list(looked),
            "pixels": finite(each.pixels[index]),
            "cells": finite(each.cells[index]),
            "share": finite(each.share[index]),
        }
        made.append({**places_json(each.words), "looked": numbers})
    return made


def _places(said: Said) -> dict[str, Json]:
    places: list[Json] = [
        {
            "kind": place.kind,
            "key": place.key,
            "label": place.label,
            "numbers": [
                {"text": number.text, "span": list(number.span), "tokens": list(number.tokens)}
                for number in place.numbers
            ],
            "unit": place.frame.words,
            "pixels": [list(corner) for corner in place.corners],
            "on_photo": place.is_on_photo,
        }
        for place in said.places
    ]
    return {"places": places, "unread": [{"text": each.text, "why": each.why} for each in said.unread]}
