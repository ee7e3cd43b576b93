"""The gradient of the loss after training to poison rows, by automatic differentiation.

Full-batch heavy-ball descent on the mean cross-entropy at a constant rate, unrolled: what a user of
JAX or PyTorch would write in place of `MLPClassifier.poison_objective`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from fastadv.arrays import Float64, Labels
from fastadv.benchmarks.peers import NEEDS
from fastadv.benchmarks.race import Race, Runner, Work
from fastadv.datasets import load_dataset
from fastadv.models.mlp import MLPClassifier
from fastadv.threads import thread_count

Objective = Callable[[Float64], tuple[float, Float64]]  # points -> loss, its gradient


@dataclass(frozen=True)
class Problem:
    """A training run and the rows to differentiate with respect to.

    Attributes
    ----------
    X, y : ndarray of shape (n, d), float64, and (n,)
        The poison is the last ``n_points`` rows.
    X_val, y_val : ndarray of shape (m, d) and (m,)
    hidden : int
        tanh units; 0 for softmax regression.
    steps : int
        Full-batch steps.
    """

    X: Float64
    y: Labels
    X_val: Float64
    y_val: Labels
    n_points: int
    hidden: int
    steps: int
    learning_rate: float = 0.1
    momentum: float = 0.0

    @property
    def points(self) -> Float64:
        """The poison rows, (n_points, d)."""
        return self.X[-self.n_points :].copy()

    def model(self) -> MLPClassifier:
        """Return the untrained model."""
        return MLPClassifier(
            (self.hidden,) if self.hidden else (),
            "tanh",
            batch_size=len(self.X),
            learning_rate="constant",
            learning_rate_init=self.learning_rate,
            momentum=self.momentum,
            max_iter=self.steps,
            tol=None,
        )

    def initial_layers(self) -> list[tuple[Float64, Float64]]:
        """Return the first matrix and bias of each layer."""
        model = self.model()
        sizes = model._layer_sizes(self.X.shape[1], len(np.unique(self.y)))
        vector = model._initial_parameters(np.random.RandomState(0), sizes)
        layers, start = [], 0
        for n_in, n_out in zip(sizes[:-1], sizes[1:], strict=True):
            middle, stop = start + n_in * n_out, start + (n_in + 1) * n_out
            layers.append((vector[start:middle].reshape(n_in, n_out), vector[middle:stop]))
            start = stop
        return layers


def fastadv_objective(problem: Problem) -> Objective:
    """Return ours."""
    index = np.arange(len(problem.X) - problem.n_points, len(problem.X))
    return problem.model().poison_objective(
        problem.X, problem.y, index, problem.X_val, problem.y_val
    )


def jax_objective(problem: Problem, checkpoint: bool = False) -> Objective:
    """Return the jitted reverse mode through ``lax.scan``, in float64.

    Parameters
    ----------
    checkpoint : bool
        Recompute the inside of each step in the backward pass (`jax.checkpoint`).
    """
    import jax
    import jax.numpy as jnp

    jax.config.update("jax_enable_x64", True)
    clean, y = jnp.asarray(problem.X[: -problem.n_points]), jnp.asarray(problem.y)
    X_val, y_val = jnp.asarray(problem.X_val), jnp.asarray(problem.y_val)
    initial = [(jnp.asarray(w), jnp.asarray(b)) for w, b in problem.initial_layers()]

    def loss(layers: Any, X: Any, y: Any) -> Any:
        for w, b in layers[:-1]:
            X = jnp.tanh(X @ w + b)
        log_p = jax.nn.log_softmax(X @ layers[-1][0] + layers[-1][1])
        return -jnp.take_along_axis(log_p, y[:, None], axis=1).mean()

    def loss_after_training(points: Any) -> Any:
        X = jnp.concatenate([clean, points])

        def step(carry: Any, _: None) -> Any:
            layers, velocity = carry
            gradient = jax.grad(loss)(layers, X, y)
            velocity = jax.tree.map(
                lambda v, g: problem.momentum * v - problem.learning_rate * g, velocity, gradient
            )
            return (jax.tree.map(jnp.add, layers, velocity), velocity), None

        start = (initial, jax.tree.map(jnp.zeros_like, initial))
        body = jax.checkpoint(step) if checkpoint else step
        (layers, _), _ = jax.lax.scan(body, start, None, length=problem.steps)
        return loss(layers, X_val, y_val)

    compiled = jax.jit(jax.value_and_grad(loss_after_training))

    def objective(points: Float64) -> tuple[float, Float64]:
        value, gradient = jax.block_until_ready(compiled(points))
        return float(value), np.asarray(gradient)

    return objective


def torch_objective(problem: Problem) -> Objective:
    """Return reverse mode through steps unrolled with ``create_graph``, in float64."""
    import torch
    from torch.nn.functional import cross_entropy

    torch.set_num_threads(thread_count())
    clean, y = torch.tensor(problem.X[: -problem.n_points]), torch.tensor(problem.y)
    X_val, y_val = torch.tensor(problem.X_val), torch.tensor(problem.y_val)
    initial = [torch.tensor(array) for layer in problem.initial_layers() for array in layer]

    def loss(weights: Any, X: Any, y: Any) -> Any:
        for w, b in zip(weights[:-2:2], weights[1:-2:2], strict=True):
            X = torch.tanh(torch.addmm(b, X, w))
        return cross_entropy(torch.addmm(weights[-1], X, weights[-2]), y)

    def objective(points: Float64) -> tuple[float, Float64]:
        moved = torch.tensor(points, requires_grad=True)
        X = torch.cat([clean, moved])
        weights = [w.clone().requires_grad_() for w in initial]
        velocity = [torch.zeros_like(w) for w in weights]
        for _ in range(problem.steps):
            gradient = torch.autograd.grad(loss(weights, X, y), weights, create_graph=True)
            velocity = [
                problem.momentum * v - problem.learning_rate * g
                for v, g in zip(velocity, gradient, strict=True)
            ]
            weights = [w + v for w, v in zip(weights, velocity, strict=True)]
        value = loss(weights, X_val, y_val)
        (gradient_points,) = torch.autograd.grad(value, moved)
        return float(value.detach()), gradient_points.numpy()

    return objective


PEERS: dict[str, Callable[[Problem], Objective]] = {
    "jax": jax_objective,
    "jax, checkpointed": lambda problem: jax_objective(problem, checkpoint=True),
    "torch": torch_objective,
}


def _mnist_problem(dataset: str, hidden: int, steps: int, n_points: int) -> Problem:
    data = load_dataset(dataset)
    X, X_val = data.x_train.astype(np.float64), data.x_val.astype(np.float64)
    return Problem(X, data.y_train, X_val, data.y_val, n_points, hidden, steps)


# The data, the hidden units, the steps of training, and the poison rows among the training rows.
_RACES = (
    ("mnist[classes=7-1,train=101,val=400]", 10, 200, 1),
    ("mnist[train=200,val=400]", 32, 100, 20),
    ("mnist[train=1000,val=1000]", 128, 200, 50),
)


def _work(build: Callable[[Problem], Objective], problem: Problem, wanted: Float64) -> Work:
    """Return one gradient; its quality is the cosine with the one that is ``wanted``."""
    objective, points = build(problem), problem.points

    def work() -> dict[str, float]:
        loss, gradient = objective(points)
        norms = np.linalg.norm(gradient) * np.linalg.norm(wanted)
        return {"loss": loss, "cosine": float((gradient * wanted).sum() / norms)}

    return work


def races() -> list[Race]:
    """Return a race for each size: one exact gradient of the loss after training, in float64."""
    out = []
    for dataset, hidden, steps, n_points in _RACES:
        problem = _mnist_problem(dataset, hidden, steps, n_points)
        _, wanted = fastadv_objective(problem)(problem.points)
        runners = [Runner("fastadv", partial(_work, fastadv_objective, problem, wanted))]
        runners += [
            Runner(peer, partial(_work, build, problem, wanted), *NEEDS[peer.partition(",")[0]])
            for peer, build in PEERS.items()
        ]
        name = f"poison gradient: {len(problem.X)} rows, {hidden} units, {steps} steps"
        out.append(Race("peers", f"{name}, {n_points} points", tuple(runners)))
    return out
