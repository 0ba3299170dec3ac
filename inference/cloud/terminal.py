"""One analysis on Modal from a terminal: pictures and numbers into a folder, a line for what happens. No page."""

import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from inference.cloud.backend import ModalBackend
from inference.cloud.calls import Handles
from inference.errors import VisualizerError
from inference.photo import decode_photo
from inference.records import Comparison, Progress
from inference.request import Request
from inference.settings import Settings


def try_out(
    settings: Settings, handles: Handles, image: Path, prompt: str, adapters: Sequence[str], tokens: int, folder: Path
) -> None:
    """Ask base and adapters about a picture; write their overlays and the comparison, print the numbers.

    Args:
        settings: of the deployment.
        handles: what to call.
        image: a picture's file.
        prompt: what to ask.
        adapters: names of adapters; base is always shown.
        tokens: most tokens of an answer.
        folder: where one PNG per adapter and `comparison.npz` go.

    Raises:
        SystemExit: with a sentence, where something is wrong.
    """
    try:
        request = Request(
            decode_photo(image.read_bytes(), settings.limits),
            prompt,
            adapters=(None, *adapters),
            max_new_tokens=tokens,
        )
        for event in ModalBackend(settings, handles=handles).stream(request):
            if isinstance(event, Progress):
                _print(f"{event.elapsed:6.1f} s  {event.sentence}")
    except (VisualizerError, OSError) as error:
        sys.exit(f"error: {error}")
    assert isinstance(event, Comparison)
    folder.mkdir(parents=True, exist_ok=True)
    event.save(folder / "comparison.npz")
    _draw(event, folder)


def _draw(comparison: Comparison, folder: Path) -> None:
    from visualize.page import draw, opening_choice  # late: whoever only calls Modal draws nothing
    from visualize.pictures.sheet import numbers_line, sheet

    base, *others = comparison.recordings
    for recording in comparison.recordings:
        _print(f"{recording.adapter or 'base'} answers: {recording.answer}")
    for shown in [[base, other] for other in others] or [[base]]:
        pair = replace(comparison, recordings=tuple(shown))
        panes = draw(pair, opening_choice(pair))
        path = folder / f"{shown[-1].adapter or 'base'}.png"
        sheet(panes).save(path)
        for pane in panes:
            _print(f"{pane.variant}: {numbers_line(panes, pane)}")
        _print(f"written: {path}")


def _print(line: str) -> None:
    sys.stdout.write(line + "\n")
