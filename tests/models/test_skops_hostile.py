"""skops files whose numbers lead scikit-learn's compiled code beyond its arrays: refused in a line.

Without the check most of these end the process that reads them or asks the model.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers import blobs
from sklearn import ensemble, neighbors, neural_network, svm, tree
from sklearn.decomposition import PCA
from sklearn.pipeline import make_pipeline
from skops_edits import dumped, refused

from fastadv.models.adapters.skops_file import read

X, Y = blobs(60)


def constant(value: Any) -> dict[str, Any]:
    return {
        "__class__": "str", "__module__": "builtins", "__loader__": "JsonNode",
        "content": json.dumps(value), "is_json": True,
    }  # fmt: skip


def scalar_for_nodes(whole: Any, made: Any) -> None:
    """An array of no sides in the place of the nodes."""
    made["content"]["content"]["nodes"]["file"] = whole["n_classes_"]["file"]


def scalar_by_its_number(whole: Any, made: Any) -> None:
    """The nodes stay, and have the number of an array that was seen before."""
    made["content"]["content"]["nodes"]["__id__"] = whole["n_classes_"]["__id__"]


def another_loader(_: Any, made: Any) -> None:
    made |= {"__loader__": "ConstructorFromReduceNode", "content": made["__reduce__"]["args"]}


def state(name: str, value: Any) -> Callable[[Any, Any], None]:
    return lambda _, made: made["content"]["content"].update({name: constant(value)})


def argument(place: int, value: Any) -> Callable[[Any, Any], None]:
    def edit(_: Any, made: Any) -> None:
        made["__reduce__"]["args"]["content"][place] = constant(value)

    return edit


def whole_state(_: Any, made: Any) -> None:
    made["content"] = constant([])


def one_array_for_another(_: Any, made: Any) -> None:
    parts = made["content"]["content"]
    parts["values"]["file"] = parts["nodes"]["file"]


TREES = {
    "scalar": scalar_for_nodes,
    "number": scalar_by_its_number,
    "loader": another_loader,
    "no nodes": state("nodes", None),
    "no values": state("values", None),
    "more nodes": state("node_count", 10**9),
    "no number": state("node_count", 1.5),
    "depth": state("max_depth", -(10**9)),
    "outputs": argument(2, 10**9),
    "less than none": argument(2, -1),
    "no classes": argument(1, None),
    "columns": argument(0, -5),
    "no state": whole_state,
    "swapped": one_array_for_another,
}


@pytest.mark.parametrize("name", TREES)
def test_a_tree_is_looked_at_before_it_is_made(name: str, tmp_path: Path) -> None:
    def edit(schema: Any) -> None:
        whole = schema["content"]["content"]
        TREES[name](whole, whole["tree_"])

    said = refused(dumped(tree.DecisionTreeClassifier().fit(X, Y), tmp_path / "m.skops", edit))
    assert said in (
        ": a tree is not written as skops writes it",
        ": a tree says other sizes than its arrays have",
    )


def test_what_skops_does_not_write_of_classifiers_is_refused(tmp_path: Path) -> None:
    def edit(schema: Any) -> None:
        rows = schema["content"]["content"]["_fit_X"]
        rows |= {"__loader__": "SparseMatrixNode", "type": "scipy", "__class__": "spmatrix",
                 "__module__": "scipy.sparse._matrix"}  # fmt: skip

    near = neighbors.KNeighborsClassifier().fit(X, Y)
    said = refused(dumped(near, tmp_path / "m.skops", edit))
    assert said == ": a SparseMatrixNode is no part of a classifier that skops has written"


def vectors(**changed: Any) -> Any:
    machine = svm.NuSVC(nu=0.3).fit(X, Y)
    vars(machine).update({name: value(machine) for name, value in changed.items()})
    return machine


def neighbours(**changed: Any) -> Any:
    near = neighbors.KNeighborsClassifier(algorithm="brute").fit(X.astype(np.float32), Y)
    vars(near).update({name: value(near) for name, value in changed.items()})
    return near


def seeded(kind: type, place: int) -> Any:
    """A network whose generator of random numbers stands beyond its buffer; fitting it again draws."""
    net = neural_network.MLPClassifier((3,), max_iter=2, random_state=0).fit(X, Y)
    bits = kind(0)
    moved = bits.state
    if "buffer_pos" in moved:
        moved["buffer_pos"] = place
    else:
        moved["state"]["pos"] = place
    bits.state = moved
    net.random_state = np.random.RandomState(bits) if kind is np.random.MT19937 else np.random.Generator(bits)  # fmt: skip
    return net


def wide_tree() -> Any:
    """A tree of many columns behind three components, which does not say how many it takes."""
    pipeline = make_pipeline(PCA(3), tree.DecisionTreeClassifier()).fit(X, Y)
    wide = tree.DecisionTreeClassifier().fit(np.hstack([np.zeros((60, 1000)), X]), Y)
    pipeline[-1].tree_ = wide.tree_
    del pipeline[-1].n_features_in_
    return pipeline


SUPPORT = "its support vectors, their coefficients and its classes do not fit"
WIDTH = "it takes a number of features that is none"
MODELS: dict[str, tuple[Callable[[], Any], str]] = {
    "counts": (lambda: vectors(_n_support=lambda m: np.array([-(10**6), 10**6, len(m.support_)], np.int32)), "it says other numbers of support vectors than it has"),
    "classes": (lambda: vectors(_n_support=lambda m: np.array([len(m.support_)] + [0] * 30_000, np.int32)), "it says other numbers of support vectors than it has"),
    "coefficients": (lambda: vectors(_dual_coef_=lambda m: m._dual_coef_[:1].copy()), SUPPORT),
    "intercepts": (lambda: vectors(_intercept_=lambda m: m._intercept_[:1].copy()), SUPPORT),
    "vectors": (lambda: vectors(support_vectors_=lambda m: m.support_vectors_[:, :1].copy()), SUPPORT),
    "odds": (lambda: vectors(_probA=lambda _: np.zeros(1), _probB=lambda _: np.zeros(1)), SUPPORT),
    "kernel": (lambda: vectors(kernel=lambda _: "precomputed", support_=lambda m: m.support_ + 10**8), SUPPORT),
    "labels": (lambda: neighbours(_y=lambda m: m._y + 10**8), "its neighbours have labels of no class"),
    "few labels": (lambda: neighbours(_y=lambda m: m._y[:5]), "its neighbours have labels of no class"),
    "rows": (lambda: neighbours(_fit_X=lambda m: m._fit_X[:2]), "its neighbours are other rows than it says"),
    "columns": (lambda: neighbours(_fit_X=lambda m: m._fit_X[:, :2]), "its neighbours are other rows than it says"),
    "twister": (lambda: seeded(np.random.MT19937, 10**9), "its generator of random numbers stands beyond its buffer"),
    "philox": (lambda: seeded(np.random.Philox, -(10**6)), "its generator of random numbers stands beyond its buffer"),
    "width of no number": (lambda: vectors(n_features_in_=lambda _: np.float32), WIDTH),
    "width of none": (lambda: vectors(n_features_in_=lambda _: -1), WIDTH),
    "endless width": (lambda: vectors(n_features_in_=lambda _: 1 << 40), WIDTH),
    "wide tree": (wide_tree, "a tree is made for 1020 numbers, and gets None"),
}  # fmt: skip


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize("name", MODELS)
def test_numbers_that_compiled_code_follows_are_looked_at(name: str, tmp_path: Path) -> None:
    make, line = MODELS[name]
    assert refused(dumped(make(), tmp_path / "m.skops")) == f": {line}"


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize(
    "model",
    [
        svm.NuSVC(nu=0.3),
        svm.SVC(kernel="poly"),
        neighbors.RadiusNeighborsClassifier(5.0),
        neighbors.KNeighborsClassifier(algorithm="brute"),
        neural_network.MLPClassifier((3,), max_iter=2, random_state=np.random.RandomState(0)),
        ensemble.BaggingClassifier(svm.SVC(), n_estimators=2),
        ensemble.BaggingClassifier(tree.DecisionTreeClassifier(), n_estimators=2, max_features=0.5),
    ],
    ids=lambda model: type(model).__name__,
)
@pytest.mark.parametrize("classes", [2, 3])
def test_what_training_makes_is_read(model: Any, classes: int, tmp_path: Path) -> None:
    model.fit(X, Y % classes)
    again = read(dumped(model, tmp_path / "m.skops"))
    np.testing.assert_array_equal(again.predict(X), model.predict(X))
