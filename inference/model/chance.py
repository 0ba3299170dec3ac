"""A change beside that of random adapters of equal size: every head's divergence, and that of the controls."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager

import numpy as np

from inference.errors import SelectionError
from inference.explanations import Chance, Numbers
from inference.measures import image_share, js_divergence
from inference.model.cache import PrefixCache
from inference.model.context import RequestContext
from inference.model.replays import Replays
from inference.questions import ChanceOptions
from inference.recording import CapturePath, FloatArray

#: Opens a control by its seed, and gives what it read of the image.
Control = Callable[[int], AbstractContextManager[PrefixCache]]


def check_chance(context: RequestContext) -> None:
    """Refuse what cannot be held against chance before anything runs.

    Raises:
        SelectionError: not two variants of which the second is an adapter.
    """
    variants = context.request.adapters
    if len(variants) != 2 or variants[1] is None:
        named = ", ".join(name or "base" for name in variants)
        raise SelectionError(
            f"A test against chance is of one adapter, the second of two variants; asked for {named}.",
            'For example adapters=(None, "name").',
        )


class ChanceTest:
    """The replays of one test.

    Args:
        replays: of two variants.
        options: how many controls.
        control: opens them.
    """

    def __init__(self, replays: Replays, options: ChanceOptions, control: Control) -> None:
        self._replays, self._options, self._control = replays, options, control

    def run(self) -> Chance:
        """All replays.

        Raises:
            CaptureError: a weight that is not finite.
        """
        replays, options = self._replays, self._options
        rows = []
        for variant, name in enumerate(replays.names):
            with replays.switch(variant):
                rows.append(self._row(variant, f"the text as it is, of {name}"))
        first, second = rows
        other: CapturePath = "rows" if replays.path == "eager" else "eager"
        with replays.switch(0):
            again = self._row(0, f"the same on the other path, of {replays.names[0]}", path=other)
        controls, shares = list[Numbers](), list[Numbers]()
        for index in range(options.controls):
            with self._control(options.seed * 100_003 + index) as prefix:
                what = f"random adapter {index + 1} of {options.controls}, as large as {replays.names[1]}"
                row = self._row(1, what, prefix)
            controls.append(_divergence(first, row))
            shares.append(_share_change(first, row))
        return Chance(
            **replays.record(),
            divergence=_divergence(first, second),
            controls=np.array(controls),
            share=_share_change(first, second),
            control_shares=np.array(shares),
            floor=_divergence(first, again),
            seed=options.seed,
        )

    def _row(
        self, seeing: int, what: str, prefix: PrefixCache | None = None, path: CapturePath | None = None
    ) -> FloatArray:
        row = self._replays.measured_row()
        self._replays.run(seeing, what, prefix=prefix, recorder=row, path=path)
        return row.maps(self._replays.prompt.grid)


def _divergence(first: FloatArray, second: FloatArray) -> Numbers:
    """`(layers, heads)`; a row that puts nothing on the image has none there, which is no change."""
    return np.nan_to_num(js_divergence(first, second), nan=0.0)


def _share_change(first: FloatArray, second: FloatArray) -> Numbers:
    return image_share(second) - image_share(first)
