"""What every stage of one grid works with: the grid, its data, and its untrained models."""

from __future__ import annotations

import functools
import pickle
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from fastadv import capabilities, experiment, registry
from fastadv.datasets import Dataset
from fastadv.grid.cell import Dealt, Grid
from fastadv.grid.given import untrained


@dataclass(frozen=True)
class Context:
    """What every stage of one grid works with."""

    grid: Grid
    dataset: Dataset
    given: Any = None  # the model, if it came trained, see `fastadv.grid.given`

    @functools.cached_property
    def models(self) -> dict[int, str]:
        """The spec of each seed's model, with every parameter; of a given one its hash."""
        if self.given is not None:
            return dict.fromkeys(self.grid.seeds, f"given {self.given.given.identity}")
        return {seed: registry.canonical(self.make_model(seed)) for seed in self.grid.seeds}

    def make_model(self, seed: int) -> Any:
        """Build the untrained model of one seed; of a given one a clone, with its draws seeded."""
        if self.given is None:
            return self.grid.make_model(seed)
        return untrained(self.given, seed)

    def new_model(self, seed: int) -> Any:
        """Return an untrained model that knows the data."""
        if self.given is None:
            return experiment.new_model(self.grid.model, seed, self.dataset)
        return capabilities.bound(self.make_model(seed), self.dataset.task, self.dataset.x_train)

    @functools.cached_property
    def portable(self) -> bool:
        """Whether stages can run in other processes.

        A given model is sent to them by what `pickle` makes of it here, if that names no class
        which only this process knows; libraries with threads of their own stay here.
        """
        if self.given is None:
            return True
        if self.given.given.how != "taken over":
            return False
        try:
            written = pickle.dumps(self.given)
        except Exception:  # of any object that does not want to be written
            return False
        return not any(name in written for name in (b"__main__", b"fastadv_factory_"))

    @functools.cached_property
    def _test_rows(self) -> npt.NDArray[np.intp]:
        return experiment.test_rows(self.dataset, self.grid.samples)

    def test_rows(self, dealt: Dealt) -> npt.NDArray[np.intp]:
        """Return the test images for evasion attacks, of one run."""
        k, shares = dealt
        return self._test_rows[k::shares]
