"""A grid surveys the clean training set once, and what it then finds is the same as without."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers import SMALL_MLP, write_npz

from fastadv import run_grid
from fastadv.datasets import load_dataset
from fastadv.defenses.sanitizers.knn_relabel import KNNRelabel
from fastadv.grid.cell import Grid
from fastadv.grid.context import Context
from fastadv.grid.stages.training import Fit, Poison, Survey

DEFENSE = "knn_relabel[neighbors=5,components=3]"


def test_one_survey_serves_all_seeds_and_poisoned_sets(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    surveyed = []
    survey = KNNRelabel.survey

    def counted(self: Any, X: np.ndarray, **given: Any) -> Any:
        surveyed.append(len(X))
        return survey(self, X, **given)

    monkeypatch.setattr(KNNRelabel, "survey", counted)
    dataset = write_npz(tmp_path / "blobs.npz")
    given: dict[str, Any] = {"defenses": ["none", DEFENSE], "dataset": dataset, "model": SMALL_MLP}
    attacks = ["none", "label_flip[points=6]", "label_flip[points=9,replace=true]"]
    run_grid(attacks=attacks, seeds=2, output=tmp_path / "out", **given)
    assert surveyed == [len(load_dataset(dataset).x_train)]
    # and what comes later finds it on disk
    run_grid(attacks=["label_flip[points=3]"], seeds=1, output=tmp_path / "out", **given)
    assert len(surveyed) == 1


@pytest.mark.parametrize(
    "attack", [None, "label_flip[points=6]", "train_noise[points=20,sigma=0.9,replace=true]"]
)
def test_training_on_what_is_cleaned_from_a_survey_is_training_on_what_is_cleaned(
    attack: str | None, tmp_path: Path
) -> None:
    data = load_dataset(write_npz(tmp_path / "blobs.npz"))
    grid = Grid.parse([attack or "none"], [DEFENSE], "", SMALL_MLP, 20, 1, 0)
    context = Context(grid, data)
    poison = Poison(grid.attacks[-1], 0) if attack else None
    fit = Fit(grid.defenses[0], poison, 0)
    inputs = {} if poison is None else {"poison": poison.compute({}, context)}
    anew = fit.compute(inputs, context)
    (survey,) = [stage for stage in fit.needs(context).values() if isinstance(stage, Survey)]
    followed = fit.compute(inputs | {"survey": survey.compute({}, context)}, context)
    assert anew.facts == followed.facts
    assert anew.facts["sanitized"]["relabelled"] > 0 or attack is None
