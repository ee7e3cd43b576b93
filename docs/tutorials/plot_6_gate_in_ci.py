r"""
A robustness gate in CI
=======================

You will learn how to stop a change that makes a model less robust: a threshold
on the cells of a grid, exit codes that a CI system understands, a workflow to
copy, and a comparison of two versions that tells a regression from chance.
"""

import shlex
import subprocess
import sys
import tempfile
import textwrap
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

import fastadv

# Colours that all eyes tell apart.
BLUE, ORANGE, GREEN, PINK = "#0072B2", "#D55E00", "#009E73", "#CC79A7"

# %%
# Everything on this page is done by the command line, in a folder of its own.
# This shows what a command prints, and the code that it ends with:

folder = Path(tempfile.mkdtemp())


def run(command, table=True):
    """Run a command, print what it prints and its exit code."""
    shown = textwrap.wrap(command, 74, break_on_hyphens=False)
    print("$", "\n      ".join(shown))
    words = [sys.executable, "-m", *shlex.split(command)]
    done = subprocess.run(
        words, cwd=folder, capture_output=True, text=True, check=False
    )
    if table:
        print(done.stdout, end="")
    for line in done.stderr.splitlines():
        if line.startswith("fastadv:"):
            print(line)
    print("exit code:", done.returncode, end="\n\n")


# %%
# Measure, then judge
# -------------------
#
# A grid of the model that is to be shipped. A real one would have more images
# and runs; ``--plan`` says beforehand what would run, and about how long.

GRID = (
    "fastadv grid --attacks pgd --defenses none,adv_training "
    "--dataset mnist[train=2000,test=1000] --samples 300 --repeats 6 --jobs 1"
)
run(f"{GRID} --output before")

# %%
# The folder ``before`` keeps every cell. A gate judges them without running
# anything again. ``=40%`` is the least accuracy that is left under an attack:

run('fastadv report before --fail-under "pgd/adv_training=40%"', table=False)
run('fastadv report before --fail-under "pgd/adv_training=95%"', table=False)

# %%
# What each exit code means:
#
# * **0**: done, and every cell that is named reaches its threshold.
# * **1**: done, but a cell is below it, has no figure, or has a flag (``!``);
#   or a run failed.
# * **2**: the question makes no sense: an option, a name or a number that
#   cannot be meant.
#
# A flag fails the gate on purpose: a high accuracy under an attack that did
# not work is not robustness. ``--allow-flagged pgd/bit_depth`` lets one
# through, by name.
#
# A cell is named as the table names it, ``ATTACK/DEFENSE``; ``*`` stands for
# all, and the last threshold that names a cell counts. So one line says: 1 %
# for everything, more for what matters.

run(
    "fastadv report before "
    '--fail-under "*/*=1%,pgd/adv_training=40%,none/*=85%"',
    table=False,
)

# %%
# What makes no sense is told at once. A cell that is not there cannot pass by
# not being there, and 0.75 could mean 0.75 % or 75 %:

run('fastadv report before --fail-under "pgd/median=40%"', table=False)
run('fastadv report before --fail-under "pgd/adv_training=0.75"', table=False)

# %%
# In a file it can be reviewed like code:

(folder / "gate.toml").write_text("""\
"none/*" = "85%"              # clean accuracy
"*/none" = "0%"               # the undefended model is shown for comparison
"pgd/adv_training" = "40%"
""")
run("fastadv report before --fail-under gate.toml", table=False)

# %%
# The workflow
# ------------
#
# For GitHub's and Gitea's actions; any other system does the same three
# commands. The grid itself takes ``--fail-under``, too; with a ``report``
# behind it the page is kept whatever the gate says.
#
# .. code-block:: yaml
#
#    name: robustness
#    on: [pull_request]
#    jobs:
#      gate:
#        runs-on: ubuntu-latest
#        steps:
#          - uses: actions/checkout@v4
#          - uses: actions/setup-python@v5
#            with:
#              python-version: "3.12"
#          - run: pip install -r requirements.txt   # with fastadv
#          - run: fastadv grid --config grid.toml --output results
#          - run: fastadv report results --html robustness.html
#          - uses: actions/upload-artifact@v4
#            with: {name: robustness, path: robustness.html}
#          - run: fastadv report results --fail-under gate.toml
#
# ``grid.toml`` holds the options of the grid by their names, such as ``samples
# = 500``. The first run on a machine compiles the kernels, in a minute or two;
# a system that keeps a folder between its runs can keep them there, with
# ``NUMBA_CACHE_DIR`` set to it.
#
# Before and after
# ----------------
#
# A threshold catches what falls below it. A comparison catches what became
# *worse*, however good it still is. Here is a change that somebody might make:
# a smaller network, which is faster.

run(f'{GRID} --model "mlp[hidden_layer_sizes=10]" --output after', table=False)
run("fastadv compare before after --fail-on-regression")

# %%
# The comparison pairs runs of the same seed on the same test images, and
# counts trainings as chance, too. What is called worse is significant at 5 %,
# over all cells together (Holm). ``--fail-on-regression`` fails on nothing
# else, and says where it cannot tell.

sides = {
    name: fastadv.read_result(folder / name) for name in ("before", "after")
}
cells = [(row.attack, row.defense) for row in sides["before"]]
fig, ax = plt.subplots(figsize=(7.2, 3.6), layout="constrained")
for shift, color, marker, (name, result) in zip(
    (-0.12, 0.12), (BLUE, ORANGE), "os", sides.items(), strict=True
):
    figures = [row.attacked_accuracy for row in result]
    values = 100 * np.array([[f.value, f.low, f.high] for f in figures]).T
    ax.errorbar(
        values[0], np.arange(len(cells)) + shift, fmt=marker, color=color,
        capsize=3, label=name,
        xerr=[values[0] - values[1], values[2] - values[0]],
    )  # fmt: skip
ax.set_yticks(
    range(len(cells)), [f"{attack} / {defense}" for attack, defense in cells]
)
ax.invert_yaxis()
ax.set(xlabel="accuracy (%), with 95 % intervals", xlim=(0, 100))
ax.legend()
plt.show()

# %%
# Two intervals that overlap do not say that there is no difference: the test
# is paired, and sharper than the picture.
#
# A change that changes nothing
# -----------------------------
#
# The other half of a gate is to stay silent. The same grid from other seeds is
# another measurement of the same thing; nothing in it is a regression:

run(f"{GRID} --seed 100 --output again", table=False)
run("fastadv compare before again --fail-on-regression")

# %%
# Where to go on
# --------------
#
# * ``fastadv report DIR --details`` shows what is known of a cell that failed.
# * ``fastadv compare DIR:none DIR:median`` compares two defenses of one grid.
# * ``fastadv compare before.json after.json`` compares two files of ``fastadv
#   bench --json``.
