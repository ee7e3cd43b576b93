"""What a grid would do: its cells, what they share, and about how long and how large it is."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from fastadv import registry
from fastadv.errors import InputError
from fastadv.grid.context import Context
from fastadv.grid.estimate import seconds
from fastadv.grid.plan import Plan, Planned, make_plan
from fastadv.grid.run import asked
from fastadv.grid.stages.evaluation import Certify, Perturb
from fastadv.grid.stages.training import Fit, Poison, Take
from fastadv.grid.store import Store

_ROW_BYTES = 6_000  # of a row, as JSON


@dataclass(frozen=True)
class PlannedCell:
    """A cell: how many of its runs are to do and how many are kept, or why it is skipped."""

    attack: str
    defense: str
    to_do: int = 0
    kept: int = 0
    reason: str | None = None


@dataclass(frozen=True)
class Outline:
    """What a grid would do.

    Attributes
    ----------
    stages : dict of int
        How many stages of each kind would run: trainings, poisoned sets, attacks, certificates.
    seconds : float
        About how long they take on one processor, by the sizes of the data and the weights of the
        stages; a training of 55,000 images is taken for 1.6, but one by PyTorch is timed on a few.
    megabytes : float
        About what would be added to the folder, at most.
    """

    cells: tuple[PlannedCell, ...]
    stages: dict[str, int]
    seconds: float
    megabytes: float


def outline(output: str | Path, fresh: bool = False, **options: Any) -> Outline:
    """Return what `fastadv.run_grid` would do with these options; nothing is run or written.

    Raises
    ------
    InputError
        If something that was asked for makes no sense.
    """
    context, folder = asked(**options), Path(output)
    if folder.exists() and not folder.is_dir():
        raise InputError(f"{folder} is a file, and no folder for results")
    plan = make_plan(context, Store(folder, make=False), fresh, lambda _: None)
    stages = [planned for key, planned in plan.stages.items() if key not in plan.cells]
    kinds = {
        "trainings": Fit, "poisoned sets": Poison, "attacks": Perturb, "certificates": Certify,
    }  # fmt: skip
    counts = {
        name: sum(isinstance(p.stage, kind) and not isinstance(p.stage, Take) for p in stages)
        for name, kind in kinds.items()
    }
    return Outline(
        _cells(plan),
        {name: count for name, count in counts.items() if count},
        sum(seconds((planned.stage for planned in stages), context)),
        sum(_bytes(planned, context) for planned in plan.stages.values()) / 1e6,
    )


def _cells(plan: Plan) -> tuple[PlannedCell, ...]:
    found: dict[tuple[str, str], PlannedCell] = {}
    for key, cell in plan.cells.items():
        name = cell.attack.text, cell.defense.text
        before, row = found.get(name, PlannedCell(*name)), plan.rows.get(key)
        to_do, kept, reason = before.to_do, before.kept, before.reason
        if row is None:
            to_do += 1
        elif row.status == "ok":
            kept += 1
        else:
            reason = row.reason
        found[name] = PlannedCell(*name, to_do, kept, reason)
    return tuple(found.values())


def _bytes(planned: Planned, context: Context) -> float:
    """Return about what a stage keeps, by the sizes of its arrays."""
    stage, data = planned.stage, context.dataset
    width = data.x_train.shape[1] * data.x_train.itemsize
    if isinstance(stage, Poison):
        return float(stage.attack.made.n_points(len(data.x_train)) * width)
    if isinstance(stage, Perturb):
        return float(len(stage.rows(context)) * width)
    if isinstance(stage, Fit):
        if context.given is not None:
            return 0.0 if isinstance(stage, Take) else float(data.task.n_classes * width)
        parameters = registry.parameters(context.make_model(stage.seed))
        hidden = np.sum(parameters.get("hidden_layer_sizes", data.task.n_classes))
        return float(hidden * width)
    return _ROW_BYTES + 2.0 * len(data.x_test)
