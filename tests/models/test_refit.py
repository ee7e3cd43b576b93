"""Gradients through trainings of scikit-learn against differences of its own refits."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest
from helpers import blobs
from sklearn.base import clone
from sklearn.decomposition import PCA
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MaxAbsScaler, MinMaxScaler, StandardScaler
from sklearn.svm import SVC, LinearSVC

from fastadv import wrap
from fastadv.errors import DivergenceError, InputError
from fastadv.models.adapters.inputs import Chain
from fastadv.models.adapters.takeover import steps
from fastadv.models.implicit import refit
from fastadv.models.implicit.rescaling import rescaling_of
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
    assert cosine >= 0.9999
    assert np.linalg.norm(ours - theirs) <= 0.01 * np.linalg.norm(theirs)


@pytest.mark.parametrize(
    "case", ["logistic, 10 classes", "squared hinge, 10 classes", "rbf, 10 classes"]
)
def test_the_objective_does_not_depend_on_where_it_has_been(case: str) -> None:
    """It starts from its last optimum; what it returns is that of the rows all the same."""
    model, k, _ = CASES[case]
    X, y, X_val, y_val = data(k)
    objective = refit.objective(model, Chain(), X, y, INDEX, X_val, y_val)
    kept = X.copy()
    first = objective(X[INDEX])
    rng = np.random.default_rng(0)
    for _ in range(5):
        points = rng.random((2, X.shape[1]))
        moved = objective(points)
    elsewhere = refit.objective(model, Chain(), X, y, INDEX, X_val, y_val)(points)
    assert moved[0] == pytest.approx(elsewhere[0], rel=1e-9)
    np.testing.assert_allclose(moved[1], elsewhere[1], rtol=0, atol=1e-7 * np.abs(moved[1]).max())
    again = objective(X[INDEX])
    np.testing.assert_array_equal(X, kept)
    assert again[0] == pytest.approx(first[0], rel=1e-9)
    np.testing.assert_allclose(again[1], first[1], rtol=0, atol=1e-7 * np.abs(first[1]).max())


def test_logistic_regression_of_a_large_C_is_trained_to_its_optimum() -> None:
    model = LogisticRegression(C=1e4, **EXACT)
    X, y, X_val, y_val = data(3)
    objective = refit.objective(model, Chain(), X, y, INDEX, X_val, y_val)
    expected = loss(clone(model).fit(X, y), X_val, y_val)
    assert objective.loss(X[INDEX]) == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize(
    ("model", "limit", "line"),
    [
        (SVC(kernel="linear"), "machines._MAX_ROUNDS", "dual is off its optimum"),
        (LogisticRegression(), "smooth._NEWTON_STEPS", "short of its optimum"),
        (LogisticRegression(), "smooth._CONJUGATE_STEPS", "all but singular"),
    ],
)
def test_a_training_that_is_short_of_its_optimum_is_told(
    model: Any, limit: str, line: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(f"fastadv.models.implicit.{limit}", 1)
    X, y, X_val, y_val = data(3)
    objective = refit.objective(model, Chain(), X, y, INDEX, X_val, y_val)
    with pytest.raises(DivergenceError, match=line):
        objective.loss(X[INDEX])


def test_what_is_declared_of_images_is_inside_the_gradient() -> None:
    """Of images of another range the gradient is that of the same rows, times their scale."""
    X, y, X_val, y_val = data(3)
    model = LogisticRegression(**EXACT)
    given = wrap(clone(model).fit(X, y), mean=-1.0, std=2.0).given.untrained
    objective = given.poison_objective(2 * X - 1, y, INDEX, 2 * X_val - 1, y_val)
    found, gradient = objective(2 * X[INDEX] - 1)
    expected, slope = refit.objective(model, Chain(), X, y, INDEX, X_val, y_val)(X[INDEX])
    assert found == pytest.approx(expected, rel=1e-9)
    np.testing.assert_allclose(gradient, slope / 2, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize(
    "scaler",
    [
        StandardScaler(), StandardScaler(with_mean=False), StandardScaler(with_std=False),
        MinMaxScaler((-1, 3)), MaxAbsScaler(),
    ],
)  # fmt: skip
def test_a_scaler_pulls_back_what_it_does_to_all_rows(scaler: Any) -> None:
    """A training row moves all others too, in any direction, a column without spread included."""
    X, _, X_val, _ = data(3)
    X = X[:8]
    X[:, 1] *= -1
    if not getattr(scaler, "with_std", True):
        X[:, 2] = 0.25
    made, rng = rescaling_of(scaler), np.random.default_rng(0)
    assert not isinstance(made, str)
    fitted = clone(scaler).fit(X)
    for ours, rows in zip(made(X, X_val), (X, X_val), strict=True):
        np.testing.assert_allclose(ours, fitted.transform(rows), atol=1e-12)
    G, G_val = rng.normal(size=X.shape), rng.normal(size=X_val.shape)
    found, found_val = made.pull(G, G_val)
    for there, slope in ((X, found), (X_val, found_val)):
        for at in np.ndindex(there.shape):
            kept, ends = there[at], []
            for sign in (1, -1):
                there[at] = kept + sign * 1e-6
                again = clone(scaler).fit(X)
                ends.append(np.vdot(G, again.transform(X)) + np.vdot(G_val, again.transform(X_val)))
            there[at] = kept
            assert slope[at] == pytest.approx((ends[0] - ends[1]) / 2e-6, rel=1e-5, abs=1e-6)


def test_a_column_without_spread_has_no_derivative_through_a_scaler() -> None:
    X, y, X_val, y_val = data(3)
    X[:, 2] = 0.25
    for scaler in (StandardScaler(), MinMaxScaler()):
        model = make_pipeline(scaler, LogisticRegression())
        objective = refit.objective(model, Chain(), X, y, INDEX, X_val, y_val)
        _, gradient = objective(X[INDEX])
        assert not gradient[:, 2].any()
        assert np.isfinite(gradient).all()
        assert gradient[:, [0, 1, 3, 4, 5]].all()


REFUSED = {
    "not RandomForestClassifier": RandomForestClassifier(),
    "how PCA is fitted": make_pipeline(PCA(2), SVC()),
    "MinMaxScaler's clip": make_pipeline(MinMaxScaler(clip=True), SVC()),
    "with no penalty": LogisticRegression(C=np.inf),
    "with an L1 penalty": LogisticRegression(l1_ratio=0.5, solver="saga"),
    "LinearSVC with an L1": LinearSVC(penalty="l1", dual=False),
    "loss=hinge .it does with squared_hinge": LinearSVC(loss="hinge"),
    "multi_class=crammer_singer": LinearSVC(multi_class="crammer_singer"),
    "kernel=poly": SVC(kernel="poly"),
    "kernel=a function": SVC(kernel=lambda x, z: x @ z.T),
    "SVC with class_weight": SVC(class_weight="balanced"),
    "class_weight for other labels": LogisticRegression(class_weight={1: 2.0, 2: 1.0}),
}


@pytest.mark.parametrize("reason", REFUSED)
def test_a_training_without_a_derivative_is_refused_with_the_reason(reason: str) -> None:
    X, y, X_val, y_val = data(3)
    with pytest.raises(InputError, match=reason):
        refit.objective(REFUSED[reason], Chain(), X, y, INDEX, X_val, y_val)
    assert "biggio" in str(refit.no_derivative(REFUSED[reason]))


def test_what_is_derived_from_a_known_class_is_not_taken_for_it() -> None:
    class Own(LogisticRegression):
        pass

    assert "not Own" in str(refit.no_derivative(Own()))


def test_bad_input_is_one_line() -> None:
    X, y, X_val, y_val = data(3)
    model = LogisticRegression()
    objective = refit.objective(model, Chain(), X, y, INDEX, X_val, y_val)
    for points, message in ((np.zeros((3, 6)), "expected"), (np.full((2, 6), np.nan), "NaN")):
        with pytest.raises(InputError, match=message):
            objective(points)
    with pytest.raises(InputError, match="the label 9 is not among"):
        refit.objective(model, Chain(), X, y, INDEX, X_val, np.full(30, 9))
    with pytest.raises(InputError, match="index is empty"):
        refit.objective(model, Chain(), X, y, INDEX[:0], X_val, y_val)
    with pytest.raises(InputError, match="two classes"):
        refit.objective(LogisticRegression(solver="liblinear"), Chain(), X, y, INDEX, X_val, y_val)
