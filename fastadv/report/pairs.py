"""One cell of two grids beside each other, and what a test can tell of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from statistics import fmean
from typing import Any

import numpy as np
import numpy.typing as npt

from fastadv.grid.row import Row
from fastadv.grid.worst import Samples
from fastadv.metrics import mcnemar_exact
from fastadv.runs import Runs
from fastadv.threat import Threat

LEVEL = 0.05  # of what is called significant, over all cells together

# Why no test can tell, and what would help.
ONE_RUN, NO_SEED, ONE_TRAINING = "1 run", "no seed in common", "runs of one training"
REMEDIES = {
    ONE_RUN: "run both with the same --seeds, 3 or more",
    NO_SEED: "run both with the same --seeds, 3 or more",
    ONE_TRAINING: "every run has the same model; leave random_state out of its spec",
}

KINDS = {"none": "clean", "evasion": "evasion", "poisoning": "poisoning"}


@dataclass(frozen=True)
class Pair:
    """A cell before and after, over the seeds that both have.

    Attributes
    ----------
    seed : int or None
        Of a single run.
    before, after : float or None
        The accuracy to quote, over the images that both have, the mean over runs; None where there
        is no figure.
    n, runs : int
        Those images, and runs (seeds).
    lost, won : int
        Images that only before were right, and that only after are, of all runs.
    scope : str or None
        What a test is about: ``runs``, trainings of this kind, or ``this model``, one training.
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
    seed: int | None = None
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


Run = tuple[Row, Row]  # before and after, of one seed


def make_pair(
    runs: Sequence[Run], samples: tuple[Samples, Samples]
) -> tuple[Pair | None, list[str]]:
    """Return the pair of one cell, and what else is to be said of it; None if it was skipped.

    ``runs`` are of the seeds that both sides have.
    """
    runs = [run for run in runs if (run[0].status, run[1].status) != ("skipped", "skipped")]
    if not runs:
        return None, []
    a, b = runs[0]
    plain = Pair(
        b.attack, a.defense if a.defense == b.defense else f"{a.defense} -> {b.defense}",
        b.threat or a.threat, _mean([row for row, _ in runs]), _mean([row for _, row in runs]),
        a.seed if len(runs) == 1 else None, runs=len(runs),
    )  # fmt: skip
    undone = [_undone(run) for run in runs if (run[0].status, run[1].status) != ("ok", "ok")]
    if undone:
        return replace(plain, problem="; ".join(dict.fromkeys(undone))), []
    if a.threat != b.threat:
        return replace(plain, problem=f"threat {a.threat} before, {b.threat} after"), []
    answers = [_answers(run, samples) for run in runs]
    known = [answer for answer in answers if not isinstance(answer, str)]
    for answer in answers:
        if isinstance(answer, str):
            return replace(plain, problem=answer), []
    n, notes = len(known[0].ids), list[str]()
    if not a.n == b.n == n:
        notes = [
            f"{KINDS[b.kind]} rows: compared on the {n:,} test images that both have, of "
            f"{a.n:,} before and {b.n:,} after"
        ]
    return _tested(plain, runs, known), notes


def _mean(rows: Sequence[Row]) -> float | None:
    known = [float(row.attacked_accuracy) for row in rows if row.attacked_accuracy is not None]
    return fmean(known) if known else None


def _undone(run: Run) -> str:
    sides = zip(("before", "after"), run, strict=True)
    return "; ".join(f"{row.status} {side}" for side, row in sides if row.status != "ok")


def _trainings(rows: Sequence[Row]) -> int:
    """Return how many different models the rows are of: runs may have trained one and the same."""
    known = {row.weights for row in rows if row.weights is not None}
    return len(known) if all(row.weights is not None for row in rows) else len(rows)


def _one_model(run: Run) -> bool:
    """Return whether both figures are of one model, trained on clean data."""
    a, b = run
    return a.weights is not None and a.weights == b.weights and a.kind != "poisoning"


@dataclass(frozen=True)
class _Answers:
    """Which of the images (n,) that both have are right before and after, of one run."""

    ids: npt.NDArray[Any]
    was: npt.NDArray[np.bool_]
    now: npt.NDArray[np.bool_]


def _answers(run: Run, samples: tuple[Samples, Samples]) -> _Answers | str:
    """Return the answers of one run, or why there are none to compare."""
    a, b = (read(row) or {} for read, row in zip(samples, run, strict=True))
    for side, arrays in (("before", a), ("after", b)):
        if not {"sample_ids", "y", "robust"} <= set(arrays):
            return f"the samples of {side} cannot be read"
    in_a, in_b = _common_images(a["sample_ids"], b["sample_ids"])
    if len(in_a) == 0:
        return "not one test image in common"
    if not np.array_equal(a["y"][in_a], b["y"][in_b]):
        return "the same images have other labels"
    return _Answers(a["sample_ids"][in_a], a["robust"][in_a], b["robust"][in_b])


def _tested(plain: Pair, runs: Sequence[Run], answers: Sequence[_Answers]) -> Pair:
    """Return the pair with both accuracies over the images that both have, and the test."""
    pair = replace(
        plain,
        before=fmean(float(one.was.mean()) for one in answers),
        after=fmean(float(one.now.mean()) for one in answers),
        n=len(answers[0].ids),
        lost=sum(int((one.was & ~one.now).sum()) for one in answers),
        won=sum(int((one.now & ~one.was).sum()) for one in answers),
    )
    if len(runs) == 1 and _one_model(runs[0]):
        return replace(pair, scope="this model", p_value=mcnemar_exact(pair.lost, pair.won))
    if len(runs) == 1:
        return replace(pair, unknown=ONE_RUN)
    if min(_trainings([run[side] for run in runs]) for side in (0, 1)) < len(runs):
        return replace(pair, unknown=ONE_TRAINING)
    differences = [one.now.astype(float) - one.was for one in answers]
    test = Runs.on_images([one.ids for one in answers], differences)
    return replace(pair, scope="runs", n=test.n_images, p_value=float(test.p_value()))


def _common_images(
    a: npt.NDArray[Any], b: npt.NDArray[Any]
) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
    """Return where each image that both have stands in either; an image counts once."""
    if np.array_equal(a, b):
        return np.arange(len(a)), np.arange(len(b))
    _, in_a, in_b = np.intersect1d(a, b, return_indices=True)
    return in_a, in_b
