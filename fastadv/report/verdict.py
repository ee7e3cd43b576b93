"""What follows from a table, in sentences that are made of its figures by fixed rules.

For each attack: the best defense with its price in clean accuracy, ties called ties, and an attack
that does no more than its baseline called so.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from fastadv.grid.ranking import LEVEL, more_than_baseline
from fastadv.metrics import holm

if TYPE_CHECKING:
    from fastadv.grid.several import Samples
    from fastadv.report.summary import Line, Summary

NONE = "none"  # the defense that is none


def verdict(sheet: Summary, samples: Samples) -> list[str]:
    """Return the sentences on a table, in the order of its lines."""
    return list(_sentences(sheet.lines, sheet.defenses, samples))


def _sentences(lines: Sequence[Line], defenses: Sequence[str], samples: Samples) -> Iterator[str]:
    clean = next((line for line in lines if line.kind == "clean"), None)
    prices = _prices(clean, defenses) if clean is not None else {}
    told = set[str]()
    for line in lines:
        if line.best:
            yield _best(line, defenses, prices, told)
        if line.kind == "poisoning":
            yield from _no_more_than_flips(line, samples)
    one_run = any(
        len(row.runs) == 1 for line in lines if line.kind != "clean" for row in line.rows.values()
    )
    if one_run and len(defenses) > 1 and not any(line.best for line in lines):
        yield "One run tells no defense from another: --repeats 3 or more does."


def _prices(clean: Line, defenses: Sequence[str]) -> dict[str, float]:
    """Return by how many points of clean accuracy each defense is below none."""
    values = {
        defense: 100 * entry.figure.value
        for defense, entry in zip(defenses, clean.entries, strict=True)
        if entry.figure is not None
    }
    return {d: values[NONE] - value for d, value in values.items()} if NONE in values else {}


def _best(line: Line, defenses: Sequence[str], prices: dict[str, float], told: set[str]) -> str:
    first, *others = line.best
    figure = line.entries[list(defenses).index(first)].figure
    assert figure is not None  # it is the best
    share = 100 * figure.value
    against = f"Against {line.label}"
    shown = f"{share:.1f} points lost" if line.kind == "poisoning" else f"{share:.1f} %"
    if set(line.best) == {d for d, e in zip(defenses, line.entries, strict=True) if e.figure}:
        return f"{against} no defense is told from another ({first}: {shown})."
    if NONE in line.best and first != NONE:
        return f"{against} {first} ({shown}) is not told from none."
    if first == NONE:
        return f"{against} no defense is better than none ({shown})."
    tied = f", tied with {_list(others)}" if others else ""
    price = prices.get(first)
    if price is None or first in told:
        return f"{against} {first} is best ({shown}){tied}."
    told.add(first)
    word = "costs" if price >= 0 else "gains"
    paid = f"it {word} {abs(price):.1f} points on clean images"
    return f"{against} {first} is best ({shown}){tied}; {paid}."


def _no_more_than_flips(line: Line, samples: Samples) -> Iterator[str]:
    """Yield the defenses from which poison takes no more than random flips do."""
    tests = {d: more_than_baseline(row, samples) for d, row in line.rows.items()}
    known = {d: p for d, p in tests.items() if p is not None}
    adjusted = dict(zip(known, holm(list(known.values())), strict=True))
    no_more = []
    for defense, p in adjusted.items():
        row = line.rows[defense]
        assert row.accuracy_lost is not None  # both have been measured
        assert row.baseline_lost is not None
        if p > LEVEL or row.accuracy_lost.value < row.baseline_lost.value:
            no_more.append(defense)
    if no_more:
        yield f"{line.name} takes no more than random flips do from {_list(no_more)}."


def _list(names: Sequence[str]) -> str:
    """Return ``a, b and c``."""
    *first, last = names
    return f"{', '.join(first)} and {last}" if first else last
