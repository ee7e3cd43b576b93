"""Training beside the same loop in plain NumPy, and beside its matrix products alone.

Ours walks the pixels that are not 0, a fifth of MNIST's; so it can pass the dense products.
"""

from __future__ import annotations

import functools

import numpy as np

from fastadv.benchmarks import limits
from fastadv.benchmarks.peers.training import Problem, fastadv, mnist_problems
from fastadv.benchmarks.race import Race, Runner, Work


def numpy(problem: Problem) -> Work:
    """Return the loop as one would write it in NumPy: float32, BLAS with all of its threads."""
    data, size = problem.dataset, problem.batch_size
    rate = np.float32(problem.learning_rate)

    def forward(layers: list[list[np.ndarray]], x: np.ndarray) -> list[np.ndarray]:
        activations = [x]
        for w, b in layers[:-1]:
            activations.append(1 / (1 + np.exp(-(activations[-1] @ w + b))))
        w, b = layers[-1]
        return [*activations, activations[-1] @ w + b]

    def work() -> dict[str, float]:
        rng = np.random.default_rng(1)
        layers = [[w.copy(), b.copy()] for w, b in problem.initial_layers()]
        velocities = [[np.zeros_like(w), np.zeros_like(b)] for w, b in layers]
        for _ in range(problem.epochs):
            order = rng.permutation(len(data.x_train))
            for start in range(0, len(order), size):
                rows = order[start : start + size]
                *activations, logits = forward(layers, data.x_train[rows])
                d = np.exp(logits - logits.max(axis=1, keepdims=True))
                d /= d.sum(axis=1, keepdims=True)
                d[np.arange(len(rows)), data.y_train[rows]] -= 1
                d /= np.float32(len(rows))
                for k in reversed(range(len(layers))):
                    gradients = activations[k].T @ d, d.sum(axis=0)
                    if k > 0:
                        d = (d @ layers[k][0].T) * activations[k] * (1 - activations[k])
                    for j, gradient in enumerate(gradients):
                        velocities[k][j] = np.float32(0.9) * velocities[k][j] - rate * gradient
                        layers[k][j] += velocities[k][j]
        return problem.accuracy(forward(layers, data.x_test)[-1])

    return work


def _products(problem: Problem) -> Work:
    data = problem.dataset
    sizes = data.x_train.shape[1], *problem.hidden, data.task.n_classes
    n_batches = problem.epochs * -(-len(data.x_train) // problem.batch_size)
    return limits.training_products(sizes, problem.batch_size, n_batches)


def races() -> list[Race]:
    """Return the races: the default perceptron, other batches, a deeper one."""
    return [
        Race(
            "training",
            f"{problem.epochs} epochs, {name}",
            (
                Runner("fastadv", functools.partial(fastadv, problem)),
                Runner("numpy", functools.partial(numpy, problem)),
                Runner(limits.NAME, functools.partial(_products, problem)),
            ),
        )
        for name, problem in mnist_problems().items()
    ]
