"""What each part of an adapter does alone, and the whole at other strengths."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager

import numpy as np

from inference.adapters.portion import GROUPS, Portion, group_of, layer_of
from inference.errors import SelectionError
from inference.explanations import Parts
from inference.measures import image_share
from inference.model.cache import PrefixCache
from inference.model.context import RequestContext
from inference.model.replays import Replays
from inference.questions import PartsOptions

#: Puts a portion of the second variant's adapter on, and gives what it reads of the image.
Use = Callable[[Portion], AbstractContextManager[PrefixCache]]


def check_parts(context: RequestContext) -> None:
    """Refuse what cannot be taken apart before anything runs.

    Raises:
        SelectionError: not base and one adapter, or an adapter that is already only partly on.
    """
    request = context.request
    if len(request.adapters) != 2 or request.adapters[0] is not None or request.adapters[1] is None:
        named = ", ".join(name or "base" for name in request.adapters)
        raise SelectionError(
            f"An adapter is taken apart beside base; asked for {named}.", 'For example adapters=(None, "name").'
        )
    if request.scale != 1 or request.modules is not None:
        raise SelectionError(
            "An adapter is taken apart as it was trained; a strength or modules were asked for.",
            "Leave scale and modules as they are.",
        )


def portions(layers: int) -> dict[str, Portion]:
    """The parts by name: the groups of modules, and the thirds of the language model's layers."""
    thirds = [part for part in np.array_split(np.arange(layers), 3) if len(part)]
    named = {f"layers {part[0]}–{part[-1]}": Portion(layers=(int(part[0]), int(part[-1]))) for part in thirds}
    return {group: Portion(group=group) for group in GROUPS} | named


class PartEffects:
    """The replays of one adapter in parts.

    Args:
        replays: of base and the adapter.
        options: which strengths.
        adapted: paths of the modules that the adapter changes.
        use: puts a portion of it on.
    """

    def __init__(self, replays: Replays, options: PartsOptions, adapted: frozenset[str], use: Use) -> None:
        self._replays, self._options, self._adapted, self._use = replays, options, adapted, use

    def run(self) -> Parts:
        """All replays; a part in which the adapter changes nothing is base, and is not run.

        Raises:
            CaptureError: a number that is not finite.
        """
        replays, name = self._replays, self._replays.names[1]
        natural = []
        for variant in (0, 1):
            with replays.switch(variant):
                natural.append(self._measure(variant, f"the text as it is, of {replays.names[variant]}"))
        base, adapter = natural
        parts = dict[str, tuple[float, float]]()
        for part, portion in portions(replays.info.num_layers).items():
            if any(portion.holds(path) for path in self._adapted):
                with self._use(portion) as prefix:
                    parts[part] = self._measure(1, f"{name} in {part} alone", prefix)
            else:
                parts[part] = base
        outside = sorted({path for path in self._adapted if group_of(path) is None and layer_of(path) is None})
        if outside:
            also = ", ".join(outside[:4])
            replays.context.notes.append(f"{name} also changes {also}, which is in none of the parts.")
        curve = []
        for strength in self._options.strengths:
            if strength == 1:
                curve.append(adapter)
                continue
            with self._use(Portion(scale=strength)) as prefix:
                curve.append(self._measure(1, f"{name} at strength {strength:g}", prefix))
        return Parts(
            **replays.record(),
            names=tuple(parts),
            strengths=self._options.strengths,
            logprobs=np.array([each[0] for each in natural]),
            shares=np.array([each[1] for each in natural]),
            part_logprobs=np.array([each[0] for each in parts.values()]),
            part_shares=np.array([each[1] for each in parts.values()]),
            strength_logprobs=np.array([each[0] for each in curve]),
            strength_shares=np.array([each[1] for each in curve]),
        )

    def _measure(self, seeing: int, what: str, prefix: PrefixCache | None = None) -> tuple[float, float]:
        """Log-probability of the measured token, and image share of its row (mean over layers and heads)."""
        row = self._replays.measured_row()
        logits = self._replays.run(seeing, what, prefix=prefix, recorder=row)
        return self._replays.logprob(logits), float(image_share(row.maps(self._replays.prompt.grid)).mean())
