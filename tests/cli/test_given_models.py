"""``--model`` for models that are trained: files and factories, and what a new user gets wrong."""

from __future__ import annotations

import json
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers import QUICK_GRID, small_mlp, write_npz
from sklearn.linear_model import LogisticRegression

from fastadv.task import Task

safetensors = pytest.importorskip("safetensors.numpy")
skops = pytest.importorskip("skops.io")

X, Y = np.random.default_rng(0).random((60, 20)), np.arange(60) % 3

FACTORY = """
import fastadv
import numpy as np
from sklearn.linear_model import LogisticRegression
from beside import SLOPE

X, Y = np.random.default_rng(0).random((60, 20)), np.arange(60) % 3

def linear(task):
    assert task.n_features == 20
    return LogisticRegression().fit(X + SLOPE * np.eye(3, 20)[Y], Y)

def untrained(task):
    return LogisticRegression()

def raises(task):
    return {}["weights"]

def nothing(task):
    pass

def without_classes(task):
    import torch
    return torch.nn.Linear(20, 10)

def wide(task):
    return LogisticRegression().fit(np.hstack([X, X]), Y)

def two(task):
    return LogisticRegression().fit(X, Y == 1)

def takes_nothing():
    return 1

def exits(task):
    raise SystemExit(2)

def ten(task):
    return fastadv.wrap(logits=lambda x: np.repeat(x[:, :5], 2, axis=1), name="ten")

class Odd:
    def predict(self, x):
        return np.zeros(len(x))

def odd(task):
    return Odd()

def array(task):
    return np.zeros((20, 3))

def prints(task):
    print("training ...")
    return LogisticRegression().fit(X, Y)

CONSTANT = 3
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "beside.py").write_text("SLOPE = 0.5\n")
    (tmp_path / "mine.py").write_text(FACTORY)
    (tmp_path / "broken.py").write_text("import nothing_of_that_name\n")
    (tmp_path / "script.py").write_text("import argparse, sys\nsys.exit('usage: ...')\n")
    (tmp_path / "model.zip").write_bytes(b"PK")
    (tmp_path / "text.skops").write_text("no archive")
    (tmp_path / "folder.skops").mkdir()
    safetensors.save_file({"fc.weight": np.zeros((3, 20))}, tmp_path / "other.safetensors")
    (tmp_path / "text.npz").write_text("no archive")
    np.savez(tmp_path / "arrays.npz", a=np.arange(3))
    np.savez(tmp_path / "other.npz", model=np.array("Oracle"))
    with (tmp_path / "model.pkl").open("wb") as stream:
        pickle.dump(LogisticRegression().fit(X, Y), stream)
    for name in ("own.npz", "own.safetensors", "OWN.NPZ"):
        small_mlp().fit(X.astype(np.float32), Y).save(tmp_path / name)
    skops.dump(LogisticRegression().fit(X, Y), tmp_path / "own.skops")
    write_npz(tmp_path / "data.npz")
    return tmp_path


@pytest.mark.parametrize(
    "model", ["own.npz", "own.safetensors", "OWN.NPZ", "own.skops", "mine.py:linear"]
)
@pytest.mark.usefixtures("folder")
def test_a_given_model_is_attacked(program: Any, model: str) -> None:
    done = program(*QUICK_GRID, "--model", model)
    assert done.code == 0, done.err
    assert model in done.out
    done = program("attack", "fgsm", "--dataset", "data.npz", "--model", model)
    assert done.code == 0, done.err
    assert "training" not in done.err
    done = program(*QUICK_GRID, "--model", model, "--plan")
    assert done.code == 0
    assert "training" not in done.out.replace("0 trainings", "")


def test_a_factory_of_a_module(program: Any, folder: Path, monkeypatch: Any) -> None:
    monkeypatch.syspath_prepend(str(folder))
    assert program(*QUICK_GRID, "--model", "mine:linear").code == 0
    done = program("attack", "label_flip", "--dataset", "data.npz", "--model", "mine:linear")
    assert done.code == 0, done.err


@pytest.mark.parametrize(
    ("model", "line"),
    [
        ("nowhere.npz", "there is no file nowhere.npz"),
        ("nowhere.py:make", "there is no file nowhere.py"),
        ("mine.py", "mine.py has no factory: give mine.py:NAME"),
        ("mine.py:", "is no model; give FILE.npz"),
        ("mine.py:make", "mine.py has no function make (it has linear, untrained, raises"),
        ("mine.py:CONSTANT", "mine.py has no function CONSTANT"),
        ("mine.py:raises", "mine.py:raises fails: KeyError: 'weights'"),
        ("mine.py:takes_nothing", "mine.py:takes_nothing fails: TypeError: takes_nothing() takes 0"),
        ("mine.py:nothing", "mine.py:nothing returns nothing; it has to return a model"),
        ("mine.py:untrained", "LogisticRegression is not trained"),
        ("mine.py:wide", "LogisticRegression takes 40 numbers an image"),
        ("mine.py:two", "tells 2 classes apart (0, 1), data.npz has 3 (0 to 2)"),
        ("broken.py:make", "broken.py cannot be imported: ModuleNotFoundError: No module named"),
        ("no.such.module:make", "no.such.module cannot be imported: ModuleNotFoundError"),
        ("mine.py:exits", "mine.py:exits fails: SystemExit: 2"),
        ("script.py:make", "script.py cannot be imported: SystemExit: usage: ..."),
        ("mine.py:ten", "ten tells 10 classes apart (0 to 9), data.npz has 3 (0 to 2)"),
        ("mine.py:odd", "Odd is not trained (it has no classes_)"),
        ("mine.py:array", "ndarray is no model that fastadv knows"),
        ("text.skops", "text.skops is no skops file, or damaged"),
        ("folder.skops", "there is no file folder.skops"),
        ("other.safetensors", "other.safetensors holds tensors (fc.weight), and not which model"),
        ("model.zip", "'model.zip' is no model; give FILE.npz or FILE.safetensors"),
        ("text.npz", "text.npz is no model that fastadv has saved"),
        ("arrays.npz", "arrays.npz is no model that fastadv has saved"),
        ("other.npz", "other.npz holds a Oracle, which is no model of fastadv"),
        ("model.pkl", "model.pkl may be a pickle, which runs code when it is opened, and is not"),
        ("model.pt", "model.pt may be a pickle"),
        ("mpl", "no model 'mpl'; did you mean mlp?"),
    ],
)  # fmt: skip
@pytest.mark.usefixtures("folder")
def test_what_is_wrong_is_a_line(program: Any, model: str, line: str) -> None:
    for command in (QUICK_GRID, ["attack", "fgsm", "--dataset", "data.npz"]):
        done = program(*command, "--model", model)
        assert done.code == 2
        assert line in done.err
        *progress, last = done.err.splitlines()
        assert last.startswith("fastadv: ")
        assert not any("fastadv" in text for text in progress)


@pytest.mark.usefixtures("folder")
def test_what_a_factory_prints_is_not_among_the_results(program: Any) -> None:
    done = program(*QUICK_GRID, "--model", "mine.py:prints", "--json")
    assert done.code == 0, done.err
    assert json.loads(done.out)["grid"]["model"] == "mine.py:prints"
    assert "training ..." in done.err


@pytest.mark.parametrize("model", ["own.npz", "own.skops", "own.safetensors", "mine.py:ten"])
def test_a_data_set_of_two_classes_or_of_another_size(
    program: Any, folder: Path, model: str
) -> None:
    write_npz(folder / "two.npz", task=Task((5, 4), 2))
    write_npz(folder / "large.npz", task=Task((6, 6), 3))
    for data, line in (("two.npz", "classes apart"), ("large.npz", "6, 6, 1")):
        done = program("grid", "--attacks", "square", "--defenses", "none", "--dataset", data,
                       "--model", model)  # fmt: skip
        assert done.code == 2
        assert line in done.err or "tells 10 classes apart" in done.err
        assert done.err.splitlines()[-1].startswith("fastadv: ")


@pytest.mark.usefixtures("folder")
def test_ten_outputs_for_three_classes(program: Any) -> None:
    pytest.importorskip("torch")
    done = program(*QUICK_GRID, "--model", "mine.py:without_classes")
    assert done.code == 2
    assert "tells 10 classes apart (0 to 9), data.npz has 3 (0 to 2)" in done.err


def test_a_model_in_a_config_file(program: Any, folder: Path) -> None:
    (folder / "grid.toml").write_text(
        'model = "mine.py:linear"\nattacks = "fgsm"\ndefenses = "none"\n'
    )
    assert program("grid", "--config", "grid.toml", "--dataset", "data.npz").code == 0
