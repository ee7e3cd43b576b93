r"""
Your own attack and your own defense
====================================

You will learn how to write an attack in a few lines, how to use it directly,
how to bring a defense into a grid by a package of your own, and what is
checked for you. Nothing of fastadv has to be changed for it.
"""

import os
import shlex
import subprocess
import sys
import tempfile
import textwrap
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import matplotlib.pyplot as plt
import numpy as np

import fastadv
from fastadv.attacks.evasion.base import Evasion
from fastadv.errors import InputError, at_least
from fastadv.threat import linf

# Colours that all eyes tell apart.
BLUE, ORANGE, GREEN, PINK = "#0072B2", "#D55E00", "#009E73", "#CC79A7"

# %%
# An attack
# ---------
#
# The idea: a veil over the whole image, all pixels lighter or all darker by
# the same amount. The attack tries a few strengths and keeps the one that the
# model likes least. It asks for logits alone.
#
# An attack is a frozen dataclass; its fields are its parameters. It says what
# its figures are conditional on (``threat``) and how images are changed
# (``craft``). All the rest is inherited from ``Evasion``: chunks and threads,
# what counts as a success, distances, and messages for bad input.


@dataclass(frozen=True)
class Veil(Evasion):
    """All pixels lighter, or all darker.

    Parameters
    ----------
    eps : float
        The most that a pixel value may change.
    """

    eps: float = 0.1

    name: ClassVar[str] = "veil"
    reference: ClassVar[str] = "a tutorial"
    needs: ClassVar[frozenset[str]] = (
        frozenset()
    )  # no gradient: logits are enough

    def __post_init__(self):
        super().__post_init__()
        at_least(0, eps=self.eps)

    def threat(self):
        return linf(self.eps)

    def craft(self, model, x, y, target, *, task, stream):
        rows, best, least = (
            np.arange(len(x)),
            x.copy(),
            np.full(len(x), np.inf),
        )
        for share in (-1.0, -0.5, 0.5, 1.0):
            tried = np.clip(x + np.float32(share * self.eps), *task.bounds)
            logits = model.logits(tried).astype(float)
            own = logits[rows, y].copy()
            logits[rows, y] = -np.inf
            margin = own - (
                logits.max(axis=1) if target is None else logits[rows, target]
            )
            better = margin < least
            best[better], least[better] = tried[better], margin[better]
        return best, {"margin": least}


# %%
# Used directly
# -------------
#
# It is used as every other attack. To know what it is worth it needs company:
# noise of the same budget is what chance does, PGD what a gradient does.

data = fastadv.load_dataset("mnist[train=5000,test=1000]")
model = fastadv.MLPClassifier(random_state=0).fit(data.x_train, data.y_train)
x, y = data.x_test[:300], data.y_test[:300]

budgets = [0.05, 0.1, 0.2, 0.3, 0.4]
makers = {
    "noise": lambda eps: fastadv.make_attack(f"noise[eps={eps}]"),
    "veil": Veil,
    "pgd": lambda eps: fastadv.make_attack(f"pgd[eps={eps}]"),
}
fig, ax = plt.subplots(figsize=(7, 3.8), layout="constrained")
looks = {"noise": ("s:", GREEN), "veil": ("o-", ORANGE), "pgd": ("^--", BLUE)}
for name, make in makers.items():
    style, color = looks[name]
    left = [
        100
        * make(eps)
        .perturb(model, x, y, task=data.task, seed=0)
        .robust_accuracy()
        for eps in budgets
    ]
    ax.plot(budgets, left, style, color=color, label=name)
    print(f"{name:6s}", ", ".join(f"{value:.1f} %" for value in left))
ax.set(
    xlabel="budget eps: largest change of a pixel value",
    ylabel="images right under attack (%)",
    ylim=(0, 100),
)  # fmt: skip
ax.legend()
plt.show()

# %%
# What it does to an image:

result = Veil(eps=0.3).perturb(model, x, y, task=data.task)
shown = np.flatnonzero(result.success)[:4]
fig, axes = plt.subplots(2, 4, figsize=(7, 3.6), layout="constrained")
for column, i in enumerate(shown):
    for ax, image, label in zip(
        axes[:, column], (x[i], result.x_adv[i]),
        (y[i], model.predict(result.x_adv[i : i + 1])[0]), strict=True,
    ):  # fmt: skip
        ax.imshow(image.reshape(28, 28), cmap="gray_r", vmin=0, vmax=1)
        ax.set(xticks=[], yticks=[], title=f"read as {label}")
axes[0, 0].set_ylabel("before")
axes[1, 0].set_ylabel("after")
plt.show()

# %%
# What is checked for you
# -----------------------
#
# ``Evasion`` judges what ``craft`` returns: an image counts only if it was
# right before, is wrong now and lies within the budget. What was wrong before
# comes back as it came. The rest of the contract is tested
# (``tests/test_contracts.py`` in a clone). The main points, here by hand:

attack = Veil(eps=0.2)
together = attack.perturb(model, x, y, task=data.task)
alone = attack.perturb(model, x[5:6], y[5:6], task=data.task)
print(
    "an image alone gets the same bytes:",
    np.array_equal(alone.x_adv[0], together.x_adv[5]),
)
low, high = together.x_adv.min(), together.x_adv.max()
print("all inside the range of a pixel:   ", low >= 0 and high <= 1)
farthest = together.distances["linf"].max()
print("all inside the budget:             ", farthest <= attack.threat().reach)
same = np.array_equal(together.x_adv[~together.is_adv], x[~together.is_adv])
print("what did not work comes back:      ", same)
try:
    Veil(eps=-1)
except InputError as error:
    print("a bad parameter is one line:       ", error)

# %%
# A defense, in a package
# -----------------------
#
# A defense is a frozen dataclass, too. What it has is what it does:
# ``sanitize`` cleans the training set, ``fit`` trains, ``wrap`` stands before
# the model, ``certify`` proves. Here is one that wipes a frame of pixels
# around the image. It is meant against *backdoors* (Gu et al., 2017,
# arXiv:1708.06733), whose patch stands in a corner.
#
# To be known in a grid by its name, it is in a package that announces it by an
# *entry point*. Such a package has two files.

folder = Path(tempfile.mkdtemp())
package = folder / "package"
package.mkdir()

(package / "wiped_frame.py").write_text('''\
"""A defense for fastadv."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from fastadv.defenses.preprocessors.base import PreprocessedModel
from fastadv.errors import at_least
from fastadv.specs import Checked


@dataclass(frozen=True)
class Frame(Checked):
    """A frame of pixels around the image is wiped before the model sees it.

    Parameters
    ----------
    width : int
        Pixels at each side.
    """

    width: int = 3

    name: ClassVar[str] = "frame"
    reference: ClassVar[str] = "a tutorial"

    def __post_init__(self):
        super().__post_init__()
        at_least(1, width=self.width)

    def wrap(self, model, *, task):
        kept = np.zeros(task.image_shape, dtype=np.float32)
        kept[self.width : -self.width, self.width : -self.width] = 1
        mask = kept.ravel()

        def transform(X):  # and how a gradient comes back through it
            return X * mask, lambda dout: dout * mask

        return PreprocessedModel(model, transform, "exact")
''')

(package / "pyproject.toml").write_text("""\
[build-system]
requires = ["hatchling"]
build-backend = "hatchling.build"

[project]
name = "wiped-frame"
version = "1.0"
dependencies = ["fastadv"]

[project.entry-points."fastadv.defenses"]
frame = "wiped_frame:Frame"

[tool.hatch.build.targets.wheel]
only-include = ["wiped_frame.py"]
""")
print("a package of", *(path.name for path in sorted(package.iterdir())))

# %%
# ``pip install ./package`` is all that a user does. So that this page installs
# nothing, it writes by hand what pip would leave of the entry point, and puts
# the folder on Python's path:

info = package / "wiped_frame-1.0.dist-info"
info.mkdir()
(info / "METADATA").write_text(
    "Metadata-Version: 2.1\nName: wiped-frame\nVersion: 1.0\n"
)
(info / "entry_points.txt").write_text(
    "[fastadv.defenses]\nframe = wiped_frame:Frame\n"
)


def run(command):
    """Run a command with the package installed, and print what it prints."""
    shown = textwrap.wrap(command, 74, break_on_hyphens=False)
    print("$", "\n      ".join(shown))
    done = subprocess.run(
        [sys.executable, "-m", *shlex.split(command)], cwd=folder,
        capture_output=True, text=True, check=True,
        env={**os.environ, "PYTHONPATH": str(package)},
    )  # fmt: skip
    print(done.stdout)


run("fastadv list frame")

# %%
# Now it stands beside the others. Is it any good? The backdoor puts a bright
# square of 3 x 3 pixels into the lower right corner of a few training images,
# all under one label. And an attacker who has heard of the frame takes a
# larger square:

run(
    "fastadv grid --attacks 'backdoor,backdoor[patch=5]' "
    "--defenses none,frame --dataset 'mnist[train=3000,test=1000]' "
    "--repeats 3 --jobs 1 --output out"
)

# %%
# The rows say how often the trigger gets the label that it calls:

for row in fastadv.read_result(folder / "out"):
    if row.success_rate is not None:
        rate = 100 * float(row.success_rate)
        print(
            f"{row.attack:18s} {row.defense:6s} gets its label on "
            f"{rate:5.1f} % of the images"
        )

# %%
# So the defense stands or falls with what the attacker knows. That is the
# first thing that a defense of your own is to be asked.
#
# Where to go on
# --------------
#
# * ``CONTRIBUTING.md`` says what an attack on the training set, a defense, a
#   model and a data set have to have, and which names of fastadv are kept from
#   version to version.
# * ``examples/plugin`` is a complete package with one of each.
# * The contracts, from a clone: ``pytest tests/test_contracts.py -k frame``
