"""What attacks on a module of PyTorch cost beside its passes alone, and beside our own network.

The same passes as a plain loop: as many rows forward and backward, in batches of the same size. Of
``stadv`` our kernels are added, timed on a model that answers at once what the module has answered.
"""

from __future__ import annotations

import functools
import importlib
from collections.abc import Iterator
from typing import Any

from fastadv.arrays import Floats
from fastadv.benchmarks.peers import NEEDS
from fastadv.benchmarks.peers.evasion import as_torch
from fastadv.benchmarks.race import Quality, Race, Runner, Work
from fastadv.datasets import load_dataset
from fastadv.models.cnn import ConvNet
from fastadv.models.mlp import MLPClassifier
from fastadv.models.wrapping import wrap
from fastadv.protocols import Pullback
from fastadv.registry import make_attack

SAMPLES = 1000
DATA = "mnist[train=3000]"
LOOP, PASSES = "torch, a plain loop", "torch, passes and our kernels"


@functools.cache
def _images() -> tuple[Any, Floats, Any]:
    data = load_dataset(DATA)
    return data.task, data.x_test[:SAMPLES].copy(), data.y_test[:SAMPLES].copy()


@functools.cache
def _module() -> Any:
    """Return a small convolutional network of PyTorch, trained."""
    data = load_dataset(DATA)
    made = ConvNet(image_shape=data.task.image_shape)
    return made.fit(data.x_train, data.y_train).module_


@functools.cache
def _perceptron() -> MLPClassifier:
    data = load_dataset(DATA)
    return MLPClassifier().fit(data.x_train, data.y_train)


def _wrapped() -> Any:
    task, X, _ = _images()
    return wrap(_module(), image_shape=task.image_shape, images=X[:64])


def _attacked(attack: str, model: Any) -> Work:
    task, X, y = _images()
    made = make_attack(attack)

    def work() -> Quality:
        return {"accuracy": made.perturb(model, X, y, task=task).robust_accuracy()}  # type: ignore[union-attr]

    return work


class _Kept:
    """A model, and all that it has answered, in order."""

    any_thread = False

    def __init__(self, model: Any) -> None:
        self._model, self.classes_ = model, model.classes_
        self.batch_rows = model.batch_rows
        self.forward: list[Floats] = []
        self.backward: list[tuple[int, Floats]] = []  # which pass it goes back through

    def logits(self, X: Floats) -> Floats:
        return self.vjp(X)[0]

    def vjp(self, X: Floats) -> tuple[Floats, Pullback]:
        logits, pull = self._model.vjp(X)
        number = len(self.forward)
        self.forward.append(logits)

        def pullback(dlogits: Floats) -> Floats:
            gradient: Floats = pull(dlogits)
            self.backward.append((number, gradient))
            return gradient

        return logits, pullback


class _Replayed:
    """A model that answers what another has answered, in the same order, and computes nothing."""

    any_thread = False

    def __init__(self, kept: _Kept) -> None:
        self.classes_, self.batch_rows = kept.classes_, kept.batch_rows
        self._kept = kept
        self.begin()

    def begin(self) -> None:
        self._logits: Iterator[Floats] = iter(self._kept.forward)
        self._gradients = iter(self._kept.backward)

    def logits(self, X: Floats) -> Floats:
        return next(self._logits)

    def vjp(self, X: Floats) -> tuple[Floats, Pullback]:
        return next(self._logits), lambda _: next(self._gradients)[1]


def _loop(attack: str, kernels: bool) -> Work:
    """Return the passes of an attack on the module as a plain loop, and perhaps our kernels."""
    torch: Any = importlib.import_module("torch")
    kept, module = _Kept(_wrapped()), _module()
    _attacked(attack, kept)()
    _, X, _ = _images()
    images = torch.from_numpy(X.reshape(-1, 1, 28, 28))
    back = {number for number, _ in kept.backward}
    assert len(back) == len(kept.backward), "a plain loop goes back once through each pass"
    passes = [(len(logits), number in back) for number, logits in enumerate(kept.forward)]
    replayed = _Replayed(kept)
    run_kernels = _attacked(attack, replayed)

    def work() -> Quality:
        for n, goes_back in passes:
            if not goes_back:
                with torch.inference_mode():
                    module(images[:n])
                continue
            x = images[:n].clone().requires_grad_()
            out = module(x)
            loss = torch.nn.functional.cross_entropy(out, out.argmax(dim=1), reduction="sum")
            torch.autograd.grad(loss, x)
        if not kernels:
            return {}
        replayed.begin()
        return run_kernels()  # type: ignore[return-value]

    return work


def races() -> list[Race]:
    """Return the races; nothing is trained before one is run."""
    needs, install = NEEDS["torch"]
    told, pgd = f"cnn, {SAMPLES:,} digits", "pgd[steps=40]"

    def ours(attack: str) -> Runner:
        return Runner("fastadv", lambda: _attacked(attack, _wrapped()), needs, install)

    def other(name: str, attack: str, kernels: bool) -> Runner:
        return Runner(name, lambda: _loop(attack, kernels), needs, install)

    own = Runner("fastadv", lambda: _attacked(pgd, _perceptron()))
    over = Runner(
        "taken over", lambda: _attacked(pgd, wrap(as_torch(_perceptron()))), needs, install
    )
    return [
        Race("given", f"{told}, {pgd}", (ours(pgd), other(LOOP, pgd, False))),
        Race("given", f"{told}, stadv", (ours("stadv"), other(PASSES, "stadv", True))),
        Race("given", f"mlp, {SAMPLES:,} digits, {pgd}", (own, over)),
    ]
