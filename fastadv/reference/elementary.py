"""Twin of kernels/elementary.py."""

from __future__ import annotations

import math


def exp64(x: float) -> float:
    """Return e**x, for x cut to [-708, 709]; NaN stays NaN."""
    return math.exp(min(max(x, -708.0), 709.0)) if x == x else x
