"""Compiling kernels ahead, so that no attack is slow the first time it runs.

Numba compiles on one core, so two processes share the groups. This one only waits: a process that
compiles cannot be interrupted for many seconds.
"""

from __future__ import annotations

import functools
import os
import subprocess
import tempfile
import warnings
from collections.abc import Callable, Collection, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np

from fastadv import children
from fastadv.errors import InputError
from fastadv.kernels import _jit
from fastadv.protocols import Certifier, RobustTraining, Sanitizer, Wrapper
from fastadv.seeds import Stream
from fastadv.task import Task

_NOT_KEPT = "compiled kernels cannot be kept"  # how the warning of the cache begins

Tell = Callable[[str, int, int], None]

_TASK = Task(image_shape=(4, 4, 1), n_classes=3)

# Half of the work, by time, of what a grid or everything needs.
_APART = ("training's derivative", "stadv")

# Of attacks that run other kernels under other parameters, the specs that run them all.
_VARIANTS = {
    "pgd": ("pgd[steps=1]", "pgd[norm=l2,steps=1]"),
    "apgd": ("apgd[steps=2]", "apgd[loss=dlr,steps=2]"),
    "square": ("square[queries=2]", "square[norm=l2,queries=2]"),
    "outlier": ("outlier[neighbors=2]",),
    "knn_relabel": ("knn_relabel[neighbors=2,components=2]",),
    "stadv": ("stadv[steps=1]", "stadv[tau=0.05,steps=1]", "stadv[max_shift=0.5,steps=1]"),
}


def is_warm(names: Collection[str] | None = None) -> bool:
    """Return whether the machine code is on disk (see `warm_up`), or is not wanted at all."""
    return not _missing(names)


def warm_up(tell: Tell = lambda *_: None, names: Collection[str] | None = None) -> None:
    """Compile kernels for the types that the package uses, once a machine.

    Parameters
    ----------
    tell : callable
        Called as ``tell(name, done, total)`` before each group of kernels.
    names : collection of str, optional
        The models, attacks and defenses that are about to run, by their registered names; without
        it everything is compiled.
    """
    missing = _missing(names)
    apart = [name for name in missing if name in _APART]
    parts = [name for name in missing if name not in apart], apart
    begun: set[str] = set()
    with ExitStack() as ends:
        compilers = []
        for part in filter(None, parts):
            compilers.append(_Compiler(part))
            ends.callback(compilers[-1].stop)
        for compiler in compilers:
            for name in compiler.begun():
                tell(name, len(begun), len(missing))
                begun.add(name)
            compiler.end()
    for name, compile_here in missing.items():
        if name not in begun:  # registered in this process alone
            compile_here()
        _mark(name)
    if missing:
        tell("", len(missing), len(missing))


def compile_groups(*names: str) -> None:
    """Compile the groups of these names that there are, and say which is begun.

    What cannot be kept would be compiled again by every process of the run: that is an error here.
    """
    groups = _groups(None)
    with warnings.catch_warnings():
        warnings.filterwarnings("error", message=_NOT_KEPT)
        for name in names:
            if name in groups:
                print(name, flush=True)
                groups[name]()


class _Compiler:
    """Another process that compiles groups of kernels."""

    def __init__(self, names: Collection[str]) -> None:
        self._names = names
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115 - closed by stop
        self._child = children.start(
            "fastadv.warmup:compile_groups", *names, stdout=subprocess.PIPE, stderr=self._errors
        )

    def begun(self) -> Iterator[str]:
        """Return the name of each group when it is begun."""
        assert self._child.stdout is not None
        for line in self._child.stdout:
            name = line.decode(errors="replace").rstrip("\r\n")
            if name in self._names:
                yield name

    def end(self) -> None:
        """Wait for its end.

        Raises
        ------
        InputError
            If the machine code cannot be kept.
        RuntimeError
            If it has failed in another way.
        """
        if self._child.wait():
            self._errors.seek(0)
            last = self._errors.read().decode(errors="replace").strip().rpartition("\n")[2]
            if _NOT_KEPT in last:
                said = last[last.index(_NOT_KEPT) :]
                raise InputError(said.replace(", so every run compiles anew", ""))
            raise RuntimeError(f"compiling {', '.join(self._names)} failed: {last}")

    def stop(self) -> None:
        """End the process, whatever it does."""
        children.stop(self._child)
        self._errors.close()


def _missing(names: Collection[str] | None) -> dict[str, Callable[[], None]]:
    """Return the groups that are not compiled yet, by name."""
    if os.environ.get("NUMBA_DISABLE_JIT", "0") not in ("", "0"):
        return {}
    return {name: run for name, run in _groups(names).items() if not _marker(name).exists()}


def _marker(name: str) -> Path:
    return _jit.CACHE_FOLDER / f"{name.replace(' ', '-')}.warm"


def _mark(name: str) -> None:
    try:
        _marker(name).parent.mkdir(parents=True, exist_ok=True)
        _marker(name).touch()
    except OSError as error:
        raise InputError(
            f"cannot keep compiled kernels in {_jit.CACHE_FOLDER} ({error.strerror}); "
            "set NUMBA_CACHE_DIR to a folder that can be written to"
        ) from None


def _groups(names: Collection[str] | None) -> dict[str, Callable[[], None]]:
    """Return what there is to compile for these names, by what a user reads meanwhile."""
    from fastadv.registry import ATTACKS, DEFENSES

    def wanted(name: str) -> bool:
        return names is None or name in names

    groups: dict[str, Callable[[], None]] = {"training": _training}
    if wanted("biggio") and wanted("mlp"):
        groups["training's derivative"] = _derivative
    if wanted("svm"):
        groups["support vector machines"] = _svm
    for entry in ATTACKS:
        if entry.kind == "evasion" and wanted(entry.name):
            groups[entry.name] = functools.partial(_attack, entry.name)
    for entry in DEFENSES:
        if not entry.nested and wanted(entry.name) and entry.name != "none":
            groups[entry.name] = functools.partial(_defense, entry.name)
    return groups


def _data() -> tuple[np.ndarray, np.ndarray]:
    X = Stream(0, np.arange(12, dtype=np.uint64)).uniform(0, _TASK.n_features)
    return X, np.arange(12) % 3


def _untrained() -> Any:
    from fastadv.models.mlp import MLPClassifier

    return MLPClassifier((3,), max_iter=1, tol=None, learning_rate_init=0.01)


def _model() -> Any:
    """Return a model for which nothing has to be compiled that trains it."""
    from fastadv.models.mlp import MLPClassifier

    sizes = _TASK.n_features, 3, _TASK.n_classes
    weights = [np.eye(*shape, dtype=np.float32) for shape in zip(sizes, sizes[1:], strict=False)]
    return MLPClassifier.from_weights(weights, [np.zeros(n, np.float32) for n in sizes[1:]])


def _training() -> None:
    X, y = _data()
    model = _untrained().fit(X, y)
    model.predict_proba(X), model.features(X)
    logits, pullback = model.vjp(X)
    pullback(logits)
    Stream(0, np.arange(2, dtype=np.uint64)).normal(0, 3)


def _attack(name: str) -> None:
    from fastadv.registry import make

    X, y = _data()
    model = _model()
    for text in _VARIANTS.get(name, (name,)):
        make("attack", text).perturb(model, X, y, task=_TASK)


def _defense(name: str) -> None:
    from fastadv.registry import make_defense

    X, y = _data()
    defense = make_defense(_VARIANTS.get(name, (name,))[0])
    if isinstance(defense, Sanitizer):
        defense.sanitize(X, y, task=_TASK, seed=0)
    model = _model()
    if isinstance(defense, RobustTraining):
        model = defense.fit(_untrained(), X, y, task=_TASK, seed=0)
    if isinstance(defense, Certifier):
        defense.certify(model, X[:2], task=_TASK, seed=0)
    if isinstance(defense, Wrapper):
        logits, pullback = defense.wrap(model, task=_TASK).vjp(X)
        pullback(logits)


def _derivative() -> None:
    from fastadv.models.rows import Rows

    X, y = _data()
    Rows.sparse(X.astype(np.float64)).by_columns()
    _untrained().poison_gradient(X, y, np.array([0]), X, y)


def _svm() -> None:
    from fastadv.attacks.poisoning.biggio import Biggio
    from fastadv.models.svm import SVC

    X, y = _data()
    y = y % 2
    for kernel in ("linear", "rbf"):
        logits, pullback = SVC(kernel=kernel).fit(X, y).vjp(X)
        pullback(logits)
    Biggio(points=1, steps=1).poison(SVC(), X, y, 1 - X, y, task=_TASK)
