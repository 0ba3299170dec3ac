"""The endpoints for `gradio_client`."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import gradio as gr
import pytest

from inference.service.endpoints import Endpoints
from tests.inference.service.events import (
    upload,
    visitor,
)


def test_programs_get_the_same_maps_through_gradio(page: Any, uploads: Path):
    image = upload(uploads)
    endpoints = Endpoints(page.service)
    found = endpoints.analyze(image, "What?", visitor(), adapter=["base", "find-red"], layer=1, head="1", token="6")
    assert [each["adapter"] for each in found["maps"]] == ["base", "find-red"]
    assert (found["maps"][0]["layer"], found["maps"][0]["head"], found["maps"][0]["token"]) == (1, 1, 6)
    assert found["maps"][0]["overlay"].startswith("data:image/png;base64,")
    with pytest.raises(gr.Error, match="&lt;b&gt;"):
        endpoints.analyze(upload(uploads), "What?", visitor(), view="<b>")


def test_programs_that_send_the_same_file_at_once_do_not_take_it_from_each_other(page: Any, uploads: Path):
    """Gradio stores an upload by its content: the same photo lies at the same path for everyone."""
    image, endpoints = upload(uploads), Endpoints(page.service)
    with ThreadPoolExecutor(8) as threads:
        calls = [threads.submit(endpoints.analyze, image, "What?", visitor(host=f"host {n}")) for n in range(24)]
    assert [len(call.result()["maps"]) for call in calls] == [1] * 24


def test_no_program_can_take_the_opening_photo_away(page: Any, uploads: Path):
    path = uploads / "example.png"
    page.examples[0].image.save(path)
    Endpoints(page.service).analyze({"path": str(path)}, "What?", visitor())  # type: ignore[arg-type]
    assert path.exists()
