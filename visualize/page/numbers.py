"""Decide how the page's table of two variants says the numbers of `visualize.numbers`: one difference per row."""

from typing import Any, cast

from visualize import numbers
from visualize.json_values import Json
from visualize.panes import Panes


def numbers_json(drawn: Panes) -> dict[str, Json]:
    """The table of measures: one row per measure, one column per variant, and adapter − base."""
    table = cast(dict[str, Any], numbers.numbers_json(drawn.stack, 0))
    return {
        "columns": table["columns"],
        "rows": [{**_without_deltas(row), "delta": next(iter(row["deltas"]), "")} for row in table["rows"]],
        "change": next(iter(table["changes"]), ""),
    }


def _without_deltas(row: dict[str, Json]) -> dict[str, Json]:
    return {name: value for name, value in row.items() if name != "deltas"}
