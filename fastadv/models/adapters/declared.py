"""What is told of a given model when it is wrapped, and what an adapter makes of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy.typing as npt

from fastadv.errors import InputError
from fastadv.models.adapters.inputs import LAYOUTS, Arranged, Chain, Layout, Step
from fastadv.models.adapters.outputs import Outputs


@dataclass(frozen=True)
class Declared:
    """What whoever gives a model has told of it; see `fastadv.models.wrapping.wrap`."""

    name: str | None
    image_shape: tuple[int, int, int] | None
    layout: Layout | None
    scaling: tuple[Step, ...]
    outputs: Outputs
    classes: npt.NDArray[Any] | None
    take_over: bool

    def inputs(self, layout: Layout, flat: bool = False) -> Chain:
        """Return what is done to images first, in ``layout`` unless another is declared.

        Parameters
        ----------
        flat : bool
            The model takes rows: numbers in the order of the layout.

        Raises
        ------
        InputError
            If that needs the shape of an image, which is not declared.
        """
        layout = self.layout or layout
        if layout not in LAYOUTS:
            raise InputError(f"layout has to be one of {', '.join(LAYOUTS)}, got {layout!r}")
        if layout == "rows":
            return Chain(self.scaling)
        if self.image_shape is None:
            raise InputError(
                f"the model takes images ({layout}): give image_shape=(height, width, channels)"
            )
        return Chain((*self.scaling, Arranged(self.image_shape, layout, flat)))


@dataclass(frozen=True)
class Taken:
    """A model that keeps the protocols, and what is known of it.

    Attributes
    ----------
    name : str
        Of its class.
    how : str
        How attacks meet it: ``taken over``, ``autograd``, what a black box is asked for, ...
    parts : tuple
        What tells it from other models, for its hash; None: nothing does.
    n_features : int or None
        Numbers an image, if it is known.
    untrained : estimator or None
        The same untrained, to be cloned.
    why_not : str
        Why there is no untrained one.
    """

    model: Any
    name: str
    how: str
    parts: tuple[object, ...] | None
    n_features: int | None = None
    untrained: Any = None
    why_not: str = ""
