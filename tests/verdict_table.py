"""What the tool says of adapters whose fault is known: `python -m tests.verdict_table`.

Base and every adapter of the embedded model click a named button of drawn screens that nothing else has seen; each
follows its own answer.

1. Said: the point lies in the named button. Looked: the cell with the largest weight of one head overlaps it, at the
   word that names the button's shape, and at the digits of the point. Each of the two heads is base's best on screens
   of their own. Both are what the page says of a box, see `visualize.numbers.verdict`. Distance: from where it looks at
   the word, the middle of that cell, to the said point.
2. Seeing, looking, saying: of the first token that an adapter says otherwise than base (of a click, a digit), by the
   difference of the logits of the two. Screens on which the answers are alike are left out. A share is the sum over the
   screens by the sum of the total.
3. Two rules name the fault of some screens. Both say "none" where few points miss. Of the rest, one counts on how many
   missed screens the named button was looked at, at the digits; its limits lie midway between the adapters' on a third
   set of screens. The other compares looking's share with saying's. Both are tried on sets of 20 of the table's
   screens, drawn at random.
"""

import argparse
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final, Literal

import numpy as np
from tqdm import tqdm

from inference import Backend, Comparison, Request, open_backend
from inference.demo.screens import Screen, ScreenElement, ask_click, screen
from inference.errors import SelectionError
from inference.questions import AttributionOptions
from visualize import looked_said, measures, stack
from visualize.numbers.verdict import Verdict, said_beside

#: First seeds of the three sets, beyond the ranges of training and of every other table.
CHOICE_SEED, LIMIT_SEED, TABLE_SEED = 7_000_000_000, 7_100_000_000, 7_200_000_000
SIZES: Final = ((192, 192), (192, 224), (224, 192), (224, 224))
SIDE: Final = (34, 44)
BUTTONS: Final = (2, 5)
SET: Final = 20
FACTORS: Final = ("seeing", "looking", "saying")
#: What each adapter was made to do wrong; None where the rules have no word for it.
FAULTS: Final[Mapping[str, str | None]] = {
    "base": "none",
    "untouched": "none",
    "click-tuned": "none",
    "wrong-eyes": "eyes",
    "wrong-hands": "hands",
    "caption-only": None,
    "noise": None,
}

Fault = Literal["none", "eyes", "hands", "no place"]
Row = Literal["word", "digits"]
Heads = Mapping[Row, tuple[int, int]]


@dataclass(frozen=True, slots=True)
class Seen:
    """One variant on one screen.

    Attributes:
        word: at the word that names the shape, as the page says it of the named button.
        digits: the same at the digits of what it says; of an answer without digits, at its first token.
        pixels: from where it looks at the word to where it says; nan where it says no place.
        factors: seeing, looking, saying, in logits; None where it says what base says.
    """

    word: Verdict
    digits: Verdict
    pixels: float
    factors: tuple[float, float, float] | None


@dataclass(frozen=True, slots=True)
class Limits:
    """What the rules compare with.

    Attributes:
        misses: of more than this share of the screens the said point misses: there is a fault.
        looks: at the digits, on at least this share of the missed screens it looks inside: the fault is in the hands.
    """

    misses: float
    looks: float


def screens(first_seed: int, count: int) -> Iterator[tuple[Screen, ScreenElement]]:
    """Screens of every number of buttons in turn, and which one is to be clicked, every place in turn."""
    fewest, most = BUTTONS
    for index in tqdm(range(count), unit="screen", disable=None):
        buttons = fewest + index % (most - fewest + 1)
        drawn = screen(first_seed + index, buttons, SIZES[index % len(SIZES)], SIDE)
        yield drawn, drawn.buttons[index // (most - fewest + 1) % buttons]


def fault_by_counts(seen: Sequence[Seen], limits: Limits) -> Fault:
    """Name what is wrong with a variant from what it says and looks at on some screens.

    Where most answers say no place there is nothing to compare; where few points miss there is no fault; else it lies
    in the hands where the missed buttons were looked at, and in the eyes where they were not.
    """
    missed = _missed(seen)
    if missed is None or len(missed) <= limits.misses * len(seen):
        return "no place" if missed is None else "none"
    return "hands" if sum(each.digits.looks for each in missed) >= limits.looks * len(missed) else "eyes"


def fault_by_shares(seen: Sequence[Seen], limits: Limits) -> Fault:
    """The same, by whether looking or saying carries more of what changed the missed points."""
    missed = _missed(seen)
    if missed is None or len(missed) <= limits.misses * len(seen):
        return "no place" if missed is None else "none"
    _, looking, saying = np.sum([each.factors for each in missed if each.factors is not None] or [(0, 0, 0)], axis=0)
    return "hands" if saying > looking else "eyes"


def _missed(seen: Sequence[Seen]) -> list[Seen] | None:
    """The screens whose said point misses, among those on which one is said; None where that are few."""
    says = [each for each in seen if each.word.said.places]
    return [each for each in says if not each.word.said.inside] if 2 * len(says) >= len(seen) else None


def click(
    backend: Backend, drawn: Screen, named: ScreenElement, variants: Sequence[str | None], row: Row
) -> Comparison:
    """Every variant asked to click one button, each beside its own answer; single heads of one kind of row."""
    request = Request(drawn.image, ask_click(drawn, named).prompt, adapters=tuple(variants), answer_from="own")
    found = backend.compare(request)
    if row == "digits":
        return found
    (word,) = [each for each, token in enumerate(found.recordings[0].tokens) if token.text == f" {named.shape}"]
    return backend.compare(Request(request.image, request.prompt, None, request.adapters, "own", focus=(word,)))


def best_heads(backend: Backend, count: int) -> tuple[Heads, dict[Row, float]]:
    """Base's head per kind of row whose largest cell overlaps the named button most often, and how often."""
    heads: dict[Row, tuple[int, int]] = {}
    rates: dict[Row, float] = {}
    rows: tuple[Row, ...] = ("word", "digits")
    for row in rows:
        hits = []
        for drawn, named in screens(CHOICE_SEED, count):
            maps = click(backend, drawn, named, (None,), row).recordings[0].by_head  # (layers, heads, grid_h, grid_w)
            hits.append([[measures.pointing_game(each, named.box, drawn.size) for each in layer] for layer in maps])
        shares = np.mean(hits, axis=0)
        layer, head = (int(index) for index in np.unravel_index(shares.argmax(), shares.shape))
        heads[row], rates[row] = (layer, head), float(shares[layer, head])
    return heads, rates


def watch(
    backend: Backend, heads: Heads, first_seed: int, count: int, variants: Sequence[str | None], factors: bool
) -> dict[str, list[Seen]]:
    """What each variant says and looks at on the same screens."""
    seen: dict[str, list[Seen]] = {name or "base": [] for name in variants}
    for drawn, named in screens(first_seed, count):
        found = {row: click(backend, drawn, named, variants, row) for row in heads}
        said = dict(zip(seen, said_beside(found["digits"], list(seen), [named.box]), strict=True))
        for name in seen:
            verdicts, adapter = {}, None if name == "base" else name
            for row, (layer, head) in heads.items():
                heat = found[row].recording(adapter).by_head[layer, head]
                looks = bool(measures.pointing_game(heat, named.box, drawn.size))
                verdicts[row] = Verdict(looks, float(measures.box_share(heat, named.box, drawn.size)), said[name])
            (layer, head), word = heads["word"], found["word"].recordings[0].focus[0]
            shown = stack(found["word"], word, head=head, layers=[layer], variants=(adapter,))
            away = looked_said(found["word"], shown)[0].pixels[0]
            parts = why(backend, drawn, named, found["digits"], name) if factors and adapter is not None else None
            seen[name].append(Seen(verdicts["word"], verdicts["digits"], away, parts))
    return seen


def why(
    backend: Backend, drawn: Screen, named: ScreenElement, comparison: Comparison, name: str
) -> tuple[float, float, float] | None:
    """Seeing, looking and saying at the first token of the answer that a variant writes otherwise than base."""
    base, other = comparison.recording(None), comparison.recording(name)
    pairs = enumerate(zip(base.answer_ids, other.answer_ids, strict=False))
    differs = next((index for index, (ours, theirs) in pairs if ours != theirs), None)
    if differs is None:
        return None
    first = next(index for index, token in enumerate(base.tokens) if token.role == "answer")
    request = Request(drawn.image, ask_click(drawn, named).prompt, adapters=(None, name), answer_from=None)
    try:
        found = backend.explain(request, AttributionOptions(first + differs, outcome="margin"))
    except SelectionError:  # written and replayed by other kernels: a tie may fall to the other side
        return None
    return found.seeing, found.looking, found.saying


def limits_of(seen: Mapping[str, Sequence[Seen]]) -> Limits:
    """Midway between the variants that are right and those that are wrong, and between wrong eyes and wrong hands."""

    def missed(name: str) -> float:
        return float(np.mean([not each.word.said.inside for each in seen[name]]))

    def looked(name: str) -> float:
        return float(np.mean([each.digits.looks for each in seen[name] if not each.word.said.inside]))

    right = max(missed(name) for name in seen if FAULTS[name] == "none")
    wrong = min(missed(name) for name in seen if FAULTS[name] in ("eyes", "hands"))
    return Limits((right + wrong) / 2, (looked("wrong-eyes") + looked("wrong-hands")) / 2)


def named_by(seen: Sequence[Seen], rule: Callable[[Sequence[Seen]], Fault], sets: int = 1_000) -> dict[str, float]:
    """How often a rule names each fault, over sets of `SET` screens drawn at random without repetition."""
    rng = np.random.default_rng(0)
    found = [rule([seen[index] for index in rng.permutation(len(seen))[:SET]]) for _ in range(sets)]
    return {name: found.count(name) / sets for name in sorted(set(found), key=found.count, reverse=True)}


def table(seen: Mapping[str, Sequence[Seen]], limits: Limits) -> str:
    """The verdict table as Markdown."""
    lines = [
        "| variant | says inside | looks inside: word | digits | of those said outside, looked at | looked–said, px "
        f"| seeing / looking / saying | sets of {SET}, by counts | by shares |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for name, each in seen.items():
        missed = [one for one in each if one.word.said.places and not one.word.said.inside]
        known = [one.pixels for one in each if not np.isnan(one.pixels)]
        cells = [
            f"{np.mean([one.word.said.inside > 0 for one in each]):.1%}",
            f"{np.mean([one.word.looks for one in each]):.1%}",
            f"{np.mean([one.digits.looks for one in each]):.1%}",
            f"{sum(one.digits.looks for one in missed)} of {len(missed)}",
            f"{np.median(known):.0f}" if known else "–",
            shares(each),
        ]
        for rule in (fault_by_counts, fault_by_shares):
            rates = named_by(each, partial(rule, limits=limits))
            cells.append(", ".join(f"{word} {part:.1%}" for word, part in rates.items()))
        lines.append(f"| `{name}` | {' | '.join(cells)} |")
    return "\n".join(lines)


def shares(seen: Sequence[Seen]) -> str:
    """The three shares and of how many screens; a dash where no answer differs from base's."""
    factors = np.array([each.factors for each in seen if each.factors is not None])
    if not len(factors):
        return "–"
    parts = factors.sum(axis=0) / factors.sum()
    return " / ".join(f"{part:.0%}" for part in parts) + f" of {len(factors)}"


def report(backend: Backend, count: int, chosen_on: int, limits_on: int, adapters: Sequence[str]) -> str:
    variants = [None, *adapters]
    heads, rates = best_heads(backend, chosen_on)
    known = [None, *(name for name in adapters if FAULTS[name] is not None)]
    limits = limits_of(watch(backend, heads, LIMIT_SEED, limits_on, known, factors=False))
    seen = watch(backend, heads, TABLE_SEED, count, variants, factors=True)
    which = ", ".join(f"{row} {layer}/{head} ({rates[row]:.0%})" for row, (layer, head) in heads.items())
    return "\n".join(
        [
            f"{count} screens per variant with {BUTTONS[0]}–{BUTTONS[1]} buttons, sides {SIDE[0]}–{SIDE[1]} px. "
            f"Heads (layer/head, how often it looks inside), chosen on {chosen_on} other screens: {which}.",
            f"Limits, set on {limits_on} other screens: more than {limits.misses:.0%} said outside is a fault; looks "
            f"inside on {limits.looks:.0%} of these or more: hands, on fewer: eyes.",
            "",
            table(seen, limits),
        ]
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--screens", type=int, default=300)
    parser.add_argument("--chosen-on", type=int, default=60)
    parser.add_argument("--limits-on", type=int, default=60)
    every = [name for name in FAULTS if name != "base"]
    parser.add_argument("--adapters", nargs="*", choices=every, default=every, help="the two wrong ones among them")
    given = parser.parse_args()
    opened = open_backend("local", model="demo")
    print(report(opened, given.screens, given.chosen_on, given.limits_on, given.adapters))
    opened.close()
