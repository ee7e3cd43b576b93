r"""
stAdv, step by step
===================

You will learn how an image is changed without changing the value of any pixel:
it is *bent*. You see the flows that do it, what their loss counts, how the
least one is searched for, and how to read the success of such an attack as a
curve over the budget.

The attack is by Xiao et al., *Spatially Transformed Adversarial Examples*,
ICLR 2018 (`arXiv:1801.02612 <https://arxiv.org/abs/1801.02612>`__).
"""

import matplotlib.pyplot as plt
import numpy as np

import fastadv

# Colours that all eyes tell apart.
BLUE, ORANGE, GREEN, PINK = "#0072B2", "#D55E00", "#009E73", "#CC79A7"

# %%
# A model to attack
# -----------------
#
# A part of MNIST is enough to see everything, and trains in a second. Figures
# are therefore not those of the whole data set: what is claimed at full size
# is in ``results/README.md`` of the repository.

data = fastadv.load_dataset("mnist[train=10000,test=1000]")
model = fastadv.MLPClassifier(random_state=0).fit(data.x_train, data.y_train)
x, y = data.x_test[:200], data.y_test[:200]
print(f"right on {100 * model.score(x, y):.1f} % of {len(x)} test images")

# %%
# What a flow is
# --------------
#
# A flow gives every pixel of the *new* image a vector, in pixels, that says
# where in the old image it reads: :math:`\Delta u` along the columns and
# :math:`\Delta v` along the rows. It reads between pixels, too, by bilinear
# interpolation of the four around that point (equation 1 of the paper):
#
# .. math::
#    x_{adv}(i, j) = \sum_{q} x(q) \,
#        \bigl(1 - |i + \Delta v - q_i|\bigr)_+ \bigl(1 - |j + \Delta u - q_j|\bigr)_+
#
# So the new image holds only mixtures of values that stood there before: it
# cannot leave the range of the pixels, and there is no noise to see. Let us
# run the attack and look.

attack = fastadv.make_attack("stadv")
result = attack.perturb(model, x, y, task=data.task, seed=0)
# (n, 2, height, width): du along the columns, dv along the rows
flows = result.details["flow"]
loss = result.distances["flow_loss"]
n_right = (~result.misclassified).sum()
print(f"turned, at any flow:   {result.is_adv.sum()} of {n_right}")
print(f"of these, flow loss:   median {np.median(loss[result.is_adv]):.1f}")
shift = result.distances["shift"]
at = np.median(shift[result.is_adv])
print(f"largest shift in one:  median {at:.2f} pixels")

# %%
# Here are four of them. The arrows in the second column show from where each
# pixel is read. Arrows are drawn in pixels, at every second pixel that is not
# blank before or after.


def show_flow(axes, before, flow, after, labels):
    """Draw an image, the flow over it, the bent image, the difference."""
    size = before.shape[0]
    rows, columns = np.mgrid[0:size, 0:size]
    shown = ((before > 0.05) | (after > 0.05)) & (rows % 2 == 0)
    axes[0].imshow(before, cmap="gray_r", vmin=0, vmax=1)
    axes[1].imshow(before, cmap="gray_r", vmin=0, vmax=2)
    axes[1].quiver(
        columns[shown], rows[shown], flow[0][shown], flow[1][shown],
        color=ORANGE, angles="xy", scale_units="xy", scale=0.5, width=0.008,
    )  # fmt: skip
    axes[2].imshow(after, cmap="gray_r", vmin=0, vmax=1)
    drawn = axes[3].imshow(after - before, cmap="PuOr", vmin=-1, vmax=1)
    axes[0].set_ylabel(
        f"{labels[0]} → {labels[1]}", fontsize=13, rotation=0, labelpad=26
    )
    for one in axes:
        one.set(xticks=[], yticks=[])
    return drawn


found = np.flatnonzero(result.is_adv)
by_loss = found[np.argsort(loss[found])]
typical = by_loss[len(found) // 8 :: len(found) // 4][:4]
predicted = model.predict(result.x_adv)
fig, axes = plt.subplots(4, 4, figsize=(7.5, 7.5), layout="constrained")
for row, i in zip(axes, typical, strict=True):
    drawn = show_flow(
        row,
        x[i].reshape(28, 28),
        flows[i],
        result.x_adv[i].reshape(28, 28),
        (y[i], predicted[i]),
    )
    row[1].set_title(f"flow loss {loss[i]:.1f}", fontsize=10)
axes[0, 0].set_title("before", fontsize=10)
axes[0, 2].set_title("after", fontsize=10)
axes[0, 3].set_title("after - before", fontsize=10)
fig.colorbar(
    drawn, ax=axes[:, 3], label="change of the pixel's value", shrink=0.5
)
fig.suptitle(
    "Digits before and after (arrows: two times their length in pixels)"
)
plt.show()

# %%
# The difference is large, pixel by pixel: the distances that other attacks are
# measured by say little here. What counts is how uneven the flow is.

at = {
    name: np.median(result.distances[name][result.is_adv])
    for name in ("linf", "l2")
}
print(
    f"median Linf distance {at['linf']:.2f}, median L2 distance {at['l2']:.2f}"
)

# %%
# The flow loss
# -------------
#
# Equation 4 of the paper sums, over all pixels :math:`p` and their neighbours
# :math:`q`, how far their vectors differ:
#
# .. math::
#    L_{paper}(f) = \sum_{p} \sum_{q \in N(p)}
#        \sqrt{\lVert \Delta u_p - \Delta u_q \rVert^2 + \lVert \Delta v_p - \Delta v_q \rVert^2}
#
# Each pair of neighbours stands there twice, once from either side. fastadv
# counts each pair once, and has one root for a pixel :math:`p` with both its
# neighbours, the one to the right and the one below:
#
# .. math::
#    L(f) = \sum_{p} \sqrt{\lVert f_p - f_{right(p)} \rVert^2 + \lVert f_p - f_{below(p)} \rVert^2 + 10^{-8}}
#
# It is the total variation of the flow. Both are a few lines of NumPy. The
# second one has to be what the attack reports:


def steps(flow):
    """Return the squared differences to the right and below, 0 at borders."""
    right, below = np.zeros(flow.shape[1:]), np.zeros(flow.shape[1:])
    right[:, :-1] = np.square(np.diff(flow, axis=2)).sum(axis=0)
    below[:-1] = np.square(np.diff(flow, axis=1)).sum(axis=0)
    return right, below


def loss_here(flow):
    """Return one root a pixel, summed."""
    right, below = steps(flow.astype(float))
    return np.sqrt(right + below + 1e-8).sum()


def loss_of_the_paper(flow):
    """Return a root for each pixel and adjacent neighbour, summed."""
    right, below = steps(flow.astype(float))
    return 2 * (np.sqrt(right).sum() + np.sqrt(below).sum())


ours = np.array([loss_here(flows[i]) for i in found])
theirs = np.array([loss_of_the_paper(flows[i]) for i in found])
print(
    "largest difference to what the attack reports:",
    f"{np.abs(ours - loss[found]).max():.1e}",
)
low, middle, high = np.quantile(theirs / ours, [0.05, 0.5, 0.95])
print(
    f"the paper's over ours: median {middle:.2f}, "
    f"{low:.2f} to {high:.2f} in nine of ten images"
)

# %%
# So a figure of another paper has to be divided by about that ratio before it
# is put beside ours.
#
# Moving the image
# ----------------
#
# The loss sees *differences* between neighbours. If all vectors are the same,
# it is 0: the image has moved as a whole, and that costs nothing. A
# convolutional network may not care where a digit stands. A perceptron does,
# and against it the least flow is mostly a translation. That is another attack
# than bending, so there are two: by default the mean of the flow is held at 0,
# and ``translation=true`` lets it move.

moving = fastadv.make_attack("stadv[translation=true]")
moved = moving.perturb(model, x, y, task=data.task, seed=0)
for name, one in (("held", result), ("free", moved)):
    d = {k: np.median(v[one.is_adv]) for k, v in one.distances.items()}
    share = one.is_adv.sum() / (~one.misclassified).sum()
    print(
        f"translation {name}: {100 * share:.0f} % turned, "
        f"flow loss {d['flow_loss']:.3f}, "
        f"moved by {d['translation']:.2f} pixels (medians)"
    )

# %%
# The same digit, bent and moved:

i = typical[1]
fig, axes = plt.subplots(2, 4, figsize=(7.5, 4.1), layout="constrained")
for row, name, one in zip(
    axes, ("held", "free"), (result, moved), strict=True
):
    after = one.x_adv[i].reshape(28, 28)
    turned = model.predict(one.x_adv[i : i + 1])[0]
    show_flow(
        row,
        x[i].reshape(28, 28),
        one.details["flow"][i],
        after,
        (y[i], turned),
    )
    needs = one.distances["flow_loss"][i]
    row[1].set_title(f"translation {name}\nflow loss {needs:.2f}", fontsize=10)
plt.show()

# %%
# Because the two need such different flow losses, a grid gives them different
# budgets: 30 for a flow that bends, 1 for one that may move. ``stadv`` without
# brackets stands for both in a grid.
#
# How the least flow is searched for
# ----------------------------------
#
# The paper minimises, for one weight :math:`\tau` that is the same for all
# images (equations 2 and 3, without a target; :math:`Z` are the logits),
#
# .. math::
#    \max\bigl(Z_y - \max_{c \ne y} Z_c,\; -\kappa\bigr) + \tau \, L(f)
#
# with :math:`\tau = 0.05` and :math:`\kappa = 0`. There are two traps. If
# bending costs more than the margin is worth, the minimum is *to do nothing*.
# And :math:`\kappa = 0` puts the minimum exactly on the boundary, so that the
# last iterate lies on either side. What an attacker wants is this instead:
#
# .. math::
#    \min_f L(f) \quad \text{so that} \quad \max_{c \ne y} Z_c > Z_y
#
# Its Lagrangian has a multiplier, which is :math:`1 / \tau`, and every image
# has its own. fastadv finds flow and multiplier together, by primal-dual
# steps, and keeps the least flow that it has seen succeed. Both are here: with
# ``search=false`` it is the paper's objective, minimised by L-BFGS.


def summary(text):
    """Return the share that is turned, in %, and its median flow loss."""
    one = fastadv.make_attack(text).perturb(
        model, x, y, task=data.task, seed=0
    )
    turned = one.is_adv
    needs = one.distances["flow_loss"][turned]
    middle = np.median(needs) if len(needs) else np.nan
    return 100 * turned.sum() / n_right, middle


taus = [0.2, 0.1, 0.05, 0.02, 0.005]
last = [summary(f"stadv[tau={tau},search=false,keep=last]") for tau in taus]
best = [summary(f"stadv[tau={tau},search=false,keep=best]") for tau in taus]
searched = summary("stadv")

fig, (left, middle) = plt.subplots(
    1, 2, figsize=(7.5, 3.6), layout="constrained"
)
for found, style, color, label in (
    (last, "o-", ORANGE, "fixed, last iterate (the paper)"),
    (best, "s--", PINK, "fixed, best iterate"),
):
    left.plot(
        taus, [turned for turned, _ in found], style, color=color, label=label
    )
left.axhline(searched[0], color=BLUE, label="searched for each image")
left.axvline(0.05, color="0.6", linestyle=":", label="the paper's weight")
left.set(
    xscale="log", xlabel=r"weight of the flow loss $\tau$ (logits per pixel)",
    ylabel="images turned, at any flow (%)", ylim=(0, 105),
)  # fmt: skip
left.legend(fontsize=8)

counts = [8, 16, 32, 64, 128]
by_steps = [summary(f"stadv[steps={n}]") for n in counts]
middle.plot(counts, [needs for _, needs in by_steps], "o-", color=BLUE)
middle.axvline(64, color="0.6", linestyle=":", label="the default")
middle.set(
    xscale="log", xlabel="evaluations of the model for each image",
    ylabel="median flow loss of the images turned", xticks=counts,
)  # fmt: skip
middle.set_xticks(counts, [str(n) for n in counts])
middle.minorticks_off()
middle.legend(fontsize=8)
plt.show()

# %%
# At the left: with one weight for all, the share of images that are turned
# hangs on the weight, and on which iterate is kept. The search has no such
# choice to get wrong. At the right: what more evaluations of the model buy.
# (L-BFGS lets the flow move the image; the search here holds its mean.)

for n, (turned, needs) in zip(counts, by_steps, strict=True):
    print(
        f"{n:4d} evaluations: {turned:5.1f} % turned, "
        f"median flow loss {needs:.2f}"
    )

# %%
# Success over the budget
# -----------------------
#
# The attack looks for the *least* flow and turns practically every image. So
# "how many are turned" tells no model from another. "How many are turned by a
# flow of at most this loss" does. One run of the attack gives the whole curve,
# because every image has its own least flow:

defense = fastadv.make_defense("adv_training")
plain = fastadv.MLPClassifier(random_state=0)
trained = defense.fit(
    plain, data.x_train, data.y_train, task=data.task, seed=0
)
against = attack.perturb(trained, x, y, task=data.task, seed=0)

budgets = np.linspace(0, 60, 121)
fig, ax = plt.subplots(figsize=(7, 4), layout="constrained")
for name, one, style, color in (
    ("none", result, "-", BLUE), ("adv_training", against, "--", ORANGE),
):  # fmt: skip
    needs = np.where(one.is_adv, one.distances["flow_loss"], np.inf)
    right = ~one.misclassified
    robust = [100 * np.mean(right & (needs > budget)) for budget in budgets]
    ax.plot(budgets, robust, style, color=color, label=f"defense {name}")
    share = 100 * one.robust_accuracy()
    print(
        f"{name}: {share:.1f} % of the images survive "
        f"flow loss {attack.budget:g}"
    )
ax.axvline(
    attack.budget,
    color="0.6",
    linestyle=":",
    label="the budget of a grid's row",
)
ax.set(
    xlabel="budget: largest flow loss allowed",
    ylabel="images right under attack (%)",
    ylim=(0, 100), xlim=(0, 60),
)  # fmt: skip
ax.legend()
plt.show()

# %%
# A row ``stadv flow 30`` of a grid is this curve at one point.
# ``result.success`` counts within the budget, ``result.is_adv`` at any
# distance.
#
# Where to go on
# --------------
#
# * From the command line: ``fastadv attack stadv --show 4`` draws four images
#   in the terminal.
# * ``fastadv reproduce stadv2018`` runs the paper's own setting beside ours.
# * ``fastadv bench --suite flows`` measures how near the flows are to the
#   least ones; its figures are in ``results/README.md``.
