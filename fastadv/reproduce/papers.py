"""Every paper by name: one line each, and nothing imported until it is run."""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from typing import Any

from fastadv.errors import InputError
from fastadv.specs import closest


@dataclass(frozen=True)
class Paper:
    """A paper whose experiment can be run again.

    Attributes
    ----------
    name, citation, experiment : str
        As printed by ``fastadv reproduce``.
    module : str
        Has ``run(tell)``, where ``tell(what, done, total)`` is told how far it is. What it returns
        is for ``table``, ``drawing`` and ``save`` of the module with ``_report`` behind its name.
    runs : tuple of str
        The models and attacks whose code has to be compiled.
    """

    name: str
    citation: str
    experiment: str
    module: str
    runs: tuple[str, ...]

    def load(self) -> Any:
        """Import and return the module that runs the experiment."""
        return importlib.import_module(self.module)

    def load_report(self) -> Any:
        """Import and return the module that shows it."""
        return importlib.import_module(f"{self.module}_report")


PAPERS = [
    Paper(
        "biggio2012",
        "Biggio, Nelson and Laskov, Poisoning attacks against support vector machines, ICML 2012",
        "MNIST 7v1, 9v8, 4v0: a linear SVM on 100 digits and 1 to 6 added ones",
        "fastadv.reproduce.biggio2012",
        ("svm", "biggio"),
    ),
    Paper(
        "munoz2017",
        "Munoz-Gonzalez et al., Towards poisoning of deep learning algorithms with back-gradient "
        "optimization, AISec 2017",
        "MNIST: softmax regression, any error and 8 as 3; a perceptron on 1 against 7",
        "fastadv.reproduce.munoz2017",
        ("mlp", "biggio"),
    ),
    Paper(
        "stadv2018",
        "Xiao et al., Spatially transformed adversarial examples, ICLR 2018",
        "MNIST: success and flow of stAdv on perceptrons of three widths, as written and searched",
        "fastadv.reproduce.stadv2018",
        ("mlp", "stadv"),
    ),
]


def find(name: str) -> Paper:
    """Return the paper of a name.

    Raises
    ------
    InputError
        With the nearest known name.
    """
    for paper in PAPERS:
        if paper.name == name:
            return paper
    known = [paper.name for paper in PAPERS]
    raise InputError(f"no paper {name!r}{closest(name, known)} (known: {', '.join(known)})")
