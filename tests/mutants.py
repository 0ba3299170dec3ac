"""Does a test fail when a number's code is wrong? Mutants, drawn at random, each met by its tests.

Of `visualize/`, of the measures, of conversations and of sets of images, and of the part of the service that picks what
the page says of a result.

    python -m tests.mutants --count 300 --seed 1            # prints one line per mutant, survivors again at the end
    python -m tests.mutants --only visualize/numbers/scale.py --all

1. Every file's syntax tree is searched for places where a small fault can be made (`tests/mutations.py`, which says
   where none is, too).
2. `--count` of them are drawn with a printed seed.
3. A process collects the tests, and runs them once without a fault, watched for which of them calls which function.
4. For each mutant, it forks; the child puts the function's faulty code in its place and runs the tests that call it,
   first those named after the module, the quick before the slow, to the first that fails. No file is touched.
5. A fault in what runs at import needs a process of its own, which imports the faulty module from memory and runs all
   tests. So does a fault of the service.

A mutant that no test notices survives. Development only: it needs `os.fork`, and nothing imports it.
"""

import argparse
import os
import random
import re
import sys
from pathlib import Path

from tests import ROOT
from tests.meet_mutants import BESIDE, SERVICE, WATCHED, outcomes
from tests.mutations import Mutant, places


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=300)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--all", action="store_true", help="every mutant, not a sample")
    parser.add_argument("--only", nargs="*", default=[], help="files, e.g. visualize/numbers/scale.py")
    parser.add_argument(
        "--again", type=Path, help="an earlier run's output: those that survived, if they still stand there"
    )
    arguments = parser.parse_args()
    found = [
        Mutant(path, *place)
        for path in [*sorted(ROOT.glob("visualize/**/*.py")), *BESIDE, SERVICE]
        if not arguments.only or str(path.relative_to(ROOT)) in arguments.only
        for place in places(path.read_text(encoding="utf-8"))
    ]
    chosen = found if arguments.all else random.Random(arguments.seed).sample(found, min(arguments.count, len(found)))
    print(f"{len(chosen)} of {len(found)} mutants, seed {arguments.seed}", flush=True)
    if arguments.again:
        survived = set(re.findall(r"SURVIVED (.*)", arguments.again.read_text(encoding="utf-8")))
        chosen = [each for each in found if str(each) in survived]
        gone = len(survived - {str(each) for each in chosen})
        print(f"again: {len(chosen)} like those that survived before; {gone} are no longer there", flush=True)
    _warm()
    survivors = []
    for at, (mutant, status) in enumerate(outcomes(chosen, arguments.jobs), 1):
        if mutant is None:
            print("the tests fail without a fault")
            return 1
        line = str(mutant) + (" (hung)" if os.WIFSIGNALED(status) else "")
        print(f"{at:4d} {'killed  ' if status else 'SURVIVED'} {line}", flush=True)
        survivors += [] if status else [line]
    print("", *survivors, sep="\n")
    dead = len(chosen) - len(survivors)
    print(f"\n{dead} of {len(chosen)} killed, {100 * dead / max(len(chosen), 1):.1f} %; {len(survivors)} survived")
    return 0


def _warm() -> None:
    """Import once, before forking, what no mutant is in."""
    import matplotlib
    import pytest
    import scipy.spatial.distance
    import torch

    assert matplotlib
    assert pytest
    assert scipy
    assert torch
    imported = [str(getattr(module, "__file__", "")) for module in list(sys.modules.values())]
    assert not any(file.startswith(WATCHED) for file in imported)


if __name__ == "__main__":
    sys.exit(main())
