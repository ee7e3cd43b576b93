"""The worst case: an image counts only if it survives every attack of one threat model."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from fastadv.arrays import Arrays
from fastadv.grid.row import Figure, Row
from fastadv.threat import Threat

Samples = Callable[[Row], Arrays | None]  # what is kept of each image of a row, if anything
Answers = tuple[npt.NDArray[np.uint64], npt.NDArray[np.bool_]]  # ids of images, which are right

_NEEDS = {"sample_ids", "robust"}  # of a file of samples


@dataclass(frozen=True)
class Worst:
    """The worst case of one threat model, defense and seed.

    Attributes
    ----------
    accuracy : Figure
        The share of images that are right and that none of ``attacks`` turned.
    attacks : tuple of str
        Those that count.
    missing : tuple of str
        Those that failed or took too long; with them the accuracy could only be lower.
    """

    threat: Threat
    defense: str
    seed: int
    accuracy: Figure
    attacks: tuple[str, ...]
    missing: tuple[str, ...] = ()


def worst_rows(rows: Sequence[Row], samples: Samples) -> list[Worst]:
    """Return the worst case over the evasion attacks of each threat model, image by image.

    In the order of the rows; none where the attacks were measured on different images.
    """
    cases = (worst_case(group, samples) for group in by_threat(rows))
    return [case[0] for case in cases if case is not None]


def by_threat(rows: Sequence[Row]) -> list[list[Row]]:
    """Return the evasion rows of each threat model, defense and seed."""
    groups: dict[tuple[Threat, str, int], list[Row]] = {}
    for row in rows:
        if row.kind == "evasion" and row.status != "skipped" and row.threat is not None:
            groups.setdefault((row.threat, row.defense, row.seed), []).append(row)
    return list(groups.values())


def worst_case(rows: Sequence[Row], samples: Samples) -> tuple[Worst, Answers] | None:
    """Return the worst case of one such group, and its images; None if that is not known."""
    known = {row.attack: samples(row) for row in rows if row.status == "ok"}
    kept = {attack: arrays for attack, arrays in known.items() if arrays and set(arrays) >= _NEEDS}
    if not kept:
        return None
    first, *others = kept.values()
    if any(not np.array_equal(first["sample_ids"], other["sample_ids"]) for other in others):
        return None
    robust = np.all([arrays["robust"] for arrays in kept.values()], axis=0)
    missing = tuple(row.attack for row in rows if row.attack not in kept)
    row, accuracy = rows[0], Figure.of(robust)
    assert row.threat is not None  # they are of one
    assert accuracy is not None  # there is no cell without images
    case = Worst(row.threat, row.defense, row.seed, accuracy, tuple(kept), missing)
    return case, (first["sample_ids"], robust)
