"""Made-up grids with the samples of every run, as a folder keeps them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from made_rows import clean, evasion, poisoning

from fastadv import threat
from fastadv.arrays import Arrays
from fastadv.grid.result import GridResult
from fastadv.grid.row import Figure, Row
from fastadv.grid.store import Store

N, N_EVASION = 2000, 1000  # test images, and those that evasion attacks get
FLOWS = ("stadv[translation=false]", "stadv[budget=1,translation=true]")

Made = tuple[Row, Arrays]

_RNG = np.random.default_rng(0)
hardness = _RNG.random(N)  # how accurate a model has to be to be right on an image
Y = np.arange(N) % 10


def cleaned(defense: str, accuracy: float, n_runs: int, **changes: Any) -> list[Made]:
    """Runs of the clean row."""
    return [
        _made(clean(defense, k, n=N, **changes), np.arange(N), hardness < accuracy, accuracy, k)
        for k in range(n_runs)
    ]


def evaded(
    attack: str, defense: str, accuracy: float, n_runs: int, limit: threat.Threat | None = None,
    before: float = 0.98, **changes: Any,
) -> list[Made]:  # fmt: skip
    """Runs of an evasion attack, its images dealt out among them; every training is alike."""
    given = {"threat": limit or threat.linf(0.1), "distances": {}} | changes
    made = []
    for k in range(n_runs):
        ids = np.arange(k, N_EVASION, n_runs)
        row = evasion(attack, defense, k, n=len(ids), dealt=(k, n_runs), **given)
        made.append(_made(row, ids, hardness[ids] < accuracy, before, k))
    return made


def poisoned(
    attack: str, defense: str, lost: float, flips: float | None, n_runs: int,
    limit: threat.Threat | None = None, before: float = 0.98, **changes: Any,
) -> list[Made]:  # fmt: skip
    """Runs of poison that takes a share of the images, and of random flips that take another."""
    made = []
    for k in range(n_runs):
        row = poisoning(attack, defense, k, n=N, threat=limit or threat.poison(0.03), **changes)
        one = _made(row, np.arange(N), hardness < before - lost, before, k)
        row.baseline_accuracy = None
        if flips is not None:
            one[1]["baseline"] = hardness < before - flips
            row.baseline_accuracy = Figure.of(one[1]["baseline"])
        made.append(one)
    return made


def _made(row: Row, ids: np.ndarray, robust: np.ndarray, before: float, seed: int) -> Made:
    right = hardness[ids] < before
    row.weights = f"{row.attack if row.kind == 'poisoning' else ''} {row.defense} {seed}"
    row.attacked_accuracy, row.clean_accuracy = Figure.of(robust), Figure.of(right)
    y = Y[ids]
    arrays = {"sample_ids": ids.astype(np.uint64), "y": y, "clean": np.where(right, y, 9 - y)}
    return row, {**arrays, "attacked": np.where(robust, y, 9 - y), "robust": robust}


def kept(folder: Path, *cells: Sequence[Made], **rest: Any) -> GridResult:
    """Keep the runs in a folder, and return what they say together."""
    store, rows = Store(folder), []
    for row, arrays in (run for cell in cells for run in cell):
        store.save_row(row, arrays if row.status == "ok" else None)
        rows.append(row)
    return GridResult.of(rows, folder, **rest)


def default_grid(folder: Path, **changes: dict[str, Any]) -> GridResult:
    """The grid of a bare `fastadv grid`, with figures like those of full size."""
    runs = {"none": 5, "adv_training": 3, "knn_relabel": 5, "median": 5, "bit_depth": 5}
    before = dict(zip(runs, (0.98, 0.976, 0.968, 0.966, 0.973), strict=True))
    robust = {
        "pgd": (0.195, 0.849, 0.351, 0.287, 0.153),
        FLOWS[0]: (0.505, 0.588, 0.582, 0.427, 0.400),
        FLOWS[1]: (0.582, 0.510, 0.514, 0.527, 0.561),
    }
    limits = {"pgd": threat.linf(0.1), FLOWS[0]: threat.flow(30), FLOWS[1]: threat.flow(1)}
    cells = [cleaned(d, before[d], n) for d, n in runs.items()]
    for attack, accuracies in robust.items():
        given = {"parameters": {"attack": parameters_of(attack)}}
        cells += [
            evaded(attack, d, p, n, limits[attack], before[d], **given, **changes.get(d, {}))
            for (d, n), p in zip(runs.items(), accuracies, strict=True)
        ]
    for (d, n), lost in zip(runs.items(), (0.021, 0.010, 0.002, 0.030, 0.022), strict=True):
        cells.append(poisoned("biggio", d, lost, 0.004, n, before=before[d]))
    return kept(folder, *cells)


def parameters_of(attack: str) -> dict[str, Any]:
    """The parameters of an attack that tell it from others in these grids."""
    moves = {"budget": 1.0, "translation": True}
    return {FLOWS[0]: {"budget": 30.0, "translation": False}, FLOWS[1]: moves}.get(
        attack, {"eps": 0.1}
    )
