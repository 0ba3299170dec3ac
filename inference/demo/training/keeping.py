"""What a training keeps outside its result, so that one that was broken off goes on where it was.

A state is kept under a name, with a text that says what it was made with; one that was made otherwise is refused, never
taken for another. It must not know what a stage is.
"""

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

log = logging.getLogger(__name__)


class Keeping:
    """States in one folder; without a folder, nothing is kept and nothing is found."""

    def __init__(self, folder: Path | None) -> None:
        """Args: folder: Made when something is first kept; None keeps nothing."""
        self._folder = folder

    def find(self, name: str, made_with: str, *, others: bool = False) -> dict[str, Any] | None:
        """The state of that name, or None where none is kept.

        Args:
            name: of the state, without an ending.
            made_with: everything that decided it, as text.
            others: whether one that was made with something else is none; else that is an error.

        Raises:
            ValueError: a state of that name was made with something else.
        """
        if self._folder is None or not (file := self._folder / f"{name}.pt").exists():
            return None
        state: dict[str, Any] = torch.load(file, weights_only=True)
        if state.pop("made_with") != made_with:
            if others:
                return None
            raise ValueError(f"{file} was made with other stages or another seed; delete it or resume elsewhere")
        log.info("%s: taken from %s", name, file)
        return state

    def keep(self, name: str, made_with: str, state: Mapping[str, Any]) -> None:
        """Keep a state; a run that ends while it is written leaves the one before."""
        if self._folder is None:
            return
        self._folder.mkdir(parents=True, exist_ok=True)
        part = self._folder / f"{name}.pt.part"
        torch.save({"made_with": made_with, **state}, part)
        part.replace(self._folder / f"{name}.pt")

    def drop(self, name: str) -> None:
        """Forget a state; one that is not kept is none."""
        if self._folder is not None:
            (self._folder / f"{name}.pt").unlink(missing_ok=True)
