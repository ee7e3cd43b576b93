"""What an object from outside can do: the one place that asks.

Models, attacks and defenses are objects that keep to protocols, and need not inherit from anything.
Whoever wants to know what one of them has asks here, and then uses that and nothing else.
"""

from __future__ import annotations

from typing import Any, Literal

import numpy as np

from fastadv.arrays import Floats
from fastadv.errors import InputError
from fastadv.protocols import (
    BatchTrainable,
    Classifier,
    EvasionAttack,
    Features,
    Layered,
    Logits,
    LossTrainable,
    PoisoningAttack,
    Pullback,
    RobustTraining,
    Trainable,
)
from fastadv.task import Task
from fastadv.threat import Threat

_WORDS = {
    Logits: "that tells its logits",
    Trainable: "that can be trained",
    BatchTrainable: "that learns in batches",
    LossTrainable: "that learns by any loss",
    Layered: "of dense layers (mlp)",
    Features: "that tells its features",
}


def lacks(candidate: Any, protocol: Any) -> list[str]:
    """Return which members of a protocol an object does not have, sorted."""
    found: set[str] = set()
    for base in protocol.__mro__:
        if base.__module__ == protocol.__module__:
            found |= {name for name in {**vars(base), **base.__annotations__} if name[0] != "_"}
    return sorted(name for name in found if not hasattr(candidate, name))


def able(candidate: Any, protocol: Any) -> bool:
    """Return whether an object has all members of a protocol."""
    return not lacks(candidate, protocol)


def missing(model: Any, *protocols: Any, parameters: tuple[str, ...] = ()) -> str | None:
    """Return None, or what kind of model is asked for and what of it this one does not have.

    Parameters
    ----------
    protocols : types
        What it has to be able to do, trained or not: names with a ``_`` at their end are set by
        training, and not asked for.
    parameters : tuple of str
        Of its constructor, that will be set.
    """
    for protocol in protocols:
        names = [name for name in lacks(model, protocol) if name[-1] != "_"]
        if names:
            return f"a model {_WORDS[protocol]}; {type(model).__name__} has no {', '.join(names)}"
    absent = [name for name in parameters if not takes(model, name)]
    if absent:
        return f"to set {' and '.join(absent)}, which {type(model).__name__} does not have"
    return None


def takes(model: Any, parameter: str) -> bool:
    """Return whether the model's constructor has a parameter of this name, and it can be set."""
    return hasattr(model, "set_params") and parameter in model.get_params()


def epochs_of(model: Any) -> str | None:
    """Return the name of the parameter that says for how many epochs a model learns, or None."""
    return next((name for name in ("max_iter", "epochs") if takes(model, name)), None)


# -- models -----------------------------------------------------------------------------------


def differentiable(model: Any) -> bool:
    """Return whether the model's logits can be differentiated with respect to its input."""
    return hasattr(model, "vjp") or hasattr(model, "input_gradient")


def has_logits(model: Any) -> bool:
    """Return whether the model tells its logits."""
    return hasattr(model, "vjp") or hasattr(model, "logits")


def computed_by(model: Any) -> str | None:
    """Return the package that computes the model, if it is none of those that fastadv needs."""
    return getattr(model, "computed_by", None)


def bound(model: Any, task: Task, X: Floats) -> Any:
    """Return an untrained model that knows the images' shape, and what it takes from clean rows X.

    Where it asks for neither, it is returned as it is.
    """
    model = model.bind(task) if hasattr(model, "bind") else model
    return model.resolve(X) if hasattr(model, "resolve") else model


def learns(model: Any, task: Task) -> str | None:
    """Return None, or why the model cannot learn the data."""
    return _reason(model, "supports", task)


def no_derivative(model: Any) -> str | None:
    """Return None, or why the model's training cannot be differentiated."""
    if not hasattr(model, "poison_objective"):
        return "biggio needs a model with poison_objective"
    return _reason(model, "no_derivative")


def gradient_seconds(model: Any, n_rows: int, task: Task) -> float | None:
    """Return about how long a gradient of `poison_objective` takes; None: it does not say."""
    asked = getattr(model, "gradient_seconds", None)
    return float(asked(n_rows, task)) if asked else None


def unsettled(model: Any) -> tuple[str, str] | None:
    """Return None, or why the training of the model has not settled, and what helps."""
    found: tuple[str, str] | None = getattr(model, "unsettled_", None)
    return found


def gradient_kind(model: Any) -> str:
    """Return ``exact``, or ``identity`` where the gradient is that of an identity in between."""
    return str(getattr(_as_given(model), "gradient", "exact"))


def surrogate(model: Any, progress: float) -> Any:
    """Return the model's smooth stand-in, sharpened by ``progress`` in [0, 1]; None without one."""
    asked = getattr(_as_given(model), "surrogate", None)
    return asked(progress) if asked else None


def next_steps(model: Any, X: Floats) -> Any:
    """Return for each pixel of X (n, d) the nearest values that a defended model tells from it.

    Below and above it, (n, d) each, NaN where there is none. None if the model does not say: it is
    not one that makes the same of all values between two steps.
    """
    asked = getattr(_as_given(model), "next_steps", None)
    return asked(X) if asked else None


def undefended(model: Any) -> Any:
    """Return the model that a defended one stands before; None if it is no such model."""
    inner = getattr(_as_given(model), "model", None)
    return inner if differentiable(inner) else None


def randomised(model: Any) -> bool:
    """Return whether the draws that attacks meet are not those that the model's users will."""
    return bool(getattr(_as_given(model), "randomised", False))


def made_here(model: Any) -> bool:
    """Return whether a model, and what it stands before, are fastadv's own, and as they were made.

    Their gradients are tested; those of others have to be looked at.
    """
    own = getattr(model, "__dict__", {})
    ours = type(model).__module__.partition(".")[0] == "fastadv" and not isinstance(model, _Given)
    patched = any(name in own for name in ("vjp", "input_gradient", "logits"))
    patched = patched or getattr(model, "foreign", False)
    return ours and not patched and ("model" not in own or made_here(own["model"]))


def given(model: Any) -> Any:
    """Return what is known of a model that came trained (`fastadv.wrap`); None if it is no such."""
    return getattr(_as_given(model), "given", None)


def original_labels(model: Any, X: Floats) -> Any:
    """Return what a model that was taken over predicts itself, (n,); None where it is itself."""
    asked = getattr(model, "original_labels", None)
    return asked(X) if asked else None


def said(model: Any, name: str) -> Any:
    """Return an attribute of a model, or of the nearest one that it stands before; or None."""
    while model is not None:
        value = getattr(model, name, None)
        if value is not None:
            return value
        model = getattr(model, "model", None)
    return None


def compiles(executor: Any) -> bool:
    """Return whether the kernels are compiled where an executor's stages run, and not here."""
    return bool(getattr(executor, "compiles", False))


def n_processes(executor: Any) -> int:
    """Return how many processes of this machine an executor starts; this one is one."""
    return int(getattr(executor, "jobs", 1))


def class_of(model: Any) -> str:
    """Return the name of the model's class, for a message."""
    return type(_as_given(model)).__name__


def _as_given(model: Any) -> Any:
    """Return a model as it came, before `adapted` filled in what it lacks."""
    return model.model if isinstance(model, _Given) else model


def adapted(model: Any, task: Task) -> Any:
    """Return a model that has all of `Classifier`, and all of `Model` if it is differentiable.

    One that has it is returned as it is. What is missing is filled in: ``classes_`` are the columns
    of the logits, ``logits`` come from ``vjp`` and ``vjp`` from ``logits`` and ``input_gradient``.

    Raises
    ------
    InputError
        If it is not trained, or does not tell its logits.
    """
    if able(model, Classifier) and hasattr(model, "vjp") == differentiable(model):
        return model
    if not hasattr(model, "classes_") and hasattr(model, "get_params"):
        # Of scikit-learn's kind: it would know its classes, were it trained.
        raise InputError(f"{type(model).__name__} is not trained: call its fit first")
    if not has_logits(model):
        raise InputError(f"{type(model).__name__} has no logits (vjp or logits)")
    return (_GivenDifferentiable if differentiable(model) else _Given)(model, task)


class _Given:
    """A model with what it lacks of `Classifier`."""

    def __init__(self, model: Any, task: Task) -> None:
        self.model = model
        self.classes_ = np.asarray(getattr(model, "classes_", np.arange(task.n_classes)))
        if hasattr(model, "nearby"):
            self.nearby = model.nearby

    def predict(self, X: Floats) -> Any:
        return self.classes_[np.argmax(self.logits(X), axis=1)]

    def logits(self, X: Floats) -> Floats:
        logits: Floats = self.model.logits(X)
        return logits


class _GivenDifferentiable(_Given):
    """A model with what it lacks of `Model`."""

    def logits(self, X: Floats) -> Floats:
        return self.vjp(X)[0]

    def vjp(self, X: Floats) -> tuple[Floats, Pullback]:
        if hasattr(self.model, "vjp"):
            passed: tuple[Floats, Pullback] = self.model.vjp(X)
            return passed
        return self.model.logits(X), lambda dlogits: self.model.input_gradient(X, dlogits)


# -- attacks and defenses ---------------------------------------------------------------------


def kind_of(attack: Any) -> Literal["none", "evasion", "poisoning"]:
    """Return what an attack works on; ``none`` is the control of that name, which does nothing.

    Raises
    ------
    InputError
        If it is an attack that lacks something: its row would show the clean accuracy.
    """
    poisons = hasattr(attack, "poison")
    crafts = hasattr(attack, "craft") or hasattr(attack, "perturb")
    if getattr(attack, "name", None) == "none" and not (poisons or crafts):
        return "none"
    protocol = PoisoningAttack if poisons else EvasionAttack
    names = lacks(attack, protocol)
    if names:
        raise InputError(
            f"{type(attack).__name__} is no {protocol.__name__}: it lacks {', '.join(names)}"
        )
    return "poisoning" if poisons else "evasion"


def supports(candidate: Any, model: Any, task: Task) -> str | None:
    """Return None, or why an attack or a defense cannot work with the model."""
    return no_pixels(candidate, task) or _reason(candidate, "supports", model, task)


def no_pixels(candidate: Any, task: Task) -> str | None:
    """Return None, or that an attack or a defense needs images, and the data are columns."""
    if task.columns is None or not getattr(candidate, "needs_pixels", False):
        return None
    return f"{candidate.name} needs neighbouring pixels, and the data are columns of a table"


def needs_gradient(attack: Any) -> bool:
    """Return whether the attack needs the model's input gradient."""
    return "gradient" in getattr(attack, "needs", ())


def minimum_norm(attack: Any) -> bool:
    """Return whether the attack searches for the least change and may pass its budget."""
    return bool(getattr(attack, "minimum_norm", False))


def threat_on(attack: Any, task: Task) -> Threat:
    """Return the threat of an attack in the units of the data."""
    threat: Threat = attack.threat()
    return threat if task.columns is None else threat.of_columns()


def brought_back(attack: Any, x: Floats, x_adv: Floats, task: Task) -> Floats:
    """Return what an evasion attack made of rows x (n, d), as rows that can exist in its ball."""
    if task.rules is None:
        return x_adv
    threat: Threat = attack.threat()
    bound = threat.kind in ("linf", "l2") and not minimum_norm(attack)
    return task.brought_back(
        x, x_adv, threat.kind if bound else "linf", threat.budget if bound else None
    )


def steps(attack: Any) -> int:
    """Return how many gradients a start of an evasion attack climbs; 1 where it does not say."""
    return int(getattr(attack, "steps", 1))


def one_search(attack: Any) -> Any:
    """Return an evasion attack whose steps are one way from its start; itself unless it says."""
    made = getattr(attack, "one_search", None)
    return attack if made is None else made()


def chunk(attack: Any, usual: int) -> int:
    """Return how many images an evasion attack takes at once."""
    return int(getattr(attack, "chunk", usual))


def targeted(attack: Any) -> bool:
    """Return whether an evasion attack chooses the labels that it is after by a rule of its own."""
    return bool(getattr(attack, "targeted", False))


def replaces(attack: Any) -> bool:
    """Return whether a poisoning attack changes rows in place, and adds none."""
    return bool(getattr(attack, "replaces", False))


def adapts(attack: Any, defense: Any) -> bool:
    """Return whether a poisoning attack chooses other points where it knows the defense.

    Its ``poison`` then takes ``defense``; that of an attack which says nothing of it need not.
    """
    asked = getattr(attack, "adapts", None)
    return bool(asked(defense)) if asked else False


def scouts(attack: Any) -> bool:
    """Return whether a part of a poisoning attack's choice is the same for every seed."""
    return bool(getattr(attack, "scouts", False))


def poison_seconds(attack: Any, model: Any, n_rows: int, task: Task) -> float | None:
    """Return about how long a poisoning attack chooses its points; None: it does not say."""
    asked = getattr(attack, "seconds", None)
    found: float | None = asked(model, n_rows, task) if asked else None
    return found


def refuses(defense: Any, attack: Any) -> str | None:
    """Return None, or why the attack cannot run against the defense."""
    return _reason(defense, "refuses", attack)


def warns(defense: Any, n_train: int, task: Task) -> tuple[str, str] | None:
    """Return None, or why so many images are too few for the defense, and what helps."""
    asked = getattr(defense, "warns", None)
    found: tuple[str, str] | None = asked(n_train, task) if asked else None
    return found


def epochs_with(defense: Any, model: Any) -> int:
    """Return how often a training sees each row: what trains in its own way may say it itself."""
    own = getattr(defense, "epochs", None) if isinstance(defense, RobustTraining) else None
    name = epochs_of(model)
    return int(own or (model.get_params()[name] if name else 1))


def trained_class(defense: Any) -> type | None:
    """Return the class of what the defense trains, None where it is the model's own."""
    found: type | None = getattr(defense, "trains", None)
    return found


def _reason(candidate: Any, question: str, *about: Any) -> str | None:
    """Return what an object answers, None if it has nothing to say."""
    asked = getattr(candidate, question, None)
    answer: str | None = asked(*about) if asked else None
    return answer or None
