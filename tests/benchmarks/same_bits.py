"""Equal requests give equal bits: many in random order on one engine against a fresh process for each distinct one.

    python -m tests.benchmarks.same_bits                 # 200 requests, 24 distinct ones, the embedded model

Distinct requests are drawn at random over images, prompts, system prompts, adapters (one changes the vision tower),
strengths, parts, answers, focus and the vision tower; a digest of every array, answer and note is compared. The engine
keeps little (`--kept-bytes`, `--adapter-cache-bytes`), so that what is kept, dropped and read again all occur.
"""

import argparse
import hashlib
import json
import random
import subprocess
import sys

import numpy as np

ARRAYS = ("by_token", "by_head", "group_share", "background", "background_low", "logprobs", "vision_received")


def draw(seed: int) -> dict[str, object]:
    """One request, as plain values."""
    rng = random.Random(seed)
    variants = [None, *rng.sample(["find-red", "find-circle", "noise", "vision-lora"], k=rng.randint(0, 2))]
    rng.shuffle(variants)
    return {
        "scene": rng.randrange(3),
        "prompt": rng.choice(["Describe the image.", "What is red?", "Where is the circle?"]),
        "adapters": variants,
        "max_new_tokens": rng.choice([3, 12]),
        "answer_from": rng.choice([variants[-1], "own"]),
        "answer": rng.choice([None, None, [70, 71, 72]]),
        "focus": rng.choice([None, [0], [2, 4]]),
        "scale": rng.choice([1.0, 1.0, 0.5, 0.0]),
        "modules": rng.choice([None, None, ["q_proj"]]) if any(variants) else None,
        "system": rng.choice([None, None, "Be short."]),
        "vision_tower": rng.random() < 0.3,
    }


def digest(backend, request: dict[str, object]) -> str:
    """Of everything that a request's recordings hold."""
    from inference import Request
    from inference.demo import EXAMPLE_SCENES

    values = dict(request)
    image = EXAMPLE_SCENES[values.pop("scene") % len(EXAMPLE_SCENES)].draw().image
    for name in ("adapters", "answer", "focus", "modules"):
        values[name] = tuple(values[name]) if values[name] is not None else None
    total = hashlib.sha256()
    comparison = backend.compare(Request(image, values.pop("prompt"), **values))
    total.update(repr(comparison.notes).encode())
    for recording in comparison.recordings:
        total.update(repr((recording.adapter, recording.answer, recording.answer_ids, recording.tokens)).encode())
        for name in ARRAYS:
            array = getattr(recording, name)
            total.update(b"" if array is None else np.ascontiguousarray(array).tobytes())
    return total.hexdigest()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--requests", type=int, default=200)
    parser.add_argument("--distinct", type=int, default=24)
    parser.add_argument("--attention", default="rows")
    parser.add_argument("--kept-bytes", type=int, default=1_000_000)
    parser.add_argument("--adapter-cache-bytes", type=int, default=250_000)
    parser.add_argument("--one", help=argparse.SUPPRESS)
    options = parser.parse_args()
    from inference import open_backend
    from inference.settings import Settings

    if options.one:
        print(digest(open_backend("local", attention=options.attention), json.loads(options.one)))
        return
    distinct = [draw(seed) for seed in range(options.distinct)]
    expected = []
    for request in distinct:
        command = [sys.executable, "-m", "tests.benchmarks.same_bits", "--attention", options.attention]
        done = subprocess.run([*command, "--one", json.dumps(request)], check=True, capture_output=True, text=True)
        expected.append(done.stdout.split()[-1])
    tight = Settings(kept_bytes=options.kept_bytes, adapter_cache_bytes=options.adapter_cache_bytes)
    backend = open_backend("local", attention=options.attention, settings=tight)
    order = random.Random(0).choices(range(len(distinct)), k=options.requests)
    differ = [index for index in order if digest(backend, distinct[index]) != expected[index]]
    print(
        f"{options.requests} requests, {len(set(expected))} distinct results of fresh processes: {len(differ)} differ"
    )
    if differ:
        sys.exit(f"the first that differs: {distinct[differ[0]]}")


if __name__ == "__main__":
    main()
