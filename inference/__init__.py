"""Run Qwen3-VL with and without LoRA adapters and record what it attends to; importing this loads no framework."""

from inference.backend import Backend, open_backend
from inference.errors import VisualizerError
from inference.records import (
    AdapterInfo,
    AnswerToken,
    Attribution,
    Comparison,
    Event,
    ModelInfo,
    Progress,
    Recording,
    Token,
)
from inference.request import Request
from inference.settings import Limits, Settings

__all__ = [
    "AdapterInfo",
    "AnswerToken",
    "Attribution",
    "Backend",
    "Comparison",
    "Event",
    "Limits",
    "ModelInfo",
    "Progress",
    "Recording",
    "Request",
    "Settings",
    "Token",
    "VisualizerError",
    "open_backend",
]
