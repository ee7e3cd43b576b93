"""Grids of random specs, in short: ``specs_that_run.py`` tries as many as one likes."""

from __future__ import annotations

import random
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parent))
import specs_that_run
from specs_that_run import cell, fault_of, no_numbers

pytestmark = pytest.mark.compiled

_MLP = "mlp[hidden_layer_sizes=5,batch_size=8,max_iter=3,activation=relu]"
_ONE = {"model": _MLP, "data": "grey", "samples": 1, "repeats": 1, "seed": 0}

# What once ended in another exception, or in no number.
FOUND: list[dict[str, Any]] = [
    _ONE | {"attacks": "stadv[tau=none,target=random,max_shift=1.0]", "defenses": "bit_depth", "seed": 2**31},
    _ONE | {"attacks": "square[eps=1e300,norm=l2]", "defenses": "none", "model": "svm[kernel=linear]", "data": "columns"},
    _ONE | {"attacks": "noise[eps=1e300,norm=l2,draws=2]", "defenses": "dpa[blur=1.0]"},
    _ONE | {"attacks": "apgd[eps=1e300,restarts=1]", "defenses": "bit_depth[bits=5]", "samples": 12},
]  # fmt: skip


@pytest.mark.parametrize("given", FOUND, ids=lambda given: given["attacks"])
def test_what_was_found_once_is_a_row_or_a_line(given: dict[str, Any]) -> None:
    assert fault_of(given) is None


@pytest.mark.parametrize("seed", range(12))
def test_random_specs_are_rows_or_a_line(seed: int) -> None:
    given = cell(random.Random(seed))
    assert fault_of(given) is None, given


@pytest.mark.slow
def test_more_of_them() -> None:
    for seed in range(12, 112):
        given = cell(random.Random(seed))
        assert fault_of(given) is None, given


def test_a_fault_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    given = _ONE | {"attacks": "noise", "defenses": "median"}
    median = "fastadv.defenses.preprocessors.median.Median.wrap"
    with monkeypatch.context() as broken:
        broken.setattr(median, lambda *_, **__: 1 / 0)
        assert "ZeroDivisionError" in (fault_of(given) or "")
    with monkeypatch.context() as broken:
        broken.setattr(specs_that_run, "run_grid", lambda **_: [{"a": [{"b": np.nan}]}])
        assert fault_of(given) == "row.a.b is nan"
    assert list(no_numbers({"a": [1.0, {"b": 2}]})) == []
