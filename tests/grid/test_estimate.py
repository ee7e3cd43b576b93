"""About how long stages take where the model is computed by another package, by a made-up clock."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers import SMALL_MLP, write_npz

from fastadv import wrap
from fastadv.grid import estimate
from fastadv.grid.context import Context
from fastadv.grid.plan import make_plan
from fastadv.grid.run import asked
from fastadv.grid.stages.evaluation import Perturb
from fastadv.grid.stages.training import Fit
from fastadv.grid.store import Store
from fastadv.models.mlp import MLPClassifier

ROWS = 83  # for training, of 90
EACH = 0.001  # seconds of an image, forward and back


class Clock:
    """Time goes by with the images that a model is given, and with nothing else."""

    def __init__(self) -> None:
        self.now, self.asked = 5.0, 0

    def process_time(self) -> float:
        return self.now

    def counting(self, function: Any) -> Any:
        def counted(model: Any, X: Any, *rest: Any) -> Any:
            self.now += EACH * len(X)
            self.asked += len(X)
            return function(model, X, *rest)

        return counted


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(estimate, "time", clock)
    return clock


def told(folder: Path, model: Any) -> dict[type, set[float]]:
    """Return what is said of the trainings and the attacks, which have 20 images."""
    options = {"attacks": "fgsm", "defenses": "none,adv_training", "repeats": 1, "seed": 0}
    if not isinstance(model, str):
        options["defenses"] = "none"
    data = write_npz(folder / "d.npz")
    context: Context = asked(dataset=data, model=model, samples=20, **options)
    assert len(context.dataset.x_train) == ROWS
    plan = make_plan(context, Store(folder / "out", make=False), False, lambda _: None)
    stages = [planned.stage for planned in plan.stages.values()]
    found = zip(stages, estimate.seconds(stages, context), strict=True)
    both = [(type(stage), round(seconds, 6)) for stage, seconds in found]
    return {kind: {s for k, s in both if issubclass(k, kind)} for kind in (Fit, Perturb)}


def test_trainings_of_cnn_take_by_their_epochs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, clock: Clock
) -> None:
    pytest.importorskip("torch")
    from fastadv.models.cnn import ConvNet

    monkeypatch.setattr(ConvNet, "fit", clock.counting(ConvNet.fit))
    found = told(tmp_path, "cnn[channels=2,hidden=4,epochs=7]")
    # adv_training has epochs of its own
    assert found[Fit] == {round(epochs * ROWS * EACH, 6) for epochs in (6, 7)}
    assert found[Perturb] == {round(20 * 20 * EACH, 6)}
    assert clock.asked == 8 + 8 + ROWS  # for all stages together


def test_attacks_on_a_module_take_by_its_passes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, clock: Clock
) -> None:
    torch = pytest.importorskip("torch")
    from fastadv.models.adapters.pytorch import Passes

    torch.manual_seed(0)
    monkeypatch.setattr(Passes, "vjp", clock.counting(Passes.vjp))
    model = wrap(torch.nn.Linear(20, 3), take_over=False, image_shape=(5, 4))
    assert told(tmp_path, model)[Perturb] == {round(20 * 20 * EACH, 6)}


def test_a_module_that_fails_is_taken_as_our_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("torch")
    from fastadv.models.cnn import ConvNet

    ours = told(tmp_path, SMALL_MLP)
    monkeypatch.setattr(ConvNet, "fit", lambda *_: np.zeros(1)[2])
    assert told(tmp_path, "cnn[channels=2,hidden=4]") == ours


def test_our_own_models_are_not_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(MLPClassifier, "fit", None)
    assert told(tmp_path, SMALL_MLP)[Fit] == {round(1.6 * ROWS / 55_000, 6)}
