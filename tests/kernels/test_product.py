"""The product of matrices: right, and a row's bits wherever it stands."""

import os
import subprocess
import sys

import llvmlite.binding
import numpy as np
import pytest

from fastadv.kernels.linalg import product as kernel

SHAPES = [(1, 1, 1), (3, 784, 10), (9, 70, 130), (64, 33, 64), (131, 130, 97), (5, 1, 200)]


def of(x: np.ndarray, w: np.ndarray, transposed: bool = False) -> np.ndarray:
    w = w.T if transposed else w
    d, m = w.shape
    packed = np.full(kernel.packed_size(d, m, w), np.nan, w.dtype)
    kernel.pack(w, packed)
    out = np.full((len(x), m), np.nan, x.dtype)
    kernel.product(x, packed, out)
    return out


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_products_equal_those_in_float64(shape: tuple[int, int, int], dtype: type) -> None:
    n, d, m = shape
    rng = np.random.default_rng(0)
    x, w = rng.normal(size=(n, d)).astype(dtype), rng.normal(size=(d, m)).astype(dtype)
    size = np.abs(x.astype(np.float64)) @ np.abs(w.astype(np.float64))  # of the terms
    expected = x.astype(np.float64) @ w.astype(np.float64)
    for transposed in (False, True):
        ours = of(x, np.ascontiguousarray(w.T) if transposed else w, transposed)
        assert (np.abs(ours - expected) <= d * np.finfo(dtype).eps * size).all()


@pytest.mark.parametrize("d", [10, 130, 784])
@pytest.mark.parametrize("m", [3, 16, 70, 128])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_row_has_the_same_bits_wherever_it_stands(d: int, m: int, dtype: type) -> None:
    rng = np.random.default_rng(1)
    x, w = rng.normal(size=(1, d)).astype(dtype), rng.normal(size=(d, m)).astype(dtype)
    alone = of(x, w)
    for n in (2, 5, 67):
        together = of(np.repeat(x, n, axis=0), w)
        np.testing.assert_array_equal(together, np.repeat(alone, n, axis=0))


def test_nothing_times_a_matrix_and_anything_times_nothing() -> None:
    assert of(np.empty((0, 4)), np.ones((4, 3))).shape == (0, 3)
    np.testing.assert_array_equal(of(np.empty((2, 0)), np.empty((0, 3))), np.zeros((2, 3)))


_PRINT_BITS = """
import hashlib
import numpy as np
from tests.kernels.test_product import of
rng, digest = np.random.default_rng(2), hashlib.sha256()
for dtype in (np.float32, np.float64):
    x, w = rng.normal(size=(9, 130)).astype(dtype), rng.normal(size=(130, 97)).astype(dtype)
    digest.update(of(x, w).tobytes())
print(digest.hexdigest())
"""


@pytest.mark.slow
@pytest.mark.compiled
@pytest.mark.skipif(
    "+fma" not in llvmlite.binding.get_host_cpu_features().flatten(), reason="runs code for AVX2"
)
def test_the_bits_are_those_of_any_processor_that_fuses(tmp_path: object) -> None:
    """Compiled for registers of 32 bytes, blocks are narrower; every entry is the same sum."""
    bits = set()
    kept = {k: v for k, v in os.environ.items() if not k.startswith("NUMBA_CPU_")}
    for features in ("+avx2,+fma", None):
        chosen = {"NUMBA_CPU_NAME": "haswell", "NUMBA_CPU_FEATURES": features} if features else {}
        environment = {**kept, **chosen, "NUMBA_CACHE_DIR": str(tmp_path)}
        done = subprocess.run(
            [sys.executable, "-c", _PRINT_BITS], env=environment, check=True, capture_output=True,
            text=True,
        )  # fmt: skip
        bits.add(done.stdout)
    assert len(bits) == 1
