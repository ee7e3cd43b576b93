"""Linear models that minimise a smooth loss: their training, and its derivative by the data.

With rows x = (z, t), t the constant beside the intercept, scores f = x Theta, weights s and
penalties r, training solves the first line. How its optimum moves with the data the implicit
function theorem says (Koh and Liang, ICML 2017, section 2.2; Munoz-Gonzalez et al., AISec 2017,
section 3), so that one linear system gives the derivative of a loss L of the optimum by every row:

    minimise F(Theta) = sum_i s_i l(x_i Theta, y_i) + sum_j r_j |Theta_j|^2 / 2
    H v = dL/dTheta,    H = sum_i x_i x_i' (s_i l''_i) + diag(r)
    dL/dz_i = - s_i ( Theta l''_i(x_i v) + v l'_i )        of a training row, t left out
    dL/dz_k = Theta dL/df_k                                of a validation row

Losses l: the logarithmic one of two classes (one column of scores) or of several, and the squared
hinge, one machine against the rest a column. That one has no second derivative at y f = 1, where
a row comes in: the derivative is that of one side.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt
from scipy.linalg import cho_factor, cho_solve
from scipy.optimize import minimize
from scipy.special import expit, log_softmax, softmax

from fastadv.arrays import Float64, Labels
from fastadv.errors import DivergenceError

Product = Callable[[Float64], Float64]

_OPTIMAL = 1e-12  # of the gradient at the optimum, against the sum of the weights
_NEWTON, _ADJOINT = 1e-2, 1e-11  # what is left of a Newton step's system, and of the adjoint's
_NEWTON_STEPS = 500
_ROUNDING = 1e-10  # of a value, below which its fall is not looked at
_CONJUGATE_STEPS = 2000
_RIDGE = 1e-4  # of a block, where the intercept is not penalised
_QUASI_NEWTON = 100  # steps before the first of Newton's, which need a block made near the optimum
_SLOW = 40  # conjugate steps after which the preconditioner is made anew


class Loss(Protocol):
    """A loss of scores f (n, q), smooth in them.

    Attributes
    ----------
    tied : bool
        Whether the columns share a row's loss, so that the same shift of all changes nothing.
    spares : bool
        Whether many rows have no second derivative.
    """

    tied: bool
    spares: bool

    def value(self, f: Float64) -> Float64:
        """Return the loss of each row and column that has one of its own, (n, q) or (n, 1)."""
        ...

    def slope(self, f: Float64) -> Float64:
        """Return its derivative by the scores, (n, q)."""
        ...

    def bend(self, f: Float64) -> Product:
        """Return what multiplies (n, q) by the second derivative of each row at these scores."""
        ...

    def weight(self, f: Float64) -> Float64:
        """Return the diagonal of the second derivatives, (n, q)."""
        ...


@dataclass(frozen=True)
class Logistic:
    """log(1 + exp(-y f)) for one column of scores; ``signs`` (n, 1) are 1 and -1."""

    signs: Float64
    tied = False
    spares = False

    def value(self, f: Float64) -> Float64:
        """Return the loss, (n, 1)."""
        return np.logaddexp(0.0, -self.signs * f)

    def slope(self, f: Float64) -> Float64:
        """Return its derivative, (n, 1)."""
        slope: Float64 = -self.signs * expit(-self.signs * f)
        return slope

    def bend(self, f: Float64) -> Product:
        """Return the product with the second derivative."""
        weight = self.weight(f)
        return lambda v: weight * v

    def weight(self, f: Float64) -> Float64:
        """Return the second derivative, (n, 1)."""
        weight: Float64 = expit(f) * expit(-f)
        return weight


@dataclass(frozen=True)
class Multinomial:
    """The cross-entropy of a softmax of q scores; ``columns`` (n,) are the true ones."""

    columns: Labels
    tied = True
    spares = False

    def value(self, f: Float64) -> Float64:
        """Return the loss, (n, 1)."""
        value: Float64 = -np.take_along_axis(log_softmax(f, axis=1), self.columns[:, None], axis=1)
        return value

    def slope(self, f: Float64) -> Float64:
        """Return its derivative, (n, q)."""
        slope: Float64 = softmax(f, axis=1)
        slope[np.arange(len(f)), self.columns] -= 1.0
        return slope

    def bend(self, f: Float64) -> Product:
        """Return the product with the second derivative, diag(p) - p p'."""
        p = softmax(f, axis=1)

        def product(v: Float64) -> Float64:
            pv = p * v
            out: Float64 = pv - p * pv.sum(axis=1, keepdims=True)
            return out

        return product

    def weight(self, f: Float64) -> Float64:
        """Return p (1 - p), (n, q)."""
        p: Float64 = softmax(f, axis=1)
        return p * (1.0 - p)


@dataclass(frozen=True)
class SquaredHinge:
    """max(0, 1 - y f)^2 for each column; ``signs`` (n, q) are 1 and -1."""

    signs: Float64
    tied = False
    spares = True

    def _slack(self, f: Float64) -> Float64:
        return np.maximum(0.0, 1.0 - self.signs * f)

    def value(self, f: Float64) -> Float64:
        """Return the loss, (n, q)."""
        return np.square(self._slack(f))

    def slope(self, f: Float64) -> Float64:
        """Return its derivative, (n, q)."""
        return -2.0 * self.signs * self._slack(f)

    def bend(self, f: Float64) -> Product:
        """Return the product with the second derivative of the side that f is on."""
        weight = self.weight(f)
        return lambda v: weight * v

    def weight(self, f: Float64) -> Float64:
        """Return the second derivative, (n, q)."""
        return np.where(self._slack(f) > 0, 2.0, 0.0)


# scores (m, q) of the validation rows to the loss of the attacker and its derivative by them
Judge = Callable[[Float64], tuple[float, Float64]]


class SmoothTraining:
    """Training by a smooth loss as a function of all rows.

    It keeps its last optimum to start from, which changes nothing beyond rounding.

    Parameters
    ----------
    loss : Loss
    scale : ndarray of shape (n, 1) or (n, q)
        The weight s of each row's loss, or of each row and column where columns do not share it.
    q : int
        Columns of scores.
    constant : float
        t, the constant beside the intercept's weight; 0: there is no intercept.
    penalised : bool
        Whether that weight is penalised as all others are.
    judge : Judge
    """

    def __init__(
        self, loss: Loss, scale: Float64, q: int, constant: float, penalised: bool, judge: Judge
    ) -> None:
        self._loss, self._scale, self._q, self._judge = loss, scale, q, judge
        self._constant, self._penalised = constant, penalised
        self._theta: Float64 | None = None
        self._blocks: list[Product] = []

    def loss(self, Z: Float64, Z_val: Float64) -> float:
        """Return the attacker's loss after training on rows Z (n, d)."""
        theta = self._train(_Rows(Z, self._constant))
        return self._judge(_Rows(Z_val, self._constant) @ theta)[0]

    def __call__(
        self, Z: Float64, Z_val: Float64, rows: npt.NDArray[np.intp] | None
    ) -> tuple[float, Float64, Float64]:
        """Return the loss, and its derivative by training rows and by all validation rows.

        Shapes (len(rows), d) and (m, d); ``rows`` None is all of Z (n, d).
        """
        X, X_val = _Rows(Z, self._constant), _Rows(Z_val, self._constant)
        theta = self._train(X)
        loss, by_score = self._judge(X_val @ theta)
        scores = X @ theta
        v = self._solved(X, scores, X_val.pull(by_score), _ADJOINT)
        weights, turned = theta[: X.width], v[: X.width]
        bend = self._scale * self._loss.bend(scores)(X @ v)
        slope = self._scale * self._loss.slope(scores)
        taken = slice(None) if rows is None else rows
        by_row = -(bend[taken] @ weights.T + slope[taken] @ turned.T)
        return loss, by_row, by_score @ weights.T

    def _penalty(self, X: _Rows) -> Float64:
        r = np.ones((X.width + X.has_constant, 1))
        if X.has_constant and not self._penalised:
            r[-1] = 0.0
        return r

    def _train(self, X: _Rows) -> Float64:
        """Return the optimum (d + 1, q), or (d, q) without an intercept, by Newton's method."""
        r = self._penalty(X)
        theta = self._started(X, r) if self._theta is None else self._theta
        scores = X @ theta
        goal = _OPTIMAL * float(np.abs(self._scale).sum())
        last, near = np.inf, False
        for _ in range(_NEWTON_STEPS):
            gradient = X.pull(self._scale * self._loss.slope(scores)) + r * theta
            size = float(np.linalg.norm(gradient))
            if size <= goal or (near and size > last / 2):  # what is left is rounding
                self._theta = theta
                return theta
            last = size
            step = self._solved(X, scores, gradient, _NEWTON)
            moved, fall = X @ step, float((gradient * step).sum())
            value, length = self._value(scores, theta, r), 1.0
            near = fall <= _ROUNDING * abs(value)
            while not near and length > _ROUNDING:
                lower = self._value(scores - length * moved, theta - length * step, r)
                if lower <= value - 1e-4 * length * fall:
                    break
                length /= 2
            theta, scores = theta - length * step, X @ (theta - length * step)
        raise DivergenceError(
            f"training is short of its optimum after {_NEWTON_STEPS} steps: lower C or scale the "
            "data"
        )

    def _started(self, X: _Rows, r: Float64) -> Float64:
        """Return what some steps of L-BFGS make of 0; 0 itself where Newton's cost little."""
        theta = np.zeros((len(r), self._q))
        if self._loss.spares:
            return theta

        def whole(flat: Float64) -> tuple[float, Float64]:
            theta = flat.reshape(len(r), self._q)
            scores = X @ theta
            gradient = X.pull(self._scale * self._loss.slope(scores)) + r * theta
            return self._value(scores, theta, r), gradient.ravel()

        options = {"maxiter": _QUASI_NEWTON, "gtol": 0.0}
        found = minimize(whole, theta.ravel(), jac=True, method="L-BFGS-B", options=options)
        return np.asarray(found.x).reshape(theta.shape)

    def _value(self, scores: Float64, theta: Float64, r: Float64) -> float:
        fit = float((self._scale * self._loss.value(scores)).sum())
        return fit + 0.5 * float((r * np.square(theta)).sum())

    def _solved(self, X: _Rows, scores: Float64, b: Float64, left: float) -> Float64:
        """Return H^-1 b by conjugate gradients, with the blocks of an earlier H before them."""
        bend, r = self._loss.bend(scores), self._penalty(X)
        if not self._blocks or self._loss.spares:
            weight = self._scale * self._loss.weight(scores)
            self._blocks = [X.block(w, r[:, 0]) for w in weight.T]

        def product(v: Float64) -> Float64:
            return X.pull(self._scale * bend(X @ v)) + r * v

        x, steps = conjugate(product, self._before, b, left)
        if steps > _SLOW:
            self._blocks = []
        if steps >= _CONJUGATE_STEPS:
            raise DivergenceError("the Hessian of training is all but singular: lower C")
        return x

    def _before(self, b: Float64) -> Float64:
        """Return b (d + 1, q) times the inverse of the diagonal blocks, a column of scores each.

        Where columns are tied their mean is 0 all along, and a block alone would not keep that:
        without it the blocks would be far from H.
        """
        tied = self._loss.tied
        b = b - b.mean(axis=1, keepdims=True) if tied else b
        out = np.stack([block(b[:, c]) for c, block in enumerate(self._blocks)], axis=1)
        return out - out.mean(axis=1, keepdims=True) if tied else out


class _Rows:
    """Rows Z (n, d) with a constant behind them, unless that is 0."""

    def __init__(self, Z: Float64, constant: float) -> None:
        self.Z, self.constant, self.width = Z, constant, Z.shape[1]
        self.has_constant = constant != 0

    def __matmul__(self, theta: Float64) -> Float64:
        """Return the scores, (n, q)."""
        scores: Float64 = self.Z @ theta[: self.width]
        return scores + self.constant * theta[-1] if self.has_constant else scores

    def pull(self, by_score: Float64) -> Float64:
        """Return the derivative by theta for one by the scores (n, q)."""
        out: Float64 = self.Z.T @ by_score
        if not self.has_constant:
            return out
        return np.vstack([out, self.constant * by_score.sum(axis=0)])

    def block(self, weight: Float64, r: Float64) -> Product:
        """Return what multiplies by the inverse of sum_i weight_i x_i x_i' + diag(r), about.

        Of fewer rows than numbers in one by their own products (Woodbury), else by Cholesky's
        factor of the whole. What is not penalised is, a little: otherwise it is exact.
        """
        X, used, shrink = self.Z, np.flatnonzero(weight), 1.0 / np.maximum(r, _RIDGE)
        if self.has_constant:
            X = np.hstack([X, np.full((len(X), 1), self.constant)])
        root = np.sqrt(weight[used])[:, np.newaxis] * X[used]
        if len(used) >= X.shape[1]:
            factor = cho_factor(root.T @ root + np.diag(1.0 / shrink))
            return lambda b: np.asarray(cho_solve(factor, b))
        inner = cho_factor((root * shrink) @ root.T + np.eye(len(used)))
        return lambda b: shrink * (b - root.T @ cho_solve(inner, root @ (shrink * b)))


def conjugate(product: Product, before: Product, b: Float64, left: float) -> tuple[Float64, int]:
    """Solve H x = b by preconditioned conjugate gradients; return x and the steps taken.

    Parameters
    ----------
    product, before : callable
        v to H v, and to an approximation of H^-1 v; both symmetric, of arrays of the shape of b.
    left : float
        The share of b that is left when it ends.
    """
    x, residual = np.zeros_like(b), b.copy()
    towards = before(residual)
    heading, fall = towards, float((residual * towards).sum())
    goal = left * float(np.linalg.norm(b))
    for step in range(_CONJUGATE_STEPS):
        if np.linalg.norm(residual) <= goal:
            return x, step
        turned = product(heading)
        length = fall / float((heading * turned).sum())
        x += length * heading
        residual = residual - length * turned
        towards = before(residual)
        before_fall, fall = fall, float((residual * towards).sum())
        heading = towards + fall / before_fall * heading
    return x, _CONJUGATE_STEPS
