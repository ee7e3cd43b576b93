"""The suite that judges stadv's flows: on a small network, without JAX."""

from __future__ import annotations

import io
import json
import re
from pathlib import Path

import numpy as np
import pytest
from helpers import TASK, blobs, small_mlp
from rich.console import Console

from fastadv.attacks.evasion.flow_problem import FlowProblem
from fastadv.benchmarks import flow_adam, flows
from fastadv.benchmarks.flows_table import flows_table
from fastadv.benchmarks.peers import NEEDS
from fastadv.benchmarks.peers.stadv import Problem
from fastadv.cli.app import main
from fastadv.kernels.images import flow as kernels


def small() -> Problem:
    x, y = blobs(40)
    model = small_mlp(12).fit(x, y)
    right = np.flatnonzero(model.predict(x) == y)[:12]
    return Problem(model, x[right], y[right], TASK)


@pytest.mark.compiled
def test_more_steps_of_adam_find_less_and_what_they_keep_succeeds() -> None:
    posed = small()
    problem = FlowProblem(posed.model, posed.X, posed.y, None, TASK, 0.0)
    few, many = (flow_adam.least_flow(problem, steps=n, seed=0) for n in (40, 300))
    assert many.found.all()
    assert np.median(many.loss) < np.median(few.loss)
    out, losses = np.empty_like(posed.X), np.empty(len(posed.X))
    kernels.warp(posed.X, many.flow, TASK.image_shape[2], out)
    kernels.flow_loss(many.flow, losses)
    assert np.all(posed.model.predict(out) != posed.y)
    np.testing.assert_allclose(losses, many.loss, rtol=1e-6)
    np.testing.assert_allclose(many.flow.mean(axis=(2, 3)), 0.0, atol=1e-6)


def test_what_the_schedules_begin_and_end_with() -> None:
    assert flow_adam.rate_at(0.0) == pytest.approx(flow_adam.RATE)
    assert flow_adam.rate_at(1.0) == pytest.approx(flow_adam.LAST_RATE)
    assert flow_adam.smoothing_at(0.0) == pytest.approx(flow_adam.SMOOTH)
    assert flow_adam.smoothing_at(1.0) == pytest.approx(kernels.ROOT_EPS)


def test_nearness_counts_an_image_that_only_ours_fails_on() -> None:
    best = np.array([1.0] * 9 + [np.inf])
    assert flows.nearness(np.array([1.0] * 7 + [1.5, np.inf, 3.0]), best) == (1.0, np.inf)
    assert flows.nearness(np.array([1.02] * 9 + [np.inf]), best) == (1.02, 1.02)


def judged(**changes: object) -> flows.Judged:
    kept = {"net": "adv_training, relu", "n": 10, "median": 1.0, "ninety": 1.05, "success": 1.0, "best_success": 1.0,
            "seconds": 0.5, "peer_seconds": 10.0, "peer_steps": 300, "peer_starts": 2}  # fmt: skip
    return flows.Judged(**(kept | {"matched": True} | changes))  # type: ignore[arg-type]


def test_what_falls_short_is_named_and_red() -> None:
    assert judged().short == []
    assert judged(median=1.04).short == ["median"]
    assert judged(ninety=1.07).short == ["ninety"]
    assert judged(success=0.99).short == ["success"]
    assert judged(success=0.99, best_success=0.995).short == []
    assert judged(seconds=1.0).short == ["times"]
    assert judged(peer_seconds=None).short == []
    stream = io.StringIO()
    rows = [judged(ninety=1.073), judged(matched=False, reason="no jax"), flows.Judged(net="b")]
    Console(file=stream, width=80, force_terminal=True, color_system="standard").print(
        flows_table(rows)
    )
    text = stream.getvalue()
    red = re.findall(r"\x1b\[[\d;]*31m *([\d.]+)", text)
    assert red == ["1.073"]
    plain = io.StringIO()
    Console(file=plain, width=80).print(flows_table(rows))
    assert max(map(len, plain.getvalue().splitlines())) <= 80
    for shown in ("2 x 300", "> 2 x 300", "no jax", " 20 "):
        assert shown in plain.getvalue()


@pytest.mark.compiled
def test_the_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(flows, "problem", lambda *_: small())
    monkeypatch.setattr(flows, "STEPS", 60)
    monkeypatch.setattr(flows, "FASHION", "/not/there")
    nets = (flows.Net("here", "mnist", "mlp"), flows.Net("absent", "/not/there", "mlp"))
    monkeypatch.setattr(flows, "NETS", nets)
    monkeypatch.setitem(NEEDS, "jax", (("no_such_module",), "pip install it"))
    file = tmp_path / "flows.json"
    assert main(["bench", "--suite", "flows", "--rounds", "1", "--json", str(file)]) == 0
    shown = capsys.readouterr().out
    assert "/not/there is not there" in shown
    assert "no_such_module is not installed: pip install it" in shown
    first, second = json.loads(file.read_text())["judged"]
    assert (first["net"], first["n"], first["success"]) == ("here", 12, 1.0)
    assert 0 < first["median"] <= first["ninety"]
    assert second["median"] is None
    assert main(["bench", "--suite", "flows", "--only", "nothing"]) == 2
    assert "has no such work; it has here; absent" in capsys.readouterr().err


def test_jax_takes_the_same_steps() -> None:
    pytest.importorskip("jax")
    from fastadv.benchmarks.peers.flows import jax

    posed = small()
    problem = FlowProblem(posed.model, posed.X, posed.y, None, TASK, 0.0)
    ours = flow_adam.least_flow(problem, steps=60, seed=0)
    # The first images of a batch of another size start elsewhere, so that only the level agrees.
    theirs = jax(posed)(60, 1)
    assert np.median(theirs) == pytest.approx(np.median(ours.loss), rel=0.1)
