"""What says that a figure is not to be taken as it stands: flags, each with its remedy, and notes.

Most of them are the checks of Carlini et al., On Evaluating Adversarial Robustness (2019): what
holds for every model under an attack that works, and fails where gradients mislead.

- Of one cell (`cell_flags`): what its attack was given, what it returned, and what `probe` shows of
  the defended model. Of any cell, attacked or clean: `few_images`, `no_better_than_chance`.
- Of several cells (`flagged`): what they say about one another.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import TYPE_CHECKING

import msgspec
import numpy as np

from fastadv.arrays import Floats, Labels, Mask
from fastadv.attacks.evasion.probe import faults
from fastadv.defenses.none import NoDefense
from fastadv.grid.store import Flag, Row
from fastadv.metrics import wilson_interval
from fastadv.protocols import Model
from fastadv.task import Task

if TYPE_CHECKING:
    from fastadv.attacks.evasion.probe import Probe
    from fastadv.grid.spec import Choice

CONTROLS = {"noise", "train_noise"}  # attacks that show what chance does

_BUDGETS = ("eps", "budget", "fraction", "points")
_MARGIN = 0.002  # by how much an accuracy has to be off before it is told


# -- one cell -------------------------------------------------------------------------------


@dataclass(frozen=True)
class Attacked:
    """A cell as its flags see it.

    Attributes
    ----------
    model : Model
        As it was attacked.
    beyond : ndarray of bool, shape (n,)
        Where an adversarial image lies outside the budget.
    x_adv : ndarray of shape (n, d)
    """

    attack: Choice
    defense: Choice
    model: Model
    task: Task
    beyond: Mask
    x_adv: Floats
    probe: Probe


def cell_flags(cell: Attacked) -> list[Flag]:
    """Return what is to be said of one cell alone."""
    gradients = faults(cell.probe, cell.defense.text) if _climbs(cell) else []
    found = [_identity(cell), *(Flag(*f) for f in gradients), _randomised(cell), _outside(cell)]
    return [flag for flag in found if flag is not None]


def _climbs(cell: Attacked) -> bool:
    return "gradient" in cell.attack.thing.needs


def _identity(cell: Attacked) -> Flag | None:
    if getattr(cell.model, "gradient", "exact") != "identity" or not _climbs(cell):
        return None
    return Flag(
        "identity_gradient",
        f"{cell.defense.text} has no useful gradient: attacked through the identity in its place",
        "a black-box attack may find more",
    )


def _randomised(cell: Attacked) -> Flag | None:
    if not cell.probe.randomised:
        return None
    return Flag(
        "randomised",
        f"{cell.defense.text} answers at random: the attack met some draws, its users meet others",
        "average the gradient over more draws, and count an image only if it survives several",
    )


def _outside(cell: Attacked) -> Flag | None:
    low, high = cell.task.bounds
    outside = bool(len(cell.x_adv)) and (cell.x_adv.min() < low or cell.x_adv.max() > high)
    allowed = getattr(cell.attack.thing, "minimum_norm", False)
    if not outside and (allowed or not cell.beyond.any()):
        return None
    return Flag(
        "outside_budget",
        f"{cell.attack.text} returned images outside its budget or the pixel range; they do not "
        "count",
        "the attack has a fault to be reported",
    )


def broken_certificate(attack: Choice, defense: Choice, count: int) -> Flag | None:
    """Return what is to be said where ``count`` images that were certified have been changed."""
    if not count:
        return None
    return Flag(
        "broken_certificate",
        f"{attack.text} changed {count:,} images that {defense.text} had certified",
        "the proof or the distance has a fault to be reported; of a certificate by votes each may "
        "be wrong with its alpha",
    )


def not_adaptive(attack: Choice, defense: Choice) -> list[Flag]:
    """Return the note on a poisoning attack that does not know the defense; none needs none."""
    if isinstance(defense.thing, NoDefense) or _base(attack.text) in CONTROLS:
        return []
    return [
        Flag(
            "not_adaptive",
            "the poison was chosen without knowing the defense",
            "an attacker who knows it may leave less: read the figure as an upper bound",
        )
    ]


def few_images(defense: Choice, n_train: int, task: Task) -> Flag | None:
    """Return what a defense says of a training set that is too small for it."""
    warns = getattr(defense.thing, "warns", None)
    found = warns(n_train, task) if warns else None
    return None if found is None else Flag("few_images", *found)


def no_better_than_chance(defense: Choice, right: Mask, y: Labels) -> Flag | None:
    """Return what is to be said if one label for all clean images would be right as often."""
    chance = float(np.bincount(y).max() / len(y))
    if wilson_interval(int(right.sum()), len(y))[0] > chance:
        return None
    return Flag(
        "no_better_than_chance",
        f"with {defense.text} the model gets {100 * float(right.mean()):.1f} % of {len(y):,} clean "
        f"images right, one label for all {100 * chance:.1f} %: not to be told from a model that "
        "has learnt nothing, of which no attack shows anything",
        "more training images or epochs, a milder defense, or more test images",
    )


def not_settled(defense: Choice, unsettled: Sequence[str] | None) -> list[Flag]:
    """Return the note on a model whose training has not settled: why, and what helps."""
    if unsettled is None:
        return []
    reason, remedy = unsettled
    return [Flag("not_settled", f"{defense.text}: when training ended, {reason}", remedy)]


# -- several cells --------------------------------------------------------------------------

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
    """Find poison that does less than as many random label flips, over the seeds of a cell.

    Less by the margin and by a standard error over test images. Two trainings differ by as much, so
    that of one run this may be chance; but what chance takes for the stronger of the two is at best
    as strong, and its figure no bound on what an attacker does. A backdoor is after something else.
    """
    cells: dict[tuple[str, ...], list[Row]] = {}
    for row in rows:
        plain = row.kind == "poisoning" and row.benign_accuracy is None and not _control(row)
        if plain and row.attacked_accuracy is not None and row.baseline_accuracy is not None:
            cell = row.dataset, row.model, row.attack, row.defense
            cells.setdefault(cell, []).append(row)
    for cell_rows in cells.values():
        attacked = fmean(row.attacked_accuracy or 0.0 for row in cell_rows)
        flips = fmean(row.baseline_accuracy or 0.0 for row in cell_rows)
        n = max(1, min(row.n for row in cell_rows))
        error = math.sqrt((attacked * (1 - attacked) + flips * (1 - flips)) / n)
        if not _exceeds(attacked, flips) or attacked - flips <= error:
            continue
        several = f", over {len(cell_rows)} seeds" if len(cell_rows) > 1 else ""
        for row in cell_rows:
            yield (
                row,
                Flag(
                    "weaker_than_flips",
                    f"as many random flips leave {100 * flips:.1f}, this "
                    f"{100 * attacked:.1f}{several}: the attack does less than chance",
                    "quote the lower figure; the points were not chosen for this defense, or "
                    "badly: more seeds tell which",
                ),
            )


def _accuracy(row: Row) -> float:
    return row.attacked_accuracy or 0.0


def _percent(row: Row) -> str:
    return f"{100 * _accuracy(row):.1f}"


def _base(spec: str) -> str:
    return spec.partition("[")[0]


def _control(row: Row) -> bool:
    return _base(row.attack) in CONTROLS


def _by_threat(rows: Sequence[Row]) -> list[list[Row]]:
    threats: dict[str | None, list[Row]] = {}
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
            yield (
                best,
                Flag(
                    "black_box_wins",
                    f"{other.attack}, without gradients, leaves {_percent(other)}, "
                    f"this {_percent(best)}",
                    "the gradients mislead or the steps are too few: more steps and restarts, "
                    "apgd; until then quote the worst row",
                ),
            )


def attack_and_budget(row: Row) -> tuple[str, float] | None:
    """Return what tells the row's attack from all but itself at other budgets, and its budget.

    None if it has no budget, or several.
    """
    parameters = dict(row.parameters.get("attack", {}))
    eps, budget, fraction, points = (parameters.pop(name, None) for name in _BUDGETS)
    given = eps, budget, fraction if points is None else points  # points replace the fraction
    budgets = [value for value in given if isinstance(value, int | float)]
    if len(budgets) != 1:
        return None
    return f"{_base(row.attack)} {sorted(parameters.items())}", float(budgets[0])


def _rising(rows: Sequence[Row]) -> Found:
    """Find an accuracy that is higher at a larger budget of the same attack."""
    attacks: dict[str, list[tuple[float, Row]]] = {}
    for row in rows:
        found = attack_and_budget(row)
        if found is not None:
            attacks.setdefault(found[0], []).append((found[1], row))
    for cells in attacks.values():
        cells.sort(key=lambda cell: cell[0])
        for k, (budget, row) in enumerate(cells):
            smaller = [other for eps, other in cells[:k] if eps < budget]
            if not smaller:
                continue
            best = min(smaller, key=_accuracy)
            if _exceeds(_accuracy(row), _accuracy(best)):
                yield (
                    row,
                    Flag(
                        "rises_with_budget",
                        f"the smaller {best.threat} leaves {_percent(best)}, this {row.threat} "
                        f"{_percent(row)}: the attack fails at the larger budget",
                        "more steps, a smaller step, apgd",
                    ),
                )


def _noise(rows: Sequence[Row]) -> Found:
    """Find an attack that is no better than noise of its budget."""
    for group in _by_threat(rows):
        controls = [row for row in group if _control(row)]
        if not controls:
            continue
        noise = min(controls, key=_accuracy)
        for row in group:
            if not _control(row) and not _exceeds(_accuracy(noise), _accuracy(row)):
                yield (
                    row,
                    Flag(
                        "no_better_than_noise",
                        f"random {noise.attack} leaves {_percent(noise)}, this {_percent(row)}",
                        "the attack does nothing, or the budget is so large that chance will do: "
                        "more steps, or a smaller budget",
                    ),
                )
