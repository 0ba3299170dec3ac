"""Plain values that were read over and kept in a file, so that no word and no number of them changes unnoticed.

Where they are right is held by other tests, by other routes; a change that is meant is written down with
`python -m tests.visualize.<module>`, read over in the difference and committed.
"""

import json
import math
from pathlib import Path
from typing import Any

#: Of things that are said or sent, by part and name.
Kept = dict[str, dict[str, Any]]


def plain(said: Kept) -> Kept:
    """As JSON gives it back; numbers to nine digits."""
    rounded: Kept = _rounded(json.loads(json.dumps(said, allow_nan=False)))
    return rounded


def keep(path: Path, said: Kept) -> None:
    """Write a file, a line for each thing."""
    parts = []
    for part, each in said.items():
        lines = [f"{json.dumps(name)}: {json.dumps(value, ensure_ascii=False)}" for name, value in each.items()]
        parts.append(f"{json.dumps(part)}: {{\n" + ",\n".join(lines) + "\n}")
    path.write_text("{\n" + ",\n".join(parts) + "\n}\n", encoding="utf-8")


def assert_kept(path: Path, said: Kept) -> None:
    """Hold what is said now to the file: words exactly, numbers to a millionth, as processors round differently."""
    known = json.loads(path.read_text(encoding="utf-8"))
    assert said.keys() == known.keys()
    for part, each in said.items():
        assert list(each) == list(known[part])
        for name, value in each.items():
            where = _difference(value, known[part][name])
            assert where is None, f"{part}, {name}{where}"


def _rounded(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _rounded(each) for name, each in value.items()}
    if isinstance(value, list):
        return [_rounded(each) for each in value]
    return float(f"{value:.9g}") if isinstance(value, float) else value


def _difference(value: Any, known: Any) -> str | None:
    """Where two values differ, as a path and both; None where they do not."""
    if isinstance(value, dict) and isinstance(known, dict) and list(value) == list(known):
        found = ((f"[{name!r}]", _difference(value[name], known[name])) for name in value)
    elif isinstance(value, list) and isinstance(known, list) and len(value) == len(known):
        found = ((f"[{at}]", _difference(*pair)) for at, pair in enumerate(zip(value, known, strict=True)))
    elif isinstance(value, float) or isinstance(known, float):
        same = isinstance(value, (int, float)) and math.isclose(value, known, rel_tol=1e-6, abs_tol=1e-9)
        return None if same else f": {value!r}, kept was {known!r}"
    else:
        same = value == known and type(value) is type(known)
        return None if same else f": {value!r}, kept was {known!r}"
    return next((at + where for at, where in found if where is not None), None)
