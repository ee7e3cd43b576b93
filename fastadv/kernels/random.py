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
def uniform(key, ids, draw, low, high, out):
    """Fill ``out`` (n, m) with uniform numbers in [low, high). Modified in place."""
    for i in range(out.shape[0]):
        state = mix(mix(key + ids[i] * _GOLDEN) + draw * _GOLDEN)
        for j in range(out.shape[1]):
            out[i, j] = low + (high - low) * unit(state, np.uint64(j))


@exact_kernel
def normal(key, ids, draw, out):
    """Fill ``out`` (n, m) with standard normals (Box and Muller, 1958). Modified in place."""
    for i in range(out.shape[0]):
        state = mix(mix(key + ids[i] * _GOLDEN) + draw * _GOLDEN)
        for j in range(0, out.shape[1], 2):
            radius = math.sqrt(-2.0 * math.log(1.0 - unit(state, np.uint64(j))))
            angle = 2.0 * math.pi * unit(state, np.uint64(j + 1))
            out[i, j] = radius * math.cos(angle)
            if j + 1 < out.shape[1]:
                out[i, j + 1] = radius * math.sin(angle)
