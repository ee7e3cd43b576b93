"""Shapes that are known before there are images, against those that onnx's own evaluator makes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

pytest.importorskip("onnx")

from onnx.reference import ReferenceEvaluator
from onnx_graphs import node

from fastadv.models.adapters.onnx_known import reshaped


@pytest.mark.parametrize(
    ("kind", "told", "said"),
    [
        *[("Flatten", None, {"axis": axis}) for axis in (-4, -1, 0, 1, 3, 4)], ("Flatten", None, {}),
        ("Reshape", [2, -1], {}), ("Reshape", [0, 0, 15], {}), ("Reshape", [0, 5, -1], {}),
        ("Reshape", [30], {"allowzero": 1}),
        ("Squeeze", None, {}), ("Squeeze", [1], {}), ("Squeeze", [-3], {}),
        ("Unsqueeze", [0], {}), ("Unsqueeze", [-1, 2], {}), ("Unsqueeze", [1, 5, 0], {}),
    ],
)  # fmt: skip
def test_forms_are_those_that_onnx_makes(kind: str, told: Any, said: dict[str, Any]) -> None:
    x, numbers = np.zeros((2, 1, 3, 5)), None if told is None else np.array(told)
    one = node(kind, "x" if told is None else "x told", "z", **said)
    given = {"x": x} if told is None else {"x": x, "told": numbers}
    (made,) = ReferenceEvaluator(one).run(None, given)
    assert reshaped(one, x.shape, numbers) == made.shape
