"""Steps and projections in pixel space: gradient in, image out, box and ball kept exactly."""

import numpy as np

from fastadv.kernels._jit import exact_kernel, kernel


@exact_kernel
def box(x, low, high, out):
    """Fill ``out`` (n, d) with ``x`` brought into the box and rounded to float32."""
    for i in range(x.shape[0]):
        for j in range(x.shape[1]):
            out[i, j] = np.float32(min(max(x[i, j], low), high))


@exact_kernel
def linf_project(x, eps, low, high, x_adv):
    """Bring ``x_adv`` (n, d) back into the box and within ``eps`` of ``x``. Modified in place."""
    kind = x.dtype.type
    for i in range(x.shape[0]):
        for j in range(x.shape[1]):
            least, most = max(x[i, j] - kind(eps), kind(low)), min(x[i, j] + kind(eps), kind(high))
            x_adv[i, j] = min(max(x_adv[i, j], least), most)


@kernel
def l2_project(x, eps, low, high, x_adv):
    """Bring ``x_adv`` into the ball around ``x`` and then into the box, which cannot leave it."""
    kind = x.dtype.type
    for i in range(x.shape[0]):
        square = 0.0
        for j in range(x.shape[1]):
            d = np.float64(x_adv[i, j]) - np.float64(x[i, j])
            square += d * d
        norm = np.sqrt(square)
        # A hair inside, so that rounding to float32 cannot leave the ball.
        scale = min(1.0, eps * (1.0 - 1e-6) / norm) if norm > 0.0 else 1.0
        for j in range(x.shape[1]):
            moved = x[i, j] + kind(scale) * (x_adv[i, j] - x[i, j])
            x_adv[i, j] = min(max(moved, kind(low)), kind(high))


@exact_kernel
def linf_step(gradient, steps, x_adv):
    """Add ``steps`` (n,) times the sign of the gradient. ``x_adv`` is modified in place."""
    for i in range(x_adv.shape[0]):
        step, zero = x_adv.dtype.type(steps[i]), x_adv.dtype.type(0.0)
        for j in range(x_adv.shape[1]):  # two selects: a branch would keep it from vectorising
            up = step if gradient[i, j] > 0 else zero
            down = step if gradient[i, j] < 0 else zero
            x_adv[i, j] += up - down


@kernel
def l2_step(gradient, steps, x_adv):
    """Add ``steps`` (n,) times the unit gradient; a zero gradient moves nothing."""
    for i in range(x_adv.shape[0]):
        square = 0.0
        for j in range(x_adv.shape[1]):
            square += np.float64(gradient[i, j]) * np.float64(gradient[i, j])
        scale = steps[i] / np.sqrt(square) if square > 0.0 else 0.0
        for j in range(x_adv.shape[1]):
            x_adv[i, j] += x_adv.dtype.type(scale * gradient[i, j])


@exact_kernel
def momentum_step(moved, weight, x_adv, previous):
    """Go on from ``x_adv`` by ``weight`` toward ``moved``, by the rest as the last step went.

    ``x_adv`` gets the new point and ``previous`` the old one.
    """
    onward, rest = x_adv.dtype.type(weight), x_adv.dtype.type(1.0 - weight)
    for i in range(x_adv.shape[0]):
        for j in range(x_adv.shape[1]):
            here = x_adv[i, j]
            x_adv[i, j] = here + onward * (moved[i, j] - here) + rest * (here - previous[i, j])
            previous[i, j] = here


@kernel
def climb(x, gradient, away, low, high, momentum, steps, heading, out):
    """Turn ``heading`` (n, d), and fill ``out`` with x moved along it by ``steps`` (n,).

    It becomes momentum times itself plus the unit ascent direction: the gradient without what
    pushes against an active bound of the box or, where nothing of it is left, from x to ``away``.
    """
    for i in range(x.shape[0]):
        along, square = out[i], 0.0
        for j in range(x.shape[1]):
            g = gradient[i, j]
            stuck = (x[i, j] <= low and g < 0.0) or (x[i, j] >= high and g > 0.0)
            along[j] = 0.0 if stuck else g
            square += along[j] * along[j]
        if square == 0.0:
            for j in range(x.shape[1]):
                along[j] = away[i, j] - x[i, j]
                square += along[j] * along[j]
        scale, square = 1.0 / np.sqrt(square) if square > 0.0 else 0.0, 0.0
        for j in range(x.shape[1]):
            heading[i, j] = momentum * heading[i, j] + scale * along[j]
            square += heading[i, j] * heading[i, j]
        scale = steps[i] / np.sqrt(square) if square > 0.0 else 0.0
        for j in range(x.shape[1]):
            out[i, j] = x[i, j] + scale * heading[i, j]


@exact_kernel
def distances(x, x_adv, linf, l2):
    """Fill ``linf`` and ``l2`` (n,) float64 with the size of the change of each row."""
    for i in range(x.shape[0]):
        top, square = 0.0, 0.0
        for j in range(x.shape[1]):
            d = abs(np.float64(x_adv[i, j]) - np.float64(x[i, j]))
            top = max(top, d)
            square += d * d
        linf[i], l2[i] = top, np.sqrt(square)
