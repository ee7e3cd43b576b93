"""Which rows are held out, for validation and, where a source has none, for tests."""

from __future__ import annotations

import numpy as np

from fastadv.arrays import Labels
from fastadv.datasets.parts import Part, Rows
from fastadv.errors import InputError
from fastadv.seeds import generator

HELD_OUT = 12  # one training image in so many is held out: 5,000 of MNIST's 60,000
TESTED = 5  # one image in so many is for tests, of a source that has none for them


def stratified(
    labels: Labels, size: int, rng: np.random.Generator, *, at_least: int = 0, leave: int = 0
) -> Rows:
    """Draw rows in the proportions of the classes, by the largest remainder.

    Parameters
    ----------
    labels : ndarray of int64, shape (n,)
    size : int
        How many to draw, at most n.
    rng : Generator
    at_least, leave : {0, 1}
        How many of each class that there is to draw, and to leave; ``size`` has to allow for it.

    Returns
    -------
    ndarray of int, shape (size,)
        In ascending order.
    """
    _, columns, counts = np.unique(labels, return_inverse=True, return_counts=True)
    quota, remainder = np.divmod(counts * size, len(labels))
    # A stable sort gives a tie to the lower label, on any platform.
    quota[np.argsort(-remainder, kind="stable")[: size - quota.sum()]] += 1
    for column in np.flatnonzero(quota < at_least):
        quota[np.argmax(quota)] -= 1
        quota[column] += 1
    for column in np.flatnonzero(counts - quota < leave):
        quota[column] -= 1
        quota[np.argmax(counts - quota)] += 1
    rows = [
        rng.permutation(np.flatnonzero(columns == column))[:number]
        for column, number in enumerate(quota)
    ]
    return np.sort(np.concatenate(rows))


def split_off_test(
    parts: dict[str, Part], where: str, names: tuple[str, ...] = ()
) -> dict[str, Part]:
    """Take one training row in five for tests, at least one of each class and not the last one.

    Parameters
    ----------
    parts : dict of Part
        ``train`` and, if it is there, ``val``.
    where : str
        What the errors name.
    names : tuple of str
        Of the classes, for the errors.
    """
    train = parts["train"]
    labels, counts = np.unique(train.labels, return_counts=True)
    if counts.min() < 2:
        label = int(labels[counts.argmin()])
        name = names[label] if names else str(label)
        raise InputError(
            f"{where}: found one row of class {name}, expected two or more, one to train on and "
            "one to test on, as there is no part for tests; leave the class out, or add rows"
        )
    size = max(len(train.labels) // TESTED, len(labels))
    rows = stratified(train.labels, size, generator(0, "test split"), at_least=1, leave=1)
    stays = np.delete(np.arange(len(train.labels)), rows)
    return parts | {"train": train.take(stays), "test": train.take(rows)}


def hold_out(parts: dict[str, Part], where: str) -> dict[str, Part]:
    """Take one training row in twelve for validation, in the proportions of the classes."""
    train = parts["train"]
    n_train, n_classes = len(train.labels), len(np.unique(train.labels))
    size = n_train // HELD_OUT
    if not 0 < size <= n_train - n_classes:
        fault = f"found {n_train} training images of {n_classes} classes and none for validation"
        raise InputError(f"{where}: {fault}, expected {HELD_OUT} or more, or x_val and y_val")
    # The last image of a class stays: without it there would be nothing to learn the class from.
    rows = stratified(train.labels, size, generator(0, "validation split"), leave=1)
    stays = np.delete(np.arange(n_train), rows)
    return {"train": train.take(stays), "val": train.take(rows), "test": parts["test"]}
