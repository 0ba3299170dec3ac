"""Decide what a result looks like as one file that loads nothing: the viewer, its words and its numbers in one page.

Everything that is not ours is data: words stand in JSON or are escaped, numbers in base64, and the page forbids itself
every other source (its Content-Security-Policy). Equal results give equal bytes.
"""

import json
from collections.abc import Mapping, Sequence
from html import escape
from typing import cast

from PIL import Image

from inference.boxes import on_photo
from inference.explanations import Explanation
from inference.records import Comparison
from visualize.findings.cards_json import findings_json
from visualize.json_values import Json
from visualize.numbers.caption import plain, size_words, variant_name
from visualize.numbers.head_choice import Head, read_head
from visualize.numbers.views import View
from visualize.pictures.data_url import data_url
from visualize.pictures.overlay import rgb_photo
from visualize.report.bundle import FOLDER, bundle
from visualize.report.contents import ReportContents, report_contents
from visualize.stacks.scene import scene_json
from visualize.stacks.stack_choice import StackChoice

#: A report has at most so many bytes; what does not fit is left out, and said.
LARGEST = 20_000_000

_WIDEST = 1_920  # longer side of the photo, in pixels
_POLICY = "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; img-src data: blob:"


def report_html(
    comparison: Comparison,
    *,
    written: Comparison | None = None,
    choice: Mapping[str, Json] | None = None,
    families: Mapping[str, tuple[str, int]] | None = None,
    explanations: Sequence[Explanation] = (),
    largest: int = LARGEST,
) -> str:
    """A result as one HTML file: layers, heads, tokens, matrix and hover work in it without a network.

    Args:
        comparison: what is shown; the heads in it are those of its focus.
        written: the result in which the variants wrote their answers, where that is another; see `scene_json`.
        choice: what it opens on, where the address that it is opened with says nothing else: parts of a viewer's choice
            (token, layer, head, view, boxes, …) in place of the scene's own.
        families: see `scene_json`.
        explanations: what was found out about its changes, shown as cards; of the same question the first counts.
        largest: bytes of the file; numbers that do not fit are left out, and the report says which. What it opens on,
            the photo and the viewer are in it whatever they take.

    Returns:
        A whole document, UTF-8 when written.

    Raises:
        SelectionError: a choice that this comparison does not have.
    """
    against = str((choice or {}).get("against", ""))
    scene = scene_json(comparison, written=written, families=families, against=against)
    opening = {**cast(dict[str, Json], scene["opening"]), **(choice or {})}
    boxes, _ = on_photo(opening["boxes"], comparison.image_size)
    opening["boxes"] = [list(box) for box in boxes]
    scene["opening"] = opening
    found: list[Json] = [finding for each in explanations for finding in findings_json(each, comparison)]
    head, foot = _around(comparison, scene, found)
    room = largest - len(head.encode()) - len(foot.encode()) - 4_000  # for the words of what is inside
    contents = report_contents(comparison, _stack_choice(opening), room, boxes)
    return "".join([head, _words(contents), _numbers(contents), foot])


def title_of(comparison: Comparison) -> str:
    """What a report is called: the model and the variants, on one line."""
    names = ", ".join(variant_name(recording) for recording in comparison.recordings)
    return f"Where {plain(comparison.model.id, most=100)} looks: {plain(names, most=200)}"


def _around(comparison: Comparison, scene: Mapping[str, Json], findings: list[Json]) -> tuple[str, str]:
    """What stands before and after the numbers."""
    styles = "".join((FOLDER / f"{name}.css").read_text(encoding="utf-8") for name in ("viewer", "report"))
    photo = data_url(_photo(comparison), "JPEG")
    about: dict[str, Json] = {"scene": dict(scene), "photo": photo, "findings": findings}
    head = (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(title_of(comparison))}</title>\n<style>\n{styles}</style>\n</head>\n<body>\n"
        f'<header class="report-head"><h1>{escape(title_of(comparison))}</h1>{_facts(comparison)}</header>\n'
        '<main id="viewer"></main>\n<noscript>A script draws the pictures: allow scripts in this file.</noscript>\n'
    )
    foot = (
        f'<script type="application/json" id="about">{_json(about)}</script>\n'
        f'<script type="module">\n{bundle("report")}\n</script>\n</body>\n</html>\n'
    )
    return head, foot


def _facts(comparison: Comparison) -> str:
    rows, columns = comparison.grid
    photo = f"photo of {size_words(comparison.image_size)}, {rows} × {columns} cells"
    if comparison.elsewhere:
        photo = f"image {comparison.shown + 1} of {len(comparison.images)}: {photo}"
    made = f"LoRA Attention Visualizer {plain(comparison.model.version)}"
    lines = [f"{photo} · {made}", f"Prompt: “{plain(str(comparison.prompt), most=2_000)}”"]
    if comparison.system:
        lines.append(f"System: “{plain(comparison.system, most=2_000)}”")
    return "".join(f"<p>{escape(line)}</p>" for line in lines)


def _photo(comparison: Comparison) -> Image.Image:
    photo = rgb_photo(comparison.image)
    photo.thumbnail((_WIDEST, _WIDEST), Image.Resampling.LANCZOS)  # a smaller one stays as it is
    return photo


def _stack_choice(opening: Mapping[str, Json]) -> StackChoice:
    token = opening["token"]
    return StackChoice(
        cast(tuple[int, int], tuple(token)) if isinstance(token, list) else cast(int, token),
        cast(Head, read_head(opening["head"])),
        cast(View, opening["view"]),
        cast(int, opening["window"]),
        cast(str, opening["against"]),
    )


def _words(contents: ReportContents) -> str:
    return f'<footer class="report-foot">{"".join(f"<p>{escape(line)}</p>" for line in contents.words)}</footer>\n'


def _numbers(contents: ReportContents) -> str:
    return "".join(
        f'<script type="application/octet-stream" data-{kind}="{escape(key)}">{text}</script>\n'
        for kind, entries in (("stack", contents.stacks), ("heads", contents.heads), ("box", contents.boxes))
        for key, text in entries.items()
    )


def _json(value: Mapping[str, Json]) -> str:
    """JSON that no text in it can end the element of: in ASCII, and without `<`."""
    return json.dumps(value, allow_nan=False, separators=(",", ":")).replace("<", "\\u003c")
