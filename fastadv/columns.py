"""Columns of a table that are no pixels: their names, and what 0 and 1 stand for in each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from fastadv.arrays import Float32
from fastadv.errors import InputError


@dataclass(frozen=True)
class Columns:
    """The columns of a table, each scaled by its own range over the training rows.

    A budget of 0.1 is a tenth of that range, in every column.

    Parameters
    ----------
    names : tuple of str
    low, high : tuple of float
        What 0 and 1 stand for, in the units of the table.
    """

    names: tuple[str, ...]
    low: tuple[float, ...]
    high: tuple[float, ...]

    @classmethod
    def of(cls, names: Sequence[str], train: npt.NDArray[np.floating], where: str) -> Columns:
        """Measure the range of each column.

        Parameters
        ----------
        names : sequence of str
        train : ndarray of shape (n, d)
            The training rows.
        where : str
            What the errors name.

        Raises
        ------
        InputError
            If a column has one value in all of them.
        """
        low, high = train.min(axis=0), train.max(axis=0)
        for name in np.array(names)[low == high]:
            raise InputError(
                f"{where}: column {str(name)!r} has one value in all training rows; leave it out"
            )
        return cls(tuple(names), tuple(low.tolist()), tuple(high.tolist()))

    def scaled(self, values: npt.NDArray[np.floating]) -> tuple[Float32, int]:
        """Return rows (n, d) from 0 to 1, and how many of their values were beyond the range.

        These are set to its ends, as by scikit-learn's ``MinMaxScaler(clip=True)``.
        """
        low, high = np.array(self.low), np.array(self.high)
        beyond = int(np.count_nonzero((values < low) | (values > high)))
        scaled = (np.clip(values, low, high) - low) / (high - low)
        return scaled.astype(np.float32), beyond
