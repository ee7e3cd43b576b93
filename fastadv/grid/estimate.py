"""About how long stages take: before any of them runs, and for those that are left."""

from __future__ import annotations

import functools
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

import numpy as np

from fastadv import capabilities
from fastadv.grid.context import Context
from fastadv.grid.stages.base import Work
from fastadv.grid.stages.evaluation import Certify, Inspect, Perturb
from fastadv.grid.stages.training import Fit, Poison, Scout, Survey, Take

# The sizes that a stage's weight is about a second of one processor's time at.
_TRAINING_ROWS, _IMAGES = 55_000, 200
_PASSES = 20  # of each image under attack, between the one of fgsm and the 40 of pgd
_FEW, _MORE = 8, 100  # images that are timed
_QUICK = 0.1  # seconds: where a few take less, more are timed


def seconds(stages: Iterable[Work], context: Context) -> list[float]:
    """Return about how long one processor takes for each stage.

    That is by its weight and the data's sizes, and where the model is computed by another package,
    whose networks have any size, by how long a few images take in it.
    """
    image_seconds = functools.cache(lambda: _image_seconds(context))
    return [_seconds(stage, context, image_seconds) for stage in stages]


def _seconds(stage: Work, context: Context, image_seconds: Callable[[], float]) -> float:
    if isinstance(stage, Poison):
        n_rows, task = len(context.dataset.x_train), context.dataset.task
        model = context.make_model(stage.seed)
        told = capabilities.poison_seconds(stage.attack.made, model, n_rows, task)
        if told is not None:
            return told
    if isinstance(stage, Fit | Poison | Scout | Survey):
        n_rows = len(context.dataset.x_train)
        least = stage.weight * n_rows / _TRAINING_ROWS
        if not isinstance(stage, Fit) or isinstance(stage, Take):
            return least
        epochs = capabilities.epochs_with(stage.defense.made, context.make_model(stage.seed))
        return max(least, n_rows * epochs * image_seconds())
    if isinstance(stage, Perturb):
        n_rows = len(stage.rows(context))
        return max(stage.weight * n_rows / _IMAGES, n_rows * _PASSES * image_seconds())
    if isinstance(stage, Inspect | Certify):
        return stage.weight * len(context.test_rows(stage.dealt)) / _IMAGES
    return stage.weight


def _image_seconds(context: Context) -> float:
    """Return about how long one processor takes for an image, forward and back; 0: as our own.

    An untrained model is trained on a few images, one that came trained is asked its gradient.
    """
    data, seed = context.dataset, context.grid.seed
    model = context.new_model(seed) if context.given is None else context.given
    if capabilities.computed_by(model) is None:
        return 0.0
    labels = np.resize(np.arange(data.task.n_classes), len(data.x_train))

    def took(n_rows: int) -> float:
        X, start = data.x_train[:n_rows], time.process_time()
        if context.given is None:
            model.set_params(epochs=1).fit(X, labels[:n_rows])
        elif capabilities.differentiable(model):
            logits, pullback = model.vjp(X)
            pullback(np.ones_like(logits))
        else:
            model.logits(X)
        return (time.process_time() - start) / len(X)

    try:
        took(_FEW)  # libraries begin slowly
        each = took(_FEW)
        return took(_MORE) if each * _FEW < _QUICK else each
    except Exception:  # of any module, on any data: the stage that runs it tells
        return 0.0


class Pace:
    """How long the rest of a grid takes, by what its stages have taken so far.

    A stage takes what those took that do the same with another seed; before one of them has ended,
    what is said of it ahead, by as much longer as others took.

    Parameters
    ----------
    stages : mapping of str to Work
        By key.
    ahead : mapping of str to float
        What is said of each, by its key: see `seconds`.
    clock : callable
        Seconds.
    """

    def __init__(
        self, stages: Mapping[str, Work], ahead: Mapping[str, float],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:  # fmt: skip
        self._ahead = ahead
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
