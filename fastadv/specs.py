"""Specs: ``name[param=value,...]``, the one way in which a choice is written down.

Brackets nest, and a comma inside them does not split:
``adv_training[attack=pgd[eps=0.1,steps=5]]``.
"""

from __future__ import annotations

import difflib
import functools
import math
import re
import tomllib
from collections.abc import Iterable
from dataclasses import dataclass, fields
from pathlib import Path
from types import UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

import msgspec

from fastadv.errors import InputError, brief, printable, refuse
from fastadv.files import open_plain

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_TOO_LARGE = 2**63  # for NumPy
_LARGEST = 1e18  # whose square is a number in 32 bits
_LONGEST = 256 << 10  # bytes of a TOML file, characters of a spec
_MANY_PARTS = re.compile(
    r"""(?<![\w-])(?:(?:[\w-]++|"[^"\n]*+"|'[^'\n]*+')[ \t]*+\.[ \t]*+){100}"""
)


@dataclass(frozen=True)
class Spec:
    """A name and its parameters, as they were written.

    Examples
    --------
    >>> Spec.parse("stadv[tau=0.05,kappa=0]").parameters
    {'tau': '0.05', 'kappa': '0'}
    """

    name: str
    parameters: dict[str, str]

    @classmethod
    def parse(cls, text: str) -> Spec:
        """Read one spec.

        Raises
        ------
        InputError
            If ``text`` is not of the form ``name[param=value,...]``.
        """
        if not isinstance(text, str):
            raise InputError(f"a spec is a text such as 'pgd[eps=0.1]', got {shown(text)}")
        _check_length(text)
        text = text.strip()
        name, bracket, rest = text.partition("[")
        if not name.strip():
            raise InputError(f"{text!r} has no name; write name[param=value,...]")
        if not bracket:
            return cls(name.strip(), {})
        if not rest.endswith("]"):
            raise InputError(f"{text!r} does not end with its closing bracket ']'")
        parameters: dict[str, str] = {}
        for part in split_top_level(rest[:-1], text):
            key, equals, value = part.partition("=")
            key, value = key.strip(), value.strip()
            if not equals or not _NAME.fullmatch(key) or not value:
                raise InputError(f"{part!r} in {text!r} is not of the form param=value")
            if key in parameters:
                raise InputError(f"{text!r} gives {key} twice")
            parameters[key] = value
        return cls(name.strip(), parameters)

    @classmethod
    def of_data(cls, text: str) -> Spec:
        """Read a spec whose name may be the path of a file, with brackets of its own.

        What exists under the whole text is meant by it; otherwise the parameters stand in the last
        pair of brackets, if there is something of the name before them.

        Raises
        ------
        InputError
            If ``text`` is not of the form ``name[param=value,...]``, or not UTF-8.
        """
        _check_length(text)
        text = text.strip()
        check_name(text)
        name, bracket, rest = text.rpartition("[")
        if _exists(text):
            return cls(text, {})
        if bracket and _exists(name):
            return cls(name.strip(), cls.parse(f"data[{rest}").parameters)
        if "]" in text and not text.endswith("]"):  # in a path that is not there
            return cls(text, {})
        return cls.parse(text)

    def __str__(self) -> str:
        return format_spec(self.name, self.parameters)


def check_name(dataset: str) -> None:
    """Raise InputError if the name of a dataset cannot be written to a file."""
    if printable(dataset) != dataset:
        raise InputError(f"the name of the dataset is not UTF-8: {dataset!a}; rename it")


def _check_length(text: str) -> None:
    if len(text) > _LONGEST:
        raise InputError(
            f"{brief(text)!r} is too long for a spec: {len(text):,} characters, expected "
            f"{_LONGEST:,} at most"
        )


def shown(value: object) -> str:
    """Return a value as an error shows it, in one line that can be read."""
    try:
        return brief(repr(value))
    except ValueError:  # of more digits than Python writes
        return "a number of thousands of digits"
    except RecursionError:
        return "lists in lists"


def _exists(path: str) -> bool:
    try:
        return Path(path).expanduser().exists()
    except (OSError, ValueError, RuntimeError):  # too long, a null byte, no home
        return False


def split_top_level(text: str, whole: str | None = None) -> list[str]:
    """Split at the commas that stand outside all brackets; empty text gives no parts.

    Examples
    --------
    >>> split_top_level("pgd[eps=0.1,steps=5],fgsm")
    ['pgd[eps=0.1,steps=5]', 'fgsm']
    """
    _check_length(text)
    parts, depth, start = [], 0, 0
    for position, character in enumerate(text):
        if character == "[":
            depth += 1
        elif character == "]":
            depth -= 1
            if depth < 0:
                break
        elif character == "," and depth == 0:
            parts.append(text[start:position])
            start = position + 1
    if depth != 0:
        raise InputError(f"the brackets of {whole or text!r} do not match")
    parts.append(text[start:])
    parts = [part.strip() for part in parts]
    if parts == [""]:
        return []
    if "" in parts:
        raise InputError(f"{whole or text!r} has an empty part between its commas")
    return parts


def partition_top_level(text: str, mark: str) -> tuple[str, str, str]:
    """Part at the last ``mark`` that stands outside all brackets, as ``str.partition`` does.

    Examples
    --------
    >>> partition_top_level("pgd[eps=0.1]/none=75%", "=")
    ('pgd[eps=0.1]/none', '=', '75%')
    """
    _check_length(text)
    depth = 0
    for position in reversed(range(len(text))):
        depth += (text[position] == "]") - (text[position] == "[")
        if text[position] == mark and depth == 0:
            return text[:position], mark, text[position + 1 :]
    return text, "", ""


def same_spec(a: str, b: str) -> bool:
    """Return whether two specs say the same, in whatever order their parameters stand."""
    try:
        return a == b or Spec.parse(a) == Spec.parse(b)
    except InputError:  # what stands in a file from outside need not be a spec
        return False


def format_value(value: object) -> str:
    """Return the canonical text of a parameter: `Spec.parse` and `coerce` read it back."""
    if value is None:
        return "none"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float):
        return repr(int(value)) if value.is_integer() and abs(value) < 1e15 else repr(value)
    if isinstance(value, tuple | list):
        return "-".join(format_value(item) for item in value) or "none"
    return str(value)


def format_spec(name: str, parameters: dict[str, Any]) -> str:
    """Return ``name[param=value,...]``, or the name alone where there are no parameters."""
    inner = ",".join(f"{key}={format_value(value)}" for key, value in parameters.items())
    return f"{name}[{inner}]" if inner else name


def closest(word: str, known: Iterable[str]) -> str:
    """Return ``; did you mean X?`` for the known word nearest to ``word``, in any case, or nothing.

    Examples
    --------
    >>> closest("PGD", ["fgsm", "pgd"])
    '; did you mean pgd?'
    """
    by_lower = {name.lower(): name for name in known}
    matches = difflib.get_close_matches(word.lower(), by_lower, n=1, cutoff=0.5)
    return f"; did you mean {by_lower[matches[0]]}?" if matches else ""


def read_toml(path: Path, where: str) -> dict[str, Any]:
    """Return what a TOML file holds; raise InputError, named by ``where``, if it is none.

    It may be of 256 KiB and, as memory grows by their square, have names of a hundred parts.
    """
    try:
        with open_plain(path) as file:
            data = file.read(_LONGEST + 1)
        if len(data) > _LONGEST:
            raise InputError(f"{where} is too long for options: more than {_LONGEST >> 10} KiB")
        text = data.decode()
        if _MANY_PARTS.search(text):
            raise InputError(f"{where} is not valid TOML: a name of more than a hundred parts")
        return tomllib.loads(text)
    except OSError as error:
        raise InputError(f"{where} cannot be read: {error.strerror or error}") from None
    except InputError:
        raise
    except (ValueError, RecursionError) as error:  # ... no UTF-8, a number of 5,000 digits
        raise InputError(f"{where} is not valid TOML: {brief(error)}") from None


def describe(kind: Any) -> str:
    """Return a type in a user's words."""
    words = {
        int: "a whole number", float: "a number", bool: "true or false", str: "text",
        type(None): "none", tuple[int, ...]: "whole numbers joined by '-'",
    }  # fmt: skip
    if kind in words:
        return words[kind]
    choices = getattr(kind, "__args__", ())
    if all(isinstance(choice, str) for choice in choices):
        return "one of " + ", ".join(choices)
    return " or ".join(describe(choice) for choice in choices)


_NUMBER = r"[+-]?(?:\d++\.?\d*+|\.\d++)(?:[eE][+-]?\d++)?+"
_FRACTION = re.compile(rf"\s*+({_NUMBER})\s*+(?:/\s*+({_NUMBER})\s*+)?", re.ASCII)


def parse_number(text: str) -> float | None:
    """Return the number that a text is, or None: ``0.1``, ``.1``, ``1.``, ``1e-3``, ``8/255``."""
    match = _FRACTION.fullmatch(text)
    if not match:
        return None
    below = float(match[2] or 1)
    return float(match[1]) / below if below else None


def _whole(text: str) -> int | str:
    """Return the whole number that a text is, ``10.`` and ``+1`` too, or the text itself."""
    number = parse_number(text)
    # Beyond that not every whole number is a float.
    return int(number) if number is not None and number % 1 == 0 and abs(number) < 2**53 else text


def coerce(raw: Any, kind: Any, where: str, *, strict: bool = False) -> Any:
    """Turn the text (or the TOML value, or the argument) ``raw`` into ``kind``.

    Parameters
    ----------
    raw : object
        As written: ``"0.05"``, ``"8/255"``, ``"none"``, ``"128-64"``, or a value that has its type
        already, a NumPy scalar too.
    kind : type
        int, float, bool, str, a ``Literal``, ``tuple[int, ...]``, or a union of those.
    where : str
        What the error names: ``stadv: tau``.
    strict : bool
        No text for numbers, and no 10.0 for a whole number.

    Raises
    ------
    InputError
        If ``raw`` is not a ``kind``.
    """
    value = raw.item() if type(raw).__module__ == "numpy" and not getattr(raw, "ndim", 1) else raw
    if isinstance(value, str) and printable(value) != value:
        raise InputError(f"{where} has to be {describe(kind)}, got {value!a}, which is not UTF-8")
    choices = getattr(kind, "__args__", ())
    if isinstance(value, str) and not strict:
        if kind == tuple[int, ...]:
            value = [] if value.lower() == "none" else [_whole(part) for part in value.split("-")]
        elif value.lower() == "none" and type(None) in choices:
            return None
        elif float in (kind, *choices):
            number = parse_number(value)
            value = value if number is None else number
        elif int in (kind, *choices):
            value = _whole(value)
    try:
        value = msgspec.convert(value, kind, strict=strict)
    except (msgspec.ValidationError, UnicodeError):  # ... halves of characters in a list
        words = closest(value, _words(kind)) if isinstance(value, str) else ""
        raise InputError(f"{where} has to be {describe(kind)}, got {shown(raw)}{words}") from None
    if isinstance(value, float) and not math.isfinite(value):
        raise InputError(f"{where} has to be a finite number, got {raw!r}")
    if isinstance(value, float) and abs(value) > _LARGEST:
        raise InputError(f"{where} has to be within {_LARGEST:g}, got {shown(raw)}")
    if isinstance(value, int) and abs(value) >= _TOO_LARGE:
        raise InputError(f"{where} has to be {describe(kind)} below 2^63, got {shown(raw)}")
    return value


def _words(kind: Any) -> list[str]:
    """Return the texts that may be chosen."""
    choices = getattr(kind, "__args__", ())
    return [word for c in choices for word in ([c] if isinstance(c, str) else _words(c))]


@functools.cache
def written_kinds(owner: Any) -> dict[str, Any]:
    """Return the types of the parameters, of a dataclass or function, that a spec can give."""
    return {name: kind for name, kind in get_type_hints(owner).items() if is_written(kind)}


def is_written(kind: Any) -> bool:
    """Return whether a spec can give a parameter of this type."""
    if get_origin(kind) in (Union, UnionType):
        return all(map(is_written, get_args(kind)))
    plain = (int, float, bool, str, type(None), tuple[int, ...])
    return kind in plain or get_origin(kind) is Literal


def check_arguments(estimator: Any, owner: type) -> None:
    """Raise InputError for a parameter of ``owner``'s constructor that is not of its type.

    For scikit-learn's estimators, which keep what they are given as it is, and check it in `fit`.
    """
    for name, kind in written_kinds(owner.__init__).items():  # type: ignore[misc]
        if hasattr(estimator, name):
            coerce(getattr(estimator, name), kind, name, strict=True)


class Checked:
    """Base of the dataclasses whose fields are parameters: what a spec refuses they refuse, too.

    A subclass with a ``__post_init__`` of its own begins it with this one. Numbers of NumPy become
    Python's. What would have no effect is refused: `no_part`.
    """

    def no_part(self, why: str, *names: str) -> None:
        """Raise InputError for a parameter that is not at its default though it has no part."""
        for name in names:
            refuse(self.unused(name, why))

    def unused(self, name: str, why: str) -> str | None:
        """Return what is to be said of a parameter without a part, if it is not at its default."""
        default = next((f.default for f in fields(self) if f.name == name), None)  # type: ignore[arg-type]
        value = getattr(self, name, default)
        return None if value == default else f"{name}={format_value(value)} has no part: {why}"

    def __post_init__(self) -> None:
        kinds = written_kinds(type(self))  # type: ignore[arg-type]
        for field in fields(self):  # type: ignore[arg-type]
            if field.name in kinds:
                value = coerce(getattr(self, field.name), kinds[field.name], field.name)
                object.__setattr__(self, field.name, value)


def resolve(parameters: dict[str, Any], kinds: dict[str, Any], owner: str) -> dict[str, Any]:
    """Coerce each parameter to its kind.

    Raises
    ------
    InputError
        For a parameter that ``owner`` does not have, with the nearest one that it has.
    """
    for key in parameters:
        if key not in kinds:
            takes = ", ".join(kinds) or "no parameters"
            raise InputError(
                f"{owner} has no parameter {key!r}{closest(key, kinds)} (it takes: {takes})"
            )
    return {key: coerce(raw, kinds[key], f"{owner}: {key}") for key, raw in parameters.items()}
