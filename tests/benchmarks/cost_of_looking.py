"""What recording costs beside plain generation: time and extra peak memory, as ratios, every mode in fresh processes.

    python -m tests.benchmarks.cost_of_looking

The model has random weights: text 12 layers × 512 wide (8 heads, 2 KV heads of 64), a vision tower whose share of the
plain time is about a third (as on Qwen3-VL-8B), one image of 34 × 60 cells (2,040 image tokens), 16 new tokens. The
modes run in turn, five times each; a row shows the median.

- plain: upstream's `generate` under SDPA, nothing recorded. Every ratio is to this row.
- naive: upstream's `generate(output_attentions=True)`, eager in both towers: what most tools do.
- ours: this package's engine, one variant, all question, template and answer rows of all layers and heads.
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

MODES = {
    "plain": "plain SDPA generation",
    "rows": "ours, rows beside SDPA",
    "rows+vision": "ours, rows, vision tower recorded too",
    "eager": "ours, eager matrices",
    "naive": "naive: generate(output_attentions=True), eager",
}
GRID, NEW_TOKENS = (34, 60), 16
PROMPT = "Describe what stands in the middle of the picture, and what is beside it."


def write_model(folder: Path, vision_layers: int, vision_width: int) -> None:
    """A random-weight checkpoint of the benchmark's shape."""
    import torch
    from transformers import Qwen3VLConfig, Qwen3VLForConditionalGeneration

    from inference.demo.tokenizer import build_tokenizer
    from tests.checkpoints import PREPROCESSOR

    tokenizer = build_tokenizer()
    names = {"image": "<|image_pad|>", "video": "<|video_pad|>"}
    ids = {f"{key}_token_id": tokenizer.convert_tokens_to_ids(token) for key, token in names.items()}
    ids |= {f"vision_{k}_token_id": tokenizer.convert_tokens_to_ids(f"<|vision_{k}|>") for k in ("start", "end")}
    text = {
        "vocab_size": 8_192,
        "hidden_size": 512,
        "intermediate_size": 1_536,
        "num_hidden_layers": 12,
        "num_attention_heads": 8,
        "num_key_value_heads": 2,
        "head_dim": 64,
        "max_position_embeddings": 16_384,
        "rope_parameters": {
            "rope_type": "default",
            "rope_theta": 5e6,
            "mrope_section": [12, 10, 10],
            "mrope_interleaved": True,
        },
    }
    vision = {
        "depth": vision_layers,
        "hidden_size": vision_width,
        "intermediate_size": 3 * vision_width,
        "num_heads": vision_width // 64,
        "out_hidden_size": 512,
        "patch_size": 16,
        "num_position_embeddings": 2_304,
        "deepstack_visual_indexes": [0],
    }
    torch.manual_seed(0)
    config = Qwen3VLConfig(text_config=text, vision_config=vision, tie_word_embeddings=True, **ids)
    model = Qwen3VLForConditionalGeneration(config)
    model.generation_config.eos_token_id = 8_191  # outside the tokenizer: every mode writes all its tokens
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    (folder / "preprocessor_config.json").write_text(json.dumps(PREPROCESSOR))


def picture():
    from tests.conftest import picture as make

    return make(GRID[0] * 32, GRID[1] * 32)


class PeakMemory:
    """Extra peak resident memory of a block in bytes: Linux resets the high-water mark on request."""

    def __enter__(self):
        import gc

        gc.collect()
        Path("/proc/self/clear_refs").write_text("5")
        self.before = self._read("VmRSS")
        return self

    def __exit__(self, *error):
        self.extra = self._read("VmHWM") - self.before

    @staticmethod
    def _read(name: str) -> int:
        status = Path("/proc/self/status").read_text()
        return 1_024 * next(int(line.split()[1]) for line in status.splitlines() if line.startswith(name))


def run_once(mode: str, folder: Path) -> dict[str, float]:
    """One fresh process: load (in every mode with the engine's probe on a small image), then the measured run."""
    import torch

    from inference.engine import Engine
    from inference.records import Request
    from inference.settings import Limits, Settings

    attention = "eager" if mode == "eager" else "rows"
    engine = Engine(Settings(model=str(folder), attention=attention, limits=Limits(max_image_tokens=4_096)), {})
    prompt = engine._prompts.build(picture(), PROMPT, None, 4_096)
    assert prompt.grid == GRID
    image, model = picture(), engine._model

    def ours():
        request = Request(image, PROMPT, max_new_tokens=NEW_TOKENS, vision_tower=mode == "rows+vision")
        return len(engine.compare(request).recordings[0].answer_ids)

    def upstream():
        from tests.upstream import inputs

        model.set_attn_implementation("eager" if mode == "naive" else "sdpa")
        if mode == "naive":
            model.config.vision_config._attn_implementation = "eager"
        with torch.inference_mode():
            output = model.generate(
                **inputs(prompt),
                max_new_tokens=NEW_TOKENS,
                do_sample=False,
                return_dict_in_generate=True,
                output_attentions=mode == "naive",
            )
        return output.sequences.shape[1] - len(prompt.input_ids)

    work = upstream if mode in ("plain", "naive") else ours
    with PeakMemory() as memory:
        begin = time.perf_counter()
        written = work()
        seconds = time.perf_counter() - begin
    assert written == NEW_TOKENS
    vision = 0.0
    if mode == "plain":
        begin = time.perf_counter()
        engine._run_vision(prompt, record=False)
        vision = time.perf_counter() - begin
    return {"seconds": seconds, "bytes": memory.extra, "vision": vision}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--modes", nargs="+", choices=MODES, default=list(MODES))
    parser.add_argument("--vision", type=int, nargs=2, default=(4, 128), metavar=("LAYERS", "WIDTH"))
    parser.add_argument("--one", nargs=2, metavar=("MODE", "FOLDER"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        print(json.dumps(run_once(options.one[0], Path(options.one[1]))))
        return
    modes = list(dict.fromkeys(["plain", *options.modes]))
    results: dict[str, list[dict[str, float]]] = {mode: [] for mode in modes}
    with tempfile.TemporaryDirectory() as folder:
        write_model(Path(folder), *options.vision)
        for run in range(options.runs):
            for mode in modes:
                command = [sys.executable, "-m", "tests.benchmarks.cost_of_looking", "--one", mode, folder]
                done = subprocess.run(command, check=True, capture_output=True, text=True)
                results[mode].append(json.loads(done.stdout.splitlines()[-1]))
                print(f"run {run + 1} {mode}: {results[mode][-1]}", file=sys.stderr)
    median = {m: {k: statistics.median(each[k] for each in rows) for k in rows[0]} for m, rows in results.items()}
    plain = median["plain"]
    print(
        f"{GRID[0]} × {GRID[1]} = {GRID[0] * GRID[1]:,} image tokens, {NEW_TOKENS} new tokens, median of {options.runs}"
    )
    print(f"the vision tower takes {plain['vision'] / plain['seconds']:.0%} of plain generation\n")
    print("| mode | seconds | time ÷ plain | extra peak memory | memory ÷ plain |")
    print("|---|---|---|---|---|")
    for mode in modes:
        row = median[mode]
        print(
            f"| {MODES[mode]} | {row['seconds']:.2f} | {row['seconds'] / plain['seconds']:.2f} × "
            f"| {row['bytes'] / 2**20:,.0f} MiB | {row['bytes'] / plain['bytes']:.2f} × |"
        )


if __name__ == "__main__":
    main()
