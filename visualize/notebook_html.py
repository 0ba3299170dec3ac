"""Decide what a comparison looks like in a notebook: the page's panes where the page opens, in one whole element.

Prompts, answers and names are strangers' words: everything that is not ours is escaped, and nothing is loaded from
anywhere.
"""

from html import escape

from inference.records import Comparison, Recording
from visualize.bar import colour_bar_svg
from visualize.caption import plain, size_words, variant_name
from visualize.data_url import data_url
from visualize.opening import opening
from visualize.panes import Pane, Panes, panes
from visualize.reduce import Selection
from visualize.sheet import numbers_line
from visualize.tokens import chips, chips_html

_WIDEST = 640  # of a picture, in pixels; shown at half that and sharp on dense screens


def notebook_html(comparison: Comparison) -> str:
    """Show a comparison: prompt and answers, then base (or the first variant) beside each other one, and differences.

    Each pair stands where the page would open on it, see `opening`; the head is the mean, the view raw.

    Args:
        comparison: what was recorded.

    Returns:
        One `<div>`; pictures are data URLs, everything from outside is escaped.
    """
    first = next((each for each in comparison.recordings if each.adapter is None), comparison.recordings[0])
    others = [each for each in comparison.recordings if each is not first]
    parts = [_heading(comparison)]
    for other in others or (first,):
        selection = Selection(*opening(comparison, first.adapter, other.adapter))
        adapter = None if other is first else other.adapter
        parts.append(_row(panes(comparison, selection, base=first.adapter, adapter=adapter)))
    notes = "".join(f"<li>{escape(note)}</li>" for note in comparison.notes)
    parts.append(f"<ul>{notes}</ul>" if notes else "")
    return f'<div style="font-family:system-ui,sans-serif;line-height:1.4;max-width:1080px">{"".join(parts)}</div>'


def _heading(comparison: Comparison) -> str:
    answers = "".join(_answer(each) for each in comparison.recordings)
    rows, columns = comparison.grid
    return (
        f"<div><strong>{escape(comparison.model.id)}</strong> · photo of {size_words(comparison.image_size)}, "
        f"{rows} × {columns} cells</div>"
        f'<div style="white-space:pre-wrap">“{escape(plain(comparison.prompt, most=2000))}”</div>{answers}'
    )


def _answer(recording: Recording) -> str:
    name = variant_name(recording)
    wrote = "" if recording.answer is None else f"wrote “{plain(recording.answer, most=2000)}”"
    row = chips_html(chips(recording), name=f"Tokens of {name}")
    return f'<div style="margin:6px 0"><strong>{escape(name)}</strong> {escape(wrote)}{row}</div>'


def _row(shown: Panes) -> str:
    figures = "".join(_figure(shown, pane) for pane in shown)
    notes = "".join(f"<div>{escape(note)}</div>" for note in shown.notes)
    return (
        f'<div style="margin:12px 0"><div>{escape(shown.stack.headings[0])}</div>'
        f'<div style="display:flex;flex-wrap:wrap;gap:16px">{figures}</div>{notes}</div>'
    )


def _figure(together: Panes, pane: Pane) -> str:
    photo = pane.drawing.photo
    scale = min(_WIDEST / photo.width, 2 * _WIDEST / photo.height)
    size = (max(round(photo.height * scale), 1), max(round(photo.width * scale), 1))
    source = data_url(pane.drawing.at(size), "JPEG", quality=92, subsampling=0)
    return (
        f'<figure style="margin:0;width:{_WIDEST // 2}px"><div><strong>{escape(pane.variant)}</strong></div>'
        f'<img src="{source}" alt="{escape(pane.alt)}" '
        f'style="display:block;max-width:100%;width:{size[1] // 2 or 1}px;height:auto">'
        f"{colour_bar_svg(pane.drawing.limits, colormap=pane.drawing.colormap)}"
        f'<figcaption style="font-size:12px">{escape(numbers_line(together, pane))}<br>'
        f'<span style="opacity:.75">{escape(pane.caption)}</span></figcaption></figure>'
    )
