"""The peer of the SVM's poisoning: the same loss, gradient and end as ours."""

from __future__ import annotations

import numpy as np
import pytest

from fastadv import SVC, load_dataset, make_attack
from fastadv.attacks.poisoning import ascent, biggio
from fastadv.benchmarks.peers import svm_poisoning


@pytest.mark.slow
@pytest.mark.compiled
@pytest.mark.parametrize("name", svm_poisoning.PEERS)
def test_peer_does_the_same_work(name: str) -> None:
    ds = load_dataset("mnist[classes=7-1,train=100,val=500]")
    X, X_val = ds.x_train.astype(np.float64), ds.x_val.astype(np.float64)
    objective = svm_poisoning.PEERS[name](X, 2.0 * ds.y_train - 1, 1.0, X_val, 2.0 * ds.y_val - 1)
    ours = make_attack("biggio[points=1,labels=1,restarts=1,steps=30]").poison(
        SVC(), ds.x_train, ds.y_train, ds.x_val, ds.y_val, task=ds.task
    )
    assert ours.origin is not None
    start = X[ours.origin[0]]
    for point in (start, ours.X[-1].astype(np.float64)):
        rows, labels = np.vstack([X, point]), np.append(ds.y_train, 1)
        loss, gradient = SVC().poison_gradient(rows, labels, np.array([100]), X_val, ds.y_val)
        theirs = objective(point)
        assert theirs[0] == pytest.approx(loss, rel=1e-4)
        np.testing.assert_allclose(theirs[1], gradient[0], atol=1e-3 * np.abs(gradient).max())
    _, loss = svm_poisoning.attack(objective, start, 30, biggio._STEP_SIZE, ascent.MOMENTUM)
    assert loss == pytest.approx(ours.history[-1], rel=0.02)


@pytest.mark.slow
@pytest.mark.compiled
def test_race_ends_at_the_same_loss() -> None:
    (race,) = svm_poisoning.races()
    ours, *peers = [runner.prepare()()["hinge loss"] for runner in race.runners]
    assert peers == pytest.approx([ours] * len(peers), rel=0.02)
