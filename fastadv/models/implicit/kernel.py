"""The kernel values of rows that move, and what a derivative by them means for the rows."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from fastadv.arrays import Float64
from fastadv.models.svm_objective import Gamma, gamma_on


class Kernel:
    """K(z, x) = z'x, or exp(-gamma |z - x|^2), among n training rows and with m others.

    ``gamma="scale"`` is 1 / (d var), var that of all numbers of the training rows: it moves with
    them, and `pull` counts that.

    Parameters
    ----------
    gamma : float, "scale", "auto" or None
        None is the linear kernel; ``auto`` is 1 / d.

    Attributes
    ----------
    train, val : ndarray of shape (n, n) and (n, m)
        The kernel values of the rows last seen.
    """

    def __init__(self, gamma: Gamma | None) -> None:
        self._asked = gamma
        self._Z = self._Z_val = np.empty((0, 0))
        self._products = self._products_val = np.empty((0, 0))
        self.train = self.val = np.empty((0, 0))
        self.gamma = 0.0

    def see(self, Z: Float64, Z_val: Float64) -> None:
        """Compute the values of the rows Z (n, d) with one another and with Z_val (m, d).

        Products of rows that are as they were are not computed again.
        """
        if self._Z.shape != Z.shape or not np.array_equal(self._Z_val, Z_val):
            moved = np.arange(len(Z))
            self._products, self._products_val = Z @ Z.T, Z @ Z_val.T
        else:
            moved = np.flatnonzero((self._Z != Z).any(axis=1))
            products = Z[moved] @ Z.T
            self._products[moved], self._products[:, moved] = products, products.T
            self._products_val[moved] = Z[moved] @ Z_val.T
        if not len(moved):
            return
        self._Z, self._Z_val = Z.copy(), Z_val.copy()
        if self._asked is None:
            self.train, self.val = self._products, self._products_val
            return
        self.gamma = gamma_on(self._asked, Z)
        squares = np.square(Z).sum(axis=1)
        self.train = np.exp(-self.gamma * self._distances(squares, self._products))
        others = np.square(Z_val).sum(axis=1)
        self.val = np.exp(-self.gamma * self._distances(squares, self._products_val, others))

    @staticmethod
    def _distances(squares: Float64, products: Float64, others: Float64 | None = None) -> Float64:
        """Return |z - x|^2 for each pair."""
        columns = squares if others is None else others
        distances = np.maximum(squares[:, np.newaxis] + columns - 2.0 * products, 0.0)
        if others is None:
            np.fill_diagonal(distances, 0.0)
        return distances

    def pull(
        self, by_train: Float64, by_val: Float64, rows: npt.NDArray[np.intp] | None
    ) -> tuple[Float64, Float64]:
        """Return the derivatives by training rows (len(rows), d) and by the others (m, d).

        For those by the kernel values (n, n) and (n, m); ``rows`` None is all training rows.
        """
        Z, Z_val = self._Z, self._Z_val
        taken = slice(None) if rows is None else rows
        both = by_train[taken] + by_train[:, taken].T
        if self._asked is None:
            return both @ Z + by_val[taken] @ Z_val, by_val.T @ Z
        both *= self.train[taken]
        val = by_val * self.val
        twice = 2.0 * self.gamma
        total = both.sum(axis=1) + val[taken].sum(axis=1)
        out = twice * (both @ Z + val[taken] @ Z_val - total[:, np.newaxis] * Z[taken])
        out_val = twice * (val.T @ Z - val.sum(axis=0)[:, np.newaxis] * Z_val)
        if self._asked == "scale":
            out += self._by_gamma(by_train, val) * self._gamma_by_rows()[taken]
        return out, out_val

    def _by_gamma(self, by_train: Float64, val: Float64) -> float:
        """Return the derivative by gamma: K falls by |z - x|^2 K."""
        squares, others = np.square(self._Z).sum(axis=1), np.square(self._Z_val).sum(axis=1)
        among = by_train * self.train * self._distances(squares, self._products)
        return -float(
            among.sum() + (val * self._distances(squares, self._products_val, others)).sum()
        )

    def _gamma_by_rows(self) -> Float64:
        """Return the derivative of 1 / (d var) by each number of the training rows, (n, d)."""
        Z = self._Z
        if Z.var() == 0:
            return np.zeros_like(Z)
        slope: Float64 = -2.0 * self.gamma**2 / len(Z) * (Z - Z.mean())
        return slope
