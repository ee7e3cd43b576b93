"""The same work in the libraries that a user would otherwise pick; each imported when asked for."""

from __future__ import annotations

# Of each library: what has to be importable, and how to get it.
NEEDS: dict[str, tuple[tuple[str, ...], str]] = {
    "jax": (("jax",), "pip install jax"),
    "torch": (("torch",), "pip install torch --index-url https://download.pytorch.org/whl/cpu"),
    "scikit-learn": (("sklearn",), "pip install scikit-learn"),
    "torchattacks": (("torch", "torchattacks"), "pip install torchattacks"),
    "foolbox": (("torch", "foolbox"), "pip install torch foolbox"),
    "art": (("torch", "art"), "pip install torch adversarial-robustness-toolbox"),
}
