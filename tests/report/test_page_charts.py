"""The drawings of a cell: points where the runs are, bars as high as there are images."""

from __future__ import annotations

import itertools
import re

import numpy as np
import pytest
from made_rows import figure

from fastadv.grid.row import Figure, Run
from fastadv.report.page_charts import Strip, distances_svg, runs_svg, strips
from fastadv.report.story import QUANTILES, Distance, Story


def told(kind, runs, **changes):
    return Story("pgd", "none", kind, "mnist", "mlp", "fastadv grid", runs=tuple(runs), **changes)


def attributes(drawing, tag, name):
    return [float(x) for x in re.findall(rf'<{tag}[^>]* {name}="(-?[\d.]+)"', drawing)]


def scale(drawing):
    """Return what turns a place into a number, by the ticks of the axis."""
    ticks = re.findall(r'<text x="([\d.]+)"[^>]*text-anchor="middle">(-?[\d.]+)<', drawing)
    (x0, v0), (x1, v1) = ticks[0], ticks[-1]
    step = (float(v1) - float(v0)) / (float(x1) - float(x0))
    return lambda x: float(v0) + step * (x - float(x0))


def distance(values, budget=None):
    values = np.asarray(values, dtype=np.float64)
    quantiles = tuple(float(q) for q in np.quantile(values, QUANTILES))
    return Distance("flow_loss", values, quantiles, budget)


def test_runs_are_points_over_their_mean_and_its_interval():
    mean = Figure(0.4, 0.31, 0.49, 100, 3)
    drawing = runs_svg([Strip("accuracy", (35.0, 40.0, 45.0), mean)])
    number = scale(drawing)
    found = [number(x) for x in attributes(drawing, "circle", "cx")]
    assert found == pytest.approx([35, 40, 45], abs=0.05)
    (low, at), (high, _) = (
        attributes(drawing, 'line class="(?:interval|mean)"', x) for x in ("x1", "x2")
    )
    assert [number(x) for x in (low, at, high)] == pytest.approx([31, 40, 49], abs=0.05)
    assert "accuracy: 35.0, 40.0, 45.0" in drawing


def test_poison_is_shown_by_what_it_takes_beside_random_flips():
    runs = [
        Run("a", 0, 10, clean_accuracy=0.98, attacked_accuracy=0.90, baseline_accuracy=0.97),
        Run("b", 1, 10, clean_accuracy=0.96, attacked_accuracy=0.93, baseline_accuracy=0.97),
    ]  # fmt: skip
    own, flips = strips(told("poisoning", runs, lost=figure(0.055), flips_lost=figure(0.0)))
    assert own.values == pytest.approx((8, 3))
    assert flips.values == pytest.approx((1, -1))
    assert own.figure == figure(0.055)
    drawing = runs_svg([own, flips])
    found = [scale(drawing)(x) for x in attributes(drawing, "circle", "cx")]
    assert found == pytest.approx([8, 3, 1, -1], abs=0.05)


def test_points_do_not_hide_one_another():
    values = (10.0, 10.0, 10.0, 10.0, 10.5, 12.0)
    drawing = runs_svg([Strip("accuracy", values, None)])
    places = [
        *zip(attributes(drawing, "circle", "cx"), attributes(drawing, "circle", "cy"), strict=True)
    ]
    apart = [np.hypot(a[0] - b[0], a[1] - b[1]) for a, b in itertools.combinations(places, 2)]
    assert min(apart) >= 7  # as wide as a point


def test_one_run_has_no_strip():
    assert strips(told("evasion", [Run("a", 0, 10, attacked_accuracy=0.5)])) == []


def test_bars_are_as_high_as_there_are_images():
    values = [0.5] * 4 + [1.5] * 2 + [2.5] * 8 + [24.0]
    drawing = distances_svg(distance(values))
    counts = [int(n) for n in re.findall(r"<title>[^<]*: (\d+)</title>", drawing)]
    heights = attributes(drawing, "rect", "height")
    assert sum(counts) == len(values)
    assert max(counts) == 8
    np.testing.assert_allclose(heights, 130 * np.array(counts) / 8, atol=0.05)


def test_bars_within_the_budget_are_apart_from_those_beyond():
    values = np.linspace(0.1, 9.9, 200)
    drawing = distances_svg(distance(values, budget=4.0))
    bars = re.findall(r'<rect class="(\w+)"[^>]*><title>[^<]*: (\d+)<', drawing)
    within = sum(int(n) for kind, n in bars if kind == "within")
    assert within == int((values <= 4.0).sum())
    (at,) = attributes(drawing, 'line class="budget"', "x1")
    assert scale(drawing)(at) == pytest.approx(4.0, abs=0.02)


def test_what_is_far_beyond_is_in_the_last_bar():
    values = [*np.linspace(1, 2, 300), 500.0]
    drawing = distances_svg(distance(values))
    *_, last = re.findall(r"<title>([^<]*)</title>", drawing)
    assert "and more" in last
    counts = [int(n) for n in re.findall(r"<title>[^<]*: (\d+)</title>", drawing)]
    assert sum(counts) == len(values)


def test_a_budget_far_away_does_not_press_the_bars_together():
    drawing = distances_svg(distance(np.linspace(0.1, 0.4, 50), budget=30.0))
    assert "budget 30" in drawing
    assert attributes(drawing, 'line class="budget"', "x1") == []
    assert "beyond" not in drawing


@pytest.mark.parametrize("value", [0.1, 0.0])
def test_distances_that_are_all_alike_are_one_bar(value):
    drawing = distances_svg(distance([value] * 7, budget=0.1))
    assert re.findall(r'<rect class="(\w+)"', drawing) == ["within"]
    assert ": 7</title>" in drawing
    assert attributes(drawing, "rect", "width")[0] > 5


def test_the_name_of_a_distance_is_only_text():
    drawing = distances_svg(Distance('"><script>', np.array([1.0, 2.0]), (1.0,) * len(QUANTILES)))
    assert "<script" not in drawing
    assert "&lt;script&gt;" in drawing
