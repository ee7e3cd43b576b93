"""About how long stages take: before any of them runs, and for those that are left."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from statistics import fmean

from fastadv.grid.stages import (
    Certify,
    Context,
    Fit,
    Inspect,
    Perturb,
    Poison,
    Scout,
    Survey,
    Work,
)

# The sizes that a stage's weight is about a second of one processor's time at.
_TRAINING_ROWS, _IMAGES = 55_000, 200


def seconds(stage: Work, context: Context) -> float:
    """Return about how long one processor takes, by the stage's weight and the data's sizes."""
    if isinstance(stage, Fit | Poison | Scout | Survey):
        return stage.weight * len(context.dataset.x_train) / _TRAINING_ROWS
    if isinstance(stage, Perturb | Inspect | Certify):
        return stage.weight * len(context.test_rows(stage.dealt)) / _IMAGES
    return stage.weight


class Pace:
    """How long the rest of a grid takes, by what its stages have taken so far.

    A stage takes what those took that do the same with another seed; before one of them has ended,
    what is said of it ahead, by as much longer as others took.

    Parameters
    ----------
    stages : mapping of str to Work
        By key.
    context : Context
    clock : callable
        Seconds.
    """

    def __init__(
        self, stages: Mapping[str, Work], context: Context,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:  # fmt: skip
        self._ahead = {key: seconds(stage, context) for key, stage in stages.items()}
        self._alike = {key: _but_for_the_seed(stage) for key, stage in stages.items()}
        self._took: dict[str, list[float]] = {}
        self._rest = dict.fromkeys(stages)
        self._said, self._spent = 0.0, 0.0  # of the stages that have ended
        self._clock, self._start = clock, 0.0  # when the first of them began

    def end(self, key: str, took: float | None) -> None:
        """Count that a stage has ended, after so many seconds; None if it has not run."""
        self._rest.pop(key, None)
        if took is not None:
            if not self._took:
                self._start = self._clock() - took
            self._took.setdefault(self._alike[key], []).append(took)
            self._said += self._ahead[key]
            self._spent += took

    def left(self) -> float:
        """Return about how many seconds the rest takes; infinity before anything has ended."""
        if not self._spent or not self._said:
            return float("inf") if self._rest else 0.0
        work = sum(
            fmean(self._took[self._alike[key]])
            if self._alike[key] in self._took
            else self._ahead[key] * self._spent / self._said
            for key in self._rest
        )
        elapsed = self._clock() - self._start
        return work * elapsed / self._spent  # several processes have spent more


def _but_for_the_seed(stage: Work) -> str:
    return f"{type(stage).__name__} {stage.label().rpartition(', seed ')[0] or stage.label()}"
