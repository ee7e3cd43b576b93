"""What the machine code of the kernels must not do: compute float32 in float64, allocate by the row."""

from __future__ import annotations

import platform
import re
from collections.abc import Callable
from functools import partial
from typing import Any, get_args

import numba
import numpy as np
import pytest
from helpers import TASK, blobs, kernels

from fastadv import MLPClassifier, make_attack, make_defense, warmup
from fastadv.models.unrolled import Form, Objective
from fastadv.protocols import Certifier, RobustTraining, Sanitizer, Wrapper
from fastadv.registry import ATTACKS, DEFENSES

pytestmark = [
    pytest.mark.compiled,
    pytest.mark.skipif(
        bool(numba.config.BOUNDSCHECK), reason="checked indices are other machine code"
    ),
]

UP, DOWN = "cvtps2pd", "cvtpd2ps"  # several float32 to float64 at once, and back

# A loop that computes float32 in float64 for want of a cast goes both up and down; up alone is a sum
# or a norm, which are float64, and down alone a draw. These are meant to go both ways:
MEANT = {
    "images.boundary.add_step": "a length over a small gradient passes what float32 holds",
    "network.loss.ascent": "1 - p of a row that is sure is taken before it is rounded",
    "images.project.l2_step": "a step over a small norm passes what float32 holds",
    "images.square.l2_window": "norms, and a bump that is float64",
}


def conversions(kernel: Any, signature: Any) -> set[str]:
    """Return which of the two conversions the machine code of a kernel holds, in any loop."""
    library = kernel.overloads[signature].library
    # As `inspect_asm`, which refuses code that comes from the cache.
    code = library._codegen._tm.emit_assembly(library._get_module_for_linking())
    assert re.search(r"\bv?movups\b|\bv?movss\b|\bv?movaps\b|\bret", code)
    return {found for found in (UP, DOWN) if re.search(rf"\bv?{found}[xyz]?\b", code)}


def in_float32(signature: Any) -> bool:
    return any(getattr(kind, "dtype", None) == numba.float32 for kind in signature)


@pytest.mark.slow
@pytest.mark.skipif(platform.machine() not in ("x86_64", "AMD64"), reason="reads x86-64 code")
def test_no_float32_kernel_computes_in_float64() -> None:
    warmup.compile_groups(*warmup._groups(None))  # with the types that the package uses
    read, wrong = 0, []
    for name, kernel in kernels().items():
        for signature in filter(in_float32, kernel.signatures):
            read += 1
            if conversions(kernel, signature) == {UP, DOWN} and name not in MEANT:
                wrong.append(str((name, signature)))
    assert read > 40
    assert not wrong


@pytest.mark.skipif(platform.machine() not in ("x86_64", "AMD64"), reason="reads x86-64 code")
def test_a_missing_cast_would_be_found() -> None:
    @numba.njit(error_model="numpy")
    def promoted(x: np.ndarray, out: np.ndarray) -> None:
        for i in range(x.size):
            out[i] = x[i] * 0.1 + 0.2

    @numba.njit(error_model="numpy")
    def cast(x: np.ndarray, out: np.ndarray) -> None:
        for i in range(x.size):
            out[i] = x[i] * x.dtype.type(0.1) + x.dtype.type(0.2)

    for kernel, expected in ((promoted, {UP, DOWN}), (cast, set())):
        kernel(np.ones(64, np.float32), np.empty(64, np.float32))
        (signature,) = kernel.signatures
        assert in_float32(signature)
        assert conversions(kernel, signature) == expected


def test_every_name_that_is_let_pass_is_a_kernel() -> None:
    assert set(MEANT) <= set(kernels())


X, Y = blobs(30)

# What allocates by the row, and why that is no cost.
BY_THE_ROW = {
    "certify smoothing": "an image is the unit of work there: thousands of draws",
    "stadv[tau=0.05,steps=1]": "ten numbers for a direction of L-BFGS, which moves 250 kB",
}


@pytest.fixture
def allocations() -> Callable[[Callable[[], object]], int]:
    """A function that counts what compiled code allocates in a call; arguments count as well."""
    from numba.core.runtime import _nrt_python, rtsys

    def count(call: Callable[[], object]) -> int:
        call()  # compiled and warm
        before = rtsys.get_allocation_stats().alloc
        call()
        return int(rtsys.get_allocation_stats().alloc - before)

    _nrt_python.memsys_enable_stats()
    try:
        yield count
    finally:
        _nrt_python.memsys_disable_stats()


def untrained() -> MLPClassifier:
    return MLPClassifier((6,), batch_size=2 * len(X), max_iter=2)  # one batch of one or two copies


def differentiate(form: Form, x: np.ndarray, y: np.ndarray) -> None:
    index = np.array([0])
    made = untrained().poison_objective(x, y, index, x, y)
    assert isinstance(made, Objective)
    Objective(made.training, x, y, index, x, y, form)(x[:1].astype(np.float64))


def works() -> dict[str, Callable[[np.ndarray, np.ndarray], object]]:
    """What to run on the images once and on the same images twice: of both, all steps are alike."""
    model = untrained().fit(X, Y)

    def pulled(model: Any, x: np.ndarray) -> None:
        logits, pullback = model.vjp(x)
        pullback(np.zeros_like(logits))

    found: dict[str, Callable[[np.ndarray, np.ndarray], object]] = {
        "fit": lambda x, y: untrained().fit(x, y),
        "vjp": lambda x, _: pulled(model, x),
        **{f"poison_gradient {form}": partial(differentiate, form) for form in get_args(Form)},
    }
    for entry in ATTACKS:
        if entry.kind == "evasion":
            for text in warmup._VARIANTS.get(entry.name, (entry.name,)):
                attack = make_attack(text)
                found[text] = lambda x, y, a=attack: a.perturb(model, x, y, task=TASK)
    for entry in DEFENSES:
        if entry.nested:
            continue
        made, name = make_defense(warmup._VARIANTS.get(entry.name, (entry.name,))[0]), entry.name
        if isinstance(made, Sanitizer):
            found[f"sanitize {name}"] = lambda x, y, d=made: d.sanitize(x, y, task=TASK, seed=0)
        trained = model
        if isinstance(made, RobustTraining):
            found[f"fit {name}"] = lambda x, y, d=made: d.fit(untrained(), x, y, task=TASK, seed=0)
            trained = made.fit(untrained(), X, Y, task=TASK, seed=0)
        if isinstance(made, Certifier):
            found[f"certify {name}"] = lambda x, _, d=made, m=trained: d.certify(
                m, x, task=TASK, seed=0
            )
        if isinstance(made, Wrapper):
            wrapped = made.wrap(model, task=TASK)
            found[f"vjp {name}"] = lambda x, _, m=wrapped: pulled(m, x)
    return found


@pytest.mark.slow
def test_no_kernel_allocates_by_the_row(
    allocations: Callable[[Callable[[], object]], int],
) -> None:
    twice = np.concatenate([X, X]), np.concatenate([Y, Y])
    grown = {}
    for name, work in works().items():
        once = allocations(lambda w=work: w(X, Y))
        more = allocations(lambda w=work: w(*twice)) - once
        if more > 0:
            grown[name] = more
    assert set(grown) == set(BY_THE_ROW), grown


@pytest.mark.slow
def test_an_allocation_by_the_row_would_be_found(
    allocations: Callable[[Callable[[], object]], int],
) -> None:
    @numba.njit
    def by_the_row(x: np.ndarray, out: np.ndarray) -> None:
        for i in range(x.shape[0]):
            scratch = np.empty(x.shape[1])
            for j in range(x.shape[1]):
                scratch[j] = x[i, j]
            out[i] = scratch.max()

    counts = [allocations(lambda n=n: by_the_row(X[:n], np.empty(n))) for n in (10, 20)]
    assert counts[1] - counts[0] == 10
