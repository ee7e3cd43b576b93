"""Fetching public data sets, by pooch: each file as it was published, or not at all."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import urlsplit

from fastadv.datasets.answer import PIECE, Answer
from fastadv.datasets.memory import in_words
from fastadv.datasets.published import (
    FOLDER_VARIABLE,
    File,
    Published,
    data_folder,
    find,
    is_whole,
)
from fastadv.errors import InputError
from fastadv.files import in_home, make_folder

TIMEOUT = 30.0  # seconds for each 16 kB


class Progress(Protocol):
    """Who is told how far a file is."""

    def begin(self, file: str, total: int) -> None:
        """Be told of a file and its bytes, 0 if nobody knows."""

    def advance(self, n_bytes: int) -> None:
        """Be told of more bytes of it."""


def fetch(
    name: str,
    folder: Path | None = None,
    *,
    timeout: float = TIMEOUT,
    progress: Progress | None = None,
) -> list[Path]:
    """Fetch what of a data set is not there yet.

    Parameters
    ----------
    name : str
        Of a data set in `fastadv.datasets.published`.
    folder : Path or None
        Where a folder of that name is made; None is `data_folder`.
    timeout : float
        Seconds: a mirror is given up that sends less than 16 kB in as many.
    progress : Progress or None

    Returns
    -------
    list of Path
        The files, of the published checksums.

    Raises
    ------
    InputError
        If there is no such data set, or pooch is not there.
    OSError
        If no mirror has a file as it was published, or it cannot be kept. Nothing of that file is
        left; those before it stay, and need not be fetched again.
    """
    published = find(name)
    try:
        import pooch
    except ImportError:
        raise InputError("fetching needs pooch: pip install pooch") from None
    pooch.get_logger().setLevel("ERROR")
    place = (data_folder() if folder is None else in_home(folder)) / name
    make_folder(place)
    for file in published.files:
        if not is_whole(place / file.name, file.checksum):
            _fetch_file(place, file, published, timeout, progress)
    return [place / file.name for file in published.files]


def _fetch_file(
    place: Path, file: File, published: Published, timeout: float, progress: Progress | None
) -> None:
    """Try one mirror after the other."""
    import pooch
    import requests
    import urllib3

    failed = []
    download = _Download(place, file.name, published.n_bytes, timeout, progress)
    for mirror in published.mirrors:
        try:
            pooch.retrieve(mirror + file.name, file.checksum, file.name, place, downloader=download)
            return
        except (requests.exceptions.RequestException, urllib3.exceptions.HTTPError) as error:
            failed.append(f"{urlsplit(mirror).netloc}: {_reason(error, timeout)}")
        except ValueError:
            failed.append(f"{urlsplit(mirror).netloc}: other data than were published")
        except OSError as error:
            reason = error.strerror or error
            raise OSError(f"{place}: {file.name} cannot be kept ({reason})") from None
    raise OSError(
        f"{file.name} could not be fetched ({'; '.join(failed)}); try again, or put it by hand "
        f"into {place}"
    )


class _Download:
    """Writes what is at an address to the file that pooch gives it, which pooch then checks."""

    def __init__(
        self, place: Path, name: str, most: int, timeout: float, progress: Progress | None
    ) -> None:
        self._place, self._name, self._most = place, name, most
        self._timeout, self._progress = timeout, progress

    def __call__(self, address: str, temporary: str, _pooch: object) -> None:
        with Answer(address, self._timeout) as answer, Path(temporary).open("wb") as stream:
            parts = answer.parts()
            self._begin(next(parts))
            for piece in parts:
                stream.write(piece)
                self._check(stream.tell())
                if self._progress:
                    self._progress.advance(len(piece))

    def _begin(self, total: int) -> None:
        self._check(total)
        free = shutil.disk_usage(self._place).free
        if total > free:
            raise OSError(
                f"it takes {in_words(total)}, and {in_words(free)} are free; choose another folder "
                f"by --to or {FOLDER_VARIABLE}"
            )
        if self._progress:
            self._progress.begin(self._name, total)

    def _check(self, n_bytes: int) -> None:
        if n_bytes > self._most:
            raise ValueError("it is longer than the whole data set")


def _reason(error: Any, timeout: float) -> str:
    """Return in a few words why a server gave nothing."""
    import requests
    import urllib3

    late = requests.exceptions.ReadTimeout, urllib3.exceptions.ReadTimeoutError
    if isinstance(error, late):
        return f"less than {in_words(PIECE)} came in {timeout:g} seconds"
    if isinstance(error, requests.exceptions.HTTPError) and error.response is not None:
        return f"HTTP {error.response.status_code}"
    if isinstance(error, urllib3.exceptions.HTTPError):
        return "the connection was cut"
    if isinstance(error, requests.exceptions.SSLError):
        return "its certificate cannot be trusted"
    if isinstance(error, requests.exceptions.ConnectionError):
        return "no connection"
    if isinstance(error, requests.exceptions.TooManyRedirects):
        return "it redirects without end"
    if isinstance(error, ValueError):
        return "it redirects to what is no address"
    return type(error).__name__
