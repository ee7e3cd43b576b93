"""What the cells of a grid say about one another: flags, each with its remedy."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from statistics import stdev

import msgspec

from fastadv.grid.row import Flag, Row
from fastadv.grid.trust.cells import CONTROLS
from fastadv.threat import Threat

_MARGIN = 0.002  # by how much an accuracy has to be off to be flagged

# The parameters of an attack that are its budget, by the kind of its threat.
_BUDGETS = {
    "linf": ("eps", "budget"), "l2": ("eps", "budget"), "flow": ("budget",),
    "shift": ("max_shift",),
    "rotation_translation": ("rotation", "translation"),
    **dict.fromkeys(("poison", "points", "trigger", "trigger_points"), ("fraction", "points")),
}  # fmt: skip

Found = Iterator[tuple[Row, Flag]]


def flagged(rows: Sequence[Row]) -> list[Row]:
    """Return the rows of a grid with the flags that several of its cells give one another.

    The rows that came are left alone, and what they store: another attack in the grid, and these
    flags are others.
    """
    added: dict[str, list[Flag]] = {row.id: [_OLD_BACKDOOR] for row in rows if _old_backdoor(row)}
    for row, flag in _random_flips(rows):
        added.setdefault(row.id, []).append(flag)
    models: dict[tuple[str, ...], list[Row]] = {}
    for row in rows:
        if row.kind == "evasion" and row.status == "ok" and row.attacked_accuracy is not None:
            model = (row.dataset, row.model, row.defense, str(row.seed))
            models.setdefault(model, []).append(row)
    checks: tuple[Callable[[Sequence[Row]], Found], ...] = (_black_box, _rising, _noise)
    for group in models.values():
        for check in checks:
            for row, flag in check(group):
                added.setdefault(row.id, []).append(flag)
    return [
        msgspec.structs.replace(row, flags=[*row.flags, *added[row.id]]) if row.id in added else row
        for row in rows
    ]


_OLD_BACKDOOR = Flag(
    "trigger_not_counted",
    "the accuracy is of images without the trigger: measured by fastadv 0.1",
    "run the grid again",
)


def _old_backdoor(row: Row) -> bool:
    """Return whether a backdoor's accuracy leaves out what the trigger does, as it did once."""
    triggered = row.kind == "poisoning" and row.success_rate is not None
    return triggered and row.benign_accuracy is None


def _random_flips(rows: Sequence[Row]) -> Found:
    """Find poison that does less than as many random label flips, in the mean over runs.

    Less by the margin and by a standard error: of one run over test images, of several that of the
    runs' differences. Of one run this may be chance, as two trainings differ by as much; but what
    chance takes for the stronger of the two is at best as strong, and its figure no bound on what
    an attacker does. A backdoor is after something else.
    """
    for row in rows:
        plain = row.kind == "poisoning" and row.benign_accuracy is None and not _control(row)
        if not plain or row.attacked_accuracy is None or row.baseline_accuracy is None:
            continue
        attacked, flips = _accuracy(row), row.baseline_accuracy.value
        if not _exceeds(attacked, flips) or attacked - flips <= _error(row, attacked, flips):
            continue
        several = f", over {len(row.runs)} runs" if len(row.runs) > 1 else ""
        yield (
            row,
            Flag(
                "weaker_than_flips",
                f"as many random flips leave {100 * flips:.1f}, this {_percent(row)}{several}: "
                "the attack does less than chance",
                "quote the lower figure; the points were not chosen for this defense, or badly: "
                "more runs tell which",
            ),
        )


def _error(row: Row, attacked: float, flips: float) -> float:
    """Return the standard error of the difference of two accuracies of one row."""
    runs = [(run.attacked_accuracy, run.baseline_accuracy) for run in row.runs]
    known = [a - b for a, b in runs if a is not None and b is not None]
    if len(known) > 1:
        return stdev(known) / math.sqrt(len(known))
    n = max(1, row.n)
    return math.sqrt((attacked * (1 - attacked) + flips * (1 - flips)) / n)


def _accuracy(row: Row) -> float:
    return float(row.attacked_accuracy or 0.0)


def _percent(row: Row) -> str:
    return f"{100 * _accuracy(row):.1f}"


def _base(spec: str) -> str:
    return spec.partition("[")[0]


def _control(row: Row) -> bool:
    return _base(row.attack) in CONTROLS


def _by_threat(rows: Sequence[Row]) -> list[list[Row]]:
    threats: dict[Threat | None, list[Row]] = {}
    for row in rows:
        threats.setdefault(row.threat, []).append(row)
    return list(threats.values())


def _exceeds(a: float, b: float) -> bool:
    """Return whether a is above b by more than the margin, and not by rounding."""
    return a - b > _MARGIN + 1e-9


def _black_box(rows: Sequence[Row]) -> Found:
    """Find a black-box attack that beats the strongest white-box one of its threat model."""
    for group in _by_threat(rows):
        attacks = [row for row in group if not _control(row) and "backward" in row.queries]
        white = [row for row in attacks if row.queries["backward"] > 0]
        black = [row for row in attacks if row.queries["backward"] == 0]
        if not white or not black:
            continue
        best, other = min(white, key=_accuracy), min(black, key=_accuracy)
        if _exceeds(_accuracy(best), _accuracy(other)):
            flag = Flag(
                "black_box_wins",
                f"{other.attack}, without gradients, leaves {_percent(other)}, this "
                f"{_percent(best)}",
                "the gradients mislead or the steps are too few: more steps and restarts, apgd; "
                "until then quote the worst row",
            )
            yield best, flag


def attack_and_budget(row: Row) -> tuple[str, tuple[float, ...]] | None:
    """Return what tells the row's attack from all but itself at other budgets, and its budget.

    A budget of several limits has them all. None if there is none.
    """
    if row.threat is None or row.threat.kind not in _BUDGETS:
        return None
    budget = _BUDGETS[row.threat.kind]
    others = [item for item in row.parameters.get("attack", {}).items() if item[0] not in budget]
    return f"{_base(row.attack)} {row.threat.kind} {sorted(others)}", row.threat.printed


def _rising(rows: Sequence[Row]) -> Found:
    """Find an accuracy that is higher at a larger budget of the same attack."""
    attacks: dict[str, list[tuple[tuple[float, ...], Row]]] = {}
    for row in rows:
        found = attack_and_budget(row)
        if found is not None:
            attacks.setdefault(found[0], []).append((found[1], row))
    for cells in attacks.values():
        for budget, row in cells:
            smaller = [other for limits, other in cells if _smaller(limits, budget)]
            if not smaller:
                continue
            best = min(smaller, key=_accuracy)
            if _exceeds(_accuracy(row), _accuracy(best)):
                flag = Flag(
                    "rises_with_budget",
                    f"the smaller {best.threat} leaves {_percent(best)}, this {row.threat} "
                    f"{_percent(row)}: the attack fails at the larger budget",
                    "more steps, a smaller step, apgd",
                )
                yield row, flag


def _smaller(a: tuple[float, ...], b: tuple[float, ...]) -> bool:
    """Return whether budget a allows less than b: no limit is larger, and not all are equal."""
    return a != b and all(x <= y for x, y in zip(a, b, strict=True))


def _noise(rows: Sequence[Row]) -> Found:
    """Find an attack that is no better than noise of its budget."""
    for group in _by_threat(rows):
        controls = [row for row in group if _control(row)]
        if not controls:
            continue
        noise = min(controls, key=_accuracy)
        for row in group:
            if not _control(row) and not _exceeds(_accuracy(noise), _accuracy(row)):
                flag = Flag(
                    "no_better_than_noise",
                    f"random {noise.attack} leaves {_percent(noise)}, this {_percent(row)}",
                    "the attack does nothing, or the budget is so large that chance will do: more "
                    "steps, or a smaller budget",
                )
                yield row, flag
