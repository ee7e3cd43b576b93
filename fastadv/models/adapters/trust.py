"""Whether a given model can be measured: by the image alone, and with the right gradient."""

from __future__ import annotations

from typing import Any

import numpy as np

from fastadv import capabilities
from fastadv.arrays import Float32, Floats
from fastadv.errors import InputError

_DIRECTIONS = 3  # along which a gradient is compared with differences
_NEAR = 0.2  # of the way to images of noise, that they are moved before
# In a pixel: up from where steep models still are straight, by steps that are not lost in rounding.
_STEPS = (1e-5, 3e-5, 1e-4, 3e-4, 1e-3, 3e-3, 1e-2)
_OFF = 0.05  # of a difference, by which the gradient may miss it
_MOST = 0.6  # of the images and directions, at which it has to tell it: others may cross a kink
_SAME = 1e-4  # of the largest logit, by which two passes of single precision may differ
_FEWEST = 0.3  # of the images and directions, that have to differ for a verdict
_NOISE = 1e-6  # of the largest logit, that a difference is not to be told from


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
        beside, or a gradient from outside is not that of the logits.
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
    if capabilities.differentiable(model) and not capabilities.made_here(model):
        if not probabilities and sum_to_1(logits):
            raise InputError(
                f"{name} returns probabilities, whose gradient is lost where it is sure: give the "
                "model without its softmax, or declare probabilities=True"
            )
        _check_gradient(model, X, logits, name)


def sum_to_1(logits: Floats) -> bool:
    """Return whether all rows of logits (n, k) could be probabilities."""
    return bool(logits.min() >= 0 and np.abs(logits.sum(axis=1) - 1).max() < _SAME)


def check_labels(model: Any, X: Float32, name: str) -> None:
    """Raise InputError if a model and what it was made of tell images of the data apart otherwise.

    Rounding may turn one in fifty, and one more.
    """
    labels = capabilities.original_labels(model, X)
    if labels is None:
        return
    differ = int(np.count_nonzero(model.predict(X) != labels))
    if differ > 1 + len(X) // 50:
        raise InputError(
            f"{name} predicts other labels than its scores say, of {differ} of {len(X)} images: "
            "give what it decides by, fastadv.wrap(logits=f)"
        )


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
    """Compare the pullback of random slopes with central differences along random signs.

    Not at the images themselves but near them: where neighbouring pixels are equal, as on a black
    ground, the maxima of a pool tie, and no gradient is that of the differences.
    """
    rng = np.random.default_rng(1)
    slopes = rng.normal(size=logits.shape).astype(logits.dtype)
    noise = rng.uniform(X.min(), X.max(), X.shape)
    X = ((1 - _NEAR) * X + _NEAR * noise).astype(np.float32)
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
    refused = False
    for step in _STEPS:
        verdict = _agrees(model, X, slopes, gradient, step)
        if verdict:
            return
        refused = refused or verdict is not None
    if refused:
        raise InputError(
            f"the gradient of {name} is not that of its logits: along random directions it is off "
            f"their differences by more than {100 * _OFF:.0f} %"
        )


def _agrees(model: Any, X: Float32, slopes: Floats, gradient: Floats, step: float) -> bool | None:
    """Return whether the gradient tells the differences over a step in random directions.

    None if they are not to be told from rounding: the step is too small, or the model saturated.
    """
    rng = np.random.default_rng(2)
    derivatives, differences = [], []
    for _ in range(_DIRECTIONS):
        way = (step * rng.choice([-1.0, 1.0], X.shape)).astype(np.float32)
        up, down = X + way, X - way
        change = (model.logits(up).astype(np.float64) - model.logits(down)) * slopes
        differences.append(change.sum(axis=1))
        moved = up.astype(np.float64) - down
        derivatives.append((gradient.astype(np.float64) * moved).sum(axis=1))
    a, d = np.array(derivatives), np.array(differences)
    noise = _NOISE * np.linalg.norm(slopes, axis=1) * np.abs(model.logits(X)).max(axis=1)
    tells = np.maximum(np.abs(a), np.abs(d)) > noise / _OFF
    if tells.mean() < _FEWEST:
        return None
    return float(np.mean((np.abs(a - d) <= _OFF * np.abs(d))[tells])) >= _MOST
