"""Equality with upstream is claimed for the pixels of its PIL processor; this is how far its default one is from them.

Upstream's default resizes with torchvision, which this product does not need. So it is run by an interpreter apart,
where one is named: `TORCHVISION_PYTHON=/path/to/python pytest` and this file.
That environment holds torch, torchvision, pillow and the tests' own version of transformers, for example by
`pip install torch==2.14.1 torchvision==0.29.1 transformers==5.23.0 pillow`.

Measured with these: ids and grids identical; pixels equal where nothing is resized, else at most 2 of 255 levels apart,
0.0005–0.006 on average. What that does to the rows after the image, in float32, with random weights and with the
embedded model: single heads 2e-5 … 9e-4, means over heads 8e-6 … 3e-4, image shares 3e-5 … 8e-4.
"""

import os
import subprocess
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from tests import upstream
from tests.conftest import picture

PYTHON = os.environ.get("TORCHVISION_PYTHON", "")
PROMPT = "What is in the middle?"
LEVEL = 1 / 127.5  # of 0–255, as mean 0.5 and standard deviation 0.5 scale it
UNRESIZED = "as it is"

pytestmark = pytest.mark.skipif(
    not PYTHON,
    reason="needs torchvision apart: name its interpreter in TORCHVISION_PYTHON (see this file's first lines)",
)


def pictures() -> dict[str, np.ndarray]:
    """Photo-like, noise and hard edges, at sizes that are enlarged or reduced; and one of whole cells."""
    noise = np.random.default_rng(0).integers(0, 256, (200, 307, 3), dtype=np.uint8)
    edges = (np.indices((150, 410)).sum(axis=0) // 7 % 2 * 255).astype(np.uint8)[..., None].repeat(3, axis=2)
    smooth = {name: np.asarray(picture(*size)) for name, size in {UNRESIZED: (96, 160), "photo": (333, 500)}.items()}
    return smooth | {"small": np.asarray(picture(20, 45)), "noise": noise, "edges": edges}


@pytest.fixture(scope="module")
def by_default(dense: Path, tmp_path_factory) -> dict[str, np.ndarray]:
    """What upstream's default processor makes of each picture, see `upstream_processor.py`."""
    folder = tmp_path_factory.mktemp("torchvision")
    np.savez(folder / "pictures.npz", **pictures())
    program = Path(__file__).with_name("upstream_processor.py")
    command = [PYTHON, program, dense, folder / "pictures.npz", folder / "out.npz", PROMPT]
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-2_000:]
    with np.load(folder / "out.npz") as results:
        return dict(results)


@pytest.mark.parametrize("name", pictures())
def test_ids_and_grids_are_the_same_and_pixels_within_two_levels(name, dense, by_default):
    prompt = upstream.build_prompt(dense, Image.fromarray(pictures()[name]), PROMPT)
    assert by_default[f"{name}.input_ids"].tolist() == [prompt.input_ids.tolist()]
    assert by_default[f"{name}.image_grid_thw"].tolist() == [list(prompt.image.grid_thw)]
    apart = np.abs(by_default[f"{name}.pixel_values"] - prompt.image.patches()) / LEVEL
    assert apart.max() <= (0.01 if name == UNRESIZED else 2.01)


@pytest.mark.parametrize("name", pictures())
def test_rows_differ_by_no_more_than_a_thousandth(name, dense, by_default):
    prompt = upstream.build_prompt(dense, Image.fromarray(pictures()[name]), PROMPT)
    model, given = upstream.load(dense), upstream.inputs(prompt)
    rows = []
    for pixels in (given["pixel_values"], torch.from_numpy(by_default[f"{name}.pixel_values"])):
        with torch.no_grad():
            output = model(**given | {"pixel_values": pixels}, output_attentions=True, use_cache=False)
        rows.append(torch.stack([layer[0] for layer in output.attentions])[:, :, prompt.image_end :])
    assert float((rows[0] - rows[1]).abs().max()) <= (1e-5 if name == UNRESIZED else 2e-3)
