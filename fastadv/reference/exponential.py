"""Twin of kernels/linalg/exponential.py."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt


def exp(x: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
    """Return exp(x) in float64."""
    out: npt.NDArray[np.float64] = np.exp(np.asarray(x, dtype=np.float64))
    return out


def exp64(x: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
    """Return exp(x), x cut to [-708, 709]."""
    out: npt.NDArray[np.float64] = np.exp(np.clip(x, -708.0, 709.0))
    return out
