"""Running a grid: what was asked for is checked, planned, run, and gathered."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from fastadv import capabilities, experiment, registry
from fastadv.datasets import Dataset, load_dataset
from fastadv.errors import InputError, at_least, require
from fastadv.files import scratch_folder
from fastadv.grid import defaults
from fastadv.grid.cell import Cell, Grid
from fastadv.grid.context import Context
from fastadv.grid.estimate import Pace, seconds
from fastadv.grid.executors.base import Executor, Outcome, Queue
from fastadv.grid.executors.inline import Inline
from fastadv.grid.executors.processes import Processes
from fastadv.grid.given import given_for
from fastadv.grid.machine import environment, kernels_of, packages_of
from fastadv.grid.measure import empty_row
from fastadv.grid.memory import check_memory
from fastadv.grid.plan import Plan, make_plan
from fastadv.grid.progress import SILENT, GridProgress
from fastadv.grid.result import GridResult
from fastadv.grid.row import WAITING, Row
from fastadv.grid.stages.training import bears_on_training
from fastadv.grid.status import STATUS, Reporting
from fastadv.grid.store import Store
from fastadv.models.loading import load
from fastadv.sources import is_source
from fastadv.specs import coerce, shown, split_top_level
from fastadv.threads import thread_count
from fastadv.warmup import warm_up

_WORTH_PROCESSES = 60.0  # seconds of one processor, from which on several are started


def run_grid(
    *,
    attacks: str | Sequence[str] = defaults.ATTACKS,
    defenses: str | Sequence[str] = defaults.DEFENSES,
    dataset: str | Path | Dataset = "mnist",
    model: Any = "mlp",
    samples: int | None = None,
    repeats: int | None = None,
    seeds: int | None = None,
    seed: int = 0,
    output: str | Path | None = None,
    fresh: bool = False,
    jobs: int | None = None,
    timeout: float | None = None,
    executor: Executor | None = None,
    progress: GridProgress | None = None,
) -> GridResult:
    """Run every attack against every defense and return a row for each pair.

    Parameters
    ----------
    attacks, defenses : str or sequence of str
        Specs such as ``"stadv[budget=20]"``, or one text with commas between them; ``"all"`` is
        every registered one, plug-ins among them. The attack ``none``, which is the clean accuracy,
        is always the first. ``"stadv"`` without brackets is two attacks: see `fastadv.grid.cell`.
    dataset : str, Path or Dataset
        What `fastadv.load_dataset` takes, or what it returned.
    model : str or object
        A spec, of a model to train; or one that is trained: an object, which `fastadv.wrap` takes
        or has returned, or where it is (`fastadv.sources`). What is given is attacked as it
        is; where a row needs a training, a clone of it is trained, or the row is skipped.
    samples : int, optional
        Test images that evasion attacks get, by default 1,000, or all if there are fewer; they are
        dealt out among the runs of a cell. Other rows are measured on all test images in each run.
    repeats : int, optional
        Runs of each cell: trainings, and draws of a poisoner. By default 5.
    seeds : int, optional
        Another name for ``repeats``.
    seed : int
        Of the first run; the others follow.
    output : path, optional
        The folder that keeps the grid; what it holds already is not computed again. Without it
        nothing is kept.
    fresh : bool
        Compute everything again.
    jobs : int, optional
        Processes, each with its share of the threads; the numbers do not depend on it. By default
        one for each thread, which is faster where there is work for them, and else none but this.
    timeout : float, optional
        Seconds that one stage of a cell may take.
    executor : Executor, optional
        Where the stages run, in place of this process and those of ``jobs`` and ``timeout``.
    progress : GridProgress, optional
        Is told what runs; by default nobody is.

    Returns
    -------
    GridResult
        A sequence of rows in the order of the axes; rows of pairs that do not go together are
        ``skipped`` with a reason, those of stages that failed are ``failed`` with the message.

    Raises
    ------
    InputError
        Before any work, if something that was asked for makes no sense.
    """
    jobs, timeout = coerce(jobs, int | None, "jobs"), coerce(timeout, float | None, "timeout")
    at_least(1, jobs=1 if jobs is None else jobs)
    require(timeout is None or timeout > 0, "timeout has to be above 0 seconds", timeout)
    if not isinstance(output, str | Path | None):
        raise InputError(f"output has to be the path of a folder, or None, got {shown(output)}")
    context = asked(
        attacks=attacks, defenses=defenses, dataset=dataset, model=model, samples=samples,
        repeats=repeats, seeds=seeds, seed=seed,
    )  # fmt: skip
    grid, data = context.grid, context.dataset
    progress = progress or SILENT
    with ExitStack() as ends:
        folder = ends.enter_context(scratch_folder()) if output is None else Path(output)
        store = Store(folder, lasts=output is not None)
        if output is not None:
            ends.enter_context(store.alone())
            progress = Reporting(progress, partial(store.write_json, STATUS, durable=False))
        if fresh:
            store.forget()
        for note in data.notes:
            progress.note(f"{data.name}: {note}")
        if output is not None and context.given is not None and not context.given.given.kept:
            progress.note(f"{grid.model} has no name: nothing of this grid will be found again")
        described = grid.describe()
        if context.given is not None:  # from Python there is no text that stands for it
            described["given"] = {
                "how": context.given.given.how,
                "identity": context.given.given.identity,
                "from": "text" if isinstance(model, str) else "python",
            }
        document = {"grid": described, "environment": environment(packages_of(context))}
        store.write_json("grid.json", document)
        try:
            plan = make_plan(context, store, fresh, progress.note)
            works = {key: planned.stage for key, planned in plan.stages.items()}
            ahead = dict(zip(works, seconds(works.values(), context), strict=True))
            executor = executor or _executor(sum(ahead.values()), context, jobs, timeout)
            if plan.stages:
                check_memory(plan, context, capabilities.n_processes(executor))
                if isinstance(executor, Processes):
                    executor.check_room(data)
                if not capabilities.compiles(executor):  # the workers do
                    warm_up(progress.compiling, kernels_of(context))
            rows = _run(plan, context, store, executor, progress, Pace(works, ahead))
        finally:
            progress.stop()
        result = GridResult.of(rows, store.folder, **document)
        return result if output is not None else replace(result, folder=None)


def asked(
    *,
    attacks: str | Sequence[str],
    defenses: str | Sequence[str],
    dataset: str | Path | Dataset,
    model: Any,
    samples: int | None,
    repeats: int | None,
    seed: int,
    seeds: int | None = None,
) -> Context:
    """Return the grid that was asked for, with its data; see `run_grid`.

    Raises
    ------
    InputError
        If it makes no sense.
    """
    require(repeats is None or seeds is None, "give one of repeats and seeds, not both", seeds)
    if not isinstance(dataset, str | Path | Dataset):
        raise InputError(f"dataset has to be a name, a path or a Dataset, got {shown(dataset)}")
    name = dataset.name if isinstance(dataset, Dataset) else str(dataset)
    n = defaults.SAMPLES if samples is None else samples
    given, word = (repeats, "repeats") if seeds is None else (seeds, "seeds")
    grid = Grid.parse(
        _specs("attacks", attacks), _specs("defenses", defenses), name,
        coerce(model, str, "model") if isinstance(model, str) else "", coerce(n, int, "samples"),
        coerce(given, int | None, word), coerce(seed, int, "seed"),
    )  # fmt: skip
    is_given = not isinstance(model, str) or is_source(model)
    if not is_given:
        registry.make_model(model)  # or raise, before data are read
    data = dataset if isinstance(dataset, Dataset) else load_dataset(name)
    if samples is None:
        n = min(n, len(data.x_test))
        grid = replace(grid, samples=n, repeats=min(grid.repeats, n) if given is None else given)
    experiment.test_rows(data, grid.samples)  # or raise
    if not is_given:
        experiment.new_model(model, seed, data)  # or raise
        return Context(grid, data)
    text = model if isinstance(model, str) else None
    trained = given_for(load(model, data.task) if text else model, data, text)
    context = Context(replace(grid, model=text or trained.given.name), data, trained)
    if given is None and not _trains(context.grid):
        context = replace(context, grid=replace(context.grid, repeats=1))
    return context


def _trains(grid: Grid) -> bool:
    """Return whether a cell of a model that came trained needs a training: runs differ by these."""
    poisons = any(capabilities.kind_of(choice.made) == "poisoning" for choice in grid.attacks)
    return poisons or any(bears_on_training(choice.made) for choice in grid.defenses)


def _specs(axis: str, given: Any) -> Sequence[str]:
    if isinstance(given, str):
        return split_top_level(given)
    texts = list(given) if isinstance(given, Iterable) else [given]
    for text in texts:
        if not isinstance(text, str):
            example = "pgd[eps=0.1]" if axis == "attacks" else "median[size=2]"
            raise InputError(f"{axis} are texts such as {example!r}, got {shown(text)}")
    return texts


def _executor(
    work: float, context: Context, jobs: int | None, timeout: float | None
) -> Inline | Processes:
    """Return where the stages, ``work`` seconds of one processor, run if nothing else is said."""
    if not context.portable and (timeout is not None or jobs not in (None, 1)):
        raise InputError(
            f"{context.grid.model} cannot be sent to other processes: leave out jobs and timeout"
        )
    n = _processes(work, context) if jobs is None else jobs
    return Inline() if n == 1 and timeout is None else Processes(n, timeout)


def _processes(work: float, context: Context) -> int:
    """Return how many processes are worth their start, some seconds each."""
    if sys.platform == "win32" or not context.portable:
        return 1
    return thread_count() if work > _WORTH_PROCESSES else 1


def _run(
    plan: Plan, context: Context, store: Store, executor: Executor, progress: GridProgress,
    pace: Pace,
) -> list[Row]:  # fmt: skip
    """Run what is planned, and return the rows of all cells in their order."""
    for row in plan.rows.values():
        if row.status != "ok":
            store.save_row(row)
    works = {key: planned.stage for key, planned in plan.stages.items()}
    weights = {key: stage.weight for key, stage in works.items()}
    progress.start(sum(weights.values()), len(plan.cells) - len(plan.rows), plan.kept)
    queue = Queue(plan, store)
    rows = {key: plan.rows.get(key) or _waiting(plan.cells[key], context) for key in plan.cells}
    progress.rows(list(rows.values()))
    for outcome in executor.run(queue, context, progress.begin):
        progress.advance(weights[outcome.key])
        pace.end(outcome.key, outcome.made.facts["seconds"] if outcome.made else None)
        progress.end(works[outcome.key].label(), pace.left())
        if outcome.key in plan.cells:
            measured = queue.rows.get(outcome.key)
            rows[outcome.key] = measured or _undone(outcome, plan, context, store)
            progress.rows(list(rows.values()))
    return list(rows.values())


def _waiting(cell: Cell, context: Context) -> Row:
    row = empty_row(cell, context)
    row.status = WAITING
    return row


def _undone(outcome: Outcome, plan: Plan, context: Context, store: Store) -> Row:
    """Keep and return the row of a cell that has failed, or took too long."""
    row = empty_row(plan.cells[outcome.key], context)
    row.status, row.reason = outcome.status, outcome.message
    store.save_row(row)
    return row
