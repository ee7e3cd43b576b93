"""Attacks that climb a gradient, on models without a useful one: the best of several ways.

The gradient of a preprocessor such as `bit_depth` leads nowhere, and nobody has to go through it
(Athalye, Carlini and Wagner, ICML 2018, arXiv 1802.00420). An image counts as broken if one of
these breaks it within the budget of the attack:

identity    the attack, with the identity's gradient in place of the preprocessor's (BPDA, ibid.),
            or gradient, with its own where that is the gradient but not all that there is to see,
            as of `median`
transfer    what the attack finds on the undefended model
surrogate   the attack, with the gradients of a smooth stand-in that is sharpened over its steps
flips       in L2, pixels moved just over the steps of the preprocessor, those that are worth it
square      Square Attack, which asks for logits alone; in Linf and L2

In Python::

    defended = make_defense("bit_depth").wrap(model, task=task)
    result = without_gradient.perturb(make_attack("pgd"), defended, X, y, task=task)
    result.robust_accuracy(), result.details["part"]

Grids and ``fastadv attack`` do the same.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import msgspec
import numpy as np

from fastadv import capabilities
from fastadv.arrays import Floats, Labels
from fastadv.attacks.evasion import ball
from fastadv.attacks.evasion.base import CHUNK
from fastadv.attacks.evasion.flips import Flips
from fastadv.attacks.evasion.joining import Rows, improved, joined, rows_of
from fastadv.attacks.evasion.loss import margins
from fastadv.attacks.evasion.square import Square
from fastadv.batches import map_rows
from fastadv.models.adapters.annealed import Annealed
from fastadv.models.base import class_columns
from fastadv.protocols import EvasionAttack, Model
from fastadv.results import EvasionResult
from fastadv.task import Task

QUERIES = 1000  # of Square; what more of them find is in results/README.md
MORE_QUERIES = 5000
_NEAREST = 50  # images that get so many
_NAMES = "<U9"


class Search(msgspec.Struct, frozen=True):
    """What Square finds with more queries where all ways have failed.

    Attributes
    ----------
    nearest : int
        How many of the images that were left got them: those of the smallest margins.
    broken : int
        How many of these it broke.
    n : int
        All images.
    queries : int
        An image.
    """

    nearest: int
    broken: int
    n: int
    queries: int = MORE_QUERIES


class Account(msgspec.Struct, frozen=True):
    """What came of the ways.

    Attributes
    ----------
    broken_by : dict
        Images that are broken by each way that was gone, each image by the one whose ``x_adv``
        stands.
    search : Search or None
        In Linf and L2, where the gradient was the identity's.
    """

    broken_by: dict[str, int]
    search: Search | None


def applies(attack: Any, model: Any) -> bool:
    """Return whether the attack climbs a gradient and that of the model does not find everything.

    It is the identity's, or the model has a stand-in of which more can be seen.
    """
    misled = capabilities.gradient_kind(model) == "identity"
    return capabilities.needs_gradient(attack) and (
        misled or capabilities.surrogate(model, 0.0) is not None
    )


def perturb(
    attack: EvasionAttack,
    model: Model,
    X: Floats,
    y: Labels,
    *,
    task: Task,
    target: Labels | None = None,
    seed: int = 0,
    undefended: Model | None = None,
    oblivious: EvasionResult | None = None,
) -> EvasionResult:
    """Attack every row of X: in all ways where that is called for, else as the attack itself does.

    Parameters
    ----------
    X, y, target
        See `fastadv.attacks.evasion.base.Evasion.perturb`.
    undefended : Model, optional
        What ``model`` stands before; its attribute ``model`` unless given.
    oblivious : EvasionResult, optional
        What the attack has found on ``undefended`` with this seed, if that is known.

    Returns
    -------
    EvasionResult
        ``x_adv`` is what broke the image at the least distance. An attack that searches for the
        least change goes the first three ways with every image; else the next way gets what those
        before it have left. ``details["part"]`` (n,) names the way, empty where none broke
        it; ``queries`` counts all. Distances and details are those that every way has.
    """
    ways = Ways(attack, model, X, y, task, target, seed, undefended, oblivious)
    first = ways.through()
    if not applies(attack, model):
        return first
    best = _named(first, ways.names[0])
    for way in ways.names[1:]:
        every = capabilities.minimum_norm(attack) and way not in ("flips", "square")
        rows = np.flatnonzero(~best.misclassified if every else best.robust)
        found = ways.of(rows).found_by(way)
        best = improved(best, _named(found, way), rows, attack.threat())
    return best


def _named(found: EvasionResult, way: str) -> EvasionResult:
    """Return the result with the name of the way among its details."""
    part = np.where(found.is_adv, way, "").astype(_NAMES)
    return replace(found, details={**found.details, "part": part})


def account(
    attack: EvasionAttack,
    model: Model,
    X: Floats,
    y: Labels,
    result: EvasionResult,
    *,
    task: Task,
    seed: int = 0,
    undefended: Model | None = None,
) -> Account:
    """Return which way broke how many images in a result of `perturb`, and what all have missed."""
    ways = Ways(attack, model, X, y, task, None, seed, undefended)
    part = result.details["part"][result.success]
    broken_by = {way: int(np.count_nonzero(part == way)) for way in ways.names}
    if "square" not in broken_by or "identity" not in broken_by:
        return Account(broken_by, None)
    model, left = capabilities.adapted(model, task), np.flatnonzero(result.robust)
    margin = margins(model.logits(X[left]), class_columns(model, y[left]), None)[0]
    rows = left[np.argsort(margin, kind="stable")[:_NEAREST]]
    found = ways.of(rows).square(MORE_QUERIES)
    return Account(broken_by, Search(len(rows), int(found.success.sum()), len(X)))


@dataclass(frozen=True)
class Ways:
    """What is to be attacked and by what, and a method for each way; for the rest see `perturb`."""

    attack: EvasionAttack
    model: Model
    X: Floats
    y: Labels
    task: Task
    target: Labels | None = None
    seed: int = 0
    undefended: Model | None = None
    oblivious: EvasionResult | None = None

    @property
    def names(self) -> tuple[str, ...]:
        """Which ways there are, in the order they are gone."""
        kind = self.attack.threat().kind
        if capabilities.targeted(self.attack):  # whose targets others do not know
            kind = ""
        misled = capabilities.gradient_kind(self.model) == "identity"
        one = np.zeros((1, self.task.n_features), dtype=np.float32)
        stepped = kind == "l2" and capabilities.next_steps(self.model, one) is not None
        there = {
            "identity": misled,
            "gradient": not misled,
            "transfer": self._bare is not None,
            "surrogate": capabilities.surrogate(self.model, 0.0) is not None,
            "flips": stepped,
            "square": kind in ("linf", "l2"),
        }
        return tuple(way for way, is_there in there.items() if is_there)

    @property
    def _bare(self) -> Any:
        given = self.undefended
        return capabilities.undefended(self.model) if given is None else given

    def found_by(self, way: str) -> EvasionResult:
        """Return what one of the ways finds."""
        gone: dict[str, Callable[[], EvasionResult]] = {
            "identity": self.through, "gradient": self.through, "transfer": self.transfer,
            "surrogate": self.surrogate, "flips": self.flips, "square": self.square,
        }  # fmt: skip
        return gone[way]()

    def of(self, rows: Rows) -> Ways:
        """Return that of some rows."""
        return replace(
            self, X=np.asarray(self.X)[rows], y=np.asarray(self.y)[rows],
            target=None if self.target is None else np.asarray(self.target)[rows],
            oblivious=None if self.oblivious is None else rows_of(self.oblivious, rows),
        )  # fmt: skip

    def _attack(self, model: Any, part: slice = slice(None)) -> EvasionResult:
        return self.attack.perturb(
            model, self.X[part], self.y[part], task=self.task, seed=self.seed,
            target=None if self.target is None else self.target[part],
        )  # fmt: skip

    def through(self) -> EvasionResult:
        """Attack through the gradient that the model gives."""
        return self._attack(self.model)

    def transfer(self) -> EvasionResult:
        """Judge by the defended model what the attack finds on the undefended one."""
        found = self.oblivious
        if found is None:
            found = self._attack(self._bare)
        model = capabilities.adapted(self.model, self.task)
        said, right = model.predict(found.x_adv), model.predict(self.X) == self.y
        wanted = self.target
        if wanted is None and capabilities.targeted(self.attack) and len(found.x_adv):
            wanted = capabilities.adapted(self._bare, self.task).predict(found.x_adv)
        is_adv = found.is_adv & right & (said != self.y)
        if wanted is not None:
            is_adv &= said == wanted
        success = is_adv & self.attack.threat().within(found.distances, len(is_adv))
        return replace(found, is_adv=is_adv, success=success, misclassified=~right)

    def surrogate(self) -> EvasionResult:
        """Climb the stand-in, each chunk of images from its smoothest form on."""
        problem = replace(self, attack=capabilities.one_search(self.attack))
        steps, chunk = capabilities.steps(problem.attack), capabilities.chunk(self.attack, CHUNK)

        def climb(start: int, stop: int) -> EvasionResult:
            return problem._attack(Annealed(self.model, steps), slice(start, stop))

        return joined(map_rows(self.model, climb, len(self.X), chunk) or [climb(0, 0)])

    def flips(self) -> EvasionResult:
        """Move what is worth it, within the attack's budget."""
        return Flips(eps=self.attack.threat().budget).perturb(
            self.model, self.X, self.y, task=self.task, target=self.target, seed=self.seed
        )

    def square(self, queries: int = QUERIES) -> EvasionResult:
        """Search at random, within the ball of the attack's budget."""
        threat = self.attack.threat()
        norm: ball.Norm = "linf" if threat.kind == "linf" else "l2"
        return Square(eps=threat.budget, norm=norm, queries=queries).perturb(
            self.model, self.X, self.y, task=self.task, target=self.target, seed=self.seed
        )
