"""An exponential that vectorises: NumPy's is a call for every value."""

import numpy as np

from fastadv.kernels._intrinsics import float_of_bits
from fastadv.kernels._jit import exact_kernel

_LEAST, _MOST = np.float32(-87.33654), np.float32(88.37626)  # beyond them float32 ends
_LOG2_E = np.float32(1.4426950408889634)
_LN2_HIGH, _LN2_LOW = np.float32(0.693359375), np.float32(-2.12194440e-4)  # n * high is exact
# Of (exp(r) - 1 - r) / r^2 on |r| <= ln(2) / 2, the polynomial of least error (Chebyshev nodes)
_C0, _C1, _C2 = np.float32(0.5), np.float32(0.16666667), np.float32(0.041666465)
_C3, _C4, _C5 = np.float32(8.3333109e-3), np.float32(1.3933686e-3), np.float32(1.9891031e-4)


@exact_kernel
def exp(x):
    """Return exp(x) of a float32, to 2 units in the last place; of NaN, NaN.

    exp(x) = 2^n exp(r) with n the nearest whole number to x / ln(2).
    """
    x = _LEAST if x < _LEAST else x  # in this order a NaN stays what it is
    x = _MOST if x > _MOST else x
    n = np.floor(x * _LOG2_E + np.float32(0.5))
    r = (x - n * _LN2_HIGH) - n * _LN2_LOW
    p = ((((_C5 * r + _C4) * r + _C3) * r + _C2) * r + _C1) * r + _C0
    return (p * r * r + r + np.float32(1.0)) * float_of_bits(np.int32((np.int32(n) + 127) << 23))
