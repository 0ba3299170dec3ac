"""What adapters cost: putting one on the model, switching among those that are on it, and where the time goes.

    python -m tests.benchmarks.adapters                  # switching: 36 layers × 7 modules × 4 adapters, narrow layers
    python -m tests.benchmarks.adapters --load-8b        # also: a rank-64 adapter of 8B's shapes

Switching is what `AdapterManager.use` does around every variant: PEFT's `set_adapter`, `enable_adapter_layers` and, on
the way out, `disable_adapter_layers`. It does not depend on the layers' width. Limit: 100 ms for the three together.
"""

import argparse
import contextlib
import logging
import statistics
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import torch

from inference.adapters.catalog import AdapterCatalog
from inference.adapters.manager import AdapterManager
from inference.model.checkpoint import load_checkpoint
from tests.benchmarks.shapes import SHAPES, Shape, write_adapters, write_model

NARROW = Shape(36, 64, 4, 2, 32, 96, (2, 64, 96), (0,), vocabulary=1_024)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--load-8b", action="store_true")
    parser.add_argument("--runs", type=int, default=21)
    options = parser.parse_args()
    logging.disable(logging.WARNING)
    with _manager(NARROW, 4, 8) as (manager, names):
        for name in names:
            manager.load(name)
        seconds = []
        for run in range(options.runs):
            begin = time.perf_counter()
            with manager.use(names[run % len(names)]):
                pass
            seconds.append(time.perf_counter() - begin)
    print(f"switching, 36 × 7 × 4: median {1e3 * statistics.median(seconds):.1f} ms, most {1e3 * max(seconds):.1f} ms")
    if options.load_8b:
        # eight of the 36 layers, to fit small machines: time and bytes of loading grow with the layers
        with _manager(replace(SHAPES["8B"], layers=8, vocabulary=1_024), 2, 64) as (manager, names):
            for name in names:
                begin = time.perf_counter()
                manager.load(name)
                print(f"loading rank 64, 8 of 8B's 36 layers × 7 modules: {time.perf_counter() - begin:.2f} s")


@contextlib.contextmanager
def _manager(shape: Shape, count: int, rank: int):
    """A manager over a random-weight model with `count` adapters of all seven modules; its probe is a constant."""
    with tempfile.TemporaryDirectory() as folder:
        write_model(Path(folder, "model"), shape)
        names = write_adapters(Path(folder, "adapters"), Path(folder, "model"), count, rank, "all")
        checkpoint = load_checkpoint(str(Path(folder, "model")), "cpu", "bfloat16")
        catalog = AdapterCatalog({name: Path(folder, "adapters", name) for name in names})
        yield (
            AdapterManager(checkpoint.model, catalog, checkpoint.skeleton, lambda: torch.zeros(1), 2**34),
            names,
        )


if __name__ == "__main__":
    main()
