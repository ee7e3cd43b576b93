"""Losses of logits, row by row, with their gradients."""

import math

import numpy as np

from fastadv.kernels._jit import exact_kernel

# In logits, of a row. In float32 the probability of a label that leads by 17 is 1.
SURE = 14.0  # how far a label may lead for 1 - p to have digits enough
WIDE = 40.0  # from the largest to the smallest; usual are 10 to 40
USUAL = 20.0  # at which the cross-entropy makes about the strongest attacks, of 8 to 40


@exact_kernel
def softmax(logits, out):
    """Fill ``out`` with the softmax of each row; no row overflows."""
    for i in range(logits.shape[0]):
        top = logits[i, 0]
        for j in range(1, logits.shape[1]):
            top = max(top, logits[i, j])
        total = 0.0
        for j in range(logits.shape[1]):
            out[i, j] = np.exp(logits[i, j] - top)
            total += out[i, j]
        inverse = logits.dtype.type(1.0 / total)
        for j in range(logits.shape[1]):
            out[i, j] *= inverse


@exact_kernel
def cross_entropy(logits, labels, losses, dlogits):
    """Fill ``losses`` (n,) float64 and ``dlogits`` (n, k): softmax minus one-hot."""
    softmax(logits, dlogits)
    for i in range(logits.shape[0]):
        top, total = logits[i, 0], 0.0
        for j in range(1, logits.shape[1]):
            top = max(top, logits[i, j])
        for j in range(logits.shape[1]):
            total += math.exp(logits[i, j] - top)
        losses[i] = math.log(total) - (logits[i, labels[i]] - top)
        dlogits[i, labels[i]] -= logits.dtype.type(1.0)


@exact_kernel
def ascent(logits, labels, losses, dlogits):
    """Fill ``losses`` (n,) float64 and ``dlogits`` (n, k) as `cross_entropy` does, for attackers.

    Of a row that is surer of its label than `SURE`, or spread wider than `WIDE`, the gradient is
    divided by 1 - p before it is rounded: it would be 0, or what rounding left. If it is that wide
    it is taken of the logits at the spread `USUAL`, as it would be of the same logits in another
    unit. And where the cross-entropy itself would be 0, below `WIDE`, its logarithm takes its
    place: losses of one image keep their order.
    """
    kind = logits.dtype.type
    cross_entropy(logits, labels, losses, dlogits)
    for i in range(logits.shape[0]):
        y = labels[i]
        top = float(logits[i, runner_up(logits, i, y)])
        high = max(top, float(logits[i, y]))
        low, lead = high, float(logits[i, y]) - top
        for j in range(logits.shape[1]):
            if logits[i, j] > -np.inf:  # the logarithm of a probability of 0 is no measure
                low = min(low, float(logits[i, j]))
        spread = high - low
        if lead <= SURE and spread <= WIDE:
            continue
        factor = USUAL / spread if spread > WIDE else 1.0
        total, scaled = 0.0, 0.0
        for j in range(logits.shape[1]):
            if j != y:
                total += math.exp(float(logits[i, j]) - top)
                scaled += math.exp(factor * (float(logits[i, j]) - top))
        odds = math.log(total) - lead
        if odds < -WIDE:
            losses[i] = odds
        else:
            losses[i] = max(odds, 0.0) + math.log1p(math.exp(-abs(odds)))
        for j in range(logits.shape[1]):
            dlogits[i, j] = kind(math.exp(factor * (float(logits[i, j]) - top)) / scaled)
        dlogits[i, y] = kind(-1.0)


@exact_kernel
def runner_up(logits, i, label):
    """Return the class of the largest logit in row ``i`` other than ``label``."""
    best = 0 if label != 0 else 1
    for j in range(best + 1, logits.shape[1]):
        if j != label and logits[i, j] > logits[i, best]:
            best = j
    return best


@exact_kernel
def margin(logits, labels, targets, margins, rivals):
    """Fill ``margins`` (n,) float64: negative where the attack has succeeded; and the rivals.

    Without a target (-1) the margin is Z_y - max of the others, with one max of the others - Z_t.
    ``rivals`` gets the class that stands on the other side of the difference.
    """
    for i in range(logits.shape[0]):
        anchor = labels[i] if targets[i] < 0 else targets[i]
        rival = runner_up(logits, i, anchor)
        rivals[i] = rival
        difference = float(logits[i, anchor]) - float(logits[i, rival])
        margins[i] = difference if targets[i] < 0 else -difference


@exact_kernel
def largest(row, order):
    """Fill ``order`` with the columns of the largest entries of ``row``, the largest first."""
    for place in range(order.size):
        best = -1
        for j in range(row.size):
            taken = False
            for before in range(place):
                taken |= order[before] == j
            if not taken and (best < 0 or row[j] > row[best]):
                best = j
        order[place] = best


@exact_kernel
def dlr(logits, labels, targets, losses, dlogits):
    """Fill ``losses`` (n,) float64 and ``dlogits`` (n, k): the difference of logits ratio.

    With the logits in descending order Z_1, Z_2, ...: without a target (-1)
    -(Z_y - max of the others) / (Z_1 - Z_3), with one -(Z_y - Z_t) / (Z_1 - (Z_3 + Z_4) / 2).
    """
    kind = logits.dtype.type
    order = np.empty(4, np.int64)
    for i in range(logits.shape[0]):
        targeted = targets[i] >= 0
        used = order[: 4 if targeted else 3]
        largest(logits[i], used)
        y = labels[i]
        rival = targets[i] if targeted else runner_up(logits, i, y)
        third, fourth = used[2], used[3] if targeted else used[2]
        middle = 0.5 * (float(logits[i, third]) + float(logits[i, fourth]))
        spread = float(logits[i, used[0]]) - middle
        inverse = 1.0 / spread if spread > 0.0 else 0.0  # all tied: no direction is better
        losses[i] = -(float(logits[i, y]) - float(logits[i, rival])) * inverse
        for j in range(logits.shape[1]):
            dlogits[i, j] = kind(0.0)
        dlogits[i, y] -= kind(inverse)
        dlogits[i, rival] += kind(inverse)
        slope = losses[i] * inverse
        dlogits[i, used[0]] -= kind(slope)
        dlogits[i, third] += kind(0.5 * slope)
        dlogits[i, fourth] += kind(0.5 * slope)
