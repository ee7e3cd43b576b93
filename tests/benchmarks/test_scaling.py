"""How time and memory grow: what is measured, and the images that are scaled up."""

from __future__ import annotations

import io
import sys
from pathlib import Path

import numpy as np
import pytest
from helpers import TASK, Clock, blobs, small_mlp
from rich.console import Console

from fastadv.benchmarks import scaling
from fastadv.benchmarks.scaling_plot import scaling_plot
from fastadv.benchmarks.scaling_table import scaling_table


def test_an_exponent_and_the_memory_are_those_of_the_work(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock()
    monkeypatch.setattr("fastadv.benchmarks.scaling.time", clock)

    def prepare(size: int) -> scaling.Call:
        def work() -> None:
            held = np.ones(size * 2**17)  # MiB
            clock.sleep(0.002 * size**2)
            del held

        return work

    points = scaling.run(scaling.Curve("sleep", "size", (4, 16), prepare), rounds=1)
    assert points[0].exponent is None
    assert points[1].exponent == pytest.approx(2)
    if sys.platform == "linux":
        assert [p.memory for p in points] == pytest.approx([4, 16], abs=2)


def test_images_scaled_up_are_seen_as_before() -> None:
    X, y = blobs()
    model = small_mlp(6).fit(X, y)
    larger, same, task = scaling.scaled_up(X, model, TASK, 3)
    assert larger.shape == (len(X), task.n_features) == (len(X), 9 * TASK.n_features)
    np.testing.assert_allclose(same.logits(larger), model.logits(X), atol=1e-5)


def test_the_table_fits_and_the_picture_is_drawn(tmp_path: Path) -> None:
    curves = scaling.curves()
    points = [
        scaling.Point(work=c.work, by=c.by, size=n, seconds=n**1.5, memory=9999.9, exponent=1.5)
        for c in curves
        for n in c.sizes
    ]
    stream = io.StringIO()
    Console(file=stream, width=100).print(scaling_table(points, 3, "a machine"))
    assert max(map(len, stream.getvalue().splitlines())) <= 100
    assert stream.getvalue().count("worse than linear") == len(points)
    pytest.importorskip("matplotlib")
    scaling_plot(tmp_path / "a.png", points)
    assert (tmp_path / "a.png").read_bytes().startswith(b"\x89PNG")
