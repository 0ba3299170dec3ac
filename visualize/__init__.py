"""Draw what a `Comparison` holds: arrays in; arrays, PIL images and HTML out. No framework, no pyplot, no model.

    select ──▶ shared_limits / diverging_limits ──▶ overlay ──▶ panes ──▶ sheet, notebook_html

`measures` holds the exact formulas, `sink_cells` says which cells draw attention whatever is asked, `shift_matrix` and
`rank_heads` say which layers and heads to look at.
"""

from visualize import measures
from visualize.bar import colour_bar, colour_bar_svg
from visualize.caption import caption
from visualize.change import change_per_token, layer_of_largest_change, token_of_largest_change
from visualize.drawing import Drawing
from visualize.marks import Marks
from visualize.notebook_html import notebook_html
from visualize.overlay import heat_image, overlay
from visualize.palette import DIVERGING, SEQUENTIAL, colour_table
from visualize.panes import Change, Measures, Pane, Panes, panes
from visualize.rank_heads import RankedHead, rank_heads, spatial_entropy
from visualize.reduce import Selection, answer_indices, difference, select
from visualize.resize import resize
from visualize.scale import ColourLimits, diverging_limits, number, shared_limits
from visualize.sheet import numbers_line, sheet
from visualize.shift_matrix import shift_limits, shift_matrix, shift_matrix_image
from visualize.sinks import sink_cells
from visualize.tokens import Chip, chips, chips_html

__all__ = [
    "DIVERGING",
    "SEQUENTIAL",
    "Change",
    "Chip",
    "ColourLimits",
    "Drawing",
    "Marks",
    "Measures",
    "Pane",
    "Panes",
    "RankedHead",
    "Selection",
    "answer_indices",
    "caption",
    "change_per_token",
    "chips",
    "chips_html",
    "colour_bar",
    "colour_bar_svg",
    "colour_table",
    "difference",
    "diverging_limits",
    "heat_image",
    "layer_of_largest_change",
    "measures",
    "notebook_html",
    "number",
    "numbers_line",
    "overlay",
    "panes",
    "rank_heads",
    "resize",
    "select",
    "shared_limits",
    "sheet",
    "shift_limits",
    "shift_matrix",
    "shift_matrix_image",
    "sink_cells",
    "spatial_entropy",
    "token_of_largest_change",
]
