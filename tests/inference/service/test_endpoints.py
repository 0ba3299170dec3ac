"""The endpoints for `gradio_client`."""

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
    assert not Path(image["path"]).exists()
    with pytest.raises(gr.Error, match="&lt;b&gt;"):
        endpoints.analyze(upload(uploads), "What?", visitor(), view="<b>")
