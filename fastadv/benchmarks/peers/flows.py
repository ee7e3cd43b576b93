"""`fastadv.benchmarks.flow_adam` in JAX: all steps of a batch as one jitted loop."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from fastadv.arrays import Float64
from fastadv.benchmarks import flow_adam
from fastadv.benchmarks.peers.stadv import Problem, jax_warp
from fastadv.kernels.images.flow import ROOT_EPS

BATCH = 100

Found = Callable[[int, int], Float64]


def jax(problem: Problem) -> Found:
    """Return a function of steps and starts: it returns each image's least loss, or infinity."""
    import jax
    import jax.numpy as jnp

    height, width, _ = problem.task.image_shape
    warp = jax_warp(height, width)
    relu = problem.model.activation == "relu"

    def flow_loss(field: Any, root_eps: Any) -> Any:
        down = jnp.diff(field, axis=2, append=field[:, :, -1:])
        right = jnp.diff(field, axis=3, append=field[:, :, :, -1:])
        return jnp.sqrt((down**2 + right**2).sum(1) + root_eps).sum((1, 2))

    def objective(z: Any, weights: Any, images: Any, y: Any, share: Any, root_eps: Any) -> Any:
        field = z - z.mean((2, 3), keepdims=True)
        w1, b1, w2, b2 = weights
        hidden = jax.vmap(warp)(images, field) @ w1 + b1
        logits = (jax.nn.relu(hidden) if relu else jax.nn.sigmoid(hidden)) @ w2 + b2
        own = jax.nn.one_hot(y, w2.shape[1], dtype=bool)
        margin = jnp.where(own, logits, 0).sum(1) - jnp.where(own, -jnp.inf, logits).max(1)
        total = (jnp.maximum(margin, 0) + share * flow_loss(field, root_eps)).sum()
        return total, (margin, flow_loss(field, ROOT_EPS))

    def attack(weights: Any, images: Any, y: Any, field: Any, steps: Any) -> Any:
        def step(t: Any, state: Any) -> Any:
            field, mean, square, share, least = state
            behind = t / steps
            root_eps = flow_adam.SMOOTH * (ROOT_EPS / flow_adam.SMOOTH) ** jnp.minimum(
                behind / flow_adam.SETTLED, 1.0
            )
            gradient, (margin, loss) = jax.grad(objective, has_aux=True)(
                field, weights, images, y, share, root_eps
            )
            least = jnp.where((margin < 0) & (loss < least), loss, least)
            drift = jnp.where(margin >= 0, 1 - flow_adam.DRIFT, 1 + flow_adam.DRIFT)
            share = jnp.clip(share * drift, *flow_adam.WEIGHTS)
            mean, square = 0.9 * mean + 0.1 * gradient, 0.999 * square + 0.001 * gradient**2
            unbiased = mean / (1 - 0.9 ** (t + 1.0)), square / (1 - 0.999 ** (t + 1.0))
            rate = flow_adam.LAST_RATE + (flow_adam.RATE - flow_adam.LAST_RATE) * 0.5 * (
                1 + jnp.cos(jnp.pi * behind)
            )
            field = field - rate * unbiased[0] / (jnp.sqrt(unbiased[1]) + 1e-8)
            return field, mean, square, share, least

        nothing, infinite = jnp.zeros_like(field), jnp.full(len(images), jnp.inf)
        share = jnp.full(len(images), flow_adam.WEIGHT)
        start = (field, nothing, nothing, share, infinite)
        # One more step than asked for: its iterate is judged, its move is of no use.
        return jax.lax.fori_loop(0, steps + 1, step, start)[-1]

    compiled, n, weights = jax.jit(attack), len(problem.X), problem.weights
    order = np.arange(-(-n // BATCH) * BATCH) % n

    def found(steps: int, starts: int) -> Float64:
        least: Float64 = np.full(len(order), np.inf)
        for seed in range(starts):
            field = flow_adam.first_flow((len(order), 2, height, width), seed)
            for first in range(0, len(order), BATCH):
                part = slice(first, first + BATCH)
                some = order[part]
                losses = compiled(weights, problem.X[some], problem.y[some], field[part], steps)
                least[part] = np.minimum(least[part], np.asarray(losses, dtype=np.float64))
        return least[:n]

    return found
