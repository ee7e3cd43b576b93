"""Munoz-Gonzalez et al., AISec 2017, section 4.2: poisoned softmax regression on MNIST.

Error-generic: 1,000 images to train on, 1,000 to attack by, 8,000 to test on, up to 60 points with
random wrong labels. Error-specific: 1,000, 4,000 and 5,000, up to 40 points, and 8s are to be taken
for 3s. Training is 60 full-batch steps, and the attack differentiates through all of them; the
paper leaves the rate open, and we take heavy ball with momentum 0.9 at a rate of 0.1, with which
60 steps are enough (without momentum they stop at a clean error of 17 %).

The paper has no perceptron on MNIST. The third experiment is ours: 1 against 7, 10 tanh units, 100
images to train on, 400 to attack by, 200 plain full-batch steps.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from fastadv.arrays import Float64
from fastadv.datasets import Dataset, load_dataset
from fastadv.models.mlp import MLPClassifier
from fastadv.registry import make
from fastadv.results import PoisonResult
from fastadv.threads import map_chunks

Tell = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Experiment:
    """A model, the data, and the attack at several numbers of points.

    Attributes
    ----------
    title, dataset : str
        ``dataset`` is a spec, without its split.
    hidden : tuple of int
    learning_rate, momentum : float
    steps : int
        Full-batch steps of training.
    attack : str
        Parameters of `biggio` beside the number of points.
    points : tuple of int
    splits : int
    digit : int or None
        The class whose test error is shown; None: the error over all.
    published : dict
        By number of points, what the paper's figures say, in %.
    """

    title: str
    dataset: str
    hidden: tuple[int, ...]
    learning_rate: float
    momentum: float
    steps: int
    attack: str
    points: tuple[int, ...]
    splits: int
    digit: int | None = None
    published: dict[int, str] = field(default_factory=dict)

    def model(self) -> MLPClassifier:
        """Return the untrained model."""
        return MLPClassifier(
            self.hidden, "tanh", batch_size=1_000_000, learning_rate="constant",
            learning_rate_init=self.learning_rate, momentum=self.momentum, max_iter=self.steps,
            tol=None,
        )  # fmt: skip

    def error(self, data: Dataset, result: PoisonResult | None) -> float:
        """Train on the poisoned set, or on the clean one, and return the test error in %."""
        X, y = (data.x_train, data.y_train) if result is None else (result.X, result.y)
        wrong = self.model().fit(X, y).predict(data.x_test) != data.y_test
        judged = slice(None) if self.digit is None else data.y_test == self.digit
        return 100.0 * float(np.mean(wrong[judged]))


GENERIC = Experiment(
    "softmax regression, any error", "mnist[train=1000,val=1000,test=8000]", (), 0.1, 0.9, 60,
    "labels=random,restarts=1", (20, 40, 60), 3, published={60: "about twice the clean error"},
)  # fmt: skip
SPECIFIC = Experiment(
    "softmax regression, 8 as 3: the error of 8s", "mnist[train=1000,val=4000,test=5000]", (), 0.1,
    0.9, 60, "objective=8-3,restarts=1", (10, 20, 40), 3, digit=8,
    published={0: "20", 40: "50"},
)  # fmt: skip
PERCEPTRON = Experiment(
    "perceptron, 1 against 7", "mnist[classes=1-7,train=100,val=400]", (10,), 0.3, 0.0, 200,
    "restarts=2", (1, 2, 4, 6), 5,
)  # fmt: skip
EXPERIMENTS = (GENERIC, SPECIFIC, PERCEPTRON)


@dataclass(frozen=True)
class Curve:
    """What came of an experiment.

    Attributes
    ----------
    points : tuple of int
        0 first.
    error, flipped : ndarray of shape (splits, len(points))
        The test error in %, with the points optimised, and with as many random flips.
    """

    experiment: Experiment
    points: tuple[int, ...]
    error: Float64
    flipped: Float64


def run(
    tell: Tell = lambda *_: None, experiments: tuple[Experiment, ...] = EXPERIMENTS
) -> list[Curve]:
    """Run the experiments; ``tell(what, done, total)`` is called before each split."""
    total, done, curves = sum(experiment.splits for experiment in experiments), 0, []
    for experiment in experiments:
        error = np.empty((2, experiment.splits, 1 + len(experiment.points)))
        for split in range(experiment.splits):
            tell(experiment.title, done, total)
            error[:, split] = _errors(experiment, split)
            done += 1
        curves.append(Curve(experiment, (0, *experiment.points), *error))
    tell("", total, total)
    return curves


def _errors(experiment: Experiment, split: int) -> Float64:
    """Return the errors of one split, (2, 1 + points): optimised and flipped."""
    data = load_dataset(f"{experiment.dataset[:-1]},split={split}]")

    def poison(text: str) -> PoisonResult:
        return make("attack", text).poison(  # type: ignore[no-any-return]
            experiment.model(), data.x_train, data.y_train, data.x_val, data.y_val,
            task=data.task, seed=split,
        )  # fmt: skip

    texts = [f"biggio[points={k},{experiment.attack}]" for k in experiment.points]
    optimised = map_chunks(lambda start, _: poison(texts[start]), len(texts), 1)
    flipped = [poison(f"label_flip[points={k}]") for k in experiment.points]
    kinds = (None, *optimised), (None, *flipped)
    return np.array([[experiment.error(data, result) for result in kind] for kind in kinds])
