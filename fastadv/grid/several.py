"""Cells over several seeds: the mean, with an interval that counts trainings and test images."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from fastadv.grid.row import Figure, Row
from fastadv.grid.worst import Answers, Samples, Worst, by_threat, worst_case
from fastadv.runs import Runs
from fastadv.threat import Threat

WORST = "worst"  # the attack of a worst case


@dataclass(frozen=True)
class Mean:
    """The accuracy of one cell, or of one worst case, over several seeds.

    Attributes
    ----------
    attack : str
        ``worst`` of a worst case.
    accuracy : Figure
        The mean over seeds, its 95 % interval (`fastadv.runs`), different test images, and seeds.
    """

    dataset: str
    model: str
    attack: str
    defense: str
    threat: Threat | None
    accuracy: Figure


class Figures:
    """The figures that a table shows: of one row its own, of several the one of their mean.

    Without the mean of a cell (``means`` is from `over_seeds`) the interval of several rows is as
    wide as images can make it.
    """

    def __init__(self, means: Sequence[Mean]) -> None:
        self._known: dict[tuple[object, ...], Figure] = {
            (m.dataset, m.model, m.attack, m.defense, m.threat): m.accuracy for m in means
        }

    def cell(self, rows: Sequence[Row]) -> Figure | None:
        """Return the figure of the rows of one cell; None if there is none."""
        row = rows[0]
        figures = [row.attacked_accuracy for row in rows if row.attacked_accuracy is not None]
        key = row.dataset, row.model, row.attack, row.defense, row.threat
        return self._joined(key, figures)

    def worst(self, cases: Sequence[Worst], row: Row) -> Figure | None:
        """Return the figure of worst cases, one a seed; ``row`` is of their dataset and model."""
        key = row.dataset, row.model, WORST, cases[0].defense, cases[0].threat
        return self._joined(key, [case.accuracy for case in cases])

    def _joined(self, key: tuple[object, ...], figures: Sequence[Figure]) -> Figure | None:
        if len(figures) < 2:
            return figures[0] if figures else None
        known = self._known.get(key)
        if known is not None and known.n_runs == len(figures):
            return known
        return _figure(_runs_of([figure.value for figure in figures], figures[0].n_images))


def over_seeds(rows: Sequence[Row], samples: Samples) -> list[Mean]:
    """Return the mean of each cell that has a figure of two seeds or more, then of worst cases.

    Where ``samples`` has nothing of a row the interval is as wide as images can make it.
    """
    out = list[Mean]()
    cells: dict[tuple[object, ...], list[Row]] = {}
    for row in rows:
        if row.status == "ok" and row.attacked_accuracy is not None:
            key = row.dataset, row.model, row.attack, row.defense, row.threat
            cells.setdefault(key, []).append(row)
    for group in cells.values():
        if len(group) > 1:
            answers = [_answers(row, samples) for row in group]
            accuracies = [float(row.attacked_accuracy or 0.0) for row in group]
            runs = _runs(answers, accuracies, min(row.n for row in group))
            out.append(_mean(group[0], group[0].attack, runs))
    return out + _worst(rows, samples)


def _worst(rows: Sequence[Row], samples: Samples) -> list[Mean]:
    if len({row.seed for row in rows}) < 2:
        return []
    groups: dict[tuple[Threat, str], list[tuple[Row, Answers]]] = {}
    for group in by_threat(rows):
        found = worst_case(group, samples)
        if found is not None and len(found[0].attacks) + len(found[0].missing) > 1:
            case, answers = found
            groups.setdefault((case.threat, case.defense), []).append((group[0], answers))
    out = []
    for cases in groups.values():
        if len(cases) > 1:
            known = [answer for _, answer in cases]
            accuracies = [float(robust.mean()) for _, robust in known]
            out.append(_mean(cases[0][0], WORST, _runs(known, accuracies, len(known[0][0]))))
    return out


def _answers(row: Row, samples: Samples) -> Answers | None:
    arrays = samples(row) or {}
    ids, right = arrays.get("sample_ids"), arrays.get("robust")
    if ids is None or right is None or not ids.shape == right.shape == (row.n,):
        return None  # files are data from outside
    return ids, right.astype(bool)


def _runs(answers: Sequence[Answers | None], accuracies: Sequence[float], n: int) -> Runs | None:
    known = [answer for answer in answers if answer is not None]
    if len(known) < len(answers):
        return _runs_of(accuracies, n)
    ids, right = zip(*known, strict=True)
    return Runs.on_images(ids, right)


def _runs_of(accuracies: Sequence[float], n: int) -> Runs | None:
    """Return the runs of accuracies alone; None where they are no numbers of any images."""
    known = n > 0 and not math.isnan(sum(accuracies))
    return Runs.of_accuracies(accuracies, n) if known else None


def _figure(runs: Runs | None) -> Figure | None:
    if runs is None:
        return None
    low, high = runs.interval()
    return Figure(float(runs.mean), float(low), float(high), runs.n_images, runs.means.shape[-1])


def _mean(row: Row, attack: str, runs: Runs | None) -> Mean:
    figure = _figure(runs)
    assert figure is not None  # each row has a figure on images
    return Mean(row.dataset, row.model, attack, row.defense, row.threat, figure)
