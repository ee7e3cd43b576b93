"""Compiling every kernel ahead, so that no attack is slow the first time it runs."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np

from fastadv.errors import InputError
from fastadv.kernels import _jit
from fastadv.protocols import Certifier, Model, RobustTraining, Sanitizer, Task, Wrapper
from fastadv.seeds import Stream

Tell = Callable[[str, int, int], None]

_TASK = Task(image_shape=(4, 4, 1), n_classes=2)


def _marker() -> Path:
    return _jit.CACHE_FOLDER / "warm"


def is_warm() -> bool:
    """Return whether the machine code of all kernels is on disk, or is not wanted at all."""
    return os.environ.get("NUMBA_DISABLE_JIT", "0") not in ("", "0") or _marker().exists()


def warm_up(tell: Tell = lambda *_: None) -> None:
    """Compile every kernel for the types that the package uses, once a machine.

    Parameters
    ----------
    tell : callable
        Called as ``tell(name, done, total)`` before each group of kernels.
    """
    if is_warm():
        return
    groups: list[tuple[str, Callable[[], None]]] = [
        ("training", _training),
        ("attacks", _attacks),
        ("defenses", _defenses),
        ("training's derivative", _derivative),
        ("the support vector machine", _svm),
    ]
    for done, (name, compile_group) in enumerate(groups):
        tell(name, done, len(groups))
        compile_group()
    tell("", len(groups), len(groups))
    try:
        _marker().parent.mkdir(parents=True, exist_ok=True)
        _marker().touch()
    except OSError as error:
        raise InputError(
            f"cannot keep compiled kernels in {_jit.CACHE_FOLDER} ({error.strerror}); "
            "set NUMBA_CACHE_DIR to a folder that can be written to"
        ) from None


def _data() -> tuple[np.ndarray, np.ndarray]:
    X = Stream(0, np.arange(12, dtype=np.uint64)).uniform(0, _TASK.n_features)
    return X, np.arange(12) % 2


def _training() -> None:
    from fastadv.models.mlp import MLPClassifier

    X, y = _data()
    MLPClassifier((3,), max_iter=1, learning_rate_init=0.01).fit(X, y).predict_proba(X)


def _attacks() -> None:
    from fastadv.grid.registry import ATTACKS
    from fastadv.models.mlp import MLPClassifier

    X, y = _data()
    model = MLPClassifier((3,), max_iter=1, learning_rate_init=0.01).fit(X, y)
    Stream(0, np.arange(2, dtype=np.uint64)).normal(0, 3)
    for entry in ATTACKS:
        if entry.kind == "evasion":
            entry.load()().perturb(model, X, y, task=_TASK)
    from fastadv.attacks.evasion.loss import dlr_ascent
    from fastadv.attacks.evasion.pgd import PGD
    from fastadv.attacks.evasion.square import Square
    from fastadv.attacks.evasion.stadv import StAdv

    PGD(norm="l2", steps=1).perturb(model, X, y, task=_TASK)
    Square(norm="l2", queries=2).perturb(model, X, y, task=_TASK)
    dlr_ascent(np.eye(3, dtype=np.float32), np.arange(3), None)
    StAdv(tau=0.05, steps=1).perturb(model, X, y, task=_TASK)
    StAdv(max_shift=0.5, steps=1).perturb(model, X, y, task=_TASK)


def _defenses() -> None:
    from fastadv.grid.registry import DEFENSES
    from fastadv.models.mlp import MLPClassifier

    X, y = _data()
    model = MLPClassifier((3,), max_iter=1, learning_rate_init=0.01).fit(X, y)
    for entry in DEFENSES:
        if entry.nested:
            continue
        defense = entry.load()()
        if isinstance(defense, Sanitizer):
            defense.sanitize(X, y, task=_TASK, seed=0)
        trained: Model = model
        if isinstance(defense, RobustTraining):
            trained = defense.fit(model, X, y, task=_TASK, seed=0)
        if isinstance(defense, Certifier):
            defense.certify(trained, X[:2], task=_TASK, seed=0)
        if isinstance(defense, Wrapper):
            logits, pullback = defense.wrap(model, task=_TASK).vjp(X)
            pullback(logits)


def _derivative() -> None:
    from fastadv.models.mlp import MLPClassifier

    X, y = _data()
    MLPClassifier((3,), max_iter=1).poison_gradient(X, y, np.array([0]), X, y)
    MLPClassifier((3,), max_iter=1).fit(X, y).hidden(X)


def _svm() -> None:
    from fastadv.attacks.poisoning.biggio import Biggio
    from fastadv.models.svm import SVC

    X, y = _data()
    for kernel in ("linear", "rbf"):
        logits, pullback = SVC(kernel=kernel).fit(X, y).vjp(X)
        pullback(logits)
    Biggio(points=1, steps=1).poison(SVC(), X, y, 1 - X, y, task=_TASK)
