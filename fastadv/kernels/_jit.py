"""The only decorators of compiled code, and where its machine code is kept.

Numba keys a cached kernel by its own source file, so that a change in a kernel that it calls would
leave the old machine code in use. The cache folder is therefore named by a hash of all kernel
sources: any change starts a new one.
"""

import hashlib
import os
import shutil
import sys
import time
from pathlib import Path

import numba
import platformdirs

from fastadv.kernels._cache import KernelCache

# Without "nnan" and "ninf": a NaN has to stay a NaN. "reassoc" is what lets a sum vectorise.
FASTMATH = {"nsz", "arcp", "contract", "afn", "reassoc"}

_UNUSED_FOLDERS_GO_AFTER = 30 * 24 * 3600.0  # seconds


def _cache_folder() -> Path:
    chosen = os.environ.get("NUMBA_CACHE_DIR")
    if chosen:
        root = Path(chosen) / "fastadv"
    else:
        root = Path(platformdirs.user_cache_dir("fastadv")) / "kernels"
    digest = hashlib.blake2b(digest_size=8)
    versions = f"{sys.version_info[:2]} {numba.__version__} boundscheck={numba.config.BOUNDSCHECK}"
    digest.update(versions.encode())
    for source in sorted(Path(__file__).parent.glob("*.py")):
        digest.update(source.name.encode())
        digest.update(source.read_bytes())
    return root / digest.hexdigest()


def _prepare(folder: Path) -> None:
    """Make the folder and remove its forerunners that nobody has used for a month."""
    if folder.is_dir():
        return
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for other in folder.parent.iterdir():
            if other != folder and time.time() - other.stat().st_mtime > _UNUSED_FOLDERS_GO_AFTER:
                shutil.rmtree(other, ignore_errors=True)
    except OSError:
        pass  # a read-only home: said where something is to be kept


CACHE_FOLDER = _cache_folder()
_prepare(CACHE_FOLDER)


def _compile(function, **options):
    compiled = numba.njit(function, error_model="numpy", **options)
    if not numba.config.DISABLE_JIT:
        compiled._cache = KernelCache(function, CACHE_FOLDER)
    return compiled


def kernel(function):
    """Compile a serial kernel that releases the GIL, with the safe part of fast-math.

    Kernels that call it get its code inlined. Called, it would be whichever copy of it the process
    loaded first, and fast-math lets the copies of different callers round differently.
    """
    return _compile(function, nogil=True, fastmath=FASTMATH, forceinline=True)


def exact_kernel(function):
    """Compile a serial kernel without fast-math: sums keep their order, guards their meaning."""
    # Said, not left out: a kernel that is compiled for a caller inherits what it does not say.
    return _compile(function, nogil=True, fastmath=False, forceinline=False)


def parallel_kernel(function):
    """Compile a kernel with prange; only ever called from the main thread."""
    return _compile(function, nogil=True, fastmath=FASTMATH, parallel=True, forceinline=False)
