"""What the tool says of adapters whose fault is known: `python -m tests.verdict_table`.

Base and every adapter of the embedded model click a named button of drawn screens that nothing else has seen; each
follows its own answer, at the tokens that spell its point.

1. Said: the point lies in the named button. Looked: the cell with the largest weight of base's best heads, chosen on
   screens of their own, overlaps it; both as the page says them of a box, see `visualize.numbers.verdict`. Distance:
   from that cell's middle to the said point.
2. Seeing, looking, saying: of the first digit that an adapter says otherwise than base, by the difference of the logits
   of the two digits. Screens on which all digits are alike are counted and left out. A share is the sum over the
   screens by the sum of the total.
3. The rule names the fault of some screens by their counts alone. Its two limits lie midway between the adapters' on a
   third set of screens. It is then tried on sets of 20 of the table's screens, drawn at random.
"""

import argparse
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np

from inference import Backend, Comparison, Request, open_backend
from inference.demo.screens import Screen, ScreenElement, ask_click, screen
from inference.errors import SelectionError
from inference.questions import AttributionOptions
from visualize import Selection, looked_said, measures, select, stack, top_heads
from visualize.numbers.verdict import Verdict, said_beside

#: First seeds of the three sets, beyond the ranges of training and of every other table.
CHOICE_SEED, LIMIT_SEED, TABLE_SEED = 7_000_000_000, 7_100_000_000, 7_200_000_000
SIZES: Final = ((192, 192), (192, 224), (224, 192), (224, 224))
SIDE: Final = (34, 44)
BUTTONS: Final = (2, 6)
HEADS: Final = 3
SET: Final = 20
FACTORS: Final = ("seeing", "looking", "saying")
#: What each adapter was made to do wrong; a fault that the rule does not know is None.
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
Heads = tuple[tuple[int, int], ...]


@dataclass(frozen=True, slots=True)
class Seen:
    """One variant on one screen.

    Attributes:
        verdict: as the page says it of the named button.
        pixels: from where it looks to where it says; nan where it says no place.
        factors: seeing, looking, saying, in logits; None where it says what base says.
    """

    verdict: Verdict
    pixels: float
    factors: tuple[float, float, float] | None


@dataclass(frozen=True, slots=True)
class Limits:
    """What the rule compares with.

    Attributes:
        misses: of more than this share of the screens the said point misses: there is a fault.
        looks: on at least this share of the missed screens it looks inside: the fault is in the hands.
    """

    misses: float
    looks: float


def screens(first_seed: int, count: int) -> Iterator[tuple[Screen, ScreenElement]]:
    """Screens of every number of buttons in turn, and which one is to be clicked, every place in turn."""
    fewest, most = BUTTONS
    for index in range(count):
        buttons = fewest + index % (most - fewest + 1)
        drawn = screen(first_seed + index, buttons, SIZES[index % len(SIZES)], SIDE)
        yield drawn, drawn.buttons[index // (most - fewest + 1) % buttons]


def fault(seen: Sequence[Seen], limits: Limits) -> Fault:
    """Name what is wrong with a variant from what it says and looks at on some screens.

    Where most answers say no place there is nothing to compare; where few points miss there is no fault; else it lies
    in the hands where the missed buttons were looked at, and in the eyes where they were not.
    """
    says = [each for each in seen if each.verdict.said.places]
    if 2 * len(says) < len(seen):
        return "no place"
    missed = [each for each in says if not each.verdict.said.inside]
    if len(missed) <= limits.misses * len(says):
        return "none"
    return "hands" if sum(each.verdict.looks for each in missed) >= limits.looks * len(missed) else "eyes"


def clicks(backend: Backend, drawn: Screen, named: ScreenElement, variants: Sequence[str | None]) -> Comparison:
    """Every variant asked to click one button, each beside its own answer."""
    prompt = ask_click(drawn, named).prompt
    return backend.compare(Request(drawn.image, prompt, adapters=tuple(variants), answer_from="own"))


def best_heads(backend: Backend, count: int) -> tuple[Heads, np.ndarray]:
    """Base's heads whose largest cell at the digits overlaps the named button most often, and every head's share."""
    hits = []
    for drawn, named in screens(CHOICE_SEED, count):
        comparison = clicks(backend, drawn, named, (None,))
        maps = comparison.recordings[0].by_head  # (layers, heads, grid_h, grid_w)
        hits.append([[measures.pointing_game(m, named.box, drawn.size) for m in layer] for layer in maps])
    shares = np.mean(hits, axis=0)
    return top_heads(shares, HEADS), shares


def watch(
    backend: Backend, heads: Heads, first_seed: int, count: int, variants: Sequence[str | None], factors: bool
) -> dict[str, list[Seen]]:
    """What each variant says and looks at on the same screens, base first."""
    seen: dict[str, list[Seen]] = {name or "base": [] for name in variants}
    for drawn, named in screens(first_seed, count):
        comparison = clicks(backend, drawn, named, variants)
        said = dict(zip(seen, said_beside(comparison, list(seen), [named.box]), strict=True))
        for name in seen:
            recording = comparison.recording(None if name == "base" else name)
            heat = select(recording, Selection(0, "focus", heads))
            looks = bool(measures.pointing_game(heat, named.box, drawn.size))
            share = float(measures.box_share(heat, [named.box], drawn.size))
            shown = stack(comparison, "focus", head=heads, layers=[0], variants=(recording.adapter,))
            away = looked_said(comparison, shown)[0].pixels[0]
            parts = why(backend, drawn, named, comparison, name) if factors and name != "base" else None
            seen[name].append(Seen(Verdict(looks, share, said[name]), away, parts))
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
    except SelectionError:  # the answer was written by other kernels than the replay: both say the same there
        return None
    return found.seeing, found.looking, found.saying


def limits_of(seen: Mapping[str, Sequence[Seen]]) -> Limits:
    """Midway between the variants that are right and those that are wrong, and between wrong eyes and wrong hands."""

    def missed(name: str) -> float:
        return float(np.mean([not each.verdict.said.inside for each in seen[name]]))

    def looked(name: str) -> float:
        return float(np.mean([each.verdict.looks for each in seen[name] if not each.verdict.said.inside]))

    right = max(missed(name) for name in seen if FAULTS[name] == "none")
    wrong = min(missed(name) for name in seen if FAULTS[name] in ("eyes", "hands"))
    return Limits((right + wrong) / 2, (looked("wrong-eyes") + looked("wrong-hands")) / 2)


def named_right(seen: Sequence[Seen], wanted: str, limits: Limits, sets: int = 1_000) -> dict[str, float]:
    """How often the rule names each fault, over sets of `SET` screens drawn at random without repetition."""
    rng = np.random.default_rng(0)
    named = [fault([seen[i] for i in rng.permutation(len(seen))[:SET]], limits) for _ in range(sets)]
    return {name: named.count(name) / sets for name in dict.fromkeys((wanted, *sorted(set(named))))}  # type: ignore[arg-type]


def table(seen: Mapping[str, Sequence[Seen]], limits: Limits) -> str:
    """The verdict table as Markdown."""
    lines = [
        "| variant | says inside | looks inside | looks inside where it says outside | looked–said, median px "
        f"| seeing / looking / saying | rule on sets of {SET} |",
        "|---|---|---|---|---|---|---|",
    ]
    for name, each in seen.items():
        missed = [one for one in each if one.verdict.said.places and not one.verdict.said.inside]
        said = np.mean([one.verdict.said.inside > 0 for one in each])
        looks = np.mean([one.verdict.looks for one in each])
        both = f"{sum(one.verdict.looks for one in missed)} of {len(missed)}"
        known = [one.pixels for one in each if not np.isnan(one.pixels)]
        away = f"{np.median(known):.0f}" if known else "–"
        rule = named_right(each, FAULTS[name] or "", limits)
        words = ", ".join(f"{fault_name} {part:.1%}" for fault_name, part in rule.items() if fault_name)
        lines.append(f"| `{name}` | {said:.1%} | {looks:.1%} | {both} | {away} | {shares(each)} | {words} |")
    return "\n".join(lines)


def shares(seen: Sequence[Seen]) -> str:
    """The three shares and of how many screens; a dash where no answer differs from base's."""
    factors = np.array([each.factors for each in seen if each.factors is not None])
    if not len(factors):
        return "–"
    parts = factors.sum(axis=0) / factors.sum()
    return " / ".join(f"{part:.0%}" for part in parts) + f" of {len(factors)}"


def report(backend: Backend, count: int, chosen_on: int, limits_on: int) -> str:
    variants = [None if name == "base" else name for name in FAULTS]
    heads, rates = best_heads(backend, chosen_on)
    known = [name for name in variants if FAULTS[name or "base"] is not None]
    limits = limits_of(watch(backend, heads, LIMIT_SEED, limits_on, known, factors=False))
    seen = watch(backend, heads, TABLE_SEED, count, variants, factors=True)
    which = ", ".join(f"{layer}/{head} ({rates[layer, head]:.0%})" for layer, head in heads)
    return "\n".join(
        [
            f"{count} screens per variant with {BUTTONS[0]}–{BUTTONS[1]} buttons, sides {SIDE[0]}–{SIDE[1]} px. "
            f"Heads (layer/head, how often each looks inside), chosen on {chosen_on} other screens: {which}.",
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
    given = parser.parse_args()
    opened = open_backend("local", model="demo")
    print(report(opened, given.screens, given.chosen_on, given.limits_on))
    opened.close()
