"""Scalers that are fitted anew on the training rows, and their derivative, the fit's included.

A scaler makes z = (x - shift) / size of training and validation rows alike, shift and size of each
column being made by the training rows. So a training row moves all others too:

    dL/dx_i = G_i / size + dshift/dx_i dL/dshift + dsize/dx_i dL/dsize
    dL/dshift = - sum G / size,    dL/dsize = - sum G (x - shift) / size^2

with G = dL/dz, summed over training and validation rows.

In a column that is the same in all training rows scikit-learn divides by 1, and by the spread as
soon as one row differs, however little: the loss jumps, has no derivative, and 0 stands for it.
Where several rows share the least or largest value of a column, none of them moves it by moving
inward, which is the side that counts.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

import numpy as np

from fastadv.arrays import Float64, Mask
from fastadv.models.adapters.takeover import name_of


class Rescaling(ABC):
    """A scaler at the rows that it saw last, see the head of this file."""

    def __call__(self, X: Float64, X_val: Float64) -> tuple[Float64, Float64]:
        """Fit on X (n, d), and return what it makes of X and of X_val (m, d)."""
        self._X = X
        self._shift, self._size, self._constant = self._fitted(X)
        self._Z, self._Z_val = (X - self._shift) / self._size, (X_val - self._shift) / self._size
        return self._Z, self._Z_val

    def pull(self, G: Float64, G_val: Float64) -> tuple[Float64, Float64]:
        """Return dL/dX and dL/dX_val for dL/dZ and dL/dZ_val, of all rows."""
        by_shift = -(G.sum(axis=0) + G_val.sum(axis=0)) / self._size
        by_size = -((G * self._Z).sum(axis=0) + (G_val * self._Z_val).sum(axis=0)) / self._size
        out = G / self._size + self._fit_pulled(by_shift, by_size)
        out[:, self._constant] = 0.0
        return out, G_val / self._size

    @abstractmethod
    def _fitted(self, X: Float64) -> tuple[Float64, Float64, Mask]:
        """Return shift and size of each column, and whether it is the same in all rows, (d,)."""

    @abstractmethod
    def _fit_pulled(self, by_shift: Float64, by_size: Float64) -> Float64:
        """Return the derivative by X (n, d) through shift and size, of columns that differ."""


class Standard(Rescaling):
    """``StandardScaler``: mean and standard deviation, either of which may be off."""

    def __init__(self, with_mean: bool, with_std: bool) -> None:
        self._with_mean, self._with_std = with_mean, with_std

    def _fitted(self, X: Float64) -> tuple[Float64, Float64, Mask]:
        n, mean, variance = len(X), X.mean(axis=0), X.var(axis=0)
        eps = np.finfo(np.float64).eps
        constant = variance <= n * eps * variance + (n * mean * eps) ** 2
        self._mean, self._std = mean, np.where(constant, 1.0, np.sqrt(variance))
        shift = mean if self._with_mean else np.zeros_like(mean)
        size = self._std if self._with_std else np.ones_like(mean)
        return shift, size, constant & self._with_std

    def _fit_pulled(self, by_shift: Float64, by_size: Float64) -> Float64:
        n, out = len(self._X), np.zeros_like(self._X)
        if self._with_mean:
            out += by_shift / n
        if self._with_std:
            out += by_size * (self._X - self._mean) / (n * self._std)
        return out


class MinMax(Rescaling):
    """``MinMaxScaler`` without ``clip``: the least and the largest number of a column."""

    def __init__(self, low: float, high: float) -> None:
        self._low, self._high = low, high

    def _fitted(self, X: Float64) -> tuple[Float64, Float64, Mask]:
        least, largest = X.min(axis=0), X.max(axis=0)
        constant = largest - least < 10 * np.finfo(np.float64).eps
        size = np.where(constant, 1.0, largest - least) / (self._high - self._low)
        self._alone = _alone(X, least), _alone(X, largest)
        return least - self._low * size, size, constant

    def _fit_pulled(self, by_shift: Float64, by_size: Float64) -> Float64:
        # shift = least - low size, size = (largest - least) / (high - low)
        of_size = (by_size - self._low * by_shift) / (self._high - self._low)
        at_least, at_largest = self._alone
        return at_least * (by_shift - of_size) + at_largest * of_size


class MaxAbs(Rescaling):
    """``MaxAbsScaler``: the number of a column that is farthest from 0."""

    def _fitted(self, X: Float64) -> tuple[Float64, Float64, Mask]:
        farthest = np.abs(X).max(axis=0)
        constant = farthest < 10 * np.finfo(np.float64).eps
        self._alone = _alone(np.abs(X), farthest) * np.sign(X)
        return np.zeros_like(farthest), np.where(constant, 1.0, farthest), constant

    def _fit_pulled(self, by_shift: Float64, by_size: Float64) -> Float64:
        return self._alone * by_size


def _alone(X: Float64, extreme: Float64) -> Float64:
    """Return 1 where a row alone has the extreme value of its column, else 0, (n, d)."""
    at = extreme == X
    alone: Float64 = (at & (at.sum(axis=0) == 1)).astype(np.float64)
    return alone


def rescaling_of(step: Any) -> Rescaling | str:
    """Return what an untrained scaler of scikit-learn does, or why there is no derivative of it."""
    name = name_of(step)
    if name == "StandardScaler":
        return Standard(step.with_mean, step.with_std)
    if name == "MinMaxScaler":
        low, high = step.feature_range
        return "MinMaxScaler's clip=True" if step.clip else MinMax(float(low), float(high))
    if name == "MaxAbsScaler":
        return "MaxAbsScaler's clip=True" if getattr(step, "clip", False) else MaxAbs()
    return type(step).__name__
