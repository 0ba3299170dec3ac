"""How often a change is called beyond chance, on the embedded model: `python -m tests.chance_table`.

Of `find-red` on scenes whose target is not the largest object, of `untouched`, which changes nothing, and of adapters
that are themselves random: another control of `find-red` in each scene, which must be called beyond chance in at most
1/17 of the scenes and three standard errors more.
"""

import argparse
import json
import math
import tempfile
from collections.abc import Iterator
from pathlib import Path

import torch
from safetensors.torch import save_file

from inference import ChanceOptions, Request
from inference.adapters.catalog import AdapterCatalog
from inference.adapters.portion import Portion
from inference.demo import WEIGHTS_DIR
from inference.model.engine import Engine
from inference.settings import Settings
from tests.where_it_looks import scenes

ADAPTER, WORD, PROMPT = "find-red", "red", "Describe the image."
CONTROLS = 16
OTHER_SEED = 7_000  # of the random adapters that stand for an adapter: no control has it


def random_adapter(engine: Engine, seed: int, folder: Path) -> Path:
    """A control of the adapter as a folder of its own."""
    folder.mkdir(exist_ok=True)
    with engine.adapters.use_control(ADAPTER, Portion(), seed):
        peft_id = engine.adapters.load_id(ADAPTER)
        tensors = {
            f"base_model.model.{name.replace(f'.{peft_id}.', '.')}": each.detach().clone().contiguous()
            for name, each in engine.checkpoint.model.named_parameters()
            if f".{peft_id}." in name
        }
    save_file(tensors, folder / "adapter_model.safetensors", {"format": "pt"})
    config = WEIGHTS_DIR / "adapters" / ADAPTER / "adapter_config.json"
    (folder / "adapter_config.json").write_text(json.dumps(json.loads(config.read_text())))
    return folder


def beyond(engine: Engine, adapter: str, count: int, seed: int) -> Iterator[bool]:
    for index, drawn in enumerate(scenes(WORD, count)):
        request = Request(drawn.image, PROMPT, adapters=(None, adapter), max_new_tokens=1)
        found = engine.explain(request, ChanceOptions(controls=CONTROLS, seed=seed + index))
        yield bool(found.beyond.any())


def beyond_by_chance(settings: Settings, count: int) -> Iterator[bool]:
    """Random adapters in the place of the adapter, another one in each scene."""
    own = {ADAPTER: WEIGHTS_DIR / "adapters" / ADAPTER}
    with tempfile.TemporaryDirectory() as folder:
        maker = Engine(settings, AdapterCatalog(own))
        maker.adapters.load(ADAPTER)
        for index, drawn in enumerate(scenes(WORD, count)):
            adapter = random_adapter(maker, OTHER_SEED + index, Path(folder, f"random-{index}"))
            engine = Engine(settings, AdapterCatalog({"random": adapter}))
            request = Request(drawn.image, PROMPT, adapters=(None, "random"), max_new_tokens=1)
            found = engine.explain(request, ChanceOptions(controls=CONTROLS, seed=index))
            yield bool(found.beyond.any())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scenes", type=int, default=200)
    arguments = parser.parse_args()
    settings, count = Settings(model="demo", device="cpu"), arguments.scenes
    engine = Engine(settings, AdapterCatalog.from_settings(settings))
    level = 1 / (CONTROLS + 1)
    most = level + 3 * math.sqrt(level * (1 - level) / count)
    print("| adapter | scenes | called beyond chance |", "|---|---|---|", sep="\n", flush=True)
    for name, calls in (
        (ADAPTER, beyond(engine, ADAPTER, count, 0)),
        ("untouched", beyond(engine, "untouched", count, 0)),
        (f"random, at most {most:.1%}", beyond_by_chance(settings, count)),
    ):
        found = list(calls)
        print(f"| {name} | {len(found)} | {sum(found) / len(found):.1%} |", flush=True)


if __name__ == "__main__":
    torch.set_num_threads(1)
    main()
