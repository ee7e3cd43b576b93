"""What a skops file says of arrays and of trees, looked at before anything is made of it.

scikit-learn's compiled `Tree` reads the first side of an array before it asks whether there is
one, and ends the process where there is none. So a tree has to be written as skops writes it.
"""

from __future__ import annotations

import json
import zipfile
from collections.abc import Iterator
from typing import Any

from fastadv.archive import read_shape
from fastadv.errors import InputError

_TREE = ("sklearn.tree._tree", "Tree")
_UNWRITTEN = ("CachedNode", "SparseMatrixNode")  # none of what skops writes of a classifier
_STRANGE = "a tree is not written as skops writes it"


def parts(schema: Any) -> Iterator[dict[str, Any]]:
    """Yield the objects of a schema, at any depth."""
    inside = [schema]
    while inside:
        part = inside.pop()
        if isinstance(part, dict):
            yield part
            inside.extend(part.values())
        elif isinstance(part, list):
            inside.extend(part)


def check(file: zipfile.ZipFile, schema: Any) -> None:
    """Look at all arrays and trees of a skops file.

    Raises
    ------
    InputError
        If a tree is not such that making it is safe.
    Exception
        One of `fastadv.files.UNREADABLE` if an array is none.
    """
    found = [part for part in parts(schema) if isinstance(part.get("__loader__"), str)]
    arrays = _Arrays(file, found)
    for part in found:
        loader = part["__loader__"]
        if loader in _UNWRITTEN:
            raise InputError(f"a {loader} is no part of a classifier that skops has written")
        if loader == "NdArrayNode" and part.get("type") == "numpy":
            arrays.shape(part)
        if loader == "TreeNode":
            _check_tree(part, arrays)
        elif (part.get("__module__"), part.get("__class__")) == _TREE:
            raise InputError(_STRANGE)


class _Arrays:
    """The shapes of a file's arrays, and which parts may stand for one another.

    skops takes a part whose ``__id__`` it has seen for the one that it has seen.
    """

    def __init__(self, file: zipfile.ZipFile, found: list[dict[str, Any]]) -> None:
        self._file = file
        self._shapes: dict[str, tuple[int, ...]] = {}
        self._doubtful: set[Any] = set()
        first: dict[Any, dict[str, Any]] = {}
        for part in found:
            number = part.get("__id__")
            before = first.setdefault(number, part) if number else part
            simple = not isinstance(part.get("content"), dict | list)
            if before is not part and not (simple and before == part):
                self._doubtful.add(number)

    def shape(self, part: dict[str, Any]) -> tuple[int, ...]:
        """Return the shape of an array, which is read in full."""
        name = part["file"]
        if name not in self._shapes:
            with self._file.open(name) as stream:
                size = self._file.getinfo(name).file_size
                self._shapes[name] = read_shape(stream, size)
        return self._shapes[name]

    def plain(self, part: Any, loader: str, name: str) -> dict[str, Any]:
        """Return a part that is made by this loader, of this type, and stands for itself."""
        made = part["__loader__"], part["__module__"], part["__class__"]
        module = "numpy" if name == "ndarray" else "builtins"
        if made != (loader, module, name) or part.get("__id__") in self._doubtful:
            raise InputError(_STRANGE)
        return dict(part)

    def sides(self, part: Any) -> tuple[int, ...]:
        array = self.plain(part, "NdArrayNode", "ndarray")
        if array["type"] != "numpy":
            raise InputError(_STRANGE)
        return self.shape(array)

    def integer(self, part: Any) -> int:
        number = json.loads(self.plain(part, "JsonNode", "str")["content"])
        if type(number) is not int:
            raise InputError(_STRANGE)
        return number


def _check_tree(tree: dict[str, Any], arrays: _Arrays) -> None:
    """Look at what makes a tree: ``Tree(n_features, n_classes, n_outputs)``, and its state."""
    try:
        given = arrays.plain(tree["__reduce__"]["args"], "TupleNode", "tuple")["content"]
        state = arrays.plain(tree["content"], "DictNode", "dict")["content"]
        n_features, classes, n_outputs = given
        width, outputs = arrays.integer(n_features), arrays.integer(n_outputs)
        depth, count = arrays.integer(state["max_depth"]), arrays.integer(state["node_count"])
        n_classes, nodes, values = map(arrays.sides, (classes, state["nodes"], state["values"]))
    except (KeyError, TypeError, ValueError):
        raise InputError(_STRANGE) from None
    if width < 1 or depth < 0 or n_classes != (outputs,) or nodes != (count,):
        raise InputError("a tree says other sizes than its arrays have")
    if len(values) != 3 or values[:2] != (count, outputs) or min(values) < 1:
        raise InputError("a tree says other sizes than its arrays have")
