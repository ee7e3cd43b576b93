"""The data set of grids of models that came trained."""

from __future__ import annotations

from pathlib import Path

import pytest
from helpers import write_npz

from fastadv import Dataset, load_dataset


@pytest.fixture
def data(tmp_path: Path) -> Dataset:
    return load_dataset(write_npz(tmp_path / "small.npz"))
