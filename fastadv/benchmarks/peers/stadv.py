"""stAdv beside Adam in PyTorch and in JAX: the same model, images, flow loss and threads.

The peers are what a user would write: the sum over a batch of max(margin, 0) + tau L_flow, 300
steps of Adam at a fixed tau, the best iterate of each image kept. Ours takes the fewest steps whose
success and median flow are no worse than theirs. Run it with

    python -m fastadv.benchmarks.peers.stadv
"""

from __future__ import annotations

import argparse
import functools
import os
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from fastadv.grid.registry import make_attack
from fastadv.protocols import Float32, Floats, Labels

ROOT_EPS = 1e-8


@dataclass(frozen=True)
class Quality:
    """What an attack reached on images that were classified right: medians over successes."""

    success: float
    flow_loss: float
    largest_shift: float
    mean_shift: float

    def reaches(self, other: Quality) -> bool:
        """Return whether neither success nor flow is worse than the other's."""
        return self.success >= other.success and self.flow_loss <= other.flow_loss


@dataclass(frozen=True)
class Problem:
    """A perceptron with one hidden logistic layer, and images (n, H W) of label y."""

    model: Any
    X: Float32
    y: Labels
    height: int
    width: int

    @property
    def weights(self) -> list[Float32]:
        """W1 (d, h), b1, W2 (h, k), b2."""
        (w1, w2), (b1, b2) = self.model.coefs_, self.model.intercepts_
        return [np.ascontiguousarray(array) for array in (w1, b1, w2, b2)]


@dataclass(frozen=True)
class Run:
    """What an attack reached, and the seconds that it alone took."""

    quality: Quality
    seconds: float


def quality(problem: Problem, flow: Floats, found: npt.NDArray[np.bool_]) -> Quality:
    """Judge flows (n, 2, H, W) by our own warp, model and flow loss, whoever found them."""
    from fastadv.kernels import flow as kernels

    flow = np.ascontiguousarray(flow, dtype=np.float32)
    x_adv, losses = np.empty_like(problem.X), np.empty(len(flow))
    kernels.warp(problem.X, flow, 1, x_adv)
    kernels.flow_loss(flow, losses)
    won = found & (problem.model.predict(x_adv) != problem.y)
    if not won.any():
        return Quality(0.0, np.inf, np.inf, np.inf)
    length = np.hypot(flow[won, 0], flow[won, 1])
    return Quality(
        success=float(won.mean()),
        flow_loss=float(np.median(losses[won])),
        largest_shift=float(np.median(length.max(axis=(1, 2)))),
        mean_shift=float(np.median(length.mean(axis=(1, 2)))),
    )


def ours(problem: Problem, text: str) -> Run:
    """Attack with fastadv's ``stadv``, as a user calls it."""
    from fastadv.protocols import Task

    task = Task((problem.height, problem.width, 1), n_classes=len(problem.model.classes_))
    attack, start = make_attack(text), time.perf_counter()
    result = attack.perturb(problem.model, problem.X, problem.y, task=task)
    seconds = time.perf_counter() - start
    return Run(quality(problem, result.details["flow"], result.success), seconds)


def torch_adam(
    problem: Problem, batch: int, steps: int = 300, rate: float = 0.02, tau: float = 0.05
) -> Run:
    """Attack in PyTorch: autograd, ``grid_sample`` and ``torch.optim.Adam``."""
    import torch

    w1, b1, w2, b2 = (torch.from_numpy(array) for array in problem.weights)
    height, width = problem.height, problem.width
    base = torch.stack(
        torch.meshgrid(torch.arange(width), torch.arange(height), indexing="xy"), dim=-1
    ).float()
    unit = torch.tensor([2.0 / (width - 1), 2.0 / (height - 1)])

    def attack(x: Any, y: Any) -> tuple[Any, Any]:
        n = len(x)
        images = x.reshape(n, 1, height, width)
        flow = torch.empty(n, height, width, 2).uniform_(-0.01, 0.01).requires_grad_()
        adam = torch.optim.Adam([flow], lr=rate)
        best, best_loss = torch.zeros_like(flow), torch.full((n,), torch.inf)
        own = torch.nn.functional.one_hot(y, w2.shape[1]).bool()
        for step in range(steps + 1):
            with torch.set_grad_enabled(step < steps):
                grid = (base + flow) * unit - 1
                warped = torch.nn.functional.grid_sample(
                    images, grid, padding_mode="border", align_corners=True
                ).reshape(n, -1)
                logits = torch.sigmoid(warped @ w1 + b1) @ w2 + b2
                margin = logits[own] - logits.masked_fill(own, -torch.inf).amax(dim=1)
                down = torch.nn.functional.pad(flow[:, 1:] - flow[:, :-1], (0, 0, 0, 0, 0, 1))
                right = torch.nn.functional.pad(flow[:, :, 1:] - flow[:, :, :-1], (0, 0, 0, 1))
                square = (down**2 + right**2).sum(dim=-1)
                flow_loss = (square + ROOT_EPS).sqrt().sum(dim=(1, 2))
            with torch.no_grad():
                better = (margin < 0) & (flow_loss < best_loss)
                best_loss = torch.where(better, flow_loss, best_loss)
                best = torch.where(better[:, None, None, None], flow, best)
            if step < steps:
                adam.zero_grad()
                (margin.clamp(min=0) + tau * flow_loss).sum().backward()
                adam.step()
        return best, torch.isfinite(best_loss)

    torch.manual_seed(0)
    began = time.perf_counter()
    X, y = torch.from_numpy(problem.X), torch.from_numpy(problem.y)
    parts = [attack(X[s : s + batch], y[s : s + batch]) for s in range(0, len(X), batch)]
    seconds = time.perf_counter() - began
    flow = torch.cat([best for best, _ in parts]).permute(0, 3, 1, 2).numpy()
    found = torch.cat([found for _, found in parts]).numpy()
    return Run(quality(problem, flow, found), seconds)


def jax_adam(
    problem: Problem, batch: int, steps: int = 300, rate: float = 0.02, tau: float = 0.05
) -> Run:
    """Attack in JAX: all steps in one compiled loop. The last batch is filled up with images."""
    attack = _jax_attack(problem.height, problem.width, steps, rate, tau)
    n, weights = len(problem.X), tuple(problem.weights)
    rows = np.arange(-(-n // batch) * batch) % n
    shape = (len(rows), 2, problem.height, problem.width)
    first = np.random.default_rng(0).uniform(-0.01, 0.01, shape).astype(np.float32)
    began, parts = time.perf_counter(), []
    for start in range(0, len(rows), batch):
        some = rows[start : start + batch]
        found = attack(weights, problem.X[some], problem.y[some], first[start : start + batch])
        parts.append([np.asarray(array) for array in found])
    seconds = time.perf_counter() - began
    flow, losses = (np.concatenate(arrays)[:n] for arrays in zip(*parts, strict=True))
    return Run(quality(problem, flow, np.isfinite(losses)), seconds)


_JAX_ATTACKS: dict[tuple[Any, ...], Callable[..., Any]] = {}


def _jax_attack(height: int, width: int, steps: int, rate: float, tau: float) -> Callable[..., Any]:
    """Return the attack on a batch, compiled once for each setting."""
    key = (height, width, steps, rate, tau)
    if key not in _JAX_ATTACKS:
        _JAX_ATTACKS[key] = _make_jax_attack(*key)
    return _JAX_ATTACKS[key]


def _make_jax_attack(
    height: int, width: int, steps: int, rate: float, tau: float
) -> Callable[..., Any]:
    import jax
    import jax.numpy as jnp

    rows, columns = jnp.mgrid[:height, :width]

    def warp(image: Any, flow: Any) -> Any:
        y = jnp.clip(rows + flow[1], 0, height - 1)
        x = jnp.clip(columns + flow[0], 0, width - 1)
        y0 = jnp.minimum(y.astype(int), height - 2)
        x0 = jnp.minimum(x.astype(int), width - 2)
        a, b, k = y - y0, x - x0, y0 * width + x0
        top = (1 - b) * image[k] + b * image[k + 1]
        return ((1 - a) * top + a * ((1 - b) * image[k + width] + b * image[k + width + 1])).ravel()

    def objective(flow: Any, weights: Any, images: Any, y: Any) -> Any:
        w1, b1, w2, b2 = weights
        logits = jax.nn.sigmoid(jax.vmap(warp)(images, flow) @ w1 + b1) @ w2 + b2
        own = jax.nn.one_hot(y, w2.shape[1], dtype=bool)
        margin = jnp.where(own, logits, 0).sum(1) - jnp.where(own, -jnp.inf, logits).max(1)
        down = jnp.diff(flow, axis=2, append=flow[:, :, -1:])
        right = jnp.diff(flow, axis=3, append=flow[:, :, :, -1:])
        flow_loss = jnp.sqrt((down**2 + right**2).sum(1) + ROOT_EPS).sum((1, 2))
        return (jnp.maximum(margin, 0) + tau * flow_loss).sum(), (margin, flow_loss)

    def attack(weights: Any, images: Any, y: Any, flow: Any) -> Any:
        def keep(flow: Any, seen: Any, best: Any, best_loss: Any) -> Any:
            margin, flow_loss = seen
            better = (margin < 0) & (flow_loss < best_loss)
            best = jnp.where(better[:, None, None, None], flow, best)
            return best, jnp.where(better, flow_loss, best_loss)

        def step(t: Any, state: Any) -> Any:
            flow, mean, square, best, best_loss = state
            gradient, seen = jax.grad(objective, has_aux=True)(flow, weights, images, y)
            best, best_loss = keep(flow, seen, best, best_loss)
            mean, square = 0.9 * mean + 0.1 * gradient, 0.999 * square + 0.001 * gradient**2
            unbiased = mean / (1 - 0.9 ** (t + 1.0)), square / (1 - 0.999 ** (t + 1.0))
            flow = flow - rate * unbiased[0] / (jnp.sqrt(unbiased[1]) + 1e-8)
            return flow, mean, square, best, best_loss

        nothing, infinite = jnp.zeros_like(flow), jnp.full(len(images), jnp.inf)
        start = (flow, nothing, nothing, nothing, infinite)
        flow, _, _, best, best_loss = jax.lax.fori_loop(0, steps, step, start)
        return keep(flow, objective(flow, weights, images, y)[1], best, best_loss)

    return jax.jit(attack)  # type: ignore[no-any-return]


# -- the comparison -------------------------------------------------------------------------------


def mnist_problem(n: int) -> Problem:
    """Return the 784-128-10 logistic perceptron and ``n`` test images that it gets right."""
    from fastadv.datasets import load_dataset
    from fastadv.models.mlp import MLPClassifier

    data = load_dataset("mnist")
    model = MLPClassifier().fit(data.x_train, data.y_train)
    rows = np.random.default_rng(0).permutation(len(data.x_test))
    right = rows[model.predict(data.x_test[rows]) == data.y_test[rows]][:n]
    height, width, _ = data.task.image_shape
    return Problem(model, data.x_test[right], data.y_test[right], height, width)


def fewest_steps(problem: Problem, text: str, goal: Quality) -> str:
    """Return the spec with the smallest number of steps that reaches the goal."""
    for steps in range(4, 61):
        spec = text.replace("]", ",") if text.endswith("]") else f"{text}["
        spec = f"{spec}steps={steps}]"
        if ours(problem, spec).quality.reaches(goal):
            return spec
    raise RuntimeError(f"{text} does not reach {goal} within 60 steps")


def product_seconds(problem: Problem, evaluations: float) -> float:
    """Return the time of both products with the first layer's matrix, in our tiles and threads."""
    from fastadv.kernels.dense import TILE
    from fastadv.threads import map_chunks

    w = problem.weights[0]

    def products(start: int, stop: int) -> None:
        hidden, back = (
            np.empty((TILE, w.shape[1]), np.float32),
            np.empty((TILE, len(w)), np.float32),
        )
        for _ in range(start, stop):
            np.dot(problem.X[:TILE], w, out=hidden)
            np.dot(hidden, w.T, out=back)

    tiles = round(evaluations / TILE)
    start = time.perf_counter()
    map_chunks(products, tiles, -(-tiles // 16))
    return time.perf_counter() - start


def _best_batch(attack: Callable[[int], Run]) -> int:
    """Return the batch size of the shortest run, compilation apart."""
    taken = {}
    for batch in (50, 100, 250, 500):
        attack(batch)
        taken[batch] = min(attack(batch).seconds for _ in range(2))
    return min(taken, key=lambda batch: taken[batch])


def main() -> None:
    """Print quality and times, in turns, each peer at the batch size that suits it best."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--samples", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    if options.threads == 1:
        os.environ["XLA_FLAGS"] = "--xla_cpu_multi_thread_eigen=false"
    import torch

    from fastadv.threads import set_threads

    set_threads(options.threads)
    torch.set_num_threads(options.threads)
    problem = mnist_problem(options.samples)
    few = replace(problem, X=problem.X[:500], y=problem.y[:500])
    torch_batch = _best_batch(lambda batch: torch_adam(few, batch, steps=20))
    jax_batch = _best_batch(lambda batch: jax_adam(few, batch, steps=20))
    peers: dict[str, Callable[[], Run]] = {
        f"PyTorch, batches of {torch_batch}": lambda: torch_adam(problem, torch_batch),
        f"JAX, batches of {jax_batch}": lambda: jax_adam(problem, jax_batch),
    }
    reached = [attack().quality for attack in peers.values()]  # JAX compiles here
    goal = Quality(max(q.success for q in reached), min(q.flow_loss for q in reached), 0.0, 0.0)
    specs = [fewest_steps(problem, text, goal) for text in ("stadv", "stadv[translation=false]")]
    work = peers | {text: functools.partial(ours, problem, text) for text in (*specs, "stadv")}
    runs: dict[str, list[Run]] = {name: [] for name in work}
    for _ in range(options.rounds):
        for name, attack in work.items():
            time.sleep(0.5)  # the threads of PyTorch go on spinning for a while
            runs[name].append(attack())
    seconds = {name: statistics.median(run.seconds for run in runs[name]) for name in work}
    print(f"{len(problem.X)} images, medians over rounds and over successes")
    for name, (run, *_) in runs.items():
        print(_line(problem, name, run.quality, seconds[name], [seconds[peer] for peer in peers]))


def _line(problem: Problem, name: str, reached: Quality, seconds: float, peers: list[float]) -> str:
    line = (
        f"{name:34} {seconds:7.3f} s  success {reached.success:7.2%}  flow loss "
        f"{reached.flow_loss:5.2f}  largest shift {reached.largest_shift:.2f}  "
        f"mean {reached.mean_shift:.2f}"
    )
    if not name.startswith("stadv"):
        return line
    steps = make_attack(name).steps
    products = product_seconds(problem, len(problem.X) * (steps + 1))
    return (
        f"{line}  {peers[0] / seconds:.1f} and {peers[1] / seconds:.1f} times as fast, "
        f"{seconds / products:.1f} times its two products"
    )


if __name__ == "__main__":
    main()
