"""What the parts of a classifier from a skops file have to be, beyond their types.

Compiled code of scikit-learn and NumPy follows numbers without looking, those in a tree, of support
vectors, of labels: one that points beyond its arrays makes it read what is not its own, or end the
process.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from fastadv.errors import InputError

_LEAF = -1
_DEEPEST = 100  # objects within objects
_WIDEST = 1 << 24  # features of a row: of 4,000 x 4,000 pixels
# Where a generator of random numbers stands in its buffer, and how long that is.
_BUFFERS = {"MT19937": 624, "Philox": 4}


def check(model: Any) -> None:
    """Look at all parts of a classifier; what fitting it again would read files by is taken away.

    Raises
    ------
    InputError
        If a number points beyond the arrays that it is for.
    """
    for part in _parts(model):
        _check_width(getattr(part, "n_features_in_", None))
        kind = f"{type(part).__module__}.{type(part).__name__}"
        if kind == "sklearn.tree._tree.Tree":
            _check_tree(part)
        elif type(part).__name__ == "TreePredictor":
            _check_predictor(part.nodes)
        elif isinstance(part, np.random.RandomState):
            _check_random(part.get_state(legacy=False))
        elif isinstance(part, np.random.Generator):
            _check_random(part.bit_generator.state)
        if hasattr(part, "_n_support"):
            _check_support(part)
        if hasattr(part, "_fit_X"):
            _check_neighbors(part)
        if hasattr(part, "estimators_"):
            _check_ensemble(part)
        if hasattr(part, "tree_"):
            _same(part.tree_.n_features, getattr(part, "n_features_in_", None))
        if hasattr(part, "_predictors"):
            for nodes in (one.nodes for stage in part._predictors for one in stage):
                _within(nodes["feature_idx"], part.n_features_in_)
        if type(getattr(part, "_tree", None)).__name__ in ("KDTree", "BallTree"):
            _index_again(part)
        if isinstance(getattr(part, "memory", None), str):
            part.memory = None  # a folder of pickles, that its fit would read


def _parts(model: Any) -> Iterator[Any]:
    """Yield all objects that a model is made of, each once."""
    inside, seen = [(model, 0)], set()
    while inside:
        part, depth = inside.pop()
        if id(part) in seen or isinstance(part, str | bytes | int | float | None):
            continue
        if depth > _DEEPEST:
            raise InputError("it is too deep")
        seen.add(id(part))
        yield part
        if isinstance(part, dict):
            held = [*part.keys(), *part.values()]
        elif isinstance(part, list | tuple | set):
            held = list(part)
        elif isinstance(part, np.ndarray):
            held = part.ravel().tolist() if part.dtype.hasobject else []
        else:
            held = list(getattr(part, "__dict__", {}).values())
        inside.extend((one, depth + 1) for one in held)


def _check_width(width: Any) -> None:
    if width is not None and not (isinstance(width, int | np.integer) and 0 < width < _WIDEST):
        raise InputError("it takes a number of features that is none")


def _check_tree(tree: Any) -> None:
    """Look at the nodes of a decision tree: children stand behind their parents."""
    if not 0 < tree.node_count <= tree.capacity:
        raise InputError("a tree has more nodes than its array")
    if min(tree.value.shape) < 1:
        raise InputError("a tree has leaves without values")
    left, right = tree.children_left, tree.children_right
    inner = np.flatnonzero(left != _LEAF)
    for child in (left[inner], right[inner]):
        _within(child, tree.node_count, inner + 1)
    _within(tree.feature[inner], tree.n_features)


def _check_predictor(nodes: Any) -> None:
    """Look at the nodes of a tree of histogram gradient boosting."""
    if not len(nodes) or nodes["is_categorical"].any():
        raise InputError("a tree has no nodes, or splits by categories, which images do not have")
    inner = np.flatnonzero(nodes["is_leaf"] == 0)
    for side in ("left", "right"):
        _within(nodes[side][inner].astype(np.int64), len(nodes), inner + 1)


def _check_ensemble(ensemble: Any) -> None:
    """Look at what each tree of an ensemble takes and gives; it passes rows on unchecked."""
    trees = [one for one in np.ravel(ensemble.estimators_) if hasattr(one, "tree_")]
    columns = getattr(ensemble, "estimators_features_", None)
    for i, one in enumerate(trees):
        width = ensemble.n_features_in_ if columns is None else len(columns[i])
        _same(one.tree_.n_features, width)
    if hasattr(ensemble, "_raw_predict_init"):  # gradient boosting adds to an array of this width
        one_row = np.zeros((1, ensemble.n_features_in_), dtype=np.float32)
        _same(np.shape(ensemble.estimators_)[1], ensemble._raw_predict_init(one_row).shape[1])


def _check_support(machine: Any) -> None:
    """Look at the arrays that libsvm is given: support vectors of k classes, and k(k-1)/2 pairs."""
    k = len(getattr(machine, "classes_", (0, 1)))
    numbers, pairs = np.asarray(machine._n_support), k * (k - 1) // 2
    n = len(machine.support_)
    if numbers.shape != (k,) or numbers.min() < 0 or numbers.sum(dtype=np.int64) != n:
        raise InputError("it says other numbers of support vectors than it has")
    shapes = {
        "support_vectors_": (n, machine.n_features_in_),
        "_dual_coef_": (k - 1, n),
        "_intercept_": (pairs,),
    }
    wrong = [name for name, shape in shapes.items() if np.shape(getattr(machine, name)) != shape]
    odds = {np.size(machine._probA), np.size(machine._probB)}
    if wrong or machine.kernel == "precomputed" or odds not in ({0}, {pairs}):
        raise InputError("its support vectors, their coefficients and its classes do not fit")


def _check_neighbors(neighbors: Any) -> None:
    """Look at the rows that are searched, and at their labels, which are counted by number."""
    n = neighbors.n_samples_fit_
    if np.shape(neighbors._fit_X) != (n, neighbors.n_features_in_):
        raise InputError("its neighbours are other rows than it says")
    if hasattr(neighbors, "classes_"):
        labels = np.asarray(neighbors._y)
        known = labels.ndim != 1 or np.all((labels >= 0) & (labels < len(neighbors.classes_)))
        if len(labels) != n or not known:
            raise InputError("its neighbours have labels of no class")


def _check_random(state: Any) -> None:
    """Look at where a generator of random numbers stands."""
    place = state.get("buffer_pos", state["state"].get("pos", 0))
    if not 0 <= place <= _BUFFERS.get(state["bit_generator"], 0):
        raise InputError("its generator of random numbers stands beyond its buffer")


def _index_again(neighbors: Any) -> None:
    """Make the tree of nearest neighbours anew, as training it makes it."""
    neighbors._tree = type(neighbors._tree)(
        neighbors._fit_X, neighbors.leaf_size, metric=neighbors.effective_metric_,
        **neighbors.effective_metric_params_,
    )  # fmt: skip


def _within(numbers: Any, n: int, least: Any = 0) -> None:
    if np.any(numbers < least) or np.any(numbers >= n):
        raise InputError("a tree points beyond its arrays")


def _same(found: int, expected: int | None) -> None:
    if found != expected:
        raise InputError(f"a tree is made for {found} numbers, and gets {expected}")
