"""Classifiers of scikit-learn from a skops file, which is arrays, numbers and the names of types.

Reading one makes objects of the types that it names, so what these may be is a list: what skops
itself trusts (scikit-learn's public estimators, losses, NumPy's and SciPy's ufuncs, Python's own
containers) and `_PARTS`, of which trained classifiers are made besides. It is a list and not
"everything of these libraries": ``numpy.testing`` runs text as code, and ``numpy.memmap``
overwrites files.
"""

from __future__ import annotations

import importlib
import io
import json
import warnings
import zipfile
from pathlib import Path
from typing import Any

from fastadv.datasets.memory import in_words, total_memory
from fastadv.errors import InputError, brief
from fastadv.files import read_plain
from fastadv.models.adapters import skops_parts, skops_schema

# What skops does not trust by itself, and a trained classifier holds.
_PARTS = {
    "sklearn.calibration": ("_CalibratedClassifier", "_SigmoidCalibration", "_TemperatureScaling"),
    "sklearn.ensemble._hist_gradient_boosting.predictor": ("TreePredictor",),
    "sklearn.gaussian_process._gpc": ("_BinaryGaussianProcessClassifierLaplace",),
    "sklearn.gaussian_process.kernels": (
        "CompoundKernel", "ConstantKernel", "DotProduct", "Exponentiation", "ExpSineSquared",
        "Matern", "PairwiseKernel", "Product", "RBF", "RationalQuadratic", "Sum", "WhiteKernel",
    ),
    "sklearn.metrics._dist_metrics": (
        "ChebyshevDistance64", "EuclideanDistance64", "ManhattanDistance64", "MinkowskiDistance64",
    ),
    "sklearn.multiclass": ("_ConstantPredictor",),
    "sklearn.neighbors._ball_tree": ("BallTree",),
    "sklearn.neighbors._kd_tree": ("KDTree",),
    "sklearn.neural_network._stochastic_optimizers": ("AdamOptimizer", "SGDOptimizer"),
    "sklearn.tree._tree": ("Tree",),
    "sklearn.utils._bunch": ("Bunch",),
}  # fmt: skip
_TRUSTED = frozenset(f"{module}.{name}" for module, names in _PARTS.items() for name in names)

_SCHEMA = "schema.json"
_NAMED = 4  # types that a message names
_OBJECTS = 20  # bytes that a byte of the schema becomes, about, as Python's objects


def read(path: Path) -> Any:
    """Return the trained classifier of a skops file.

    Raises
    ------
    InputError
        If skops is not installed, the file is none of its kind or damaged, holds a type that is
        not trusted, needs more memory than there is, or is from another scikit-learn.
    """
    try:
        skops = importlib.import_module("skops.io")
    except ImportError:
        raise InputError(f"{path} needs skops to be read: pip install skops") from None
    try:
        data = read_plain(path)
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error.strerror})") from None
    try:
        schema = _sized_schema(data, path)
        unknown = skops.get_untrusted_types(data=data)
        strange = [name for name in unknown if name not in _TRUSTED]
        if strange:
            raise InputError(
                f"{path} holds {', '.join(strange[:_NAMED])}: of a skops file the parts of "
                "scikit-learn's classifiers are trusted and nothing else; write a factory that "
                "loads it, and give FILE.py:FACTORY"
            )
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            skops_schema.check(archive, schema)
        with warnings.catch_warnings(record=True) as warned:
            warnings.simplefilter("always")
            model = skops.loads(data, trusted=unknown)
        _check_version(warned, path)
        skops_parts.check(model)
    except InputError as error:
        said = str(error)
        raise InputError(said if said.startswith(str(path)) else f"{path}: {said}") from None
    except Exception as error:  # a damaged one makes zipfile, json, NumPy or skops raise anything
        raise InputError(f"{path} is no skops file, or damaged ({brief(error)})") from None
    return model


def _sized_schema(data: bytes, path: Path) -> Any:
    """Return what a file says it holds; raise InputError if that is larger than the memory."""
    memory = total_memory()
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        sizes = {info.filename: info.file_size for info in archive.infolist()}
        if _SCHEMA not in sizes:
            raise InputError(f"{path} is no skops file: it has no {_SCHEMA}")
        needed, schema = _OBJECTS * sizes[_SCHEMA], None
        if memory is None or needed <= memory:
            schema = json.loads(archive.read(_SCHEMA))
            # A file in the archive is read as often as it is named.
            names = [part.get("file") for part in skops_schema.parts(schema)]
            needed += sum(sizes[name] for name in names if isinstance(name, str))
    if memory is not None and needed > memory:
        raise InputError(
            f"{path}: reading it takes {in_words(needed)} of memory, and this machine has "
            f"{in_words(memory)}"
        )
    return schema


def _check_version(warned: list[warnings.WarningMessage], path: Path) -> None:
    """Raise InputError if a model was saved by another scikit-learn, but for its last number."""
    from sklearn.exceptions import InconsistentVersionWarning

    for one in warned:
        said = one.message
        if not isinstance(said, InconsistentVersionWarning):
            continue
        here, there = said.current_sklearn_version, said.original_sklearn_version
        if here.split(".")[:2] != str(there).split(".")[:2]:
            raise InputError(
                f"{path} was saved by scikit-learn {there}, and here is {here}, where it may "
                f"answer otherwise: pip install scikit-learn=={there}, or save it again"
            )
