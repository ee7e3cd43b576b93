"""The stages of a cell, each kept under the hash of its own inputs, so that cells share them.

poison      the poisoned rows of a training set          dataset, model, attack, seed
fit         sanitize, then train                         dataset, model, defense, poison, seed
perturb     attack the test images, through a wrapper    fit, wrapper, attack, samples, seed
certify     prove what no attack can change              fit, defense, samples, seed

What they keep becomes the row of a cell in `fastadv.grid.measure`.
"""

from __future__ import annotations

import functools
import hashlib
import json
import time
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from fastadv import registry, seeds
from fastadv.arrays import Floats, Labels
from fastadv.attacks.none import NoAttack
from fastadv.datasets import Dataset
from fastadv.defenses.none import NoDefense
from fastadv.errors import InputError
from fastadv.grid import cleaning
from fastadv.grid.spec import Choice, Grid, digest
from fastadv.grid.store import Store
from fastadv.protocols import EvasionAttack, Model, PoisoningAttack, RobustTraining, Wrapper
from fastadv.results import Certificate

_NO_ROWS = np.empty(0, dtype=np.intp)


def kind_of(attack: Any) -> str:
    """Return ``evasion``, ``poisoning`` or ``none``.

    Raises
    ------
    InputError
        If it is an attack that lacks something: its row would show the clean accuracy.
    """
    if isinstance(attack, NoAttack):
        return "none"
    if isinstance(attack, PoisoningAttack):
        return "poisoning"
    if isinstance(attack, EvasionAttack):
        return "evasion"
    protocol = PoisoningAttack if hasattr(attack, "poison") else EvasionAttack
    members = {name for name in {**vars(protocol), **protocol.__annotations__} if name[0] != "_"}
    lacks = ", ".join(sorted(name for name in members if not hasattr(attack, name)))
    raise InputError(f"{type(attack).__name__} is no {protocol.__name__}: it lacks {lacks}")


@dataclass(frozen=True)
class Context:
    """What every stage of one grid works with."""

    grid: Grid
    dataset: Dataset
    store: Store

    def new_model(self, seed: int) -> Any:
        """Return an untrained model, see `new_model`."""
        return new_model(self.grid.model, seed, self.dataset)

    @functools.cached_property
    def test_rows(self) -> npt.NDArray[np.intp]:
        """The test images for evasion attacks."""
        return test_rows(self.dataset, self.grid.samples)


def new_model(spec: str, seed: int, data: Dataset) -> Any:
    """Return an untrained model; what it would take from its data it has from the clean set."""
    model = registry.make("model", spec, random_state=seed)
    return model.resolve(data.x_train) if hasattr(model, "resolve") else model


def test_rows(data: Dataset, n: int) -> npt.NDArray[np.intp]:
    """Return which ``n`` test images evasion attacks get: a prefix of any larger number of them."""
    return seeds.generator(0, "test samples").permutation(len(data.x_test))[:n]


class Stage(Protocol):
    """A piece of work whose result is kept under ``key``."""

    @property
    def weight(self) -> float:
        """About how many seconds it takes, for the progress bar."""
        ...

    def key(self, context: Context) -> str:
        """Return the hash of the inputs."""
        ...

    def label(self) -> str:
        """Return what a user reads while it runs."""
        ...

    def needs(self, context: Context) -> list[Stage]:
        """Return the stages that have to be done before."""
        ...

    def run(self, context: Context) -> None:
        """Do the work and keep what came of it."""
        ...


@dataclass(frozen=True)
class Poison:
    """Choose the poisoned rows, inside what the sanitizer ``aware_of`` accepts if there is one.

    The training set itself is not stored again.
    """

    attack: Choice
    seed: int
    aware_of: Choice | None = None
    weight: float = field(default=12.0, compare=False)

    def key(self, context: Context) -> str:
        """Return the hash of the inputs."""
        model = context.grid.make_model(self.seed)
        aware = [self.aware_of.canonical] if self.aware_of else []
        return digest(
            "poison", context.dataset.fingerprint, registry.canonical(model),
            self.attack.canonical, self.seed, *aware,
        )  # fmt: skip

    def label(self) -> str:
        """Return what a user reads while it runs."""
        inside = f" inside {self.aware_of.text}" if self.aware_of else ""
        return f"{self.attack.text}: choosing the poison{inside}"

    def needs(self, context: Context) -> list[Stage]:
        """Return the stages that have to be done before."""
        return []

    def run(self, context: Context) -> None:
        """Poison and keep the rows."""
        data, start = context.dataset, time.perf_counter()
        known = cleaning.region_of(self.aware_of.thing, data) if self.aware_of else None
        result = self.attack.thing.poison(
            context.new_model(self.seed), data.x_train, data.y_train, data.x_val, data.y_val,
            task=data.task, seed=self.seed, project=known.project if known else None,
        )  # fmt: skip
        seconds, key = time.perf_counter() - start, self.key(context)
        trigger = {} if result.trigger is None else {"trigger": result.trigger}
        origin = {} if result.origin is None else {"origin": result.origin}
        context.store.save_stage(
            key,
            trigger
            | origin
            | {
                "rows": result.X[result.index], "labels": result.y[result.index],
                "index": result.index, "history": result.history,
                "details": np.array(json.dumps(result.details)),
            },
        )  # fmt: skip
        context.store.finish_stage(key, {"seconds": seconds, "points": len(result.index)})

    def training_set(self, context: Context) -> tuple[Floats, Labels]:
        """Return the poisoned training set."""
        data, poison = context.dataset, kept(context, self)
        index, n_clean = poison["index"], len(data.x_train)
        if len(index) and index.min() >= n_clean:
            X = np.concatenate([data.x_train, poison["rows"]])
            y = np.concatenate([data.y_train, poison["labels"]])
        else:
            X, y = data.x_train.copy(), data.y_train.copy()
            X[index], y[index] = poison["rows"], poison["labels"]
        return X, y

    def truth(self, context: Context) -> tuple[npt.NDArray[np.intp], Labels | None]:
        """Return which rows are poison, and the labels of the images that they started as."""
        poison = kept(context, self)
        origin = poison.get("origin")
        return poison["index"], None if origin is None else context.dataset.y_train[origin]


@dataclass(frozen=True)
class Fit:
    """Sanitize and train."""

    defense: Choice
    poison: Poison | None
    seed: int
    weight: float = field(default=4.0, compare=False)

    def key(self, context: Context) -> str:
        """Return the hash of the inputs; a defense that only wraps trains like none."""
        model = context.grid.make_model(self.seed)
        poison = self.poison.key(context) if self.poison else "clean"
        return digest(
            "fit", context.dataset.fingerprint, registry.canonical(model),
            training_part(self.defense.thing), poison, self.seed,
        )  # fmt: skip

    def label(self) -> str:
        """Return what a user reads while it runs."""
        data = f" on {self.poison.attack.text}'s set" if self.poison else ""
        return f"{self.defense.text}: training{data}"

    def needs(self, context: Context) -> list[Stage]:
        """Return the stages that have to be done before."""
        return [self.poison] if self.poison else []

    def run(self, context: Context) -> None:
        """Train and keep the weights."""
        data, start = context.dataset, time.perf_counter()
        X, y = self.poison.training_set(context) if self.poison else (data.x_train, data.y_train)
        defense, model = self.defense.thing, context.new_model(self.seed)
        info: dict[str, Any] = {}
        if cleaning.cleans(defense):
            keep, labels = cleaning.sanitize(defense, model, X, y, data, self.seed)
            poison, truth = self.poison.truth(context) if self.poison else (_NO_ROWS, None)
            info["sanitized"] = cleaning.shares(keep, labels, y, poison, truth)
            X, y = X[keep], labels[keep]
        if isinstance(defense, RobustTraining):
            model = defense.fit(model, X, y, task=data.task, seed=self.seed)
        else:
            model = model.fit(X, y)
        info["unsettled"] = getattr(model, "unsettled_", None)
        key = self.key(context)
        model.save(context.store.stage_path(key))
        context.store.finish_stage(key, {"seconds": time.perf_counter() - start, **info})

    def model(self, context: Context) -> Model:
        """Return the trained model, not wrapped."""
        name = registry.canonical(context.grid.make_model(self.seed)).partition("[")[0]
        # A defense that trains something else than the grid's model says what.
        kind = getattr(self.defense.thing, "trains", None) or registry.find("model", name).load()
        loaded: Model = kind.load(context.store.stage_path(self.key(context)))
        return loaded

    def weights(self, context: Context) -> str:
        """Return the hash of the trained model's numbers, the same in whatever grid it stands."""
        arrays = {k: v for k, v in kept(context, self).items() if v.dtype.kind in "fiu"}
        sizes = [(name, array.shape, array.dtype.str) for name, array in sorted(arrays.items())]
        found = hashlib.blake2b(repr(sizes).encode(), digest_size=8)
        for name, _, _ in sizes:
            found.update(np.ascontiguousarray(arrays[name]).tobytes())
        return found.hexdigest()


@dataclass(frozen=True)
class Perturb:
    """Attack the test images, through the defense's wrapper if ``aware``."""

    attack: Choice
    fit: Fit
    aware: bool
    weight: float = field(default=3.0, compare=False)

    def key(self, context: Context) -> str:
        """Return the hash of the inputs."""
        return digest(
            "perturb", self.fit.key(context), self._wrapper(), self.attack.canonical,
            context.grid.samples, self.fit.seed,
        )  # fmt: skip

    def _wrapper(self) -> str:
        wraps = self.aware and isinstance(self.fit.defense.thing, Wrapper)
        return self.fit.defense.canonical if wraps else "none"

    def label(self) -> str:
        """Return what a user reads while it runs."""
        how = "" if self.aware else ", unaware of the defense"
        return f"{self.attack.text}: attacking {self.fit.defense.text}{how}"

    def needs(self, context: Context) -> list[Stage]:
        """Return the stages that have to be done before."""
        return [self.fit]

    def run(self, context: Context) -> None:
        """Attack and keep the images."""
        data, rows = context.dataset, context.test_rows
        model = self.fit.model(context)
        if self.aware:
            model = wrapped(self.fit.defense.thing, model, context)
        start = time.perf_counter()
        result = self.attack.thing.perturb(
            model, data.x_test[rows], data.y_test[rows], task=data.task, seed=self.fit.seed
        )
        seconds, key = time.perf_counter() - start, self.key(context)
        arrays = {f"distance_{name}": values for name, values in result.distances.items()}
        context.store.save_stage(
            key,
            arrays
            | {
                "x_adv": result.x_adv,
                "is_adv": result.is_adv,
                "success": result.success,
                "misclassified": result.misclassified,
            },
        )
        context.store.finish_stage(key, {"seconds": seconds, "queries": result.queries})


@dataclass(frozen=True)
class Certify:
    """Prove, for each test image that evasion attacks get, how far no attack can change it."""

    fit: Fit
    weight: float = field(default=3.0, compare=False)

    def key(self, context: Context) -> str:
        """Return the hash of the inputs."""
        return digest(
            "certify", self.fit.key(context), self.fit.defense.canonical, context.grid.samples,
            self.fit.seed,
        )  # fmt: skip

    def label(self) -> str:
        """Return what a user reads while it runs."""
        return f"{self.fit.defense.text}: certifying"

    def needs(self, context: Context) -> list[Stage]:
        """Return the stages that have to be done before."""
        return [self.fit]

    def run(self, context: Context) -> None:
        """Certify and keep what is proven."""
        data, model, start = context.dataset, self.fit.model(context), time.perf_counter()
        found = self.fit.defense.thing.certify(
            model, data.x_test[context.test_rows], task=data.task, seed=self.fit.seed
        )
        seconds, key = time.perf_counter() - start, self.key(context)
        context.store.save_stage(
            key,
            {"label": found.label, "radius": found.radius, "threat": np.array(found.threat)},
        )
        context.store.finish_stage(key, {"seconds": seconds})

    def certificate(self, context: Context) -> Certificate:
        """Return what is proven."""
        arrays = kept(context, self)
        return Certificate(arrays["label"], arrays["radius"], str(arrays["threat"]))


def kept(context: Context, stage: Stage) -> dict[str, npt.NDArray[Any]]:
    """Return what a stage that is done has kept."""
    arrays = context.store.load_stage(stage.key(context))
    if arrays is None:
        raise InputError(f"{context.store.stage_path(stage.key(context))} has gone; run again")
    return arrays


def training_part(defense: Any) -> str:
    """Return what of a defense bears on training, in canonical text."""
    acts = cleaning.cleans(defense) or isinstance(defense, RobustTraining)
    return registry.canonical(defense if acts else NoDefense())


def wrapped(defense: Any, model: Model, context: Context) -> Model:
    """Return the model as its users would meet it."""
    if isinstance(defense, Wrapper):
        return defense.wrap(model, task=context.dataset.task)
    return model
