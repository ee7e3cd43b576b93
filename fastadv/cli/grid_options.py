"""The options of a grid: from flags, from a TOML file, and the defaults behind both."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec

from fastadv.cli.specs import check_model, spec_list
from fastadv.errors import InputError
from fastadv.grid import defaults
from fastadv.specs import Spec, closest, coerce, read_toml, shown

OUTPUT = "fastadv-results"

_MODEL = "mlp"
_UNITS = {"": 1.0, "s": 1.0, "m": 60.0, "h": 3600.0}
_LONGEST_TIME = 1e9  # seconds
_AT_LEAST = {"samples": 1, "repeats": 1, "seeds": 1, "seed": 0, "jobs": 1}
_LISTS = ("attacks", "defenses")
_LONGEST = 100  # letters of a folder's name


class GridOptions(msgspec.Struct, frozen=True, kw_only=True):
    """What is asked of a grid, checked as far as it can be without importing anything heavy.

    Attributes
    ----------
    timeout : float or None
        Seconds that one stage of a cell may take.
    dask : str or None
        The address of a scheduler, or ``local[N]``.
    dask_mixed : bool
        Workers with another type of processor will do.
    """

    attacks: list[str]
    defenses: list[str]
    dataset: str = "mnist"
    model: str = _MODEL
    samples: int | None = None
    repeats: int | None = None
    seed: int = 0
    output: str = OUTPUT
    jobs: int | None = None
    timeout: float | None = None
    dask: str | None = None
    dask_mixed: bool = False


def resolve_grids(flags: dict[str, Any], config: Path | None) -> list[GridOptions]:
    """Merge flags over the file over the defaults, and check the result: a grid for each model.

    Of several models each has a folder of its own in that of ``output``.

    Parameters
    ----------
    flags : dict
        By the names of `GridOptions`; None where a flag was not given.
    config : Path or None
        A TOML file.

    Raises
    ------
    InputError
        In the first thing that is wrong, with its source.
    """
    given = read_config(config) if config else {}
    given.update(_checked({key: value for key, value in flags.items() if value is not None}, "--"))
    if "seeds" in given:
        if "repeats" in given:
            raise InputError("give one of repeats and seeds, which are the same, not both")
        given["repeats"] = given.pop("seeds")
    given.setdefault("attacks", list(defaults.ATTACKS))
    given.setdefault("defenses", list(defaults.DEFENSES))
    models, output = given.pop("model", [_MODEL]), given.pop("output", OUTPUT)
    for model in models:
        check_model(model)
    folders = [output]
    if len(models) > 1:
        folders = [str(Path(output) / name) for name in folder_names(models)]
    grids = [
        GridOptions(**given, model=model, output=folder)
        for model, folder in zip(models, folders, strict=True)
    ]
    Spec.of_data(grids[0].dataset)
    _check_places(grids[0])
    return grids


def folder_names(models: Sequence[str]) -> list[str]:
    """Return a folder's name for each model, of the letters that it is written with.

    Examples
    --------
    >>> folder_names(["svm[kernel=rbf]", "a/mine.py:make", "a_mine.py:make", "a mine.py:make"])
    ['svm_kernel=rbf', 'a_mine.py_make', 'a_mine.py_make-2', 'a_mine.py_make-3']
    """
    names: list[str] = []
    for model in models:
        plain = re.sub(r"[^A-Za-z0-9.=-]+", "_", model).strip("._")[-_LONGEST:] or "model"
        same = sum(re.fullmatch(rf"{re.escape(plain)}(-\d+)?", name) is not None for name in names)
        names.append(f"{plain}-{same + 1}" if same else plain)
    return names


def _check_places(options: GridOptions) -> None:
    """Raise InputError if it is not plain where the stages are to run."""
    if options.jobs is not None and options.dask is not None:
        raise InputError("give one of jobs and dask: processes here, or the workers of a cluster")
    if options.dask_mixed and options.dask is None:
        raise InputError("dask_mixed says which workers of a cluster are taken: give dask, too")


def read_config(path: Path) -> dict[str, Any]:
    """Return the checked options of a TOML file."""
    raw = read_toml(path, str(path))
    known = (*GridOptions.__struct_fields__, "seeds")
    for key in raw:
        if key not in known:
            hint = closest(key, known)
            raise InputError(f"{path}: no key {key!r}{hint} (known: {', '.join(known)})")
    return _checked(raw, f"{path}: ")


def _checked(raw: dict[str, Any], source: str) -> dict[str, Any]:
    """Return the options with their types, whichever way they were written."""
    checked: dict[str, Any] = {}
    for key, value in raw.items():
        where = source + key
        if key in _LISTS:
            checked[key] = _spec_list(key.removesuffix("s"), value, where)
        elif key == "timeout":
            checked[key] = parse_duration(value, where)
        elif key in _AT_LEAST:
            checked[key] = whole_number(value, _AT_LEAST[key], where)
        elif key == "model":
            checked[key] = _models(value, where)
        elif key == "dask_mixed":
            if not isinstance(value, bool):
                raise InputError(f"{where} has to be true or false, got {value!r}")
            checked[key] = value
        elif not isinstance(value, str) or not value.strip():
            raise InputError(f"{where} has to be text, got {shown(value)}")
        else:
            checked[key] = value
    return checked


def _spec_list(what: str, value: Any, where: str) -> list[str]:
    is_list = isinstance(value, list) and all(isinstance(item, str) for item in value)
    if not isinstance(value, str) and not is_list:
        raise InputError(f"{where} has to be a list of names, got {shown(value)}")
    try:
        return spec_list(what, value)
    except InputError as error:
        raise InputError(f"{where}: {error}") from None


def _models(value: Any, where: str) -> list[str]:
    """Return the models of a flag, or of a file, where one need not stand in a list; each once."""
    models = value if isinstance(value, list) else [value]
    if not models or not all(isinstance(model, str) and model.strip() for model in models):
        raise InputError(f"{where} has to be text, or a list of texts, got {value!r}")
    return list(dict.fromkeys(models))


def whole_number(value: Any, least: int, where: str) -> int:
    """Return ``value``, a number or its text, as a whole number of at least ``least``."""
    if isinstance(value, bool):
        raise InputError(f"{where} has to be a whole number, got {str(value).lower()}")
    number: int = coerce(value, int, where)
    if number < least:
        raise InputError(f"{where} has to be at least {least}, got {number}")
    return number


def parse_duration(value: Any, where: str) -> float:
    """Return seconds: 90, "90", "90s", "10m" and "1.5h" are durations.

    Examples
    --------
    >>> parse_duration("10m", "--timeout")
    600.0
    """
    text = value.strip().lower() if isinstance(value, str) else shown(value)
    match = re.fullmatch(r"(\d++\.?\d*+|\.\d++)\s*+([smh]?)", text, re.ASCII)
    seconds = float(match[1]) * _UNITS[match[2]] if match else 0.0
    if not 0 < seconds <= _LONGEST_TIME:
        raise InputError(f"{where} has to be a time such as 90, 90s, 10m or 1h, got {shown(value)}")
    return seconds
