"""What a given model returns, as logits (n, k), and the pullback to what it returned."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from fastadv.arrays import Floats
from fastadv.errors import InputError
from fastadv.protocols import Pullback


@dataclass(frozen=True)
class Outputs:
    """Logits out of what a model returns.

    Parameters
    ----------
    probabilities : bool
        What it returns are probabilities p; the logits are log p, and their gradient is lost where
        the model is so sure that p is rounded to 0 or 1.

    Notes
    -----
    One column z is that of a network of two classes, whose logits are (0, z); as a probability it
    is that of the second class.
    """

    probabilities: bool = False

    def __call__(self, raw: npt.ArrayLike, n: int) -> tuple[Floats, Pullback]:
        """Return the logits of n images, and the pullback to the array ``raw`` as it came.

        Raises
        ------
        InputError
            If it is no array of numbers with a row for each image.
        """
        given = _as_floats(raw)
        if given.shape[:1] != (n,) or given.ndim not in (1, 2) or given.size == 0:
            raise InputError(
                f"the model returns shape {given.shape} for {n} images; logits have shape "
                f"({n}, number of classes)"
            )
        columns = given.reshape(n, -1)
        one = columns.shape[1] == 1
        if self.probabilities:
            return self._logarithms(given, columns, one)
        if not one:
            return columns, lambda dlogits: dlogits
        logits = np.concatenate([np.zeros_like(columns), columns], axis=1)
        return logits, lambda dlogits: dlogits[:, 1].reshape(given.shape)

    def _logarithms(self, given: Floats, columns: Floats, one: bool) -> tuple[Floats, Pullback]:
        p = np.concatenate([1 - columns, columns], axis=1) if one else columns
        if p.min() < -1e-3 or p.max() > 1 + 1e-3:
            raise InputError(
                f"probabilities=True, but the model returns {columns.min():.3g} to "
                f"{columns.max():.3g}: these are no probabilities"
            )
        p = np.maximum(p, np.finfo(p.dtype).tiny)

        def pull(dlogits: Floats) -> Floats:
            slope: Floats = (dlogits / p).astype(p.dtype)
            return (slope[:, 1] - slope[:, 0]).reshape(given.shape) if one else slope

        logits: Floats = np.log(p)
        return logits, pull


def _as_floats(raw: Any) -> Floats:
    try:
        array: Floats = np.asarray(raw)
    except (TypeError, ValueError, RuntimeError):
        raise InputError(
            f"the model returns {type(raw).__name__}, not an array of logits"
        ) from None
    if array.dtype.kind not in "biuf":
        raise InputError(f"the model returns {type(raw).__name__}, not an array of logits")
    wide = array.dtype in (np.float32, np.float64)
    floats: Floats = array if wide else array.astype(np.float32)
    return floats
