"""The best defenses of a row of the table, by a test that counts trainings and test images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from fastadv.grid.row import REFIT, Row
from fastadv.grid.several import Samples, answers
from fastadv.grid.worst import worst_case
from fastadv.metrics import holm, mcnemar_exact
from fastadv.runs import Answers

LEVEL = 0.05  # of what is called significant, over all tests of one question together

# Why no test can tell two cells apart.
ONE_RUN, ONE_TRAINING = "1 run", "runs of one training"


@dataclass(frozen=True)
class Candidate:
    """A cell of a row of the table: ``value`` says of each image what is good, more is better."""

    row: Row
    value: Answers


def candidate(row: Row, samples: Samples) -> Candidate | None:
    """Return the cell of a row: its accuracy, or of poisoning what it does not lose.

    None of a cell that is flagged, has no figure, or of whose images nothing is kept.
    """
    arrays = samples(row) if row.status == "ok" and not row.flags else None
    robust, clean = answers(row, arrays), answers(row, arrays, "clean")
    if robust is None:
        return None
    if row.kind != "poisoning":
        return Candidate(row, robust)
    if clean is None:
        return None
    return Candidate(row, Answers(robust.run, robust.image, robust.value - clean.value))


def worst_candidate(rows: Sequence[Row], samples: Samples) -> Candidate | None:
    """Return the worst case of rows of one threat model and defense.

    None if one of them lacks, in a run or in all, and if every one is flagged: with one that is
    not, the figure is as good as that attack's own.
    """
    if any(row.status != "ok" for row in rows) or all(row.flags for row in rows):
        return None
    found = worst_case(rows, samples)
    if found is None or found[0].missing:
        return None
    return Candidate(rows[0], found[1])


def best(candidates: Sequence[Candidate]) -> tuple[str, ...]:
    """Return the defense with the best figure, and those that a test cannot tell from it.

    By a paired test of each against the best, Holm over them. Nothing where there are fewer than
    two, and where one of them cannot be tested.
    """
    if len(candidates) < 2:
        return ()
    first = max(candidates, key=lambda one: one.value.mean())
    others = [one for one in candidates if one is not first]
    if any(untestable(first.row, one.row) for one in others):
        return ()
    p_values = holm([_p_value(first, one) for one in others])
    tied = [one.row.defense for one, p in zip(others, p_values, strict=True) if p > LEVEL]
    return (first.row.defense, *tied)


def _p_value(a: Candidate, b: Candidate) -> float:
    if by_images(a.row, b.row):
        images = np.intersect1d(a.value.image, b.value.image)
        difference = a.value.of_images(images) - b.value.of_images(images)
        return mcnemar_exact(int((difference < 0).sum()), int((difference > 0).sum()))
    return float(a.value.minus(b.value).p_value())


def untestable(a: Row, b: Row) -> str | None:
    """Return why no test can tell two cells apart; None if one can.

    Of one run another training may say the opposite, so that only two figures of one model can be
    told apart, and for that model only. Models that were given are what they are.
    """
    if is_given(a) and is_given(b):
        return None
    if min(len(a.runs), len(b.runs)) == 1:
        return None if len(a.runs) == len(b.runs) and _one_model(a, b) else ONE_RUN
    if any(_trainings(row) < len(row.runs) for row in (a, b)):
        return ONE_TRAINING
    return None


def by_images(a: Row, b: Row) -> bool:
    """Return whether two cells that can be told apart are, by their images alone."""
    return len(a.runs) == len(b.runs) == 1 or (is_given(a) and is_given(b))


def is_given(row: Row) -> bool:
    """Return whether a row is of a model that was given, as it is: every run has the same one."""
    as_it_is = row.kind != "poisoning" and all(note.name != REFIT for note in row.notes)
    return as_it_is and "given" in row.parameters.get("model", {})


def _trainings(row: Row) -> int:
    """Return how many different models a row is of: its runs may have trained one and the same."""
    known = {run.weights for run in row.runs if run.weights is not None}
    return len(known) if all(run.weights is not None for run in row.runs) else len(row.runs)


def _one_model(a: Row, b: Row) -> bool:
    """Return whether the figures of two rows of one run are of one model, trained on clean data."""
    weights = [row.runs[0].weights for row in (a, b)]
    return None not in weights and weights[0] == weights[1] and a.kind != "poisoning"


def more_than_baseline(row: Row, samples: Samples) -> float | None:
    """Return the p-value of a test that poison takes as much as its baseline does.

    None where no test can tell, or the baseline's images are not kept.
    """
    arrays = samples(row)
    robust, baseline = answers(row, arrays), answers(row, arrays, "baseline")
    if robust is None or baseline is None or len(row.runs) < 2:
        return None
    return float(baseline.minus(robust).p_value())
