"""Adam on the loss of a flow: what a patient, plain optimiser reaches, for ours to be beside.

For each image it minimises max(margin, 0) + weight L_flow, of flows whose mean is held at 0, and
keeps the least loss that succeeded. The root's smoothing falls from 1e-2 to 1e-8, the rate along a
half cosine to a hundredth; an image's weight falls by a hundredth a step while it fails, and rises
while it succeeds.
"""

from __future__ import annotations

import math

import numpy as np

from fastadv.arrays import Float32
from fastadv.attacks.evasion.flow_problem import BestFlows, FlowProblem
from fastadv.kernels.images import flow as kernels
from fastadv.seeds import generator

RATE, LAST_RATE = 0.05, 0.0005  # pixels
SMOOTH = 1e-2  # the root's smoothing at first
SETTLED = 0.7  # the share of the steps after which it is least
START = 1e-3  # pixels: the first flow is drawn within
WEIGHT, WEIGHTS = 0.05, (1e-4, 2.0)  # logits per pixel of flow: the first, and its bounds
DRIFT = 0.01  # of the weight, in a step


def rate_at(share: float) -> float:
    """Return the rate once that share of the steps is behind."""
    return LAST_RATE + (RATE - LAST_RATE) * 0.5 * (1 + math.cos(math.pi * share))


def smoothing_at(share: float) -> float:
    """Return what stands under the root."""
    eased: float = SMOOTH * (kernels.ROOT_EPS / SMOOTH) ** min(share / SETTLED, 1.0)
    return eased


def first_flow(shape: tuple[int, ...], seed: int) -> Float32:
    """Return where the images (n, 2, H, W) start."""
    flow = generator(seed, "flow_adam").uniform(-START, START, shape).astype(np.float32)
    held: Float32 = flow - flow.mean(axis=(2, 3), keepdims=True)
    return held


def least_flow(problem: FlowProblem, *, steps: int, seed: int) -> BestFlows:
    """Return the flows of least loss that ``steps`` steps of Adam found."""
    n, channels = len(problem.x), problem.task.image_shape[2]
    flow, best, rows = first_flow(problem.flow_shape, seed), BestFlows(problem), np.arange(n)
    x_adv, losses, dflow = np.empty_like(problem.x), np.empty(n), np.empty_like(flow)
    mean, square = np.zeros_like(flow), np.zeros_like(flow)
    weights = np.full(n, WEIGHT, dtype=np.float32)
    for step in range(steps + 1):
        kernels.warp(problem.x, flow, channels, x_adv)
        kernels.flow_loss(flow, losses)
        margins, gradient = problem.evaluate(x_adv, rows)
        best.keep(rows, flow, margins, losses)
        if step == steps:
            break
        failing = margins >= 0
        dout = gradient(np.ones(n, dtype=bool))
        dout[~failing] = 0.0
        share = step / steps
        weights *= np.where(failing, 1 - DRIFT, 1 + DRIFT).astype(np.float32)
        np.clip(weights, *WEIGHTS, out=weights)
        kernels.warp_gradient(problem.x, flow, channels, dout, dflow)
        kernels.add_flow_loss_gradient(flow, weights, smoothing_at(share), dflow)
        dflow -= dflow.mean(axis=(2, 3), keepdims=True)
        mean += np.float32(0.1) * (dflow - mean)
        square += np.float32(0.001) * (dflow * dflow - square)
        unbiased = np.float32(rate_at(share) / (1 - 0.9 ** (step + 1)))
        scale = np.float32(1 / (1 - 0.999 ** (step + 1)))
        flow -= unbiased * mean / (np.sqrt(scale * square) + np.float32(1e-8))
        flow -= flow.mean(axis=(2, 3), keepdims=True)
    return best
