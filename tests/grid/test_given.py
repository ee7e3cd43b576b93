"""Grids of models that came trained: attacked as they are, refitted where a row trains."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from given_models import figures, grid_of, trained
from helpers import TASK, blobs, write_npz
from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.neural_network import MLPClassifier as SklearnMLP
from sklearn.svm import SVC

from fastadv import Dataset, InputError, MLPClassifier, wrap
from fastadv.grid import ranking, retraining
from fastadv.grid.given import columns
from fastadv.grid.result import read_result
from fastadv.grid.row import Row
from fastadv.report.summary import summaries

X, Y = blobs(90)
X_TEST, Y_TEST = blobs(45, seed=1)

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


def as_torch(model: SklearnMLP) -> Any:
    torch = pytest.importorskip("torch")
    layers = []
    for W, b in zip(model.coefs_, model.intercepts_, strict=True):
        linear = torch.nn.Linear(*W.shape)
        linear.weight.data, linear.bias.data = torch.tensor(W.T.copy()), torch.tensor(b)
        layers += [linear, torch.nn.Tanh()]
    return torch.nn.Sequential(*layers[:-1])


@pytest.mark.compiled
@pytest.mark.parametrize("library", ["sklearn", "torch"])
def test_the_same_weights_make_the_same_table(library: str, data: Dataset, tmp_path: Path) -> None:
    estimator = trained()
    own = MLPClassifier.from_weights(estimator.coefs_, estimator.intercepts_, activation="tanh")
    other = as_torch(estimator) if library == "torch" else estimator
    expected = figures(grid_of(own, data, output=tmp_path / "own"))
    assert {row[2] for row in expected} == {"ok"}
    assert any(row[3] != row[4] for row in expected)  # something is attacked
    assert figures(grid_of(other, data, output=tmp_path / library)) == expected


@pytest.mark.compiled
def test_through_autograd_the_figures_are_the_same(data: Dataset, tmp_path: Path) -> None:
    module = as_torch(trained())
    taken = grid_of(module, data, output=tmp_path / "taken")
    through = grid_of(wrap(module, take_over=False), data, output=tmp_path / "through")
    assert "torch" not in read_result(tmp_path / "taken").environment
    assert "torch" in read_result(tmp_path / "through").environment
    assert [r.status for r in through] == ["ok"] * len(taken), [
        r.reason for r in through if r.reason
    ]
    for a, b in zip(taken, through, strict=True):
        assert abs(float(a.attacked_accuracy) - float(b.attacked_accuracy)) <= 0.05


def test_nothing_is_trained_and_the_weights_are_told(data: Dataset, monkeypatch: Any) -> None:
    estimator = trained()
    monkeypatch.setattr(SklearnMLP, "fit", None)
    rows = grid_of(estimator, data, attacks=["fgsm"], repeats=None)
    assert [row.status for row in rows] == ["ok"] * 4
    given = wrap(estimator).given
    for row in rows:
        assert row.model == "MLPClassifier"
        assert len(row.runs) == 1  # several runs differ by their trainings
        assert row.parameters["model"]["given"] == "taken over"
        assert row.notes == []
    right = estimator.predict(X_TEST) == Y_TEST
    assert float(rows[0].clean_accuracy) == right.mean()
    assert rows[0].weights is not None
    assert given.how == "taken over"


@pytest.mark.parametrize(
    "model",
    [
        RandomForestClassifier(8, random_state=1),
        HistGradientBoostingClassifier(max_iter=4, min_samples_leaf=5, random_state=1),
    ],
    ids=["forest", "boosting"],
)
@pytest.mark.compiled
def test_a_black_box_takes_part_in_all_that_it_can(
    model: Any, data: Dataset, tmp_path: Path
) -> None:
    model.fit(X, Y)
    asked = {
        "attacks": ["square[queries=20]", "spatial", "label_flip[points=9]",
                    "backdoor[points=4,patch=2]", "train_noise[points=4]", "pgd"],
        "defenses": ["none", "knn_relabel[neighbors=5]", "dpa[partitions=5]", "median"],
        "repeats": 2, "samples": 10, "output": tmp_path / "out",
    }  # fmt: skip
    rows = grid_of(model, data, **asked)
    skipped = {(r.attack, r.defense, r.reason) for r in rows if r.status != "ok"}
    assert {attack for attack, _, _ in skipped} == {"pgd"}
    assert all("gradient" in str(reason) for _, _, reason in skipped)
    found = {(r.attack, r.defense): r for r in rows}
    assert [note.name for note in found["square[queries=20]", "none"].notes] == ["black_box"]
    assert [note.name for note in found["label_flip[points=9]", "none"].notes] == ["refit"]
    (voters,) = found["square[queries=20]", "dpa[partitions=5]"].notes
    assert voters.message.startswith("measured on what dpa trains, trained here, and not on ")
    # the one that was given is the same in both runs, and is told from itself by its images
    given, filtered = found["square[queries=20]", "none"], found["square[queries=20]", "median"]
    clone = found["square[queries=20]", "knn_relabel[neighbors=5]"]
    assert len(given.runs) == len(clone.runs) == 2
    assert ranking.untestable(given, filtered) is None
    assert ranking.by_images(given, filtered)
    assert ranking.untestable(given, clone) == ranking.ONE_TRAINING
    assert not ranking.by_images(given, clone)
    # poison is measured against clones that were trained here, each run's own
    flips = found["label_flip[points=9]", "none"]
    assert len({run.weights for run in flips.runs}) == 2
    as_it_is = found["none", "none"]
    assert float(as_it_is.clean_accuracy) == (model.predict(X_TEST) == Y_TEST).mean()
    clones = [type(model)(**{**model.get_params(), "random_state": s}).fit(data.x_train, data.y_train)
              for s in (0, 1)]  # fmt: skip
    expected = np.mean([(clone.predict(data.x_test) == data.y_test).mean() for clone in clones])
    assert float(flips.clean_accuracy) == pytest.approx(expected)
    # what was trained is nowhere but in memory; without it, it is trained again, to the same
    retraining._models.clear()
    for file in (tmp_path / "out/cells").iterdir():
        file.unlink()
    assert figures(grid_of(model, data, **asked)) == figures(rows)


@pytest.mark.compiled
def test_the_table_tells_clones_from_the_model_that_was_given(data: Dataset) -> None:
    model = RandomForestClassifier(8, random_state=1).fit(X, Y)
    (sheet,) = summaries(
        grid_of(
            wrap(model, name="forest"), data, attacks=["square[queries=20]", "label_flip[points=9]"],
            defenses=["none", "knn_relabel[neighbors=5]", "median"],
        )
    )  # fmt: skip
    marks = {line.name: [entry.mark for entry in line.entries] for line in sheet.lines}
    assert marks == {
        "clean": ["", "†", ""], "square": ["", "†", ""], "label_flip": ["†", "†", "†"],
    }  # fmt: skip
    (note,) = [note for note in sheet.notes if note.mark == "†"]
    assert note.text.startswith(
        "refit: measured on clones of forest, trained here, and not on forest as it is (none / "
        "knn_relabel[neighbors=5]"
    )


def test_the_table_tells_that_probabilities_hide_the_gradient(data: Dataset) -> None:
    W = np.random.default_rng(0).normal(size=(20, 3))

    def softmax(x: np.ndarray) -> np.ndarray:
        e = np.exp(x @ W)
        return np.asarray(e / e.sum(axis=1, keepdims=True))

    model = wrap(logits=softmax, name="soft", probabilities=True)
    (sheet,) = summaries(
        grid_of(model, data, attacks=["square[queries=5]"], defenses=["none", "median"])
    )
    assert {entry.mark for line in sheet.lines for entry in line.entries} <= {"†", "!"}
    assert "probabilities: soft returns probabilities: its gradient is lost where they are 0 or 1; give its logits" in " ".join(note.text for note in sheet.notes)  # fmt: skip


def test_a_clone_that_comes_out_otherwise_is_told(data: Dataset, tmp_path: Path) -> None:
    class Moody(RandomForestClassifier):  # type: ignore[misc]
        """Trained otherwise each time."""

        def fit(self, x: np.ndarray, y: np.ndarray) -> Any:
            self.random_state = None
            return super().fit(x, y)

    model = Moody(3).fit(X, Y)
    asked = {"attacks": ["label_flip[points=3]"], "defenses": ["none"], "output": tmp_path / "out"}
    assert grid_of(model, data, **asked)[1].status == "ok"
    for file in (tmp_path / "out/cells").iterdir():
        file.unlink()
    retraining._models.clear()
    row = grid_of(model, data, **asked)[1]
    assert row.status == "failed"
    assert "fix its random_state" in str(row.reason)


def test_what_is_taken_over_is_refitted_by_its_own_library(data: Dataset) -> None:
    model = SVC().fit(X, Y)
    rows = grid_of(
        model, data, attacks=["fgsm", "label_flip[points=9]"],
        defenses=["none", "knn_relabel[neighbors=5]", "adv_training[epochs=1]", "smoothing[draws=4]"],
        jobs=1,
    )  # fmt: skip
    found: dict[tuple[str, str], Row] = {(r.attack, r.defense): r for r in rows}
    assert found["fgsm", "none"].status == "ok"
    assert found["fgsm", "knn_relabel[neighbors=5]"].status == "ok"
    assert found["label_flip[points=9]", "none"].status == "ok"
    assert found["fgsm", "smoothing[draws=4]"].status == "ok"
    assert "learns in batches" in str(found["fgsm", "adv_training[epochs=1]"].reason)
    clone = SVC().fit(data.x_train, data.y_train)
    expected = (clone.predict(data.x_test) == data.y_test).mean()
    assert float(found["label_flip[points=9]", "none"].clean_accuracy) == expected


def test_what_cannot_be_trained_is_attacked_only(data: Dataset) -> None:
    W = np.random.default_rng(0).normal(size=(20, 3))
    rows = grid_of(
        wrap(logits=lambda x: x @ W, input_gradient=lambda _, d: d @ W.T, name="mine"), data,
        attacks=["fgsm", "label_flip[points=9]"], defenses=["none", "median", "knn_relabel"],
    )  # fmt: skip
    found = {(r.attack, r.defense): r for r in rows}
    assert found["fgsm", "none"].status == found["fgsm", "median"].status == "ok"
    for cell in (("label_flip[points=9]", "none"), ("fgsm", "knn_relabel")):
        assert found[cell].status == "skipped"
        assert "needs a training, and mine is given as it is: a function" in str(found[cell].reason)


def test_rows_are_found_again_by_the_weights_and_not_by_the_name(
    data: Dataset, tmp_path: Path
) -> None:
    calls = []

    def logits(x: np.ndarray) -> np.ndarray:
        calls.append(len(x))
        return np.asarray(x[:, :3])

    def again(model: Any) -> list[str]:
        rows = grid_of(
            model, data, attacks=["square[queries=2]"], defenses=["none"], output=tmp_path
        )
        return [row.id for row in rows]

    assert again(trained()) == again(wrap(trained(), name="another"))
    assert again(trained()) != again(wrap(trained(), mean=0.1))
    named = again(wrap(logits=logits, name="mine"))
    calls.clear()
    assert again(wrap(logits=logits, name="mine")) == named
    assert sum(calls) < 200  # looked at, and not attacked again
    assert again(wrap(logits=logits)) != again(wrap(logits=logits))


class Notes:
    """A progress that keeps what it is told in words."""

    def __init__(self) -> None:
        self.texts: list[str] = []

    def note(self, text: str) -> None:
        self.texts.append(text)

    def __getattr__(self, name: str) -> Any:
        return lambda *_: None


def test_a_function_without_a_name_is_told(data: Dataset, tmp_path: Path) -> None:
    for name, said in (("mine", 0), (None, 1)):
        notes = Notes()
        model = wrap(logits=lambda x: x[:, :3], name=name)
        grid_of(model, data, attacks=["none"], defenses=["none"], output=tmp_path, progress=notes)
        assert (
            sum("nothing of this grid will be found again" in text for text in notes.texts) == said
        )


def test_labels_are_matched_by_their_names() -> None:
    names = np.array(["dog", "cat", "ant"])
    data = Dataset("animals", X, names[Y], X, names[Y], X_TEST, names[Y_TEST], TASK)
    assert data.class_names == ("ant", "cat", "dog")
    by_name = LogisticRegression().fit(X, names[Y])
    turned = wrap(
        logits=lambda x: by_name.decision_function(x)[:, [2, 0, 1]], classes=["dog", "ant", "cat"],
        name="turned",
    )  # fmt: skip
    by_number = LogisticRegression().fit(X, 2 - Y)  # as the data number them
    expected = (by_name.predict(data.x_test) == names[Y_TEST]).mean()
    assert expected > 0.8
    for model in (by_name, turned, by_number):
        rows = grid_of(model, data, attacks=["square[queries=2]"], defenses=["none"])
        assert float(rows[0].clean_accuracy) == pytest.approx(expected, abs=0.05)


def test_labels_with_gaps_are_numbered_as_in_the_data() -> None:
    y = np.array([3, 7, 8])[Y]
    data = Dataset("gaps", X, y, X, y, X_TEST, np.array([3, 7, 8])[Y_TEST], TASK)
    assert columns(np.array([8, 3, 7]), "m", data).tolist() == [2, 0, 1]
    assert columns(np.array([0, 1, 2]), "m", data).tolist() == [0, 1, 2]
    with pytest.raises(
        InputError, match=r"m tells 10 classes apart \(0 to 9\), gaps has 3 \(3, 7, 8\)"
    ):
        columns(np.arange(10), "m", data)


def test_what_does_not_fit_the_data_is_a_line(data: Dataset) -> None:
    wide = LogisticRegression().fit(np.hstack([X, X]), Y)
    with pytest.raises(InputError, match="takes 40 numbers an image"):
        grid_of(wide, data)
    with pytest.raises(InputError, match=r"takes 40 numbers an image; those of .* have 20"):
        grid_of(wrap(wide), data)
    with pytest.raises(InputError, match="tells 2 classes apart"):
        grid_of(LogisticRegression().fit(X, Y > 0), data)
    with pytest.raises(InputError, match="LogisticRegression is not trained"):
        grid_of(LogisticRegression(), data)
    with pytest.raises(InputError, match="declared to take images of"):
        grid_of(wrap(trained(), image_shape=(4, 5)), data)
    with pytest.raises(InputError, match="cannot be sent to other processes"):
        grid_of(wrap(logits=lambda x: x[:, :3], name="f"), data, jobs=2)
    with pytest.raises(InputError, match="int is no model"):
        grid_of(3, data)


@pytest.mark.compiled
def test_processes_get_what_is_taken_over(data: Dataset) -> None:
    here = grid_of(trained(), data, attacks=["fgsm", "label_flip[points=4]"], jobs=1)
    there = grid_of(trained(), data, attacks=["fgsm", "label_flip[points=4]"], jobs=2)
    assert figures(here) == figures(there)


def test_a_grid_of_our_own_models_imports_no_library(tmp_path: Path) -> None:
    code = (
        "import sys; from fastadv.grid.run import run_grid\n"
        f"run_grid(dataset={write_npz(tmp_path / 'a.npz')!r}, attacks=['none'], defenses=['none'],"
        " model='mlp[hidden_layer_sizes=3,max_iter=1,tol=none]', repeats=1)\n"
        "print(*sorted({name.partition('.')[0] for name in sys.modules} & {'torch', 'onnx', 'skops'}))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""


def test_of_two_models_of_one_name_the_folder_shows_the_last_grid(
    data: Dataset, tmp_path: Path
) -> None:
    asked = {"attacks": ["fgsm"], "defenses": ["none"], "output": tmp_path}
    first = grid_of(LogisticRegression().fit(X, Y), data, **asked)
    other = grid_of(LogisticRegression().fit(X, 2 - Y), data, **asked)
    assert first[0].clean_accuracy != other[0].clean_accuracy
    again = grid_of(LogisticRegression().fit(X, Y), data, **asked)  # kept: no file is written anew
    assert [row.id for row in again] == [row.id for row in first]
    shown = read_result(tmp_path)
    assert [row.id for row in shown] == [row.id for row in first]
    assert shown.others == 2
