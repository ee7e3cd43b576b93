"""What other libraries compute is what we compute; run where they are installed."""

from __future__ import annotations

import numpy as np
import pytest
from helpers import blobs

from fastadv.benchmarks.peers import mlp_poisoning as peers

X, Y = blobs(40)
X_VAL, Y_VAL = blobs(15, seed=4)


@pytest.mark.parametrize("peer", peers.PEERS)
@pytest.mark.parametrize(("hidden", "momentum"), [(0, 0.0), (5, 0.0), (5, 0.9)])
def test_gradients_agree(peer: str, hidden: int, momentum: float) -> None:
    pytest.importorskip(peer.partition(",")[0])
    problem = peers.Problem(
        X.astype(np.float64), Y, X_VAL.astype(np.float64), Y_VAL, 3, hidden, 30, momentum=momentum
    )
    loss, gradient = peers.fastadv_objective(problem)(problem.points)
    other_loss, other = peers.PEERS[peer](problem)(problem.points)
    assert other_loss == pytest.approx(loss, rel=1e-10)
    np.testing.assert_allclose(other, gradient, rtol=1e-8, atol=1e-12)
