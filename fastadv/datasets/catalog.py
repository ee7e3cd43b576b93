"""Datasets by name or by path, as a whole or narrowed: ``mnist[classes=7-1,train=100,val=500]``."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from fastadv import registry
from fastadv.datasets.dataset import Dataset
from fastadv.datasets.parts import KEYS, PARTS, Part
from fastadv.datasets.sources import Source
from fastadv.datasets.splits import stratified
from fastadv.entry import Entry, load
from fastadv.errors import InputError, brief
from fastadv.files import in_home
from fastadv.registry import NARROWING
from fastadv.seeds import generator
from fastadv.specs import Spec, closest, format_spec, resolve
from fastadv.task import listed

_PICKLES = {".pkl", ".pickle", ".pt", ".pth", ".joblib"}


def load_dataset(spec: str | Path) -> Dataset:
    """Load a dataset.

    Parameters
    ----------
    spec : str or Path
        A name (``mnist``, ``digits``, one of those that ``fastadv data fetch`` brings, or a
        plug-in's), or the path of what one of the readers reads:

        - a ``.npz`` file with ``x_train, y_train`` and, if it likes, ``x_test, y_test`` and
          ``x_val, y_val``, where images are (n, H, W), (n, H, W, C) or (n, C, H, W), of uint8 or of
          floats in [0, 1];
        - a table, ``.csv`` or ``.parquet``, of columns or, by ``shape=28x28``, of an image a row;
        - a folder of pictures, CLASS/FILE, or train/CLASS/FILE and test/CLASS/FILE;
        - a folder of four IDX files, named as MNIST's are, of CIFAR-10's binary version, or of
          USPS's two files.

        Where there is no part for tests, one row in five is drawn for it, and a note says so; where
        there is none for validation, one training row in twelve is held out: in the proportions of
        the classes, always the same ones.

        Parameters in brackets go to the loader that has them (``fastadv list FILE.csv``):
        ``label``, ``shape`` and ``test_file`` of tables, ``range`` (the value of white; 255 of
        bytes, 1 of floats) and ``channels`` (``first`` or ``last``) of files that do not say so
        themselves, ``prefix`` of IDX files, where a folder holds those of several datasets.

        Others narrow it. ``classes=7-1`` keeps two classes, 7 as label 0 and 1 as label 1; they
        may be called by their names (``classes=cat-dog``). ``train``, ``val`` and ``test`` are
        numbers of images, drawn in the proportions of the classes, at least one of each; rows keep
        their order. ``split`` (default 0) is another draw from the same images.

    Returns
    -------
    Dataset
        Rows of float32 pixels and their labels, to train on, to validate by and to test on.

    Raises
    ------
    InputError
        If there is no such dataset, a file is not what it has to be, or the spec asks for more
        than there is.

    Examples
    --------
    >>> load_dataset("mnist[classes=7-1,train=100]").x_train.shape
    (100, 784)
    """
    parsed = Spec.of_data(str(spec))
    entry, arguments = _entry_of(parsed.name)
    loader = entry.load()
    kinds = registry.parameter_kinds(loader)
    for key in kinds.keys() & NARROWING.keys():
        raise InputError(f"{parsed.name}: its loader takes {key}, by which any data are narrowed")
    given = resolve(parsed.parameters, kinds | NARROWING, parsed.name)
    reading = {key: given[key] for key in kinds if key in given}
    narrowing = {key: given[key] for key in NARROWING if key in given}
    source = _as_source(loader(*arguments, **reading), entry)
    parts, owner = source.parts, format_spec(parsed.name, reading)
    class_names = source.class_names
    if "classes" in narrowing:
        owner = format_spec(parsed.name, reading | {"classes": narrowing["classes"]})
        classes = _classes_of(narrowing["classes"], source, owner)
        narrowing["classes"] = classes
        parts = _keep_classes(parts, classes, owner)
        class_names = tuple(class_names[c] if class_names else str(c) for c in classes)
    parts = _draw_subsets(parts, narrowing, owner)

    canonical = format_spec("", reading | narrowing)
    known_hash = hashlib.blake2b((source.hash + canonical).encode(), digest_size=16).hexdigest()
    narrowed = source._replace(parts=parts, class_names=class_names)
    return Dataset.of_source(narrowed, parsed.name + canonical, known_hash)


def _entry_of(name: str) -> tuple[Entry, list[Path]]:
    """Return what loads a dataset, and the path if it wants one. A name comes before a path."""
    if registry.knows("dataset", name):
        return registry.find("dataset", name), []
    path = in_home(name)
    readers = [entry for entry in registry.REGISTRY["dataset"] if entry.reads]
    paths = ", ".join(entry.name for entry in readers)
    if path.suffix.lower() in _PICKLES:
        raise InputError(
            f"{path}: pickles can run any program when they are read, and are not read; save the "
            "arrays by numpy.savez (expected one of: " + paths + ")"
        )
    try:
        there = path.exists()
        for entry in readers if there else ():
            if load(entry.reads)(path):
                return entry, [path]
    except OSError as error:  # a name that is too long, a folder that may not be looked into
        raise InputError(f"{brief(name)}: cannot be read ({error.strerror})") from None
    if there:
        raise InputError(f"{path}: found a file of another kind, expected one of: {paths}")
    if path.suffix or len(path.parts) > 1:
        raise InputError(f"there is no file or folder {name}")
    known = registry.names("dataset")
    hint = closest(name, known) or f"; there is {', '.join(known)}."
    raise InputError(f"no dataset {name!r}{hint} Otherwise give a path: {paths}")


def _as_source(made: Any, entry: Entry) -> Source:
    """Return what a loader returned as checked parts."""
    if isinstance(made, Source):
        return made
    if isinstance(made, Dataset):
        parts = {}
        for part in PARTS:
            x, y = getattr(made, f"x_{part}"), getattr(made, f"y_{part}")
            parts[part] = Part(x.reshape(len(x), *made.task.image_shape), y, white=1.0)
        task = made.task
        return Source(
            parts, made.fingerprint, made.notes, task.bounds, made.class_names, task.columns
        )
    if isinstance(made, Mapping):
        keys = list(KEYS if "x_test" in made or "y_test" in made else KEYS[:2])
        if "x_val" in made or "y_val" in made:
            keys += ["x_val", "y_val"]
        missing = [key for key in keys if key not in made]
        if not missing:
            return Source.of({key: np.asarray(made[key]) for key in keys}, entry.name)
        found = f"without {', '.join(missing)}"
    else:
        found = f"{type(made).__name__}"
    raise InputError(
        f"{entry.name}: the loader of {entry.origin} returned {found}, expected a fastadv.Dataset "
        f"or a dict of arrays: {', '.join(KEYS)}"
    )


def _classes_of(text: str, source: Source, owner: str) -> tuple[int, ...]:
    """Return the labels of classes that are joined by dashes, by their names or numbers."""
    names = {name: label for label, name in enumerate(source.class_names)}
    present = np.unique(np.concatenate([part.labels for part in source.parts.values()])).tolist()
    called = [source.class_names[label] if names else str(label) for label in present]
    there_are = f"the classes are {listed(called)}"
    known = names | {str(label): label for label in present if str(label) not in names}
    labels: list[int] = []
    words = [] if text == "none" else text.split("-")
    while words:
        for n in range(len(words), 0, -1):  # a name may have dashes, too
            word = "-".join(words[:n]).strip()
            if word in known:
                break
        else:
            raise InputError(f"{owner}: there is no class {words[0]}; {there_are}")
        labels.append(known[word])
        del words[:n]
    if len(set(labels)) < len(labels):
        raise InputError(f"{owner}: a class is repeated, expected each once; {there_are}")
    if len(labels) < 2:
        raise InputError(f"{owner}: expected two classes or more, such as 7-1; {there_are}")
    return tuple(labels)


def _keep_classes(parts: dict[str, Part], classes: tuple[int, ...], owner: str) -> dict[str, Part]:
    """Return the images of some classes, under the labels 0, 1, ... in the order of ``classes``."""
    order = np.argsort(classes)
    kept = {}
    for name, part in parts.items():
        rows = np.flatnonzero(np.isin(part.labels, classes))
        absent = np.setdiff1d(classes, part.labels)
        if len(absent) and (name == "train" or not len(rows)):
            raise InputError(f"{owner}: there is no {name} image of class {absent[0]}")
        labels = order[np.searchsorted(np.sort(classes), part.labels[rows])].astype(np.int64)
        kept[name] = part.take(rows)._replace(labels=labels)
    return kept


def _draw_subsets(parts: dict[str, Part], narrowing: dict[str, Any], owner: str) -> dict[str, Part]:
    split = narrowing.get("split", 0)
    if split < 0:
        raise InputError(f"{owner}: split={split}, but it has to be 0 or more")
    if split and not any(name in narrowing for name in PARTS):
        raise InputError(f"{owner}: split={split} is another draw, of train=, val= or test= images")
    drawn = dict(parts)
    for name in (name for name in PARTS if name in narrowing):
        part, size = parts[name], narrowing[name]
        lowest, available = len(np.unique(part.labels)), len(part.labels)
        if not lowest <= size <= available:
            bounds = f"{lowest} (one image a class) to {available} (all there are)"
            raise InputError(f"{owner}: {name}={size}, but it has to be from {bounds}")
        rng = generator(split, f"{name} subset")  # its own, so that no part moves another's draw
        drawn[name] = part.take(stratified(part.labels, size, rng, at_least=1))
    return drawn
