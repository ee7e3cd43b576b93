"""An exponential in float64 that a loop can vectorise: np.exp is a call for each element."""

import numpy as np

from fastadv.kernels._jit import exact_kernel

_LOG2_E = 1.4426950408889634
_LN2_HIGH, _LN2_LOW = 6.93147180369123816490e-01, 1.90821492927058770002e-10
# Adding it rounds to a whole number, which then stands in the lowest bits.
_ROUND = 6755399441055744.0  # 1.5 * 2**52
_LOWEST, _HIGHEST = -708.0, 709.0  # beyond them: a normal number at the end of the range


@exact_kernel
def exp64(x):
    """Return e**x to 2 ulp: x = k ln 2 + r, a Taylor polynomial in r, and 2**k by its bits.

    Below -708 and above 709 the result is that of the bound; NaN stays NaN.
    """
    x = min(max(x, _LOWEST), _HIGHEST) if x == x else x
    shifted = x * _LOG2_E + _ROUND
    k = shifted - _ROUND
    r = (x - k * _LN2_HIGH) - k * _LN2_LOW
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
