"""Running a grid: the order of its stages, what is reused, what is kept when something fails."""

from __future__ import annotations

import os
import platform
import shutil
import sys
import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np

import fastadv
from fastadv.datasets import Dataset, load_dataset
from fastadv.errors import InputError, at_least, require
from fastadv.grid import defaults
from fastadv.grid.measure import Measure, empty_row
from fastadv.grid.spec import Cell, Grid
from fastadv.grid.stages import Context, Stage, kind_of
from fastadv.grid.store import Row, Store
from fastadv.grid.trust import flagged
from fastadv.grid.workers import Finished, run_in_processes, run_inline
from fastadv.specs import Spec, coerce, split_top_level
from fastadv.threads import thread_count
from fastadv.warmup import warm_up


class GridProgress(Protocol):
    """What a caller is told while a grid runs."""

    def start(self, total: float, cells: int, kept: int) -> None:
        """``cells`` cells of ``total`` weight are to be done, ``kept`` are done already."""

    def begin(self, label: str) -> None:
        """Tell that a stage begins."""

    def advance(self, weight: float) -> None:
        """Tell that a stage of this weight has ended."""

    def note(self, text: str) -> None:
        """Something to tell in one line."""

    def compiling(self, name: str, done: int, total: int) -> None:
        """Tell that the group ``name`` is being compiled, ``done`` of ``total`` being done."""

    def stop(self) -> None:
        """Nothing more comes."""


class _Silent:
    """No progress."""

    def start(self, total: float, cells: int, kept: int) -> None: ...
    def begin(self, label: str) -> None: ...
    def advance(self, weight: float) -> None: ...
    def note(self, text: str) -> None: ...
    def compiling(self, name: str, done: int, total: int) -> None: ...
    def stop(self) -> None: ...


def run_grid(
    *,
    attacks: str | Sequence[str],
    defenses: str | Sequence[str] = defaults.DEFENSES,
    dataset: str | Path | Dataset = "mnist",
    model: str = "mlp",
    samples: int | None = None,
    seeds: int = 1,
    seed: int = 0,
    output: str | Path | None = None,
    fresh: bool = False,
    jobs: int = 1,
    timeout: float | None = None,
    progress: GridProgress | None = None,
) -> list[Row]:
    """Run every attack against every defense and return a row for each pair and seed.

    Parameters
    ----------
    attacks, defenses : str or sequence of str
        Specs such as ``"stadv[budget=20]"``, or one text with commas between them; ``"all"`` is
        every registered one. The attack ``none``, which is the clean accuracy, is always the first.
    dataset : str, Path or Dataset
        What `fastadv.load_dataset` takes, or what it returned.
    model : str
        A spec.
    samples : int, optional
        Test images that evasion attacks get, by default 1,000, or all if there are fewer; other
        rows are measured on all of them.
    seeds, seed : int
        The seeds are seed, ..., seed + seeds - 1.
    output : path, optional
        The folder that keeps the grid; what it holds already is not computed again. Without it
        nothing is kept.
    fresh : bool
        Compute everything again.
    jobs : int
        Processes, each with its share of the threads; the numbers do not depend on it.
    timeout : float, optional
        Seconds that one stage of a cell may take.
    progress : GridProgress, optional

    Returns
    -------
    list of Row
        In the order of the axes; rows of pairs that do not go together are ``skipped`` with a
        reason, those of stages that failed are ``failed`` with the message.

    Raises
    ------
    InputError
        Before any work, if something that was asked for makes no sense.
    """
    jobs, timeout = coerce(jobs, int, "jobs"), coerce(timeout, float | None, "timeout")
    at_least(1, jobs=jobs)
    require(timeout is None or timeout > 0, "timeout has to be above 0 seconds", timeout)
    if not isinstance(dataset, str | Path | Dataset):
        raise InputError(f"dataset has to be a name, a path or a Dataset, got {_shown(dataset)}")
    name = dataset.name if isinstance(dataset, Dataset) else str(dataset)
    n = defaults.SAMPLES if samples is None else samples
    grid = Grid.parse(
        _specs("attacks", attacks), _specs("defenses", defenses), name,
        coerce(model, str, "model"), coerce(n, int, "samples"), coerce(seeds, int, "seeds"),
        coerce(seed, int, "seed"),
    )  # fmt: skip
    data = dataset if isinstance(dataset, Dataset) else load_dataset(name)
    if samples is None:
        grid = replace(grid, samples=min(n, len(data.x_test)))
    elif samples > len(data.x_test):
        raise InputError(
            f"samples is {samples}, but {data.name} has {len(data.x_test)} test images"
        )
    check_model(grid.make_model(seed), model, data)
    told = progress or _Silent()
    with tempfile.TemporaryDirectory(prefix="fastadv-") as scratch:
        store = Store(Path(scratch if output is None else output))
        context = Context(grid, data, store)
        if fresh:
            _forget(store)
        for note in data.notes:
            told.note(f"{data.name}: {note}")
        store.write_json("grid.json", {"grid": grid.describe(), "environment": environment()})
        try:
            return _run(context, told, jobs, timeout, fresh)
        finally:
            told.stop()


def _specs(axis: str, given: Any) -> Sequence[str]:
    if isinstance(given, str):
        return split_top_level(given)
    texts = list(given) if isinstance(given, Iterable) else [given]
    for text in texts:
        if not isinstance(text, str):
            example = "pgd[eps=0.1]" if axis == "attacks" else "median[size=2]"
            raise InputError(f"{axis} are texts such as {example!r}, got {_shown(text)}")
    return texts


def _shown(value: object) -> str:
    return " ".join(repr(value).split())


def _run(
    context: Context, told: GridProgress, jobs: int, timeout: float | None, fresh: bool
) -> list[Row]:
    cells = context.grid.cells()
    rows: dict[str, Row] = {}
    wanted: list[Measure] = []
    n_kept = 0
    for cell in cells:
        row, reason = empty_row(cell, context), _reason_to_skip(cell, context)
        if reason is not None:
            row.status, row.reason = "skipped", reason
            context.store.write_json(f"cells/{row.id}.json", row)
            rows[row.id] = row
            continue
        kept = None if fresh else _kept_row(row.id, context, told)
        if kept is not None:
            rows[row.id] = kept
            n_kept += 1
        else:
            wanted.append(Measure(cell))
    if wanted:
        warm_up(told.compiling, _compiled(context.grid))
    plan = _plan(wanted, context)
    told.start(sum(stage.weight for stage in plan.values()), len(wanted), n_kept)
    run = run_inline if jobs == 1 and timeout is None else run_in_processes
    failed: dict[str, Finished] = {}
    needs = {key: _keys(stage.needs(context), context) for key, stage in plan.items()}
    for event in run(plan, needs, context, jobs=jobs, timeout=timeout, begin=told.begin):
        told.advance(plan[event.key].weight)
        if event.status != "ok":
            failed[event.key] = event
    for stage in wanted:
        key = stage.key(context)
        if key in failed:
            row = empty_row(stage.cell, context)
            row.status, row.reason = failed[key].status, failed[key].message
            context.store.write_json(f"cells/{key}.json", row)
            rows[key] = row
        else:
            done = context.store.load_row(key)
            assert done is not None  # it has just been written
            rows[key] = done
    return flagged([rows[Measure(cell).key(context)] for cell in cells])


def _compiled(grid: Grid) -> set[str]:
    """Return the names of all that runs, the attacks that defenses train with among them."""
    things = [choice.thing for choice in (*grid.attacks, *grid.defenses)]
    nested = [getattr(thing, f.name) for thing in things for f in fields(thing)]
    names = {thing.name for thing in (*things, *nested) if hasattr(thing, "name")}
    if any(kind_of(choice.thing) == "evasion" for choice in grid.attacks):
        names.add("pgd")  # that looks at each defended model
    return names | {Spec.parse(grid.model).name}


def _keys(stages: Iterable[Stage], context: Context) -> list[str]:
    return [stage.key(context) for stage in stages]


def _plan(wanted: Sequence[Measure], context: Context) -> dict[str, Stage]:
    """Return the stages that have to run, by key, each behind those that it needs."""
    plan: dict[str, Stage] = {}

    def add(stage: Stage) -> None:
        key = stage.key(context)
        if key in plan:
            return
        if not isinstance(stage, Measure) and context.store.stage_info(key) is not None:
            return
        for needed in stage.needs(context):
            add(needed)
        plan[key] = stage

    for stage in wanted:
        add(stage)
    return plan


def _kept_row(cell_id: str, context: Context, told: GridProgress) -> Row | None:
    """Return the row of an earlier run, if it is whole and not of a failure."""
    row = context.store.load_row(cell_id)
    if row is None and (context.store.folder / "cells" / f"{cell_id}.json").exists():
        told.note(f"cells/{cell_id}.json or its .npz cannot be read; the cell runs again")
    return row if row is not None and row.status in ("ok", "skipped") else None


def _reason_to_skip(cell: Cell, context: Context) -> str | None:
    model, task = context.grid.make_model(cell.seed), context.dataset.task
    for thing in (cell.attack.thing, cell.defense.thing):
        reason: str | None = thing.supports(model, task) if hasattr(thing, "supports") else None
        if reason is not None:
            return reason
    refuses = getattr(cell.defense.thing, "refuses", None)
    refused: str | None = refuses(cell.attack.thing) if refuses else None
    return refused


def check_model(model: Any, spec: str, data: Dataset) -> None:
    """Raise InputError if the model says that it cannot learn the data."""
    reason = model.supports(data.task) if hasattr(model, "supports") else None
    if reason is not None:
        raise InputError(f"{spec} cannot be trained on {data.name}: {reason}")


def _forget(store: Store) -> None:
    for name in ("cells", "stages"):
        shutil.rmtree(store.folder / name, ignore_errors=True)
        (store.folder / name).mkdir(exist_ok=True)


def environment() -> dict[str, object]:
    """Return what the numbers and the times of a grid hang on."""
    import numba
    import scipy
    import sklearn

    return {
        "fastadv": fastadv.__version__,
        "python": sys.version.split()[0],
        "numpy": np.__version__,
        "numba": numba.__version__,
        "scipy": scipy.__version__,
        "scikit-learn": sklearn.__version__,
        "machine": platform.machine(),
        "processor": _processor(),
        "cores": os.cpu_count(),
        "threads": thread_count(),
    }


def _processor() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor()
