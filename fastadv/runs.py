"""Means over several runs, with intervals and tests that count the trainings and the test images.

Another training gives another accuracy, and so do other test images. The mean m of R runs is off by
two independent errors, which are bounded apart and then put together:

- the test images, by Wilson's interval for as many images as have the variance of the runs' mean;
- the trainings, by a t interval with R - 1 degrees of freedom around the runs' mean.

    low = m - sqrt((m - wilson_low)^2 + t^2 s_between^2 / R),   high in the same way

(Zou and Donner, Statistics in Medicine 2008: the limits of a sum from those of its parts.) The
variances are those of a two-way layout, runs by images, both random (Searle, Casella and McCulloch,
Variance Components, 1992). Of the variance s^2 of the runs' means a part is due to images that the
runs do not share, or do not answer alike. Taken off as a whole, it would leave too little where s^2
is low by chance, as it often is over few runs: (R - 1) / (R + 1) of it is taken off.

By simulation (``tests/test_runs.py``) 95 % intervals then hold the expected accuracy in 93 to 98 %
of draws, in 92 to 98 % where trainings are skewed, for 3 runs or more. They are never narrower than
the images alone would have them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
import numpy.typing as npt
from scipy import special

Array = npt.NDArray[np.float64]

_Z95 = 1.959963984540054  # the 97.5 % quantile of the standard normal
_FARTHEST = 20.0  # standard normal quantiles that p-values are looked for among


@dataclass(frozen=True)
class Runs:
    """Two runs or more; leading axes ``...`` are independent sets of them.

    Attributes
    ----------
    means : ndarray of shape (..., R)
        The mean of each run over its test images.
    images : ndarray of shape (...)
        The variance that test images alone give the mean over runs.
    own : ndarray of shape (...)
        The variance of one run's mean by images that are its own or that it answers its own way.
    n_images : int
        Different test images, of all runs together.
    """

    means: Array
    images: Array
    own: Array
    n_images: int

    @classmethod
    def on_shared_images(cls, values: npt.ArrayLike) -> Runs:
        """Return the runs of values (R, n): one for each run and test image, the same images."""
        array = np.asarray(values, dtype=np.float64)
        of_images = array.mean(axis=0)
        return cls.from_moments(
            array.mean(axis=1), array.shape[1], np.mean(array**2), np.mean(of_images**2)
        )

    @classmethod
    def from_moments(
        cls, means: Array, n: int, squares: npt.ArrayLike, image_squares: npt.ArrayLike
    ) -> Runs:
        """Return runs on the same n images.

        Parameters
        ----------
        means : ndarray of shape (..., R)
        squares, image_squares : ndarray of shape (...)
            The mean over runs and images of the squared values, and the mean over images of the
            square of an image's mean over runs.
        """
        R, mean = means.shape[-1], means.mean(axis=-1)
        between_images = np.maximum(image_squares - mean**2, 0.0)
        rest = np.maximum(squares - np.mean(means**2, axis=-1) - between_images, 0.0)
        return cls(means, between_images / max(n - 1, 1), rest * R / ((R - 1) * max(n - 1, 1)), n)

    @classmethod
    def on_own_images(cls, values: Sequence[npt.ArrayLike]) -> Runs:
        """Return the runs of values (n_r,), one for each of a run's own test images."""
        arrays = [np.asarray(part, dtype=np.float64) for part in values]
        means = np.array([part.mean() for part in arrays])
        own = np.array([part.var() / len(part) for part in arrays])
        return cls(means, own.mean() / len(arrays), own.mean(), sum(map(len, arrays)))

    @classmethod
    def on_images(cls, ids: Sequence[npt.ArrayLike], values: Sequence[npt.ArrayLike]) -> Runs:
        """Return the runs of values (n_r,), each for the test images ``ids`` (n_r,).

        Images that some of the runs share are taken to weigh as much as if all did.
        """
        if all(np.array_equal(one, ids[0]) for one in ids):
            return cls.on_shared_images(np.stack([np.asarray(part) for part in values]))
        if not any(np.isin(a, b).any() for a, b in combinations(ids, 2)):
            return cls.on_own_images(values)
        own = cls.on_own_images(values)
        n = min(np.size(one) for one in ids)
        return cls(own.means, own.own, np.zeros(()), n)

    @classmethod
    def of_accuracies(cls, accuracies: npt.ArrayLike, n: int) -> Runs:
        """Return the runs of accuracies (R,) where nothing is known of the single images.

        As if every run got the same n images right by the same rule, so that images weigh most.
        """
        means = np.asarray(accuracies, dtype=np.float64)
        p = means.mean()
        return cls(means, p * (1 - p) / n, np.zeros(()), n)

    @property
    def mean(self) -> Array:
        """The mean over the runs, shape (...)."""
        out: Array = self.means.mean(axis=-1)
        return out

    @property
    def between(self) -> Array:
        """The variance that the trainings give the mean over runs, shape (...)."""
        R = self.means.shape[-1]
        spread = self.means.var(axis=-1, ddof=1) - (R - 1) / (R + 1) * self.own
        out: Array = np.maximum(spread, 0.0) / R
        return out

    def interval(self) -> tuple[Array, Array]:
        """Return the 95 % interval of the expected accuracy, two arrays (...), of values 0 or 1."""
        p, n = self.mean, np.full(self.mean.shape, float(self.n_images))
        # As many images as have this variance; where all answers are alike, as many as there are.
        np.divide(p * (1 - p), self.images, out=n, where=self.images > 0)
        z2 = _Z95**2
        centre, half = p + z2 / (2 * n), _Z95 * np.sqrt(p * (1 - p) / n + z2 / (4 * n**2))
        low, high = (centre - half) / (1 + z2 / n), (centre + half) / (1 + z2 / n)
        t = special.stdtrit(self.means.shape[-1] - 1, 0.975)
        runs = t**2 * self.between
        low, high = p - np.sqrt((p - low) ** 2 + runs), p + np.sqrt((high - p) ** 2 + runs)
        return np.clip(low, 0.0, 1.0), np.clip(high, 0.0, 1.0)

    def p_value(self) -> Array:
        """Return the p-values (...) of a two-sided test that the expected difference is 0.

        The smallest level at which such an interval around 0 leaves out the mean difference, with
        the variance that images have where 0 is true. Without variance between runs it is McNemar's
        test, of many images.
        """
        low, high = np.zeros(self.mean.shape), np.full(self.mean.shape, _FARTHEST)
        images = self.images + self.mean**2 / self.n_images
        for _ in range(60):
            middle = (low + high) / 2
            t = special.stdtrit(self.means.shape[-1] - 1, special.ndtr(-middle))
            out = t**2 * self.between + middle**2 * images < self.mean**2
            low, high = np.where(out, middle, low), np.where(out, high, middle)
        return np.asarray(2 * special.ndtr(-low))
