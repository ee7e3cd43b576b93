"""Small problems that run in a moment, compiled or not."""

from __future__ import annotations

import importlib
import importlib.util
import os
import pkgutil
import xml.etree.ElementTree as ET
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from fastadv.models.mlp import MLPClassifier
from fastadv.protocols import Model
from fastadv.task import Task
from fastadv.threads import set_threads

if TYPE_CHECKING:
    from fastadv.grid.result import GridResult

UNCOMPILED = os.environ.get("NUMBA_DISABLE_JIT", "0") not in ("", "0")

TASK = Task(image_shape=(5, 4, 1), n_classes=3)
SMALL_MLP = "mlp[hidden_layer_sizes=6,batch_size=16,learning_rate=constant,learning_rate_init=0.5,max_iter=4,tol=none]"  # the spec of `small_mlp`

# What the program is told for a quick grid of `write_npz("data.npz")`.
QUICK_GRID = ["grid", "--attacks", "fgsm", "--defenses", "none", "--dataset", "data.npz", "--samples", "9"]  # fmt: skip

TORCH = importlib.util.find_spec("torch") is not None


def needs_torch(*values: Any) -> Any:
    """A case of a test; one of the model `cnn` is skipped where PyTorch is not installed."""
    skip = pytest.mark.skipif(not TORCH, reason="could not import 'torch'")
    return pytest.param(*values, marks=[skip] if "cnn" in values else [])


def blobs(n: int = 60, seed: int = 0, task: Task = TASK) -> tuple[np.ndarray, np.ndarray]:
    """Images around one bright patch a class, in [0, 1], float32, and their labels."""
    rng = np.random.default_rng(seed)
    centres = np.random.default_rng(99).random((task.n_classes, task.n_features))
    y = np.arange(n) % task.n_classes
    X = np.clip(0.2 + 0.6 * centres[y] + rng.normal(0, 0.08, (n, task.n_features)), 0, 1)
    return X.astype(np.float32), y.astype(np.int64)


def small_mlp(max_iter: int = 4, **changes: Any) -> MLPClassifier:
    """An untrained perceptron for such images, which learns most from few steps."""
    given = {
        "hidden_layer_sizes": (6,), "batch_size": 16, "learning_rate": "constant",
        "learning_rate_init": 0.5, "max_iter": max_iter, "tol": None,
    }  # fmt: skip
    return MLPClassifier(**{**given, **changes})


def write_npz(path: object, n: int = 90, task: Task = TASK) -> str:
    """A dataset file of such images."""
    X, y = blobs(n, task=task)
    X_test, y_test = blobs(45, seed=1, task=task)
    shape = (-1, *task.image_shape[:2])
    np.savez(path, x_train=X.reshape(shape), y_train=y, x_test=X_test.reshape(shape), y_test=y_test)  # type: ignore[arg-type]
    return str(path)


def numbers(result: GridResult) -> list[dict[str, Any]]:
    """Everything of the rows of runs but their times."""
    rows = result.runs
    return [{n: getattr(r, n) for n in r.__struct_fields__ if n != "seconds"} for r in rows]


def attack_in_any_batch(
    attack: Any, model: Model, X: np.ndarray, Y: np.ndarray, task: Task, patch: pytest.MonkeyPatch
) -> None:
    """Attack with one thread and two, in other chunks, and one image alone: the same bytes."""

    def found(rows: slice) -> dict[str, np.ndarray]:
        result = attack.perturb(model, X[rows], Y[rows], task=task, seed=3)
        return {"x_adv": result.x_adv, **result.distances, **result.details}

    set_threads(1)
    one = found(slice(None))
    set_threads(2)
    patch.setattr("fastadv.attacks.evasion.base.CHUNK", 7)
    two, alone = found(slice(None)), found(slice(11, 12))
    for name, values in one.items():
        assert values.tobytes() == two[name].tobytes()
        np.testing.assert_array_equal(alone[name][0], values[11])


class Clock:
    """Stands for the module ``time``: it moves on by what is slept, and by nothing else."""

    def __init__(self) -> None:
        self.now = 0.0

    def perf_counter(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


def kernels() -> dict[str, Any]:
    """Every kernel as "folder.file.name"; uncompiled runs have none."""
    from numba.core.registry import CPUDispatcher

    import fastadv.kernels

    found = {}
    for file in pkgutil.walk_packages(fastadv.kernels.__path__, "fastadv.kernels."):
        module = importlib.import_module(file.name)
        for name, thing in vars(module).items():
            if isinstance(thing, CPUDispatcher) and thing.py_func.__module__ == module.__name__:
                found[f"{file.name.removeprefix('fastadv.kernels.')}.{name}"] = thing
    return found


def clouds(rng: np.random.Generator, n: int, d: int = 3) -> tuple[np.ndarray, np.ndarray]:
    """Return points (n, d) of two classes that overlap, and their signs."""
    x = rng.normal(size=(n, d))
    y = np.where(x[:, 0] + 0.6 * rng.normal(size=n) > 0, 1.0, -1.0)
    y[:2] = 1, -1
    return x, y


def svg_lines(drawn: str) -> list[str]:
    """Return the text of a picture of a terminal, line by line, without empty ones."""
    found: dict[float, str] = {}
    for text in ET.fromstring(drawn).iter("{http://www.w3.org/2000/svg}text"):
        y, column = float(text.get("y", 0)), round(float(text.get("x", 0)) / 12.2)
        found[y] = found.get(y, "").ljust(column) + str(text.text).replace("\xa0", " ")
    return [line.rstrip() for line in found.values() if line.strip()]


def off_differences(model: Any, x: np.ndarray, step: float = 1e-3) -> float:
    """How far the pullback of random slopes is off central differences along a random way.

    The median over images, for some of them lie at a kink.
    """
    rng = np.random.default_rng(3)
    logits, pullback = model.vjp(x)
    slopes = rng.normal(size=logits.shape).astype(logits.dtype)
    way = rng.normal(size=x.shape)
    up, down = (x + step * way).astype(np.float32), (x - step * way).astype(np.float32)
    change = ((model.logits(up).astype(float) - model.logits(down)) * slopes).sum(axis=1)
    derivative = (pullback(slopes) * (up.astype(float) - down)).sum(axis=1)
    return float(np.median(np.abs(derivative - change) / np.maximum(np.abs(change), 1e-6)))
