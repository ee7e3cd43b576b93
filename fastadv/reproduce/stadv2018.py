"""Xiao et al., ICLR 2018, Table 1: the success of stAdv on three models of MNIST.

The paper attacks three convolutional networks, A, B and C, towards targets that it does not name,
with tau = 0.05 and L-BFGS. Ours are perceptrons of three widths, each attacked in the literal mode
(the last iterate counts), in the literal mode with the best iterate kept, and by our search, with
and without translations; untargeted and towards a random class.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from fastadv.arrays import Float64, Floats, Labels
from fastadv.datasets import load_dataset
from fastadv.experiment import test_rows
from fastadv.kernels.images import flow as kernels
from fastadv.kernels.network import loss
from fastadv.models.mlp import MLPClassifier
from fastadv.registry import make
from fastadv.results import EvasionResult
from fastadv.task import Task

WIDTHS = (32, 128, 512)
SAMPLES = 1000
TAU = 0.05
LITERAL_STEPS = 200  # evaluations; the paper does not say how many

# Table 1: the accuracy of a model, and the success of the attack, in %.
PUBLISHED = {"A": (98.58, 99.95), "B": (98.94, 99.98), "C": (99.11, 100.00)}

_LITERAL = f"tau={TAU},kappa=0,search=false,steps={LITERAL_STEPS}"
MODES = {
    "literal": f"stadv[{_LITERAL},keep=last]",
    "literal, best iterate": f"stadv[{_LITERAL}]",
    "search": "stadv[translation=true]",
    "search, no translation": "stadv[translation=false]",
}
TARGETS = ("none", "random")

Tell = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Outcome:
    """One attack on one model; shares and medians over the images that succeeded.

    Attributes
    ----------
    width : int
        Of the hidden layer.
    accuracy : float
        Of the model on the test images that were attacked.
    mode, target : str
        From `MODES` and `TARGETS`.
    success, flow_loss, flow_max, flow_mean, translation : float
        The last four NaN if nothing succeeded.
    """

    width: int
    accuracy: float
    mode: str
    target: str
    success: float
    flow_loss: float
    flow_max: float
    flow_mean: float
    translation: float


@dataclass(frozen=True)
class Example:
    """An image (H, W, C), its flow (2, H, W), the attacked image, and the labels of both."""

    image: Floats
    flow: Floats
    attacked: Floats
    labels: tuple[str, str]


@dataclass(frozen=True)
class Reproduction:
    """All outcomes, and why the literal mode falls short.

    Attributes
    ----------
    outcomes : list of Outcome
    idle : dict of (int, str) to float
        By width and target: the share of images for which no flow at all has a lower objective, at
        tau = 0.05, than the smallest deformation that we found to succeed.
    examples : list of Example
        Deformations of the widest model's first images, untargeted.
    """

    outcomes: list[Outcome]
    idle: dict[tuple[int, str], float]
    examples: list[Example]


def run(tell: Tell = lambda *_: None, samples: int = SAMPLES) -> Reproduction:
    """Run the experiment on the first ``samples`` of a fixed order of the test images.

    Parameters
    ----------
    tell : callable
        Called as ``tell(what, done, total)`` before each attack.
    """
    data = load_dataset("mnist")
    rows = test_rows(data, samples)
    X, y = data.x_test[rows], data.y_test[rows]
    outcomes: list[Outcome] = []
    idle, examples = {}, []
    total = len(WIDTHS) * len(TARGETS) * len(MODES)
    for width in WIDTHS:
        tell(f"training 784-{width}-10", len(outcomes), total)
        model = MLPClassifier((width,)).fit(data.x_train, data.y_train)
        for target in TARGETS:
            for mode, text in MODES.items():
                tell(f"784-{width}-10, {mode}", len(outcomes), total)
                attack = make("attack", f"{text[:-1]},target={target}]")
                result = attack.perturb(model, X, y, task=data.task)
                outcomes.append(_outcome(width, mode, target, result))
            # The last mode's flows are the smallest deformations that we know of.
            idle[width, target] = _idle_share(model, X, y, result)
            if width == WIDTHS[-1] and target == "none":
                examples = _examples(model, X, result, data.task)
    return Reproduction(outcomes, idle, examples)


def _outcome(width: int, mode: str, target: str, result: EvasionResult) -> Outcome:
    right, won = ~result.misclassified, result.is_adv  # the paper names no budget
    medians = {
        key: float(np.median(result.distances[key][won])) if won.any() else float("nan")
        for key in ("flow_loss", "flow_max", "flow_mean", "translation")
    }
    success = float(won[right].mean())
    return Outcome(width, float(right.mean()), mode, target, success, **medians)


def _examples(
    model: MLPClassifier, X: Floats, result: EvasionResult, task: Task, count: int = 2
) -> list[Example]:
    rows = np.flatnonzero(result.is_adv)[:count]
    labels = zip(model.predict(X[rows]), model.predict(result.x_adv[rows]), strict=True)
    return [
        Example(
            X[row].reshape(task.image_shape),
            result.details["flow"][row],
            result.x_adv[row].reshape(task.image_shape),
            (str(before), str(after)),
        )
        for row, (before, after) in zip(rows, labels, strict=True)
    ]


def _idle_share(model: MLPClassifier, X: Floats, y: Labels, result: EvasionResult) -> float:
    """Return how often the clean margin is below tau times the flow loss of the flow found.

    That flow sits on the boundary, so its objective is tau L_flow, in the paper's form; no flow
    has the margin of the clean image. Towards a target the margin is to the class that was reached.
    """
    won = result.is_adv
    flow = np.ascontiguousarray(result.details["flow"][won], dtype=np.float32)
    losses, nothing = np.empty(len(flow)), np.zeros_like(flow)
    kernels.add_pair_loss(flow, np.zeros(len(flow), np.float32), False, losses, nothing)
    reached = model.predict(result.x_adv[won]).astype(np.int64)
    margins: Float64 = np.empty(len(flow))
    rivals = np.empty(len(flow), dtype=np.int64)
    loss.margin(model.logits(X[won]), y[won], reached, margins, rivals)
    return float(np.mean(margins < TAU * losses))
