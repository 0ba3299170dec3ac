"""`python -m tests.precision_table`: how far the rows of each kind of adapter are from upstream's, per dtype and path.

Upstream is `PeftModel.from_pretrained` and `output_attentions`, eager, in the same dtype and in the same steps as the
engine (`attentions_in_steps`). What is compared: the map of every token, of every layer (mean over heads), the maps of
every head at the focus, and the share of the image, of every head.
"""

import sys
import tempfile
from pathlib import Path

import numpy as np
import torch

from inference.adapters.catalog import AdapterCatalog
from inference.model.engine import Engine
from inference.records import Recording
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


def largest_difference(recording: Recording, rows: np.ndarray, checkpoint: Path) -> float:
    """Between all that a recording holds of the image and upstream's rows."""
    prompt = upstream.build_prompt(checkpoint, IMAGE, PROMPT)
    asked = rows[:, :, [token.query for token in recording.tokens]]
    on_image = asked[..., prompt.image_start : prompt.image_end]
    (focus,) = recording.focus
    layers, heads = rows.shape[:2]
    pairs = (
        (recording.by_token.reshape(len(recording.tokens), layers, -1), on_image.mean(axis=1).transpose(1, 0, 2)),
        (recording.by_head.reshape(layers, heads, -1), on_image[:, :, focus]),
        (recording.image_share, on_image.sum(axis=-1).transpose(2, 0, 1)),
    )
    return max(float(np.abs(ours - theirs).max()) for ours, theirs in pairs)


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
