"""Decide what a program gets of a comparison: answers, tokens and maps as JSON values, all maps on one scale."""

from collections.abc import Callable
from dataclasses import asdict
from typing import Any, cast

from PIL import Image

from inference.boxes import Box, on_photo
from inference.descriptions import AdapterInfo, ModelInfo
from inference.records import Comparison
from visualize.json_values import Json
from visualize.numbers.caption import variant_name
from visualize.numbers.group_shares import group_shares
from visualize.numbers.head_choice import Head, head_text
from visualize.numbers.looked_said import looked_said
from visualize.numbers.opening import middle_layer
from visualize.numbers.scale import ColourLimits
from visualize.numbers.stack import Stack, stack
from visualize.numbers.token_choice import TokenChoice, default_token
from visualize.numbers.views import View
from visualize.pictures.data_url import data_url
from visualize.pictures.marks import Marks
from visualize.pictures.overlay import overlay
from visualize.pictures.panes import said_marks
from visualize.pictures.said_marks import SaidMark
from visualize.stacks.box_body import box_json
from visualize.stacks.said_json import looked_said_json

#: Longest side of a program's pictures, in pixels: a large photo's would be tens of MB each, drawn for seconds.
PICTURE_SIDE = 1_920


def analysis_json(
    comparison: Comparison,
    *,
    layer: int | None = None,
    head: Head = "mean",
    token: TokenChoice | None = None,
    view: str = "raw",
    pictures: bool = False,
    boxes: tuple[Box, ...] = (),
    before_each: Callable[[], None] = lambda: None,
) -> dict[str, Json]:
    """Answers, tokens and one map per variant.

    Args:
        comparison: what was recorded.
        layer: 0-based; None is the middle layer.
        head, view: see `Selection`.
        token: see `Selection`; None is the digits of what the answer says of places, else the first answer token.
        pictures: add `overlay`, a PNG data URL, to each map: the image, its longest side at most `PICTURE_SIDE` pixels,
            with the map laid on it.
        boxes: add `box`, see `box_json`, for the same tokens; pictures show the boxes, and what their variant says.
        before_each: called before each picture; what it raises ends the drawing.

    Returns:
        `heatmap` is grid_h × grid_w shares of attention, 0–1 (−1–1 in the contrast view); `image_share` the share of
        the row's attention on the image, None for head "max"; `limits` the one scale of all maps; `notes` what to know
        of the run, then of these maps; `said` the points and boxes in each variant's words beside where it looks, see
        `looked_said_json`. Of several images `images` are all, `of_image` is the index of the one that the maps lie on,
        and each map has `shares`, of the row's attention by group, each image one.

    Raises:
        SelectionError: a layer, head, token or view that this comparison does not have.
    """
    first = comparison.recordings[0]
    chosen = default_token(first) if token is None else token
    in_box = box_json(comparison, boxes, chosen) if boxes else None
    shown = stack(
        comparison,
        chosen,
        head=head,
        view=cast(View, view),  # the selection checks its name
        layers=(middle_layer(first) if layer is None else layer,),
    )
    maps = [_map(shown, index) for index in range(len(shown.variants))]
    if comparison.elsewhere:
        for entry, recording in zip(maps, comparison.recordings, strict=True):
            row = group_shares(recording, shown.selections[0]).tolist()
            entry["shares"] = dict(zip(comparison.groups, row, strict=True))
    if pictures:
        photo = Image.fromarray(comparison.image)
        photo.thumbnail((PICTURE_SIDE, PICTURE_SIDE), Image.Resampling.LANCZOS)
        scaled = _scaled(on_photo(boxes, comparison.image_size)[0], photo.width / comparison.image_size[1])
        sides = photo.height / comparison.image_size[0], photo.width / comparison.image_size[1]
        for index, entry in enumerate(maps):
            before_each()
            said = said_marks(comparison, [comparison.recordings[index].adapter]).marks
            entry["overlay"] = _overlay(photo, shown, index, scaled, tuple(each.scaled(*sides) for each in said))
    return {
        "answers": [{"adapter": variant_name(each), "text": each.answer} for each in comparison.recordings],
        "tokens": _tokens(comparison),
        "grid": list(comparison.grid),
        "image_size": list(comparison.image_size),
        **_images(comparison),
        "view": view,
        "maps": list(maps),
        "limits": _limits(shown.variants[0].limits[0]),
        "notes": [*comparison.notes, *shown.notes[0]],
        "said": looked_said_json(looked_said(comparison, shown)),
        **({} if in_box is None else {"box": in_box}),
    }


def _images(comparison: Comparison) -> dict[str, Json]:
    """Of several images, each one's cells and size, and which of them the maps lie on."""
    if not comparison.elsewhere:
        return {}
    images: list[Json] = [
        {"grid": list(each.grid), "image_size": list(each.pixels.shape[:2])} for each in comparison.images
    ]
    return {"images": images, "of_image": comparison.shown}


def model_json(model: ModelInfo) -> dict[str, Json]:
    """Layers, heads and the geometry of the image's cells."""
    return {
        "model": model.id,
        "layers": model.num_layers,
        "heads": model.num_heads,
        "vision_layers": model.num_vision_layers,
        "vision_heads": model.num_vision_heads,
        "patch_size": model.patch_size,
        "merge_size": model.merge_size,
    }


def adapter_json(adapter: AdapterInfo) -> dict[str, Json]:
    """What an adapter is."""
    values: dict[str, Any] = asdict(adapter)
    return {name: list(value) if isinstance(value, tuple) else value for name, value in values.items()}


def _map(shown: Stack, index: int) -> dict[str, Json]:
    pane, selection = shown.variants[index], shown.selections[0]
    return {
        "adapter": pane.variant,
        "layer": None if isinstance(selection.head, tuple) else cast(int, selection.layer),
        "head": head_text(selection.head),
        "token": list(selection.token) if isinstance(selection.token, tuple) else selection.token,
        "heatmap": pane.maps[0].tolist(),
        "image_share": None if selection.head == "max" else pane.measures[0].image_share,
    }


def _scaled(boxes: tuple[Box, ...], factor: float) -> tuple[Box, ...]:
    return tuple((top * factor, left * factor, low * factor, right * factor) for top, left, low, right in boxes)


def _overlay(photo: Image.Image, shown: Stack, index: int, boxes: tuple[Box, ...], said: tuple[SaidMark, ...]) -> str:
    pane = shown.variants[index]
    marks = Marks(pane.peaks[0], shown.sinks[0], boxes, said)
    picture = overlay(photo, pane.maps[0], pane.limits[0], hidden=shown.hidden(0), marks=marks)
    return data_url(picture, "PNG")


def _tokens(comparison: Comparison) -> Json:
    rows: list[Json] = [
        [{"index": index, "text": token.text, "role": token.role} for index, token in enumerate(recording.tokens)]
        for recording in comparison.recordings
    ]
    if comparison.tokens:
        return rows[0]
    names = [variant_name(recording) for recording in comparison.recordings]
    return [{"adapter": name, "tokens": row} for name, row in zip(names, rows, strict=True)]


def _limits(limits: ColourLimits) -> Json:
    return {"low": limits.low, "high": limits.high, "unit": limits.unit, "log": limits.log}
