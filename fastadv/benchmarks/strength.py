"""How strong our attacks are beside those of other libraries; the time does not count.

The same model, images and budget for all, judged by the same eyes (`fastadv.benchmarks.peers`). At
the end of each threat model stands the worst case: an image counts for a library if it survives all
of its attacks, and AutoAttack (Croce and Hein, ICML 2020) is met by all of ours.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace

import msgspec
import numpy as np

from fastadv.arrays import Floats, Mask
from fastadv.benchmarks.peers import NEEDS, evasion
from fastadv.benchmarks.race import absent
from fastadv.errors import InputError
from fastadv.registry import make

TOLERANCE = 0.003  # by which ours may be weaker
DEFENSES = ("none", "adv_training")
WORST = "worst"
SEARCHES = 8  # seeds whose mean stands for a random search, on both sides


class Match(msgspec.Struct, kw_only=True):
    """One attack of ours and the same one of a library, or the worst cases of both.

    Attributes
    ----------
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
        The standard error of ``ours - theirs``, for random searches: how far their seeds move it.
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


def matches(
    defenses: Sequence[str] = DEFENSES, samples: int = 1000, only: str = ""
) -> Iterator[Match]:
    """Yield a match for each attack and library, then the worst cases, defense by defense.

    Parameters
    ----------
    only : str
        Only attacks whose spec contains this.

    Raises
    ------
    InputError
        If there is none.
    """
    attacks = [attack for attack in evasion.PEERS if only in attack]
    if not attacks:
        raise InputError(f"--only {only}: no attack that other libraries have contains that")
    for defense in defenses:
        survived: dict[str, dict[str, list[Mask]]] = {}  # by threat and library
        for attack in attacks:
            threat = str(make("attack", attack).threat())
            for match, masks in _attack(attack, threat, defense, samples):
                yield match
                for library, mask in masks.items():
                    survived.setdefault(threat, {}).setdefault(library, []).append(mask)
        for threat, libraries in survived.items():
            yield from _worst(defense, threat, libraries, samples)
            if not only and threat in evasion.AUTO_ATTACK:  # it is met by all of ours
                yield _beside_auto_attack(defense, threat, libraries["fastadv"], samples)


def _attack(
    attack: str, threat: str, defense: str, samples: int
) -> Iterator[tuple[Match, dict[str, Mask]]]:
    made = make("attack", attack)
    # Chance moves what a random search finds by some tenths of a point.
    seeds = range(1 if "gradient" in made.needs else SEARCHES)
    posed = evasion.problem(attack, defense, samples)
    several = [replace(posed, seed=seed) for seed in seeds]
    ours, mine, spread = _mean(several, evasion.fastadv)
    distance, first = f"median {posed.threat.kind}", {"fastadv": mine}
    for library, peer in evasion.PEERS[attack]:
        match = Match(
            defense=defense, attack=attack, threat=threat, library=library, n=samples,
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


def _worst(
    defense: str, threat: str, libraries: dict[str, list[Mask]], samples: int
) -> Iterator[Match]:
    for library, masks in libraries.items():
        if library != "fastadv":
            yield Match(
                defense=defense, attack=WORST, threat=threat, library=library, n=samples,
                ours=_all(libraries["fastadv"]), theirs=_all(masks),
            )  # fmt: skip


def _beside_auto_attack(defense: str, threat: str, ours: list[Mask], samples: int) -> Match:
    match = Match(
        defense=defense, attack=WORST, threat=threat, library="AutoAttack", n=samples,
        ours=_all(ours), reason=absent(*NEEDS["torchattacks"]),
    )  # fmt: skip
    if match.reason is None:
        posed = evasion.problem(evasion.AUTO_ATTACK[threat], defense, samples)
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
