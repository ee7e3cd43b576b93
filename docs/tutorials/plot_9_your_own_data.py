r"""
Your own data
=============

You will learn how to bring a table from a spreadsheet, or arrays, into a grid,
what is said of them before anything is computed, and what a budget means where
columns are no pixels.
"""

import csv
import shlex
import subprocess
import sys
import tempfile
import textwrap
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits, load_wine

import fastadv

# Colours that all eyes tell apart.
BLUE, ORANGE, GREEN, PINK = "#0072B2", "#D55E00", "#009E73", "#CC79A7"

folder = Path(tempfile.mkdtemp())


def run(command, *, fails=False):
    """Run a command in the folder of this page, and print what it prints."""
    print("$", "\n      ".join(textwrap.wrap(command, 74)))
    done = subprocess.run(
        [sys.executable, "-m", *shlex.split(command)], cwd=folder,
        capture_output=True, text=True, check=not fails,
    )  # fmt: skip
    print("\n".join(textwrap.wrap(done.stderr, 78)) if fails else done.stdout)


# %%
# A table
# -------
#
# 178 wines, 13 numbers each from a chemical analysis, and which of three
# cultivars a wine is of. As a spreadsheet writes it, a line a wine:

wine = load_wine(as_frame=False)
with (folder / "wine.csv").open("w", newline="") as stream:
    writer = csv.writer(stream)
    writer.writerow([*wine.feature_names, "cultivar"])
    for numbers, label in zip(wine.data, wine.target, strict=True):
        writer.writerow([*numbers, ["first", "second", "third"][label]])

print((folder / "wine.csv").read_text()[:230], "...")

# %%
# What is said of it
# ------------------
#
# ``data show`` reads it and computes nothing else: classes and their counts,
# ranges, rows that are in the training set and among the tests. The column of
# the labels is named in brackets.

run('fastadv data show "wine.csv[label=cultivar]"')

# %%
# A column that cannot be read, a value that is missing, a label that one row
# has: one line says which it is, and nothing is guessed.

text = (folder / "wine.csv").read_text().splitlines()
text[7] = text[7].replace(text[7].split(",")[2], "", 1)
(folder / "gap.csv").write_text("\n".join(text))
run('fastadv data show "gap.csv[label=cultivar]"', fails=True)

# %%
# What a budget means here
# ------------------------
#
# Alcohol goes from 11 to 15, proline from 278 to 1680. Each column is
# scaled by its range in the training rows, so that a budget of 0.1 is a tenth
# of that range, whatever its unit. A budget that means something has to be
# chosen by someone who knows the columns.

data = fastadv.load_dataset(f"{folder}/wine.csv[label=cultivar]")
model = fastadv.MLPClassifier((16,), max_iter=200, random_state=0)
model.fit(data.x_train, data.y_train)
print(f"{len(data.x_train)} rows to train on, {len(data.x_test)} for tests")

budgets = [0.02, 0.05, 0.1, 0.15, 0.2]
fig, ax = plt.subplots(figsize=(7, 3.6), layout="constrained")
for name, color, style in (
    ("noise", GREEN, "s:"),
    ("square", ORANGE, "o-"),
    ("pgd", BLUE, "^--"),
):
    left = [
        100
        * fastadv.make_attack(f"{name}[eps={eps}]")
        .perturb(model, data.x_test, data.y_test, task=data.task, seed=0)
        .robust_accuracy()
        for eps in budgets
    ]
    ax.plot(budgets, left, style, color=color, label=name)
ax.set(
    xlabel="budget eps: a share of each column's range",
    ylabel="wines right under attack (%)",
    ylim=(0, 100),
)  # fmt: skip
ax.legend()
plt.show()

# %%
# Which columns an attack uses, in the mean over the wines that it turned: the
# sign is the direction, the length how much of the range. Whole numbers stay
# whole; columns that nobody can change are named in brackets
# (``fixed=...``), and attacks leave them alone.

found = fastadv.make_attack("pgd[eps=0.1]").perturb(
    model, data.x_test, data.y_test, task=data.task
)
moved = (found.x_adv - data.x_test)[found.success]
fig, ax = plt.subplots(figsize=(7, 3.6), layout="constrained")
ax.barh(wine.feature_names, moved.mean(axis=0), color=BLUE)
ax.set(xlabel="mean change, in ranges of the column")
ax.axvline(0, color="0.3", lw=1)
plt.show()

# %%
# A grid of the table
# -------------------
#
# What needs neighbouring pixels (``stadv``, a median filter) is skipped with
# that reason. Without a part for tests one row in five is drawn for it, in the
# proportions of the classes.

run(
    'fastadv grid --dataset "wine.csv[label=cultivar]" '
    '--attacks "pgd[eps=0.05],label_flip" --defenses none,knn_relabel,median '
    "--model 'mlp[hidden_layer_sizes=16,max_iter=200]' --repeats 3 --jobs 1 "
    "--output out"
)

# %%
# Arrays that are images
# ----------------------
#
# ``from_arrays`` takes (n, height, width), bytes or floats from 0 to 1; a file
# of NumPy's does the same on the command line. Of images the attacks that bend
# and shift are measured, too.

digits = load_digits()
images = (digits.images / 16).astype(np.float32)
np.savez(
    folder / "digits.npz",
    x_train=images[:1400],
    y_train=digits.target[:1400],
    x_test=images[1400:],
    y_test=digits.target[1400:],
)
run("fastadv data show digits.npz")

pictures = fastadv.Dataset.from_arrays(images, digits.target, name="digits")
reader = fastadv.MLPClassifier((32,), random_state=0)
reader.fit(pictures.x_train, pictures.y_train)
x, y = pictures.x_test[:60], pictures.y_test[:60]
bent = fastadv.make_attack("spatial[rotation=20,translation=1]").perturb(
    reader, x, y, task=pictures.task
)
fig, axes = plt.subplots(2, 5, figsize=(7, 3.2), layout="constrained")
labels = reader.predict(bent.x_adv)
for column, i in zip(axes.T, np.flatnonzero(bent.success)[:5], strict=True):
    for ax, image, label in zip(
        column, (x[i], bent.x_adv[i]), (y[i], labels[i]), strict=True
    ):
        ax.imshow(image.reshape(8, 8), cmap="gray_r", vmin=0, vmax=1)
        ax.set(xticks=[], yticks=[], title=f"read as {label}")
axes[0, 0].set_ylabel("before")
axes[1, 0].set_ylabel("after")
plt.show()

# %%
# Folders of pictures, Parquet files, the public sets and what else can be read
# are in `Your own data <../guide/your-own-data.html>`__.
