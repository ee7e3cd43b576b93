"""An exponential that vectorises: NumPy's is a call for every value."""

import numpy as np

from fastadv.kernels._jit import exact_kernel
from fastadv.kernels.machine.intrinsics import float_of_bits

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


_LOG2_E_64 = 1.4426950408889634
_LN2_HIGH_64, _LN2_LOW_64 = 6.93147180369123816490e-01, 1.90821492927058770002e-10
_LEAST_64, _MOST_64 = -708.0, 709.0
# Adding it rounds to a whole number, which then stands in the lowest bits.
_ROUND = 6755399441055744.0  # 1.5 * 2**52


@exact_kernel
def exp64(x):
    """Return exp(x) of a float64, to 2 units in the last place; of NaN, NaN.

    As `exp`, with the Taylor polynomial; below -708 and above 709 the result is that of the bound.
    """
    x = _LEAST_64 if x < _LEAST_64 else x
    x = _MOST_64 if x > _MOST_64 else x
    shifted = x * _LOG2_E_64 + _ROUND
    k = shifted - _ROUND
    r = (x - k * _LN2_HIGH_64) - k * _LN2_LOW_64
    p = 1.6059043836821613e-10  # 1 / 13!
    p = p * r + 2.08767569878681e-09
    p = p * r + 2.505210838544172e-08
    p = p * r + 2.755731922398589e-07
    p = p * r + 2.7557319223985893e-06
    p = p * r + 2.48015873015873e-05
    p = p * r + 0.0001984126984126984
    p = p * r + 0.001388888888888889
    p = p * r + 0.008333333333333333
    p = p * r + 0.041666666666666664
    p = p * r + 0.16666666666666666
    p = p * r + 0.5
    p = p * r + 1.0
    p = p * r + 1.0
    bits = (np.float64(shifted).view(np.int64) << np.int64(52)) + (np.int64(1023) << np.int64(52))
    return p * np.int64(bits).view(np.float64)
