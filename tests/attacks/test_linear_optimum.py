"""Attacks on linear models, where the least change and the worst point are known in closed form.

All points lie in the middle of the box, so that only the ball, or the boundary, decides.
"""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from helpers import TASK, blobs, small_mlp

from fastadv import MLPClassifier, make_attack
from fastadv.attacks.evasion.loss import cross_entropy_ascent, margins
from fastadv.seeds import Stream, sample_ids
from fastadv.task import Task

EPS = 0.03
NORMS = {"linf": 1, "l2": 2}  # and the order of the dual norm


def linear(n_classes: int, n_features: int = 20) -> tuple[MLPClassifier, np.ndarray, Task]:
    """A model whose boundaries meet in the middle of the box, points around it, and the task."""
    w = np.random.default_rng(0).normal(size=(n_features, n_classes))
    model = MLPClassifier.from_weights([w], [-0.5 * w.sum(axis=0)])
    x = 0.3 + 0.4 * np.random.default_rng(1).random((40, n_features))
    return model, x.astype(np.float32), Task((n_features, 1, 1), n_classes)


def craft(text: str, model: MLPClassifier, x: np.ndarray, y: np.ndarray, task: Task) -> np.ndarray:
    """What the attack visits that is best, whether it succeeds or not."""
    stream = Stream(5, sample_ids(x))
    return make_attack(text).craft(model, x, y, None, task=task, stream=stream)[0]


def losses(model: MLPClassifier, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    return cross_entropy_ascent(model.logits(x).astype(np.float64), y, None)[0]


def least_changes(model: MLPClassifier, x: np.ndarray, y: np.ndarray, order: int) -> np.ndarray:
    """The distance to the nearest boundary: min over k of (Z_y - Z_k) / |w_y - w_k|."""
    w, logits = model.coefs_[0].astype(np.float64), model.logits(x).astype(np.float64)
    gaps = logits[np.arange(len(y)), y][:, None] - logits
    duals = np.linalg.norm(w[:, y][:, :, None] - w[:, None, :], ord=order, axis=0)
    others = np.arange(w.shape[1]) != y[:, None]
    return np.where(others, gaps / np.where(others, duals, 1.0), np.inf).min(axis=1)


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize(
    "name", ["fgsm", "pgd[steps=20,step_size=0.03]", "pgd[restarts=2,step_size=0.03]", "apgd"]
)
def test_two_classes_worst_point(name: str, norm: str) -> None:
    model, x, task = linear(2)
    y = model.predict(x)
    text = f"{name.rstrip(']')}{',' if '[' in name else '['}eps={EPS},norm={norm}]"
    found = losses(model, craft(text, model, x, y, task), y)
    w = model.coefs_[0].astype(np.float64)
    margin, _ = margins(model.logits(x), y, None)
    worst = margin - EPS * np.linalg.norm(w[:, 0] - w[:, 1], ord=NORMS[norm])
    np.testing.assert_allclose(found, np.logaddexp(0, -worst), rtol=2e-5)


@pytest.mark.parametrize("name", ["pgd[restarts=5]", "apgd[restarts=5]", "apgd[targets=2]"])
def test_three_classes_worst_corner(name: str) -> None:
    """The loss is convex, so that its maximum over the box is at one of 1,024 corners."""
    model, x, task = linear(3, n_features=10)
    y = model.predict(x)
    corners = np.array(list(itertools.product([-EPS, EPS], repeat=10)), dtype=np.float32)
    around, label = x[:, None, :] + corners, y[:, None]
    worst = np.array(
        [losses(model, *rows) for rows in zip(around, label.repeat(1024, axis=1), strict=True)]
    )
    lost = np.array([(model.predict(rows) != k).any() for rows, k in zip(around, y, strict=True)])
    x_adv = craft(f"{name[:-1]},eps={EPS}]", model, x, y, task)
    np.testing.assert_array_equal(model.predict(x_adv) != y, lost)
    if "targets" in name:  # its loss is another
        return
    # of an image that is lost, the point where it was first lost is kept
    held = np.ones(len(x), dtype=bool) if name.startswith("pgd") else ~lost
    assert held.sum() >= 10
    np.testing.assert_allclose(losses(model, x_adv, y)[held], worst.max(axis=1)[held], rtol=2e-5)


def test_fgsm_is_exact_where_all_other_classes_pull_the_same_way() -> None:
    v = np.random.default_rng(2).normal(size=20)
    model = MLPClassifier.from_weights(
        [np.stack([0 * v, v, 2 * v], axis=1)], [np.array([0.0, -0.5, -1.0]) * v.sum()]
    )
    _, x, task = linear(3)
    y = np.zeros(len(x), dtype=np.int64)
    found = losses(model, craft(f"fgsm[eps={EPS}]", model, x, y, task), y)
    corner = (x + EPS * np.sign(v)).astype(np.float32)
    np.testing.assert_allclose(found, losses(model, corner, y), rtol=2e-5)


@pytest.mark.parametrize("n_classes", [2, 3])
@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("overshoot", [0.02, 0.005])
def test_deepfool_least_change(n_classes: int, norm: str, overshoot: float) -> None:
    model, x, task = linear(n_classes)
    y = model.predict(x)
    least = least_changes(model, x, y, NORMS[norm])
    attack = make_attack(f"deepfool[norm={norm},overshoot={overshoot}]")
    result = attack.perturb(model, x, y, task=task)
    assert result.is_adv.all()
    found = result.distances[norm]
    assert np.all(found >= least * (1 - 1e-4))
    # on a linear model one step is enough; it goes 1e-4 further than the boundary
    assert np.all(found <= (1 + overshoot) * (least + 1e-4) * (1 + 1e-5) + 1e-7)
    assert result.queries["forward"] == 2
    if overshoot == 0.005:
        far = least > 0.025
        assert far.sum() >= 5
        assert np.all(found[far] <= 1.01 * least[far])


@pytest.mark.parametrize("kappa", [0.0, 0.5])
def test_cw_least_change_of_a_confidence(kappa: float) -> None:
    model, x, task = linear(2)
    y = model.predict(x)
    result = make_attack(f"cw[kappa={kappa}]").perturb(model, x, y, task=task)
    assert result.is_adv.all()
    assert np.all(margins(model.logits(result.x_adv), y, None)[0] <= -kappa)
    w = model.coefs_[0].astype(np.float64)
    least = least_changes(model, x, y, 2) + kappa / np.linalg.norm(w[:, 0] - w[:, 1])
    far = least > 0.03  # nearer than that the first step of Adam is beyond the boundary
    assert far.sum() >= 20
    assert np.all(result.distances["l2"] >= least * (1 - 1e-4))
    assert np.all(result.distances["l2"][far] <= 1.05 * least[far])


def test_cw_of_all_targets_finds_the_nearest_boundary() -> None:
    """The untargeted attack follows the largest logit, which need not be the nearest class."""
    model, x, task = linear(3)
    y = model.predict(x)
    attack, nearest = make_attack("cw"), np.full(len(x), np.inf)
    for shift in (1, 2):
        target = (y + shift) % 3
        result = attack.perturb(model, x, y, task=task, target=target)
        assert result.is_adv.all()
        np.testing.assert_array_equal(model.predict(result.x_adv), target)
        nearest = np.minimum(nearest, result.distances["l2"])
    least = least_changes(model, x, y, 2)
    far = least > 0.03
    assert far.sum() >= 20
    assert np.all(nearest[far] <= 1.05 * least[far])
    assert np.all(nearest >= least * (1 - 1e-4))


@pytest.mark.parametrize(("norm", "share"), [("linf", 0.97), ("l2", 0.6)])
def test_square_finds_the_worst_corner(norm: str, share: float) -> None:
    """At a budget that cannot succeed the search goes on until its queries are used up.

    In L2 its windows are 3 pixels wide at least, too coarse for the exact optimum of 6 x 5 pixels.
    """
    eps = 0.003
    model, x, _ = linear(2, n_features=30)
    task = Task((6, 5, 1), 2)
    y = model.predict(x)
    w = model.coefs_[0].astype(np.float64)
    most = eps * np.linalg.norm(w[:, 0] - w[:, 1], ord=NORMS[norm])
    margin, _ = margins(model.logits(x), y, None)
    far = margin > most
    x, y, margin = x[far], y[far], margin[far]
    assert len(x) >= 20
    x_adv = craft(f"square[eps={eps},norm={norm},queries=1500,edges=true]", model, x, y, task)
    fallen = margin - margins(model.logits(x_adv), y, None)[0]
    assert np.all(fallen >= share * most)
    assert np.all(fallen <= 1.001 * most)


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("hidden", [(), (6,)])
def test_apgd_against_pgd_at_equal_steps(hidden: tuple[int, ...], norm: str) -> None:
    """As many successes at least, no less loss in the mean; a few paths end elsewhere."""
    x, y = blobs(90)
    model = small_mlp(6, hidden_layer_sizes=hidden).fit(x, y)
    for eps in (0.05, 0.2) if norm == "linf" else (0.2, 0.8):
        a, p = (
            craft(f"{name}[steps=40,norm={norm},eps={eps}]", model, x, y, TASK)
            for name in ("apgd", "pgd")
        )
        assert np.all((model.predict(a) != y) >= (model.predict(p) != y))
        ours, theirs = losses(model, a, y), losses(model, p, y)
        assert ours.mean() > theirs.mean() * (1 - 1e-3)
        assert np.mean(ours < theirs * (1 - 1e-4)) <= 0.05
