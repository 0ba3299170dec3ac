"""The page's handlers as tests call them: what the input column sends, who sends it, what comes back."""

import io
import threading
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from inference.settings import Settings
from tests.built_page import build_handlers
from tests.conftest import picture
from tests.scripted_backend import ScriptedBackend
from visualize.stacks.scene import scene_json

FIRST_ANSWER = 5  # index of the scripted answer's first token


def visitor(session: str = "one", host: str = "192.0.2.1") -> Any:
    return SimpleNamespace(session_hash=session, client=SimpleNamespace(host=host))


def upload(folder: Path, name: str = "photo.png", seed: int = 0, content: bytes | None = None) -> dict[str, str]:
    buffer = io.BytesIO()
    picture(64, 96, seed).save(buffer, "PNG")
    (folder / name).write_bytes(content if content is not None else buffer.getvalue())
    return {"path": str(folder / name)}


def page_over(backend: ScriptedBackend, **settings: Any) -> Any:
    page = build_handlers(Settings(model="scripted", **settings), lambda: backend)
    page.service.backend.wait()
    return page


def fields(image: Any, **changes: Any) -> list[Any]:
    """What the input column sends, in the order of `PageForm`."""
    usual = {
        "image": image,
        "prompt": "What is here?",
        "system": "",
        "adapter": ["find-red"],
        "compare": "base",
        "replay": "adapter",
        "max_new_tokens": 32,
        "scale": 1,
        "modules": [],
        "more_images": None,
    }
    return list((usual | changes).values())


def analyze(page: Any, image: Any, who: Any = None, **changes: Any) -> list[Any]:
    return list(page.analyze(who or visitor(), *fields(image, **changes)))


def scene(page: Any, done: Any) -> Any:
    """What the viewer asks first of a result."""
    result = page.service.looked_at(done.viewer["ticket"])
    return scene_json(result.comparison, written=result.own, opens=result.opens)


def look(page: Any, done: Any, **changes: Any) -> dict[str, Any]:
    """What the viewer says is looked at: where the result opens, and what was changed since."""
    return {"choice": scene(page, done)["opening"] | changes}


def record(page: Any, done: Any, who: Any = None, **changes: Any) -> list[Any]:
    return list(page.record(done.key, look(page, done, **changes), who or visitor()))


def one(views: Any) -> Any:
    """The only view of a handler: one that yields none at all would make Gradio empty every output."""
    (view,) = views
    return view


def is_skipped(value: Any) -> bool:
    return isinstance(value, dict) and value.get("__type__") == "update" and len(value) == 1


def wait_for(condition: Any, seconds: float = 5.0) -> None:
    waited = threading.Event()
    for _ in range(int(seconds / 0.02)):
        if condition():
            return
        waited.wait(0.02)
    assert condition()
