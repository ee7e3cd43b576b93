"""Mini-batch training of the perceptron, as one would write it in JAX, PyTorch and scikit-learn."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from fastadv.arrays import Float32
from fastadv.benchmarks.peers import NEEDS
from fastadv.benchmarks.race import Race, Runner, Work
from fastadv.datasets import Dataset, load_dataset
from fastadv.models.mlp import MLPClassifier
from fastadv.threads import thread_count


@dataclass(frozen=True)
class Problem:
    """A training run: logistic hidden layers, softmax, heavy-ball momentum 0.9, float32.

    The rate is constant on every side. Every runner starts from the same weights and draws its own
    order of the samples.
    """

    dataset: Dataset
    hidden: tuple[int, ...] = (128,)
    batch_size: int = 100
    learning_rate: float = 0.5
    epochs: int = 5

    def model(self) -> MLPClassifier:
        """Return ours, untrained."""
        return MLPClassifier(
            self.hidden,
            batch_size=self.batch_size,
            learning_rate="constant",
            learning_rate_init=self.learning_rate,
            max_iter=self.epochs,
            tol=None,
        )

    def initial_layers(self) -> list[tuple[Float32, Float32]]:
        """Return the first matrix and bias of each layer."""
        sizes = [self.dataset.x_train.shape[1], *self.hidden, self.dataset.task.n_classes]
        rng, layers = np.random.default_rng(0), []
        for n_in, n_out in zip(sizes[:-1], sizes[1:], strict=True):
            bound = np.sqrt(2 / (n_in + n_out))
            w = rng.uniform(-bound, bound, (n_in, n_out)).astype(np.float32)
            layers.append((w, np.zeros(n_out, np.float32)))
        return layers

    def accuracy(self, logits: Any) -> dict[str, float]:
        """Return the share of test images whose largest logit is their label's."""
        right = np.asarray(logits).argmax(axis=1) == self.dataset.y_test
        return {"test accuracy": float(right.mean())}


def fastadv(problem: Problem) -> Work:
    """Return ours."""
    data = problem.dataset

    def work() -> dict[str, float]:
        model = problem.model().fit(data.x_train, data.y_train)
        return problem.accuracy(model.logits(data.x_test))

    return work


def jax(problem: Problem) -> Work:
    """Return an epoch as one jitted ``lax.scan`` over batches, weights donated."""
    import jax
    import jax.numpy as jnp

    data, size = problem.dataset, problem.batch_size
    X, y = jnp.asarray(data.x_train), jnp.asarray(data.y_train)
    x_test = jnp.asarray(data.x_test)
    n_batches = len(X) // size

    def logits(layers: Any, x: Any) -> Any:
        for w, b in layers[:-1]:
            x = jax.nn.sigmoid(x @ w + b)
        return x @ layers[-1][0] + layers[-1][1]

    def loss(layers: Any, x: Any, labels: Any) -> Any:
        log_p = jax.nn.log_softmax(logits(layers, x))
        return -jnp.take_along_axis(log_p, labels[:, None], axis=1).mean()

    @partial(jax.jit, donate_argnums=0)
    def epoch(state: Any, order: Any) -> Any:
        def step(state: Any, rows: Any) -> Any:
            layers, velocity = state
            gradient = jax.grad(loss)(layers, X[rows], y[rows])
            velocity = jax.tree.map(
                lambda v, g: 0.9 * v - problem.learning_rate * g, velocity, gradient
            )
            return (jax.tree.map(jnp.add, layers, velocity), velocity), None

        return jax.lax.scan(step, state, order)[0]

    predict = jax.jit(logits)

    def work() -> dict[str, float]:
        rng = np.random.default_rng(1)
        layers = [(jnp.asarray(w), jnp.asarray(b)) for w, b in problem.initial_layers()]
        state = (layers, jax.tree.map(jnp.zeros_like, layers))
        for _ in range(problem.epochs):
            order = rng.permutation(len(X))[: n_batches * size].reshape(n_batches, size)
            state = epoch(state, jnp.asarray(order))
        return problem.accuracy(predict(state[0], x_test))

    return work


def torch(problem: Problem) -> Work:
    """Return the plain loop: autograd, SGD with fused multi-tensor updates."""
    import torch
    from torch import nn

    torch.set_num_threads(thread_count())
    data, size = problem.dataset, problem.batch_size
    X, y = torch.from_numpy(data.x_train), torch.from_numpy(data.y_train)
    x_test = torch.from_numpy(data.x_test)

    def work() -> dict[str, float]:
        parts: list[nn.Module] = []
        for w, b in problem.initial_layers():
            linear = nn.Linear(*w.shape)
            with torch.no_grad():
                linear.weight.copy_(torch.from_numpy(w.T))
                linear.bias.copy_(torch.from_numpy(b))
            parts += [linear, nn.Sigmoid()]
        network = nn.Sequential(*parts[:-1])
        optimizer = torch.optim.SGD(
            network.parameters(), lr=problem.learning_rate, momentum=0.9, foreach=True
        )
        torch.manual_seed(1)
        for _ in range(problem.epochs):
            for rows in torch.randperm(len(X)).split(size):
                optimizer.zero_grad(set_to_none=True)
                nn.functional.cross_entropy(network(X[rows]), y[rows]).backward()
                optimizer.step()
        with torch.no_grad():
            return problem.accuracy(network(x_test).numpy())

    return work


def sklearn(problem: Problem) -> Work:
    """Return scikit-learn's classifier, the drop-in that users know."""
    import warnings

    from sklearn.exceptions import ConvergenceWarning
    from sklearn.neural_network import MLPClassifier as Theirs

    data = problem.dataset

    def work() -> dict[str, float]:
        model = Theirs(
            problem.hidden, activation="logistic", solver="sgd", alpha=0.0, momentum=0.9,
            batch_size=problem.batch_size, learning_rate_init=problem.learning_rate,
            nesterovs_momentum=False, max_iter=problem.epochs, random_state=0,
        )  # fmt: skip
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            model.fit(data.x_train, data.y_train)
        return problem.accuracy(model.predict_proba(data.x_test))

    return work


PEERS: dict[str, Callable[[Problem], Work]] = {"jax": jax, "torch": torch, "scikit-learn": sklearn}


def mnist_problems() -> dict[str, Problem]:
    """Return the default perceptron, other batches and a deeper one, by name."""
    data = load_dataset("mnist")
    return {
        "784-128-10, batch 100": Problem(data),
        "784-128-10, batch 32": Problem(data, batch_size=32, learning_rate=0.2),
        "784-128-10, batch 1000": Problem(data, batch_size=1000, learning_rate=1.0),
        "784-512-256-10, batch 100": Problem(data, (512, 256), learning_rate=0.2),
    }


def races() -> list[Race]:
    """Return a race for each problem."""
    out = []
    for name, problem in mnist_problems().items():
        runners = [Runner("fastadv", partial(fastadv, problem))]
        runners += [
            Runner(peer, partial(prepare, problem), *NEEDS[peer]) for peer, prepare in PEERS.items()
        ]
        out.append(Race("peers", f"{problem.epochs} epochs, {name}", tuple(runners)))
    return out
