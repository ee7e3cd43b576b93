r"""
How the numbers are made and checked
====================================

You will learn why a figure of fastadv can be believed, and how far: what its
interval covers, how its gradients are checked, what an attack finds where the
answer is known, what the same seed gives, and what happens when an attack
fails. Every check below runs on this page. The test suite does the same, and
more of it.
"""

import hashlib

import matplotlib.pyplot as plt
import numpy as np

import fastadv
from fastadv.runs import Runs
from fastadv.threads import set_threads, thread_count

# Colours that all eyes tell apart.
BLUE, ORANGE, GREEN, PINK = "#0072B2", "#D55E00", "#009E73", "#CC79A7"

# %%
# What an interval covers
# -----------------------
#
# The accuracy of a defense is a number with *two* kinds of chance in it. Train
# again, and it is another; take other test images, and it is another. A figure
# of a grid is the mean over several runs, and its 95 % interval counts both
# (``fastadv/runs.py``): Wilson's interval for the images, a *t* interval for
# the trainings, put together by the rule of Zou and Donner (Statistics in
# Medicine, 2008).
#
# Does it hold? Let us draw experiments in which the truth is known: every
# training has an accuracy of its own around 90 %, and gets its share of 1,000
# test images, as the runs of a cell do under evasion. Of a good interval, 95 %
# hold the truth. Beside it stands what is often printed: the interval over the
# images of all runs together, as if there were no trainings.

rng = np.random.default_rng(0)
TRUTH, IMAGES, DRAWS = 0.9, 1000, 4000


def experiments(n_runs, spread):
    """Return the accuracies that runs are seen to have, (DRAWS, n_runs)."""
    accuracy = np.clip(rng.normal(TRUTH, spread, (DRAWS, n_runs)), 0, 1)
    return rng.binomial(IMAGES // n_runs, accuracy) / (IMAGES // n_runs)


def holds(low, high):
    """Return the share of intervals that hold the truth, in %."""
    return 100 * np.mean((low <= TRUTH) & (high >= TRUTH))


def both(seen):
    """Return the interval over runs and images."""
    n_runs = seen.shape[1]
    own = np.mean(seen * (1 - seen), axis=1) / (IMAGES // n_runs)
    return Runs(seen, own / n_runs, own, IMAGES).interval()


def images_alone(seen):
    """Return Wilson's interval of all images together."""
    counts = np.rint(seen.mean(axis=1) * IMAGES).astype(int)
    figures = [fastadv.Figure.of_count(int(count), IMAGES) for count in counts]
    return np.array([(one.low, one.high) for one in figures]).T


spreads = [0.0, 0.005, 0.01, 0.02, 0.03]
fig, ax = plt.subplots(figsize=(7, 4), layout="constrained")
for n_runs, style, color in (
    (3, "o-", BLUE),
    (5, "s-", GREEN),
    (10, "^-", PINK),
):
    covered = [holds(*both(experiments(n_runs, spread))) for spread in spreads]
    label = f"runs and images, {n_runs} runs"
    ax.plot(100 * np.array(spreads), covered, style, color=color, label=label)
    print(
        f"{n_runs:2d} runs: between {min(covered):.1f} and "
        f"{max(covered):.1f} % hold the truth"
    )
naive = [holds(*images_alone(experiments(5, spread))) for spread in spreads]
ax.plot(
    100 * np.array(spreads),
    naive,
    "x--",
    color=ORANGE,
    label="images alone, 5 runs",
)
print(f"images alone, 5 runs: down to {min(naive):.1f} %")
ax.axhline(95, color="0.6", linestyle=":", label="what 95 % means")
ax.set(
    xlabel="standard deviation between trainings (points of accuracy)",
    ylabel="intervals that hold the truth (%)", ylim=(None, 100.5),
)  # fmt: skip
ax.legend(fontsize=8)
plt.show()

# %%
# As soon as trainings differ, an interval over the images alone is too narrow.
# One run says nothing of other trainings: a cell of one run has such an
# interval, and a grid then calls no defense the best.
#
# Gradients against central differences
# -------------------------------------
#
# An attack with a wrong gradient finds little, and its model looks robust. So
# every gradient is compared with :math:`(g(x + h) - g(x - h)) / 2h`, which
# knows nothing of how the gradient was made. Here is the hardest one: the
# validation loss of a perceptron *after training*, as a function of a training
# image. Its gradient goes back through every step of the training.

data = fastadv.load_dataset("mnist[train=100,val=100,test=1000]")
learner = fastadv.MLPClassifier(
    (8,), "tanh", batch_size=25, max_iter=40, learning_rate_init=0.1
)
moving = np.array([0])
objective = learner.poison_objective(
    data.x_train, data.y_train, moving, data.x_val, data.y_val
)
point = 0.1 + 0.8 * data.x_train[moving].astype(float)
_, exact = objective(point)
ways = rng.normal(size=(8, *point.shape))
ways /= np.linalg.norm(ways, axis=2, keepdims=True)


def off(way, h):
    """Return the difference along a direction over the gradient's length."""
    numeric = (
        objective.loss(point + h * way) - objective.loss(point - h * way)
    ) / (2 * h)
    return abs(numeric - (exact * way).sum()) / np.linalg.norm(exact)


sizes = 10.0 ** np.arange(-9, 0)
table = np.array([[off(way, h) for h in sizes] for way in ways])
print(f"relative difference at the best step: {table.max(axis=0).min():.1e}")

fig, ax = plt.subplots(figsize=(7, 3.8), layout="constrained")
ax.loglog(sizes, table.T, color=BLUE, alpha=0.4)
ax.loglog(
    sizes,
    table.max(axis=0),
    "o-",
    color=ORANGE,
    label="largest of eight directions",
)
ax.set(
    xlabel="step h of the difference (pixel values)",
    ylabel="relative difference",
)
ax.legend()
plt.show()

# %%
# The V is what an exact gradient looks like. At the right the difference is
# coarse and its error falls with :math:`h^2`; at the left rounding takes over
# and it rises with :math:`1/h`. A wrong gradient would be a flat line: no step
# makes it right.
#
# An attack where the answer is known
# -----------------------------------
#
# Against a linear model the strongest attack of a budget is known in closed
# form. Say that no pixel may change by more than :math:`\epsilon`, that there
# are two classes, and that their weights differ by :math:`w = w_y - w_o`. Then
# the margin :math:`Z_y - Z_o` of an image can fall by exactly
# :math:`\epsilon \lVert w \rVert_1`, and no further (as long as the box of the
# pixels is not in the way). What does PGD find?

EPS = 0.03
weights = rng.normal(size=(50, 2))
linear = fastadv.MLPClassifier.from_weights(
    [weights], [-0.5 * weights.sum(axis=0)]
)
x = rng.uniform(0.3, 0.7, (300, 50)).astype(np.float32)
y = linear.predict(x)
task = fastadv.Task((50, 1, 1), 2)


def margin(x):
    """Return Z_y - Z_other of each image."""
    logits, rows = linear.logits(x).astype(float), np.arange(len(x))
    return logits[rows, y] - logits[rows, 1 - y]


least = margin(x) - EPS * np.abs(weights[:, 0] - weights[:, 1]).sum()
fig, ax = plt.subplots(figsize=(6, 4.2), layout="constrained")
ax.axhspan(-20, 0, color="0.93")
for name, marker, color in (
    (f"noise[eps={EPS}]", "x", ORANGE),
    (f"fgsm[eps={EPS}]", "s", PINK),
    (f"pgd[eps={EPS}]", ".", BLUE),
):  # fmt: skip
    result = fastadv.make_attack(name).perturb(linear, x, y, task=task, seed=0)
    left, possible = 100 * result.robust.mean(), 100 * np.mean(least > 0)
    same = np.array_equal(result.robust, least > 0)
    print(
        f"{name:16s} leaves {left:5.1f} %, the optimum {possible:.1f} %, "
        f"the same images: {same}"
    )
    found = margin(result.x_adv)[result.is_adv]
    ax.plot(
        least[result.is_adv],
        found,
        marker,
        color=color,
        label=name,
        ls="",
        ms=5,
    )
low = least.min() * 1.05
ax.plot([low, 0], [low, 0], color="black", lw=1, label="the optimum")
ax.set(
    xlabel="least margin that is possible (logits)",
    ylabel="margin that the attack found (logits)",
    xlim=(low, 0), ylim=(low, 0.3),
)  # fmt: skip
ax.legend()
plt.show()

# %%
# Each point is an image that the attack turned. On the line it could not have
# done more. (An attack that only wants to turn an image may stop before: PGD
# keeps the worst point of its path.)
#
# The same numbers again
# ----------------------
#
# The same seed gives the same bytes, for any number of threads, and for an
# image alone as in a batch: the random numbers of an image hang on the image,
# and not on what runs beside it.

data = fastadv.load_dataset("mnist[train=3000,test=1000]")
model = fastadv.MLPClassifier(random_state=0).fit(data.x_train, data.y_train)
images, labels = data.x_test[:100], data.y_test[:100]
before = thread_count()
print("attack               with 1, 2 and 3 threads")
for name in ("pgd", "stadv", "square[queries=200]"):
    attack, digests = fastadv.make_attack(name), []
    for threads in (1, 2, 3):
        set_threads(threads)
        whole = attack.perturb(
            model, images, labels, task=data.task, seed=1
        ).x_adv
        digests.append(hashlib.sha256(whole.tobytes()).hexdigest()[:12])
    alone = attack.perturb(
        model, images[7:8], labels[7:8], task=data.task, seed=1
    ).x_adv
    same = np.array_equal(alone[0], whole[7])
    print(f"{name:20s} {' '.join(digests)}, image 7 alone the same: {same}")
set_threads(before)

# %%
# On another type of processor sums are rounded otherwise, and last digits may
# differ.
#
# When an attack fails
# --------------------
#
# A weak attack leaves a high accuracy, and nothing in that number says that it
# is weak. So cells are checked against each other and against controls: noise
# of the same budget, attacks without gradients, smaller budgets, random flips.
# Here a PGD is crippled on purpose, with one step that is much too short:

grid = fastadv.run_grid(
    attacks=["noise", "pgd[steps=1,step_size=0.001]", "square[queries=300]"],
    defenses=["none"],
    dataset="mnist[train=3000,test=1000]",
    samples=150,
    repeats=3,
    jobs=1,
)
for row in grid:
    f = row.attacked_accuracy
    print(f"{row.attack:30s} {100 * f.value:5.1f} %", end=" ")
    print(f"({100 * f.low:.1f} to {100 * f.high:.1f})")
    for flag in row.flags:
        print(f"    ! {flag.name}: {flag.message}")
        print(f"      what to do: {flag.remedy}")

# %%
# A flag (``!`` in the table) says that a figure is not to be trusted, why, and
# what to do. A flagged figure is never the best of its row, and a gate in CI
# fails on it.
#
# What else there is
# ------------------
#
# * ``tests/`` holds every kernel against a plain NumPy twin, and attacks
#   against optima in closed form.
# * ``results/README.md`` holds what was measured at full size, with the
#   commands.
# * ``fastadv bench --suite strength`` and ``--suite flows`` hold the attacks
#   against other libraries and against long searches.
