"""Draw what a `Comparison` holds: arrays in; arrays, PIL images and HTML out. No framework, no pyplot, no model.

    select ──▶ stack (numbers of all layers or one) ──▶ panes ──▶ sheet, animation, page
                                                   ├──▶ stack_body, heads_body, scene_json: for a browser to draw
                                                   │       └──▶ report_html ──▶ notebook_html
                                                   └──▶ analysis_json

`measures` holds the exact formulas, `sink_cells` says which cells draw attention whatever is asked, `shift_matrix` and
`rank_heads` say which layers and heads to look at, `overlay` lays any map on its photo.
"""

from visualize import measures
from visualize.animation import animation
from visualize.bar import colour_bar, colour_bar_svg
from visualize.caption import caption
from visualize.change import change_per_token, layer_of_largest_change, token_of_largest_change
from visualize.drawing import Drawing
from visualize.figures import Change, Measures
from visualize.file_name import file_name
from visualize.heads_body import heads_body
from visualize.marks import Marks
from visualize.notebook_html import notebook_html
from visualize.opening import middle_layer, opening
from visualize.overlay import overlay
from visualize.palette import DIVERGING, SEQUENTIAL, colour_table
from visualize.panes import Pane, Panes, panes
from visualize.rank_heads import RankedHead, rank_heads
from visualize.reduce import Selection, difference, select
from visualize.report import report_html
from visualize.resize import resize
from visualize.scale import ColourLimits, diverging_limits, number, shared_limits
from visualize.scene import scene_json
from visualize.sheet import numbers_line, sheet
from visualize.shift_matrix import shift_matrix
from visualize.sinks import sink_cells
from visualize.stack import PaneStack, Stack, stack
from visualize.stack_body import stack_body
from visualize.stack_choice import StackChoice
from visualize.token_choice import answer_indices
from visualize.tokens import Chip, chips

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
    "PaneStack",
    "Panes",
    "RankedHead",
    "Selection",
    "Stack",
    "StackChoice",
    "animation",
    "answer_indices",
    "caption",
    "change_per_token",
    "chips",
    "colour_bar",
    "colour_bar_svg",
    "colour_table",
    "difference",
    "diverging_limits",
    "file_name",
    "heads_body",
    "layer_of_largest_change",
    "measures",
    "middle_layer",
    "notebook_html",
    "number",
    "numbers_line",
    "opening",
    "overlay",
    "panes",
    "rank_heads",
    "report_html",
    "resize",
    "scene_json",
    "select",
    "shared_limits",
    "sheet",
    "shift_matrix",
    "sink_cells",
    "stack",
    "stack_body",
    "token_of_largest_change",
]
