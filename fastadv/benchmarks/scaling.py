"""How time and memory grow with the size of the work, one size at a time.

The images that are scaled up are MNIST's with each pixel repeated, and the model's first matrix is
repeated with them and divided by the number of copies: the same function, of more pixels.
"""

from __future__ import annotations

import ctypes
import gc
import math
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from fastadv.arrays import Floats
from fastadv.datasets import Dataset, load_dataset
from fastadv.models.mlp import MLPClassifier
from fastadv.registry import make
from fastadv.task import Task

Call = Callable[[], Any]

ROUNDS = 3


class Point(msgspec.Struct, kw_only=True):
    """What one size took.

    Attributes
    ----------
    work, by : str
        What was run, and what of it grows.
    size : int
    seconds : float
        The median over rounds.
    memory : float or None
        MiB that the process grew by at its peak, over what it held before; None where the system
        does not tell (only Linux does).
    exponent : float or None
        p of time ~ size^p, from the size before; None at the first.
    """

    work: str
    by: str
    size: int
    seconds: float
    memory: float | None
    exponent: float | None = None


@dataclass(frozen=True)
class Curve:
    """Some work at growing sizes; ``prepare(size)`` returns it, ready to run."""

    work: str
    by: str
    sizes: Sequence[int]
    prepare: Callable[[int], Call]

    @property
    def name(self) -> str:
        """The work and what grows."""
        return f"{self.work} by {self.by}"


def run(curve: Curve, rounds: int = ROUNDS) -> list[Point]:
    """Measure every size, the median of ``rounds`` runs after one that warms up and is weighed."""
    points: list[Point] = []
    curve.prepare(curve.sizes[0])()  # what it loads once is no part of any size
    for size in curve.sizes:
        call = curve.prepare(size)
        memory, times = peak_memory(call), []
        for _ in range(rounds):
            gc.collect()
            start = time.perf_counter()
            call()
            times.append(time.perf_counter() - start)
        point = Point(
            work=curve.work, by=curve.by, size=size, seconds=statistics.median(times), memory=memory
        )
        if points:
            before = points[-1]
            growth = math.log(point.seconds / before.seconds)
            point.exponent = growth / math.log(size / before.size)
        points.append(point)
    return points


def peak_memory(call: Call) -> float | None:
    """Run ``call`` and return by how many MiB the process grew at its peak; None but on Linux."""
    if sys.platform != "linux":
        call()
        return None
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)  # or what was freed before would be used again, unseen
    before = _status("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")  # resets VmHWM, see proc(5)
    call()
    return (_status("VmHWM") - before) / 1024


def _status(name: str) -> int:
    """Return a figure of this process in KiB."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(name + ":"):
            return int(line.split()[1])
    raise KeyError(name)


def curves() -> list[Curve]:
    """Return all curves; nothing is loaded or trained before one is prepared."""
    pixels = 784, 3136, 7056, 12544
    return [
        Curve("training", "batch size", (10, 30, 100, 300, 1000), partial(_training, "batch size")),
        Curve("training", "width", (16, 32, 64, 128, 256, 512, 1024), partial(_training, "width")),
        Curve(
            "training", "images", (3000, 6000, 12000, 24000, 48000), partial(_training, "images")
        ),
        Curve("pgd", "images", (500, 1000, 2000, 4000, 8000), partial(_images, "pgd")),
        Curve("pgd", "pixels", pixels, partial(_pixels, "pgd")),
        Curve("stadv", "images", (250, 500, 1000, 2000), partial(_images, "stadv")),
        Curve("stadv", "pixels", pixels, partial(_pixels, "stadv")),
        Curve(
            "biggio", "training images", (250, 500, 1000, 2000, 4000), partial(_gradient, "images")
        ),
        Curve("biggio", "poison points", (1, 4, 16, 64, 256), partial(_gradient, "points")),
        Curve("biggio", "training steps", (50, 100, 200, 400, 800), partial(_gradient, "steps")),
    ]


@cache
def _data() -> Dataset:
    return load_dataset("mnist")


@cache
def _model() -> MLPClassifier:
    data = _data()
    return MLPClassifier(max_iter=3, tol=None).fit(data.x_train, data.y_train)


def _training(by: str, size: int) -> Call:
    n, width, batch_size = {
        "batch size": (20_000, 128, size), "width": (10_000, size, 100), "images": (size, 128, 100)
    }[by]  # fmt: skip
    X, y = _data().x_train[:n], _data().y_train[:n]
    model = MLPClassifier(
        (width,), batch_size=batch_size, learning_rate_init=0.1, max_iter=1, tol=None
    )
    return lambda: model.fit(X, y)


def _images(attack: str, n: int) -> Call:
    data, made, model = _data(), make("attack", attack), _model()
    return lambda: made.perturb(model, data.x_test[:n], data.y_test[:n], task=data.task)


def _pixels(attack: str, n_pixels: int) -> Call:
    data, made = _data(), make("attack", attack)
    factor = math.isqrt(n_pixels // data.task.n_features)
    X, model, task = scaled_up(data.x_test[:128], _model(), data.task, factor)
    return lambda: made.perturb(model, X, data.y_test[:128], task=task)


def scaled_up(
    X: Floats, model: MLPClassifier, task: Task, factor: int
) -> tuple[Floats, MLPClassifier, Task]:
    """Return images of ``factor`` times the height and width, and the same model of them."""
    height, width, channels = task.image_shape

    def repeated(rows: Floats) -> Floats:
        images = rows.reshape(-1, height, width, channels)
        larger: Floats = images.repeat(factor, axis=1).repeat(factor, axis=2)
        return np.ascontiguousarray(larger.reshape(len(rows), -1), dtype=np.float32)

    first, *others = model.coefs_
    matrix = repeated(np.ascontiguousarray(first.T)).T / np.float32(factor**2)
    larger = MLPClassifier.from_weights(
        [matrix, *others], model.intercepts_, activation=model.activation
    )
    shape = (factor * height, factor * width, channels)
    return repeated(X), larger, Task(image_shape=shape, n_classes=task.n_classes)


def _gradient(by: str, size: int) -> Call:
    """Return the exact gradient of the loss after training, with respect to the last rows."""
    n, n_points, epochs = {
        "images": (size, 10, 4), "points": (1000, size, 10), "steps": (500, 10, size // 10)
    }[by]  # fmt: skip
    data = _data()
    X, X_val = data.x_train[:n].astype(np.float64), data.x_val[:500].astype(np.float64)
    y, y_val, index = data.y_train[:n], data.y_val[:500], np.arange(n - n_points, n)
    model = MLPClassifier((32,), batch_size=50, learning_rate_init=0.1, max_iter=epochs)
    return lambda: model.poison_gradient(X, y, index, X_val, y_val)
