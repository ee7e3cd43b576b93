"""What the defenses by vote share: what their classifiers see, and the attacks that they meet."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy import ndimage

from fastadv.errors import require
from fastadv.protocols import Float32, Task


def blurring(sigma: float, task: Task) -> Any:
    """Return a Gaussian blur of images (n, d), zeros outside: linear, and its own transpose.

    Classifiers that see a few dozen images each are better for it: neighbouring pixels stand for
    one another.
    """

    def blur(X: Float32) -> Float32:
        if sigma == 0:
            return X
        images = X.reshape(-1, *task.image_shape)
        blurred = ndimage.gaussian_filter(images, sigma, mode="constant", axes=(1, 2))
        out: Float32 = blurred.reshape(X.shape).astype(np.float32, copy=False)
        return out

    return blur


def check_blur(sigma: float) -> None:
    """Raise InputError unless sigma makes sense."""
    require(0 <= sigma < np.inf, "blur has to be at least 0", sigma)


def refuse_gradients(name: str, n_models: int, attack: Any) -> str | None:
    """Return why an attack that needs a gradient cannot be run, or None."""
    if "gradient" in getattr(attack, "needs", ()):
        return (
            f"{name} counts the votes of {n_models:,} models, and a count has no gradient: "
            "attack it with what needs none (square, spatial, noise, poisoning)"
        )
    return None
