"""What `--report` makes of a batch: a page per answer, and an index of them; what a page holds is decided elsewhere.

A page stands beside its answer and has its name, so it belongs to the same image, request and adapters; one of an
answer that is measured in boxes has a sign of these in its name, too. One that is there and no older than its answer is
kept. The index is made anew from the rows of the summary, largest change first.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from hashlib import sha256
from html import escape
from itertools import groupby
from pathlib import Path
from urllib.parse import quote

from inference.batch.answers import whole_file
from inference.batch.measures import Row
from inference.records import Comparison

INDEX = "index.html"

_HEAD = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'; img-src data:">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Where it looks: all images</title>
<style>
:root { color-scheme: light dark; }
body { margin: 16px auto; padding: 0 16px; max-width: 1400px; font: 14px/1.45 system-ui, sans-serif; }
table { border-collapse: collapse; width: 100%; }
th, td { padding: 6px 10px; border-bottom: 1px solid #8886; text-align: start; vertical-align: top; }
td { overflow-wrap: anywhere; }
td p { margin: 0; }
img { max-width: 100%; }
</style>
</head>
<body>
<h1>Where it looks: all images</h1>
"""
_TABLE = """<h2>All answers</h2>
<p>Largest change first: of the head that differs most from base over the image, Jensen–Shannon, in bits (0–1).</p>
<table>
<thead><tr><th>image</th><th>prompt</th><th>answers</th><th>largest change</th></tr></thead>
<tbody>
"""
_FOOT = "</tbody>\n</table>\n</body>\n</html>\n"


@dataclass(frozen=True, slots=True)
class Page:
    """What a page is of.

    Attributes:
        file: the answer's.
        box: the boxes that it is measured in, as the summary has them; "" for none.
    """

    file: str
    box: str = ""

    @property
    def name(self) -> str:
        """The page's own file: the answer's name, with a sign of the boxes."""
        sign = f"-box-{sha256(self.box.encode()).hexdigest()[:8]}" if self.box else ""
        return f"{self.file.removesuffix('.npz')}{sign}.html"

    def is_there(self, folder: Path) -> bool:
        """Whether it is there, and no older than its answer."""
        try:
            return (folder / self.name).stat().st_mtime_ns >= (folder / self.file).stat().st_mtime_ns
        except OSError:
            return False

    def write(self, folder: Path) -> None:
        """Make it, whole or not at all.

        Raises:
            InputError: the answer cannot be read any more, or the page cannot be written.
        """
        comparison = Comparison.load(folder / self.file)
        with whole_file(folder / self.name) as part:
            comparison.report(part, boxes=self.box)


def pages_of(rows: Iterable[Row]) -> list[Page]:
    """The pages of a summary's rows, each once, in the order of the rows; a row that failed has none."""
    return list(dict.fromkeys(_page(row) for row in rows if row.get("file")))


def _page(row: Row) -> Page:
    return Page(str(row.get("file") or ""), str(row.get("box") or ""))


def write_index(folder: Path, rows: Iterable[Row], over_set: str = "") -> None:
    """Make the index of a summary's rows, whole or not at all; it links the pages that are there.

    Args:
        folder: of the pages.
        rows: of the summary.
        over_set: what is said of all of them, in HTML, see `inference.batch.set_files`.

    Raises:
        InputError: it cannot be written.
    """
    items = [list(of_item) for _, of_item in groupby(rows, key=lambda row: row["item"])]
    items.sort(key=lambda item: -_change(_most(item)))  # those that failed, or have no change, at the end, in order
    with whole_file(folder / INDEX) as part:
        lines = (_line(folder, item) for item in items)
        part.write_text("".join([_HEAD, over_set, _TABLE, *lines, _FOOT]), encoding="utf-8", newline="\n")


def _change(row: Row) -> float:
    """The largest change of one variant; below 0 where it has none."""
    change = row.get("js_max")
    return -1.0 if change is None else float(change)


def _most(item: Sequence[Row]) -> Row:
    return max(item, key=_change)


def _line(folder: Path, item: Sequence[Row]) -> str:
    row = item[0]
    name = str(row["image"])
    page = _page(row).name
    linked = f'<a href="{quote(page)}">{_words(name)}</a>' if (folder / page).is_file() else _words(name)
    answers = "".join(f"<p>{_words(each['adapter'])}: {answer}</p>" for each, answer in _answers(item))
    most = _most(item)
    head = f"{_words(most['adapter'])}, layer {most.get('js_layer')}, head {most.get('js_head')}"
    change = f"{_change(most):.3g} bits: {head}" if _change(most) >= 0 else ""
    return (
        f"<tr><td>{linked}</td><td>{_words(row['prompt'])}</td><td>{answers or _words(row.get('message', ''))}</td>"
        f"<td>{change}</td></tr>\n"
    )


def _answers(item: Sequence[Row]) -> Iterator[tuple[Row, str]]:
    """Each variant with what it wrote; one that was given its answer, with that."""
    for row in item:
        if "replayed" in row:
            yield row, _words(row["replayed"] if row["answer"] is None else row["answer"])


def _words(text: object) -> str:
    """A stranger's words as text, in a direction of their own."""
    return f'<bdi dir="auto">{escape(str(text))}</bdi>'
