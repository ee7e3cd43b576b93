"""Evasion attacks beside those of other libraries: one model, the same images and budgets.

Torchattacks, Foolbox and ART get the perceptron as a ``torch.nn.Sequential`` of the same weights;
for JAX and PyTorch, which have no attacks, stands what one would write. An image counts as broken
if the model gets it right, the attack returns an image of another label within the box and the
budget, and that label is the one that *our* model gives: all are judged by the same eyes.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from fastadv.arrays import Floats, Labels, Mask
from fastadv.benchmarks.peers import NEEDS
from fastadv.benchmarks.race import Race, Runner, Work
from fastadv.datasets import load_dataset
from fastadv.experiment import judged, new_model
from fastadv.models.cnn import ConvNet
from fastadv.models.mlp import MLPClassifier
from fastadv.protocols import RobustTraining
from fastadv.registry import make, make_defense
from fastadv.results import EvasionResult
from fastadv.task import Task
from fastadv.threads import thread_count
from fastadv.threat import Threat

ALL = 10_000  # MNIST's test images

Attacked = Callable[[], Floats]


@dataclass(frozen=True)
class Problem:
    """Images to attack, and the spec of our attack, whose budget and parameters all share."""

    attack: str
    model: MLPClassifier | ConvNet
    X: Floats
    y: Labels
    task: Task
    seed: int = 0

    @property
    def threat(self) -> Threat:
        """What our attack is allowed."""
        threat: Threat = make("attack", self.attack).threat()
        return threat

    def quality(self, x_adv: Floats) -> dict[str, float]:
        """Return the accuracy within the budget, and the median distance of what succeeds at any.

        The lower, the stronger the attack.
        """
        result = self.judged(x_adv)
        out, medians = {"accuracy": result.robust_accuracy()}, result.median_distances()
        if medians:
            out[f"median {self.threat.kind}"] = medians[self.threat.kind]
        return out

    def survives(self, x_adv: Floats) -> Mask:
        """Return which images are right and stay so, within the budget, shape (n,)."""
        return self.judged(x_adv).robust

    def judged(self, x_adv: Floats) -> EvasionResult:
        """Return what came of the images, (n, d)."""
        return judged(self.model, self.X, self.y, x_adv, threat=self.threat, task=self.task)


def fastadv(problem: Problem) -> Attacked:
    """Return ours."""
    attack, p = make("attack", problem.attack), problem

    def attacked() -> Floats:
        x_adv: Floats = attack.perturb(p.model, p.X, p.y, task=p.task, seed=p.seed).x_adv
        return x_adv

    return attacked


def torchattacks(name: str, problem: Problem, **parameters: Any) -> Attacked:
    """Return the attack ``name`` of torchattacks."""
    import torch
    import torchattacks

    torch.set_num_threads(thread_count())
    attack = getattr(torchattacks, name)(as_torch(problem.model), **parameters)
    if hasattr(attack, "seed"):  # of its own, which it sets before it draws
        attack.seed = problem.seed
    images, y = _as_images(problem), torch.from_numpy(problem.y)

    def attacked() -> Floats:
        torch.manual_seed(problem.seed)
        return _as_rows(attack(images, y).detach())

    return attacked


def foolbox(name: str, problem: Problem, *, eps: float | None, **parameters: Any) -> Attacked:
    """Return the attack ``name`` of Foolbox; ``eps`` is None for one of least change."""
    import foolbox
    import torch

    torch.set_num_threads(thread_count())
    network = as_torch(problem.model)
    model = foolbox.PyTorchModel(network, bounds=problem.task.bounds, device="cpu")
    attack = getattr(foolbox.attacks, name)(**parameters)
    images, y = _as_images(problem), torch.from_numpy(problem.y)

    def attacked() -> Floats:
        torch.manual_seed(problem.seed)
        raw, clipped, _ = attack(model, images, y, epsilons=eps)
        return _as_rows(raw if eps is None else clipped)

    return attacked


def art(name: str, problem: Problem, **parameters: Any) -> Attacked:
    """Return the attack ``name`` of the Adversarial Robustness Toolbox."""
    import torch
    from art.attacks import evasion as attacks
    from art.estimators.classification import PyTorchClassifier

    torch.set_num_threads(thread_count())
    images = _as_images(problem).numpy()
    classifier = PyTorchClassifier(
        as_torch(problem.model), torch.nn.CrossEntropyLoss(), images.shape[1:],
        problem.task.n_classes, clip_values=problem.task.bounds, device_type="cpu",
    )  # fmt: skip
    attack = getattr(attacks, name)(classifier, **parameters)

    def attacked() -> Floats:
        np.random.seed(problem.seed)  # noqa: NPY002 - what ART draws its start from
        return _as_rows(torch.from_numpy(attack.generate(images, problem.y)))

    return attacked


def jax(problem: Problem, *, eps: float, size: float, steps: int, start: bool) -> Attacked:
    """Return steps along the gradient's sign within Linf, as one jitted function of all images."""
    import jax
    import jax.numpy as jnp

    assert isinstance(problem.model, MLPClassifier)
    model, (low, high) = problem.model, problem.task.bounds
    layers = [
        (jnp.asarray(w), jnp.asarray(b))
        for w, b in zip(model.coefs_, model.intercepts_, strict=True)
    ]
    nonlinear = {"logistic": jax.nn.sigmoid, "tanh": jnp.tanh, "relu": jax.nn.relu}
    activate = nonlinear[model.activation]

    def loss(x: Any, y: Any) -> Any:
        for w, b in layers[:-1]:
            x = activate(x @ w + b)
        log_p = jax.nn.log_softmax(x @ layers[-1][0] + layers[-1][1])
        return -jnp.take_along_axis(log_p, y[:, None], axis=1).sum()

    def attack(x: Any, y: Any, key: Any) -> Any:
        least, most = jnp.maximum(x - eps, low), jnp.minimum(x + eps, high)

        def step(_: Any, x_adv: Any) -> Any:
            moved = x_adv + size * jnp.sign(jax.grad(loss)(x_adv, y))
            return jnp.clip(moved, least, most)

        first = x + start * jax.random.uniform(key, x.shape, minval=-eps, maxval=eps)
        return jax.lax.fori_loop(0, steps, step, jnp.clip(first, least, most))

    X, y, key = jnp.asarray(problem.X), jnp.asarray(problem.y), jax.random.key(problem.seed)
    jitted = jax.jit(attack)
    return lambda: np.asarray(jitted(X, y, key))


def torch(problem: Problem, *, eps: float, size: float, steps: int, start: bool) -> Attacked:
    """Return the same as a plain loop in PyTorch, the weights without gradients."""
    import torch

    torch.set_num_threads(thread_count())
    network = as_torch(problem.model).requires_grad_(False)
    X, y = torch.from_numpy(problem.X), torch.from_numpy(problem.y)
    low, high = problem.task.bounds

    def attacked() -> Floats:
        torch.manual_seed(problem.seed)
        least, most = (X - eps).clamp(min=low), (X + eps).clamp(max=high)
        x_adv = X + start * torch.empty_like(X).uniform_(-eps, eps)
        x_adv = torch.clamp(x_adv, least, most)
        for _ in range(steps):
            x_adv.requires_grad_(True)
            loss = torch.nn.functional.cross_entropy(network(x_adv), y, reduction="sum")
            (gradient,) = torch.autograd.grad(loss, x_adv)
            x_adv = torch.clamp(x_adv.detach() + size * gradient.sign(), least, most)
        found: Floats = x_adv.numpy()
        return found

    return attacked


def as_torch(model: MLPClassifier | ConvNet) -> Any:
    """Return the network as a ``torch.nn.Sequential`` of the same weights, for inference."""
    import torch

    if isinstance(model, ConvNet):
        return model.module_

    nonlinear = {"logistic": torch.nn.Sigmoid, "tanh": torch.nn.Tanh, "relu": torch.nn.ReLU}
    layers: list[Any] = [torch.nn.Flatten()]
    for coef, intercept in zip(model.coefs_, model.intercepts_, strict=True):
        layer = torch.nn.Linear(*coef.shape)
        layer.weight.data = torch.from_numpy(coef.T.copy())
        layer.bias.data = torch.from_numpy(intercept.copy())
        layers += [layer, nonlinear[model.activation]()]
    return torch.nn.Sequential(*layers[:-1]).eval()


def _as_images(problem: Problem) -> Any:
    """Return the images as a tensor (n, C, H, W)."""
    import torch

    images = problem.X.reshape(-1, *problem.task.image_shape).transpose(0, 3, 1, 2)
    return torch.from_numpy(np.ascontiguousarray(images))


def _as_rows(images: Any) -> Floats:
    rows: Floats = images.numpy().transpose(0, 2, 3, 1).reshape(len(images), -1)
    return rows


Peer = Callable[[Problem], Attacked]


def _torchattacks(name: str, **parameters: Any) -> tuple[str, Peer]:
    return "torchattacks", lambda problem: torchattacks(name, problem, **parameters)


def _foolbox(name: str, eps: float | None = None, **parameters: Any) -> tuple[str, Peer]:
    return "foolbox", lambda problem: foolbox(name, problem, eps=eps, **parameters)


def _ours(attack: str, change: str) -> tuple[str, Peer]:
    return f"fastadv, {change}", lambda problem: fastadv(replace(problem, attack=attack))


def _art(name: str, **parameters: Any) -> tuple[str, Peer]:
    return "art", lambda problem: art(name, problem, **parameters)


def _written(**parameters: Any) -> tuple[tuple[str, Peer], ...]:
    return (
        ("jax", lambda problem: jax(problem, **parameters)),
        ("torch", lambda problem: torch(problem, **parameters)),
    )


# By the spec of ours, the same attack with the same parameters elsewhere. For C&W the constant rate
# is the best for Foolbox of 0.05, 0.1 and 0.15.
PEERS: dict[str, tuple[tuple[str, Peer], ...]] = {
    "fgsm[eps=0.1]": (
        _torchattacks("FGSM", eps=0.1),
        _foolbox("LinfFastGradientAttack", 0.1),
    ),
    "pgd[eps=0.1,steps=40]": (
        _torchattacks("PGD", eps=0.1, alpha=0.1 / 16, steps=40),
        _foolbox("LinfPGD", 0.1, rel_stepsize=1 / 16, steps=40),
    ),
    "pgd[eps=1,norm=l2,steps=40]": (
        _torchattacks("PGDL2", eps=1.0, alpha=1 / 8, steps=40),
        _foolbox("L2PGD", 1.0, rel_stepsize=1 / 8, steps=40),
    ),
    "apgd[eps=0.1]": (_torchattacks("APGD", eps=0.1, steps=100, loss="ce"),),
    "apgd[eps=0.1,loss=dlr]": (_torchattacks("APGD", eps=0.1, steps=100, loss="dlr"),),
    "apgd[eps=0.1,loss=dlr,targets=9]": (_torchattacks("APGDT", eps=0.1, steps=100),),
    "apgd[eps=1,norm=l2]": (_torchattacks("APGD", norm="L2", eps=1.0, steps=100, loss="ce"),),
    "square[eps=0.1,queries=1000]": (_torchattacks("Square", eps=0.1, n_queries=1000),),
    "square[eps=1,norm=l2,queries=1000]": (
        _torchattacks("Square", norm="L2", eps=1.0, n_queries=1000),
    ),
    "deepfool": (_foolbox("L2DeepFoolAttack", steps=50, candidates=None),),
    "deepfool[norm=linf]": (_foolbox("LinfDeepFoolAttack", steps=50, candidates=None),),
    "cw": (
        _foolbox(
            "L2CarliniWagnerAttack", binary_search_steps=6, steps=150, stepsize=0.1,
            initial_const=1.0,
        ),
    ),
}  # fmt: skip

# The same on all test images; beside ours that leaves an image alone once it is broken, ART, and
# what one would write in JAX or PyTorch.
ALL_IMAGES: dict[str, tuple[tuple[str, Peer], ...]] = {
    "fgsm[eps=0.1]": (
        *_written(eps=0.1, size=0.1, steps=1, start=False),
        _art("FastGradientMethod", eps=0.1, batch_size=1000),
        *PEERS["fgsm[eps=0.1]"],
    ),
    "pgd[eps=0.1,steps=40]": (
        _ours("pgd[eps=0.1,steps=40,keep=first]", "keep=first"),
        *_written(eps=0.1, size=0.1 / 16, steps=40, start=True),
        _art(
            "ProjectedGradientDescent", eps=0.1, eps_step=0.1 / 16, max_iter=40,
            num_random_init=1, batch_size=1000, verbose=False,
        ),
        *PEERS["pgd[eps=0.1,steps=40]"],
    ),
}  # fmt: skip

# Where AutoAttack, an ensemble without parameters, is run: by threat, an attack of ours with it.
AUTO_ATTACK = {"linf(0.1)": "pgd[eps=0.1,steps=40]", "l2(1)": "pgd[eps=1,norm=l2,steps=40]"}


@functools.cache
def problem(attack: str, defense: str = "none", samples: int = 1000, model: str = "mlp") -> Problem:
    """Return the first test images of MNIST against a model, defended or not."""
    data = load_dataset("mnist")
    X, y = data.x_test[:samples].copy(), data.y_test[:samples].copy()
    return Problem(attack, _trained(model, defense), X, y, data.task)


@functools.cache
def _trained(model: str, defense: str) -> MLPClassifier | ConvNet:
    data, made = load_dataset("mnist"), make_defense(defense)
    untrained = new_model(model, 0, data)
    if isinstance(made, RobustTraining):
        trained = made.fit(untrained, data.x_train, data.y_train, task=data.task, seed=0)
    else:
        trained = untrained.fit(data.x_train, data.y_train)
    assert isinstance(trained, MLPClassifier | ConvNet)
    return trained


def _work(peer: Peer, attack: str, defense: str, samples: int) -> Work:
    posed = problem(attack, defense, samples)
    attacked = peer(posed)
    return lambda: functools.partial(posed.quality, attacked())


def races(defense: str = "none", samples: int = 1000) -> list[Race]:
    """Return a race for each attack; nothing is trained before one is run.

    Parameters
    ----------
    defense : str
        A spec: how the model is trained.
    samples : int
        Test images; some attacks are raced on all of them, too.
    """
    raced = [(samples, attack, peers) for attack, peers in PEERS.items()]
    raced += [(ALL, attack, peers) for attack, peers in ALL_IMAGES.items()]
    out = []
    for n, attack, peers in raced:
        runners = []
        for name, peer in (("fastadv", fastadv), *peers):
            prepare = functools.partial(_work, peer, attack, defense, n)
            runners.append(Runner(name, prepare, *NEEDS.get(name, ())))
        out.append(Race("peers", f"{n} images, {attack}", tuple(runners)))
    return out
