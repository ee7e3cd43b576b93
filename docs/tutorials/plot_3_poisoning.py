r"""
Poisoning: an SVM in two dimensions, and a perceptron
=====================================================

You will learn how an attacker who may *add training points* finds the ones
that do most harm. In two dimensions everything can be seen: the loss as a
function of where the point lies, the gradient, and the way of the point. Then
the same is done to digits, and to a perceptron, where the gradient goes
through every step of training.

* Biggio, Nelson and Laskov, *Poisoning Attacks against Support Vector
  Machines*, ICML 2012 (`arXiv:1206.6389 <https://arxiv.org/abs/1206.6389>`_)
* Muñoz-González et al., *Towards Poisoning of Deep Learning Algorithms with
  Back-gradient Optimization*, AISec 2017 (`arXiv:1708.08689
  <https://arxiv.org/abs/1708.08689>`_)
"""

import matplotlib.pyplot as plt
import numpy as np

import fastadv

# Colours that all eyes tell apart.
BLUE, ORANGE, GREEN, PINK = "#0072B2", "#D55E00", "#009E73", "#CC79A7"

# %%
# Two classes in the plane
# ------------------------
#
# Two clouds of points, as in figure 1 of Biggio et al.: 25 points of each
# class to train on, and others by which the attacker measures the harm
# (*validation*). Nobody may leave the box from -4 to 4.

rng = np.random.default_rng(7)
LOW, HIGH = -4.0, 4.0


def clouds(n):
    """Return n points of each class, (2 n, 2), and their labels."""
    centres = np.repeat([[-1.5, 0.0], [1.5, 0.0]], n, axis=0)
    points = rng.normal(centres, np.sqrt(0.6))
    return np.clip(points, LOW, HIGH), np.repeat([0, 1], n)


X, y = clouds(25)
X_val, y_val = clouds(250)


# %%
# What the attacker maximises
# ---------------------------
#
# The attacker adds one point :math:`x_c` with a label of their choice, here 1.
# The victim trains on all points. The attacker wants the mean hinge loss on
# the validation set to be large *after that training*:
#
# .. math::
#    L(x_c) = \frac{1}{m} \sum_{k=1}^{m} \max\bigl(0,\; 1 - y_k f_{x_c}(x_k)\bigr)
#
# where :math:`f_{x_c}` is the SVM that was trained with :math:`x_c`. A model
# that can tell this function and its gradient has a method
# ``poison_objective``. A call of what it returns trains once.
#
# (In the plane three points on the margin hold a line in place, and then no
# fourth point moves it: the loss is flat there. With a small *C* that is rare,
# so the linear SVM has one here.)


def objective_of(model):
    """Return the loss after training, a function of one point of label 1."""
    X_train, y_train = np.vstack([X, [[0.0, 0.0]]]), np.append(y, 1)
    moving = np.array([len(X)])  # the row of the training set that may move
    return model.poison_objective(X_train, y_train, moving, X_val, y_val)


linear = fastadv.SVC(C=0.01)
rbf = fastadv.SVC(C=1.0, kernel="rbf", gamma=0.5)
objectives = {"linear": objective_of(linear), "RBF": objective_of(rbf)}
value, gradient = objectives["linear"](np.array([[-3.0, -1.0]]))
print(
    f"linear, point at (-3, -1): loss {value:.4f}, "
    f"gradient {gradient[0].round(4)}"
)

# %%
# That gradient is exact: it follows from the conditions that the solution of
# the SVM obeys (section 3 of the paper; with a row that is missing there where
# the point is itself on the margin). Check it against central differences at
# points drawn at random:

h = 1e-5
for name, objective in objectives.items():
    worst = 0.0
    for point in rng.uniform(LOW, HIGH, (50, 1, 2)):
        _, exact = objective(point)
        numeric = [
            (objective.loss(point + step) - objective.loss(point - step))
            / (2 * h)
            for step in h * np.eye(2)
        ]
        worst = max(worst, np.abs(exact[0] - numeric).max())
    print(f"{name}: largest difference at 50 points: {worst:.1e}")

# %%
# The way of a point
# ------------------
#
# The attack is gradient ascent, with a projection :math:`P` into the box.
# :math:`u` is the unit gradient; a running mean of it, the heading :math:`h`,
# does not jump at the edges that the loss has:
#
# .. math::
#    h \leftarrow 0.7\, h + u, \qquad x_c \leftarrow P(x_c + t\, h)
#
# The point starts as one of class 0, with its label flipped.


def ascend(objective, start, length, n_steps):
    """Return the points on the way, (n_steps + 1, d), and the loss at each."""
    path, losses, heading = [start], [], np.zeros_like(start)
    for step in range(n_steps + 1):
        loss, gradient = objective(path[-1][np.newaxis])
        losses.append(loss)
        size = np.linalg.norm(gradient)
        if step == n_steps or size < 1e-9:  # no support vector: no gradient
            break
        heading = 0.7 * heading + gradient[0] / size
        t = length * (1 - step / n_steps)
        path.append(np.clip(path[-1] + t * heading, LOW, HIGH))
    return np.array(path), np.array(losses)


start = X[5]
paths = {
    name: ascend(objective, start, 0.1, 100)
    for name, objective in objectives.items()
}
for name, (path, losses) in paths.items():
    print(f"{name}: from {path[0].round(2)} to {path[-1].round(2)},", end=" ")
    print(f"loss {losses[0]:.3f} to {losses.max():.3f}")

# %%
# In two dimensions the loss can be drawn for every place of the point, and so
# can the error of the trained SVM, which is what the attacker is after but
# which has no useful gradient: it is a staircase.

grid = np.linspace(LOW, HIGH, 41)
surface = {
    name: np.array(
        [[objective.loss(np.array([[a, b]])) for a in grid] for b in grid]
    )
    for name, objective in objectives.items()
}


def error_with(model, point):
    """Return the validation error in % with the point under label 1."""
    model.fit(np.vstack([X, point]), np.append(y, 1))
    return 100 * (1 - model.score(X_val, y_val))


for name, model in (("linear", linear), ("RBF", rbf)):
    without = 100 * (1 - model.fit(X, y).score(X_val, y_val))
    ends = [error_with(model, paths[name][0][[k]]) for k in (0, -1)]
    print(f"{name}: error {without:.1f} % without the point,", end=" ")
    print(f"{ends[0]:.1f} % at its start, {ends[1]:.1f} % at its end")

coarse = np.linspace(LOW, HIGH, 25)
errors = {
    name: np.array(
        [[error_with(model, [[a, b]]) for a in coarse] for b in coarse]
    )
    for name, model in (("linear", linear), ("RBF", rbf))
}

fig, axes = plt.subplots(
    2, 2, figsize=(7.6, 6.6), layout="constrained", sharex=True, sharey=True
)
arrows = np.linspace(LOW + 0.4, HIGH - 0.4, 13)
for column, name in enumerate(objectives):
    top, bottom = axes[:, column]
    drawn = top.contourf(grid, grid, surface[name], 16, cmap="cividis")
    fig.colorbar(drawn, ax=top, label="mean hinge loss", shrink=0.9)
    gradient_at = objectives[name]
    here = np.array(
        [
            [gradient_at(np.array([[a, b]]))[1][0] for a in arrows]
            for b in arrows
        ]
    )
    size = np.linalg.norm(here, axis=2, keepdims=True)
    unit = np.divide(here, size, out=np.zeros_like(here), where=size > 1e-9)
    top.quiver(
        arrows,
        arrows,
        unit[..., 0],
        unit[..., 1],
        color="white",
        alpha=0.7,
        width=0.004,
    )
    drawn = bottom.pcolormesh(coarse, coarse, errors[name], cmap="cividis")
    fig.colorbar(drawn, ax=bottom, label="validation error (%)", shrink=0.9)
    for ax in (top, bottom):
        ax.plot(
            *X[y == 0].T,
            "o",
            color=BLUE,
            ms=4,
            mec="white",
            mew=0.5,
            label="class 0",
        )
        ax.plot(
            *X[y == 1].T,
            "s",
            color=PINK,
            ms=4,
            mec="white",
            mew=0.5,
            label="class 1",
        )
        path = paths[name][0]
        ax.plot(*path.T, "-", color=ORANGE, lw=2.5, label="the point's way")
        ax.plot(
            *path[0],
            "o",
            color=ORANGE,
            ms=8,
            mec="black",
            label="start",
            clip_on=False,
        )
        ax.plot(
            *path[-1],
            "*",
            color=ORANGE,
            ms=16,
            mec="black",
            label="end",
            clip_on=False,
            zorder=9,
        )
        ax.set(xlim=(LOW, HIGH), ylim=(LOW, HIGH), aspect="equal")
    top.set_title(f"{name} kernel")
    bottom.set_xlabel("first coordinate of the point")
for ax in axes[:, 0]:
    ax.set_ylabel("second coordinate of the point")
handles = axes[1, 0].get_legend_handles_labels()
fig.legend(*handles, loc="outside lower center", ncols=5, fontsize=9)
plt.show()

# %%
# The linear SVM is harmed most by a point far out on the side of the other
# class: the further, the more it pulls. The RBF kernel sees only what is near,
# so that the point has to stay where others are. Where the gradient is 0 (no
# arrow) the point is no support vector and does nothing. The two rows agree in
# part only: the loss is a stand-in for the error, and what it gains need not
# be an error gained.
#
# ``biggio`` is this ascent from several starts, with the best point on the way
# kept. How near it comes to the highest place of the picture (between whose
# grid points there may be higher ones):

# Two numbers in place of an image.
plane = fastadv.Task((1, 2, 1), 2, bounds=(LOW, HIGH))
attack = fastadv.make_attack("biggio[points=1,labels=1]")
for name, model in (("linear", linear), ("RBF", rbf)):
    result = attack.poison(model, X, y, X_val, y_val, task=plane, seed=0)
    print(
        f"{name}: biggio's loss {result.history[-1]:.4f}, "
        f"highest of the surface {surface[name].max():.4f}; "
        f"error {error_with(model, result.X[result.index]):.1f} %"
    )

# %%
# One point against digits
# ------------------------
#
# Figure 2 of the paper, 7 against 1: a seven under the label 1 is moved, pixel
# by pixel. The SVM has 100 training images; the error is that on test images
# that the attacker has never seen.

digits = fastadv.load_dataset("mnist[classes=7-1,train=100,val=500,test=1000]")
sevens, ones = digits.class_names.index("7"), digits.class_names.index("1")
LOW, HIGH = digits.task.bounds
a_seven = np.flatnonzero(digits.y_train == sevens)[2]
start = digits.x_train[a_seven].astype(float)
X_train = np.vstack([digits.x_train, start])
y_train = np.append(digits.y_train, ones)
objective = fastadv.SVC().poison_objective(
    X_train,
    y_train,
    np.array([len(digits.x_train)]),
    digits.x_val,
    digits.y_val,
)
path, losses = ascend(objective, start, 0.5, 60)


def test_error(model, X, y):
    """Return the error of a new model on the test images, in %."""
    return 100 * (1 - model.fit(X, y).score(digits.x_test, digits.y_test))


on_the_way = [
    test_error(fastadv.SVC(), np.vstack([digits.x_train, point]), y_train)
    for point in path
]
clean = test_error(fastadv.SVC(), digits.x_train, digits.y_train)
print(
    f"test error: {clean:.1f} % without the point, "
    f"{on_the_way[0]:.1f} % at its start,"
)
print(f"{on_the_way[np.argmax(losses)]:.1f} % where the loss is highest")

fig, (first, second, curve) = plt.subplots(
    1, 3, width_ratios=[1, 1, 1.8], figsize=(7.6, 2.9), layout="constrained"
)
for ax, image, title in (
    (first, path[0], "start: 7, labelled 1"),
    (second, path[np.argmax(losses)], "end"),
):  # fmt: skip
    ax.imshow(image.reshape(28, 28), cmap="gray_r", vmin=0, vmax=1)
    ax.set(xticks=[], yticks=[], title=title)
curve.plot(on_the_way, color=BLUE, label="test error")
curve.axhline(clean, color="0.5", linestyle=":", label="without the point")
curve.set(xlabel="gradient steps", ylabel="error (%)", ylim=(0, None))
curve.legend(fontsize=8)
plt.show()

# %%
# The loss is smooth only in pieces: where a training point becomes a support
# vector there is an edge, and a step may lead down. So ``biggio`` keeps the
# best point on the way. One start on one training set is no figure: ``fastadv
# reproduce biggio2012`` repeats the paper's three pairs of digits over ten
# splits.
#
# A perceptron: the gradient through training
# -------------------------------------------
#
# An SVM's solution obeys equations that can be differentiated. A perceptron's
# weights are what *T* steps of gradient descent with momentum have made of
# them:
#
# .. math::
#    v_{t+1} = \mu v_t - r_t \nabla_w L_{train}(w_t; x_c), \qquad w_{t+1} = w_t + v_{t+1}
#
# The loss after training is a function of :math:`x_c` through every one of
# these steps. fastadv stores the trajectory and goes back through it step by
# step. (Reversing the dynamics in place of storing them, as the paper of 2017
# does, loses digits with every step.) The check is again by central
# differences:


def perceptron(seed):
    """Return an untrained perceptron, small as the data."""
    return fastadv.MLPClassifier(
        (16,),
        "tanh",
        batch_size=300,
        max_iter=200,
        learning_rate_init=0.2,
        random_state=seed,
    )


small = fastadv.load_dataset("mnist[train=200,val=200,test=1000]")
wrong = np.append(small.y_train, (small.y_train[0] + 1) % 10)
point = small.x_train[:1].astype(float) * 0.5 + 0.25
objective = perceptron(0).poison_objective(
    np.vstack([small.x_train, point]),
    wrong,
    np.array([200]),
    small.x_val,
    small.y_val,
)
_, exact = objective(point)
ways = rng.normal(size=(5, 1, 784))
for way in ways / np.linalg.norm(ways, axis=2, keepdims=True):
    numeric = (
        objective.loss(point + h * way) - objective.loss(point - h * way)
    ) / (2 * h)
    print(
        f"along a direction: exact {(exact * way).sum():+.8f}, "
        f"by differences {numeric:+.8f}"
    )

# %%
# Now the attack: ten points among 200 training images. The control is as many
# *random flips*, copies of training images under random labels: an attack that
# does not beat them has found nothing. Each round has other training images,
# another start of the weights and other poison.

attack = fastadv.make_attack("biggio[points=10,steps=20]")
flips = attack.baseline(200)
errors = {"clean": [], "random flips": [], "biggio": []}
for seed in range(5):
    data = fastadv.load_dataset(
        f"mnist[train=200,val=200,test=1000,split={seed}]"
    )
    sets = {"clean": (data.x_train, data.y_train)}
    for name, one in (("random flips", flips), ("biggio", attack)):
        result = one.poison(
            perceptron(seed), data.x_train, data.y_train,
            data.x_val, data.y_val, task=data.task, seed=seed,
        )  # fmt: skip
        sets[name] = result.X, result.y
    for name, (X_train, y_train) in sets.items():
        victim = perceptron(seed).fit(X_train, y_train)
        errors[name].append(100 * (1 - victim.score(data.x_test, data.y_test)))
    if seed == 0:
        kept = result, data

for name, each in errors.items():
    mean, spread = np.mean(each), np.std(each, ddof=1)
    print(
        f"{name:13s} error {mean:4.1f} ± {spread:.1f} % "
        "(mean, standard deviation)"
    )

# %%
# ``result.index`` says which rows are poison and ``result.origin`` as which
# training image each started.

result, data = kept
fig, axes = plt.subplots(2, 10, figsize=(7.6, 2.3), layout="constrained")
for column, (row, origin) in enumerate(
    zip(result.index, result.origin, strict=True)
):
    for ax, image in zip(
        axes[:, column], (data.x_train[origin], result.X[row]), strict=True
    ):
        ax.imshow(image.reshape(28, 28), cmap="gray_r", vmin=0, vmax=1)
        ax.set(xticks=[], yticks=[])
    axes[0, column].set_title(f"is {data.y_train[origin]}", fontsize=10)
    axes[1, column].set_title(f"as {result.y[row]}", fontsize=10)
axes[0, 0].set_ylabel("start")
axes[1, 0].set_ylabel("poison")
plt.show()

# %%
# And the error, a line for each round:

fig, ax = plt.subplots(figsize=(6, 3.6), layout="constrained")
table = np.array(list(errors.values()))
ax.plot(table, "o-", color="0.7", mfc=BLUE, mec=BLUE)
places = np.arange(3)
ax.hlines(
    table.mean(axis=1),
    places - 0.12,
    places + 0.12,
    color=ORANGE,
    lw=4,
    label="mean",
)
ax.set_xticks(places, list(errors))
ax.set(ylabel="test error (%)", ylim=(0, None), xlim=(-0.4, 2.4))
ax.legend()
plt.show()

# %%
# What holds at full size
# -----------------------
#
# This is a small training set, and an attacker who knows it, the model and
# even its random state. On all of MNIST the harm comes from *where* the points
# start, a coherent region of one class, and moving them along the gradient
# does less. ``biggio`` does there what works there. The figures, over many
# victims, are in ``results/README.md``.
