"""Gradients through trainings of scikit-learn against differences of its own refits."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest
from helpers import blobs
from sklearn.base import clone
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MaxAbsScaler, MinMaxScaler, StandardScaler
from sklearn.svm import SVC, LinearSVC

from fastadv.models.adapters.inputs import Chain
from fastadv.models.adapters.takeover import steps
from fastadv.models.implicit import refit
from fastadv.task import Task

SHAPE = (3, 2, 1)


def data(k: int, n: int = 60, seed: int = 0) -> tuple[np.ndarray, ...]:
    """Training rows, two of which have a wrong label, and validation rows: all in float64."""
    X, y = blobs(n, seed, Task(SHAPE, k))
    X_val, y_val = blobs(30, seed + 1, Task(SHAPE, k))
    noise = np.random.default_rng(seed)
    X = X + noise.normal(0, 0.15, X.shape)
    X_val = X_val + noise.normal(0, 0.15, X_val.shape)
    y[[7, 20]] = (y[[7, 20]] + 1) % k
    return X.astype(np.float64), y, X_val.astype(np.float64), y_val


INDEX = np.array([7, 20])


def margins(model: Any, X: np.ndarray, y: np.ndarray) -> np.ndarray:
    """The margin of the true class that a hinge loss is taken of, by scikit-learn's values."""
    f = model.decision_function(X)
    k = len(model.classes_)
    if k == 2:
        return np.where(y == 1, f, -f)
    if isinstance(steps(model)[-1], LinearSVC):  # one against the rest
        others = f.copy()
        others[np.arange(len(y)), y] = -np.inf
        return (f[np.arange(len(y)), y] - others.max(axis=1)) / 2
    duels = [(i, j) for i in range(k) for j in range(i + 1, k)]
    return np.array([
        min(f[r, p] if c == i else -f[r, p] for p, (i, j) in enumerate(duels) if c in (i, j))
        for r, c in enumerate(y)
    ])  # fmt: skip


def loss(model: Any, X: np.ndarray, y: np.ndarray) -> float:
    """What the documentation says that the attacker's loss is, by scikit-learn's own answers."""
    if hasattr(model, "predict_proba"):
        return float(-np.log(model.predict_proba(X)[np.arange(len(y)), y]).mean())
    return float(np.maximum(0, 1 - margins(model, X, y)).mean())


def state(model: Any, X: np.ndarray, y: np.ndarray, X_val: np.ndarray, y_val: np.ndarray) -> Any:
    """What must not change within a difference: what is a piece of the loss of its own."""
    last = steps(model)[-1]
    if isinstance(last, LogisticRegression):
        return ()
    pieces = [margins(model, X_val, y_val) < 1]
    if isinstance(last, SVC):
        k, C = len(last.classes_), last.C
        of_class = np.repeat(np.arange(k), last.n_support_)
        alpha = np.abs(last.dual_coef_)
        on = np.zeros((len(X), k), dtype=int)  # by row and the machine with which other class
        for s, row in enumerate(last.support_):
            others = np.delete(np.arange(k), of_class[s])
            on[row, others] = np.where(alpha[:, s] > C * (1 - 1e-6), 2, (alpha[:, s] > 0) * 1)
        pieces.append(on)
    else:
        f, k = model.decision_function(X).reshape(len(X), -1), len(last.classes_)
        signs = np.where(y[:, None] == (np.arange(k) if k > 2 else [1]), 1, -1)
        pieces.append(signs * f < 1)
        if k > 2:
            pieces.append(model.decision_function(X_val).argsort(axis=1)[:, -2:])
    return b"".join(np.ascontiguousarray(piece).tobytes() for piece in pieces)


def differences(
    model: Any, X: np.ndarray, y: np.ndarray, X_val: np.ndarray, y_val: np.ndarray, step: float
) -> tuple[np.ndarray, np.ndarray]:
    """Central differences of scikit-learn's own refits, and where both ends are on one piece."""
    numeric, smooth = np.zeros((len(INDEX), X.shape[1])), np.zeros((len(INDEX), X.shape[1]), bool)
    here = state(clone(model).fit(X, y), X, y, X_val, y_val)
    for p, row in enumerate(INDEX):
        for j in range(X.shape[1]):
            ends = []
            for sign in (1, -1):
                moved = X.copy()
                moved[row, j] += sign * step
                fitted = clone(model).fit(moved, y)
                same = state(fitted, moved, y, X_val, y_val) == here
                ends.append((loss(fitted, X_val, y_val), same))
            numeric[p, j] = (ends[0][0] - ends[1][0]) / (2 * step)
            smooth[p, j] = ends[0][1] and ends[1][1]
    return numeric, smooth


EXACT = {"tol": 1e-10, "solver": "newton-cholesky", "max_iter": 1000}
LIBLINEAR: dict[str, Any] = {"tol": 1e-12, "max_iter": 100_000, "dual": False}
LIBSVM: dict[str, Any] = {"tol": 1e-9, "decision_function_shape": "ovo"}
CASES = {
    "logistic, 2 classes": (LogisticRegression(**EXACT), 2, 1e-5),
    "logistic, 10 classes": (LogisticRegression(C=5.0, **EXACT), 10, 1e-5),
    "logistic, weighted": (LogisticRegression(class_weight="balanced", **EXACT), 3, 1e-5),
    "logistic, weights by label": (
        LogisticRegression(class_weight={0: 1.0, 1: 4.0, 2: 0.5}, **EXACT), 3, 1e-5,
    ),
    "logistic, no intercept": (LogisticRegression(fit_intercept=False, **EXACT), 3, 1e-5),
    "logistic, liblinear": (
        LogisticRegression(solver="liblinear", tol=1e-12, intercept_scaling=2.0), 2, 1e-5,
    ),
    "logistic, standardised": (make_pipeline(StandardScaler(), LogisticRegression(**EXACT)), 10, 1e-5),
    "logistic, scaled twice": (
        make_pipeline(MinMaxScaler((-1, 2)), StandardScaler(with_mean=False), LogisticRegression(**EXACT)),
        3, 1e-5,
    ),
    "logistic, largest": (make_pipeline(MaxAbsScaler(), LogisticRegression(**EXACT)), 3, 1e-5),
    "squared hinge, 2 classes": (LinearSVC(**LIBLINEAR), 2, 1e-5),
    "squared hinge, 10 classes": (LinearSVC(**LIBLINEAR), 10, 1e-5),
    "squared hinge, weighted": (
        LinearSVC(class_weight="balanced", intercept_scaling=3.0, **LIBLINEAR), 3, 1e-5,
    ),
    "squared hinge, standardised": (make_pipeline(StandardScaler(), LinearSVC(**LIBLINEAR)), 3, 1e-5),
    "linear, 2 classes": (SVC(kernel="linear", **LIBSVM), 2, 3e-3),
    "linear, 3 classes": (SVC(kernel="linear", **LIBSVM), 3, 3e-3),
    "linear, 10 classes": (SVC(kernel="linear", **LIBSVM), 10, 3e-3),
    "rbf, 3 classes": (SVC(gamma=2.0, **LIBSVM), 3, 3e-3),
    "rbf, 10 classes": (SVC(gamma=2.0, C=3.0, **LIBSVM), 10, 3e-3),
    "rbf, gamma by the data": (SVC(gamma="scale", **LIBSVM), 3, 3e-3),
    "rbf, gamma auto": (SVC(gamma="auto", C=10.0, **LIBSVM), 3, 3e-3),
    "rbf, standardised": (make_pipeline(StandardScaler(), SVC(**LIBSVM)), 3, 3e-3),
    "linear, between 0 and 1": (make_pipeline(MinMaxScaler(), SVC(kernel="linear", **LIBSVM)), 3, 3e-3),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_gradient_against_differences_of_refits(case: str) -> None:
    """The loss is scikit-learn's, and so is its derivative.

    The step is as small as the precision of the refits lets it be: libsvm's kernel is float32, so
    that 3e-3 is needed; where a margin, bounded or reserve vector, or what a hinge counts, is
    another at an end of a difference, that number is left out.
    """
    model, k, step = CASES[case]
    X, y, X_val, y_val = data(k)
    objective = refit.objective(model, Chain(), X, y, INDEX, X_val, y_val)
    found, gradient = objective(X[INDEX])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        fitted = clone(model).fit(X, y)
        numeric, smooth = differences(model, X, y, X_val, y_val, step)
    assert found == pytest.approx(loss(fitted, X_val, y_val), rel=2e-5)
    assert objective.loss(X[INDEX]) == pytest.approx(found, rel=1e-9)
    assert smooth.mean() >= 0.5
    ours, theirs = gradient[smooth], numeric[smooth]
    cosine = ours @ theirs / (np.linalg.norm(ours) * np.linalg.norm(theirs))
    print(case, 1 - cosine, smooth.mean(), np.linalg.norm(ours - theirs) / np.linalg.norm(theirs))
    assert cosine >= 0.9999
    assert np.linalg.norm(ours - theirs) <= 0.01 * np.linalg.norm(theirs)
