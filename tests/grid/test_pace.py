"""How long the rest of a grid takes, of made-up stages and clocks."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from fastadv.grid.estimate import Pace, seconds


@dataclass
class Work:
    name: str
    weight: float

    def label(self):
        return self.name


class Clock:
    def __init__(self):
        self.now = 100.0

    def __call__(self):
        return self.now


def pace(**stages):
    clock = Clock()
    works = {key: Work(*stage) for key, stage in stages.items()}
    return Pace(works, dict(zip(works, seconds(works.values(), None), strict=True)), clock), clock


def test_a_stage_takes_what_those_took_that_differ_by_the_seed():
    fits = {f"fit{k}": (f"none: training, seed {k}", 1.0) for k in range(3)}
    found, clock = pace(**fits, attack0=("pgd: attacking none, seed 0", 2.0))
    assert found.left() == float("inf")
    clock.now += 4
    found.end("fit0", 4.0)
    assert found.left() == pytest.approx(4 + 4 + 2 * 4)  # the attack as said, 4 times as long
    clock.now += 1
    found.end("attack0", 1.0)
    assert found.left() == pytest.approx(4 + 4)
    clock.now += 2
    found.end("fit1", 2.0)
    assert found.left() == pytest.approx(3)
    found.end("fit2", None)  # failed
    assert found.left() == 0.0


def test_two_processes_take_half_as_long_and_their_start_is_no_pace():
    found, clock = pace(**{str(k): (f"none: training, seed {k}", 1.0) for k in range(10)})
    clock.now += 30  # until the processes have started
    for k in range(0, 4, 2):
        clock.now += 6
        found.end(str(k), 6.0)
        found.end(str(k + 1), 6.0)
    assert found.left() == pytest.approx(6 * 6 / 2)


def test_of_nothing_that_has_run_nothing_is_known():
    found, _ = pace(a=("a, seed 0", 1.0), b=("b, seed 0", 1.0))
    found.end("a", None)
    assert found.left() == float("inf")
    found.end("b", None)
    assert found.left() == 0.0
