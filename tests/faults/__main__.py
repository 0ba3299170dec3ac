"""`python -m tests.faults`: meet every fault five times, and print the table of what a person saw."""

import sys
from pathlib import Path
from typing import Any

import pytest


class Table:
    """Gathers the rows that tests wrote down."""

    def __init__(self) -> None:
        self.rows: dict[str, tuple[str, int, bool]] = {}

    def pytest_runtest_logreport(self, report: Any) -> None:
        """Take the rows of a test that is over."""
        if report.when == "call":
            for name, row in report.user_properties:
                if name == "row" and row[2] >= self.rows.get(row[0], ("", 0, True))[1]:
                    self.rows[row[0]] = (row[1], row[2], report.passed)

    def lines(self) -> list[str]:
        """The table in Markdown."""
        head = ["| fault | what a person sees | next request right |", "|---|---|---|"]
        return head + [
            f"| {fault} | {sentence} | {times} of {times} |" if passed else f"| {fault} | {sentence} | **no** |"
            for fault, (sentence, times, passed) in sorted(self.rows.items())
        ]


if __name__ == "__main__":
    table = Table()
    options = ["-n", "0", "-p", "no:randomly", "-m", "hostile or not hostile", *sys.argv[1:]]
    code = pytest.main([*options, str(Path(__file__).parent)], plugins=[table])
    print("\n".join(table.lines()))
    sys.exit(code)
