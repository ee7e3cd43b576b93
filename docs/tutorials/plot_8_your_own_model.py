r"""
Your own model
==============

You will learn how to attack models that you have trained yourself: an object
in Python, a file that goes to production, and several of them side by side.
Two are compared here, a perceptron and a forest of trees, before one of them
reads the digits of a form.
"""

import shlex
import subprocess
import sys
import tempfile
import textwrap
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from sklearn.decomposition import PCA
from sklearn.ensemble import RandomForestClassifier
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline

import fastadv

# Colours that all eyes tell apart.
BLUE, ORANGE, GREEN, PINK = "#0072B2", "#D55E00", "#009E73", "#CC79A7"

# %%
# Two models
# ----------
#
# Both are trained by scikit-learn, as you would: nothing here knows of
# attacks. The data are scikit-learn's digits, 8 x 8 pixels.

data = fastadv.load_dataset("digits")
network = make_pipeline(
    PCA(24), MLPClassifier((32,), tol=0.005, max_iter=300, random_state=0)
)
forest = RandomForestClassifier(40, max_depth=12, random_state=0)
for model in (network, forest):
    model.fit(data.x_train, data.y_train)
    right = model.score(data.x_test, data.y_test)
    print(f"{type(model).__name__:24s} {100 * right:.1f} % of the test images")

# %%
# How attacks meet them
# ---------------------
#
# ``wrap`` returns a model as attacks take it. The network's weights are taken
# over, with the components before it inside the gradient. A forest has no
# gradient: it is a black box that tells probabilities.

wrapped = {
    "network": fastadv.wrap(network, name="network"),
    "forest": fastadv.wrap(forest, name="forest"),
}
for name, model in wrapped.items():
    print(f"{name:8s} {model.given.how:14s} gradient: {hasattr(model, 'vjp')}")

# %%
# One attack
# ----------
#
# ``square`` (Andriushchenko et al., ECCV 2020) needs no gradient, so both can
# be measured by it: it changes every pixel by at most ``eps``, and asks the
# model again and again. More questions find more.

x, y = data.x_test[:150], data.y_test[:150]
budgets = [0.02, 0.05, 0.1, 0.15, 0.2]


def left(model, attack):
    """Return the share of images that are right under an attack, in %."""
    found = attack.perturb(model, x, y, task=data.task, seed=0)
    return 100 * found.robust_accuracy()


fig, ax = plt.subplots(figsize=(7, 3.8), layout="constrained")
for name, color, style in (("network", BLUE, "^-"), ("forest", GREEN, "s-")):
    square = [
        left(
            wrapped[name],
            fastadv.make_attack(f"square[eps={eps},queries=100]"),
        )
        for eps in budgets
    ]
    ax.plot(budgets, square, style, color=color, label=f"{name}, square")
    print(f"{name:8s}", ", ".join(f"{value:.0f} %" for value in square))
pgd = [
    left(wrapped["network"], fastadv.make_attack(f"pgd[eps={eps}]"))
    for eps in budgets
]
ax.plot(budgets, pgd, "v:", color=ORANGE, label="network, pgd")
print("network, with its gradient:", ", ".join(f"{v:.0f} %" for v in pgd))
ax.set(
    xlabel="budget eps: largest change of a pixel value",
    ylabel="images right under attack (%)",
    ylim=(0, 100),
)  # fmt: skip
ax.legend()
plt.show()

# %%
# With the gradient (``pgd``) less is left of the network than by questions. For
# the forest there is no such attack: its curve is what this many questions
# find, not what there is. A black box may look better than it is.
#
# A grid of both
# --------------
#
# A grid takes files. scikit-learn's own way to keep a model is a pickle, which
# runs code when it is opened; fastadv never opens one. `skops
# <https://skops.readthedocs.io>`__ keeps the same model without code
# (``skops.io.dump(model, "forest.skops")``), and ``--model forest.skops`` takes
# it. Where that is not installed, a function that makes the model does it,
# here in a file ``models.py``. It gets the task, and returns what ``wrap``
# takes.

folder = Path(tempfile.mkdtemp())
(folder / "models.py").write_text(
    textwrap.dedent(
        """
        import fastadv
        from sklearn.decomposition import PCA
        from sklearn.ensemble import RandomForestClassifier
        from sklearn.neural_network import MLPClassifier
        from sklearn.pipeline import make_pipeline

        data = fastadv.load_dataset("digits")


        def network(task):
            model = make_pipeline(
                PCA(24),
                MLPClassifier((32,), tol=0.005, max_iter=300, random_state=0),
            )
            return model.fit(data.x_train, data.y_train)


        def forest(task):
            model = RandomForestClassifier(40, max_depth=12, random_state=0)
            return model.fit(data.x_train, data.y_train)
        """
    )
)


def run(command):
    """Run a command in the folder of this page, and print what it prints."""
    print("$", "\n      ".join(textwrap.wrap(command, 74)))
    done = subprocess.run(
        [sys.executable, "-m", *shlex.split(command)], cwd=folder,
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    print(done.stdout)


run(
    "fastadv grid --dataset digits --model models.py:network "
    "--model models.py:forest --attacks square[eps=0.05,queries=100],label_flip "
    "--defenses none,knn_relabel --samples 120 --repeats 2 --jobs 1 "
    "--output out"
)

# %%
# The model itself is attacked as it is. Poisoning and defenses that clean the
# training set need a training: a clone is trained for these, and ``†`` says
# which figures are the clone's.
#
# Each model has a folder, and ``compare`` sets them beside each other: for the
# cells that both have, it says whether the difference may be chance.

run("fastadv compare out/models.py_network out/models.py_forest")

# %%
# What it looks like
# ------------------
#
# Digits that either model misreads within the same budget, as they are after
# the attack. ``square`` adds stripes and squares, for it asks and does not
# know where the model looks.

attack = fastadv.make_attack("square[eps=0.15,queries=150]")
fig, axes = plt.subplots(2, 5, figsize=(7.5, 3.4), layout="constrained")
for row, (name, model) in zip(axes, wrapped.items(), strict=True):
    found = attack.perturb(model, x, y, task=data.task, seed=0)
    labels = model.predict(found.x_adv)
    for ax, i in zip(row, np.flatnonzero(found.success)[:5], strict=True):
        image = found.x_adv[i].reshape(data.task.image_shape[:2])
        ax.imshow(image, cmap="gray_r", vmin=0, vmax=1)
        ax.set(xticks=[], yticks=[], title=f"{y[i]} read as {labels[i]}")
    row[0].set_ylabel(name)
plt.show()

# %%
# Your model is a function?
# -------------------------
#
# ``wrap`` takes any function from images to logits, with a gradient or
# without. A gradient that is not that of the logits is refused: this one has
# the wrong sign.

W = np.random.default_rng(0).normal(size=(data.task.n_features, 10))
try:
    fastadv.wrap(
        logits=lambda images: images @ W,
        input_gradient=lambda _, slopes: -slopes @ W.T,
        images=x,
        name="mine",
    )
except fastadv.InputError as error:
    print("\n".join(textwrap.wrap(str(error), 74)))

# %%
# Everything that can be given, and what is declared with it (channels first,
# mean and deviation, other ranges), is in `Your own model
# <../guide/your-own-model.html>`__.
