"""What travels between machines comes out as it went in."""

from __future__ import annotations

from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers import SMALL_MLP, write_npz

from fastadv import registry
from fastadv.errors import InputError
from fastadv.grid.cell import Choice
from fastadv.grid.context import Context
from fastadv.grid.executors import wire
from fastadv.grid.executors.recent import Recent
from fastadv.grid.plan import make_plan
from fastadv.grid.run import asked
from fastadv.grid.stages.base import Made
from fastadv.grid.store import Store


def context_of(dataset: str, **changes: Any) -> Context:
    settings = {"attacks": "all", "defenses": "all", "model": SMALL_MLP, "samples": 20}
    return asked(dataset=dataset, **{**settings, "repeats": 1, "seed": 0, **changes})  # type: ignore[arg-type]


def parameters(stage: Any) -> list[object]:
    """All that a stage is, down to the parameters of its attacks and defenses."""
    out: list[object] = [type(stage)]
    for field in fields(stage):
        value = getattr(stage, field.name)
        if isinstance(value, Choice):
            out += [value.text, type(value.made), registry.parameters(value.made)]
        elif is_dataclass(value):
            out += parameters(value)
        else:
            out.append(value)
    return out


def test_every_stage_of_all_against_all_travels(tmp_path: Path) -> None:
    context = context_of(write_npz(tmp_path / "small.npz"))
    plan = make_plan(context, Store(tmp_path / "out"), False, print)
    kinds = set()
    for planned in plan.stages.values():
        task = wire.Task(key="", stage=wire.packed_stage(planned.stage), needs=planned.needs)
        there = wire.decode(wire.encode(task), wire.Task)
        stage = wire.unpacked_stage(there.stage)
        assert (stage, there.needs) == (planned.stage, planned.needs)
        assert parameters(stage) == parameters(planned.stage)
        kinds.add(type(stage).__name__)
    assert kinds == {"Scout", "Poison", "Survey", "Fit", "Perturb", "Inspect", "Certify", "Measure"}


def test_a_grid_travels(tmp_path: Path) -> None:
    grid = context_of(write_npz(tmp_path / "small.npz"), seed=3, repeats=2).grid
    start = wire.Start(
        grid=wire.packed_grid(grid), data="", shared=False, data_name="", fingerprint="", like={}
    )
    there = wire.unpacked_grid(wire.decode(wire.encode(start), wire.Start).grid)
    assert there == grid
    made = [choice.made for choice in (*there.attacks, *there.defenses)]
    assert made == [choice.made for choice in (*grid.attacks, *grid.defenses)]


def test_arrays_travel_with_their_layout() -> None:
    array = np.arange(12.0).reshape(3, 4)
    arrays = {
        "fortran": np.asfortranarray(array), "strided": array[:, ::2], "none": np.empty((0, 3)),
        "text": np.array(["a", "bc"]), "scalar": np.array(2**63, dtype=np.uint64),
        "nan": np.array([np.nan, -0.0, np.inf], np.float32),
    }  # fmt: skip
    made = wire.unpacked_made(
        wire.decode(
            msgpack := wire.encode(wire.packed_made(Made(arrays, {"a": [1, None]}))), wire.Result
        )
    )
    assert isinstance(msgpack, bytes)
    assert made.facts == {"a": [1, None]}
    for name, value in arrays.items():
        there = made.arrays[name]
        assert (there.dtype, there.shape) == (value.dtype, value.shape)
        assert there.tobytes("A") == np.asarray(value).tobytes("A")
        assert there.flags.writeable
    assert made.arrays["fortran"].flags.f_contiguous


def test_an_array_of_objects_does_not_travel() -> None:
    with pytest.raises(ValueError, match="Object arrays"):
        wire.packed_made(Made({"a": np.array([{}])}, {}))
    pickled = (
        b"\x93NUMPY\x01\x00v\x00{'descr': '|O', 'fortran_order': False, 'shape': (1,), }".ljust(127)
    )
    with pytest.raises(InputError, match="got no array a from a worker"):
        wire.unpacked_made(wire.Result({"a": pickled + b"\n" + b"cos\nsystem\n."}, {}))


@pytest.mark.parametrize("data", [b"", b"\xc1", b"\x80", b"\x90" * 5000])
def test_what_is_no_message_is_said_in_a_line(data: bytes) -> None:
    with pytest.raises(InputError, match="got no Answer from a worker"):
        wire.decode(data, wire.Answer)


def test_what_was_used_longest_ago_makes_room() -> None:
    recent = Recent[str](room=100)
    for key in "abc":
        recent.keep(key, key.upper(), 40)
        recent.get("a")
    assert recent.dropped == ["b"]
    assert [recent.get(key) for key in "abc"] == ["A", None, "C"]
    recent.keep("a", "again", 90)
    recent.keep("d", "too large", 101)
    assert recent.dropped == ["b", "c", "a", "d"]
