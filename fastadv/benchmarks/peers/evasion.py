"""Evasion attacks beside those of torchattacks and Foolbox: one model, the same images and budgets.

Both libraries get the perceptron as a ``torch.nn.Sequential`` of the same weights. An image counts
as broken if the model gets it right, the attack returns an image of another label within the box
and the budget, and that label is the one that *our* model gives: every library is judged by the
same eyes.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from fastadv.errors import InputError
from fastadv.grid.registry import make_attack
from fastadv.kernels import project
from fastadv.models.mlp import MLPClassifier
from fastadv.protocols import Floats, Labels, Task

_WITHIN = 1.0 + 1e-5  # float32 rounding of a distance that sits on its budget
_LIBRARIES = ("torchattacks", "foolbox")

# (model, X, y, task) to the attacked images
Run = Callable[[MLPClassifier, Floats, Labels, Task], Floats]


@dataclass(frozen=True)
class Comparison:
    """One attack in fastadv and in another library.

    Attributes
    ----------
    attack : str
        The spec of ours.
    library : str
    threat : str
        What the accuracies are conditional on.
    accuracy, peer_accuracy : float
        Of the model under the attack: the lower, the stronger the attack.
    distance, peer_distance : float
        The median distance of the changes that succeed, at any budget, in the threat's own unit.
    seconds, peer_seconds : float
        Of the one run, loading and compiling apart.
    """

    attack: str
    library: str
    threat: str
    accuracy: float
    peer_accuracy: float
    distance: float
    peer_distance: float
    seconds: float
    peer_seconds: float


def compare(
    model: MLPClassifier,
    X: Floats,
    y: Labels,
    *,
    task: Task,
    attacks: Sequence[str] | None = None,
    libraries: Sequence[str] = _LIBRARIES,
) -> list[Comparison]:
    """Run each attack here and in the libraries that have it, with the same parameters.

    Parameters
    ----------
    model : MLPClassifier
        Trained.
    X, y : ndarray of shape (n, d) and (n,)
    attacks : sequence of str, optional
        Keys of `PEERS`; all of them by default.
    libraries : sequence of str
        Among ``torchattacks`` and ``foolbox``.

    Returns
    -------
    list of Comparison

    Raises
    ------
    InputError
        If a library is not installed, or an attack is not among those compared.
    """
    _require(libraries)
    found = []
    for text in PEERS if attacks is None else attacks:
        if text not in PEERS:
            raise InputError(f"no peer of {text!r} (known: {', '.join(PEERS)})")
        ours: tuple[float, float, float] | None = None
        for library, run in PEERS[text].items():
            if library not in libraries:
                continue
            ours = ours or _judge(text, _fastadv(text), model, X, y, task)
            theirs = _judge(text, run, model, X, y, task)
            threat = str(make_attack(text).threat())
            pairs = [value for pair in zip(ours, theirs, strict=True) for value in pair]
            found.append(Comparison(text, library, threat, *pairs))
    return found


def _require(libraries: Sequence[str]) -> None:
    import importlib.util

    for name in ("torch", *libraries):
        if importlib.util.find_spec(name) is None:
            raise InputError(f"{name} is not installed; comparing with it needs pip install {name}")


def _judge(
    text: str, run: Run, model: MLPClassifier, X: Floats, y: Labels, task: Task
) -> tuple[float, float, float]:
    """Return accuracy under attack, median distance of the successes, and seconds."""
    threat = make_attack(text).threat()
    run(model, X[:2], y[:2], task)  # loads and compiles
    start = time.perf_counter()
    x_adv = np.ascontiguousarray(run(model, X, y, task), dtype=np.float32)
    seconds = time.perf_counter() - start
    low, high = task.bounds
    right = model.predict(X) == y
    inside = (x_adv.min(axis=1) >= low) & (x_adv.max(axis=1) <= high)
    success = right & inside & (model.predict(x_adv) != y)
    linf, l2 = np.empty(len(X)), np.empty(len(X))
    project.distances(np.ascontiguousarray(X, dtype=np.float32), x_adv, linf, l2)
    distance = linf if threat.kind == "linf" else l2
    broken = success & (distance <= threat.budget * _WITHIN)
    median = float(np.median(distance[success])) if success.any() else float("nan")
    return float(np.mean(right & ~broken)), median, seconds


def _fastadv(text: str) -> Run:
    def run(model: MLPClassifier, X: Floats, y: Labels, task: Task) -> Floats:
        x_adv: Floats = make_attack(text).perturb(model, X, y, task=task).x_adv
        return x_adv

    return run


def as_torch(model: MLPClassifier) -> Any:
    """Return the perceptron as a ``torch.nn.Sequential`` of the same weights, for inference."""
    import torch

    nonlinear = {"logistic": torch.nn.Sigmoid, "tanh": torch.nn.Tanh, "relu": torch.nn.ReLU}
    layers: list[Any] = [torch.nn.Flatten()]
    for coef, intercept in zip(model.coefs_, model.intercepts_, strict=True):
        layer = torch.nn.Linear(*coef.shape)
        layer.weight.data = torch.from_numpy(coef.T.copy())
        layer.bias.data = torch.from_numpy(intercept.copy())
        layers += [layer, nonlinear[model.activation]()]
    return torch.nn.Sequential(*layers[:-1]).eval()


def _torchattacks(name: str, **parameters: Any) -> Run:
    def run(model: MLPClassifier, X: Floats, y: Labels, task: Task) -> Floats:
        import torch
        import torchattacks

        torch.manual_seed(0)
        attack = getattr(torchattacks, name)(as_torch(model), **parameters)
        x_adv = attack(_as_images(X, task), torch.from_numpy(y))
        return np.asarray(x_adv.detach().numpy().transpose(0, 2, 3, 1).reshape(len(X), -1))

    return run


def _foolbox(name: str, *, eps: float | None, **parameters: Any) -> Run:
    def run(model: MLPClassifier, X: Floats, y: Labels, task: Task) -> Floats:
        import foolbox
        import torch

        torch.manual_seed(0)
        wrapped = foolbox.PyTorchModel(as_torch(model), bounds=task.bounds, device="cpu")
        attack = getattr(foolbox.attacks, name)(**parameters)
        images = _as_images(X, task)
        x_adv = attack(wrapped, images, torch.from_numpy(y), epsilons=eps)[1 if eps else 0]
        return np.asarray(x_adv.numpy().transpose(0, 2, 3, 1).reshape(len(X), -1))

    return run


def _as_images(X: Floats, task: Task) -> Any:
    """Return X as a tensor (n, C, H, W)."""
    import torch

    images = X.astype(np.float32).reshape(-1, *task.image_shape).transpose(0, 3, 1, 2)
    return torch.from_numpy(np.ascontiguousarray(images))


# By the spec of ours, the same attack with the same parameters elsewhere.
PEERS: dict[str, dict[str, Run]] = {
    "fgsm[eps=0.1]": {
        "torchattacks": _torchattacks("FGSM", eps=0.1),
        "foolbox": _foolbox("LinfFastGradientAttack", eps=0.1),
    },
    "pgd[eps=0.1,steps=40]": {
        "torchattacks": _torchattacks("PGD", eps=0.1, alpha=0.1 / 16, steps=40),
        "foolbox": _foolbox("LinfPGD", eps=0.1, rel_stepsize=1 / 16, steps=40),
    },
    "pgd[eps=1,norm=l2,steps=40]": {
        "torchattacks": _torchattacks("PGDL2", eps=1.0, alpha=1 / 8, steps=40),
        "foolbox": _foolbox("L2PGD", eps=1.0, rel_stepsize=1 / 8, steps=40),
    },
    "apgd[eps=0.1]": {
        "torchattacks": _torchattacks("APGD", eps=0.1, steps=100, loss="ce"),
    },
    "apgd[eps=0.1,loss=dlr]": {
        "torchattacks": _torchattacks("APGD", eps=0.1, steps=100, loss="dlr"),
    },
    "apgd[eps=1,norm=l2]": {
        "torchattacks": _torchattacks("APGD", norm="L2", eps=1.0, steps=100, loss="ce"),
    },
    "square[eps=0.1,queries=1000]": {
        "torchattacks": _torchattacks("Square", eps=0.1, n_queries=1000),
    },
    "square[eps=1,norm=l2,queries=1000]": {
        "torchattacks": _torchattacks("Square", norm="L2", eps=1.0, n_queries=1000),
    },
    "deepfool": {
        "foolbox": _foolbox("L2DeepFoolAttack", eps=None, steps=50, candidates=None),
    },
    "deepfool[norm=linf]": {
        "foolbox": _foolbox("LinfDeepFoolAttack", eps=None, steps=50, candidates=None),
    },
    "cw": {
        "foolbox": _foolbox(
            "L2CarliniWagnerAttack", eps=None, binary_search_steps=6, steps=150, stepsize=0.1,
            initial_const=1.0,
        ),
    },
}  # fmt: skip
