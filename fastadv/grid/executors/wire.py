"""What travels between machines, as bytes: stages by their parameters, results as plain arrays.

A message is msgpack, and an array in it an .npy file, so that it is read as a grid's own files are:
with the same layout in memory, and never as a pickle.
"""

from __future__ import annotations

import functools
import io
from collections.abc import Mapping
from dataclasses import fields
from typing import Any, TypeVar

import msgspec
import numpy as np

from fastadv import registry
from fastadv.arrays import Arrays
from fastadv.errors import InputError
from fastadv.grid.cell import Cell, Choice, Grid
from fastadv.grid.measure import Measure
from fastadv.grid.stages import evaluation, training
from fastadv.grid.stages.base import Made, Work

T = TypeVar("T")

# The fields of stages and cells that hold a choice: of what it is one.
_CHOICES = {"attack": "attack", "defense": "defense", "known": "defense"}
_STAGES = (
    training.Scout, training.Poison, training.Survey, training.Fit, training.Take,
    evaluation.Perturb, evaluation.Inspect, evaluation.Certify, Measure,
)  # fmt: skip
_KINDS: dict[str, Any] = {kind.__name__: kind for kind in _STAGES}


class Result(msgspec.Struct, frozen=True):
    """What a stage made: files of arrays, and facts."""

    arrays: dict[str, bytes]
    facts: dict[str, Any]

    @property
    def nbytes(self) -> int:
        """Bytes of the files."""
        return sum(map(len, self.arrays.values()))


class Start(msgspec.Struct, frozen=True, kw_only=True):
    """What a process needs to know once, to run the stages of a grid.

    Attributes
    ----------
    grid : dict
        See `packed_grid`.
    data : str
        What `load_dataset` reads there, or the folder of a shared data set.
    shared : bool
        Which of the two it is.
    data_name, fingerprint : str
        How the grid calls the data set, and the hash that it has to have.
    model : str
        Of a model that came trained: its factory, or how the name of its file ends.
    model_file : bytes
        The file itself.
    identity : str
        The hash that it has to have; without one the model is trained.
    like : dict
        What numbers hang on, as `fastadv.grid.machine.likeness` has it.
    mixed : bool
        Another processor will do.
    threads : int
        0 for as many as the worker has.
    room : int
        Bytes of results that are kept in memory for the stages that need them.
    timeout : float or None
        Seconds that a stage may take.
    """

    grid: dict[str, Any]
    data: str
    shared: bool
    data_name: str
    fingerprint: str
    like: dict[str, str]
    model: str = ""
    model_file: bytes = b""
    identity: str = ""
    mixed: bool = False
    threads: int = 0
    room: int = 256 << 20
    timeout: float | None = None


class Ready(msgspec.Struct, frozen=True, kw_only=True):
    """What a process says when it has all it needs, or why it has not."""

    refused: str = ""
    machine: str = ""
    processor: str = ""
    threads: int = 0


class Task(msgspec.Struct, frozen=True, kw_only=True):
    """A stage to run, with what it needs as far as the process may not have it."""

    key: str
    stage: dict[str, Any]
    needs: dict[str, str]
    sent: dict[str, Result] = {}


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """How a stage ended: as `fastadv.grid.executors.base.Outcome`, or ``lacks`` what it needs.

    Attributes
    ----------
    lacks : list of str
        The keys of the results that have to be sent; the stage has not begun.
    dropped : list of str
        The keys of the results that had to make room.
    """

    key: str
    status: str
    message: str | None = None
    made: Result | None = None
    lacks: list[str] = []
    dropped: list[str] = []


def encode(message: msgspec.Struct) -> bytes:
    """Return a message as bytes."""
    return msgspec.msgpack.encode(message)


def decode(data: bytes, kind: type[T]) -> T:
    """Return a message of a kind from its bytes.

    Raises
    ------
    InputError
        If it is none.
    """
    try:
        return msgspec.msgpack.decode(data, type=kind)
    except (msgspec.MsgspecError, RecursionError) as error:
        raise InputError(f"got no {kind.__name__} from a worker: {error}") from None


def packed_made(made: Made) -> Result:
    """Return what a stage made in the form that travels."""
    arrays = {}
    for name, array in made.arrays.items():
        stream = io.BytesIO()
        np.lib.format.write_array(stream, np.asanyarray(array), allow_pickle=False)
        arrays[name] = stream.getvalue()
    return Result(arrays, made.facts)


def unpacked_made(result: Result) -> Made:
    """Return what a stage made, each array one that may be written to.

    Raises
    ------
    InputError
        If it is not readable.
    """
    arrays: Arrays = {}
    for name, data in result.arrays.items():
        try:
            arrays[name] = np.lib.format.read_array(io.BytesIO(data), allow_pickle=False)
        except (ValueError, EOFError) as error:
            raise InputError(f"got no array {name} from a worker: {error}") from None
    return Made(arrays, result.facts)


def packed_grid(grid: Grid) -> dict[str, Any]:
    """Return a grid as plain values; each choice with every parameter."""
    plain = {
        name: getattr(grid, name) for name in ("dataset", "model", "samples", "repeats", "seed")
    }
    return {
        **plain,
        "attacks": [_packed_choice(one) for one in grid.attacks],
        "defenses": [_packed_choice(one) for one in grid.defenses],
    }


def unpacked_grid(plain: Mapping[str, Any]) -> Grid:
    """Return the grid of `packed_grid`; InputError if something of it is not known here."""
    chosen = {
        f"{what}s": tuple(_choice(what, *one) for one in plain[f"{what}s"])
        for what in ("attack", "defense")
    }
    return Grid(**{**plain, **chosen})


def packed_stage(stage: Work) -> dict[str, Any]:
    """Return a stage, or the measurement of a cell, as plain values."""
    return {"stage": type(stage).__name__, **_packed_fields(stage)}


def unpacked_stage(plain: Mapping[str, Any]) -> Work:
    """Return the stage of `packed_stage`; InputError if something of it is not known here."""
    if plain.get("stage") not in _KINDS:
        raise InputError(f"there is no stage {plain.get('stage')!r}")
    given = {name: value for name, value in plain.items() if name != "stage"}
    made: Work = _KINDS[plain["stage"]](**{name: _unpacked(name, v) for name, v in given.items()})
    return made


def _packed_fields(thing: Any) -> dict[str, Any]:
    return {field.name: _packed(getattr(thing, field.name)) for field in fields(thing)}


def _packed(value: Any) -> Any:
    if isinstance(value, Choice):
        return _packed_choice(value)
    if isinstance(value, Cell):
        return _packed_fields(value)
    return packed_stage(value) if type(value).__name__ in _KINDS else value


def _unpacked(name: str, value: Any) -> Any:
    if value is not None and name in _CHOICES:
        return _choice(_CHOICES[name], *value)
    if name == "cell":
        return Cell(**{field: _unpacked(field, of) for field, of in value.items()})
    if isinstance(value, dict):
        return unpacked_stage(value)
    return tuple(value) if isinstance(value, list) else value


def _packed_choice(choice: Choice) -> tuple[str, str]:
    return choice.text, choice.canonical


@functools.lru_cache(1024)
def _choice(what: str, text: str, canonical: str) -> Choice:
    return Choice(text, registry.make(what, canonical))
