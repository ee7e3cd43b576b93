"""The learning rate of each step, for a training run whose length is known before it starts."""

from __future__ import annotations

from typing import Literal

import numpy as np

from fastadv.arrays import Float64

Schedule = Literal["constant", "linear", "cooldown"]

_COOLDOWN = 0.3  # of the steps


def step_rates(schedule: Schedule, rate: float, n_steps: int) -> Float64:
    """Return the rate of each of ``n_steps`` steps, the first of which is ``rate``.

    ``constant``: the same to the end. ``linear``: falls to 0 over all steps. ``cooldown``:
    constant, then falls linearly to 0 over the last 30 % of the steps (Hägele et al., NeurIPS 2024,
    arXiv 2405.18392, section 3). The last step of either is one fall above 0.
    """
    left = 1.0 - np.arange(n_steps) / n_steps
    if schedule == "constant":
        return np.full(n_steps, rate)
    if schedule == "linear":
        return rate * left
    return rate * np.minimum(left / _COOLDOWN, 1.0)
