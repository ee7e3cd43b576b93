"""The paper's optimiser: L-BFGS with a backtracking line search, one for each image."""

from __future__ import annotations

import math

import numpy as np

from fastadv.arrays import Float32
from fastadv.attacks.evasion.flow_problem import BestFlows, FlowProblem
from fastadv.kernels.images import flow as flow_kernels
from fastadv.kernels.linalg import lbfgs

_HISTORY = 10
_TOLERANCE = 1e-7  # a float32 objective does not fall in smaller steps


def minimise(
    problem: FlowProblem, flow: Float32, *, steps: int, tau: float, diagonal: bool
) -> tuple[Float32, BestFlows]:
    """Minimise max(margin, -kappa) + tau L_flow from ``flow``; return the last point and the best.

    L_flow is the paper's: a root for each ordered pair of neighbours, adjacent or ``diagonal``.
    ``steps`` bounds the evaluations of the model; an image leaves the batch when its own line
    search has converged.
    """
    n, size = len(flow), math.prod(flow.shape[1:])
    channels = problem.task.image_shape[2]
    trial, point = flow.reshape(n, size).copy(), flow.reshape(n, size).copy()
    values, lengths, status = np.full(n, np.inf), np.zeros(n), np.zeros(n, dtype=np.int64)
    gradients, direction = np.zeros_like(trial), np.zeros_like(trial)
    moves = np.zeros((n, _HISTORY, size), dtype=np.float32)
    changes, kept = np.zeros_like(moves), np.zeros(n, dtype=np.int64)
    newest = np.full(n, -1)

    rows, best = np.arange(n), BestFlows(problem)
    for step in range(steps + 1):
        f = trial[rows].reshape(-1, *flow.shape[1:])
        x_adv, dflow = np.empty_like(problem.x[rows]), np.empty_like(f)
        losses, pair_losses = np.empty(len(rows)), np.empty(len(rows))
        flow_kernels.warp(problem.x[rows], f, channels, x_adv)
        flow_kernels.flow_loss(f, losses)
        margins, gradient = problem.evaluate(x_adv, rows)
        best.keep(rows, trial.reshape(flow.shape), margins, losses)
        if step == steps:
            break
        dout = gradient(np.ones(len(rows), dtype=bool))
        dout[margins < -problem.kappa] = 0.0
        flow_kernels.warp_gradient(problem.x[rows], f, channels, dout, dflow)
        weights = np.full(len(rows), tau, dtype=np.float32)
        flow_kernels.add_pair_loss(f, weights, diagonal, pair_losses, dflow)
        objective = np.maximum(margins, -problem.kappa) + tau * pair_losses
        lbfgs.advance(
            rows, objective, dflow.reshape(len(rows), size), _TOLERANCE,
            trial, point, values, gradients, direction, lengths, moves, changes, kept, newest,
            status,
        )  # fmt: skip
        rows = rows[status[rows] == lbfgs.RUNNING]
        if not len(rows):
            break
    return point.reshape(flow.shape), best
