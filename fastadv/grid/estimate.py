"""About how long stages take: before any of them runs, and for those that are left."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from fastadv import capabilities
from fastadv.grid.context import Context
from fastadv.grid.stages.base import Work
from fastadv.grid.stages.evaluation import Certify, Inspect, Perturb
from fastadv.grid.stages.training import Fit, Poison, Scout, Survey

# The sizes that a stage's weight is about a second of one processor's time at.
_TRAINING_ROWS, _IMAGES = 55_000, 200


def seconds(stage: Work, context: Context) -> float:
    """Return about how long one processor takes, by the stage's weight and the data's sizes."""
    if isinstance(stage, Poison):
        n_rows, task = len(context.dataset.x_train), context.dataset.task
        model = context.make_model(stage.seed)
        told = capabilities.poison_seconds(stage.attack.made, model, n_rows, task)
        if told is not None:
            return told
    if isinstance(stage, Fit | Poison | Scout | Survey):
        return stage.weight * len(context.dataset.x_train) / _TRAINING_ROWS
    if isinstance(stage, Perturb):
        return stage.weight * len(stage.rows(context)) / _IMAGES
    if isinstance(stage, Inspect | Certify):
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
        kinds: dict[str, _Alike] = {}
        self._kind_of: dict[str, _Alike] = {}
        for key, stage in stages.items():
            kind = kinds.setdefault(_but_for_the_seed(stage), _Alike())
            kind.left += 1
            kind.ahead += self._ahead[key]
            self._kind_of[key] = kind
        self._left = len(stages)
        self._known, self._unknown = 0.0, sum(self._ahead.values())  # of what is left
        self._said, self._spent = 0.0, 0.0  # of the stages that have ended
        self._clock, self._start = clock, 0.0  # when the first of them began

    def end(self, key: str, took: float | None) -> None:
        """Count that a stage has ended, after so many seconds; None if it has not run."""
        kind = self._kind_of.pop(key)
        self._known -= kind.known()
        self._unknown -= kind.unknown()
        self._left -= 1
        kind.left -= 1
        kind.ahead -= self._ahead[key]
        if took is not None:
            if not self._spent:
                self._start = self._clock() - took
            kind.ended += 1
            kind.took += took
            self._said += self._ahead[key]
            self._spent += took
        self._known += kind.known()
        self._unknown += kind.unknown()

    def left(self) -> float:
        """Return about how many seconds the rest takes; infinity before anything has ended."""
        if not self._left:
            return 0.0
        if not self._spent or not self._said:
            return float("inf")
        work = self._known + self._unknown * self._spent / self._said
        elapsed = self._clock() - self._start
        return work * elapsed / self._spent  # several processes have spent more


@dataclass
class _Alike:
    """Stages that do the same with different seeds: how many are left, and what others took."""

    left: int = 0
    ahead: float = 0.0  # seconds that are said of those that are left
    ended: int = 0
    took: float = 0.0

    def known(self) -> float:
        """Return how long those take that are left, if any of them has ended."""
        return self.left * self.took / self.ended if self.ended else 0.0

    def unknown(self) -> float:
        """Return what is said of those that are left, if none of them has ended."""
        return 0.0 if self.ended else self.ahead


def _but_for_the_seed(stage: Work) -> str:
    return f"{type(stage).__name__} {stage.label().rpartition(', seed ')[0] or stage.label()}"
