"""Classifiers from skops files: what is trusted, and what a file that was made to harm comes to."""

from __future__ import annotations

import io
import json
import pickle
import sys
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers import blobs
from sklearn import ensemble, naive_bayes, neighbors, neural_network, svm, tree
from sklearn.calibration import CalibratedClassifierCV
from sklearn.decomposition import PCA
from sklearn.gaussian_process import GaussianProcessClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from skops_edits import dumped, refused

from fastadv import InputError, wrap
from fastadv.models.adapters.skops_file import read

skops = pytest.importorskip("skops.io")

X, Y = blobs(60)
SMALL = {"max_iter": 3, "random_state": 0}
CLASSIFIERS = {
    "forest": ensemble.RandomForestClassifier(4, random_state=0),
    "extra": ensemble.ExtraTreesClassifier(4, random_state=0),
    "bagging": ensemble.BaggingClassifier(n_estimators=3, max_features=0.5, random_state=0),
    "boosting": ensemble.GradientBoostingClassifier(n_estimators=3, random_state=0),
    "histogram": ensemble.HistGradientBoostingClassifier(max_iter=3, min_samples_leaf=5),
    "ada": ensemble.AdaBoostClassifier(n_estimators=3, random_state=0),
    "votes": ensemble.VotingClassifier([("a", LogisticRegression()), ("b", tree.DecisionTreeClassifier())]),
    "stacked": ensemble.StackingClassifier([("a", naive_bayes.GaussianNB()), ("b", LogisticRegression())]),
    "calibrated": CalibratedClassifierCV(svm.LinearSVC(), cv=2),
    "gaussian": GaussianProcessClassifier(max_iter_predict=5, optimizer=None),
    "near": neighbors.KNeighborsClassifier(algorithm="kd_tree"),
    "balls": neighbors.KNeighborsClassifier(algorithm="ball_tree", metric="manhattan"),
    "adam": neural_network.MLPClassifier((4,), **SMALL),
    "descent": neural_network.MLPClassifier((4,), solver="sgd", **SMALL),
    "svc": svm.SVC(),
    "pipeline": make_pipeline(StandardScaler(), PCA(4), LogisticRegression(), memory="pickles"),
}  # fmt: skip

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


def trained(name: str) -> Any:
    return CLASSIFIERS[name].fit(X, Y)


@pytest.mark.parametrize("name", CLASSIFIERS)
def test_it_comes_back_as_it_was(name: str, tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.chdir(tmp_path)
    model = trained(name)
    again = read(dumped(model, tmp_path / "m.skops"))
    assert type(again) is type(model)
    np.testing.assert_array_equal(again.predict(X), model.predict(X))
    a, b = wrap(model), wrap(again)
    np.testing.assert_array_equal(a.logits(X), b.logits(X))
    if name == "pipeline":  # a folder that its fit would read pickles from
        assert again.memory is None
        assert model.memory == "pickles"
    else:  # rows of the one are found again by the other
        assert a.given.identity == b.given.identity


@pytest.mark.parametrize(
    ("module", "name", "loader"),
    [
        ("os", "system", "FunctionNode"),
        ("posix", "system", "TypeNode"),
        ("builtins", "eval", "FunctionNode"),
        ("builtins", "exec", "ConstructorFromReduceNode"),
        ("functools", "partial", "ObjectNode"),
        ("subprocess", "Popen", "LossNode"),
        # of NumPy, SciPy and scikit-learn, and still no part of a model
        ("numpy.testing._private.utils", "runstring", "LossNode"),
        ("numpy.testing._private.utils", "runstring", "FunctionNode"),
        ("numpy", "memmap", "ConstructorFromReduceNode"),
        ("scipy.io", "loadmat", "FunctionNode"),
        ("sklearn.datasets", "fetch_openml", "FunctionNode"),
    ],
)
def test_another_type_is_refused_by_name_and_not_made(
    module: str, name: str, loader: str, tmp_path: Path
) -> None:
    mark = tmp_path / "ran"
    text = {"__class__": "str", "__module__": "builtins", "__loader__": "JsonNode",
            "content": json.dumps(f"open({str(mark)!r}, 'w')")}  # fmt: skip
    given = {"__class__": "tuple", "__module__": "builtins", "__loader__": "TupleNode",
             "content": [text]}  # fmt: skip
    nothing = {**given, "content": []}

    def edit(schema: Any) -> None:
        schema["content"]["content"]["tol"] = {
            "__class__": name, "__module__": module, "__loader__": loader,
            "content": given if loader == "ConstructorFromReduceNode" else nothing,
            "__reduce__": {"args": given},
        }  # fmt: skip

    model = LogisticRegression().fit(X, Y)
    said = refused(dumped(model, tmp_path / "m.skops", edit))
    assert f" holds {module}.{name}: " in said
    assert "give FILE.py:FACTORY" in said
    assert not mark.exists()


def test_what_is_no_skops_file_is_a_line(tmp_path: Path) -> None:
    path = tmp_path / "m.skops"
    whole = dumped(trained("forest"), path).read_bytes()
    for content in (b"", b"no archive", whole[:-30], whole[: len(whole) // 2], pickle.dumps(X)):
        path.write_bytes(content)
        assert "is no skops file, or damaged" in refused(path)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("data.txt", "nothing")
    assert "is no skops file: it has no schema.json" in refused(path)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("schema.json", "[" * 100_000)
    assert "is no skops file, or damaged" in refused(path)
    assert "cannot be read" in refused(tmp_path / "nowhere.skops")


def test_sizes_are_looked_at_before_anything_is_read(tmp_path: Path, monkeypatch: Any) -> None:
    path = dumped(trained("forest"), tmp_path / "m.skops")
    monkeypatch.setattr("fastadv.models.adapters.skops_file.total_memory", lambda: 10_000)
    monkeypatch.setattr("skops.io.get_untrusted_types", None)
    assert "of memory, and this machine has 10 kB" in refused(path)
    # an array that is read once for each time that it is named
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a.npy", bytes(3_000))
        archive.writestr("schema.json", json.dumps([{"file": "a.npy"}] * 4))
    assert "reading it takes 13.5 kB of memory" in refused(path)


def test_an_array_that_says_it_is_huge_is_a_line(tmp_path: Path) -> None:
    path, model = tmp_path / "m.skops", LogisticRegression().fit(X, Y)
    with zipfile.ZipFile(io.BytesIO(skops.dumps(model))) as old, zipfile.ZipFile(path, "w") as new:
        for name in old.namelist():
            content = old.read(name)
            if name.endswith(".npy"):
                header = io.BytesIO()
                form = {"descr": "<f8", "fortran_order": False, "shape": (10**15,)}
                np.lib.format.write_array_header_1_0(header, form)
                content = header.getvalue() + bytes(64)
            new.writestr(name, content)
    assert "is no skops file, or damaged" in refused(path)


@pytest.mark.parametrize(("version", "refuses"), [("0.24.2", True), ("same", False)])
def test_another_scikit_learn_is_named(version: str, refuses: bool, tmp_path: Path) -> None:
    import sklearn

    major, minor, *_ = sklearn.__version__.split(".")
    there = version if refuses else f"{major}.{minor}.99"

    def edit(schema: Any) -> None:
        schema["content"]["content"]["_sklearn_version"]["content"] = json.dumps(there)

    path = dumped(LogisticRegression().fit(X, Y), tmp_path / "m.skops", edit)
    if refuses:
        said = refused(path)
        assert f"was saved by scikit-learn {there}, and here is {sklearn.__version__}" in said
        assert f"pip install scikit-learn=={there}" in said
    else:
        read(path)


def altered(model: Any, part: Any, place: str, value: float) -> Any:
    """A model with another number in a tree's nodes, which only its state can be told."""
    state = part.__getstate__()
    state["nodes"][place][0] = value
    part.__setstate__(state)
    return model


@pytest.mark.parametrize(
    ("place", "value"),
    [("left_child", 10**6), ("left_child", -5), ("right_child", 0), ("feature", 20), ("feature", -3)],
)  # fmt: skip
def test_a_tree_that_points_elsewhere_is_refused(place: str, value: int, tmp_path: Path) -> None:
    for name in ("forest", "boosting"):
        model = trained(name)
        first = np.ravel(model.estimators_)[0].tree_
        said = refused(dumped(altered(model, first, place, value), tmp_path / "m.skops"))
        assert said == ": a tree points beyond its arrays"


@pytest.mark.parametrize(
    ("place", "value"), [("left", 10**6), ("right", 0), ("feature_idx", 20), ("is_categorical", 1)]
)
def test_a_tree_of_histogram_boosting_that_points_elsewhere_is_refused(
    place: str, value: int, tmp_path: Path
) -> None:
    model = trained("histogram")
    model._predictors[0][0].nodes[place][0] = value
    said = refused(dumped(model, tmp_path / "m.skops"))
    assert "points beyond its arrays" in said or "splits by categories" in said


def test_trees_have_to_take_what_they_get(tmp_path: Path) -> None:
    model = trained("forest")
    model.estimators_[2] = tree.DecisionTreeClassifier().fit(np.hstack([X, X]), Y)
    assert "a tree is made for 40 numbers, and gets 20" in refused(
        dumped(model, tmp_path / "m.skops")
    )
    model = trained("boosting")
    model.estimators_ = np.hstack([model.estimators_, model.estimators_])  # it writes beyond
    assert "a tree is made for 6 numbers, and gets 3" in refused(
        dumped(model, tmp_path / "m.skops")
    )


def test_without_skops_it_is_named(tmp_path: Path, monkeypatch: Any) -> None:
    path = dumped(trained("svc"), tmp_path / "m.skops")
    monkeypatch.setitem(sys.modules, "skops.io", None)
    assert refused(path) == " needs skops to be read: pip install skops"


@pytest.mark.parametrize(
    "harm",
    [
        lambda m: vars(m).pop("coef_"),
        lambda m: setattr(m, "coef_", np.zeros((3, 7, 2))),
        lambda m: setattr(m, "intercept_", np.zeros(5)),
        lambda m: setattr(m, "coef_", "text"),
        lambda m: setattr(m, "classes_", 3),
    ],
)
def test_a_model_that_is_not_what_training_makes_is_a_line(harm: Any, tmp_path: Path) -> None:
    model = LogisticRegression().fit(X, Y)
    harm(model)
    with pytest.raises(InputError, match=r"LogisticRegression|layer 0: ") as error:
        wrap(read(dumped(model, tmp_path / "m.skops")))
    assert "\n" not in str(error.value)
