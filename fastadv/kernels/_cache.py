"""Machine code on disk: one file for each kernel, signature and processor.

Numba's own cache has an index for each function, which two processes overwrite for each other, and
a file that was cut short fails every later call. Here a file is found by what it is made of, it is
renamed into place when it is whole, and it carries a checksum: one that does not hold is compiled
and written again. Any number of processes may share the folder.
"""

import contextlib
import functools
import hashlib
import os
import pickle
import tempfile
import time
import warnings
from pathlib import Path

from numba.core.caching import NullCache
from numba.core.compiler import CompileResult
from numba.core.serialize import dumps
from numba.np.ufunc.parallel import _launch_threads

_DIGEST = 16  # bytes of a checksum
_ABANDONED = 3600.0  # seconds after which nobody is still writing a file
_PRANGE = b"numba_parallel_for"  # what machine code with prange calls


def digest(*parts):
    """Return the hash of bytes or texts, bytes of length 16."""
    hashed = hashlib.blake2b(digest_size=_DIGEST)
    for part in parts:
        encoded = part.encode() if isinstance(part, str) else part
        hashed.update(len(encoded).to_bytes(8, "little"))
        hashed.update(encoded)
    return hashed.digest()


class KernelCache(NullCache):
    """The compiled signatures of one function, for ``numba``'s dispatcher.

    Parameters
    ----------
    function : function
        What is compiled.
    folder : Path
        Where the files are. Its name has to change with what a kernel calls (see `_jit`).
    """

    _told = False  # that nothing can be kept: once a process is enough

    def __init__(self, function, folder):
        self._folder = folder
        self._name = f"{function.__module__.rpartition('.')[2]}.{function.__name__}"
        cells = tuple(cell.cell_contents for cell in function.__closure__ or ())
        self._code = digest(function.__code__.co_code, dumps(cells))

    @property
    def cache_path(self):
        """Where the files are, as text."""
        return str(self._folder)

    def load_overload(self, sig, target_context):
        """Return the compiled signature, or None where there is none or it is damaged."""
        target_context.refresh()
        try:
            stored = self._path(sig, target_context.codegen()).read_bytes()
        except OSError:
            return None
        payload = stored[_DIGEST:]
        if digest(payload) != stored[:_DIGEST]:
            return None
        if _PRANGE in payload:
            # A kernel that calls one with prange does not say so itself, and is not linked without.
            _launch_threads()
        return CompileResult._rebuild(target_context, *pickle.loads(payload))

    def save_overload(self, sig, data):
        """Keep a compiled signature; where that cannot be, say so once and go on."""
        if data.library.has_dynamic_globals or any(not code.can_cache for code in data.lifted):
            return  # it holds addresses of this process
        try:
            payload = dumps(data._reduce())
        except RuntimeError:
            return  # a signal met LLVM as it handed its object over: compiled, and not to be had
        try:
            _write(self._path(sig, data.codegen), digest(payload) + payload)
        except OSError as error:
            if not KernelCache._told:
                KernelCache._told = True
                warnings.warn(
                    f"compiled kernels cannot be kept in {self._folder} ({error.strerror}), so "
                    "every run compiles anew; set NUMBA_CACHE_DIR to a folder that can be written to",
                    stacklevel=2,
                )

    def flush(self):
        """Remove what is kept of the function."""
        for path in self._folder.glob(f"{self._name}.*.nbc"):
            path.unlink(missing_ok=True)

    def _path(self, sig, codegen):
        what = digest(str(sig), repr(codegen.magic_tuple()), self._code).hex()
        return self._folder / f"{self._name}.{what}.nbc"


def _write(path, content):
    path.parent.mkdir(parents=True, exist_ok=True)
    _sweep(path.parent)
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=".", suffix=".tmp")
    temporary = Path(name)
    try:
        with os.fdopen(descriptor, "wb") as stream:
            stream.write(content)
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


@functools.cache
def _sweep(folder):
    """Remove what killed processes left half written; once a process is enough."""
    for path in folder.glob(".*.tmp"):
        with contextlib.suppress(OSError):
            if time.time() - path.stat().st_mtime > _ABANDONED:
                path.unlink()
