"""Files that came through Gradio's upload, and who sent them: no other file of this machine is opened."""

from collections.abc import Mapping
from pathlib import Path

import gradio as gr
from gradio.utils import get_upload_folder

from inference.errors import InputError


def uploaded(image: object) -> Path:
    """The file of a picture that came through Gradio's upload.

    Raises:
        InputError: no picture, or a file that is not there (any more).
    """
    given = image.get("path") if isinstance(image, Mapping) else None
    if not isinstance(given, str):
        raise InputError("There is no image yet.", "Drop one, paste one, or choose an example.")
    path = Path(given).resolve()
    if not path.is_relative_to(Path(get_upload_folder()).resolve()) or not path.is_file():
        raise InputError("The image is no longer here.", "Choose it again.")
    return path


def address_of(request: gr.Request) -> str:
    """Who sent a request, for the rate limit."""
    return str(request.client.host) if request.client else "unknown"
