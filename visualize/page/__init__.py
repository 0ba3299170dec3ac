"""The page's values: what it says of a result, as plain JSON that the browser turns into text and pictures.

It knows records and drawing, no widget and no browser; `page.js` and `page.css` beside it are the browser's part.
"""

from pathlib import Path

from visualize.data_url import data_url
from visualize.json_values import Json
from visualize.page.answers import answers_json
from visualize.page.choice import Choice, opening_choice, variants
from visualize.page.notices import adapter_lines, notice, progress_notice, refusal
from visualize.page.numbers import numbers_json
from visualize.page.pictures import controls_json, draw, panes_json

#: Where `page.js` and `page.css` are.
FOLDER = Path(__file__).parent.parent

__all__ = [
    "FOLDER",
    "Choice",
    "Json",
    "adapter_lines",
    "answers_json",
    "controls_json",
    "data_url",
    "draw",
    "notice",
    "numbers_json",
    "opening_choice",
    "panes_json",
    "progress_notice",
    "refusal",
    "variants",
]
