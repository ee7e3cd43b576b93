"""When training ends before its last epoch, and whether what it ended with has settled."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from fastadv.models.schedule import Schedule

_AT_REST = 0.1  # the most that it moves, of the mean cross-entropy, from one epoch to the next


@dataclass
class Patience:
    """Count the epochs without progress, as scikit-learn's MLPClassifier counts them.

    Attributes
    ----------
    tol : float
        What the best score has to be exceeded by.
    n_iter_no_change : int
        Epochs without that, one after the other, after which training stops with the next.
    best : float
        The best score so far.
    idle : int
        The epochs without progress, up to now.
    """

    tol: float
    n_iter_no_change: float
    best: float = -math.inf
    idle: int = 0

    def is_over(self, score: float) -> bool:
        """Take the score of an epoch, the higher the better, and return whether to stop."""
        self.idle = self.idle + 1 if score < self.best + self.tol else 0
        self.best = max(self.best, score)
        return self.idle > self.n_iter_no_change


def why_unsettled(
    schedule: Schedule, max_iter: int, loss_curve: Sequence[float]
) -> tuple[str, str] | None:
    """Return None, or why the result still hangs on when training ended, and what helps.

    Training that stopped by itself has settled. At a constant rate it has not where ``max_iter``
    ended it, as in scikit-learn: the noise of the last steps is in the weights. A rate that falls
    to 0 takes that noise out; then training has not settled while the mean loss of an epoch differs
    by more than 0.1 from that of the epoch before, or where there was one epoch only. That is a
    coarse test: what fails it is points below what more epochs reach, what passes may be, too.
    """
    if len(loss_curve) < max_iter:
        return None
    if schedule == "constant":
        return (
            f"the rate was constant to the last of {max_iter} epochs and the loss not at rest",
            "let the rate fall (learning_rate=cooldown)",
        )
    if len(loss_curve) == 1:
        return "one epoch does not tell whether the loss is at rest", "more epochs"
    if abs(loss_curve[-1] - loss_curve[-2]) <= _AT_REST:
        return None
    return f"the mean loss still moved by more than {_AT_REST:g} in the last epoch", "more epochs"
