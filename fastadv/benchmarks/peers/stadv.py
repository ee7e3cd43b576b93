"""stAdv as one would write it in PyTorch and in JAX, with Adam: same model, images and flow loss.

A batch minimises the sum over its images of max(margin, 0) + tau L_flow, in 300 steps of Adam at
tau = 0.05; of all iterates of an image that succeed the one of least flow loss is kept. Each
library works in the batches that suit it best here, of 50, 100, 250 and 500. Ours takes as many
steps as it needs for the success and the median flow loss that they reach.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt

from fastadv.arrays import Float32, Float64, Floats, Labels
from fastadv.attacks.evasion.stadv import StAdv
from fastadv.benchmarks import limits
from fastadv.benchmarks.peers import NEEDS
from fastadv.benchmarks.race import Race, Runner, Work
from fastadv.datasets import load_dataset
from fastadv.kernels.images import flow
from fastadv.models.mlp import MLPClassifier
from fastadv.task import Task
from fastadv.threads import thread_count

STEPS, RATE, TAU, START = 300, 0.02, 0.05, 0.01
TORCH_BATCH, JAX_BATCH = 500, 100
ROOT_EPS = 1e-8  # under the root of the flow loss

# The steps after which ours is no worse than they are, with translations and without.
ENOUGH = 12


@dataclass(frozen=True)
class Problem:
    """A perceptron with one logistic hidden layer, and images (n, d) that it gets right."""

    model: MLPClassifier
    X: Float32
    y: Labels
    task: Task

    @property
    def weights(self) -> tuple[Float32, ...]:
        """W1 (d, h), b1, W2 (h, k), b2."""
        (w1, w2), (b1, b2) = self.model.coefs_, self.model.intercepts_
        return w1, b1, w2, b2

    def quality(self, field: Floats, found: npt.NDArray[np.bool_]) -> dict[str, float]:
        """Judge flows (n, 2, H, W) by our own warp, model and flow loss."""
        field = np.ascontiguousarray(field, dtype=np.float32)
        x_adv, losses = np.empty_like(self.X), np.empty(len(field))
        flow.warp(self.X, field, 1, x_adv)
        flow.flow_loss(field, losses)
        won = found & (self.model.predict(x_adv) != self.y)
        length = np.hypot(field[:, 0], field[:, 1])
        return _summary(won, losses, length.max(axis=(1, 2)), length.mean(axis=(1, 2)))


def _summary(
    won: npt.NDArray[np.bool_], losses: Float64, largest: Floats, mean: Floats
) -> dict[str, float]:
    return {
        "success": float(won.mean()),
        "flow loss": float(np.median(losses[won])),
        "largest shift": float(np.median(largest[won])),
        "mean shift": float(np.median(mean[won])),
    }


def mnist_problem(samples: int = 1000) -> Problem:
    """Return the default perceptron and the first of a random order of the test images."""
    data = load_dataset("mnist")
    model = MLPClassifier().fit(data.x_train, data.y_train)
    rows = np.random.default_rng(0).permutation(len(data.x_test))
    right = rows[model.predict(data.x_test[rows]) == data.y_test[rows]][:samples]
    return Problem(model, data.x_test[right], data.y_test[right], data.task)


def fastadv(problem: Problem, attack: StAdv) -> Work:
    """Return ours, as a user calls it."""

    def work() -> dict[str, float]:
        result = attack.perturb(problem.model, problem.X, problem.y, task=problem.task)
        distances = (result.distances[key] for key in ("flow_loss", "flow_max", "flow_mean"))
        return _summary(result.is_adv, *distances)

    return work


def torch(problem: Problem, batch: int = TORCH_BATCH) -> Work:
    """Return autograd, ``grid_sample`` and ``torch.optim.Adam``."""
    import torch

    torch.set_num_threads(thread_count())
    w1, b1, w2, b2 = (torch.from_numpy(array) for array in problem.weights)
    height, width, _ = problem.task.image_shape
    base = torch.stack(
        torch.meshgrid(torch.arange(width), torch.arange(height), indexing="xy"), dim=-1
    ).float()
    unit = torch.tensor([2.0 / (width - 1), 2.0 / (height - 1)])

    def attack(x: Any, y: Any) -> tuple[Any, Any]:
        n = len(x)
        images = x.reshape(n, 1, height, width)
        field = torch.empty(n, height, width, 2).uniform_(-START, START).requires_grad_()
        adam = torch.optim.Adam([field], lr=RATE)
        best, best_loss = torch.zeros_like(field), torch.full((n,), torch.inf)
        own = torch.nn.functional.one_hot(y, w2.shape[1]).bool()
        for step in range(STEPS + 1):
            with torch.set_grad_enabled(step < STEPS):
                grid = (base + field) * unit - 1
                warped = torch.nn.functional.grid_sample(
                    images, grid, padding_mode="border", align_corners=True
                ).reshape(n, -1)
                logits = torch.sigmoid(warped @ w1 + b1) @ w2 + b2
                margin = logits[own] - logits.masked_fill(own, -torch.inf).amax(dim=1)
                down = torch.nn.functional.pad(field[:, 1:] - field[:, :-1], (0, 0, 0, 0, 0, 1))
                right = torch.nn.functional.pad(field[:, :, 1:] - field[:, :, :-1], (0, 0, 0, 1))
                square = (down**2 + right**2).sum(dim=-1)
                flow_loss = (square + ROOT_EPS).sqrt().sum(dim=(1, 2))
            with torch.no_grad():
                better = (margin < 0) & (flow_loss < best_loss)
                best_loss = torch.where(better, flow_loss, best_loss)
                best = torch.where(better[:, None, None, None], field, best)
            if step < STEPS:
                adam.zero_grad()
                (margin.clamp(min=0) + TAU * flow_loss).sum().backward()
                adam.step()
        return best, torch.isfinite(best_loss)

    X, y = torch.from_numpy(problem.X), torch.from_numpy(problem.y)

    def work() -> dict[str, float]:
        torch.manual_seed(0)
        parts = [attack(*pair) for pair in zip(X.split(batch), y.split(batch), strict=True)]
        field = torch.cat([best for best, _ in parts]).permute(0, 3, 1, 2).numpy()
        return problem.quality(field, torch.cat([found for _, found in parts]).numpy())

    return work


def jax_warp(height: int, width: int) -> Callable[[Any, Any], Any]:
    """Return the warp of an image (H W,) by a flow (2, H, W), in JAX."""
    import jax.numpy as jnp

    rows, columns = jnp.mgrid[:height, :width]

    def warp(image: Any, field: Any) -> Any:
        y = jnp.clip(rows + field[1], 0, height - 1)
        x = jnp.clip(columns + field[0], 0, width - 1)
        y0 = jnp.minimum(y.astype(int), height - 2)
        x0 = jnp.minimum(x.astype(int), width - 2)
        a, b, k = y - y0, x - x0, y0 * width + x0
        top = (1 - b) * image[k] + b * image[k + 1]
        return ((1 - a) * top + a * ((1 - b) * image[k + width] + b * image[k + width + 1])).ravel()

    return warp


def jax(problem: Problem, batch: int = JAX_BATCH) -> Work:
    """Return all steps of a batch as one jitted loop; the last batch is filled up with images."""
    import jax
    import jax.numpy as jnp

    height, width, _ = problem.task.image_shape

    warp = jax_warp(height, width)

    def objective(field: Any, weights: Any, images: Any, y: Any) -> Any:
        w1, b1, w2, b2 = weights
        logits = jax.nn.sigmoid(jax.vmap(warp)(images, field) @ w1 + b1) @ w2 + b2
        own = jax.nn.one_hot(y, w2.shape[1], dtype=bool)
        margin = jnp.where(own, logits, 0).sum(1) - jnp.where(own, -jnp.inf, logits).max(1)
        down = jnp.diff(field, axis=2, append=field[:, :, -1:])
        right = jnp.diff(field, axis=3, append=field[:, :, :, -1:])
        flow_loss = jnp.sqrt((down**2 + right**2).sum(1) + ROOT_EPS).sum((1, 2))
        return (jnp.maximum(margin, 0) + TAU * flow_loss).sum(), (margin, flow_loss)

    def attack(weights: Any, images: Any, y: Any, field: Any) -> Any:
        def keep(field: Any, seen: Any, best: Any, best_loss: Any) -> Any:
            margin, flow_loss = seen
            better = (margin < 0) & (flow_loss < best_loss)
            best = jnp.where(better[:, None, None, None], field, best)
            return best, jnp.where(better, flow_loss, best_loss)

        def step(t: Any, state: Any) -> Any:
            field, mean, square, best, best_loss = state
            gradient, seen = jax.grad(objective, has_aux=True)(field, weights, images, y)
            best, best_loss = keep(field, seen, best, best_loss)
            mean, square = 0.9 * mean + 0.1 * gradient, 0.999 * square + 0.001 * gradient**2
            unbiased = mean / (1 - 0.9 ** (t + 1.0)), square / (1 - 0.999 ** (t + 1.0))
            field = field - RATE * unbiased[0] / (jnp.sqrt(unbiased[1]) + 1e-8)
            return field, mean, square, best, best_loss

        nothing, infinite = jnp.zeros_like(field), jnp.full(len(images), jnp.inf)
        start = (field, nothing, nothing, nothing, infinite)
        field, _, _, best, best_loss = jax.lax.fori_loop(0, STEPS, step, start)
        return keep(field, objective(field, weights, images, y)[1], best, best_loss)

    compiled, n, weights = jax.jit(attack), len(problem.X), problem.weights
    order = np.arange(-(-n // batch) * batch) % n

    def work() -> dict[str, float]:
        rng, parts = np.random.default_rng(0), []
        for some in order.reshape(-1, batch):
            first = rng.uniform(-START, START, (batch, 2, height, width)).astype(np.float32)
            found = compiled(weights, problem.X[some], problem.y[some], first)
            parts.append([np.asarray(array) for array in found])
        field, losses = (np.concatenate(arrays)[:n] for arrays in zip(*parts, strict=True))
        return problem.quality(field, np.isfinite(losses))

    return work


PEERS: dict[str, Callable[[Problem], Work]] = {"torch": torch, "jax": jax}


def races() -> list[Race]:
    """Return the races: with translations, as theirs may move, and without."""
    problem, out = mnist_problem(), []
    for name, attack in (
        ("stadv", StAdv(steps=ENOUGH, translation=True)),
        ("stadv, no translation", StAdv(steps=ENOUGH)),
    ):
        runners = [Runner("fastadv", partial(fastadv, problem, attack))]
        runners += [
            Runner(peer, partial(prepare, problem), *NEEDS[peer]) for peer, prepare in PEERS.items()
        ]
        passes = attack.steps + 1
        bare = partial(limits.attack_products, problem.weights[::2], problem.X, passes, passes)
        runners.append(Runner(limits.NAME, bare))
        out.append(Race("peers", f"{name}, 1,000 digits", tuple(runners)))
    return out
