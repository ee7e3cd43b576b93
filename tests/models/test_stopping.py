"""When training ends before its last epoch, and what it says where it has not settled."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from helpers import blobs, small_mlp
from sklearn.exceptions import ConvergenceWarning

from fastadv.errors import InputError
from fastadv.kernels.network import loss
from fastadv.models.mlp import MLPClassifier
from fastadv.models.stopping import Patience, why_unsettled
from fastadv.registry import make_attack
from fastadv.threads import set_threads

X, Y = blobs(90)


def epochs(scores: list[float], tol: float, n_iter_no_change: int) -> int:
    """How many epochs with these scores are run."""
    patience = Patience(tol, n_iter_no_change)
    for number, score in enumerate(scores, start=1):
        if patience.is_over(score):
            return number
    return len(scores)


def test_patience_is_that_of_scikit_learn() -> None:
    """Worked by hand: an epoch is idle if it is not `tol` above the best of all before it."""
    flat = [0.5] * 9
    assert epochs(flat, 0.0, 3) == 9, "no worse is progress where tol is 0"
    assert epochs(flat, 0.1, 3) == 5, "the first is progress; stop with the fourth idle one"
    rising = [0.1 * k for k in range(9)]
    assert epochs(rising, 0.05, 1) == 9
    assert epochs(rising, 0.15, 1) == 3, "small steps are idle, though each is the best"
    assert epochs([0.0, 0.2, 0.1, 0.3, 0.2, 0.2, 0.2], 0.05, 2) == 7, "progress starts it anew"


def test_a_constant_rate_ends_when_the_loss_is_at_rest() -> None:
    model = small_mlp(400, learning_rate_init=0.1, tol=1e-3, n_iter_no_change=3).fit(X, Y)
    assert 4 < model.n_iter_ == len(model.loss_curve_) < 400
    scores = [-loss for loss in model.loss_curve_]
    assert epochs([*scores, -np.inf], 1e-3, 3) == model.n_iter_
    assert model.unsettled_ is None
    whole = small_mlp(model.n_iter_, learning_rate_init=0.1).fit(X, Y)
    np.testing.assert_array_equal(whole._params, model._params)


@pytest.mark.parametrize("schedule", ["linear", "cooldown"])
def test_a_rate_that_falls_goes_to_its_end(schedule: str) -> None:
    model = small_mlp(9, learning_rate=schedule, tol=10.0, n_iter_no_change=1).fit(X, Y)
    assert model.n_iter_ == 9
    assert small_mlp(9, tol=None, n_iter_no_change=1).fit(X, Y).n_iter_ == 9


def cross_entropy(
    model: MLPClassifier, x: np.ndarray, _: np.ndarray, y: np.ndarray, out: np.ndarray
) -> float:
    logits, hidden = model.network().forward(x)
    losses, dlogits = np.empty(len(x)), np.empty_like(logits)
    loss.cross_entropy(logits, y, losses, dlogits)
    out[:] = model.network().backward(x, hidden, dlogits)
    return float(losses.sum())


@pytest.mark.parametrize("way", ["fit", "fit_perturbed", "fit_gradient"])
def test_early_stopping_keeps_the_weights_that_held_out_rows_like_best(way: str) -> None:
    settings = {"early_stopping": True, "validation_fraction": 0.2, "learning_rate_init": 0.1}
    model, seen = small_mlp(60, tol=1e-4, n_iter_no_change=2, **settings), set()

    def perturb(_: object, x: np.ndarray, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
        seen.update(rows.tolist())
        np.testing.assert_array_equal(x, X[rows])
        np.testing.assert_array_equal(columns, Y[rows])
        return x

    model.fit_perturbed(X, Y, perturb)
    held = np.setdiff1d(np.arange(len(X)), list(seen))
    np.testing.assert_array_equal(np.bincount(Y[held]), [6, 6, 6])
    if way == "fit":
        model.fit(X, Y)
    elif way == "fit_gradient":
        model.fit_gradient(X, Y, cross_entropy)
    scores = model.validation_scores_
    assert scores is not None
    assert epochs([*scores, -np.inf], 1e-4, 2) == model.n_iter_ == len(scores) < 60
    assert model.score(X[held], Y[held]) == max(scores)
    until_best = small_mlp(scores.index(max(scores)) + 1, **settings).fit(X, Y)
    np.testing.assert_allclose(until_best._params, model._params, atol=1e-4)


def test_early_stopping_has_the_same_bits_for_any_threads() -> None:
    found = set()
    for threads in (1, 2):
        set_threads(threads)
        model = small_mlp(20, tol=1e-4, early_stopping=True, n_iter_no_change=2).fit(X, Y)
        found.add((model._params.tobytes(), tuple(model.validation_scores_ or ())))
    assert len(found) == 1


def test_what_has_not_settled() -> None:
    moving, resting = [2.0, 1.0, 0.8], [2.0, 1.0, 0.95]
    assert "constant" in str(why_unsettled("constant", 3, resting))
    assert why_unsettled("constant", 4, resting) is None, "it ended by itself"
    for schedule in ("linear", "cooldown"):
        assert why_unsettled(schedule, 3, resting) is None
        assert "moved by more than 0.1" in str(why_unsettled(schedule, 3, moving))
        assert "moved by more than 0.1" in str(why_unsettled(schedule, 3, [2.0, 0.8, 1.0]))
        assert "one epoch" in str(why_unsettled(schedule, 1, [0.1]))


def test_fit_warns_of_it() -> None:
    with pytest.warns(ConvergenceWarning, match="training has not settled: the rate was constant"):
        model = small_mlp(2, tol=1e-4).fit(X, Y)
    assert model.unsettled_ is not None
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert small_mlp(2, tol=None).fit(X, Y).unsettled_ is None, "not asked"
        assert small_mlp(60, learning_rate="linear", tol=1e-4).fit(X, Y).unsettled_ is None


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"early_stopping": True}, "no derivative through early_stopping"),
        ({"max_iter": 12, "n_iter_no_change": 10}, "no derivative through training that tol can"),
        ({"max_iter": 11, "n_iter_no_change": 10}, None),
        ({"max_iter": 12, "n_iter_no_change": 10, "tol": None}, None),
        ({"max_iter": 12, "n_iter_no_change": 10, "learning_rate": "cooldown"}, None),
    ],
)
def test_the_derivative_is_refused_where_training_can_end(
    changes: dict[str, object], message: str | None
) -> None:
    model, index = small_mlp(**{"tol": 1e-4, **changes}), np.array([0])
    reason = make_attack("biggio").supports(model, None)
    if message is None:
        assert reason is None
        model.poison_objective(X, Y, index, X, Y)
        return
    assert message in str(reason)
    with pytest.raises(InputError, match=message):
        model.poison_objective(X, Y, index, X, Y)
