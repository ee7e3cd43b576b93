"""Random starts within a ball."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from fastadv.attacks.evasion import ball
from fastadv.seeds import Stream
from fastadv.task import Task

TASK = Task(image_shape=(1, 3, 1), n_classes=2)


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_starts_are_uniform_in_the_ball(norm: ball.Norm) -> None:
    x = np.full((3000, 3), 0.5, np.float32)
    stream = Stream(7, np.arange(3000, dtype=np.uint64))
    moves = [ball.random_point(norm, x, 0.4, TASK, stream, draw) - x for draw in (0, 1)]
    for move in moves:
        if norm == "linf":
            shares, signed = np.abs(move) / 0.4, move
        else:  # the volume within a radius goes with its third power
            length = np.linalg.norm(move, axis=1, keepdims=True)
            shares, signed = (length / 0.4) ** 3, move / length
        assert stats.kstest(shares.ravel(), "uniform").pvalue > 1e-3
        # each component of a point on a sphere of three dimensions is uniform, too
        assert (
            stats.kstest((signed / np.abs(signed).max() + 1).ravel() / 2, "uniform").pvalue > 1e-3
        )
    correlation = np.corrcoef(moves[0].ravel(), moves[1].ravel())[0, 1]
    assert abs(correlation) < 0.05
