r"""
A first grid, and how to read a cell
====================================

You will learn how to run several attacks against several defenses at once,
from Python and from the command line, and what every sign in the table means:
the figure, its interval, ``*``, ``!``, the points lost, the sentences below.
At the end you have the rows as data.
"""

import shlex
import subprocess
import sys
import tempfile
import textwrap

import matplotlib.pyplot as plt
import numpy as np

import fastadv

# Colours that all eyes tell apart.
BLUE, ORANGE, GREEN, PINK = "#0072B2", "#D55E00", "#009E73", "#CC79A7"

# %%
# Run it
# ------
#
# Three attacks, each against a small perceptron with three defenses: ``none``,
# which is no defense, training on attacked images, and a median filter before
# the model. ``pgd`` (Madry et al., ICLR 2018) changes every pixel of a test
# image by at most 0.1, ``stadv`` (Xiao et al., ICLR 2018) bends the image, and
# ``biggio`` (Biggio et al., ICML 2012) adds points to the training set. Three
# *runs* each: three trainings from three seeds.
#
# A part of MNIST keeps this page quick. Its figures are not those of the whole
# data set.

folder = tempfile.mkdtemp()
grid = fastadv.run_grid(
    attacks=["pgd", "stadv", "biggio"],
    defenses=["none", "adv_training", "median"],
    dataset="mnist[train=3000,test=1000]",
    samples=90,  # test images for pgd and stadv; the others take all
    repeats=3,
    jobs=1,  # all in this process
    output=f"{folder}/out",
)
print(len(grid), "cells, of", len(grid.runs), "runs")

# %%
# The same from the command line. As the folder ``out`` holds every cell
# already, nothing runs again.

command = (
    "fastadv grid --attacks pgd,stadv,biggio "
    "--defenses none,adv_training,median "
    "--dataset 'mnist[train=3000,test=1000]' "
    "--samples 90 --repeats 3 --output out"
)


def run(command):
    """Run a command in the folder of this page, and print what it prints."""
    shown = textwrap.wrap(command, 74, break_on_hyphens=False)
    print("$", "\n      ".join(shown))
    done = subprocess.run(
        [sys.executable, "-m", *shlex.split(command)], cwd=folder,
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    print(done.stdout)


run(command)

# %%
# How to read it
# --------------
#
# **A row** is an attack and what it may do; **a column** is a defense. **A
# cell** is the accuracy in % that is left, and behind ``±`` half of its 95 %
# interval. Here is one cell, taken apart:

(cell,) = (
    row for row in grid if (row.attack, row.defense) == ("pgd", "adv_training")
)
figure = cell.attacked_accuracy
print(f"{cell.attack} against {cell.defense}, threat {cell.threat}")
print(
    f"accuracy under attack {figure.value:.3f}, "
    f"interval {figure.low:.3f} to {figure.high:.3f}"
)
print(f"over {figure.n_runs} runs and {figure.n_images} test images")
for one in cell.runs:
    print(
        f"    seed {one.seed}: {one.attacked_accuracy:.3f} of {one.n_images}"
    )

# %%
# The figure is the mean over the runs. The test images are dealt out among
# them, so that the interval counts two kinds of chance: another training would
# give another accuracy, and so would other images. How that is done, and that
# it holds, is in `How the numbers are made and checked <plot_7_trust.html>`__.
#
# Which images were right in which run is kept in the folder. The mean of it is
# the figure:

samples = grid.samples(cell)
for seed in np.unique(samples["run"]):
    right = samples["robust"][samples["run"] == seed]
    print(
        f"seed {seed}: {right.sum()} of {len(right)} right under attack, "
        f"{right.mean():.3f}"
    )

# %%
# The row of ``pgd`` as a picture: every point is a run, the bar its interval.


def draw(ax, attack, color):
    """Draw the cells of an attack: the runs, their mean and its interval."""
    rows = [row for row in grid if row.attack == attack]
    for k, row in enumerate(rows):
        f = row.attacked_accuracy
        runs = [100 * one.attacked_accuracy for one in row.runs]
        ax.plot([k] * len(runs), runs, "o", color="0.6", ms=5)
        ax.errorbar(
            k, 100 * f.value,
            [[100 * (f.value - f.low)], [100 * (f.high - f.value)]],
            fmt="_", color=color, ms=22, mew=3, lw=2, capsize=5,
        )  # fmt: skip
    ax.set_xticks(range(len(rows)), [row.defense for row in rows], rotation=15)
    ax.set(title=attack, ylim=(0, 100), xlim=(-0.5, len(rows) - 0.5))


fig, axes = plt.subplots(
    1, 3, figsize=(7.5, 3.4), layout="constrained", sharey=True
)
draw(axes[0], "none", GREEN)
draw(axes[1], "pgd", BLUE)
draw(axes[2], "stadv[translation=false]", ORANGE)
axes[0].set(
    title="clean images", ylabel="accuracy (%): runs, mean, 95 % interval"
)
plt.show()

# %%
# **Two rows of stadv.** ``stadv`` stands for two attacks. One bends the image
# and may not move it, up to a flow loss of 30; the other may move it as well,
# at a flow loss of 1. See `stAdv, step by step <plot_2_stadv.html>`__.
#
# **Points lost.** Poison is judged by what it takes from the clean accuracy,
# on the same test images and the same seeds; less is better. The row ``random
# flips`` is the control: as many copies of training images under random
# labels. An attack that takes no more than that has found nothing, and the
# sentences below the table say so.

for row in grid:
    if row.kind == "poisoning":
        lost, flips = row.accuracy_lost, row.baseline_lost
        print(
            f"{row.defense:13s} {100 * lost.value:5.1f} points lost "
            f"({100 * lost.low:.1f} to {100 * lost.high:.1f}), "
            f"random flips {100 * flips.value:z5.1f}"
        )

# %%
# **The star** ``*`` marks the best defense of a row, and those that a paired
# test over runs and images cannot tell from it (Holm, at 5 %). Several stars
# are a tie: there is no winner among them.
#
# **The flag** ``!`` says that a figure is not to be trusted; below the table
# stands why, and what to do. **The note** ``†`` (in ``--details``) says what
# else there is to know of a figure that stands.

said = {
    f"{sign} {row.defense}: {one.name}: {one.message}"
    for row in grid
    for sign, found in (("!", row.flags), ("†", row.notes))
    for one in found
}
print("\n".join(sorted(said)) or "no flag and no note")

# %%
# To see a flag for certain, give an attack too few steps. Beside it runs one
# that asks for no gradient:

weak = fastadv.run_grid(
    attacks=["pgd[steps=1,step_size=0.001]", "square[queries=200]"],
    defenses=["none"],
    dataset="mnist[train=3000,test=1000]",
    samples=90,
    repeats=3,
    jobs=1,
)
for row in weak:
    print(f"{row.attack}: {100 * row.attacked_accuracy.value:.1f} %")
    for flag in row.flags:
        print(f"    ! {flag.message}\n      what to do: {flag.remedy}")

# %%
# **The sentences** follow from the figures by fixed rules
# (``fastadv/report/verdict.py``): the best defense and what it costs on clean
# images, ties called ties, an attack that does no more than its control called
# so. There is no adjective in them.
#
# All that is known of a cell
# ---------------------------
#
# ``--details`` shows every figure of a cell: the interval, the spread over
# runs, the accuracy under an attack that does not know the defense
# (``oblivious``), the flow that stadv needed. In Python they are attributes of
# the row:

(cell,) = (
    row for row in grid if (row.attack, row.defense) == ("pgd", "median")
)
print(f"knows the defense: {100 * cell.attacked_accuracy.value:.1f} %")
print(f"does not know it:  {100 * cell.oblivious_accuracy.value:.1f} %")
print(f"parameters of the attack: {cell.parameters['attack']}")

# %%
# The rows as data
# ----------------
#
# A ``GridResult`` is a sequence of rows. What you need of them is a line:

for row in grid[:6]:
    value = 100 * row.attacked_accuracy.value
    print(row.attack, row.defense, f"{value:.1f}", sep="\t")

# %%
# The folder can be read again at any time, and shown in other forms:

again = fastadv.read_result(f"{folder}/out")
print(len(again), "cells, run with fastadv", again.environment["fastadv"])

# %%
# ``fastadv report out`` prints the table once more, ``--details`` all figures
# of each cell, ``--format`` the rows for other programs. ``fastadv report out
# --html page.html`` makes one page of it, with curves and images.
#
# Where to go on
# --------------
#
# * `stAdv, step by step <plot_2_stadv.html>`__ and `Poisoning
#   <plot_3_poisoning.html>`__ show what the attacks do.
# * `Choosing a defense <plot_4_choosing_a_defense.html>`__ asks the question
#   that a grid is for.
# * ``fastadv list`` names all attacks, defenses, models and data sets;
#   ``fastadv list pgd`` explains one.
