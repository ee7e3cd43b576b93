"""Counter-based random numbers: a pure function of (key, sample, draw, column).

The mixer is the finaliser of SplitMix64 (Steele, Lea and Flood, OOPSLA 2014).
"""

import math

import numpy as np

from fastadv.kernels._jit import exact_kernel

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_FIRST = np.uint64(0xBF58476D1CE4E5B9)
_SECOND = np.uint64(0x94D049BB133111EB)
_TO_UNIT = 1.0 / 9007199254740992.0  # 2**-53


@exact_kernel
def mix(z):
    """Scramble 64 bits."""
    z = (z ^ (z >> np.uint64(30))) * _FIRST
    z = (z ^ (z >> np.uint64(27))) * _SECOND
    return z ^ (z >> np.uint64(31))


@exact_kernel
def unit(state, counter):
    """Return a float64 in [0, 1) with 53 random bits."""
    return float(mix(state + counter * _GOLDEN) >> np.uint64(11)) * _TO_UNIT


@exact_kernel
def state_of(key, sample, draw):
    """Return where the numbers of a draw of a sample begin, all of uint64."""
    return mix(mix(key + sample * _GOLDEN) + draw * _GOLDEN)


@exact_kernel
def uniform(key, ids, draw, low, high, out):
    """Fill ``out`` (n, m) with uniform numbers in [low, high). Modified in place."""
    for i in range(out.shape[0]):
        state = state_of(key, ids[i], draw)
        for j in range(out.shape[1]):
            out[i, j] = low + (high - low) * unit(state, np.uint64(j))


@exact_kernel
def normal(key, ids, draw, out):
    """Fill ``out`` (n, m) with standard normals (Box and Muller, 1958). Modified in place."""
    for i in range(out.shape[0]):
        state = state_of(key, ids[i], draw)
        for j in range(0, out.shape[1], 2):
            radius = math.sqrt(-2.0 * math.log(1.0 - unit(state, np.uint64(j))))
            angle = 2.0 * math.pi * unit(state, np.uint64(j + 1))
            out[i, j] = radius * math.cos(angle)
            if j + 1 < out.shape[1]:
                out[i, j + 1] = radius * math.sin(angle)


_LN2 = 0.6931471805599453
_MANTISSA, _ONE = np.int64(0x000FFFFFFFFFFFFF), np.int64(0x3FF0000000000000)


@exact_kernel
def log_unit(u):
    """Return log(u) of a float64 in (0, 1], to 1e-13: a logarithm that vectorises.

    u = 2^e m with m in [sqrt(1/2), sqrt(2)), and log(m) = 2 artanh((m - 1) / (m + 1)).
    """
    bits = np.float64(u).view(np.int64)
    exponent = (bits >> np.int64(52)) - np.int64(1023)
    m = np.int64((bits & _MANTISSA) | _ONE).view(np.float64)
    large = m > 1.4142135623730951
    m = 0.5 * m if large else m
    e = float(exponent) + (1.0 if large else 0.0)
    s = (m - 1.0) / (m + 1.0)
    q = s * s
    p = ((((((q / 15 + 1 / 13) * q + 1 / 11) * q + 1 / 9) * q + 1 / 7) * q + 1 / 5) * q + 1 / 3) * q
    return e * _LN2 + 2.0 * s * (1.0 + p)


@exact_kernel
def _quarter_turn(f):
    """Return cos and sin of f pi / 2 for f in [-1/2, 1/2], to 1e-13."""
    a = 1.5707963267948966 * f
    q = a * a
    cos = 1.0 + q * (
        -1 / 2
        + q * (1 / 24 + q * (-1 / 720 + q * (1 / 40320 + q * (-1 / 3628800 + q / 479001600))))
    )
    sin = a * (
        1.0
        + q
        * (
            -1 / 6
            + q
            * (1 / 120 + q * (-1 / 5040 + q * (1 / 362880 + q * (-1 / 39916800 + q / 6227020800))))
        )
    )
    return cos, sin


@exact_kernel
def gauss(key, ids, draw, out):
    """Fill ``out`` (n, m) with standard normals, several times as fast as `normal`, to 2**-32.

    By Box and Muller too, but from one number of 64 bits for two normals, 32 for the radius and 32
    for the angle; the second of a pair stands half a row behind the first. Modified in place.
    """
    m = out.shape[1]
    half = (m + 1) // 2
    for i in range(out.shape[0]):
        state = state_of(key, ids[i], draw)
        gauss_row(state, half, out[i])


@exact_kernel
def gauss_row(state, half, row):
    """Fill one row, ``half`` being half of its length, rounded up."""
    kind, m = row.dtype.type, row.size
    first, second = row[:half], row[half:]
    for j in range(m - half):
        a, b = _pair(mix(state + np.uint64(j) * _GOLDEN))
        first[j], second[j] = kind(a), kind(b)
    if m < 2 * half:
        row[half - 1] = kind(_pair(mix(state + np.uint64(half - 1) * _GOLDEN))[0])


@exact_kernel
def _pair(bits):
    """Return two standard normals of 64 random bits."""
    u = (float(np.int64(bits >> np.uint64(32))) + 0.5) * 2.3283064365386963e-10  # 2**-32
    turn = float(np.int64(bits & np.uint64(0xFFFFFFFF))) * 9.313225746154785e-10  # 4 * 2**-32
    quarter = np.floor(turn)
    cos, sin = _quarter_turn(turn - quarter - 0.5)
    radius = math.sqrt(-2.0 * log_unit(u))
    k = np.int64(quarter)
    odd, back = (k & np.int64(1)) == np.int64(1), k >= np.int64(2)
    a, b = (-sin if odd else cos), (cos if odd else sin)
    radius = -radius if back else radius
    return radius * a, radius * b
