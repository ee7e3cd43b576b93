"""Tables as text, ``.csv``."""

from __future__ import annotations

import codecs
import csv
import math
import os
import re
import warnings
from pathlib import Path
from typing import Literal

import numpy as np

from fastadv.datasets.column_options import FOUND, ColumnOptions
from fastadv.datasets.layout import Channels
from fastadv.datasets.memory import check_fits
from fastadv.datasets.sources import Source
from fastadv.datasets.table import (
    Known,
    Table,
    find_dropped,
    find_label,
    missing_fault,
    read_table,
    text_fault,
)
from fastadv.errors import InputError, brief
from fastadv.files import open_plain
from fastadv.specs import shown

Separator = Literal["comma", "semicolon", "tab", "space"]

_SEPARATORS = {"comma": ",", "semicolon": ";", "tab": "\t", "space": " "}
_MISSING = {"", "na", "n/a", "nan", "null", "none", "?", "-", "."}
_NUMBER = re.compile(r"\s*+[+-]?(?:\d++(?:\.\d*+)?+|\.\d++)(?:[eE][+-]?\d++)?+\s*+", re.ASCII)
_LARGEST = float(np.finfo(np.float32).max)
_UTF_16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)


def reads(path: Path) -> bool:
    """Return whether the path is a file that is called ``.csv``."""
    return path.is_file() and path.suffix.lower() == ".csv"


def read_csv(
    path: Path,
    /,
    *,
    label: str = "label",
    shape: str | None = None,
    test_file: str | None = None,
    channels: Channels | None = None,
    range: float | None = None,
    separator: Separator = "comma",
    encoding: str = "utf-8",
    header: bool | None = None,
    drop: str | None = None,
    fixed: str | None = None,
    whole: str = FOUND,
    one_hot: str | None = None,
    low: str | None = None,
    high: str | None = None,
) -> Source:
    """Read a table: the class of each row in one column, numbers or pixels in the others.

    Parameters
    ----------
    label : str
        The name of the column of classes, which may be texts.
    shape : str or None
        Of images: 28x28 or, of colours, 32x32x3. Without it the columns are no pixels; each is
        scaled to [0, 1] by its range over the training rows.
    test_file : str or None
        A file of the same columns, for tests. Without it one row in five is drawn for them.
    channels : {"first", "last"} or None
        Where the channels of an image are, if its shape does not say so.
    range : float or None
        The value of white, if it is not 255 of whole numbers or 1 of others.
    separator : {"comma", "semicolon", "tab", "space"}
        What stands between two columns.
    encoding : str
        Of the text.
    header : bool or None
        Whether the first line has the columns' names. Without them they are called 1, 2, ...
    drop : str or None
        Columns that are left out, joined by +: ID+name. They may hold texts.
    fixed : str or None
        Columns that no attack may change.
    whole : str
        Columns that stay whole numbers; none; or found: all that hold nothing else.
    one_hot : str or None
        Groups of columns of which one is 1 and the others 0: what their names begin with, color of
        color=red or color_red, or the columns joined by |.
    low, high : str or None
        NAME:NUMBER, what 0 and 1 stand for, in place of the range of the training rows.

    Raises
    ------
    InputError
        If it is no such table; or a value is missing or no number, in which line and column.
    """
    options = ColumnOptions(drop, fixed, whole, one_hot, low, high)

    def read(file: Path, known: Known) -> Table:
        return _Reader(file, _SEPARATORS[separator], encoding, header).read(label, options, known)

    return read_table(
        path, read, shape=shape, channels=channels, white=range, test_file=test_file,
        options=options,
    )  # fmt: skip


class _Reader:
    """One file, and how it is written."""

    def __init__(self, path: Path, separator: str, encoding: str, header: bool | None) -> None:
        self.path, self.separator, self.header = path, separator, header
        try:
            "".encode(encoding)  # which refuses those that are not of text, too
            utf_8 = codecs.lookup(encoding).name == "utf-8"
        except (LookupError, ValueError):
            raise InputError(
                f"{path}: there is no encoding {encoding!r}; usual ones are utf-8, latin-1, cp1252"
            ) from None
        self.encoding = "utf-8-sig" if utf_8 else encoding  # a mark at the beginning is not text
        self.dropped: list[int] = []

    def read(self, label: str, options: ColumnOptions, known: Known) -> Table:
        path = self.path
        try:
            self._check_start()
            columns, n_lines = self._columns()
            place = find_label(columns, label, path)
            self.dropped = find_dropped(columns, place, path, options, known)
            codes: dict[str, int] = {}
            try:
                values = self._values(n_lines, place, codes)
            except UnicodeError:
                raise
            except (ValueError, csv.Error) as error:
                raise self._fault(columns, place, n_lines, str(error)) from None
        except UnicodeDecodeError as error:
            wrong = f"byte 0x{error.object[error.start]:02x}"
            raise InputError(
                f"{path}: the text is not {error.encoding} ({wrong}); state what it is in "
                "brackets, such as encoding=cp1252, or save it as UTF-8"
            ) from None
        except UnicodeError as error:  # of one without a mark at its beginning, and others
            raise InputError(f"{path}: the text is not {self.encoding} ({error})") from None
        except OSError as error:
            raise InputError(f"{path}: cannot be read ({error.strerror})") from None
        except csv.Error as error:
            raise InputError(f"{path}: cannot be read as columns ({brief(error)})") from None
        if not len(values):
            raise InputError(f"{path}: found no row below the header")
        if values.shape[1] != len(columns):
            raise self._fault(columns, place, n_lines, "")
        labels = np.array(list(codes))[values[:, place].astype(np.intp)]
        values = np.delete(values, [place, *self.dropped], axis=1)
        if "" in codes or not np.isfinite(values).all():
            raise self._fault(columns, place, n_lines, "")
        kept = tuple(name for i, name in enumerate(columns) if i not in [place, *self.dropped])
        return Table(kept, values, labels, tuple(columns[i] for i in self.dropped))

    def _check_start(self) -> None:
        with open_plain(self.path) as file:
            start = file.read(4096)
            check_fits(self.path, 2 * file.seek(0, os.SEEK_END))  # 4 bytes for a digit and a comma
        if not start.strip():
            raise InputError(f"{self.path}: the file is empty")
        if start.startswith(_UTF_16) and self.encoding == "utf-8-sig":
            raise InputError(
                f"{self.path}: the text is UTF-16; state it in brackets, encoding=utf-16, or save "
                "it as UTF-8"
            )
        if b"\0" in start and not self.encoding.lower().startswith(("utf-16", "utf-32", "utf_")):
            raise InputError(f"{self.path}: found bytes that are no text, expected a CSV file")

    def _columns(self) -> tuple[list[str], int]:
        """Return the names of the columns, and how many lines they take."""
        with self.path.open(encoding=self.encoding, newline="") as file:
            reader = csv.reader(file, delimiter=self.separator)
            first = next((line for line in reader if line), [])
            n_lines = reader.line_num
        if len(first) == 1:
            for word, separator in _SEPARATORS.items():
                if separator != self.separator and len(first[0].split(separator)) > 1:
                    raise InputError(
                        f"{self.path}: the first line is one column, {shown(first[0][:40])}; if "
                        f"another sign separates them, state it in brackets: separator={word}"
                    )
        numbers = all(_is_number(field) for field in first)
        if self.header is None and numbers:
            raise InputError(
                f"{self.path}: the first line holds numbers, expected names of columns; state in "
                "brackets header=false and label=1 (the number of the column of classes), or "
                "header=true if these are names"
            )
        if self.header is False:
            return [str(i) for i in range(1, len(first) + 1)], 0
        return [name.strip() for name in first], n_lines

    def _values(self, n_lines: int, place: int, codes: dict[str, int]) -> np.ndarray:
        """Return all columns as float32; of the label the code of its text."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # of a file without rows
            return np.loadtxt(
                self.path,
                dtype=np.float32,
                delimiter=self.separator,
                quotechar='"',
                comments=None,
                skiprows=n_lines,
                encoding=self.encoding,
                converters={
                    **dict.fromkeys(self.dropped, lambda _: 0.0),
                    place: lambda text: codes.setdefault(text.strip(), len(codes)),
                },
                ndmin=2,
            )

    def _fault(self, columns: list[str], place: int, n_lines: int, said: str) -> InputError:
        """Return what is wrong with the table, in which line if that can be told."""
        try:
            found = self._fault_of_line(columns, place, n_lines)
        except csv.Error as error:
            found, said = None, str(error)
        return found or InputError(f"{self.path}: cannot be read ({brief(said)})")

    def _fault_of_line(self, columns: list[str], place: int, n_lines: int) -> InputError | None:
        n_missing, first_missing = 0, ("", "")
        with self.path.open(encoding=self.encoding, newline="") as file:
            reader = csv.reader(file, delimiter=self.separator)
            for row in reader:
                if reader.line_num <= n_lines or not row:
                    continue
                line = f"line {reader.line_num:,}"
                if len(row) != len(columns):
                    return InputError(
                        f"{self.path}: {line} has {len(row):,} columns, expected {len(columns):,} "
                        "as in the first line"
                    )
                read = [(i, text.strip()) for i, text in enumerate(row) if i not in self.dropped]
                missing = [i for i, text in read if text.lower() in _MISSING]
                n_missing += bool(missing)
                if missing and not first_missing[0]:
                    first_missing = (columns[missing[0]], line)
                if n_missing:
                    continue
                for i, text in read:
                    if i != place and not _is_number(text):
                        return text_fault(self.path, columns[i], brief(text), line)
                    if i != place and abs(float(text)) > _LARGEST:
                        return InputError(
                            f"{self.path}: column {columns[i]!r} holds {brief(text)} in {line}, "
                            "beyond the numbers of 32 bits; write it in a larger unit"
                        )
        if n_missing:
            return missing_fault(self.path, first_missing[0], n_missing, first_missing[1])
        return None


def _is_number(text: str) -> bool:
    return bool(_NUMBER.fullmatch(text) and math.isfinite(float(text)))
