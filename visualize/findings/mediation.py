"""Decide the words for "seeing, looking or saying?": shares of the change, where there is one to share."""

from itertools import product

from inference.explanations import Attribution
from visualize.findings.finding import Finding
from visualize.findings.pictures import bars, table
from visualize.findings.words import NOTHING, from_to, likelier, names, nats, percent, token
from visualize.json_values import Json
from visualize.numbers.caption import in_quotes
from visualize.numbers.scale import number

FACTORS = ("seeing", "looking", "saying")


def mediation(explanation: Attribution) -> Finding:
    """Whether an answer changed because of what is seen, where the words look, or what is said of it."""
    total = explanation.total
    values = {name: float(getattr(explanation, name)) for name in FACTORS}
    numbers = {"total": total, **values, "interaction": explanation.interaction}
    if is_shareable(explanation):
        shares = {name: value / total for name, value in values.items()}
        numbers |= {f"{name}_share": share for name, share in shares.items()}
        texts = {name: f"{percent(share)} · {amount(explanation, values[name])}" for name, share in shares.items()}
    else:
        texts = {name: amount(explanation, value) for name, value in values.items()}
    picture = bars(
        [(name, values[name], texts[name]) for name in FACTORS],
        alt=f"Shares of the change, {unit(explanation)}: " + ", ".join(f"{name} {texts[name]}" for name in FACTORS),
        least=NOTHING,
    )
    interaction = explanation.interaction
    details = (
        f"Swapped alone into {names(explanation)[0]}, the three add up to {amount(explanation, total - interaction)}; "
        f"together they do {amount(explanation, total)}: the difference, {amount(explanation, interaction)}, is "
        "interaction.",
    )
    return Finding("attribution", _sentence(explanation, values), numbers, details, (picture, _eight(explanation)))


def is_shareable(explanation: Attribution) -> bool:
    """Whether the change is large enough, and its parts agree enough, for percentages of it to mean something."""
    parts = sum(abs(float(getattr(explanation, name))) for name in FACTORS)
    return abs(explanation.total) >= max(NOTHING, parts / 2)


def change_words(explanation: Attribution) -> str:
    """What changed, by how much and which way: `log p of “red” (+2.31 nats: more likely, 5.1 % → 51 %)`."""
    total = explanation.total
    first, second = float(explanation.outcomes[0, 0, 0]), float(explanation.outcomes[1, 1, 1])
    if explanation.outcome == "margin":
        over = f"{_says(explanation, 1)} over {_says(explanation, 0)}"
        return f"the margin of {over} ({amount(explanation, total)}: {_margin(first)} → {_margin(second)})"
    return f"log p of {token(explanation)} ({nats(total)}: {likelier(total)}, {from_to(first, second)})"


def unit(explanation: Attribution) -> str:
    """What the outcome counts."""
    return "nats" if explanation.outcome == "logprob" else "logits"


def amount(explanation: Attribution, value: float) -> str:
    """A change of the outcome with its sign and unit; a difference of logits is one of log-probabilities, too."""
    return nats(value).replace("nats", unit(explanation))


def _sentence(explanation: Attribution, values: dict[str, float]) -> str:
    total = explanation.total
    ranked = sorted(values, key=lambda name: -values[name] if total > 0 else values[name])
    if is_shareable(explanation):
        said = [f"{name} {percent(values[name] / total)}" for name in ranked[1:]]
        against = " (a minus works against it)" if any(values[name] * total < 0 for name in ranked) else ""
        share = percent(values[ranked[0]] / total)
        change = change_words(explanation)
        return f"{ranked[0].capitalize()} carries {share} of the change of {change}; {', '.join(said)}{against}."
    each = ", ".join(f"{name} {amount(explanation, values[name])}" for name in FACTORS)
    if max(map(abs, values.values())) < NOTHING:
        return f"There is nothing to share out: {_unchanged(explanation)}; {each}."
    if abs(total) < NOTHING:
        return f"They cancel out: {_unchanged(explanation)}, but {each}."
    change = change_words(explanation)
    return f"They pull against each other, so that percentages would mislead: {each}; together they change {change}."


def _unchanged(explanation: Attribution) -> str:
    first, second = float(explanation.outcomes[0, 0, 0]), float(explanation.outcomes[1, 1, 1])
    what = "margin" if explanation.outcome == "margin" else f"probability of {token(explanation)}"
    kept = "" if explanation.outcome == "margin" else f", {from_to(first, second)}"
    return f"the {what} did not change ({amount(explanation, explanation.total)}{kept})"


def _margin(value: float) -> str:
    return number(value, "nats", sign=True)


def _says(explanation: Attribution, variant: int) -> str:
    return f"{in_quotes(explanation.says[variant])} ({names(explanation)[variant]}'s)"


def _eight(explanation: Attribution) -> Json:
    variants = names(explanation)
    rows = [
        [*(variants[which] for which in place), number(float(explanation.outcomes[place]), "nats")]
        for place in product((0, 1), repeat=3)
    ]
    what = "log p (nats)" if explanation.outcome == "logprob" else "margin (logits)"
    return table([*FACTORS, what], rows, title="the eight outcomes")
