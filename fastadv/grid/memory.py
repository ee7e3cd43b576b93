"""Whether a grid fits into memory, asked before any of it runs."""

from __future__ import annotations

from fastadv.datasets.dataset import ARRAYS, Dataset
from fastadv.datasets.memory import in_words, total_memory
from fastadv.errors import InputError
from fastadv.grid.context import Context
from fastadv.grid.plan import Plan
from fastadv.grid.stages.training import Fit, Poison

_PROCESS = 300_000_000  # bytes of the libraries and the block that is attacked, at least


def check_memory(plan: Plan, context: Context, processes: int) -> None:
    """Raise InputError if a grid takes more memory than there is.

    What it takes at least: the data, and for each process its libraries and, where it trains on
    poison, another training set.
    """
    stages = [planned.stage for planned in plan.stages.values()]
    poisons = any(isinstance(s, Poison) or (isinstance(s, Fit) and s.poison) for s in stages)
    data = data_bytes(context.dataset)
    each = _PROCESS + (context.dataset.x_train.nbytes if poisons else 0)
    needed, there = data + processes * each, total_memory()
    if there is not None and needed > there:
        raise InputError(
            f"this grid takes at least {in_words(needed)} of memory ({in_words(data)} of data, and "
            f"{in_words(each)} for each of {processes} processes), and there are "
            f"{in_words(there)}: fewer --jobs or workers, or fewer rows of data"
        )


def data_bytes(dataset: Dataset) -> int:
    """Return how many bytes the arrays of a dataset take."""
    return sum(getattr(dataset, name).nbytes for name in ARRAYS)
