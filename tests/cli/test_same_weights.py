"""One network and one forest by every way that a model can come: the same figures, cell by cell."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers import TASK, blobs, write_npz
from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier
from sklearn.neural_network import MLPClassifier as SklearnMLP

from fastadv import MLPClassifier, wrap
from fastadv.models.loading import load

skops = pytest.importorskip("skops.io")
pytest.importorskip("safetensors")

X, Y = blobs(90)
WAYS = ["own.npz", "own.safetensors", "network.skops", "mine.py:sklearn", "mine.py:own"]
FACTORIES = """
import skops.io
from fastadv import MLPClassifier
sklearn = lambda task: skops.io.load("network.skops", skops.io.get_untrusted_types(file="network.skops"))
own = lambda task: MLPClassifier.load("own.npz")
"""

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    network = SklearnMLP(
        (6,), activation="tanh", max_iter=60, random_state=0, learning_rate_init=0.02
    )
    network.fit(X, Y)
    own = MLPClassifier.from_weights(network.coefs_, network.intercepts_, activation="tanh")
    for name in WAYS[:2]:
        own.save(tmp_path / name)
    skops.dump(network, tmp_path / "network.skops")
    (tmp_path / "mine.py").write_text(FACTORIES)
    write_npz(tmp_path / "data.npz")
    return tmp_path


def cells(document: str) -> list[object]:
    """All that is measured of the cells of a grid."""
    told = ("attack", "defense", "status", "clean_accuracy", "attacked_accuracy", "success_rate",
            "oblivious_accuracy", "distances", "queries", "flags")  # fmt: skip
    return [[row.get(name) for name in told] for row in json.loads(document)["rows"]]


@pytest.mark.usefixtures("folder")
def test_the_logits_are_the_same(monkeypatch: Any, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    logits = [wrap(load(way, TASK)).logits(X) for way in WAYS]
    assert np.ptp(logits[0]) > 1
    for other in logits[1:]:
        np.testing.assert_allclose(other, logits[0], atol=1e-5, rtol=0)


@pytest.mark.compiled
@pytest.mark.usefixtures("folder")
def test_the_table_is_the_same_cell_by_cell(program: Any) -> None:
    attacks = "pgd[steps=4],fgsm,square[queries=20],deepfool,spatial"
    found = []
    for way in WAYS:
        done = program("grid", "--attacks", attacks, "--defenses", "none,median", "--samples", "20",
                       "--dataset", "data.npz", "--model", way, "--output", f"out {way}", "--json")  # fmt: skip
        assert done.code == 0, done.err
        found.append(cells(done.out))
    assert {row[2] for row in found[0]} == {"ok"}
    assert any(row[3] != row[4] for row in found[0])  # something is attacked
    for other in found[1:]:
        assert other == found[0]


@pytest.mark.compiled
def test_of_forests_nothing_is_skipped(program: Any, tmp_path: Path) -> None:
    write_npz(tmp_path / "data.npz", n=300)
    x, y = blobs(300)
    boosting = HistGradientBoostingClassifier(max_iter=4, min_samples_leaf=5, random_state=1)
    for name, model in (
        ("forest", RandomForestClassifier(8, random_state=1)),
        ("boosting", boosting),
    ):
        skops.dump(model.fit(x, y), tmp_path / f"{name}.skops")
    done = program(
        "grid", "--attacks", "square[queries=20],spatial,label_flip,backdoor[patch=2]",
        "--defenses", "none,knn_relabel,dpa[partitions=5],median", "--dataset", "data.npz",
        "--samples", "10", "--repeats", "2", "--model", "forest.skops", "--model", "boosting.skops",
        "--json",
    )  # fmt: skip
    assert done.code == 0, done.err
    for document in json.loads(done.out):
        assert len(document["rows"]) == 20
        assert [row["reason"] for row in document["rows"] if row["status"] != "ok"] == []
        refit = {(row["attack"].partition("[")[0], row["defense"].partition("[")[0])
                 for row in document["rows"] if "refit" in [note["name"] for note in row["notes"]]}  # fmt: skip
        assert {
            (a, d) for a in ("none", "square", "spatial") for d in ("none", "median")
        } & refit == set()
        assert {(a, d) for a in ("label_flip", "backdoor") for d in ("none", "median")} <= refit
