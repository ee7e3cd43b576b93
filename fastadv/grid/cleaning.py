"""What sanitizers do to a training set in a grid, and how much poison and clean data it costs."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from fastadv.arrays import Arrays, Floats, Labels, Mask
from fastadv.datasets import Dataset
from fastadv.errors import InputError
from fastadv.protocols import (
    ModelSanitizer,
    RegionSanitizer,
    Sanitizer,
    SurveyingSanitizer,
)

Rows = npt.NDArray[np.intp]

NO_ROWS = np.empty(0, dtype=np.intp)


def cleans(defense: Any) -> bool:
    """Return whether the defense touches the training set."""
    return isinstance(defense, Sanitizer | ModelSanitizer)


def survey(defense: SurveyingSanitizer, X: Floats, data: Dataset) -> Arrays:
    """Return what the defense knows of images X before any of them changes."""
    return defense.survey(X, trusted=data.x_val, task=data.task)


def sanitize(
    defense: Any,
    model: Any,
    X: Floats,
    y: Labels,
    data: Dataset,
    seed: int,
    surveyed: tuple[Arrays, Rows] | None = None,
) -> tuple[Mask, Labels]:
    """Return which rows the defense keeps, and the labels that it gives them.

    Parameters
    ----------
    surveyed : tuple of dict and ndarray of int, optional
        Of a `SurveyingSanitizer`, the `survey` of a set that X is but for these rows, and for those
        that are behind. The result is the same without.

    Raises
    ------
    InputError
        If nothing of a class would be left to train on.
    """
    if isinstance(defense, RegionSanitizer) and defense.trusted:
        region = defense.region(data.x_val, data.y_val, task=data.task)
        keep, labels = region.accepts(X, y), y
    elif isinstance(defense, ModelSanitizer):
        keep, labels = defense.screen(model, X, y, task=data.task, seed=seed)
    elif isinstance(defense, SurveyingSanitizer):
        known, changed = surveyed or (survey(defense, X, data), NO_ROWS)
        keep, labels = defense.sanitize_from(known, X, y, changed, task=data.task, seed=seed)
    else:
        keep, labels = defense.sanitize(X, y, task=data.task, seed=seed)
    gone = np.setdiff1d(y, labels[keep])
    if len(gone):
        raise InputError(
            f"{defense.name} leaves no image of class {data.task.name_of(gone[0])} to train on; "
            f"give it more images or a milder setting ({len(X)} to clean, {len(data.x_val)} held "
            "out)"
        )
    return keep, labels


def shares(
    keep: Mask,
    labels: Labels,
    y: Labels,
    poison: Rows,
    true_labels: Labels | None,
) -> dict[str, float]:
    """Return the shares of poison caught, of clean data lost, and of kept rows relabelled.

    Caught is poison that is dropped, or that is given back the label of the image that it started
    as; lost is a clean image that is dropped or given another label. Without poison, or where its
    true labels are not known, nothing of that is claimed.

    Parameters
    ----------
    keep, labels : ndarray of shape (n,)
        What a sanitizer returned.
    y : ndarray of shape (n,)
        The labels that it got.
    poison : ndarray of int
        The rows that are poison.
    true_labels : ndarray of shape (len(poison),), or None
    """
    clean = np.ones(len(y), dtype=bool)
    clean[poison] = False
    changed = labels != y
    out = {
        "lost": float(np.mean((~keep | changed)[clean])),
        "relabelled": float(np.mean(changed[keep])) if keep.any() else 0.0,
    }
    if len(poison):
        caught = ~keep[poison]
        if true_labels is not None:
            caught |= changed[poison] & (labels[poison] == true_labels)
        out["caught"] = float(np.mean(caught))
    return out
