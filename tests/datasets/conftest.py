"""Fixtures of the tests of the datasets."""

from __future__ import annotations

import numpy as np
import pytest
from making import small_arrays


@pytest.fixture
def npz(tmp_path):
    """Return a function that writes a .npz, with arrays changed or left out (None)."""

    def write(name="some.npz", sizes=None, **changes):
        arrays = small_arrays(**(sizes or {})) | changes
        path = tmp_path / name
        np.savez(path, **{key: value for key, value in arrays.items() if value is not None})
        return path

    return write
