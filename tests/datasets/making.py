"""What the tests of the datasets share: small data sets, and checks."""

from __future__ import annotations

import numpy as np
import pytest

from fastadv.datasets import load_dataset
from fastadv.datasets.dataset import ARRAYS
from fastadv.errors import InputError


def small_arrays(n_train=60, n_test=30, n_val=0, n_classes=3, image_shape=(4, 3), dtype=np.uint8):
    rng = np.random.default_rng(0)
    arrays = {}
    for part, n in (("train", n_train), ("val", n_val), ("test", n_test)):
        if n:
            images = rng.integers(0, 256, (n, *image_shape)).astype(np.uint8)
            arrays[f"x_{part}"] = images if dtype == np.uint8 else (images / 255).astype(dtype)
            arrays[f"y_{part}"] = np.arange(n) % n_classes
    return arrays


def fault_of(spec):
    """Return the message of the fault, which has to be one line."""
    with pytest.raises(InputError) as caught:
        load_dataset(str(spec))
    assert "\n" not in str(caught.value)
    return str(caught.value)


def assert_same(one, other, arrays=ARRAYS):
    for key in arrays:
        np.testing.assert_array_equal(getattr(one, key), getattr(other, key), err_msg=key)


def assert_sound(dataset):
    """Check what holds of every dataset."""
    d = dataset.task.n_features
    for part in ("train", "val", "test"):
        x, y = getattr(dataset, f"x_{part}"), getattr(dataset, f"y_{part}")
        assert x.dtype == np.float32
        assert x.flags.c_contiguous
        assert x.flags.writeable
        assert x.shape == (len(y), d)
        assert x.min() >= 0
        assert x.max() <= 1
        assert y.dtype == np.int64
        assert y.min() >= 0
        assert y.max() < dataset.task.n_classes
    assert len(dataset.class_names) == dataset.task.n_classes
