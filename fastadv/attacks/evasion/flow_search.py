"""The flow of least loss that changes a label: primal-dual steps, each image its own problem.

The paper minimises max(margin, -kappa) + tau L_flow for one tau. What an attacker wants is the
least flow that does it: minimise L_flow subject to margin <= -kappa, of which 1/tau is the
multiplier, a different one for each image. Primal-dual steps find both at once, and take the flow
loss, whose gradient jumps wherever the flow is constant, by its proximal map.
"""

from __future__ import annotations

import math

import numpy as np

from fastadv.arrays import Float32
from fastadv.attacks.evasion.flow_problem import BestFlows, FlowProblem
from fastadv.kernels.images import flow as flow_kernels
from fastadv.kernels.images import flow_search as kernels

_SIZES = (0.08, 0.01)  # the primal step, in pixels, at the first and the last step
_INNER = 6  # primal-dual steps for each evaluation of the model
_REACH = 1.0  # pixels that one of them may move a component by
_MEMORY = 0.5  # of the averaged slope
_BEYOND = 0.005  # how far past the boundary to aim, as a share of the clean margin
_TRANSLATION = 1 / 8  # of the sum of all slopes: how much further a translation moves


def least_flow(
    problem: FlowProblem, flow: Float32, *, steps: int, tau: float | None, translation: bool
) -> tuple[Float32, BestFlows]:
    """Search from ``flow`` (n, 2, H, W) in ``steps`` steps; return the last flow and the best.

    Parameters
    ----------
    tau : float or None
        A fixed weight of the flow loss: the multiplier never goes beyond 1 / tau.
    translation : bool
        Whether the mean of a flow may move.

    Notes
    -----
    An image leaves the batch when it is changed by a flow without any differences (a translation,
    whose loss is 0 but for the constant under the root), or was wrong to begin with.
    """
    n, _, height, width = flow.shape
    channels, cells = problem.task.image_shape[2], problem.cells()
    flow, slope = flow.copy(), np.zeros_like(flow)
    dual = np.zeros((n, 4, (height + 1) * width), dtype=np.float32)
    x_adv, losses = np.empty_like(problem.x), np.empty(n)
    flow_kernels.warp(problem.x, flow, channels, x_adv)
    flow_kernels.flow_loss(flow, losses)
    free = _TRANSLATION if translation else -1 / (height * width)
    ceiling = np.inf if tau is None else 1 / max(tau, 1e-30)
    nothing_left = 1.5 * height * width * math.sqrt(flow_kernels.ROOT_EPS)

    rows, best, beyond = np.arange(n), BestFlows(problem), np.zeros(n)
    for step in range(steps + 1):
        margins, gradient = problem.evaluate(x_adv[: len(rows)], rows)
        best.keep(rows, flow, margins, losses[: len(rows)])
        if step == 0:
            beyond = problem.kappa + _BEYOND * np.abs(margins)
            going = margins >= -problem.kappa
        else:
            going = best.loss[rows] > nothing_left
        if step == steps or not going.any():
            break
        dout, rows = gradient(going), rows[going]
        excess = margins[going] + beyond[rows]
        kernels.advance(
            problem.x, cells, channels, rows, dout, excess.astype(np.float32),
            np.float32(_size(step, steps)), np.float32(free), np.float32(ceiling),
            np.float32(_REACH), np.float32(_MEMORY if step else 0.0), _INNER,
            flow, dual, slope, x_adv, losses,
        )  # fmt: skip
    return flow, best


def _size(step: int, steps: int) -> float:
    """Return the primal step: long ones first, for the large features, then ever finer."""
    first, last = _SIZES
    return first * math.pow(last / first, step / max(steps - 1, 1))
