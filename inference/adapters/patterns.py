"""Ask whether an adapter's patterns can be matched in time, before anything in this process matches them.

Parts of an adapter's config are regular expressions of a stranger: `target_modules` and `exclude_modules` as text, the
names in `rank_pattern` and `alpha_pattern`, `layers_pattern`, `modules_to_save`. Python's `re` backtracks:
`(([a-z]+)+)+!` takes for ever, holds the interpreter's lock meanwhile, and no thread can end it. A process of its own
matches them first, against the same names and in the forms that PEFT does (read in PEFT 0.21), and is ended when its
time is over.
"""

import json
import re
import subprocess
import sys
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from inference.errors import AdapterRefusedError

SECONDS = 10.0  # for all patterns on all names; 400 of them on the 1,500 modules of a large model take less than one
MOST_PATTERNS, LONGEST = 8_192, 2_000

#: Matched in linear time, whatever it is matched against: names, dots, anchors and escaped dots.
_PLAIN = re.compile(r"\^?(?:[\w-]|\\?\.)*\$?", re.ASCII)
#: Options that hold patterns, and the form in which PEFT (and `layout.current_config`) matches them.
_FORMS = {
    "target_modules": r"(?:PATTERN)\Z",
    "exclude_modules": r"(?:PATTERN)\Z",
    "rank_pattern": r"(.*\.)?(PATTERN)$",
    "alpha_pattern": r"(.*\.)?(PATTERN)$",
    "layers_pattern": r"(?:^|.*?\.)PATTERN\.(?P<idx>\d+)\.",
    "modules_to_save": r"(^|.*\.)PATTERN($|\..*)",
}
_WORK = """
import json, re, sys
patterns, names = json.load(sys.stdin)
for pattern in patterns:
    try:
        compiled = re.compile(pattern)
    except (re.error, OverflowError, RecursionError):
        continue  # whoever needs it is told so by whoever matches it
    for name in names:
        compiled.match(name)
"""


def check_patterns(name: str, config: Mapping[str, Any], names: Iterable[str]) -> None:
    """Refuse a config with patterns that are too many, too long, or cannot be matched in time.

    Args:
        name: what to call the adapter.
        config: the content of its adapter_config.json.
        names: of the modules that they will be matched against: the model's, and those that its file calls otherwise.

    Raises:
        AdapterRefusedError: with the reason.
    """
    patterns = list(_patterns(config))
    longest = max((len(pattern) for _, pattern in patterns), default=0)
    if len(patterns) > MOST_PATTERNS or longest > LONGEST:
        raise AdapterRefusedError(
            f"Adapter {name!r} has {len(patterns):,} patterns for modules, the longest of {longest:,} characters; at "
            f"most {MOST_PATTERNS:,} of {LONGEST:,} are read.",
            "Name its modules, or save it again with PEFT.",
        )
    hard = [(form, pattern) for form, pattern in patterns if not _PLAIN.fullmatch(pattern)]
    if hard and not _in_time([form.replace("PATTERN", pattern) for form, pattern in hard], list(names)):
        raise AdapterRefusedError(
            f"Adapter {name!r} has patterns for modules that take more than {SECONDS:g} s to match: "
            f"{hard[0][1][:80]!r}{', …' if len(hard) > 1 else ''}.",
            "Name its modules, or write a pattern without repeats inside repeats.",
        )


def _patterns(config: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Each pattern, after the form in which it is matched."""
    for option, form in _FORMS.items():
        value = config.get(option)
        given = value if isinstance(value, (list, dict)) else [value]
        yield from ((form, pattern) for pattern in given if isinstance(pattern, str))


def _in_time(patterns: list[str], names: list[str]) -> bool:
    command = [sys.executable, "-I", "-S", "-c", _WORK]
    work = json.dumps([patterns, names]).encode()
    try:
        done = subprocess.run(command, input=work, timeout=SECONDS, capture_output=True, check=False)
    except subprocess.TimeoutExpired:
        return False
    return done.returncode == 0  # one that breaks the process is not matched in this one
