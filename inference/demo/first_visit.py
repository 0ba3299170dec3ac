"""Make the result that the page shows before anything ran: `python -m inference.demo.first_visit`.

It is an ordinary analysis of the first example, a click on a drawn screen, with the committed weights; a test holds the
shipped file to a fresh run of this very function.
"""

from dataclasses import replace

from inference.backend import open_backend
from inference.demo import EXAMPLE_SCREENS, FIRST_VISIT
from inference.records import Comparison
from inference.request import Request


def first_visit() -> Comparison:
    """Analyse the first example with base and the adapter that it is about, on the reference path, on a CPU."""
    shown = EXAMPLE_SCREENS[0]
    backend = open_backend("local", device="cpu", attention="eager")
    try:
        return backend.compare(Request(shown.draw().image, shown.prompt, adapters=(None, shown.adapter)))
    finally:
        backend.close()


if __name__ == "__main__":
    # the shipped file says how the numbers were made, not how long that took on one machine or which version it was
    comparison = first_visit()
    replace(comparison, timings={}, model=replace(comparison.model, version="shipped")).save(FIRST_VISIT)
