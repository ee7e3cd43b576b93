"""The digits that scikit-learn brings."""

from __future__ import annotations

from fastadv.datasets.sources import Source


def read_digits() -> Source:
    """Read scikit-learn's digits: 1,797 images of 8 x 8 pixels, from 0 to 16.

    They have no part for tests: one in five is drawn for it, always the same ones.
    """
    from sklearn.datasets import load_digits

    digits = load_digits()
    arrays = {"x_train": digits.images, "y_train": digits.target}
    return Source.of(arrays, "digits", white=16.0)
