"""What looking costs beside plain generation: time and extra peak memory, as ratios within one run.

    python -m tests.benchmarks.cost_of_looking                      # CPU, small shape, fresh processes, median of 5
    python -m tests.benchmarks.cost_of_looking --device cuda        # shapes of 2B, 4B and 8B in bfloat16, one process

Every row is compared with `plain`: upstream's `generate` under SDPA on the same image and words, nothing recorded and
no adapter on the model. Every mode begins with the photo (upstream's image processor is in all of them) and writes the
same number of tokens; adapters are on the model already. Plain holds the photo's float32 patches to the end, ours only
until the vision tower has read them: their size is printed. Rows that begin with "then" were preceded, unmeasured, by
base + 1 adapter on the same image and prompt. The limit is a row's set figure on the CPU; the floor is plain itself,
once per variant but for the vision tower.

On a CPU the memory is resident memory, measured in processes of their own in which glibc gives freed blocks back at
once (so that a peak is what was alive, not what lay about); the time in processes with the allocator as it is. The
small shape has text 12 × 512 (8 heads, 2 KV heads of 64) and a vision tower 4 × 128, whose share of the plain time is
printed (on Qwen3-VL-8B it is about a third). The curves of memory over time come from the processes that measure
memory, which are slower. On a GPU the memory is what torch has allocated; a mode that does not fit is said not to.
"""

import argparse
import json
import math
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

GRIDS = {"768": (24, 32), "2,040": (34, 60), "4,263": (49, 87)}
WHOLE = ("naive", "hooks", "eager")  # whole matrices; at 4,263 tokens many GB: run once, or not where memory lacks
GIVE_BACK = {"MALLOC_MMAP_THRESHOLD_": "65536", "MALLOC_TRIM_THRESHOLD_": "65536", "MALLOC_MMAP_MAX_": "1000000"}

Runner = Callable[[str, tuple[int, int], bool], dict[str, object] | None]  # mode, grid, for memory; None: does not fit


def main() -> None:
    from tests.benchmarks.modes import MODES
    from tests.benchmarks.shapes import SHAPES

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--shapes", nargs="+", choices=SHAPES)
    parser.add_argument("--tokens", nargs="+", choices=GRIDS, default=list(GRIDS))
    parser.add_argument("--modes", nargs="+", choices=MODES, default=list(MODES))
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--new-tokens", type=int)
    parser.add_argument("--no-growth", action="store_true", help="leave out the fit over 6, 12 and 24 layers")
    parser.add_argument("--out", type=Path, help="also write the tables here, and the memory over time beside them")
    parser.add_argument("--one", nargs=4, metavar=("MODE", "FOLDER", "GRID", "TOKENS"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        mode, folder, grid, tokens = options.one
        print(json.dumps(_in_this_process(Path(folder), "cpu", mode)(mode, json.loads(grid), int(tokens))))
        return
    cuda = options.device != "cpu"
    new_tokens = options.new_tokens or (32 if cuda else 16)
    modes = list(dict.fromkeys(["plain", *options.modes]))
    report: list[str] = []
    for name in options.shapes or (["2B", "4B", "8B"] if cuda else ["small"]):
        with tempfile.TemporaryDirectory() as folder:
            runner = _runner(Path(folder), SHAPES[name], options.device, new_tokens)
            tables = {tokens: _table(runner, GRIDS[tokens], modes, options.runs) for tokens in options.tokens}
        for tokens, table in tables.items():
            report += [f"## {name}, {tokens} image tokens, {new_tokens} new tokens", "", *_rows(table, cuda)]
            report += [f"- {MODES[mode].words}: does not fit here" for mode in modes if mode not in table] + [""]
        report += _growth_in_tokens(tables) + _growth_in_variants(tables)
        if not cuda and not options.no_growth:
            report += _growth_in_layers(SHAPES[name], new_tokens)
        if options.out:  # after each shape: a later one may not come to its end
            _draw(tables, options.out.with_name(f"{options.out.stem}-{name}.png"), name)
            options.out.write_text("\n".join(report) + "\n")
    print("\n".join(report))


def _runner(folder: Path, shape, device: str, new_tokens: int) -> Runner:
    """Measures a mode: in a fresh process on a CPU, in this one on a GPU (a model of 16 GB is loaded once)."""
    from tests.benchmarks.shapes import write_adapters, write_model

    write_model(folder / "model", shape, device)
    write_adapters(folder / "adapters", folder / "model", 4)
    if device != "cpu":
        import torch

        measure = _in_this_process(folder, device)

        def here(mode: str, grid: tuple[int, int], memory: bool) -> dict[str, object] | None:
            try:
                return measure(mode, grid, new_tokens)
            except torch.OutOfMemoryError:
                return None

        return here

    def fresh(mode: str, grid: tuple[int, int], memory: bool) -> dict[str, object]:
        command = [sys.executable, "-m", "tests.benchmarks.cost_of_looking", "--one", mode, str(folder)]
        command += [json.dumps(grid), str(new_tokens)]
        done = subprocess.run(
            command, check=True, capture_output=True, text=True, env=os.environ | (GIVE_BACK if memory else {})
        )
        return json.loads(done.stdout.splitlines()[-1])

    return fresh


def _in_this_process(
    folder: Path, device: str, only: str | None = None
) -> Callable[[str, tuple[int, int], int], dict[str, object]]:
    """Measures modes on one engine, which has the adapters of `only` that mode on it, or all of them."""
    from tests.benchmarks.modes import MODES, open_engine, run

    names = {*MODES[only].adapters, *MODES[only].before} - {None} if only else {f"a{index}" for index in range(4)}
    engine = open_engine(folder / "model", [folder / "adapters" / name for name in sorted(names)], device)
    return lambda mode, grid, new_tokens: run(mode, engine, tuple(grid), new_tokens)


def _table(runner: Runner, grid: tuple[int, int], modes: list[str], runs: int) -> dict[str, dict[str, object]]:
    """One measurement of memory and `runs` of time per mode; the modes take turns."""
    table: dict[str, dict[str, object]] = {}
    for mode in modes:
        if not (mode in WHOLE and grid == GRIDS["4,263"] and _free_bytes() < 18 * 2**30):
            once = runner(mode, grid, True)
            if once is not None:
                table[mode] = once | {"times": []}
    for turn in range(runs):
        for mode, row in table.items():
            if mode in WHOLE and grid == GRIDS["4,263"] and turn > 0:
                continue
            once = runner(mode, grid, False)
            row["times"].append(once["seconds"])
            row["vision"] = once["vision"]
            print(f"{grid} {mode}: {once['seconds']:.2f} s, {row['bytes'] / 2**20:.0f} MiB", file=sys.stderr)
    for row in table.values():
        row["seconds"] = statistics.median(row["times"])
    return table


def _free_bytes() -> int:
    lines = Path("/proc/meminfo").read_text().splitlines()
    return 1_024 * next(int(line.split()[1]) for line in lines if line.startswith("MemAvailable"))


def _rows(table: dict[str, dict[str, object]], cuda: bool) -> list[str]:
    from tests.benchmarks.modes import MODES

    plain = table["plain"]
    lines = [
        f"The vision tower takes {plain['vision'] / plain['seconds']:.0%} of plain generation; the photo's patches are "
        f"{plain['patches'] / 2**20:,.0f} MiB.",
        "",
        "| mode | seconds: median (min–max, runs) | time ÷ plain | limit | extra peak memory | memory ÷ plain | limit "
        "| whole peak ÷ plain |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for name, row in table.items():
        mode = MODES[name]
        limits = [f"{each:.2f}" if each and not cuda else "–" for each in (mode.time_limit, mode.memory_limit)]
        spread = f"{min(row['times']):.2f}–{max(row['times']):.2f}, {len(row['times'])}"
        lines.append(
            f"| {mode.words} | {row['seconds']:.2f} ({spread}) "
            f"| {row['seconds'] / plain['seconds']:.2f} × | {limits[0]} "
            f"| {row['bytes'] / 2**20:,.0f} MiB | {row['bytes'] / plain['bytes']:.2f} × | {limits[1]} "
            f"| {row['peak'] / plain['peak']:.2f} × |"
        )
    return lines


def _growth_in_tokens(tables: dict[str, dict[str, dict[str, object]]]) -> list[str]:
    """Exponents of a power law through the token counts: 1 is linear, 2 is a full matrix."""
    if len(tables) < 2:
        return []
    lines = ["Growth with image tokens n, fitted as n^x over the tables above:", ""]
    for mode in next(iter(tables.values())):
        points = [(math.prod(GRIDS[tokens]), table[mode]) for tokens, table in tables.items() if mode in table]
        if len(points) > 1:
            memory, seconds = (_slope([(math.log(n), math.log(row[key])) for n, row in points]) for key in _KEYS)
            lines.append(f"- {mode}: memory n^{memory:.2f}, time n^{seconds:.2f} ({len(points)} points)")
    return [*lines, ""]


_KEYS = ("bytes", "seconds")


def _growth_in_variants(tables: dict[str, dict[str, dict[str, object]]]) -> list[str]:
    lines = ["Growth with variants (1, 2 and 5), a straight line, per further variant and over plain:", ""]
    for tokens, table in tables.items():
        names = {"rows": 1, "base+1": 2, "base+4": 5}
        if names.keys() <= table.keys():
            memory, seconds = (
                _slope([(count, table[name][key] / table["plain"][key]) for name, count in names.items()])
                for key in _KEYS
            )
            lines.append(f"- {tokens} tokens: memory + {memory:.2f} ×, time + {seconds:.2f} ×")
    return [*lines, ""] if len(lines) > 2 else []


def _growth_in_layers(shape, new_tokens: int) -> list[str]:
    lines = ["Growth with language layers (6, 12 and 24, 2,040 tokens), per layer:", ""]
    points: dict[str, list[tuple[int, dict[str, object]]]] = {"plain": [], "rows": []}
    for layers in (6, 12, 24):
        with tempfile.TemporaryDirectory() as folder:
            runner = _runner(Path(folder), replace(shape, layers=layers), "cpu", new_tokens)
            table = _table(runner, GRIDS["2,040"], list(points), 1)
        for mode, found in points.items():
            found.append((layers, table[mode]))
    for mode, found in points.items():
        memory, seconds = (_slope([(layers, row[key]) for layers, row in found]) for key in _KEYS)
        lines.append(f"- {mode}: {memory / 2**20:.2f} MiB, {seconds:.3f} s")
    return [*lines, ""]


def _slope(points: list[tuple[float, float]]) -> float:
    return statistics.linear_regression(*zip(*points, strict=True)).slope


def _draw(tables: dict[str, dict[str, dict[str, object]]], path: Path, name: str) -> None:
    """Memory over time at the largest image, the naive way beside ours, on a log scale."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    from tests.benchmarks.modes import MODES

    tokens, table = list(tables.items())[-1]
    figure, axes = pyplot.subplots(figsize=(8, 4), layout="constrained")
    for mode in ("naive", "hooks", "eager", "vision", "rows", "plain"):
        if mode in table:
            seconds, held = zip(*table[mode]["series"], strict=True)
            axes.plot(seconds, [max(each, 2**20) / 2**20 for each in held], label=MODES[mode].words)
    axes.set(xlabel="seconds", ylabel="extra memory (MiB)", yscale="log", title=f"{name}, {tokens} image tokens")
    axes.legend(fontsize=8)
    figure.savefig(path, dpi=110)


if __name__ == "__main__":
    main()
