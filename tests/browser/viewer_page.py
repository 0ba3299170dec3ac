"""The viewer on a bare page: a small server hands out its modules and the real bytes of one comparison."""

import io
import json
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, cast, get_args
from urllib.parse import parse_qs, urlsplit

from PIL import Image

from inference.errors import SelectionError
from inference.records import Comparison
from visualize.numbers.head_choice import read_head
from visualize.numbers.token_choice import TokenChoice
from visualize.numbers.views import View
from visualize.stacks.box_body import box_body, box_matrix
from visualize.stacks.changes import changes_json
from visualize.stacks.head_changes import head_changes_json
from visualize.stacks.heads_body import heads_body
from visualize.stacks.scene import scene_json
from visualize.stacks.stack_body import stack_body
from visualize.stacks.stack_choice import StackChoice

VIEWER = Path(__file__).resolve().parents[2] / "visualize" / "viewer"
_KINDS = {".js": "text/javascript", ".css": "text/css"}

PAGE = """<!doctype html><html lang="en"><head><meta charset="utf-8"><title>viewer</title>
<meta name="viewport" content="width=device-width, initial-scale=1"><link rel="icon" href="data:,">
<link rel="stylesheet" href="viewer/viewer.css">
<style>body { margin: 12px; background: light-dark(#f7f7f5, #121416); color-scheme: light dark; }</style></head>
<body><main><h1 style="font-size: 0; margin: 0">viewer</h1><div id="viewer"></div></main><script type="module">
import { createViewer } from "./viewer/viewer.js";
const bytes = async (path, values) => {
  const answer = await fetch(path + "?" + new URLSearchParams(values));
  if (!answer.ok) throw (await answer.json()).error;
  return answer.arrayBuffer();
};
const asked = (choice) => ({ token: [choice.token].flat().join("-"), head: choice.head, view: choice.view,
  window: choice.window, against: choice.against });
window.told = [];
window.source = {
  photo: "photo.png",
  stack: (choice) => bytes("stack", asked(choice)),
  heads: (choice, layer) => bytes("heads", { ...asked(choice), layer }),
  changes: async (choice) => JSON.parse(new TextDecoder().decode(await bytes("changes", asked(choice)))),
  headChanges: async (choice) => JSON.parse(new TextDecoder().decode(await bytes("head_changes", asked(choice)))),
  box: async (choice, recorded) => {
    const box = choice.boxes.map((each) => each.join()).join(";");
    const sent = { ...asked(choice), recorded: recorded.join("-"), box };
    return JSON.parse(new TextDecoder().decode(await bytes("box", sent)));
  },
  record: (token) => told.push(["record", token]),
  replay: (answer) => told.push(["replay", answer]),
  address: true,
};
window.scene = await (await fetch("scene")).json();
window.viewer = createViewer(document.getElementById("viewer"), { auto: true });
viewer.show(scene, source, { key: "first" });
</script></body></html>"""


class ViewerServer:
    """What was asked of it, and how long it takes over an answer."""

    def __init__(self, comparison: Comparison, families: Mapping[str, tuple[str, int]]) -> None:
        self.comparison, self.families = comparison, families
        self.asked: list[str] = []
        self.delay: Callable[[str], float] = lambda path: 0.0
        self.address = ""

    def answer(self, path: str, query: dict[str, str]) -> tuple[str, bytes]:
        """Content type and body of a path; KeyError where there is nothing."""
        if path == "/":
            return "text/html", PAGE.encode()
        if path == "/scene":
            return "application/json", json.dumps(scene_json(self.comparison, families=self.families)).encode()
        if path == "/photo.png":
            file = io.BytesIO()
            Image.fromarray(self.comparison.image).save(file, "PNG")
            return "image/png", file.getvalue()
        if path in ("/stack", "/heads"):
            choice = read_choice(query)
            if path == "/stack":
                return "application/octet-stream", stack_body(self.comparison, choice)
            return "application/octet-stream", heads_body(self.comparison, choice, int(query["layer"]))
        if path == "/changes":
            return "application/json", json.dumps(changes_json(self.comparison, query["against"])).encode()
        if path == "/head_changes":
            return "application/json", json.dumps(head_changes_json(self.comparison, query["against"])).encode()
        if path == "/box":
            choice = read_choice(query)
            found = box_body(self.comparison, query["box"], choice)
            found |= box_matrix(self.comparison, query["box"], choice.against)
            return "application/json", json.dumps(found).encode()
        file_path = VIEWER / path.removeprefix("/viewer/")
        return _KINDS[file_path.suffix], file_path.read_bytes()


def read_choice(query: dict[str, str]) -> StackChoice:
    """The choice that a query asks for."""
    first, _, last = query["token"].partition("-")
    token: TokenChoice = "digits" if first == "digits" else (int(first), int(last)) if last else int(first)
    head = query["head"]
    assert query["view"] in get_args(View)
    return StackChoice(
        token,
        head=cast(Any, int(head) if head.isdigit() else read_head(head)),
        view=cast(View, query["view"]),
        window=int(query["window"]),
        against=query["against"],
    )


@contextmanager
def serve(comparison: Comparison, families: Mapping[str, tuple[str, int]] | None = None) -> Iterator[ViewerServer]:
    """The bare page over one comparison, on a port of its own; `families` as `scene_json` takes them."""
    server = ViewerServer(comparison, families or {})

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            parts = urlsplit(self.path)
            query = {name: values[0] for name, values in parse_qs(parts.query).items()}
            server.asked.append(self.path)
            time.sleep(server.delay(self.path))
            status = 200
            try:
                kind, body = server.answer(parts.path, query)
            except SelectionError as error:
                status, kind = 409, "application/json"
                said = {"code": "not_recorded", "message": error.message, "hint": error.hint}
                body = json.dumps({"error": said}).encode()
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: Any) -> None:
            """Requests are kept in `asked`, not printed."""

    http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.address = f"http://127.0.0.1:{http.server_port}"
    often = {"poll_interval": 0.02}  # seconds until it sees that it shall end
    thread = threading.Thread(target=http.serve_forever, kwargs=often, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        http.shutdown()
        http.server_close()
        thread.join()
