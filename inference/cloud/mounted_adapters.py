"""Which adapters a container offers: those of the deployment's settings and those of a volume that may change."""

import logging
import time
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from inference.settings import Settings

RELOAD_SECONDS = 10.0  # so often at most a container looks for new adapters on the volume

_log = logging.getLogger(__name__)


class MountedAdapters:
    """The adapters of a container, looked for anew from time to time.

    Args:
        volume: Modal's volume.
        settings: of the deployment, the volume's folder as its adapters folder.
    """

    def __init__(self, volume: Any, settings: Settings) -> None:
        self._volume = volume
        self._settings = settings
        self._looked = -RELOAD_SECONDS

    def catalog(self, model: str) -> Any:
        """The adapters on offer for a base model, as an `AdapterCatalog`."""
        from inference.adapters.catalog import AdapterCatalog  # late: the caller's side imports no model code

        return AdapterCatalog.from_settings(replace(self._settings, model=model), mounted=True)

    def look_again(self) -> None:
        """See what was uploaded to the volume since this container last looked."""
        self._looked = time.monotonic()
        try:
            self._volume.reload()
        except Exception:  # noqa: BLE001 - a file of it is open, or the network's fault: what was seen before counts
            _log.warning("the adapters' volume could not be looked at again", exc_info=True)

    def look_again_for(self, names: Iterable[str | None], model: str) -> None:
        """The same, where one of these is not on offer, or where the last look is long ago."""
        missing = set(names) - {None, *self.catalog(model).names}
        if missing or time.monotonic() - self._looked > RELOAD_SECONDS:
            self.look_again()
