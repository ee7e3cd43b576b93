"""What the decorators of kernels promise for all of them."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from helpers import kernels

import fastadv

LOGISTIC = """
import numpy as np
from fastadv.kernels.network import dense
from fastadv.kernels.linalg import exponential
out = np.full((1, 1), 0.5, np.float32)
dense.activate(out, dense.LOGISTIC)
print(exponential.__file__, out[0, 0])
"""


@pytest.mark.compiled
def test_a_fast_kernel_has_one_meaning_for_all_its_callers() -> None:
    # Not inlined, a caller's copy of it would be replaced by whichever was loaded first.
    every = kernels()
    assert len(every) > 50
    for kernel in every.values():
        options = kernel.targetoptions
        assert options["fastmath"] is False or options.get("parallel") or options["forceinline"]


@pytest.mark.slow
@pytest.mark.compiled
def test_a_change_in_a_kernel_reaches_those_that_call_it(tmp_path: Path) -> None:
    """Numba alone would go on with the machine code of the caller, whose file is as it was."""
    package = Path(fastadv.__file__).parent
    shutil.copytree(package, tmp_path / "fastadv", ignore=shutil.ignore_patterns("mnist", "*.pyc"))
    changed = tmp_path / "fastadv" / "kernels" / "linalg" / "exponential.py"

    def logistic() -> float:
        environment = {**os.environ, "NUMBA_CACHE_DIR": str(tmp_path / "cache")}
        done = subprocess.run(
            [sys.executable, "-c", LOGISTIC],
            cwd=tmp_path, env=environment, check=True, capture_output=True, text=True,
        )  # fmt: skip
        file, value = done.stdout.split()
        assert file == str(changed)  # not the installed package
        return float(value)

    assert logistic() == pytest.approx(1 / (1 + 2.718281828**-0.5))
    with changed.open("a") as file:
        file.write("\n\n@exact_kernel\ndef exp(x):\n    return x + np.float32(3.0)\n")
    assert logistic() == pytest.approx(1 / (1 + 2.5))
