"""`python -m tests.precision_table`: how far the rows of each kind of adapter are from upstream's, per dtype and path.

Upstream is `PeftModel.from_pretrained` and `output_attentions`, eager, in the same dtype and in the same steps as the
engine (`attentions_in_steps`). What is compared: the map of every token, of every layer (mean over heads), the maps of
every head at the focus, and the share of the image, of every head.
"""

import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers.models.qwen3_vl_moe.modeling_qwen3_vl_moe import Qwen3VLMoeTextTopKRouter

from inference.adapters.catalog import AdapterCatalog
from inference.model.engine import Engine
from inference.recording import Recording
from inference.request import Request
from inference.settings import Settings
from tests import upstream
from tests.adapters import KINDS, write_adapter
from tests.checkpoints import write_checkpoint
from tests.conftest import picture

PROMPT, ANSWER = "What is in the middle?", (70, 71, 72, 73)
IMAGE = picture(96, 160)
DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
PATHS = ("eager", "rows")
CHECKPOINTS = {"dense": "dense", "untied": "dense-untied", "moe": "moe"}


def open_engine(checkpoint: Path, folders: dict[str, Path], dtype: str, path: str) -> Engine:
    return Engine(Settings(model=str(checkpoint), device="cpu", dtype=dtype, attention=path), AdapterCatalog(folders))


def record(engine: Engine, adapter: str | None) -> Recording:
    return engine.compare(Request(IMAGE, PROMPT, adapters=(adapter,), answer=ANSWER)).recordings[0]


def upstream_rows(checkpoint: Path, adapter: Path | None, dtype: str) -> np.ndarray:
    """`output_attentions` of image, words and answer, `(layers, heads, sequence, sequence)`."""
    kind = DTYPES[dtype]
    model = (
        upstream.load(checkpoint, kind) if adapter is None else upstream.load_with_adapter(checkpoint, adapter, kind)
    )
    return upstream.attentions_in_steps(model, upstream.build_prompt(checkpoint, IMAGE, PROMPT), ANSWER[:-1])


@contextmanager
def routing() -> Iterator[list[torch.Tensor]]:
    """The experts that tokens are sent to, `(tokens, experts per token)`, one entry per call of a layer's router."""
    chosen: list[torch.Tensor] = []
    forward = Qwen3VLMoeTextTopKRouter.forward

    def kept(self, hidden_states):
        logits, scores, indices = forward(self, hidden_states)
        chosen.append(indices.sort(dim=-1).values)
        return logits, scores, indices

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Qwen3VLMoeTextTopKRouter, "forward", kept)
        yield chosen


def layers_routed_alike(ours: list[torch.Tensor], theirs: list[torch.Tensor], layers: int) -> int:
    """How many layers, from the first, have the same input but for rounding: no token went to another expert before.

    Args:
        ours, theirs: see `routing`; ours may begin with calls of other passes.
        layers: of the model; without experts it is the answer.
    """
    pairs = zip(ours[len(ours) - len(theirs) :], theirs, strict=True)
    return min([layers, *(1 + call % layers for call, pair in enumerate(pairs) if not torch.equal(*pair))])


def largest_difference(recording: Recording, rows: np.ndarray, checkpoint: Path, layers: int | None = None) -> float:
    """Between all that a recording holds of the image and upstream's rows, in all layers or the first ones."""
    prompt = upstream.build_prompt(checkpoint, IMAGE, PROMPT)
    asked = rows[:, :, [token.query for token in recording.tokens]]  # (layers, heads, tokens, sequence)
    on_image = asked[..., prompt.image_start : prompt.image_end]
    (focus,) = recording.focus
    count, heads = rows.shape[:2]
    by_token = recording.by_token.reshape(len(recording.tokens), count, -1).transpose(1, 0, 2)
    pairs = (  # layers first
        (by_token, on_image.mean(axis=1)),
        (recording.by_head.reshape(count, heads, -1), on_image[:, :, focus]),
        (recording.image_share.transpose(1, 2, 0), on_image.sum(axis=-1)),
    )
    return max(float(np.abs(ours - theirs)[:layers].max()) for ours, theirs in pairs)


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        bases = {name: write_checkpoint(Path(folder, name), kind) for name, kind in CHECKPOINTS.items()}
        written = {
            kind: write_adapter(Path(folder, "adapters", kind), bases[base], **options)
            for kind, (base, options) in KINDS.items()
        }
        columns = [(dtype, path) for dtype in DTYPES for path in PATHS]
        _say("kind", *(f"{dtype} {path}" for dtype, path in columns))
        for name, base in bases.items():
            own = {kind: written[kind] for kind, (base_name, _) in KINDS.items() if base_name == name}
            engines = {column: open_engine(base, own, *column) for column in columns}
            for kind in (None, *own):
                rows = {dtype: upstream_rows(base, own[kind] if kind else None, dtype) for dtype in DTYPES}
                found = (largest_difference(record(engines[column], kind), rows[column[0]], base) for column in columns)
                _say(kind or f"base ({name})", *(f"{each:.1e}" for each in found))


def _say(first: str, *cells: str) -> None:
    sys.stdout.write(f"{first:<22}" + "".join(f"{each:>16}" for each in cells) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
