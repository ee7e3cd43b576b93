"""What says of one cell that its figure is not to be taken as it stands: flags, and notes.

Most of them are the checks of Carlini et al., On Evaluating Adversarial Robustness (2019): what
holds for every model under an attack that works, and fails where gradients mislead. Each flag has
its remedy. What cells say about one another is in `fastadv.grid.trust.rows`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
import numpy as np

from fastadv import capabilities
from fastadv.arrays import Labels, Mask
from fastadv.attacks.evasion import without_gradient
from fastadv.attacks.evasion.probe import Probe, faults
from fastadv.defenses.none import NoDefense
from fastadv.grid.cell import Choice
from fastadv.grid.row import Flag
from fastadv.metrics import wilson_interval
from fastadv.protocols import Model
from fastadv.task import Task

CONTROLS = {"noise", "train_noise"}  # attacks that show what chance does
_FEW = 4  # columns that a note names
_MORE = 0.01  # the share of the images that more queries may break without a flag


@dataclass(frozen=True)
class Attacked:
    """A cell as its flags see it.

    Attributes
    ----------
    model : Model
        As it was attacked.
    beyond : ndarray of bool, shape (n,)
        Where an adversarial image lies outside the budget.
    outside : bool
        Whether a pixel of an attacked image lies outside the bounds.
    found : dict
        What else the attack returned, see `Row`.
    """

    attack: Choice
    defense: Choice
    model: Model
    task: Task
    beyond: Mask
    outside: bool
    probe: Probe
    found: dict[str, Any]


def cell_flags(cell: Attacked) -> list[Flag]:
    """Return what is to be said of one cell alone."""
    gradients = faults(cell.probe, cell.defense.text) if _climbs(cell) else []
    flags = [_identity(cell), *(Flag(*f) for f in gradients), _randomised(cell), _outside(cell)]
    return [flag for flag in flags if flag is not None]


def _climbs(cell: Attacked) -> bool:
    return "gradient" in cell.attack.made.needs


def _identity(cell: Attacked) -> Flag | None:
    """Flag what was attacked through the identity alone, or where more queries find more."""
    if not without_gradient.applies(cell.attack.made, cell.model):
        return None
    account = msgspec.convert(cell.found, without_gradient.Account)
    search, name = account.search, cell.defense.text
    if search is None and "surrogate" not in account.broken_by:
        return Flag(
            "identity_gradient",
            f"{name} has no useful gradient: attacked through the identity in its place",
            "give it a smooth stand-in, or add an attack that needs no gradient",
        )
    if search is None or search.broken <= _MORE * search.n:
        return None
    return Flag(
        "identity_gradient",
        f"the gradient of {name} does not lead to all: {search.queries:,} queries of square break "
        f"{search.broken} more of {search.n:,} images, of the {search.nearest} nearest to it",
        "the figure is too high by as many at least: add square with more queries, and quote the "
        "worst row",
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
    allowed = capabilities.minimum_norm(cell.attack.made)
    if not cell.outside and (allowed or not cell.beyond.any()):
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
        "the certificate or the distance has a fault to be reported; a certificate by votes may be "
        "wrong with its alpha",
    )


def impossible_rows(attack: Choice, count: int) -> list[Flag]:
    """Return what is to be said of ``count`` rows that an attack made, and that cannot exist."""
    if not count:
        return []
    return [
        Flag(
            "impossible_rows",
            f"{attack.text} returned {count:,} rows that cannot exist: a fixed column changed, a "
            "whole number did not stay whole, or of a one-hot group not one is 1",
            "an attack has to bring its rows back by Task.brought_back",
        )
    ]


def held_columns(attack: Choice, task: Task) -> list[Flag]:
    """Return the note on columns that cannot change within the budget: which, and why."""
    threat = capabilities.threat_on(attack.made, task)
    bound = threat.kind in ("linf", "l2") and not capabilities.minimum_norm(attack.made)
    free = task.movable(threat.kind, threat.budget if bound else None)
    columns = task.columns
    if free is None or columns is None:
        return []
    whys: dict[str, list[str]] = {}
    in_groups = {place for group in columns.one_hot for place in group}
    for place in np.flatnonzero(~free):
        why = "a step of a whole number is more"
        if place in columns.held_places:
            why = "fixed"
        elif place in in_groups:
            why = "one-hot"
        whys.setdefault(why, []).append(columns.names[place])
    said = "; ".join(f"{why}: {name_few(names)}" for why, names in whys.items())
    within = f" within {threat}" if bound else ""
    return [
        Flag(
            "held_columns",
            f"{len(free) - int(free.sum()):,} of {len(free):,} columns cannot change{within} "
            f"({said})",
        )
    ]


def name_few(names: Sequence[str]) -> str:
    """Return the first few names, and that there are more."""
    return ", ".join(names[:_FEW]) + ", ..." * (len(names) > _FEW)


def not_adaptive(attack: Choice, defense: Choice) -> list[Flag]:
    """Return the note on a poisoning attack that does not know the defense; none needs none."""
    if isinstance(defense.made, NoDefense) or attack.text.partition("[")[0] in CONTROLS:
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
    warning = capabilities.warns(defense.made, n_train, task)
    return None if warning is None else Flag("few_images", *warning)


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
