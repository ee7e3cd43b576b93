"""How strong our attacks are beside those of other libraries; the time does not count.

The same model, images and budget for all, judged by the same eyes (`fastadv.benchmarks.peers`). At
the end of each threat model stands the worst case: an image counts for a library if it survives all
of its attacks, and AutoAttack (Croce and Hein, ICML 2020) is met by all of ours.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import NamedTuple

import msgspec
import numpy as np

from fastadv.arrays import Floats, Mask
from fastadv.benchmarks.peers import NEEDS, evasion
from fastadv.benchmarks.race import absent
from fastadv.errors import InputError
from fastadv.registry import make

TOLERANCE = 0.003  # by which ours may be weaker
WORST = "worst"
SEEDS = 8  # whose mean stands for an attack that draws at random, on both sides
_DRAW_NOTHING = ("fgsm", "deepfool", "cw")


class Victim(NamedTuple):
    """A model, how it is trained, how many test images it gets, and by what, else by everything."""

    model: str
    defense: str
    samples: int = 1000
    attacks: tuple[str, ...] | None = None

    @property
    def name(self) -> str:
        """Return what a table calls it."""
        return self.defense if self.model == "mlp" else self.model


VICTIMS = (
    Victim("mlp", "none"), Victim("mlp", "adv_training"),
    Victim(
        "cnn", "none", 2000,
        ("fgsm[eps=0.1]", "pgd[eps=0.1,steps=40]", "apgd[eps=0.1]", "square[eps=0.1,queries=1000]"),
    ),
)  # fmt: skip


class Match(msgspec.Struct, kw_only=True):
    """One attack of ours and the same one of a library, or the worst cases of both.

    Attributes
    ----------
    defense : str
        How the perceptron is trained; of another model its name.
    attack : str
        The spec of ours; ``worst`` over all of a threat model.
    threat : str
    library : str
    n : int
        Test images.
    ours, theirs : float
        Accuracy under the attack, within the budget: the lower, the stronger.
    median_ours, median_theirs : float or None
        The median distance of successes at any budget, for attacks that look for the least.
    error : float
        The standard error of ``ours - theirs``: how far the seeds of both move it; 0 of an attack
        that draws nothing.
    reason : str or None
        Why there is no figure of theirs.
    """

    defense: str
    attack: str
    threat: str
    library: str
    n: int = 0
    ours: float | None = None
    theirs: float | None = None
    median_ours: float | None = None
    median_theirs: float | None = None
    error: float = 0.0
    reason: str | None = None

    @property
    def weaker(self) -> float | None:
        """By how much more of the images survive ours; None without both figures."""
        return None if self.ours is None or self.theirs is None else self.ours - self.theirs

    @property
    def too_weak(self) -> bool:
        """Whether that is more than we allow ourselves, and more than chance does."""
        allowed = TOLERANCE + 2 * self.error + 1e-9
        return self.weaker is not None and self.weaker > allowed


def matches(victims: Sequence[Victim] = (), only: str = "") -> Iterator[Match]:
    """Yield a match for each attack and library, then the worst cases, victim by victim.

    Parameters
    ----------
    victims : sequence of Victim
        `VICTIMS` unless given.
    only : str
        Only what contains this in ``none``, ``adv_training`` or ``cnn``, a space, and the attack.

    Raises
    ------
    InputError
        If there is none.
    """
    chosen = {
        victim: [a for a in victim.attacks or evasion.PEERS if only in f"{victim.name} {a}"]
        for victim in victims or VICTIMS
    }
    if not any(chosen.values()):
        raise InputError(f"--only {only}: no attack that other libraries have contains that")
    for victim, attacks in chosen.items():
        survived: dict[str, dict[str, list[Mask]]] = {}  # by threat and library
        reason = absent(*NEEDS["torch"]) if victim.model == "cnn" and attacks else None
        if reason is not None:
            yield Match(
                defense=victim.name, attack=attacks[0], threat="", library="torch", reason=reason
            )
            continue
        for attack in attacks:
            threat = str(make("attack", attack).threat())
            for match, masks in _attack(attack, threat, victim):
                yield match
                for library, mask in masks.items():
                    survived.setdefault(threat, {}).setdefault(library, []).append(mask)
        all_ours = attacks == list(evasion.PEERS)
        for threat, libraries in survived.items():
            yield from _worst(victim, threat, libraries)
            if all_ours and threat in evasion.AUTO_ATTACK:  # it is met by all of ours
                yield _beside_auto_attack(victim, threat, libraries["fastadv"])


def _attack(attack: str, threat: str, victim: Victim) -> Iterator[tuple[Match, dict[str, Mask]]]:
    made = make("attack", attack)
    # Where an attack starts, or searches, by chance moves what it finds by some tenths of a point.
    seeds = range(1 if made.name in _DRAW_NOTHING else SEEDS)
    posed = _problem(attack, victim)
    several = [replace(posed, seed=seed) for seed in seeds]
    ours, mine, spread = _mean(several, evasion.fastadv)
    distance, first = f"median {posed.threat.kind}", {"fastadv": mine}
    for library, peer in evasion.PEERS[attack]:
        match = Match(
            defense=victim.name, attack=attack, threat=threat, library=library, n=victim.samples,
            ours=ours["accuracy"], median_ours=ours.get(distance) if made.minimum_norm else None,
            reason=absent(*NEEDS[library]),
        )  # fmt: skip
        masks, first = first, {}  # ours counts once
        if match.reason is None:
            theirs, survived, their_spread = _mean(several, peer)
            match.theirs, match.error = theirs["accuracy"], math.hypot(spread, their_spread)
            match.median_theirs = theirs.get(distance) if made.minimum_norm else None
            masks = masks | {library: survived}
        yield match, masks


def _mean(
    several: Sequence[evasion.Problem], peer: evasion.Peer
) -> tuple[dict[str, float], Mask, float]:
    """Return the mean quality over seeds, which images survive the first, and the accuracy's error.

    That is the standard error of its mean over the seeds; 0 of a single one.
    """
    found = [peer(posed)() for posed in several]
    qualities = [posed.quality(x_adv) for posed, x_adv in zip(several, found, strict=True)]
    mean = {k: float(np.mean([q.get(k, np.nan) for q in qualities])) for k in qualities[0]}
    each = [quality["accuracy"] for quality in qualities]
    error = float(np.std(each, ddof=1)) / math.sqrt(len(each)) if len(each) > 1 else 0.0
    return mean, several[0].survives(found[0]), error


def _problem(attack: str, victim: Victim) -> evasion.Problem:
    return evasion.problem(attack, victim.defense, victim.samples, victim.model)


def _worst(victim: Victim, threat: str, libraries: dict[str, list[Mask]]) -> Iterator[Match]:
    for library, masks in libraries.items():
        if library != "fastadv":
            yield Match(
                defense=victim.name, attack=WORST, threat=threat, library=library, n=victim.samples,
                ours=_all(libraries["fastadv"]), theirs=_all(masks),
            )  # fmt: skip


def _beside_auto_attack(victim: Victim, threat: str, ours: list[Mask]) -> Match:
    match = Match(
        defense=victim.name, attack=WORST, threat=threat, library="AutoAttack", n=victim.samples,
        ours=_all(ours), reason=absent(*NEEDS["torchattacks"]),
    )  # fmt: skip
    if match.reason is None:
        posed = _problem(evasion.AUTO_ATTACK[threat], victim)
        match.theirs = float(np.mean(posed.survives(_auto_attack(posed))))
    return match


def _all(masks: list[Mask]) -> float:
    return float(np.mean(np.all(masks, axis=0)))


def _auto_attack(posed: evasion.Problem) -> Floats:
    norm = {"linf": "Linf", "l2": "L2"}[posed.threat.kind]
    return evasion.torchattacks(
        "AutoAttack", posed, norm=norm, eps=posed.threat.budget, version="standard",
        n_classes=posed.task.n_classes, seed=0,
    )()  # fmt: skip
