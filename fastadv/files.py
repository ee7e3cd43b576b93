"""Files are whole or not there: written under a temporary name, then renamed."""

from __future__ import annotations

import errno
import os
import secrets
import shutil
import stat
import sys
import tempfile
import time
import warnings
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from fastadv.errors import InputError, brief

_UNFINISHED = ".fastadv-tmp"  # how the names of files end that are being written
_SCRATCH = "fastadv-run-"
_LOCK = ".lock"
_NEW = 60.0  # seconds
_PATIENCE = 0.2  # seconds, in which one that only looks has let go
_unfinished: set[Path] = set()
_scratch: set[Path] = set()

# What a damaged, encrypted or lying .npz makes NumPy and zipfile raise.
UNREADABLE = (
    OSError, EOFError, KeyError, ValueError, MemoryError, RuntimeError, zipfile.BadZipFile,
    zlib.error,
)  # fmt: skip


def in_home(path: str | Path) -> Path:
    """Return a path with ``~`` or ``~user`` as the folder that it stands for.

    Raises
    ------
    InputError
        If there is no such user.
    """
    try:
        return Path(path).expanduser()
    except (RuntimeError, ValueError):  # ValueError: a null byte
        raise InputError(
            f"{brief(path)}: there is no such home folder; write the path in full"
        ) from None


def is_file(path: str | Path) -> bool:
    """Return whether there is a file; False too where no file can be called so."""
    try:
        return Path(path).expanduser().is_file()
    except (OSError, ValueError, RuntimeError):  # too long, a null byte, no such home folder
        return False


def make_folder(path: Path) -> None:
    """Make a folder, and those above it, where there is none.

    Raises
    ------
    InputError
        If that cannot be.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"cannot make the folder {path} ({error.strerror})") from None
    except ValueError:  # a null byte
        raise InputError(f"{str(path)!r} cannot be the name of a folder") from None


def open_plain(path: Path) -> IO[bytes]:
    """Open a regular file, or a link to one, for reading; a FIFO would hang, a device never end.

    Raises
    ------
    OSError
        If it is something else, or cannot be opened.
    """
    flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
    try:
        stream = os.fdopen(os.open(path, flags), "rb")
    except ValueError:  # a null byte
        raise OSError(errno.EINVAL, "it is no name of a file", str(path)) from None
    if not stat.S_ISREG(os.fstat(stream.fileno()).st_mode):
        stream.close()
        raise OSError(errno.EINVAL, "it is no regular file", str(path))
    return stream


def read_plain(path: Path) -> bytes:
    """Return the bytes of a regular file; OSError is raised as by `open_plain`."""
    with open_plain(path) as stream:
        return stream.read()


@contextmanager
def atomic_write(path: Path, *, follow: bool = True, durable: bool = True) -> Iterator[IO[bytes]]:
    """Open ``path`` for writing bytes; it appears, complete, when the block ends without error.

    The file has the permissions that the user's umask leaves it. What a link points to is replaced,
    not the link; a pipe or a device is written to as it is. Without ``follow`` both are replaced.
    What is not ``durable`` may be damaged by a loss of power: it can be made again.
    """
    if follow and path.exists() and not (path.is_file() or path.is_dir()):
        with path.open("wb") as stream:
            yield stream
        return
    if follow and path.is_symlink():
        path = path.resolve()
    temporary = path.with_name(f".{secrets.token_hex(6)}{_UNFINISHED}")
    try:
        # Not by tempfile, which leaves nobody else a right whatever the umask.
        with temporary.open("xb") as stream:
            _unfinished.add(temporary)
            yield stream
            stream.flush()
            if durable:
                os.fsync(stream.fileno())
        temporary.replace(path)
        if durable:
            _sync_folder(path.parent)
    except BaseException as error:
        temporary.unlink(missing_ok=True)
        if isinstance(error, OSError):  # it names the temporary file
            raise OSError(error.errno, error.strerror or str(error), str(path)) from None
        raise
    finally:
        _unfinished.discard(temporary)


def _sync_folder(folder: Path) -> None:
    """Have the name of a file on disk, and not only what is in it."""
    if sys.platform == "win32":  # which opens no folders
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno != errno.EINVAL:  # of file systems that cannot
            raise
    finally:
        os.close(descriptor)


def remove_unfinished() -> None:
    """Remove what is being written: the program ends in the middle."""
    for path in list(_unfinished):
        with suppress(OSError):
            path.unlink(missing_ok=True)
    for folder in list(_scratch):
        shutil.rmtree(folder, ignore_errors=True)


def sweep(folder: Path) -> None:
    """Remove from a folder what a run that was killed left half written there.

    No other run may be writing there: see `locked`.
    """
    for path in folder.glob(f".*{_UNFINISHED}"):
        with suppress(OSError):
            path.unlink()


@contextmanager
def locked(folder: Path, what: str) -> Iterator[bool]:
    """Have a folder alone for the block; a lock ends with its process, however that ends.

    False where the file system has no locks, so that others may be there, too.

    Raises
    ------
    InputError
        If another process has it: ``what`` says what to do then.
    """
    from filelock import FileLock, Timeout  # takes longer to import than most commands take

    lock, held = FileLock(folder / _LOCK), True
    try:
        lock.acquire(timeout=_PATIENCE, poll_interval=_PATIENCE / 10)
    except Timeout:
        raise InputError(f"{folder} is in use by another run; {what}") from None
    except NotImplementedError:  # some that are mounted over a network
        warnings.warn(f"no locks in {folder}: start no second run there", stacklevel=3)
        held = False
    except OSError as error:
        raise InputError(f"cannot write to {folder}: {error.strerror}") from None
    try:
        yield held
    finally:
        lock.release()


def in_use(folder: Path) -> bool | None:
    """Return whether a run has a folder now; None where that cannot be told."""
    from filelock import FileLock, Timeout

    if not (folder / _LOCK).exists():
        return False
    lock = FileLock(folder / _LOCK)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        return True
    except (OSError, NotImplementedError):
        return None
    lock.release()
    return False


@contextmanager
def scratch_folder() -> Iterator[Path]:
    """Return a folder in the temporary one that goes with the block.

    What killed runs have left of theirs is removed, too.

    Raises
    ------
    InputError
        If it cannot be made.
    """
    try:
        _sweep_scratch()
        folder = Path(tempfile.mkdtemp(prefix=_SCRATCH))
    except OSError as error:
        raise InputError(
            f"cannot make a temporary folder ({error.strerror or error}); set TMPDIR to a folder "
            "that can be written to and has room"
        ) from None
    _scratch.add(folder)
    try:
        with locked(folder, "which cannot be"):
            yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        _scratch.discard(folder)


def _sweep_scratch() -> None:
    """Remove scratch folders whose process has ended: nobody holds their lock."""
    for folder in Path(tempfile.gettempdir()).glob(f"{_SCRATCH}*"):
        with suppress(OSError, InputError):
            there = (folder / _LOCK).exists()
            if not there and time.time() - folder.stat().st_mtime < _NEW:
                continue  # its process may be about to lock it
            with locked(folder, "") as held:
                if held:
                    shutil.rmtree(folder)
