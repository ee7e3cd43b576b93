"""Cells over several seeds: the mean, with an interval that counts trainings and test images."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from fastadv.grid.store import Row, read_samples
from fastadv.grid.worst import Worst, by_threat, survivors
from fastadv.metrics import wilson_interval
from fastadv.runs import Runs

WORST = "worst"  # the attack of a worst case

Answers = tuple[npt.NDArray[np.uint64], npt.NDArray[np.bool_]]  # ids of images, which are right


@dataclass(frozen=True)
class Mean:
    """The accuracy of one cell, or of one worst case, over several seeds.

    Attributes
    ----------
    attack : str
        ``worst`` of a worst case.
    value, low, high : float
        The mean over seeds and its 95 % interval (`fastadv.runs`), shares.
    n_images, n_runs : int
        Different test images, and seeds.
    """

    dataset: str
    model: str
    attack: str
    defense: str
    threat: str | None
    value: float
    low: float
    high: float
    n_images: int
    n_runs: int


class Intervals:
    """The 95 % intervals of cells: of one row its own, of several the one of their mean.

    Without the mean of a cell (``means`` is from `over_seeds`) the interval of several rows is as
    wide as images can make it.
    """

    def __init__(self, means: Sequence[Mean]) -> None:
        self._known: dict[tuple[str | None, ...], Mean] = {
            (m.dataset, m.model, m.attack, m.defense, m.threat): m for m in means
        }

    def cell(self, rows: Sequence[Row]) -> tuple[float, float]:
        """Return the interval of the rows of one cell, each with a figure."""
        row, accuracies = rows[0], [accuracy(row) for row in rows]
        if len(rows) == 1:
            if row.attacked_accuracy_ci95 is not None:
                return row.attacked_accuracy_ci95
            known = row.n > 0 and not math.isnan(accuracies[0])
            right = round(accuracies[0] * row.n) if known else 0
            return wilson_interval(right, row.n) if known else (math.nan, math.nan)
        key = row.dataset, row.model, row.attack, row.defense, row.threat
        return self._several(key, accuracies, min(row.n for row in rows))

    def worst(self, cases: Sequence[Worst], row: Row) -> tuple[float, float]:
        """Return the interval of worst cases, one a seed; ``row`` is of their dataset and model."""
        case = cases[0]
        if len(cases) == 1:
            return case.ci95
        key = row.dataset, row.model, WORST, case.defense, case.threat
        accuracies = [case.accuracy for case in cases]
        return self._several(key, accuracies, min(case.n for case in cases))

    def _several(
        self, key: tuple[str | None, ...], accuracies: Sequence[float], n: int
    ) -> tuple[float, float]:
        mean = self._known.get(key)
        if mean is not None and mean.n_runs == len(accuracies):
            return mean.low, mean.high
        if n == 0 or math.isnan(sum(accuracies)):
            return math.nan, math.nan
        low, high = Runs.of_accuracies(accuracies, n).interval()
        return float(low), float(high)


def accuracy(row: Row) -> float:
    """Return the accuracy to quote; NaN if there is none."""
    for figure in (row.attacked_accuracy, row.clean_accuracy):
        if figure is not None:
            return figure
    return math.nan


def over_seeds(rows: Sequence[Row], folder: str | Path) -> list[Mean]:
    """Return the mean of each cell that has a figure of two seeds or more, then of worst cases.

    Parameters
    ----------
    rows : sequence of Row
    folder : path
        The grid's, with the samples of its cells: which images each run got right. Without them
        the interval is as wide as images can make it.
    """
    folder, out = Path(folder), list[Mean]()
    cells: dict[tuple[str, ...], list[Row]] = {}
    for row in rows:
        if row.status == "ok" and row.attacked_accuracy is not None and row.n:
            key = row.dataset, row.model, row.attack, row.defense, str(row.threat)
            cells.setdefault(key, []).append(row)
    for found in cells.values():
        if len(found) > 1:
            answers = [_answers(row, folder) for row in found]
            accuracies = [row.attacked_accuracy or 0.0 for row in found]
            runs = _runs(answers, accuracies, min(row.n for row in found))
            out.append(_mean(found[0], found[0].attack, runs))
    return out + _worst(rows, folder)


def _worst(rows: Sequence[Row], folder: Path) -> list[Mean]:
    if len({row.seed for row in rows}) < 2:
        return []
    groups: dict[tuple[str, str], list[tuple[Row, Answers]]] = {}
    for found in by_threat(rows):
        case = survivors(found, folder)
        if case is not None and len(case.attacks) + len(case.missing) > 1:
            cases = groups.setdefault((case.threat, case.defense), [])
            cases.append((found[0], (case.ids, case.robust)))
    out = []
    for cases in groups.values():
        if len(cases) > 1:
            known = [answer for _, answer in cases]
            accuracies = [float(robust.mean()) for _, robust in known]
            out.append(_mean(cases[0][0], WORST, _runs(known, accuracies, len(known[0][0]))))
    return out


def _answers(row: Row, folder: Path) -> Answers | None:
    samples = read_samples(folder, row.id) or {}
    ids, right = samples.get("sample_ids"), samples.get("robust")
    if ids is None or right is None or not ids.shape == right.shape == (row.n,):
        return None  # files are data from outside
    return ids, right.astype(bool)


def _runs(answers: Sequence[Answers | None], accuracies: Sequence[float], n: int) -> Runs:
    known = [answer for answer in answers if answer is not None]
    if len(known) < len(answers):
        return Runs.of_accuracies(accuracies, n)
    ids, right = zip(*known, strict=True)
    return Runs.on_images(ids, right)


def _mean(row: Row, attack: str, runs: Runs) -> Mean:
    low, high = runs.interval()
    return Mean(
        row.dataset, row.model, attack, row.defense, row.threat, float(runs.mean), float(low),
        float(high), runs.n_images, runs.means.shape[-1],
    )  # fmt: skip
