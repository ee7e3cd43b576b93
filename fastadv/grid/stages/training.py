"""The stages up to a trained model: poison, a survey of the clean set, and the training itself."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from fastadv import capabilities, registry
from fastadv.arrays import Arrays, Floats, Labels
from fastadv.datasets import Dataset
from fastadv.defenses.none import NoDefense
from fastadv.grid import cleaning, retraining
from fastadv.grid.cell import Choice
from fastadv.grid.context import Context
from fastadv.grid.stages.base import Inputs, Made, Stage
from fastadv.protocols import Model, Persistent, RobustTraining, SurveyingSanitizer, Wrapper


@dataclass(frozen=True)
class Scout:
    """Choose what of the poison hangs on the data and the model, and not on the seed."""

    attack: Choice
    known: Choice | None = None
    weight: float = field(default=6.0, compare=False)

    def label(self) -> str:
        """Return what a user reads while it runs."""
        against = f" against {self.known.text}" if self.known else ""
        return f"{self.attack.text}: scouting{against}"

    def needs(self, context: Context) -> dict[str, Stage]:
        """Return no stage."""
        return {}

    def identity(self, context: Context) -> tuple[object, ...]:
        """Return what the choice hangs on."""
        known = self.known.canonical if self.known else ""
        model = (
            registry.canonical(context.make_model(0))
            if context.given is None
            else context.models[context.grid.seed]
        )
        return context.dataset.fingerprint, model, self.attack.canonical, known

    def compute(self, inputs: Inputs, context: Context) -> Made:
        """Choose, and return the plan."""
        data = context.dataset
        known = {"defense": self.known.made} if self.known else {}
        plan = self.attack.made.scout(
            context.new_model(0), data.x_train, data.y_train, data.x_val, data.y_val,
            task=data.task, **known,
        )  # fmt: skip
        return Made({}, {"plan": plan})


@dataclass(frozen=True)
class Poison:
    """Choose the poisoned rows, against the defense ``known`` if the attack adapts to it.

    The training set itself is not kept again.
    """

    attack: Choice
    seed: int
    known: Choice | None = None
    weight: float = field(default=0.6, compare=False)

    def label(self) -> str:
        """Return what a user reads while it runs."""
        against = f" against {self.known.text}" if self.known else ""
        return f"{self.attack.text}: choosing the poison{against}, seed {self.seed}"

    def needs(self, context: Context) -> dict[str, Stage]:
        """Return what is the same for every seed, if there is anything."""
        scouts = capabilities.scouts(self.attack.made)
        return {"scout": Scout(self.attack, self.known)} if scouts else {}

    def identity(self, context: Context) -> tuple[object, ...]:
        """Return what the poison hangs on."""
        known = self.known.canonical if self.known else ""
        return (
            context.dataset.fingerprint, context.models[self.seed], self.attack.canonical,
            self.seed, known,
        )  # fmt: skip

    def compute(self, inputs: Inputs, context: Context) -> Made:
        """Poison, and return the rows."""
        data = context.dataset
        known = {"defense": self.known.made} if self.known else {}
        if "scout" in inputs:
            known["plan"] = inputs["scout"].facts["plan"]
        result = self.attack.made.poison(
            context.new_model(self.seed), data.x_train, data.y_train, data.x_val, data.y_val,
            task=data.task, seed=self.seed, **known,
        )  # fmt: skip
        arrays = {
            "rows": result.X[result.index], "labels": result.y[result.index],
            "index": result.index, "history": result.history, "trigger": result.trigger,
            "origin": result.origin,
        }  # fmt: skip
        given = {name: array for name, array in arrays.items() if array is not None}
        drawn = {name: arrays[name] for name in ("rows", "labels", "index")}
        return Made(given, {"details": result.details, "draw": _hash_of(drawn)})


def training_set(poison: Made, data: Dataset) -> tuple[Floats, Labels]:
    """Return the poisoned training set."""
    index, rows, labels = (poison.arrays[name] for name in ("index", "rows", "labels"))
    if len(index) and index.min() >= len(data.x_train):
        return np.concatenate([data.x_train, rows]), np.concatenate([data.y_train, labels])
    X, y = data.x_train.copy(), data.y_train.copy()
    X[index], y[index] = rows, labels
    return X, y


@dataclass(frozen=True)
class Survey:
    """Look at the clean training set, once for all seeds and poisoned sets, as a sanitizer can."""

    defense: Choice
    weight: float = field(default=3.0, compare=False)

    def label(self) -> str:
        """Return what a user reads while it runs."""
        return f"{self.defense.text}: surveying the training set"

    def needs(self, context: Context) -> dict[str, Stage]:
        """Return no stage."""
        return {}

    def identity(self, context: Context) -> tuple[object, ...]:
        """Return what the survey hangs on."""
        return context.dataset.fingerprint, self.defense.canonical

    def compute(self, inputs: Inputs, context: Context) -> Made:
        """Survey, and return what is known."""
        data = context.dataset
        return Made(cleaning.survey(self.defense.made, data.x_train, data), {})


@dataclass(frozen=True)
class Fit:
    """Sanitize and train."""

    defense: Choice
    poison: Poison | None
    seed: int
    weight: float = field(default=1.6, compare=False)

    def label(self) -> str:
        """Return what a user reads while it runs."""
        data = f" on {self.poison.attack.text}'s set" if self.poison else ""
        return f"{self.defense.text}: training{data}, seed {self.seed}"

    def needs(self, context: Context) -> dict[str, Stage]:
        """Return the poison, if there is any, and what the sanitizer knows of the clean set."""
        needed: dict[str, Stage] = {"poison": self.poison} if self.poison else {}
        if isinstance(self.defense.made, SurveyingSanitizer):
            needed["survey"] = Survey(self.defense)
        return needed

    def identity(self, context: Context) -> tuple[object, ...]:
        """Return what training hangs on; a defense that only wraps trains like none."""
        defense = self.defense.made if bears_on_training(self.defense.made) else NoDefense()
        training = registry.canonical(defense)
        return context.dataset.fingerprint, context.models[self.seed], training, self.seed

    def compute(self, inputs: Inputs, context: Context) -> Made:
        """Train, and return the model."""
        data, poison = context.dataset, inputs.get("poison")
        X, y = training_set(poison, data) if poison else (data.x_train, data.y_train)
        defense, kept = self.defense.made, np.arange(len(X))
        facts: dict[str, Any] = {}
        if cleaning.cleans(defense):
            index, truth = _poisoned(poison, data.y_train)
            surveyed = (inputs["survey"].arrays, index) if "survey" in inputs else None
            model = context.new_model(self.seed)
            keep, labels = cleaning.sanitize(defense, model, X, y, data, self.seed, surveyed)
            facts["sanitized"] = cleaning.shares(keep, labels, y, index, truth)
            X, y, kept = X[keep], labels[keep], kept[keep]
        model = self._trained(X, y, context)
        if capabilities.able(model, Persistent):
            state = model.state()
        else:
            state = retraining.recipe(model, kept, y, poison.arrays if poison else None)
        return Made(
            state, facts | {"unsettled": capabilities.unsettled(model), "weights": _hash_of(state)}
        )

    def _trained(self, X: Floats, y: Labels, context: Context) -> Any:
        """Return the model, trained on what the sanitizer has left."""
        defense, model = self.defense.made, context.new_model(self.seed)
        if isinstance(defense, RobustTraining):
            return defense.fit(model, X, y, task=context.dataset.task, seed=self.seed)
        return model.fit(X, y)

    def model(self, made: Made, context: Context) -> Model:
        """Return the trained model, not wrapped."""
        maker: Any = capabilities.trained_class(self.defense.made) or context.make_model(self.seed)
        if capabilities.able(maker, Persistent):
            trained = maker.from_state(made.arrays)
        else:
            trained = retraining.again(
                made.arrays, context.dataset,
                lambda poison: training_set(Made(poison, {}), context.dataset),
                lambda X, y: self._trained(X, y, context),
            )  # fmt: skip
        model: Model = capabilities.adapted(trained, context.dataset.task)
        return model

    def defended(self, made: Made, context: Context) -> Model:
        """Return the trained model as its users meet it."""
        model, defense = self.model(made, context), self.defense.made
        return defense.wrap(model, task=context.dataset.task) if wraps(defense) else model


@dataclass(frozen=True)
class Take(Fit):
    """The model that came trained, as it is: nothing is trained."""

    poison: None = None
    seed: int = 0
    weight: float = field(default=0.01, compare=False)

    def label(self) -> str:
        """Return what a user reads while it runs."""
        return "taking the model as it is given"

    def needs(self, context: Context) -> dict[str, Stage]:
        """Return no stage."""
        return {}

    def identity(self, context: Context) -> tuple[object, ...]:
        """Return what the model is, and the data whose classes it tells apart."""
        return context.dataset.fingerprint, context.given.given.identity

    def compute(self, inputs: Inputs, context: Context) -> Made:
        """Return the hash of the model."""
        return Made({}, {"unsettled": None, "weights": context.given.given.identity})

    def model(self, made: Made, context: Context) -> Model:
        """Return the model as it is given."""
        model: Model = capabilities.adapted(context.given, context.dataset.task)
        return model


def fit_of(context: Context, defense: Choice, seed: int, refit: bool) -> Fit:
    """Return the training of a cell without poison; ``refit``: not of what is given as it is."""
    as_given = context.given is not None and not refit and not bears_on_training(defense.made)
    return Take(defense, None, seed) if as_given else Fit(defense, None, seed)


def _poisoned(poison: Made | None, y_train: Labels) -> tuple[npt.NDArray[np.intp], Labels | None]:
    """Return which rows are poison, and the labels of the images that they started as."""
    if poison is None:
        return cleaning.NO_ROWS, None
    origin = poison.arrays.get("origin")
    return poison.arrays["index"], None if origin is None else y_train[origin]


def bears_on_training(defense: Any) -> bool:
    """Return whether a model is another one for the defense, and not only what stands before it."""
    return cleaning.cleans(defense) or isinstance(defense, RobustTraining)


def wraps(defense: Any) -> bool:
    """Return whether the defense stands before the model."""
    return isinstance(defense, Wrapper)


def _hash_of(state: Arrays) -> str:
    """Return the hash of a trained model's numbers, the same in whatever grid it stands."""
    arrays = {name: array for name, array in sorted(state.items()) if array.dtype.kind in "fiu"}
    sizes = [(name, array.shape, array.dtype.str) for name, array in arrays.items()]
    digest = hashlib.blake2b(repr(sizes).encode(), digest_size=8)
    for array in arrays.values():
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()
