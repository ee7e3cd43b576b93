"""Steps to a linearised decision boundary."""

import numpy as np

from fastadv.kernels._jit import exact_kernel, kernel

LINF, L2 = 0, 1


@kernel
def dual_norms(w, norm, out):
    """Fill ``out`` (n,) float64: how much w'x gains for each unit of the norm.

    That is the L1 norm of ``w`` (n, d) for Linf, its L2 norm for L2.
    """
    for i in range(w.shape[0]):
        total = 0.0
        for j in range(w.shape[1]):
            g = np.float64(w[i, j])
            total += abs(g) if norm == LINF else g * g
        out[i] = total if norm == LINF else np.sqrt(total)


@exact_kernel
def add_step(w, lengths, duals, norm, change):
    """Add to ``change`` the step of ``lengths`` (n,) in the norm that w'x gains most by.

    ``duals`` is from `dual_norms`; a row where it is 0 stays.
    """
    kind = change.dtype.type
    for i in range(w.shape[0]):
        if duals[i] <= 0.0:
            continue
        for j in range(w.shape[1]):
            if norm == L2:
                change[i, j] += kind(lengths[i] / duals[i] * w[i, j])
            elif w[i, j] != 0:
                change[i, j] += kind(lengths[i] if w[i, j] > 0 else -lengths[i])
