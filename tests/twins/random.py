"""Twin of kernels/random.py: Python integers in place of wrapping 64-bit arithmetic."""

from __future__ import annotations

import math

import numpy as np

_MASK = (1 << 64) - 1
_GOLDEN = 0x9E3779B97F4A7C15


def mix(z: int) -> int:
    """Scramble 64 bits."""
    z &= _MASK
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & _MASK
    return z ^ (z >> 31)


def unit(state: int, counter: int) -> float:
    """Return a float64 in [0, 1) with 53 random bits."""
    return (mix(state + counter * _GOLDEN) >> 11) * 2.0**-53


def state_of(key: int, sample_id: int, draw: int) -> int:
    """Return where the numbers of a draw of a sample begin."""
    return mix(mix(key + sample_id * _GOLDEN) + draw * _GOLDEN)


def uniform(key: int, ids: np.ndarray, draw: int, low: float, high: float, out: np.ndarray) -> None:
    """Fill ``out`` (n, m) with uniform numbers in [low, high)."""
    for i, sample_id in enumerate(ids):
        state = state_of(int(key), int(sample_id), int(draw))
        out[i] = [low + (high - low) * unit(state, j) for j in range(out.shape[1])]


def normal(key: int, ids: np.ndarray, draw: int, out: np.ndarray) -> None:
    """Fill ``out`` (n, m) with standard normals, two to a pair of uniform numbers."""
    for i, sample_id in enumerate(ids):
        state = state_of(int(key), int(sample_id), int(draw))
        for j in range(0, out.shape[1], 2):
            radius = math.sqrt(-2.0 * math.log(1.0 - unit(state, j)))
            angle = 2.0 * math.pi * unit(state, j + 1)
            out[i, j : j + 2] = [radius * math.cos(angle), radius * math.sin(angle)][
                : out.shape[1] - j
            ]


def log_unit(u: float) -> float:
    """Return log(u)."""
    return math.log(u)


def gauss(key: int, ids: np.ndarray, draw: int, out: np.ndarray) -> None:
    """Fill ``out`` (n, m) with standard normals, two to a number of 64 bits, half a row apart."""
    half = (out.shape[1] + 1) // 2
    for i, sample_id in enumerate(ids):
        state = state_of(int(key), int(sample_id), int(draw))
        bits = [mix(state + j * _GOLDEN) for j in range(half)]
        u = np.array([((b >> 32) + 0.5) * 2.0**-32 for b in bits])
        angle = np.array([2 * math.pi * (b & 0xFFFFFFFF) * 2.0**-32 for b in bits]) - math.pi / 4
        radius = np.sqrt(-2.0 * np.log(u))
        pairs = np.concatenate([radius * np.cos(angle), radius * np.sin(angle)])
        out[i] = pairs[: out.shape[1]]
