"""Decide what a comparison looks like in a notebook: its report, in a frame that sees nothing of the notebook.

Jupyter, VS Code and Colab all show a frame whose document stands in the cell itself; none of them lets it load more.
"""

from html import escape

from inference.records import Comparison
from visualize.report.document import report_html, title_of

#: Bytes of the document in the frame: a notebook keeps them in its file.
LARGEST = 8_000_000

_HEIGHT = 900  # in pixels


def notebook_html(comparison: Comparison) -> str:
    """Show a comparison in a notebook.

    Args:
        comparison: what was recorded.

    Returns:
        One `<iframe>` with a smaller report, which says what it leaves out; its scripts run in a sandbox.
    """
    return (
        f'<iframe title="{escape(title_of(comparison))}" sandbox="allow-scripts" width="100%" height="{_HEIGHT}" '
        f'style="border:0" srcdoc="{escape(report_html(comparison, largest=LARGEST))}"></iframe>'
    )
