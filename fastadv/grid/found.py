"""What came of all images of a cell, out of what came of each block of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from fastadv.arrays import Floats, Mask
from fastadv.grid.stages.base import Made
from fastadv.results import EvasionResult, PoisonEvaluation


@dataclass(frozen=True)
class Found:
    """What an attack has found.

    Attributes
    ----------
    result : EvasionResult
        Of all images, but for ``x_adv``: that is of the first images alone.
    attacked : ndarray of shape (n,)
        What the attacked model says of the attacked images.
    survives_oblivious : ndarray of bool, shape (n,), or None
        Where an attack that does not know what stands before the model leaves it right.
    outside : bool
        A pixel lies outside the bounds.
    n_impossible : int
        Rows of a table that cannot exist.
    ways : dict
        See `fastadv.attacks.evasion.without_gradient.Account`; empty where that does not apply.
    seconds : float
    """

    result: EvasionResult
    attacked: npt.NDArray[Any]
    survives_oblivious: Mask | None
    outside: bool
    n_impossible: int
    ways: dict[str, Any]
    seconds: float


def found_by(blocks: Sequence[Made]) -> Found:
    """Return what was found, by the `Perturb` of each block, in their order."""
    first = blocks[0]
    knows = "survives_oblivious" in first.arrays
    return Found(
        result_of(blocks, first.arrays["examples_adv"]),
        _joined(blocks, "attacked"),
        _joined(blocks, "survives_oblivious") if knows else None,
        any(block.facts["outside"] for block in blocks),
        sum(block.facts["n_impossible"] for block in blocks),
        _ways([block.facts["found"] for block in blocks if "found" in block.facts]),
        sum(block.facts["seconds"] for block in blocks),
    )


def result_of(blocks: Sequence[Made], x_adv: Floats) -> EvasionResult:
    """Return what the attack of the `Perturb` of each block found, with these images."""
    distances = {
        name.removeprefix("distance_"): _joined(blocks, name)
        for name in blocks[0].arrays
        if name.startswith("distance_")
    }
    is_adv, success, misclassified = (
        _joined(blocks, name) for name in ("is_adv", "success", "misclassified")
    )
    return EvasionResult(x_adv, is_adv, success, misclassified, distances, queries=_queries(blocks))


def _joined(blocks: Sequence[Made], name: str) -> npt.NDArray[Any]:
    return np.concatenate([block.arrays[name] for block in blocks])


def _queries(blocks: Sequence[Made]) -> dict[str, float]:
    """Return the passes, the mean over all images."""
    each = [block.facts["queries"] for block in blocks]
    if len(blocks) == 1:
        return dict(each[0])
    sizes = [len(block.arrays["is_adv"]) for block in blocks]
    return {
        name: sum(queries[name] * n for queries, n in zip(each, sizes, strict=True)) / sum(sizes)
        for name in each[0]
    }


def _ways(accounts: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Return the accounts of the blocks as one."""
    if len(accounts) < 2:
        return dict(accounts[0]) if accounts else {}
    searches = [account["search"] for account in accounts if account["search"] is not None]
    counted = ("nearest", "broken", "n")
    return {
        "broken_by": {
            way: sum(account["broken_by"][way] for account in accounts)
            for way in accounts[0]["broken_by"]
        },
        "search": searches[0] | {name: sum(search[name] for search in searches) for name in counted}
        if searches
        else None,
    }


class Judged(NamedTuple):
    """What a poisoned model makes of all test images, see `fastadv.results.PoisonEvaluation`."""

    predicted: npt.NDArray[Any]
    survives: Mask
    triggered: npt.NDArray[Any] | None


def judged(blocks: Sequence[PoisonEvaluation]) -> Judged:
    """Return the evaluations of the blocks, in their order, as one."""
    triggered = [block.triggered for block in blocks if block.triggered is not None]
    return Judged(
        np.concatenate([block.predicted for block in blocks]),
        np.concatenate([block.survives for block in blocks]),
        np.concatenate(triggered) if triggered else None,
    )
