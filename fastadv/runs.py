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

Differences have the same two errors; their images are counted by the normal distribution, as if one
image more had changed.

By simulation (``tests/test_runs.py``) 95 % intervals then hold the expected accuracy in 93 to 98 %
of draws, in 92 to 98 % where trainings are skewed, for 3 runs or more. They are never narrower than
the images alone would have them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

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
            The mean of each run over its test images.
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
        """Return the p-values (...) of a two-sided test that the expected difference is 0."""
        return self._difference().p_value()

    def difference_interval(self) -> tuple[Array, Array]:
        """Return the 95 % interval of the expected difference, two arrays (...), values -1 to 1."""
        return self._difference().interval()

    def _difference(self) -> Difference:
        df = self.means.shape[-1] - 1
        return Difference(self.mean, self.images, self.between, df, self.n_images)


@dataclass(frozen=True)
class Difference:
    """A mean difference, and what it is off by; leading axes ``...`` are independent ones.

    Attributes
    ----------
    mean, images, between : ndarray of shape (...)
        The difference, and the variances that images and trainings give it.
    df : int
        Degrees of freedom of ``between``; 0 of a single training, about which alone it speaks.
    n_images : int
    """

    mean: Array
    images: Array
    between: Array
    df: int
    n_images: int

    def _t(self, z: npt.ArrayLike) -> Array:
        """Return the quantiles of t that are as far out as those of the standard normal."""
        t: Array = special.stdtrit(self.df, special.ndtr(z)) if self.df else np.zeros(np.shape(z))
        return t

    def interval(self) -> tuple[Array, Array]:
        """Return the 95 % interval, two arrays (...)."""
        images = self.images + 1.0 / self.n_images**2  # none that changed is no proof of none
        half = np.sqrt(self._t(_Z95) ** 2 * self.between + _Z95**2 * images)
        return self.mean - half, self.mean + half

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
            # By the lower tail: the upper one would be rounded away.
            out = self._t(-middle) ** 2 * self.between + middle**2 * images < self.mean**2
            low, high = np.where(out, middle, low), np.where(out, high, middle)
        return np.asarray(2 * special.ndtr(-low))


@dataclass(frozen=True)
class Answers:
    """One value for each run and each test image that the run got, (N,) each.

    Attributes
    ----------
    run : ndarray of int
        Its seed, run by run.
    image : ndarray
        Which image it is: runs may share images, or have some of their own.
    value : ndarray of float64
        1 where it is right, or a difference of two such.
    """

    run: npt.NDArray[np.int64]
    image: npt.NDArray[Any]
    value: Array

    @property
    def n_runs(self) -> int:
        """How many runs there are."""
        return len(np.unique(self.run))

    @property
    def n_images(self) -> int:
        """How many different images there are."""
        return len(np.unique(self.image))

    def mean(self) -> float:
        """Return the mean over runs of their means."""
        return float(np.mean([self.value[self.run == run].mean() for run in np.unique(self.run)]))

    def runs(self) -> Runs:
        """Return them as two runs or more."""
        parts = [self.run == run for run in dict.fromkeys(self.run.tolist())]
        return Runs.on_images([self.image[p] for p in parts], [self.value[p] for p in parts])

    def minus(self, other: Answers) -> Difference:
        """Return the mean difference to others, over the images that both have.

        Where both have the same runs (seeds) on the same images, runs are paired. Where not, only
        images are: the trainings of both sides then count one by one, with the fewer degrees of
        freedom of the two.

        Raises
        ------
        ValueError
            If there is no image that both have.
        """
        if np.array_equal(self.run, other.run) and np.array_equal(self.image, other.image):
            return _paired(Answers(self.run, self.image, self.value - other.value))
        both = np.intersect1d(self.image, other.image)
        if not len(both):
            raise ValueError("no image in common")
        sides = [one.only(np.isin(one.image, both)) for one in (self, other)]
        a, b = (one.of_images(both) for one in sides)
        df = min(one.n_runs for one in sides) - 1
        between = sum(one.runs().between for one in sides) if df else np.zeros(())
        n = len(both)
        return Difference(
            np.asarray(np.mean(a - b)), np.asarray(np.var(a - b) / max(n - 1, 1)),
            np.asarray(between), df, n,
        )  # fmt: skip

    def only(self, kept: npt.NDArray[np.bool_]) -> Answers:
        """Return those of them that are ``kept`` (N,)."""
        return Answers(self.run[kept], self.image[kept], self.value[kept])

    def of_images(self, images: npt.NDArray[Any]) -> Array:
        """Return the mean over runs of each of the ``images`` (n,), which are sorted and had."""
        place = np.searchsorted(images, self.image)
        sums = np.bincount(place, self.value, len(images))
        out: Array = sums / np.bincount(place, minlength=len(images))
        return out


def _paired(differences: Answers) -> Difference:
    if differences.n_runs > 1:
        return differences.runs()._difference()
    value, n = differences.value, len(differences.value)
    return Difference(np.asarray(value.mean()), np.asarray(value.var() / n), np.zeros(()), 0, n)
