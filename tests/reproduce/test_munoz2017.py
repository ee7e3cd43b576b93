"""The experiments of Munoz-Gonzalez et al.: our figures beside the paper's, and how they show."""

from __future__ import annotations

import io
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from fastadv.reproduce import munoz2017
from fastadv.reproduce import munoz2017_report as report
from fastadv.reproduce.munoz2017 import GENERIC, PERCEPTRON, SPECIFIC, Curve


def last_errors(experiment: munoz2017.Experiment, data: str, points: int) -> tuple[float, ...]:
    """The clean error, and with so many points the optimised and the flipped one, of two splits."""
    few = replace(experiment, dataset=data, points=(points,), splits=2)
    (curve,) = munoz2017.run(experiments=(few,))
    return curve.error[:, 0].mean(), curve.error[:, 1].mean(), curve.flipped[:, 1].mean()


# Fewer images than the paper's, and the same shares of points.


@pytest.mark.slow
@pytest.mark.compiled
def test_six_percent_of_points_nearly_double_the_error_of_softmax_regression() -> None:
    data = "mnist[train=300,val=300,test=2000]"
    clean, poisoned, flipped = last_errors(GENERIC, data, 18)
    assert poisoned >= 1.8 * clean
    assert poisoned - clean >= 4 * (flipped - clean)


@pytest.mark.slow
@pytest.mark.compiled
def test_four_percent_of_points_make_half_of_the_eights_wrong() -> None:
    data = "mnist[train=500,val=1500,test=2000]"
    clean, poisoned, flipped = last_errors(SPECIFIC, data, 20)
    assert clean <= 25
    assert poisoned >= 50
    assert flipped <= clean + 5


@pytest.mark.slow
@pytest.mark.compiled
def test_six_points_do_twice_the_harm_of_six_flips_to_a_perceptron() -> None:
    _, poisoned, flipped = last_errors(PERCEPTRON, PERCEPTRON.dataset, 6)
    assert poisoned >= 2 * flipped


def made() -> list[Curve]:
    curves = []
    for experiment in munoz2017.EXPERIMENTS:
        points = (0, *experiment.points)
        error = np.arange(2.0 * len(points)).reshape(2, -1)
        curves.append(Curve(experiment, points, error, error / 10))
    return curves


def test_the_tables_hold_every_mean_and_what_was_published() -> None:
    out = io.StringIO()
    Console(file=out, width=100).print(report.table(made()))
    text = out.getvalue()
    assert "5.0 ± 2.8" in text
    assert "about twice the clean error" in text
    assert "6.0%" in text


def test_the_files_hold_the_same_numbers(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    names = report.save(made(), tmp_path)
    assert sorted(names) == sorted(path.name for path in tmp_path.iterdir())
    document = json.loads((tmp_path / "munoz2017.json").read_text())
    assert document["experiments"][0]["error"][1][3] == 7.0
    assert "| 60 | 6.0% | 5.0 ± 2.8 |" in (tmp_path / "munoz2017.md").read_text()
