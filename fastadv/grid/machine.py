"""What numbers and times hang on beside what is asked: versions, processor, compiled kernels."""

from __future__ import annotations

import hashlib
import os
import platform
import sys
from collections.abc import Iterable
from dataclasses import fields, is_dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np

import fastadv
from fastadv import capabilities
from fastadv.grid.context import Context
from fastadv.specs import Spec
from fastadv.threads import blas_kernels, thread_count

PROCESSOR = ("processor", "BLAS kernels")  # of `likeness`, what another type of machine has


def kernels_of(context: Context) -> set[str]:
    """Return the names of all that runs, the attacks that defenses train with among them."""
    grid = context.grid
    made = [choice.made for choice in (*grid.attacks, *grid.defenses)]
    nested = [getattr(one, f.name) for one in made for f in fields(one)]
    names = {one.name for one in (*made, *filter(is_dataclass, nested))}
    if any(capabilities.kind_of(choice.made) == "evasion" for choice in grid.attacks):
        names.add("pgd")  # that looks at each defended model
    return names | ({Spec.parse(grid.model).name} if context.given is None else set())


def environment(packages: Iterable[str] = ()) -> dict[str, object]:
    """Return what the numbers and the times of a grid hang on; ``packages``: those besides."""
    import numba
    import scipy
    import sklearn

    return {
        "fastadv": fastadv.__version__,
        "python": sys.version.split()[0],
        "numpy": np.__version__,
        "numba": numba.__version__,
        "scipy": scipy.__version__,
        "scikit-learn": sklearn.__version__,
        **_versions(packages),
        "machine": platform.machine(),
        "processor": _processor(),
        "cores": os.cpu_count(),
        "threads": thread_count(),
    }


def packages_of(context: Context) -> set[str]:
    """Return the packages that compute the grid's model, beside those that fastadv needs.

    One that only reads the model's file is none: the hash of what was read tells.
    """
    model = context.make_model(context.grid.seed) if context.given is None else context.given
    package = capabilities.computed_by(model)
    return set() if package is None else {package}


def likeness(packages: Iterable[str] = ()) -> dict[str, str]:
    """Return what has to be the same on two machines for the same numbers to the last bit.

    Parameters
    ----------
    packages : iterable of str
        Whose versions are told too, if they are there.
    """
    import numba
    import scipy
    import sklearn
    from llvmlite import binding

    config: Any = numba.config
    name = config.CPU_NAME or binding.get_host_cpu_name()
    features = config.CPU_FEATURES or binding.get_host_cpu_features().flatten()
    like = {
        "fastadv": f"{fastadv.__version__} of code {_code()}",
        "Python": ".".join(map(str, sys.version_info[:2])),
        "numpy": np.__version__,
        "scipy": scipy.__version__,
        "scikit-learn": sklearn.__version__,
        "numba": numba.__version__ + (", not compiling" if config.DISABLE_JIT else ""),
        "processor": f"{name} with features {_short(features.encode())}",
        "BLAS kernels": blas_kernels(),
    }
    return like | _versions(set(packages) - like.keys())


def differences(ours: dict[str, str], theirs: dict[str, str], mixed: bool) -> list[str]:
    """Return what is not alike, in words; ``mixed``: a processor of another type will do."""
    return [
        f"{f'{name} {theirs[name]}' if name in theirs else f'no {name}'} in place of {value}"
        for name, value in ours.items()
        if theirs.get(name) != value and not (mixed and name in PROCESSOR)
    ]


def processor(like: dict[str, str]) -> str:
    """Return what the processor of a `likeness` is called."""
    return ", ".join(like[name] for name in PROCESSOR)


def _versions(packages: Iterable[str]) -> dict[str, str]:
    return {name: version for name in sorted(packages) if (version := _version(name))}


def _version(package: str) -> str:
    """Return the version that is installed, "" without one; importing PyTorch takes seconds."""
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        others = metadata.packages_distributions().get(package, [])  # onnxruntime-gpu
        return ", ".join(f"{metadata.version(other)} of {other}" for other in others)


def _code() -> str:
    """Return the hash of this package's code: a version under development has many."""
    here = Path(fastadv.__file__).parent
    sources = sorted(here.rglob("*.py"), key=lambda path: path.relative_to(here).as_posix())
    parts = [path.relative_to(here).as_posix().encode() + path.read_bytes() for path in sources]
    return _short(b"\0".join(parts))


def _short(data: bytes) -> str:
    return hashlib.blake2b(data, digest_size=4).hexdigest()


def _processor() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor()
