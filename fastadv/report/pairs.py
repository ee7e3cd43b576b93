"""One cell of two grids beside each other, and what a test can tell of it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from fastadv.arrays import Arrays
from fastadv.grid.ranking import LEVEL, ONE_RUN, ONE_TRAINING, by_images, untestable
from fastadv.grid.row import Row
from fastadv.grid.several import RUNS_MISSING, Samples, answers
from fastadv.metrics import mcnemar_exact
from fastadv.runs import Answers
from fastadv.threat import Threat

REMEDIES = {  # where no test can tell, what would help
    ONE_RUN: "run both with --repeats, 3 or more",
    ONE_TRAINING: "every run has the same model; leave random_state out of its spec",
}

KINDS = {"none": "clean", "evasion": "evasion", "poisoning": "poisoning"}


@dataclass(frozen=True)
class Pair:
    """A cell before and after.

    Attributes
    ----------
    before, after : float or None
        The accuracy to quote, over the images that both have, the mean over runs; None where there
        is no figure.
    n, runs : int
        Those images, and the runs of the side that has fewer.
    lost, won : int
        Images that more of the runs before were right on, and more of those after.
    scope : str or None
        What a test is about: ``runs``, trainings of this kind, or ``this model``, one training or a
        model on each side that was given.
    p_value, adjusted : float or None
        Of that test, and by Holm for the number of tests; None where none was made.
    unknown : str or None
        Why no test can tell.
    problem : str or None
        What is wrong, so that there is nothing to test.
    """

    attack: str
    defense: str
    threat: Threat | None
    before: float | None
    after: float | None
    n: int = 0
    runs: int = 0
    lost: int = 0
    won: int = 0
    scope: str | None = None
    p_value: float | None = None
    adjusted: float | None = None
    unknown: str | None = None
    problem: str | None = None

    @property
    def cell(self) -> str:
        """The cell's name."""
        return f"{self.attack} / {self.defense}"

    @property
    def difference(self) -> float | None:
        """After minus before; None where the two do not answer the same question."""
        if self.before is None or self.after is None or self.problem is not None:
            return None
        return self.after - self.before

    @property
    def significant(self) -> bool:
        """Whether chance is ruled out, in what the test is about."""
        return self.adjusted is not None and self.adjusted <= LEVEL

    @property
    def worse(self) -> bool:
        """Whether the accuracy fell, significantly."""
        return self.significant and (self.difference or 0.0) < 0


def make_pair(a: Row, b: Row, samples: tuple[Samples, Samples]) -> tuple[Pair | None, list[str]]:
    """Return the pair of one cell, and what else is to be said of it; None if it was skipped."""
    if (a.status, b.status) == ("skipped", "skipped"):
        return None, []
    plain = Pair(
        b.attack, a.defense if a.defense == b.defense else f"{a.defense} -> {b.defense}",
        b.threat or a.threat, _value(a), _value(b), runs=min(len(a.runs), len(b.runs)),
    )  # fmt: skip
    undone = [f"{what} {s}" for s, r in (("before", a), ("after", b)) if (what := _undone(r))]
    if undone:
        return replace(plain, problem="; ".join(undone)), []
    if a.threat != b.threat:
        return replace(plain, problem=f"threat {a.threat} before, {b.threat} after"), []
    kept = samples[0](a), samples[1](b)
    before, after = answers(a, kept[0]), answers(b, kept[1])
    if before is None or after is None:
        side = "before" if before is None else "after"
        return replace(plain, problem=f"the samples of {side} cannot be read"), []
    both = np.intersect1d(before.image, after.image)
    if not len(both):
        return replace(plain, problem="not one test image in common"), []
    if not _same_labels(kept, both):
        return replace(plain, problem="the same images have other labels"), []
    notes = list[str]()
    if not before.n_images == after.n_images == len(both):
        notes = [
            f"{KINDS[b.kind]} rows: compared on the {len(both):,} test images that both have, of "
            f"{before.n_images:,} before and {after.n_images:,} after"
        ]
    sides = [one.only(np.isin(one.image, both)) for one in (before, after)]
    return _tested(plain, (a, b), sides[0], sides[1], both), notes


def _undone(row: Row) -> str:
    if row.status != "ok":
        return row.status
    return "runs missing" if any(flag.name == RUNS_MISSING for flag in row.flags) else ""


def _value(row: Row) -> float | None:
    return None if row.attacked_accuracy is None else row.attacked_accuracy.value


def _same_labels(kept: tuple[Arrays | None, Arrays | None], both: npt.NDArray[Any]) -> bool:
    """Return whether both sides have the same label for each of the images."""
    labels = []
    for arrays in kept:
        assert arrays is not None  # it has answers
        ids, first = np.unique(arrays["sample_ids"], return_index=True)
        y = arrays.get("y")
        if y is None or y.shape != arrays["sample_ids"].shape:
            return False
        labels.append(y[first][np.isin(ids, both)])
    return np.array_equal(labels[0], labels[1])


def _tested(
    plain: Pair, rows: tuple[Row, Row], was: Answers, now: Answers, both: npt.NDArray[Any]
) -> Pair:
    """Return the pair with both accuracies over the images that both have, and the test."""
    before, after = was.of_images(both), now.of_images(both)
    pair = replace(
        plain,
        before=float(before.mean()),
        after=float(after.mean()),
        n=len(both),
        lost=int((after < before).sum()),
        won=int((after > before).sum()),
        unknown=untestable(*rows),
    )
    if pair.unknown is not None:
        return pair
    if by_images(*rows):
        return replace(pair, scope="this model", p_value=mcnemar_exact(pair.lost, pair.won))
    return replace(pair, scope="runs", p_value=float(now.minus(was).p_value()))
