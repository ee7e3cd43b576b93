"""Poisoning a linear SVM with one point, as one would write it with scikit-learn and NumPy.

The same loss, the same exact gradient (for the formula see kernels/svm/poison.py) and the same
steps as `fastadv.attacks.poisoning.ascent.ascend`. Labels are 1.0 and -1.0, C is 1.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np
from sklearn.svm import SVC

from fastadv.arrays import Float64
from fastadv.attacks.poisoning import ascent, biggio
from fastadv.benchmarks.race import Race, Runner, Work
from fastadv.datasets import Dataset, load_dataset
from fastadv.models import svm

# the point (d,) -> the mean hinge loss on validation rows after training with it, its gradient
Objective = Callable[[Float64], tuple[float, Float64]]

_TOLERANCE = 1e-6  # the default, 1e-3, blurs which rows lie on the margin
_BOUND = 1e-8


def linear_objective(
    X: Float64, y: Float64, label: float, X_val: Float64, y_val: Float64
) -> Objective:
    """Return the loss and gradient by ``SVC(kernel="linear")``, fitted anew at each call."""
    labels, rows = np.append(y, label), np.vstack([X, np.zeros_like(X[:1])])

    def objective(point: Float64) -> tuple[float, Float64]:
        rows[-1] = point
        model = SVC(kernel="linear", C=1.0, tol=_TOLERANCE).fit(rows, labels)
        a = np.zeros(len(rows))
        a[model.support_] = model.dual_coef_[0]
        f = X_val @ model.coef_[0] + model.intercept_[0]
        margin = _margin(a)
        loss, w = _hinge(f, y_val)
        pull = w @ X_val
        v = _adjoint(rows[margin] @ rows[margin].T, rows[margin] @ pull, w.sum())
        gradient = a[-1] * (pull - v @ rows[margin])
        if margin[-1] == len(rows) - 1:
            gradient -= v[-1] * model.coef_[0]
        return loss, gradient

    return objective


def precomputed_objective(
    X: Float64, y: Float64, label: float, X_val: Float64, y_val: Float64
) -> Objective:
    """Return the same by ``SVC(kernel="precomputed")``: one row of the kernel changes a call."""
    n = len(X)
    labels, rows = np.append(y, label), np.vstack([X, X_val])
    K, K_val = np.empty((n + 1, n + 1)), np.empty((n + 1, len(X_val)))
    K[:n, :n], K_val[:n] = X @ X.T, X @ X_val.T

    def objective(point: Float64) -> tuple[float, Float64]:
        products = rows @ point
        K[n, :n] = K[:n, n] = products[:n]
        K_val[n], K[n, n] = products[n:], point @ point
        model = SVC(kernel="precomputed", C=1.0, tol=_TOLERANCE).fit(K, labels)
        a, v = np.zeros((2, n + 1))
        a[model.support_] = model.dual_coef_[0]
        margin = _margin(a)
        loss, w = _hinge(a @ K_val + model.intercept_[0], y_val)
        v[margin] = _adjoint(K[np.ix_(margin, margin)], K_val[margin] @ w, w.sum())
        train = -(a[n] * v + v[n] * a)
        return loss, a[n] * (w @ X_val) + train[:n] @ X + train[n] * point

    return objective


def _margin(a: Float64) -> np.ndarray[tuple[int], np.dtype[np.intp]]:
    return np.flatnonzero((np.abs(a) > _BOUND) & (np.abs(a) < 1 - _BOUND))


def _hinge(f: Float64, y_val: Float64) -> tuple[float, Float64]:
    slack = 1 - y_val * f
    return float(np.maximum(slack, 0).mean()), np.where(slack > 0, -y_val, 0) / len(y_val)


def _adjoint(K: Float64, load: Float64, total: float) -> Float64:
    """Return v of [K 1; 1' 0] (v, u) = (load, total)."""
    H = np.ones((len(K) + 1, len(K) + 1))
    H[:-1, :-1], H[-1, -1] = K, 0
    solution: Float64 = np.linalg.solve(H, np.append(load, total))
    return solution[:-1]


def attack(
    objective: Objective, start: Float64, steps: int, step_size: float, momentum: float
) -> tuple[Float64, float]:
    """Climb from ``start`` (d,) within [0, 1]; return the best point on the way and its loss."""
    point = best = start
    best_loss, gradient = objective(start)
    heading = np.zeros_like(start)
    for step in range(steps):
        stuck = ((point <= 0) & (gradient < 0)) | ((point >= 1) & (gradient > 0))
        free = np.where(stuck, 0.0, gradient)
        heading = momentum * heading + free / max(float(np.linalg.norm(free)), 1e-300)
        length = step_size * (1 - step / steps) / max(float(np.linalg.norm(heading)), 1e-300)
        point = np.clip(point + length * heading, 0, 1)
        loss, gradient = objective(point)
        if loss > best_loss:
            best, best_loss = point, loss
    return best, best_loss


PEERS = {"linear": linear_objective, "precomputed": precomputed_objective}

_ATTACK = biggio.Biggio(points=1, labels=1, restarts=1, steps=50)


def _fastadv(data: Dataset) -> Work:
    """Return ours, as a user calls it."""

    def work() -> dict[str, float]:
        result = _ATTACK.poison(
            svm.SVC(), data.x_train, data.y_train, data.x_val, data.y_val, task=data.task
        )
        return {"hinge loss": float(result.history[-1])}

    return work


def _peer(name: str, data: Dataset) -> Work:
    """Return the loop around scikit-learn, from the image that ours starts from."""
    ours = _ATTACK.poison(
        svm.SVC(), data.x_train, data.y_train, data.x_val, data.y_val, task=data.task
    )
    X, X_val = data.x_train.astype(np.float64), data.x_val.astype(np.float64)
    y, y_val = (np.where(labels == 1, 1.0, -1.0) for labels in (data.y_train, data.y_val))
    steps = _ATTACK.steps or 0
    assert ours.origin is not None  # biggio's points start as training images
    start = X[ours.origin[0]]

    def work() -> dict[str, float]:
        objective = PEERS[name](X, y, 1.0, X_val, y_val)
        _, loss = attack(objective, start, steps, biggio._STEP_SIZE, ascent.MOMENTUM)
        return {"hinge loss": loss}

    return work


def races() -> list[Race]:
    """Return the race of 50 steps of one point against a linear SVM on 100 images of 7 and 1."""
    data = load_dataset("mnist[classes=7-1,train=100,val=500]")
    runners = [Runner("fastadv", partial(_fastadv, data))]
    runners += [Runner(f"scikit-learn, {name}", partial(_peer, name, data)) for name in PEERS]
    return [Race("peers", "SVM, one poison point, 50 steps", tuple(runners))]
