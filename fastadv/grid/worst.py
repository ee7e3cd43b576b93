"""The worst case: an image counts only if it survives every attack of one threat model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from fastadv.grid.row import Figure, Row
from fastadv.grid.several import Samples, answers, figure
from fastadv.runs import Answers
from fastadv.threat import Threat

WORST = "worst"  # the attack of a worst case


@dataclass(frozen=True)
class Worst:
    """The worst case of one threat model and defense.

    Attributes
    ----------
    accuracy : Figure
        The share of images that are right and that none of ``attacks`` turned.
    attacks : tuple of str
        Those that count.
    missing : tuple of str
        Those that failed or took too long, in one run or more; with them the accuracy could only be
        lower.
    """

    threat: Threat
    defense: str
    accuracy: Figure
    attacks: tuple[str, ...]
    missing: tuple[str, ...] = ()


def worst_rows(rows: Sequence[Row], samples: Samples) -> list[Worst]:
    """Return the worst case over the evasion attacks of each threat model, image by image.

    In the order of the rows; none where the attacks were measured on different images. An attack
    that lacks a run is left out.
    """
    cases = (worst_case(group, samples) for group in by_threat(rows))
    return [case[0] for case in cases if case is not None]


def by_threat(rows: Sequence[Row]) -> list[list[Row]]:
    """Return the evasion rows of each threat model and defense."""
    groups: dict[tuple[Threat, str], list[Row]] = {}
    for row in rows:
        if row.kind == "evasion" and row.status != "skipped" and row.threat is not None:
            groups.setdefault((row.threat, row.defense), []).append(row)
    return list(groups.values())


def worst_case(rows: Sequence[Row], samples: Samples) -> tuple[Worst, Answers] | None:
    """Return the worst case of one such group, and its images; None if that is not known."""
    found = {row.attack: answers(row, samples(row)) for row in rows if row.status == "ok"}
    known = {attack: one for attack, one in found.items() if one is not None}
    if not known:
        return None
    most = max(known.values(), key=lambda one: len(one.value))
    counted = {attack: one for attack, one in known.items() if _same_images(one, most)}
    runs = set(most.run.tolist())
    if any(set(one.run.tolist()) == runs for a, one in known.items() if a not in counted):
        return None
    value = np.min([one.value for one in counted.values()], axis=0)
    robust = Answers(most.run, most.image, value)
    missing = tuple(row.attack for row in rows if row.attack not in counted)
    threat = rows[0].threat
    assert threat is not None  # they are of one
    return Worst(threat, rows[0].defense, figure(robust), tuple(counted), missing), robust


def _same_images(a: Answers, b: Answers) -> bool:
    return np.array_equal(a.run, b.run) and np.array_equal(a.image, b.image)
