"""How a trained model is written where a spec could stand: a file, or a factory, which is code.

Only the text is looked at here; `fastadv.models.loading` reads and runs what it stands for.
"""

from __future__ import annotations

from pathlib import Path

from fastadv import registry
from fastadv.errors import InputError
from fastadv.files import is_file

_PICKLES = (".pkl", ".pickle", ".joblib", ".pt", ".pth", ".dill", ".p", ".h5", ".keras")

# By the end of a file's name: what reads it, ``module:function`` of a path. One line a format.
FILES = {
    ".npz": "fastadv.models.loading:saved",
    ".onnx": "fastadv.models.adapters.onnx_file:read",
    ".safetensors": "fastadv.models.loading:saved",
    ".skops": "fastadv.models.adapters.skops_file:read",
}

FORMS = (
    "FILE.npz or FILE.safetensors (fastadv's own), FILE.onnx, FILE.skops (scikit-learn's), "
    "FILE.py:FACTORY or PACKAGE.MODULE:FACTORY"
)


def is_source(text: str) -> bool:
    """Return whether a text is meant as a model that is there, and not as the spec of one."""
    name = text.partition("[")[0].strip()
    if registry.knows("model", name):
        return False
    known = (".py", *FILES, *_PICKLES)
    return ":" in text or Path(text).suffix.lower() in known or is_file(text)


def check_source(text: str) -> None:
    """Raise InputError if a text can be no source, without running or reading anything."""
    path, colon, factory = text.rpartition(":")
    suffix = Path(text if not colon else path).suffix.lower()
    if not colon and suffix in _PICKLES:
        raise InputError(
            f"{text} may be a pickle, which runs code when it is opened, and is not: write a "
            "factory that loads it, and give FILE.py:FACTORY"
        )
    if not colon and suffix == ".py":
        raise InputError(f"{text} has no factory: give {text}:NAME, a function of it")
    if (colon and not factory.isidentifier()) or (not colon and suffix not in FILES):
        raise InputError(f"{text!r} is no model; give {FORMS}, or a name of fastadv list models")
    file = path if colon else text
    if suffix in (".py", *FILES) and not is_file(file):
        raise InputError(f"there is no file {file}")
