"""Draw what a `Comparison` holds: arrays in; arrays, PIL images and HTML out. No framework, no pyplot, no model.

    select ──▶ stack (numbers of all layers or one) ──▶ panes ──▶ sheet, animation, page
                                                   ├──▶ stack_body, heads_body, scene_json: for a browser to draw
                                                   │       └──▶ report_html ──▶ notebook_html
                                                   └──▶ analysis_json
    finding (of an explanation) ──▶ one sentence with its numbers

`measures` holds the exact formulas; `box_scores` says how much each head looks into a box, `looked_said` how far a
variant looks from where it says, `sink_cells` which cells draw attention whatever is asked, `shift_matrix` and
`rank_heads` which layers and heads to look at; `overlay` lays any map on its photo.
"""

from inference import measures
from visualize.findings.finding import Finding, finding
from visualize.numbers.box_scores import BoxScores, HeadInBox, InBox, box_scores
from visualize.numbers.caption import caption
from visualize.numbers.change import change_per_token, layer_of_largest_change, token_of_largest_change
from visualize.numbers.figures import Change, Measures
from visualize.numbers.group_shares import group_shares
from visualize.numbers.looked_said import LookedSaid, looked_said
from visualize.numbers.opening import middle_layer, opening
from visualize.numbers.rank_heads import RankedHead, rank_heads
from visualize.numbers.reduce import Selection, difference, select
from visualize.numbers.scale import ColourLimits, diverging_limits, number, shared_limits
from visualize.numbers.shift_matrix import shift_matrix
from visualize.numbers.sinks import sink_cells
from visualize.numbers.stack import PaneStack, Stack, stack
from visualize.numbers.token_choice import answer_indices
from visualize.numbers.tokens import Chip, chips
from visualize.numbers.top_heads import top_heads
from visualize.pictures.animation import animation
from visualize.pictures.bar import colour_bar
from visualize.pictures.drawing import Drawing
from visualize.pictures.file_name import file_name
from visualize.pictures.marks import Marks
from visualize.pictures.overlay import overlay
from visualize.pictures.palette import DIVERGING, SEQUENTIAL, colour_table
from visualize.pictures.panes import Pane, Panes, panes
from visualize.pictures.resize import resize
from visualize.pictures.shares import shares_picture
from visualize.pictures.sheet import numbers_line, sheet
from visualize.report.document import report_html
from visualize.report.notebook import notebook_html
from visualize.stacks.heads_body import heads_body
from visualize.stacks.scene import scene_json
from visualize.stacks.stack_body import stack_body
from visualize.stacks.stack_choice import StackChoice

__all__ = [
    "DIVERGING",
    "SEQUENTIAL",
    "BoxScores",
    "Change",
    "Chip",
    "ColourLimits",
    "Drawing",
    "Finding",
    "HeadInBox",
    "InBox",
    "LookedSaid",
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
    "box_scores",
    "caption",
    "change_per_token",
    "chips",
    "colour_bar",
    "colour_table",
    "difference",
    "diverging_limits",
    "file_name",
    "finding",
    "group_shares",
    "heads_body",
    "layer_of_largest_change",
    "looked_said",
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
    "shares_picture",
    "sheet",
    "shift_matrix",
    "sink_cells",
    "stack",
    "stack_body",
    "token_of_largest_change",
    "top_heads",
]
