r"""
Choosing a defense
==================

You will learn how to compare defenses fairly: against the same attacks, by
attackers who know them, with their price on clean images beside what they
hold, and with what is *proven* where a defense proves something. No defense is
best against everything, and the table shows it.
"""

import shlex
import subprocess
import sys
import tempfile

import matplotlib.pyplot as plt
import numpy as np

import fastadv

COLORS = {
    "none": "black", "adv_training": "#0072B2",
    "interval[epochs=8]": "#009E73", "median": "#CC79A7",
    "bit_depth": "#D55E00",
}  # fmt: skip
MARKERS = dict(zip(COLORS, "ovs^D", strict=True))

# %%
# The same attacks against all
# ----------------------------
#
# Four defenses, of three kinds:
#
# * ``adv_training`` trains on attacked images (Madry et al., ICLR 2018),
# * ``interval`` trains on bounds, and can *certify* (Gowal et al., 2018),
# * ``median`` and ``bit_depth`` stand before a model that was trained as ever
#   (Xu, Evans and Qi, NDSS 2018): a median filter, and black and white in
#   place of grey.
#
# Three attacks, of three threats: each pixel by at most 0.1
# (:math:`L_\infty`), all pixels together by at most 1 in Euclidean length
# (:math:`L_2`), and a flow that bends the image up to a flow loss of 30.

folder = tempfile.mkdtemp()
grid = fastadv.run_grid(
    attacks=["pgd", "pgd[norm=l2,eps=1]", "stadv[translation=false]"],
    defenses=list(COLORS),
    dataset="mnist[train=2000,test=1000]",
    samples=100,
    repeats=4,
    jobs=1,
    output=f"{folder}/out",
)


def run(command):
    """Run a command in the folder of this page, and print what it prints."""
    print("$", command)
    done = subprocess.run(
        [sys.executable, "-m", *shlex.split(command)], cwd=folder,
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    print(done.stdout)


run("fastadv report out")

# %%
# What it costs, and what it holds
# --------------------------------
#
# A defense has a price: accuracy on clean images, paid at every image, whether
# anybody attacks or not. So each panel has the clean accuracy on one axis and
# what an attack leaves on the other. The better, the further up and to the
# right. Bars are 95 % intervals over runs and images.

cells = {(row.attack, row.defense): row for row in grid}
attacks = {
    "pgd": "pgd, Linf 0.1", "pgd[norm=l2,eps=1]": "pgd, L2 1",
    "stadv[translation=false]": "stadv, flow 30",
}  # fmt: skip


def in_percent(figure):
    """Return a figure in %, and how far its interval reaches."""
    value, low, high = 100 * np.array([figure.value, figure.low, figure.high])
    return value, [[value - low], [high - value]]


fig, axes = plt.subplots(
    1, 3, figsize=(7.8, 3.9), layout="constrained", sharey=True
)
for ax, (attack, title) in zip(axes, attacks.items(), strict=True):
    for defense, color in COLORS.items():
        clean, across = in_percent(cells["none", defense].attacked_accuracy)
        left, along = in_percent(cells[attack, defense].attacked_accuracy)
        ax.errorbar(
            clean, left, along, across, fmt=MARKERS[defense], color=color,
            ms=8, elinewidth=1, label=defense,
        )  # fmt: skip
    ax.set(title=title, xlabel="accuracy on clean images (%)", ylim=(0, 100))
axes[0].set_ylabel("accuracy under attack (%)")
fig.legend(
    *axes[0].get_legend_handles_labels(),
    loc="outside lower center",
    ncols=5,
    fontsize=9,
)
plt.show()

# %%
# Look at ``bit_depth`` from left to right. Black and white takes out every
# small change of a pixel, which is all that the first attack may do. The
# second may change a few pixels by much, the third bends the lines themselves,
# and against these it is no help. So the first question is not which defense
# is best, but *against what*.
#
# Does the attacker know?
# -----------------------
#
# ``median`` and ``bit_depth`` are not part of the model that an attacker may
# have in mind. Whoever attacks the bare model and sends the result through the
# filter is *oblivious*. Whoever knows the filter is *adaptive*. A grid
# measures both, and quotes the adaptive one: a defense that has to be kept
# secret is none.

fig, ax = plt.subplots(figsize=(7.5, 3.4), layout="constrained")
names = []
for defense in ("median", "bit_depth"):
    for attack, title in attacks.items():
        row, at = cells[attack, defense], len(names)
        knows = 100 * float(row.attacked_accuracy)
        does_not = 100 * float(row.oblivious_accuracy)
        ax.plot([knows, does_not], [at, at], color="0.7", lw=3, zorder=1)
        ax.scatter(
            knows,
            at,
            color=COLORS[defense],
            s=60,
            label="adaptive" if not names else None,
        )
        ax.scatter(
            does_not, at, s=60, color="white", edgecolor="black",
            label="oblivious" if not names else None,
        )  # fmt: skip
        names.append(f"{defense}: {title}")
        print(
            f"{names[-1]:28s} oblivious {does_not:5.1f} %, "
            f"adaptive {knows:5.1f} %"
        )
ax.set_yticks(range(len(names)), names)
ax.invert_yaxis()
ax.set(xlabel="accuracy under attack (%)", xlim=(0, 100))
ax.legend()
plt.show()

# %%
# A defense without a useful gradient
# -----------------------------------
#
# Black and white has a gradient of zero nearly everywhere. Gradients that are
# hidden stop an attack, not an attacker (Athalye, Carlini and Wagner, ICML
# 2018). fastadv therefore attacks such a model in several ways: with the
# gradient of the identity in place of its own, by what turns the bare model,
# along a smooth stand-in, by moving single pixels over a step, by queries
# alone. An image counts as broken if *one* of them breaks it. Which one did is
# kept, of each run:

for attack, title in attacks.items():
    ways = {}
    for broken_by in cells[attack, "bit_depth"].found["broken_by"]:
        for way, count in broken_by.items():
            ways[way] = ways.get(way, 0) + count
    print(
        f"{title:15s}",
        ", ".join(f"{way} {count}" for way, count in ways.items()),
    )

# %%
# Where many more queries would still break images, or no way but the
# identity's was open, the cell gets a flag (``!``). A flagged figure is an
# upper bound, and is never called the best.

for row in grid:
    for flag in row.flags:
        print(f"! {row.attack} / {row.defense}: {flag.message}; {flag.remedy}")
print(sum(bool(row.flags) for row in grid), "cells with a flag")

# %%
# What is proven
# --------------
#
# An attack shows that an image *can* be broken. That it fails proves nothing.
# A certificate proves that no attack within a radius can change an image. So
# the truth lies between the two figures: at least what is certified, at most
# what the best attack leaves.

row = cells["pgd", "interval[epochs=8]"]
low = 100 * float(row.certified.accuracy)
high = 100 * float(row.attacked_accuracy)
print(f"interval: {low:.1f} % are certified, {high:.1f} % survive pgd")

# %%
# A certificate is a radius for each image, so that one model gives the whole
# curve. Beside it stands ``smoothing``, the vote of the model under Gaussian
# noise (Cohen, Rosenfeld and Kolter, ICML 2019), which certifies in
# :math:`L_2`.

data = fastadv.load_dataset("mnist[train=2000,test=1000]")
x, y = data.x_test[:80], data.y_test[:80]
fig, axes = plt.subplots(
    1, 2, figsize=(7.5, 3.5), layout="constrained", sharey=True
)
curves = {
    "interval[epochs=8]": ("pgd[eps={:g}]", 0.3, "Linf"),
    "smoothing[n=1000,draws=64]": (
        "pgd[norm=l2,eps={:g},steps=15]",
        1.2,
        "L2",
    ),
}
for ax, text in zip(axes, curves, strict=True):
    attack, most, norm = curves[text]
    defense = fastadv.make_defense(text)
    model = defense.fit(
        fastadv.MLPClassifier(random_state=0),
        data.x_train,
        data.y_train,
        task=data.task,
        seed=0,
    )
    certificate = defense.certify(model, x, task=data.task, seed=0)
    right = certificate.label == y
    radii = np.linspace(0, most, 121)
    proven = [
        100 * np.mean(right & (certificate.radius >= radius))
        for radius in radii
    ]
    if hasattr(defense, "wrap"):  # what its users meet: the vote
        model = defense.wrap(model, task=data.task)
    start = 100 * np.mean(model.predict(x) == y)
    budgets, left = np.linspace(0, most, 6)[1:], []
    for eps in budgets:
        made = fastadv.make_attack(attack.format(eps))
        result = made.perturb(model, x, y, task=data.task)
        left.append(100 * result.robust_accuracy())
    between = np.interp(radii, [0, *budgets], [start, *left])
    ax.fill_between(radii, proven, between, color="0.9", label="not known")
    ax.plot(radii, between, "-", color="#D55E00", label="left by pgd")
    ax.plot(radii, proven, "--", color="#009E73", label="certified")
    ax.set(title=text, xlabel=f"radius ({norm}, pixel values)", xlim=(0, most))
axes[0].set(ylabel="images right (%)", ylim=(0, 100))
axes[0].legend(fontsize=8)
plt.show()

# %%
# The certificate of a vote ends where its number of draws does not allow to
# say more: more draws, a longer curve. That of an interval takes a few passes
# through the model.
#
# How to choose
# -------------
#
# 1. Say what the attacker may do. A defense that is best against one threat
#    may be the worst against
#    another.
# 2. Read the adaptive figure, and look for ``!``.
# 3. Look at the stars: several are a tie, and ``not told from none`` means
#    that it may do nothing.
# 4. Take the price on clean images into account; the sentences below the table
#    name it.
# 5. If you need a guarantee, read ``certified`` in ``--details``, not an
#    attack's figure.
#
# For poisoning the columns are the same and the rows are points lost: see
# `Poisoning <plot_3_poisoning.html>`__. Figures at full size are in
# ``results/README.md``.
