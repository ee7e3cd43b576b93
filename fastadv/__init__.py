"""Training-time and test-time attacks against defenses, as one grid, on small models, on a CPU.

Everything below is loaded when it is first used: importing fastadv itself imports neither NumPy
nor Numba nor scikit-learn.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.2.0.dev0"

if TYPE_CHECKING:
    from fastadv.columns import ColumnRules as ColumnRules
    from fastadv.datasets import Dataset as Dataset
    from fastadv.datasets import load_dataset as load_dataset
    from fastadv.errors import DivergenceError as DivergenceError
    from fastadv.errors import GradientWarning as GradientWarning
    from fastadv.errors import InputError as InputError
    from fastadv.grid.executors.dask import Dask as Dask
    from fastadv.grid.result import GridResult as GridResult
    from fastadv.grid.result import read_result as read_result
    from fastadv.grid.row import Figure as Figure
    from fastadv.grid.row import Row as Row
    from fastadv.grid.run import run_grid as run_grid
    from fastadv.models.mlp import MLPClassifier as MLPClassifier
    from fastadv.models.module_classifier import TorchClassifier as TorchClassifier
    from fastadv.models.onnx_export import to_onnx as to_onnx
    from fastadv.models.svm import SVC as SVC
    from fastadv.models.wrapping import wrap as wrap
    from fastadv.protocols import Defense as Defense
    from fastadv.protocols import EvasionAttack as EvasionAttack
    from fastadv.protocols import PoisoningAttack as PoisoningAttack
    from fastadv.registry import make_attack as make_attack
    from fastadv.registry import make_defense as make_defense
    from fastadv.registry import make_model as make_model
    from fastadv.results import EvasionResult as EvasionResult
    from fastadv.results import PoisonResult as PoisonResult
    from fastadv.task import Task as Task

_HOMES = {
    "ColumnRules": "fastadv.columns",
    "Dataset": "fastadv.datasets",
    "Defense": "fastadv.protocols",
    "DivergenceError": "fastadv.errors",
    "EvasionAttack": "fastadv.protocols",
    "EvasionResult": "fastadv.results",
    "GradientWarning": "fastadv.errors",
    "InputError": "fastadv.errors",
    "MLPClassifier": "fastadv.models.mlp",
    "PoisonResult": "fastadv.results",
    "PoisoningAttack": "fastadv.protocols",
    "Row": "fastadv.grid.row",
    "Figure": "fastadv.grid.row",
    "Dask": "fastadv.grid.executors.dask",
    "GridResult": "fastadv.grid.result",
    "SVC": "fastadv.models.svm",
    "Task": "fastadv.task",
    "TorchClassifier": "fastadv.models.module_classifier",
    "load_dataset": "fastadv.datasets",
    "make_attack": "fastadv.registry",
    "make_defense": "fastadv.registry",
    "make_model": "fastadv.registry",
    "read_result": "fastadv.grid.result",
    "run_grid": "fastadv.grid.run",
    "to_onnx": "fastadv.models.onnx_export",
    "wrap": "fastadv.models.wrapping",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'fastadv' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *_HOMES])
