"""The line on top of the page, in words: which model, on what it runs, who works and who waits."""

from inference.descriptions import BackendStatus
from inference.service.analysis import AnalysisService
from visualize.page import Json


def status_json(service: AnalysisService) -> Json:
    """State ("ready", "loading" or "failed") and words, as they are now; never waits."""
    failure, settings = service.backend.failure(), service.settings
    model = settings.base_model or "the deployed model"
    if failure is not None:
        return {"state": "failed", "words": [model, settings.backend, str(failure)]}
    if not service.backend.ready():
        opening = "loading the model…" if settings.backend == "local" else "reaching Modal…"
        return {"state": "loading", "words": [model, settings.backend, opening, *_busy(service)]}
    ready = service.backend.wait().status()
    queue = _busy(service) or ["nobody is waiting"]
    return {"state": "ready", "words": [ready.model, ready.backend, _machine(ready), *queue]}


def _busy(service: AnalysisService) -> list[Json]:
    running, waiting = service.queue.running, service.queue.waiting
    words: list[Json] = []
    if running:
        words.append("1 analysis is running" if running == 1 else f"{running} analyses are running")
    if waiting:
        words.append(f"{waiting} waiting")
    return words


def _machine(status: BackendStatus) -> str:
    if not status.device:
        return f"a GPU ({' or '.join(status.gpus)}) starts when it is needed"
    return f"{status.device}, {status.dtype}"
