"""A grid's folder: one row and one file of samples a cell, and what stages keep for one another.

``grid.json``       the spec and the environment
``cells/ID.npz``    per sample: ids, predictions, distances, examples; written first
``cells/ID.json``   the row; its presence says that the cell is done
``stages/KEY.npz``  what a stage made, its facts among the arrays, as JSON; kept as long as another
                    cell, of this grid or of a later one, can need it
``travels.jsonl``   of each stage that ran on a worker of a cluster its times and sizes
``table.md``        the table, unless somebody else has written one
"""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from fastadv.arrays import Arrays, read_arrays, write_arrays
from fastadv.errors import InputError
from fastadv.files import UNREADABLE, atomic_write, locked, make_folder, read_plain, sweep
from fastadv.grid.row import Row, decode_row
from fastadv.grid.stages.base import Made

_PARTS = ("cells", "stages")
_OURS = re.compile(r"[0-9a-f]{16}\.(json|npz)")
_FACTS = "facts"  # the name of a stage's facts among its arrays


class Store:
    """The files of one grid.

    Parameters
    ----------
    folder : Path
    make : bool
        Make it if it is not there; without, nothing can be kept in a folder that is not there.
    lasts : bool
        Whether the folder is there after the run.

    Raises
    ------
    InputError
        If the folder cannot be made or, then or later, written to.
    """

    def __init__(self, folder: Path, make: bool = True, lasts: bool = True) -> None:
        self.folder, self.lasts = folder, lasts
        if not make:
            return
        for made in (folder, *(folder / name for name in _PARTS)):
            if made != folder and made.is_symlink():
                raise InputError(
                    f"{made} is a link, through which nothing is written; give the folder that it "
                    "leads to as the folder of a grid (--output)"
                )
            make_folder(made)
        if not os.access(folder / "cells", os.W_OK):
            raise InputError(f"cannot write to {folder}: no permission")

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Have the folder alone for the block, without what a killed run left half written.

        Raises
        ------
        InputError
            If another run has it.
        """
        with locked(self.folder, "wait for it, or give another folder (--output)") as held:
            for folder in (self.folder, *(self.folder / name for name in _PARTS)):
                if held:
                    sweep(folder)
            yield

    def forget(self) -> None:
        """Remove every cell and stage; what is not a run's own stays."""
        with self._writing():
            for path in (p for name in _PARTS for p in (self.folder / name).iterdir()):
                if _OURS.fullmatch(path.name):
                    path.unlink()

    @contextmanager
    def _writing(self) -> Iterator[None]:
        """Say in one line what hinders; it is of the place, and no result of a grid."""
        try:
            yield
        except OSError as error:
            if not self.folder.is_dir():
                raise InputError(
                    f"{self.folder} has gone while the grid ran; run the same command again"
                ) from None
            why = error.strerror or " ".join(str(error).split())
            raise self.halted(f"cannot write to {self.folder}: {why}") from None

    def halted(self, why: str) -> InputError:
        """Return the error of a run that a fault of the place has ended, with how to go on."""
        if not self.lasts:
            return InputError(f"{why}; nothing is kept without a folder for it (--output)")
        return InputError(f"{why}; what is done is kept, and the same command goes on when it can")

    def write_json(self, name: str, document: Any, durable: bool = True) -> None:
        """Write ``document`` as JSON to ``name`` in the folder."""
        path = self.folder / name
        with self._writing(), atomic_write(path, follow=False, durable=durable) as stream:
            stream.write(msgspec.json.format(msgspec.json.encode(document), indent=1))

    def append(self, name: str, document: Any) -> None:
        """Add ``document`` as a line of JSON to ``name`` in the folder; one may be cut short."""
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0)
        with self._writing():
            descriptor = os.open(self.folder / name, flags, 0o666)
            with os.fdopen(descriptor, "ab") as stream:
                stream.write(msgspec.json.encode(document) + b"\n")

    def save_row(self, row: Row, samples: Arrays | None = None) -> None:
        """Keep a cell: its samples first, then the row that says it is done."""
        if samples is not None:
            self._write_arrays("cells", row.id, samples, durable=True)
        self.write_json(f"cells/{row.id}.json", row)

    def has_row(self, cell_id: str) -> bool:
        """Return whether there is a file for the row, readable or not."""
        return (self.folder / "cells" / f"{cell_id}.json").exists()

    def load_row(self, cell_id: str) -> Row | None:
        """Return the row of a finished cell; None if it is not there or not readable."""
        try:
            row = decode_row(read_plain(self.folder / "cells" / f"{cell_id}.json"))
        except (OSError, msgspec.MsgspecError):
            return None
        whole = row.id == cell_id
        if row.status == "ok":
            whole = whole and read_samples(self.folder, cell_id) is not None
        return row if whole else None

    def save_stage(self, key: str, made: Made) -> None:
        """Keep what a stage made."""
        facts = np.array(msgspec.json.encode(made.facts).decode())
        self._write_arrays("stages", key, made.arrays | {_FACTS: facts}, durable=False)

    def _write_arrays(self, part: str, name: str, arrays: Arrays, durable: bool) -> None:
        path = self.folder / part / f"{name}.npz"
        with self._writing():
            write_arrays(path, arrays, follow=False, durable=durable)

    def load_stage(self, key: str, without: Collection[str] = ()) -> Made | None:
        """Return what a stage made, but for some arrays; None if it is not there or readable."""
        arrays = _load_arrays(self.folder / "stages" / f"{key}.npz", without)
        if arrays is None:
            return None
        try:
            facts = msgspec.json.decode(str(arrays.pop(_FACTS)), type=dict[str, Any])
        except (KeyError, ValueError, RecursionError, msgspec.MsgspecError):
            return None
        return Made(arrays, facts)

    def forget_stage(self, key: str) -> None:
        """Remove what a stage made."""
        with self._writing():
            (self.folder / "stages" / f"{key}.npz").unlink(missing_ok=True)

    def has_stage(self, key: str) -> bool:
        """Return whether what a stage made is there and readable."""
        return self.load_stage(key) is not None


def read_samples(folder: Path, cell_id: str) -> Arrays | None:
    """Return the samples of a finished cell; None if they are not there or not readable."""
    return _load_arrays(folder / "cells" / f"{cell_id}.npz")


class SampleFiles:
    """The samples of finished cells, each file read once as long as there is room for all.

    What is kept cannot be written to. The file that was asked for longest ago makes room.

    Parameters
    ----------
    room : int
        Bytes.
    """

    def __init__(self, room: int = 128 << 20) -> None:
        self._room, self._size = room, 0
        self._kept: dict[tuple[Path, str], Arrays | None] = {}  # by when it was asked for

    def read(self, folder: Path, cell_id: str) -> Arrays | None:
        """Return what `read_samples` does."""
        key = folder, cell_id
        arrays = self._kept.pop(key) if key in self._kept else self._open(key)
        self._kept[key] = arrays
        return None if arrays is None else dict(arrays)

    def _open(self, key: tuple[Path, str]) -> Arrays | None:
        arrays = read_samples(*key)
        self._size += _bytes(arrays)
        while self._kept and self._size > self._room:
            self._size -= _bytes(self._kept.pop(next(iter(self._kept))))
        for array in (arrays or {}).values():
            array.setflags(write=False)
        return arrays


def _bytes(arrays: Arrays | None) -> int:
    return sum(array.nbytes for array in (arrays or {}).values())


def _load_arrays(path: Path, without: Collection[str] = ()) -> Arrays | None:
    try:
        return read_arrays(path, without)
    except UNREADABLE:
        return None
