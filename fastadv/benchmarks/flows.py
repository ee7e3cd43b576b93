"""How near stadv's flows are to the least ones, and how much faster than Adam they are found.

On four networks ours stands beside the best that several starts of a patient Adam find for each
image (`fastadv.benchmarks.flow_adam`), and, where JAX is installed, beside the least work of that
same Adam in JAX that comes as near.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import NamedTuple

import msgspec
import numpy as np

from fastadv.arrays import Float64
from fastadv.attacks.evasion.base import CHUNK
from fastadv.attacks.evasion.flow_problem import FlowProblem
from fastadv.attacks.evasion.stadv import StAdv
from fastadv.benchmarks import flow_adam
from fastadv.benchmarks.peers import NEEDS, flows
from fastadv.benchmarks.peers.stadv import Problem
from fastadv.benchmarks.race import absent
from fastadv.datasets import load_dataset
from fastadv.protocols import RobustTraining
from fastadv.registry import make
from fastadv.threads import map_chunks

MEDIAN, NINETY, SUCCESS, TIMES = 1.03, 1.06, 0.995, 15.0  # what is aimed at
SAMPLES, STEPS, STARTS = 200, 1500, 3
# Steps and starts of Adam, from the least work to the most.
LADDER = (
    (100, 1), (200, 1), (300, 1), (500, 1), (300, 2), (500, 2), (500, 3), (1000, 2), (1000, 3),
    (1500, 3),
)  # fmt: skip
FASHION = "/usr/share/datasets/fashion-mnist"  # Debian's dataset-fashion-mnist


class Net(NamedTuple):
    """A network to attack, by specs."""

    name: str
    dataset: str
    model: str
    defense: str = "none"


NETS = (
    Net("MNIST, logistic", "mnist", "mlp"),
    Net("Fashion, logistic", FASHION, "mlp"),
    Net("Fashion, relu", FASHION, "mlp[activation=relu,learning_rate_init=0.1]"),
    Net("adv_training, relu", "mnist", "mlp[activation=relu,learning_rate_init=0.1]",
        "adv_training"),
)  # fmt: skip


class Judged(msgspec.Struct, kw_only=True):
    """Ours beside the best known flows of one network.

    Attributes
    ----------
    net : str
    n : int
        Test images, all of them right before.
    median, ninety : float or None
        Our flow loss over the best one: the median, and what nine tenths of the images are within.
        An image on which only ours fails counts as infinite.
    success, best_success : float or None
    seconds : float or None
        Ours, for all images; the median of the rounds.
    peer_seconds : float or None
        JAX with ``peer_steps`` steps of Adam from each of ``peer_starts`` starts, the least that
        are no further from the best in the median and in nine tenths, or all that were tried.
    matched : bool
        Whether those are as near.
    reason : str or None
        What is not installed.
    """

    net: str
    n: int = 0
    median: float | None = None
    ninety: float | None = None
    success: float | None = None
    best_success: float | None = None
    seconds: float | None = None
    peer_seconds: float | None = None
    peer_steps: int | None = None
    peer_starts: int | None = None
    matched: bool = False
    reason: str | None = None

    @property
    def times(self) -> float | None:
        """How many times as fast ours is."""
        return self.peer_seconds / self.seconds if self.peer_seconds and self.seconds else None

    @property
    def short(self) -> list[str]:
        """What falls short of the aim, by the names of the figures."""
        out = []
        if self.median is not None and self.median > MEDIAN:
            out.append("median")
        if self.ninety is not None and self.ninety > NINETY:
            out.append("ninety")
        if self.success is not None and self.best_success == 1 and self.success < SUCCESS:
            out.append("success")
        if self.times is not None and self.times < TIMES:
            out.append("times")
        return out


def judge_all(only: str = "", rounds: int = 3) -> Iterator[Judged]:
    """Yield what came of each network whose name contains ``only``."""
    for net in NETS:
        if only.lower() in net.name.lower():
            if net.dataset == FASHION and not Path(FASHION).is_dir():
                reason = f"{FASHION} is not there: apt-get install dataset-fashion-mnist"
                yield Judged(net=net.name, reason=reason)
            else:
                yield judge(net.name, problem(net, SAMPLES), rounds)


def problem(net: Net, samples: int) -> Problem:
    """Train the network; return it with test images, in a fixed order, that it gets right."""
    data, model = load_dataset(net.dataset), make("model", net.model)
    if net.defense == "none":
        model.fit(data.x_train, data.y_train)
    else:
        defense: RobustTraining = make("defense", net.defense)
        model = defense.fit(model, data.x_train, data.y_train, task=data.task, seed=0)
    rows = np.random.default_rng(0).permutation(len(data.x_test))
    right = rows[model.predict(data.x_test[rows]) == data.y_test[rows]][:samples]
    return Problem(model, data.x_test[right], data.y_test[right], data.task)


def judge(
    name: str, posed: Problem, rounds: int = 3, *, steps: int = STEPS, starts: int = STARTS
) -> Judged:
    """Attack the images of one problem in all ways."""
    best, ours = best_known(posed, steps, starts), partial(_ours, posed)
    found = ours()
    median, ninety = nearness(found, best)
    out = Judged(
        net=name, n=len(best), median=median, ninety=ninety,
        success=float(np.isfinite(found).mean()), best_success=float(np.isfinite(best).mean()),
        reason=absent(*NEEDS["jax"]),
    )  # fmt: skip
    works: list[Callable[[], Float64]] = [ours]
    if out.reason is None:
        peer = flows.jax(posed)
        for out.peer_steps, out.peer_starts in LADDER:
            theirs = nearness(peer(out.peer_steps, out.peer_starts), best)
            out.matched = theirs[0] <= max(median, 1.0) and theirs[1] <= max(ninety, 1.0)
            if out.matched:
                break
        works.append(partial(peer, out.peer_steps or 0, out.peer_starts or 0))
    seconds = [[_seconds(work) for work in works] for _ in range(rounds)]
    out.seconds = statistics.median(row[0] for row in seconds)
    if len(works) > 1:
        out.peer_seconds = statistics.median(row[1] for row in seconds)
    return out


def nearness(losses: Float64, best: Float64) -> tuple[float, float]:
    """Return the median of the losses over the best ones, and what nine tenths are within."""
    known = np.isfinite(best)
    ratios = losses[known] / best[known]
    return float(np.median(ratios)), float(np.quantile(ratios, 0.9, method="inverted_cdf"))


def best_known(posed: Problem, steps: int, starts: int) -> Float64:
    """Return for each image the least loss of several starts of Adam; infinite without success."""

    def search(start: int, stop: int) -> Float64:
        x, y = posed.X[start:stop], posed.y[start:stop]
        aim = FlowProblem(posed.model, x, y, None, posed.task, 0.0)
        found = [flow_adam.least_flow(aim, steps=steps, seed=seed).loss for seed in range(starts)]
        least: Float64 = np.min(found, axis=0)
        return least

    return np.concatenate(map_chunks(search, len(posed.X), min(CHUNK, 50)))


def _ours(posed: Problem) -> Float64:
    result = StAdv().perturb(posed.model, posed.X, posed.y, task=posed.task)
    losses: Float64 = np.where(result.is_adv, result.distances["flow_loss"], np.inf)
    return losses


def _seconds(work: Callable[[], Float64]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start
