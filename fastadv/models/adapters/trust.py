"""Whether a given model can be measured: by the image alone, and with the right gradient."""

from __future__ import annotations

from typing import Any

import numpy as np

from fastadv import capabilities
from fastadv.arrays import Float32, Floats
from fastadv.errors import InputError

_DIRECTIONS = 3  # along which a gradient is compared with differences
_STEPS = (1e-3, 1e-2)  # of a pixel's range; a kink may spoil one of them
_OFF = 0.05  # of a difference, by which the gradient may miss it
_MOST = 0.6  # of the images and directions, at which it has to tell it: others may cross a kink
_SAME = 1e-4  # of the largest logit, by which two passes of single precision may differ
_NOISE = 1e-5  # of the largest logit, that a difference is not to be told from


def drawn(n_features: int) -> Float32:
    """Return a few images to look at a model by, where there are no others: (6, d) in [0, 1].

    Some are dark, for most networks are saturated by noise.
    """
    rng = np.random.default_rng(0)
    images = rng.random((6, n_features)) * np.repeat([1.0, 0.3, 0.05], 2)[:, np.newaxis]
    made: Float32 = images.astype(np.float32)
    return made


def check(model: Any, X: Float32, name: str, probabilities: bool) -> None:
    """Look at a model on a few images X (n, d), n at least 2.

    ``probabilities``: it is known to return these, and its logits are their logarithms.

    Raises
    ------
    InputError
        If it does not take them, its logits are no numbers or hang on chance or on the images
        beside, or its gradient is not that of the logits.
    """
    X = np.array(X, dtype=np.float32)
    logits = _answer(model, X, name)
    if not np.isfinite(logits).all():
        raise InputError(f"{name} returns NaN or infinity for some images; it cannot be measured")
    close = _SAME * (1 + float(np.abs(logits).max()))
    again = model.logits(X)
    if again.shape != logits.shape or np.abs(again - logits).max() > close:
        raise InputError(
            f"{name} answers differently for the same image: is dropout on, or noise? Take it out, "
            "or give its draws a seed"
        )
    alone = np.concatenate([_answer(model, X[i : i + 1], name) for i in range(len(X))])
    if alone.shape != logits.shape or np.abs(alone - logits).max() > close:
        raise InputError(
            f"what {name} answers hangs on the images beside it: is a batch normalisation in "
            "training mode? It has to answer each image for itself"
        )
    if capabilities.differentiable(model):
        if not probabilities and logits.min() >= 0 and np.abs(logits.sum(axis=1) - 1).max() < _SAME:
            raise InputError(
                f"{name} returns probabilities, whose gradient is lost where it is sure: give the "
                "model without its softmax, or declare probabilities=True"
            )
        _check_gradient(model, X, logits, name)


def _answer(model: Any, X: Float32, name: str) -> Floats:
    try:
        logits: Floats = model.logits(X)
        return logits
    except InputError:
        raise
    except Exception as error:  # of any library
        said = " ".join(str(error).split())[:200]
        raise InputError(
            f"{name} does not take images as rows of {X.shape[1]} numbers, or fails on them "
            f"({type(error).__name__}: {said})"
        ) from None


def _check_gradient(model: Any, X: Float32, logits: Floats, name: str) -> None:
    """Compare the pullback of random slopes with central differences along random signs."""
    rng = np.random.default_rng(1)
    slopes = rng.normal(size=logits.shape).astype(logits.dtype)
    try:
        gradient = np.asarray(model.vjp(X)[1](slopes))
    except InputError:
        raise
    except Exception as error:
        said = " ".join(str(error).split())[:200]
        raise InputError(f"the gradient of {name} fails ({type(error).__name__}: {said})") from None
    if gradient.shape != X.shape:
        raise InputError(
            f"the gradient of {name} has shape {gradient.shape}; images have {X.shape}"
        )
    if not any(_agrees(model, X, slopes, gradient, step) for step in _STEPS):
        raise InputError(
            f"the gradient of {name} is not that of its logits: along random directions it is off "
            f"their differences by more than {100 * _OFF:.0f} %"
        )


def _agrees(model: Any, X: Float32, slopes: Floats, gradient: Floats, step: float) -> bool:
    """Return whether the gradient tells the differences over a step in random directions."""
    rng = np.random.default_rng(2)
    derivatives, differences = [], []
    for _ in range(_DIRECTIONS):
        way = (step * rng.choice([-1.0, 1.0], X.shape)).astype(np.float32)
        up, down = X + way, X - way
        change = (model.logits(up).astype(np.float64) - model.logits(down)) * slopes
        differences.append(change.sum(axis=1))
        derivatives.append(
            (gradient.astype(np.float64) * (up.astype(np.float64) - down)).sum(axis=1)
        )
    d = np.array(differences)
    noise = _NOISE * np.linalg.norm(slopes, axis=1) * np.abs(model.logits(X)).max(axis=1)
    off = np.abs(np.array(derivatives) - d)
    return float(np.mean(off <= _OFF * np.abs(d) + noise)) >= _MOST
