"""Several results of evasion attacks as one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from fastadv.results import EvasionResult
from fastadv.threat import Threat

Rows = npt.NDArray[np.intp]
Arrays = dict[str, npt.NDArray[Any]]


def joined(parts: Sequence[EvasionResult]) -> EvasionResult:
    """Return the result of all images from those of some each, at least one."""
    n = max(sum(len(part.x_adv) for part in parts), 1)
    join = np.concatenate
    return EvasionResult(
        x_adv=join([part.x_adv for part in parts]),
        is_adv=join([part.is_adv for part in parts]),
        success=join([part.success for part in parts]),
        misclassified=join([part.misclassified for part in parts]),
        distances={k: join([part.distances[k] for part in parts]) for k in parts[0].distances},
        details={k: join([part.details[k] for part in parts]) for k in parts[0].details},
        queries={
            k: sum(part.queries[k] * len(part.x_adv) for part in parts) / n
            for k in parts[0].queries
        },
    )


def rows_of(result: EvasionResult, rows: Rows) -> EvasionResult:
    """Return the result of some of the images."""

    def some(arrays: Arrays) -> Arrays:
        return {name: values[rows] for name, values in arrays.items()}

    return EvasionResult(
        result.x_adv[rows], result.is_adv[rows], result.success[rows], result.misclassified[rows],
        some(result.distances), some(result.details), result.queries,
    )  # fmt: skip


def improved(
    best: EvasionResult, found: EvasionResult, rows: Rows, threat: Threat
) -> EvasionResult:
    """Return ``best`` with what ``found`` has for its images ``rows``, where that is less far away.

    An adversarial image comes before none. The passes of both are counted; distances and details
    that ``found`` does not have are dropped.
    """
    better = found.is_adv & ~best.is_adv[rows]
    if threat.distance is not None:
        nearer = found.distances[threat.distance] < best.distances[threat.distance][rows]
        better |= found.is_adv & nearer
    taken = rows[better]

    def put(old: npt.NDArray[Any], new: npt.NDArray[Any]) -> npt.NDArray[Any]:
        out = old.copy()
        out[taken] = new[better]
        return out

    def put_all(old: Arrays, new: Arrays) -> Arrays:
        return {name: put(old[name], new[name]) for name in old if name in new}

    share = len(rows) / max(len(best.x_adv), 1)
    return EvasionResult(
        x_adv=put(best.x_adv, found.x_adv),
        is_adv=put(best.is_adv, found.is_adv),
        success=put(best.success, found.success),
        misclassified=best.misclassified,
        distances=put_all(best.distances, found.distances),
        details=put_all(best.details, found.details),
        queries={k: passes + share * found.queries[k] for k, passes in best.queries.items()},
    )
