"""Support vector machines of two classes each, one against one: training, and its derivative.

A machine of the classes i < j has signed multipliers a (above 0 for class i) and decides by
f(x) = sum_s a_s K(z_s, x) + b. At its optimum f = y on the margin set S, where 0 < |a| < C, the sum
of a is 0, and all other a stay where they are (Cauwenberghs and Poggio, NIPS 2000). So a loss L of
the machine's values on validation rows, with derivatives w, has (Biggio, Nelson and Laskov, ICML
2012, section 3.2, in the adjoint form, the row of a point on the margin included)

    [ K_SS  1 ] [v]   [ K_S,val w ]
    [ 1'    0 ] [u] = [ 1' w      ]

    dL = sum_s,k a_s w_k dK(z_s, x_k)  -  sum_s,t v_s a_t dK(z_s, z_t),    v = 0 outside S.

Where S is empty b is the middle of what two rows allow, and v is half of 1'w for each of them.

The two sums are kept as the loss's derivatives by all kernel values, for all machines together;
those by the rows, and by gamma where it hangs on the rows (``gamma="scale"``), follow from them.
"""

from __future__ import annotations

from itertools import combinations
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from fastadv.arrays import Float64, Labels
from fastadv.errors import DivergenceError
from fastadv.kernels.svm import dual
from fastadv.models.implicit.kernel import Kernel

TOLERANCE = 1e-10  # of the optimality conditions, in units of the margin
_MAX_ROUNDS = 10_000
_RIDGE = 1e-12  # against a margin set that is singular by rounding

Index = npt.NDArray[np.intp]


class Machine(NamedTuple):
    """One machine: its rows, their signs, and its last multipliers and their gradient."""

    rows: Index
    y: Float64
    a: Float64
    g: Float64


class Machines:
    """Training of all machines of k classes as a function of the rows.

    Each training starts from the last one.

    Parameters
    ----------
    kernel : Kernel
    columns, val_columns : ndarray of int64, shape (n,) and (m,)
        Classes from 0 on.
    k : int
    C : float

    Notes
    -----
    The loss is the mean over validation images of max(0, 1 - f) of the duel that goes worst for the
    true class, f being that class's margin: the hinge loss of Biggio, Nelson and Laskov for two
    classes, and never below the share of images that the vote gets wrong.
    """

    def __init__(
        self, kernel: Kernel, columns: Labels, val_columns: Labels, k: int, C: float
    ) -> None:
        self._kernel, self._C = kernel, C
        self._rivals = rivals(val_columns, k)
        self._machines = []
        for i, j in combinations(range(k), 2):
            rows = np.flatnonzero((columns == i) | (columns == j))
            y = np.where(columns[rows] == i, 1.0, -1.0)
            self._machines.append(Machine(rows, y, np.zeros(len(rows)), np.empty(len(rows))))

    def loss(self, Z: Float64, Z_val: Float64) -> float:
        """Return the attacker's loss after training on rows Z (n, d)."""
        self._kernel.see(Z, Z_val)
        return self._judged(self._values())[0]

    def __call__(
        self, Z: Float64, Z_val: Float64, rows: Index | None
    ) -> tuple[float, Float64, Float64]:
        """Return the loss, and its derivative by training rows and by all validation rows.

        Shapes (len(rows), d) and (m, d); ``rows`` None is all of Z (n, d).
        """
        self._kernel.see(Z, Z_val)
        loss, w = self._judged(self._values())
        by_kernel = np.zeros_like(self._kernel.train)
        by_val = np.zeros_like(self._kernel.val)
        for machine, w_of in zip(self._machines, w.T, strict=True):
            v = self._adjoint(machine, w_of)
            inner = np.ix_(machine.rows, machine.rows)
            by_kernel[inner] -= np.outer(v, machine.a)
            by_val[machine.rows] += np.outer(machine.a, w_of)
        return loss, *self._kernel.pull(by_kernel, by_val, rows)

    def _values(self) -> Float64:
        """Train, and return f of each machine on each validation row, (m, machines)."""
        K, K_val = self._kernel.train, self._kernel.val
        values = np.empty((K_val.shape[1], len(self._machines)))
        for p, (rows, y, a, g) in enumerate(self._machines):
            inner = np.ascontiguousarray(K[np.ix_(rows, rows)])
            b, violation, rounds = dual.solve(inner, y, self._C, TOLERANCE, _MAX_ROUNDS, a, g)
            if rounds >= _MAX_ROUNDS:
                raise DivergenceError(
                    f"an SVM's dual is off its optimum by {violation:.1e}: lower C"
                )
            values[:, p] = a @ K_val[rows] + b
        return values

    def _judged(self, values: Float64) -> tuple[float, Float64]:
        """Return the loss of the machines' values (m, machines), and its derivative by them."""
        margins = np.where(self._rivals == 0, np.inf, self._rivals * values)
        worst = margins.argmin(axis=1)
        each = np.arange(len(values))
        slack = 1.0 - margins[each, worst]
        w = np.zeros_like(values)
        w[each, worst] = np.where(slack > 0, -self._rivals[each, worst] / len(values), 0.0)
        return float(np.maximum(slack, 0.0).mean()), w

    def _adjoint(self, machine: Machine, w: Float64) -> Float64:
        """Return v of one machine, (its rows,)."""
        rows, y, a, g = machine
        v, total = np.zeros(len(rows)), float(w.sum())
        active = np.flatnonzero(w)
        if not len(active):
            return v
        S = np.flatnonzero((a * y > 0) & (a * y < self._C))
        if not len(S):
            up, low, _ = dual.worst_pair(y, self._C, a, g)
            v[up] += total / 2
            v[low] += total / 2
            return v
        H = np.ones((len(S) + 1, len(S) + 1))
        H[:-1, :-1] = self._kernel.train[np.ix_(rows[S], rows[S])]
        H[-1, -1] = 0.0
        H[np.arange(len(S)), np.arange(len(S))] *= 1.0 + _RIDGE
        load = np.append(self._kernel.val[np.ix_(rows[S], active)] @ w[active], total)
        v[S] = np.linalg.solve(H, load)[:-1]
        return v


def rivals(columns: Labels, k: int) -> Float64:
    """Return what a machine's value counts times for a row's class, 1, -1 or 0, (m, machines)."""
    out = np.zeros((len(columns), k * (k - 1) // 2))
    for p, (i, j) in enumerate(combinations(range(k), 2)):
        out[columns == i, p], out[columns == j, p] = 1.0, -1.0
    return out
