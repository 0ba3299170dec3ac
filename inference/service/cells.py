"""Decide which cells a knockout is about: those named, those of a box, or where a map is largest."""

from inference.boxes import on_photo
from inference.errors import SelectionError
from inference.records import Comparison
from inference.service.schema import QuestionFields
from visualize.findings.cells import box_cells, top_cells
from visualize.numbers.caption import heading, variant_name
from visualize.numbers.reduce import Selection, select


def cells_of(
    fields: QuestionFields, comparison: Comparison, adapter: str | None, selection: Selection
) -> tuple[tuple[int, ...] | None, str]:
    """The cells that a question names, and where they are in words; None where it names none.

    Args:
        fields: the question.
        comparison: whose image, and whose map.
        adapter: the variant whose map is looked at.
        selection: which map of it.

    Raises:
        SelectionError: more than one of cells, top and box; or a map, box or percentage that cannot be.
    """
    given = [name for name in ("cells", "top", "box") if getattr(fields, name) not in (None, ())]
    if len(given) > 1:
        raise SelectionError(f"{' and '.join(given)} name cells twice.", "Give one of them.")
    if fields.box:
        boxes, _ = on_photo(fields.box, comparison.image_size)
        named = "the drawn box" if len(boxes) == 1 else f"the {len(boxes)} drawn boxes"
        return box_cells(boxes, comparison.image_size, comparison.grid), named
    if fields.top is not None:
        recording = comparison.recording(adapter)
        where = heading([recording], selection)
        shown = f"the top {fields.top:g} % of {variant_name(recording)}'s map: {where[:1].lower()}{where[1:]}"
        return top_cells(select(recording, selection), fields.top), shown
    return None if fields.cells is None else tuple(fields.cells), ""
