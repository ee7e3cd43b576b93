"""Where machine code is kept: a folder for each version of the kernels and each processor.

What a kernel calls is compiled into it, so the folder is named by a hash of all kernel sources: any
change starts a new one. A processor has its own, since homes are shared between machines.
"""

import atexit
import contextlib
import errno
import hashlib
import os
import shutil
import sys
import tempfile
import time
import warnings
from pathlib import Path

import numba
import platformdirs
from llvmlite import binding

_UNUSED_FOLDERS_GO_AFTER = 30 * 24 * 3600.0  # seconds
_TEMPORARY = "fastadv-kernels-"


def cache_folder() -> Path:
    """Return the folder, which can be written to.

    It lies below ``NUMBA_CACHE_DIR`` or in the user's cache folder. Where that cannot be written to,
    a warning says so, and what is compiled lasts as long as this process; its children share it.
    """
    try:
        folder = _root() / _version()
        _prepare(folder)
    except OSError as error:
        temporary = _temporary_folder()
        atexit.register(_remove, temporary, os.getpid())
        os.environ["NUMBA_CACHE_DIR"] = temporary
        warnings.warn(
            f"compiled kernels cannot be kept ({error.strerror}: {error.filename}), so every run "
            "compiles anew; set NUMBA_CACHE_DIR to a folder that can be written to",
            stacklevel=2,
        )
        return cache_folder()
    return folder


def _root():
    chosen = os.environ.get("NUMBA_CACHE_DIR")
    if chosen:
        return Path(chosen).absolute() / "fastadv"
    folder = Path(platformdirs.user_cache_dir("fastadv"))
    if not folder.is_absolute():  # "~" that stands for nothing, and would become a folder's name
        raise FileNotFoundError(errno.ENOENT, "the user has no home folder", str(folder))
    return folder / "kernels"


def _version():
    """Return a name for all that decides on the machine code, beside a kernel's types."""
    processor = (
        numba.config.CPU_NAME or binding.get_host_cpu_name(),
        numba.config.CPU_FEATURES or binding.get_host_cpu_features().flatten(),
    )
    digest = hashlib.blake2b(digest_size=8)
    digest.update(
        repr(
            (sys.version_info[:2], numba.__version__, numba.config.BOUNDSCHECK, processor)
        ).encode()
    )
    here = Path(__file__).parent
    for source in sorted(here.rglob("*.py")):
        digest.update(source.relative_to(here).as_posix().encode())
        digest.update(source.read_bytes())
    return digest.hexdigest()


def _prepare(folder):
    """Make the folder, prove that it can be written to, and remove forerunners unused for a month.

    Raises
    ------
    OSError
        If it cannot be written to.
    """
    if folder.is_dir() and os.access(folder, os.W_OK | os.X_OK):
        with contextlib.suppress(OSError):  # of another user's, in which we may write
            os.utime(folder)  # it is used
        return
    folder.mkdir(parents=True, exist_ok=True)
    tempfile.TemporaryFile(dir=folder).close()
    for other in folder.parent.iterdir():
        try:
            if other != folder and time.time() - other.stat().st_mtime > _UNUSED_FOLDERS_GO_AFTER:
                shutil.rmtree(other, ignore_errors=True)
        except OSError:
            continue  # another process has removed it


def _temporary_folder():
    """Make a folder of this process among temporary files; those of killed ones go."""
    for folder in Path(tempfile.gettempdir()).glob(f"{_TEMPORARY}*"):
        owner = folder.name.removeprefix(_TEMPORARY).partition("-")[0]
        if owner.isdecimal() and not _runs(int(owner)):
            shutil.rmtree(folder, ignore_errors=True)
    return tempfile.mkdtemp(prefix=f"{_TEMPORARY}{os.getpid()}-")


def _runs(pid):
    """Return whether a process runs, or may."""
    if sys.platform == "win32":  # where signal 0 would end it
        return True
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except (OSError, OverflowError):  # another user's, or no process's number
        return True
    return True


def _remove(folder, owner):
    if os.getpid() == owner:  # and not a fork of it
        shutil.rmtree(folder, ignore_errors=True)
