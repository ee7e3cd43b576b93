"""About how long stages take, before any of them runs."""

from __future__ import annotations

from fastadv.grid.stages import (
    Certify,
    Context,
    Fit,
    Inspect,
    Perturb,
    Poison,
    Scout,
    Survey,
    Work,
)

# The sizes that a stage's weight is about a second of one processor's time at.
_TRAINING_ROWS, _IMAGES = 55_000, 200


def seconds(stage: Work, context: Context) -> float:
    """Return about how long one processor takes, by the stage's weight and the data's sizes."""
    if isinstance(stage, Fit | Poison | Scout | Survey):
        return stage.weight * len(context.dataset.x_train) / _TRAINING_ROWS
    if isinstance(stage, Perturb | Inspect | Certify):
        return stage.weight * len(context.test_rows(stage.dealt)) / _IMAGES
    return stage.weight
