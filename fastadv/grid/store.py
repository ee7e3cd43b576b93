"""A grid's folder: one row and one file of samples a cell, and what stages keep for one another.

``grid.json``       the spec and the environment
``cells/ID.npz``    per sample: ids, predictions, distances, examples; written first
``cells/ID.json``   the row; its presence says that the cell is done
``stages/KEY.npz``  poisoned points and trained weights that cells share
``table.md``        the table
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt

from fastadv.errors import InputError
from fastadv.files import UNREADABLE, atomic_write

SCHEMA = 1

Arrays = dict[str, npt.NDArray[Any]]


class Flag(msgspec.Struct, frozen=True):
    """Something to know before a figure is used: its name, what it is, and what to do about it."""

    name: str
    message: str
    remedy: str = ""


class Row(msgspec.Struct, kw_only=True):
    """The result of one cell; every figure a share in [0, 1], every time in seconds.

    Attributes
    ----------
    threat : str or None
        What ``attacked_accuracy`` is conditional on.
    n : int
        Test samples behind ``attacked_accuracy``.
    clean_accuracy : float
        Of this cell's defended model, on clean test images, without poison in its training set.
    benign_accuracy : float or None
        Backdoors: of the poisoned model, on test images without the trigger.
    attacked_accuracy : float
        The figure to quote. Evasion: images still right under an attack that knows the defense.
        Poisoning: test accuracy after training on the poisoned set; of a backdoor, an image counts
        if it is right and, unless it is of the target class, does not get the target label with
        the trigger on.
    oblivious_accuracy : float or None
        Under an attack that does not know the defense: of a wrapped model, or after training on
        poison that was not kept inside what a sanitizer accepts.
    baseline_accuracy : float or None
        Poisoning: ``attacked_accuracy`` with as many randomly relabelled copies in place of the
        poison.
    success_rate : float or None
        Evasion: adversarial images found at any distance, also beyond the budget, among the images
        that were right before (`EvasionResult.success_rate` counts within it). Backdoors: the share
        of triggered images of other classes that get the target label.
    distances : dict
        Medians over the adversarial images, at any distance.
    sanitized : dict or None
        What a sanitizer did to the set that ``attacked_accuracy`` was trained on: ``lost``, the
        share of clean images that it dropped or gave another label; ``relabelled``, the share of
        what it kept that got another label; ``caught``, the share of the poison that it dropped or
        gave back the label of the image that it started as (absent without poison);
        ``caught_unaware``, that share of the poison behind ``oblivious_accuracy``. Null for other
        defenses and for evasion.
    weights : str or None
        The hash of the trained model behind ``attacked_accuracy``, without a wrapper: figures of
        one hash are of one training.
    flags : list of Flag
        Why the figure is not to be trusted; a gate fails on them.
    notes : list of Flag
        What else to know of the figure, which stands as it is; no gate fails on them.
    """

    schema: int = SCHEMA
    id: str
    dataset: str
    model: str
    attack: str
    defense: str
    seed: int
    kind: str
    threat: str | None = None
    status: str = "ok"
    reason: str | None = None
    n: int = 0
    clean_accuracy: float | None = None
    benign_accuracy: float | None = None
    attacked_accuracy: float | None = None
    attacked_accuracy_ci95: tuple[float, float] | None = None
    success_rate: float | None = None
    oblivious_accuracy: float | None = None
    certified: dict[str, Any] | None = None
    baseline_accuracy: float | None = None
    distances: dict[str, float] = {}
    poison: dict[str, float] | None = None
    sanitized: dict[str, float] | None = None
    queries: dict[str, float] = {}
    seconds: dict[str, float] = {}
    weights: str | None = None
    flags: list[Flag] = []
    notes: list[Flag] = []
    parameters: dict[str, dict[str, Any]] = {}


class Store:
    """The files of one grid.

    Parameters
    ----------
    folder : Path
        Made if it is not there.

    Raises
    ------
    InputError
        If the folder cannot be made or written to.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        try:
            for name in ("cells", "stages"):
                (folder / name).mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise InputError(f"cannot write to {folder}: {error.strerror}") from None
        if not os.access(folder / "cells", os.W_OK):
            raise InputError(f"cannot write to {folder}: no permission")

    def write_json(self, name: str, document: Any) -> None:
        """Write ``document`` as JSON to ``name`` in the folder."""
        with atomic_write(self.folder / name) as stream:
            stream.write(msgspec.json.format(msgspec.json.encode(document), indent=1))

    def write_text(self, name: str, text: str) -> None:
        """Write ``text`` to ``name`` in the folder."""
        with atomic_write(self.folder / name) as stream:
            stream.write(text.encode())

    def save_cell(self, row: Row, samples: Arrays) -> None:
        """Keep a finished cell: its samples first, then the row that says it is done."""
        with atomic_write(self.folder / "cells" / f"{row.id}.npz") as stream:
            np.savez_compressed(stream, allow_pickle=False, **samples)
        self.write_json(f"cells/{row.id}.json", row)

    def load_row(self, cell_id: str) -> Row | None:
        """Return the row of a finished cell; None if it is not there or not readable."""
        path = self.folder / "cells" / f"{cell_id}.json"
        try:
            row = msgspec.json.decode(path.read_bytes(), type=Row)
        except (OSError, msgspec.MsgspecError):
            return None
        whole = row.id == cell_id and row.schema == SCHEMA
        if row.status == "ok":
            whole = whole and self.load_samples(cell_id) is not None
        return row if whole else None

    def load_samples(self, cell_id: str) -> Arrays | None:
        """Return the samples of a finished cell; None if they are not there or not readable."""
        return read_samples(self.folder, cell_id)

    def stage_path(self, key: str) -> Path:
        """Return where the stage of this key keeps what it made."""
        return self.folder / "stages" / f"{key}.npz"

    def save_stage(self, key: str, arrays: Arrays) -> None:
        """Keep what a stage made."""
        with atomic_write(self.stage_path(key)) as stream:
            np.savez_compressed(stream, allow_pickle=False, **arrays)

    def load_stage(self, key: str) -> Arrays | None:
        """Return what a stage made; None if it is not there or not readable."""
        return _load_arrays(self.stage_path(key))

    def finish_stage(self, key: str, info: dict[str, Any]) -> None:
        """Say, after what it made is kept, that a stage is done, and what it took."""
        self.write_json(f"stages/{key}.json", info)

    def stage_info(self, key: str) -> dict[str, Any] | None:
        """Return what `finish_stage` was told; None if the stage is not done or not readable."""
        try:
            info = msgspec.json.decode((self.folder / "stages" / f"{key}.json").read_bytes())
        except (OSError, msgspec.MsgspecError):
            return None
        readable = isinstance(info, dict) and self.load_stage(key) is not None
        return info if readable else None


def read_samples(folder: Path, cell_id: str) -> Arrays | None:
    """Return the samples of a finished cell; None if they are not there or not readable."""
    return _load_arrays(folder / "cells" / f"{cell_id}.npz")


def _load_arrays(path: Path) -> Arrays | None:
    try:
        # Opened here: given a path, NumPy leaves a damaged file open.
        with path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
            return {key: archive[key] for key in archive.files}
    except UNREADABLE:
        return None
