"""stAdv: a flow field that bends the image until the label changes (Xiao et al., ICLR 2018).

For each image the paper minimises, over a flow f,

    max(margin(f), -kappa) + tau * L_flow(f)

where the margin is Z_y - max of the other logits (with a target: max of the others - Z_t). The
warp takes convex combinations of pixels, so that the image never leaves its range; what rounding
may add to other bounds than 0 and 1 is cut off at the end.

The paper fixes tau = 0.05 and kappa = 0. By default tau is searched for each image, as the
multiplier of the constraint that the image is adversarial, and of all evaluated flows that succeed
the one of least loss is kept.

The flow loss is one root a pixel, over its differences to the pixels to the right and below. The
paper's equation 4 has a root for every pixel and neighbour, so that each pair counts twice: of the
flows found here it is 2.3 to 2.6 times as much, 2.5 in the median.

It sees differences only: a translation of the whole image costs nothing. So a search holds the mean
of the flow at 0, which leaves the deformation; ``translation=true`` lets it move.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar, Literal

import numpy as np

from fastadv import checks, threat
from fastadv.arrays import Float32, Float64, Floats, Labels
from fastadv.attacks.evasion import flow_bounded, flow_lbfgs, flow_search
from fastadv.attacks.evasion.base import CHUNK, Details, Evasion
from fastadv.attacks.evasion.flow_problem import FlowProblem
from fastadv.errors import InputError, at_least
from fastadv.kernels.images import flow as kernels
from fastadv.models.base import class_columns
from fastadv.protocols import Model
from fastadv.seeds import Stream
from fastadv.task import Task
from fastadv.threat import Threat

_OFF_THE_KINK = 0.01  # pixels: where L-BFGS starts, at whole numbers the warp has a kink


@dataclass(frozen=True)
class StAdv(Evasion):
    """Spatially transformed adversarial examples, each image its own problem.

    Parameters
    ----------
    tau : float or None
        Weight of the flow loss, in logits per pixel of flow. None searches it for each image; the
        paper's is 0.05. Without a search the paper's objective is minimised by L-BFGS, as there.
    kappa : float
        Confidence: the margin, in logits, that the wrong label leads by. The paper's is 0.
    steps : int
        Evaluations of the model an image. (The paper does not say how many.) In a search of 56 or
        more, three searches share two thirds, and the best of these has the others.
    search : bool or None
        Search tau, from ``tau`` as the least if that is given. None: search if ``tau`` is None.
    keep : {"best", "last"}
        Which iterate to return; ``last`` is the paper's.
    target : {"none", "random", "runner_up", "easiest"} or int
        What to change the label into: a class by its name, or a rule; the paper draws targets
        without saying how. ``easiest`` attacks once for every other class and keeps the least flow.
    neighbors : {"adjacent", "diagonal"}
        What the flow loss compares a pixel with when L-BFGS minimises it, a root for each ordered
        pair as in the paper. The diagonal ones fall into two checkerboards that move on their own.
    translation : bool
        Whether the mean of the flow may move in a search. L-BFGS and ``max_shift`` let it.
    budget : float
        The flow loss up to which a change counts in a grid's accuracy; it does not change what is
        searched for, since the attack minimises the flow anyway.
    max_shift : float or None
        Pixels. If given, the attack is another one, as in most later work: the loss is maximised
        in ``steps`` projected steps with |du| and |dv| at most this, whatever the flow loss.
    init : float or None
        The initial flow is drawn uniformly from [-init, init] pixels. None: 0, and 0.01 for
        L-BFGS, for which every pixel would sit on a kink of the warp at 0.

    Notes
    -----
    The paper's literal mode is ``stadv[tau=0.05,kappa=0,search=false,keep=last]``.
    """

    tau: float | None = None
    kappa: float = 0.0
    steps: int = 64
    search: bool | None = None
    keep: Literal["best", "last"] = "best"
    target: int | Literal["none", "random", "runner_up", "easiest"] = "none"
    neighbors: Literal["adjacent", "diagonal"] = "adjacent"
    translation: bool = False
    budget: float = 30.0
    max_shift: float | None = None
    init: float | None = None

    name: ClassVar[str] = "stadv"
    reference: ClassVar[str] = "Xiao et al., ICLR 2018, arXiv 1801.02612, section 3"
    needs_pixels: ClassVar[bool] = True

    def __post_init__(self) -> None:
        super().__post_init__()
        at_least(1, steps=self.steps)
        at_least(0, tau=self.tau, kappa=self.kappa, budget=self.budget, init=self.init)
        at_least(0, max_shift=self.max_shift)
        if self.tau is None and self.search is False:
            raise InputError("search=false needs a tau; the paper's is 0.05")
        if self.max_shift is not None:
            why = "max_shift bounds the flow itself, and the largest loss within is kept"
            self.no_part(why, "tau", "kappa", "search", "keep", "budget")
        if self.neighbors == "diagonal" and self._searching:
            raise InputError("neighbors=diagonal is for a fixed tau: give one, such as tau=0.05")
        if not self._searching:
            self.no_part("without a search of tau the flow moves freely", "translation")

    @property
    def _searching(self) -> bool:
        search = self.tau is None if self.search is None else self.search
        return search and self.max_shift is None

    @property
    def minimum_norm(self) -> bool:
        """Whether the attack may pass the budget of its threat."""
        return self.max_shift is None

    @property
    def chunk(self) -> int:
        """Fewer, of which more processors have one: a search holds much for each image."""
        return CHUNK // 2

    @property
    def targeted(self) -> bool:
        """Whether the attack's own rule chooses the label that counts."""
        return self.target not in ("none", "easiest")

    def one_search(self) -> StAdv:
        """Return the attack without a race of several starts, for a model that changes on the way.

        Each start would meet another stretch of the way. On a thousand digits behind `bit_depth`
        twice as many survived a race of starts along its stand-in.
        """
        raced = self._searching and self.steps >= flow_search.RACE
        return replace(self, steps=flow_search.RACE - 1) if raced else self

    def supports(self, model: Model, task: Task) -> str | None:
        """Return None, or the reason why the attack cannot run on ``model``."""
        reason = super().supports(model, task)
        if reason is None and isinstance(self.target, int):
            reason = checks.no_such_class(task, self.target)
        return reason

    def threat(self) -> Threat:
        """Return the flow loss up to ``budget``, or shifts up to ``max_shift``."""
        if self.max_shift is not None:
            return threat.shift(self.max_shift)
        return threat.flow(self.budget)

    def choose_targets(
        self, model: Model, x: Floats, y: Labels, task: Task, stream: Stream
    ) -> Labels | None:
        """Return the target columns by the attack's rule, never the true class."""
        if not self.targeted:
            return None
        n_classes = len(model.classes_)
        if self.target == "random":
            shift = stream.uniform(1, 1, 1.0, float(n_classes))[:, 0].astype(np.int64)
            drawn: Labels = (y + np.minimum(shift, n_classes - 1)) % n_classes
            return drawn
        logits = model.logits(x).astype(np.float64)
        logits[np.arange(len(y)), y] = -np.inf
        runner_up: Labels = logits.argmax(axis=1).astype(np.int64)
        if self.target == "runner_up":
            return runner_up
        column = class_columns(model, np.array([task.label_of(self.target)]))
        # An image of the target class itself goes to its runner-up.
        return np.where(y == column, runner_up, column)

    def craft(
        self,
        model: Model,
        x: Float32,
        y: Labels,
        target: Labels | None,
        *,
        task: Task,
        stream: Stream,
    ) -> tuple[Floats, Details]:
        """Bend the images; details: ``flow`` (n, 2, H, W), (du, dv) in pixels.

        Where nothing succeeded it is the last flow that was tried.
        """
        problem = FlowProblem(model, x, y, target, task, self.kappa)
        if target is None and self.target == "easiest":
            flow = self._easiest(problem, stream)
        else:
            flow = self._bend(problem, stream)
        x_adv = np.empty_like(x)
        kernels.warp(x, flow, task.image_shape[2], x_adv)
        return np.clip(x_adv, *task.bounds), {"flow": flow}

    def _bend(self, problem: FlowProblem, stream: Stream) -> Float32:
        """Return the flow of each image."""
        start = self._start(problem, stream)
        if self.max_shift is not None:
            return flow_bounded.largest_loss(problem, start, self.steps, self.max_shift)
        if self._searching:
            last, best = flow_search.least_flow(
                problem, start, steps=self.steps, tau=self.tau, translation=self.translation
            )
        else:
            tau, diagonal = self.tau or 0.0, self.neighbors == "diagonal"
            last, best = flow_lbfgs.minimise(
                problem, start, steps=self.steps, tau=tau, diagonal=diagonal
            )
        if self.keep == "last":
            return last
        return np.where(best.found[:, None, None, None], best.flow, last)

    def _start(self, problem: FlowProblem, stream: Stream) -> Float32:
        at_rest = self._searching or self.max_shift is not None
        init = self.init if self.init is not None else 0.0 if at_rest else _OFF_THE_KINK
        shape = problem.flow_shape
        return stream.uniform(0, shape[1] * shape[2] * shape[3], -init, init).reshape(shape)

    def _easiest(self, problem: FlowProblem, stream: Stream) -> Float32:
        """Attack towards every other class and return the least flow that succeeds."""
        n, n_classes = len(problem.x), len(problem.model.classes_)
        kept, least = np.zeros(problem.flow_shape, dtype=np.float32), np.full(n, np.inf)
        x_adv, losses = np.empty_like(problem.x), np.empty(n)
        for ahead in range(1, n_classes):
            aimed = replace(problem, target=(problem.y + ahead) % n_classes)
            flow = self._bend(aimed, stream)
            kernels.warp(problem.x, flow, problem.task.image_shape[2], x_adv)
            kernels.flow_loss(flow, losses)
            margins, _ = aimed.evaluate(x_adv, np.arange(n))
            better = (losses < least) & ((margins < 0) | np.isinf(least))
            kept[better] = flow[better]
            least[better & (margins < 0)] = losses[better & (margins < 0)]
        return kept

    def measure(self, x: Floats, x_adv: Floats, details: Details, task: Task) -> dict[str, Float64]:
        """Return pixel distances, the flow loss, and shifts in pixels.

        ``flow_max`` and ``flow_mean`` are the largest and the mean length of a flow's vectors,
        ``translation`` the length of their mean, ``shift`` the largest |du| or |dv|.
        """
        out = super().measure(x, x_adv, details, task)
        flow: Float32 = details["flow"]
        losses = np.empty(len(flow))
        kernels.flow_loss(flow, losses)
        exact = flow.astype(np.float64)
        lengths = np.hypot(exact[:, 0], exact[:, 1])
        out["flow_loss"] = losses
        out["flow_max"] = lengths.max(axis=(1, 2))
        out["flow_mean"] = lengths.mean(axis=(1, 2))
        out["translation"] = np.hypot(*exact.mean(axis=(2, 3)).T)
        out["shift"] = np.abs(exact).max(axis=(1, 2, 3))
        return out
