"""The largest loss by a flow within a box: projected steps, as PGD takes them in pixel space."""

from __future__ import annotations

import numpy as np

from fastadv.arrays import Float32
from fastadv.attacks.evasion.best import Best, succeeds
from fastadv.attacks.evasion.flow_problem import FlowProblem
from fastadv.attacks.evasion.loss import cross_entropy_ascent
from fastadv.kernels.images import flow as flow_kernels
from fastadv.kernels.images import flow_search as kernels


def largest_loss(problem: FlowProblem, flow: Float32, steps: int, bound: float) -> Float32:
    """Climb the cross-entropy from ``flow`` (n, 2, H, W), |du| and |dv| within ``bound`` pixels.

    Steps of 2.5 bound / steps along the slope's sign, so that a path can cross the box; of all
    iterates that of the highest loss is returned, a success before any other.
    """
    channels, cells = problem.task.image_shape[2], problem.cells()
    flow = np.clip(flow, -np.float32(bound), np.float32(bound))
    x_adv, best = np.empty_like(problem.x), Best(flow)
    for step in range(steps + 1):
        flow_kernels.warp(problem.x, flow, channels, x_adv)
        logits, pullback = problem.model.vjp(x_adv)
        losses, dlogits = cross_entropy_ascent(logits, problem.y, problem.target)
        best.offer(flow, losses, succeeds(logits, problem.y, problem.target))
        if step < steps:
            dout = np.ascontiguousarray(pullback(dlogits), dtype=np.float32)
            size = np.float32(2.5 * bound / steps)
            kernels.climb(problem.x, cells, channels, dout, size, np.float32(bound), flow)
    return best.points
