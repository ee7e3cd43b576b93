"""What has to run for a grid: its stages, each behind those that it needs.

A cell that cannot be planned is a row, skipped or failed, like one that fails later.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

from fastadv import capabilities
from fastadv.grid.cell import Cell, digest
from fastadv.grid.context import Context
from fastadv.grid.failures import message, of_the_place
from fastadv.grid.given import untrainable
from fastadv.grid.measure import Measure, empty_row
from fastadv.grid.row import Row
from fastadv.grid.stages.base import Stage, Work
from fastadv.grid.stages.training import bears_on_training
from fastadv.grid.store import Store


@dataclass
class Planned:
    """A stage, by its key.

    Attributes
    ----------
    needs : dict of str
        The keys of the stages that it needs, by the names it has for them.
    frees : tuple of str
        Those among them that nothing else can need.
    unread : tuple of str
        Arrays of what it needs that it does not read.
    """

    key: str
    stage: Work
    needs: dict[str, str]
    frees: tuple[str, ...] = ()
    unread: tuple[str, ...] = ()


@dataclass
class Plan:
    """The stages that have to run, and the rows that are there without.

    Attributes
    ----------
    stages : dict of Planned
        By key, in an order in which each has what it needs.
    rows : dict of Row
        By id: kept from an earlier run, skipped, or not to be planned.
    cells : dict of Cell
        All of them, by id, in the grid's order.
    kept : int
        How many rows an earlier run has left.
    """

    stages: dict[str, Planned] = field(default_factory=dict)
    rows: dict[str, Row] = field(default_factory=dict)
    cells: dict[str, Cell] = field(default_factory=dict)
    kept: int = 0


def make_plan(context: Context, store: Store, fresh: bool, note: Callable[[str], None]) -> Plan:
    """Return what has to run; ``fresh``: whatever is kept."""
    plan = Plan()
    for cell in context.grid.cells():
        row = empty_row(cell, context)
        plan.cells[row.id] = cell
        reason = reason_to_skip(cell, context)
        kept = None
        if reason is not None:
            row.status, row.reason = "skipped", reason
        elif not fresh:
            kept = _kept(row.id, store, note)
        if kept is not None:
            plan.rows[row.id] = kept
            plan.kept += 1
        elif reason is None:
            try:
                stages = _stages(Measure(cell), row.id, context)
            except Exception as error:  # a failing cell is a row; the grid goes on
                if (halts := of_the_place(error)) is not None:
                    raise store.halted(halts) from None
                row.status = "failed"
                row.reason = f"{cell.attack.text} against {cell.defense.text}: {message(error)}"
            else:
                plan.stages |= {key: s for key, s in stages.items() if key not in plan.stages}
        if row.status != "ok":
            plan.rows[row.id] = row
    plan.stages = _to_run(plan, store)
    cells = (planned for key, planned in plan.stages.items() if key in plan.cells)
    readers = Counter(needed for planned in cells for needed in planned.needs.values())
    for planned in plan.stages.values():
        # A baseline of one attack may be the poison of another.
        planned.frees = tuple(key for key in planned.frees if readers[key] < 2)
    return plan


def _kept(cell_id: str, store: Store, note: Callable[[str], None]) -> Row | None:
    """Return the row of an earlier run, if it is whole and not of a failure."""
    row = store.load_row(cell_id)
    if row is None and store.has_row(cell_id):
        note(f"cells/{cell_id}.json or its .npz cannot be read; the cell runs again")
    return row if row is not None and row.status in ("ok", "skipped") else None


def reason_to_skip(cell: Cell, context: Context) -> str | None:
    """Return why the attack or the defense of a cell cannot run; None if they can."""
    attack, defense, task = cell.attack.made, cell.defense.made, context.dataset.task
    poisons, trains = capabilities.kind_of(attack) == "poisoning", bears_on_training(defense)
    reason = None if context.given is None else untrainable(context.given)
    if reason and (poisons or trains):
        return (
            f"{cell.attack.text if poisons else cell.defense.text} needs a training, and {reason}"
        )
    as_given = context.given is not None and not (poisons or trains)
    model = context.given if as_given else context.make_model(cell.seed)
    return (
        capabilities.supports(attack, model, task)
        or capabilities.supports(defense, model, task)
        or capabilities.refuses(defense, attack)
    )


def _stages(measure: Measure, cell_id: str, context: Context) -> dict[str, Planned]:
    """Return the stages of a cell by key, each behind those that it needs."""
    planned: dict[str, Planned] = {}

    def add(stage: Stage) -> str:
        needs = {name: add(needed) for name, needed in stage.needs(context).items()}
        key = digest(type(stage).__name__, *stage.identity(context), *needs.values())
        planned.setdefault(key, Planned(key, stage, needs))
        return key

    needs = {name: add(needed) for name, needed in measure.needs(context).items()}
    frees = tuple(add(stage) for stage in measure.alone(context))
    planned[cell_id] = Planned(cell_id, measure, needs, frees, measure.unread)
    return planned


def _to_run(plan: Plan, store: Store) -> dict[str, Planned]:
    """Return the stages without those whose result is kept, and what only those need."""
    runs: dict[str, bool] = {}  # of those that were asked for, each once: its file is read

    def want(key: str) -> None:
        if key not in runs:
            runs[key] = key in plan.cells or not store.has_stage(key)
            if runs[key]:
                for needed in plan.stages[key].needs.values():
                    want(needed)

    for key in plan.stages.keys() & plan.cells.keys():
        want(key)
    return {key: stage for key, stage in plan.stages.items() if runs.get(key)}
