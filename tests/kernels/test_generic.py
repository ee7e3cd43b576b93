"""A processor of which nothing but the instruction set is known: narrow registers, and none fused."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numba
import pytest
from numba.core.registry import cpu_target

HERE = Path(__file__).parent
GENERIC = {"NUMBA_CPU_NAME": "generic", "NUMBA_CPU_FEATURES": ""}
# Whatever calls kernels/machine/.
TESTS = [
    "test_blocks.py",
    "test_product.py::test_products_equal_those_in_float64",
    "test_network.py::test_rows_are_added_for_any_width",
    "test_network.py::test_a_row_is_added_to_rows_of_any_width",
    "test_network.py::test_non_zeros_are_those_of_the_matrix",
    "test_network.py::test_the_exponential_is_right_to_two_units_in_the_last_place",
    "test_generic.py::test_numba_compiles_for_the_processor_that_it_is_told",
]


@pytest.mark.compiled
@pytest.mark.skipif(numba.config.CPU_NAME != "generic", reason="run by the test below")
def test_numba_compiles_for_the_processor_that_it_is_told() -> None:
    assert cpu_target.target_context.codegen().magic_tuple()[1:] == ("generic", "")


@pytest.mark.compiled
@pytest.mark.skipif(bool(numba.config.BOUNDSCHECK), reason="once is enough")
def test_what_stands_on_machine_code_is_right_for_a_generic_processor() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "no:xdist", "-p", "no:cov", *TESTS],
        cwd=HERE, env={**os.environ, **GENERIC}, check=False, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert " skipped" not in done.stdout
