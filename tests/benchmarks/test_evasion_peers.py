"""The comparison with other libraries: what can be tested where they are not installed."""

from __future__ import annotations

import importlib.util

import numpy as np
import pytest
from helpers import TASK, blobs, small_mlp

from fastadv import make_attack
from fastadv.benchmarks.peers import NEEDS, evasion

X, Y = blobs()
# Some of the libraries import others by names that are to go.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")


def test_races_name_what_they_need_and_train_nothing_yet() -> None:
    evasion._trained.cache_clear()
    races = evasion.races(samples=20)
    assert evasion._trained.cache_info().currsize == 0
    for race in races:
        assert make_attack(race.name.partition(", ")[2])
        ours, *peers = race.runners
        assert (ours.name, ours.needs) == ("fastadv", ())
        assert peers
        libraries = [peer for peer in peers if not peer.name.startswith("fastadv")]
        assert all(peer.needs == NEEDS[peer.name][0] for peer in libraries)


def test_an_image_counts_if_it_is_within_box_and_budget() -> None:
    model = small_mlp(6).fit(X, Y)
    problem = evasion.Problem("pgd[eps=0.2]", model, X, Y, TASK)
    clean, x_adv = float(np.mean(model.predict(X) == Y)), evasion.fastadv(problem)()
    ours = problem.quality(x_adv)
    assert ours["accuracy"] < clean
    assert ours["median linf"] == pytest.approx(0.2, rel=1e-4)
    assert problem.quality(X) == {"accuracy": clean}
    assert problem.quality(x_adv + 1.0) == {"accuracy": clean}
    beyond = problem.quality(make_attack("pgd[eps=0.4]").perturb(model, X, Y, task=TASK).x_adv)
    assert beyond["accuracy"] > ours["accuracy"]
    assert beyond["median linf"] == pytest.approx(0.4, rel=1e-4)


@pytest.mark.parametrize("attack", evasion.ALL_IMAGES)
def test_what_is_written_for_libraries_does_the_same_attack(attack: str) -> None:
    model = small_mlp(6).fit(X, Y)
    problem = evasion.Problem(attack, model, X, Y, TASK)
    ours = problem.quality(evasion.fastadv(problem)())
    for name, peer in evasion.ALL_IMAGES[attack]:
        if all(importlib.util.find_spec(module) for module in NEEDS.get(name, ((), ""))[0]):
            theirs = problem.quality(peer(problem)())
            assert theirs["accuracy"] == pytest.approx(ours["accuracy"], abs=1.5 / len(X))
