"""The SVM: against scikit-learn's, its input gradient, and the derivative of its training."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import sklearn.svm
from helpers import blobs

from fastadv import load_dataset
from fastadv.errors import InputError
from fastadv.grid.run import run_grid
from fastadv.models.svm import SVC, kernel_matrix
from fastadv.task import Task
from fastadv.threads import set_threads

pytestmark = pytest.mark.uncompiled

X, Y = blobs(40, task=Task((5, 4, 1), 2))
STEP = 1e-5


@pytest.mark.slow
@pytest.mark.compiled
@pytest.mark.parametrize("kernel", ["linear", "rbf"])
@pytest.mark.filterwarnings("default")
def test_scikit_learn_contract(kernel: str) -> None:
    from sklearn.utils.estimator_checks import check_estimator

    check_estimator(SVC(kernel=kernel))


# -- the solution ---------------------------------------------------------------------------------


def dual_objective(K: np.ndarray, y: np.ndarray, a: np.ndarray) -> float:
    return float(a @ K @ a / 2 - y @ a)


def assert_solved(
    X: np.ndarray, y: np.ndarray, C: float, kernel: str, gamma: float, tol: float = 1e-12
) -> SVC:
    """KKT from their definition, and scikit-learn's decision values, objective and multipliers."""
    model = SVC(C, kernel, gamma).fit(X, y)
    assert model.kkt_violation_ <= 1e-8
    K = kernel_matrix(X, X, model.gamma_)
    a = np.zeros(len(y))
    a[model.support_] = model.dual_coef_[0]
    alpha, margins = a * y, y * (K @ a + model.intercept_[0])
    assert alpha.min() >= 0
    assert alpha.max() <= C
    assert abs(a.sum()) <= 1e-12 * C
    slack = 1e-8 * (1 + np.abs(margins).max())
    assert np.all(margins[alpha == 0] >= 1 - slack)
    assert np.all(margins[alpha == C] <= 1 + slack)
    np.testing.assert_allclose(margins[(alpha > 0) & (alpha < C)], 1, rtol=0, atol=slack)

    # Its kernel matrix is float32: hence the 1e-5, and that on some sets it never gets to 1e-12.
    other = sklearn.svm.SVC(C=C, kernel="precomputed", tol=tol, max_iter=10**6).fit(K, y)
    b = np.zeros(len(y))
    b[other.support_] = other.dual_coef_[0]
    np.testing.assert_allclose(
        model.decision_function(X), other.decision_function(K), rtol=0, atol=1e-5 * max(1, C / 10)
    )
    ours, theirs = dual_objective(K, y, a), dual_objective(K, y, b)
    assert ours <= theirs + 1e-12 * abs(theirs)  # it is a minimum
    assert ours == pytest.approx(theirs, rel=1e-6)
    margin = np.flatnonzero((alpha > 0) & (alpha < C))
    H = np.ones((len(margin) + 1, len(margin) + 1))
    H[:-1, :-1], H[-1, -1] = K[np.ix_(margin, margin)], 0
    strict = np.abs(margins[(alpha == 0) | (alpha == C)] - 1)
    if np.linalg.cond(H) < 1e6 and strict.size and strict.min() > 1e-3:  # unique, and told apart
        np.testing.assert_allclose(a, b, rtol=0, atol=1e-4 * C)
    return model


@pytest.mark.compiled
@pytest.mark.parametrize("pair", ["7-1", "9-8", "4-0"])
@pytest.mark.parametrize("C", [1e-3, 1.0, 1e3])
@pytest.mark.parametrize("kernel", ["linear", "rbf"])
def test_digits_are_solved(pair: str, C: float, kernel: str) -> None:
    ds = load_dataset(f"mnist[classes={pair},train=100]")
    x = ds.x_train.astype(np.float64)
    y = 2.0 * ds.y_train - 1
    assert_solved(x, y, C, kernel, 1 / (784 * x.var()))


def degenerate() -> dict[str, tuple[np.ndarray, np.ndarray]]:
    rng = np.random.default_rng(0)
    lone = -np.ones(30)
    lone[7] = 1
    return {
        "duplicates": (np.repeat(rng.normal(size=(10, 4)), 3, axis=0), rng.choice([-1.0, 1], 30)),
        "one class has a single point": (rng.normal(size=(30, 3)), lone),
        "all rows equal": (np.ones((9, 3)), np.where(np.arange(9) < 3, 1.0, -1.0)),
        "a lattice": (rng.integers(0, 2, (40, 3)).astype(float), rng.choice([-1.0, 1], 40)),
        "two rows": (np.array([[0.0], [1.0]]), np.array([-1.0, 1])),
        "more margin vectors than dimensions": (
            np.array([[1.0, t] for t in range(4)] + [[-1.0, t] for t in range(4)]),
            np.repeat([1.0, -1], 4),
        ),
    }


@pytest.mark.parametrize("name", degenerate())
@pytest.mark.parametrize("C", [1e-6, 1e-2, 1.0, 30.0])
@pytest.mark.parametrize("kernel", ["linear", "rbf"])
def test_degenerate_sets_are_solved(name: str, C: float, kernel: str) -> None:
    x, y = degenerate()[name]
    endless = name == "one class has a single point" and kernel == "linear"
    assert_solved(x, y, C, kernel, 0.5, tol=1e-5 if endless else 1e-12)


@pytest.mark.parametrize("name", degenerate())
@pytest.mark.parametrize("kernel", ["linear", "rbf"])
def test_a_very_large_C_ends_at_what_rounding_allows(name: str, kernel: str) -> None:
    x, y = degenerate()[name]
    model = SVC(1e6, kernel, 0.5).fit(x, y)
    K = kernel_matrix(x, x, model.gamma_)[:, model.support_]
    assert model.kkt_violation_ <= max(1e-8, 1e-13 * np.abs(K * model.dual_coef_).sum(1).max())


def test_hard_margin_in_closed_form() -> None:
    """Two points: w = 2 (p - q) / |p - q|^2, and f is 1 and -1 there."""
    p, q = np.array([3.0, 1.0]), np.array([0.0, -3.0])
    model = SVC(1e3).fit(np.stack([q, p]), [0, 1])
    np.testing.assert_allclose(model.coef_[0], 2 * (p - q) / 25, rtol=1e-12)
    np.testing.assert_allclose(model.decision_function(np.stack([q, p])), [-1, 1], rtol=1e-12)


# -- the trained model ------------------------------------------------------------------------------


@pytest.mark.parametrize("kernel", ["linear", "rbf"])
def test_input_gradient_is_that_of_the_logits(kernel: str) -> None:
    model = SVC(kernel=kernel).fit(X, Y)
    x = X[:5].astype(np.float64)
    direction = np.random.default_rng(0).normal(size=(5, 2))
    gradient = model.input_gradient(x, direction)
    for j in range(x.shape[1]):
        e = np.zeros_like(x)
        e[:, j] = STEP
        change = (model.logits(x + e) - model.logits(x - e)) / (2 * STEP)
        np.testing.assert_allclose(gradient[:, j], (change * direction).sum(axis=1), atol=1e-8)
    logits, pullback = model.vjp(X[:5])
    assert logits.dtype == pullback(direction).dtype == np.float32
    np.testing.assert_allclose(pullback(direction), gradient, atol=1e-6)


@pytest.mark.parametrize("kernel", ["linear", "rbf"])
def test_predictions_are_the_same_bits_in_any_batch_and_for_any_threads(
    kernel: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = SVC(kernel=kernel).fit(X, Y)
    whole = model.decision_function(X)
    np.testing.assert_array_equal(model.classes_[(whole > 0).astype(int)], model.predict(X))
    np.testing.assert_array_equal(model.logits(X).argmax(axis=1), (whole > 0).astype(int))
    monkeypatch.setattr("fastadv.models.svm._CHUNK", 7)
    set_threads(1)
    np.testing.assert_array_equal(model.decision_function(X), whole)
    np.testing.assert_array_equal(model.decision_function(X[11:12])[0], whole[11])


def test_more_than_two_classes_are_refused_in_one_line() -> None:
    for call in (
        lambda: SVC().fit(X, np.arange(40) % 3),
        lambda: SVC().poison_gradient(X, np.arange(40) % 3, np.array([0]), X, Y),
    ):
        with pytest.raises(InputError, match="classes=1-0") as error:
            call()
        assert "\n" not in str(error.value)


def test_a_grid_says_at_once_that_ten_classes_are_too_many(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="keep two of them: classes=1-0"):
        run_grid(repeats=1, attacks=["pgd"], model="svm", samples=5, output=tmp_path)


@pytest.mark.compiled
@pytest.mark.parametrize("model", ["svm", "svm[kernel=rbf,C=2]"])
def test_works_in_grids(model: str, tmp_path: Path) -> None:
    """Every kind of attack; a defense that needs batches is skipped with its reason."""
    rows = run_grid(
        repeats=1, attacks=["biggio[points=1,steps=3]", "pgd[steps=3]", "label_flip[points=2,strategy=coherent]"],
        defenses=["none", "median", "adv_training"], model=model, samples=20, output=tmp_path,
        dataset="mnist[classes=7-1,train=60,val=40,test=60]",
    )  # fmt: skip
    by_defense = {
        d: [r for r in rows if r.defense == d] for d in ("none", "median", "adv_training")
    }
    assert {r.status for r in by_defense["none"] + by_defense["median"]} == {"ok"}
    assert {r.status for r in by_defense["adv_training"]} == {"skipped"}
    assert "learns in batches" in str(by_defense["adv_training"][0].reason)
    clean, _, pgd, _ = (row.attacked_accuracy for row in by_defense["none"])
    assert clean is not None
    assert pgd is not None
    assert pgd.value < clean.value


def test_gamma_is_resolved_once_on_the_clean_set() -> None:
    model = SVC(kernel="rbf")
    held = model.resolve(X)
    assert held.gamma == pytest.approx(1 / (X.shape[1] * X.astype(np.float64).var()), rel=1e-12)
    assert model.gamma == "scale"
    assert held.fit(X[:9], Y[:9]).gamma_ == held.gamma
    # The attacker's loss is that of a victim with the clean set's gamma.
    poisoned, labels = np.concatenate([X, X[:2] * 0.5]), np.append(Y, [1, 0])
    loss, _ = model.poison_gradient(poisoned, labels, np.array([40, 41]), X[:20], Y[:20])
    f = held.fit(poisoned, labels).decision_function(X[:20])
    assert loss == pytest.approx(np.maximum(0, 1 - np.where(Y[:20] == 1, f, -f)).mean(), rel=1e-10)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"C": 0.0}, "C has to be above 0"),
        ({"kernel": "poly"}, "kernel has to be one of linear, rbf"),
        ({"gamma": -1.0}, "gamma has to be above 0"),
        ({"gamma": "large"}, "gamma has to be one of scale, auto or a number"),
    ],
)
def test_bad_parameters(changes: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        SVC(**changes).fit(X, Y)  # type: ignore[arg-type]


@pytest.mark.parametrize("kernel", ["linear", "rbf"])
def test_save_and_load(kernel: str, tmp_path: Path) -> None:
    model = SVC(kernel=kernel).fit(X, Y)
    model.save(tmp_path / "m.npz")
    again = SVC.load(tmp_path / "m.npz")
    np.testing.assert_array_equal(again.decision_function(X), model.decision_function(X))
    np.testing.assert_array_equal(again.predict(X), model.predict(X))
    assert again.get_params() == model.get_params()
    assert again.kkt_violation_ == model.kkt_violation_
    (tmp_path / "bad.npz").write_bytes(b"no archive")
    for name, message in (("bad.npz", "not a saved"), ("none.npz", "there is no file")):
        with pytest.raises(InputError, match=message):
            SVC.load(tmp_path / name)


def test_dark_images_take_little_room(tmp_path: Path) -> None:
    rows = np.zeros((40, 784), np.float32)
    rows[:, ::97] = np.random.default_rng(0).random((40, 9))
    SVC().fit(rows, np.arange(40) % 2).save(tmp_path / "m.npz")
    assert (tmp_path / "m.npz").stat().st_size < 40 * 784


# -- the derivative of training -----------------------------------------------------------------------


def problem(seed: int, kernel: str) -> tuple[SVC, tuple[np.ndarray, ...]]:
    """Two overlapping clouds, one to three points of either label, any C and gamma."""
    rng = np.random.default_rng(seed)
    n, p, m, d = 22, 1 + seed % 3, 30, 4
    x, x_val = rng.normal(size=(n + p, d)), rng.normal(size=(m, d))
    y, y_val = ((z[:, 0] + 0.7 * rng.normal(size=len(z)) > 0).astype(np.int64) for z in (x, x_val))
    y[:2] = 0, 1
    model = SVC(10 ** rng.uniform(-1.5, 1.5), kernel, 10 ** rng.uniform(-1.5, 0.3))
    index = rng.permutation(np.arange(2, n + p))[:p]
    return model, (x, y, index, x_val, y_val)


def pieces(model: SVC, x: np.ndarray, data: tuple[np.ndarray, ...]) -> bytes:
    """Which smooth piece of the loss x lies on: the state of each multiplier and hinge."""
    _, y, _, x_val, y_val = data
    fitted = model.fit(x, y)
    state = np.zeros(len(x), np.int8)
    state[fitted.support_] = np.where(np.abs(fitted.dual_coef_[0]) < model.C, 1, 2)
    margins = (2 * y_val - 1) * fitted.decision_function(x_val)
    return state.tobytes() + (margins < 1).tobytes()


@pytest.mark.compiled
@pytest.mark.parametrize("kernel", ["linear", "rbf"])
def test_poison_gradient_is_exact(kernel: str) -> None:
    """Against central differences of the loss after retraining, wherever the points are."""
    compared, crossed, where = 0, 0, {0: 0, 1: 0, 2: 0}
    for seed in range(100):
        model, data = problem(seed, kernel)
        x, y, index, x_val, y_val = data

        def loss(x: np.ndarray, model: SVC = model, data: tuple = data) -> float:
            _, y, _, x_val, y_val = data
            f = model.fit(x, y).decision_function(x_val)
            return float(np.maximum(0, 1 - (2 * y_val - 1) * f).mean())

        value, gradient = model.poison_gradient(x, y, index, x_val, y_val)
        assert value == pytest.approx(loss(x), rel=1e-9)
        here = pieces(model, x, data)
        numeric, smooth = np.empty_like(gradient), True
        for c, i in enumerate(index):
            for j in range(x.shape[1]):
                up, down = x.copy(), x.copy()
                up[i, j] += STEP
                down[i, j] -= STEP
                smooth &= pieces(model, up, data) == pieces(model, down, data) == here
                numeric[c, j] = (loss(up) - loss(down)) / (2 * STEP)
        if not smooth:
            crossed += 1
            continue
        states = [here[i] for i in index]
        for state, g in zip(states, gradient, strict=True):
            where[state] += 1
            if state == 0 and 1 in here[: len(x)]:  # else it may be one of the two that fix b
                assert not g.any()
        size = np.linalg.norm(numeric)
        if size < 1e-8:  # no point matters; the difference is rounding
            assert np.linalg.norm(gradient) < 1e-8
            continue
        compared += 1
        cosine = (gradient * numeric).sum() / (np.linalg.norm(gradient) * size)
        assert cosine >= 0.9999
        assert np.linalg.norm(gradient - numeric) <= 1e-4 * size
    assert compared >= 50
    assert crossed <= 5
    assert min(where.values()) >= 20  # beyond the margin, on it, and bounded


def test_poison_gradient_where_no_multiplier_is_free() -> None:
    """A small C bounds them all; b is then the middle of what is optimal, and moves with x."""
    rng = np.random.default_rng(0)
    x, x_val = rng.normal(size=(12, 3)), rng.normal(size=(40, 3))
    y, y_val = np.arange(12) % 2, np.arange(40) % 2
    for kernel in ("linear", "rbf"):
        model, index = SVC(1e-3, kernel, 0.5), np.array([3])
        fitted = model.fit(x, y)
        np.testing.assert_array_equal(np.abs(fitted.dual_coef_[0]), 1e-3)
        objective = model.poison_objective(x, y, index, x_val, y_val)
        _, gradient = objective(x[index])
        for j in range(3):
            e = np.zeros((1, 3))
            e[0, j] = STEP
            numeric = (objective(x[index] + e)[0] - objective(x[index] - e)[0]) / (2 * STEP)
            assert gradient[0, j] == pytest.approx(numeric, rel=1e-5, abs=1e-10)
        assert gradient.any()


@pytest.mark.parametrize("kernel", ["linear", "rbf"])
def test_poison_gradient_of_duplicates_on_the_margin_is_finite(kernel: str) -> None:
    x = np.repeat(np.array([[1.0, 0.2], [-1.0, 0.1], [0.4, 1.0]]), 3, axis=0)
    y = np.repeat([1, 0, 1], 3)
    _, gradient = SVC(10.0, kernel, 0.5).poison_gradient(x, y, np.array([0, 4]), x + 0.3, y)
    assert np.isfinite(gradient).all()


@pytest.mark.parametrize("kernel", ["linear", "rbf"])
def test_the_objective_does_not_depend_on_where_it_has_been(kernel: str) -> None:
    index = np.array([3, 30])
    objective = SVC(kernel=kernel).poison_objective(X, Y, index, X[:30], Y[:30])
    rng, start = np.random.default_rng(0), X[index].astype(np.float64)
    first = objective(start)
    kept = start.copy()
    for _ in range(10):
        objective(rng.random(start.shape))
    again = objective(start)
    np.testing.assert_array_equal(start, kept)
    assert again[0] == pytest.approx(first[0], rel=1e-10)
    np.testing.assert_allclose(again[1], first[1], rtol=0, atol=1e-9 * np.abs(first[1]).max())


@pytest.mark.parametrize("kernel", ["linear", "rbf"])
def test_a_point_may_use_pixels_that_are_dark_everywhere_else(kernel: str) -> None:
    dark, index = X.astype(np.float64), np.array([5])
    dark[:, :6] = 0
    model, x_val, y_val = SVC(kernel=kernel, gamma=0.5), dark[10:], Y[10:]
    objective = model.poison_objective(dark, Y, index, x_val, y_val)
    objective(dark[index])
    dark[index] += 0.3
    loss, gradient = objective(dark[index])
    expected = model.fit(dark, Y).decision_function(x_val)
    assert loss == pytest.approx(np.maximum(0, 1 - (2 * y_val - 1) * expected).mean(), rel=1e-10)
    for j in (0, 9):
        e = np.zeros((1, 20))
        e[0, j] = STEP
        numeric = (objective(dark[index] + e)[0] - objective(dark[index] - e)[0]) / (2 * STEP)
        assert gradient[0, j] == pytest.approx(numeric, rel=1e-5, abs=1e-9)


def test_bad_poison_input_is_one_line() -> None:
    index = np.array([3])
    objective = SVC().poison_objective(X, Y, index, X, Y)
    for points, message in (
        (np.zeros((2, 20)), "expected"),
        (np.full((1, 20), np.nan), "NaN or infinity"),
    ):
        with pytest.raises(InputError, match=message):
            objective(points)
    with pytest.raises(InputError, match="y_val holds the label 4"):
        SVC().poison_objective(X, Y, index, X, Y + 4)
    with pytest.raises(InputError, match="index is empty"):
        SVC().poison_objective(X, Y, index[:0], X, Y)
