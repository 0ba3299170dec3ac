"""The page's values: what it says beside the viewer, as plain JSON that the browser turns into text, and its pictures.

It knows records and drawing, no widget and no browser; `page.js` and `page.css` are the browser's part.
"""

from pathlib import Path

from visualize.json_values import Json
from visualize.page.choice import Choice, opening_choice
from visualize.page.notices import adapter_lines, notice, progress_notice, refusal
from visualize.page.pictures import draw
from visualize.pictures.data_url import data_url

#: Where `page.js` and `page.css` are.
FOLDER = Path(__file__).parent
#: The viewer's modules and its style, which the page, the report and the notebook share.
VIEWER = FOLDER.parent / "viewer"

__all__ = [
    "FOLDER",
    "VIEWER",
    "Choice",
    "Json",
    "adapter_lines",
    "data_url",
    "draw",
    "notice",
    "opening_choice",
    "progress_notice",
    "refusal",
]
