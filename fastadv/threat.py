"""Threat models: what an accuracy under attack is conditional on."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

RANGE = "of range"  # of each column's, which `fastadv data show` prints


@dataclass(frozen=True)
class Threat:
    """A kind of change and how much of it the attacker may make.

    Two attacks share a ``worst`` row only if their threats are equal.

    Attributes
    ----------
    kind : str
        ``linf``, ``l2``, ``flow``, ``shift``, ``rotation_translation``, ``poison`` or ``points``,
        ``trigger`` or ``trigger_points``.
    budget : float
        In the unit of the kind: pixel values, flow loss, added points over clean ones, or
        their number.
    distance : str or None
        The key in ``EvasionResult.distances`` that the budget bounds.
    limits : tuple of float
        What is printed in place of the budget, if that is a share of several limits.
    unit : str
        ``of range`` of data that are columns, if the budget is in units of each column's range;
        else empty.
    """

    kind: str
    budget: float
    distance: str | None = None
    limits: tuple[float, ...] = ()
    unit: str = ""

    def of_columns(self) -> Threat:
        """Return it of data that are columns: in units of each column's range."""
        return replace(self, unit=RANGE) if self.kind in ("linf", "l2") else self

    @property
    def reach(self) -> float:
        """The largest distance that counts as within the budget: float32 may round beyond it.

        By a share of it, and by a unit in the last place of pixels near 1, which is more where the
        budget is small.
        """
        if self.distance is None:
            return self.budget
        rounding = min(2.0**-24, self.budget) if self.kind in ("linf", "l2") else 0.0
        return self.budget * (1.0 + 1e-5) + rounding

    def within(
        self, distances: dict[str, npt.NDArray[np.float64]], n: int
    ) -> npt.NDArray[np.bool_]:
        """Return which of n images are within the budget, by their distances (n,) of each name."""
        if self.distance is None:
            return np.ones(n, dtype=bool)
        return distances[self.distance] <= self.reach

    @property
    def printed(self) -> tuple[float, ...]:
        """The limits that a reader is told: the budget, or those that it is a share of."""
        return self.limits or (self.budget,)

    def __str__(self) -> str:
        limits = ",".join(f"{limit:g}" for limit in self.printed)
        return f"{self.kind}({limits}{' ' * bool(self.unit)}{self.unit})"


def linf(eps: float) -> Threat:
    """Allow no pixel to change by more than ``eps``."""
    return Threat("linf", eps, "linf")


def l2(eps: float) -> Threat:
    """Allow any change whose Euclidean norm is at most ``eps``."""
    return Threat("l2", eps, "l2")


def flow(budget: float) -> Threat:
    """Allow flows whose loss (one root a pixel, summed) is at most ``budget``."""
    return Threat("flow", budget, "flow_loss")


def shift(pixels: float) -> Threat:
    """Allow each pixel to be read up to ``pixels`` away along each axis."""
    return Threat("shift", pixels, "shift")


def rotation_translation(degrees: float, pixels: float) -> Threat:
    """Allow a turn of up to ``degrees`` and then a shift of up to ``pixels`` along each axis."""
    return Threat("rotation_translation", 1.0, "spatial", (degrees, pixels))


def poison(fraction: float, points: int | None = None) -> Threat:
    """Allow ``fraction`` times as many added points as there are clean ones, or ``points``."""
    return Threat("poison", fraction) if points is None else Threat("points", points)


def trigger(fraction: float, points: int | None = None) -> Threat:
    """Allow what `poison` does, and to put one and the same trigger on any test image."""
    if points is None:
        return Threat("trigger", fraction)
    return Threat("trigger_points", points)
