"""The only decorators of compiled code."""

import itertools
import secrets

import numba
from numba.core.bytecode import FunctionIdentity

from fastadv.kernels._cache import KernelCache
from fastadv.kernels._folder import cache_folder

# Without "nnan" and "ninf": a NaN has to stay a NaN. "reassoc" is what lets a sum vectorise.
FASTMATH = {"nsz", "arcp", "contract", "afn", "reassoc"}

CACHE_FOLDER = cache_folder()

# Numba tells functions of one name and signature (two closures of one definition) by a number that
# every process counts from 1, and a linker takes equal names for one function. Machine code of many
# processes meets in the folder: so each counts from a number of its own.
FunctionIdentity._unique_ids = itertools.count(secrets.randbits(60))


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
    """Compile a kernel with prange, to be called within `fastadv.threads.numba_threads`."""
    return _compile(function, nogil=True, fastmath=FASTMATH, parallel=True, forceinline=False)
