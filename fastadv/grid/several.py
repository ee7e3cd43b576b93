"""One row a cell, from the rows of its runs: means, with intervals that count trainings and images.

Each run has a training of its own, and a draw of the attacker's; test images are shared by all runs
(clean and poisoned accuracy) or dealt out among them (evasion).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from statistics import fmean
from typing import Any

import msgspec
import numpy as np

from fastadv.arrays import Arrays
from fastadv.grid.row import WAITING, Certified, Figure, Flag, Row, Run
from fastadv.runs import Answers, Runs

Samples = Callable[[Row], Arrays | None]  # what is kept of each image of a row, if anything

RUNS_MISSING = "runs_missing"  # the flag of a cell of which not all runs are done

_ACCURACIES = ("clean", "benign", "attacked", "oblivious", "baseline")


def join(rows: Sequence[Row], samples: Samples, planned: int = 0) -> list[Row]:
    """Return a row for each cell, in the order of their first runs.

    Parameters
    ----------
    rows : sequence of Row
        Each of one run.
    samples : callable
        Where it has nothing of a row the interval is as wide as images can make it.
    planned : int
        How many runs a cell has; one that has fewer is flagged.
    """
    cells: dict[tuple[object, ...], list[Row]] = {}
    for row in rows:
        cell = row.dataset, row.model, row.attack, row.defense, row.threat
        cells.setdefault(cell, []).append(row)
    return [_joined(runs, samples, planned) for runs in cells.values()]


def answers(row: Row, arrays: Arrays | None, right: str = "robust") -> Answers | None:
    """Return which images were right in which run of a row; None if that is not kept.

    Parameters
    ----------
    row : Row
    arrays : dict of ndarray, or None
        Its samples; files are data from outside.
    right : str
        ``robust``, under the row's attack; ``baseline``, with the baseline in its place; ``clean``,
        without either.
    """
    arrays = arrays or {}
    ids, y = arrays.get("sample_ids"), arrays.get("y")
    value = arrays.get(right)
    if right == "clean" and value is not None and y is not None and y.shape == value.shape:
        value = value == y
    if ids is None or value is None or ids.ndim != 1 or value.shape != ids.shape:
        return None
    run = arrays.get("run", np.full(len(ids), row.seed))
    n = sum(run.n_images for run in row.runs) if row.runs else row.n
    if len(ids) != n or run.shape != ids.shape:
        return None
    return Answers(run.astype(np.int64), ids, value.astype(np.float64))


def joined_samples(runs: Sequence[tuple[int, Arrays | None]]) -> Arrays | None:
    """Return the samples of several runs, by their seeds, as one; None if some cannot be read.

    What there is of each image stands run by run, ``run`` saying of which; of everything else the
    first run's. Those of a single run are as they are kept.
    """
    if len(runs) == 1:
        return runs[0][1]
    known = [(seed, arrays) for seed, arrays in runs if arrays and "sample_ids" in arrays]
    if len(known) < len(runs) or not known:
        return None
    first = known[0][1]
    lengths = [len(arrays["sample_ids"]) for _, arrays in known]
    out = dict(first)
    for name in first:
        parts = [arrays.get(name) for _, arrays in known]
        if all(
            part is not None and part.shape == (n,) for part, n in zip(parts, lengths, strict=True)
        ):
            out[name] = np.concatenate([part for part in parts if part is not None])
    out["run"] = np.repeat([seed for seed, _ in known], lengths)
    return out


def figure(found: Answers) -> Figure:
    """Return the share of images that are right, and its interval over runs and images."""
    if found.n_runs == 1:
        share = Figure.of(found.value > 0)
        assert share is not None  # there is no cell without images
        return share
    return _of_runs(found.runs())


def _of_runs(runs: Runs) -> Figure:
    low, high = runs.interval()
    return Figure(float(runs.mean), float(low), float(high), runs.n_images, runs.means.shape[-1])


# -- a cell ---------------------------------------------------------------------------------


def _joined(rows: Sequence[Row], samples: Samples, planned: int) -> Row:
    """Return the row of a cell of these runs: of those that are done, flagged if some are not."""
    done = [row for row in rows if row.status == "ok"]
    if not done:
        return rows[0]
    joined = _means(done) if len(done) > 1 else msgspec.structs.replace(done[0])
    joined.runs = [_run(row) for row in done]
    arrays = joined_samples([(row.seed, samples(row)) for row in done])
    _count_images(joined, arrays)
    joined.flags = [*joined.flags, *_missing(rows, max(planned, len(rows)))]
    return joined


def _run(row: Row) -> Run:
    shares = {f"{name}_accuracy": _value(getattr(row, f"{name}_accuracy")) for name in _ACCURACIES}
    return Run(row.id, row.seed, row.n, weights=row.weights, draw=row.draw, **shares)


def _value(figure: Figure | None) -> float | None:
    return None if figure is None else figure.value


def _missing(rows: Sequence[Row], n: int) -> list[Flag]:
    """Return the flag of a cell of which not all of its n runs are done, or to come."""
    undone = [f"{row.status}: {row.reason}" for row in rows if row.status not in ("ok", WAITING)]
    count = n - len(rows) + len(undone)
    if not count:
        return []
    why = undone[0] if undone else "not there; the grid has not ended"
    remedy = f"the same command {'tries them again' if undone else 'goes on'}"
    return [Flag(RUNS_MISSING, f"{count} of {n} runs {why}", remedy)]


def _count_images(row: Row, arrays: Arrays | None) -> None:
    """Fill in, or mend, the figures that can be told image by image."""
    robust, clean = answers(row, arrays), answers(row, arrays, "clean")
    if robust is not None:
        row.attacked_accuracy = figure(robust)
    if row.kind == "evasion":
        return
    if clean is not None:
        row.clean_accuracy = figure(clean)
    if row.kind == "none":
        return
    baseline = answers(row, arrays, "baseline")
    if baseline is not None:
        row.baseline_accuracy = figure(baseline)
    row.accuracy_lost = _lost(clean, robust, row.clean_accuracy, row.attacked_accuracy)
    row.baseline_lost = _lost(clean, baseline, row.clean_accuracy, row.baseline_accuracy)


def _lost(
    clean: Answers | None, after: Answers | None, before: Figure | None, then: Figure | None
) -> Figure | None:
    """Return the accuracy lost from ``before`` to ``then``, paired where the images are known."""
    if before is None or then is None:
        return None
    if clean is None or after is None:
        return Figure(before.value - then.value, None, None, then.n_images, then.n_runs)
    difference = clean.minus(after)
    low, high = difference.interval()
    n = difference.n_images
    return Figure(float(difference.mean), float(low), float(high), n, clean.n_runs)


def _means(rows: Sequence[Row]) -> Row:
    """Return one row of several: the means of their figures, and what they say of themselves."""
    first, dealt = rows[0], rows[0].kind == "evasion"
    figures = {
        name: _mean([getattr(row, name) for row in rows], dealt)
        for name in (*(f"{share}_accuracy" for share in _ACCURACIES), "success_rate")
    }
    # Every run is right on the same images, all of them, whatever the kind of the row.
    figures["clean_accuracy"] = _mean([row.clean_accuracy for row in rows], False)
    certified = [row.certified for row in rows if row.certified is not None]
    accuracy = _mean([one.accuracy for one in certified], True) if certified else None
    return msgspec.structs.replace(
        first,
        n=sum(row.n for row in rows) if dealt else first.n,
        **figures,
        certified=Certified(certified[0].threat, accuracy) if accuracy else None,
        distances=_numbers([row.distances for row in rows]),
        poison=_numbers([row.poison for row in rows]) or None,
        found=_alike([row.found for row in rows]),
        sanitized=_numbers([row.sanitized for row in rows]) or None,
        queries=_numbers([row.queries for row in rows]),
        seconds=_sums([row.seconds for row in rows]),
        weights=None,
        draw=None,
        flags=_remarks([row.flags for row in rows]),
        notes=_remarks([row.notes for row in rows]),
    )


def _mean(figures: Sequence[Figure | None], dealt: bool) -> Figure | None:
    """Return the mean of the runs' figures; nothing is known of their single images."""
    known = [figure for figure in figures if figure is not None]
    if len(known) < 2:
        return known[0] if known else None
    n, values = min(figure.n_images for figure in known), [figure.value for figure in known]
    if n == 0:
        return Figure(fmean(values), None, None, n, len(known))
    if not dealt:
        return _of_runs(Runs.of_accuracies(values, n))
    means = np.array(values)
    own = np.mean(means * (1 - means)) / n
    return _of_runs(Runs(means, own / len(known), own, sum(f.n_images for f in known)))


def _numbers(parts: Sequence[dict[str, float] | None]) -> dict[str, float]:
    """Return the means of the numbers that stand under one name."""
    names = dict.fromkeys(name for part in parts for name in part or {})
    return {name: fmean(part[name] for part in parts if part and name in part) for name in names}


def _sums(parts: Sequence[dict[str, float]]) -> dict[str, float]:
    names = dict.fromkeys(name for part in parts for name in part)
    return {name: sum(part.get(name, 0.0) for part in parts) for name in names}


def _alike(parts: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Return what all runs found alike, and of what they did not, a list of each run's."""
    out = {}
    for name in dict.fromkeys(name for part in parts for name in part):
        values = [part.get(name) for part in parts]
        out[name] = values[0] if all(value == values[0] for value in values) else values
    return out


def _remarks(parts: Sequence[Sequence[Flag]]) -> list[Flag]:
    """Return each remark once, by its name, and in how many of the runs it stands if not in all."""
    first, count = dict[str, Flag](), dict[str, int]()
    for part in parts:
        for remark in part:
            first.setdefault(remark.name, remark)
            count[remark.name] = count.get(remark.name, 0) + 1
    return [
        remark
        if count[name] == len(parts)
        else msgspec.structs.replace(
            remark, message=f"{remark.message} (in {count[name]} of {len(parts)} runs)"
        )
        for name, remark in first.items()
    ]
