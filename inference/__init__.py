"""Run Qwen3-VL with and without LoRA adapters and record what it attends to; importing this loads no framework."""

from inference.backend import Backend, open_backend
from inference.descriptions import AdapterInfo, ModelInfo
from inference.errors import VisualizerError
from inference.explanations import Attribution, Blur, Chance, Explanation, Knockout, Parts
from inference.places import Frame
from inference.questions import AttributionOptions, BlurOptions, ChanceOptions, KnockoutOptions, PartsOptions
from inference.recording import Recording, Token
from inference.records import AnswerToken, Comparison, Event, Progress
from inference.request import Request
from inference.said import said_in
from inference.settings import Limits, Settings

__all__ = [
    "AdapterInfo",
    "AnswerToken",
    "Attribution",
    "AttributionOptions",
    "Backend",
    "Blur",
    "BlurOptions",
    "Chance",
    "ChanceOptions",
    "Comparison",
    "Event",
    "Explanation",
    "Frame",
    "Knockout",
    "KnockoutOptions",
    "Limits",
    "ModelInfo",
    "Parts",
    "PartsOptions",
    "Progress",
    "Recording",
    "Request",
    "Settings",
    "Token",
    "VisualizerError",
    "open_backend",
    "said_in",
]
