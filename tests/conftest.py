"""What holds for all tests: small helpers on the path, and uncompiled runs without overflow noise."""

from __future__ import annotations

import sys
from collections.abc import Generator, Iterator
from pathlib import Path

import hypothesis
import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parent))

hypothesis.settings.register_profile("fixed", deadline=None, derandomize=True)
hypothesis.settings.load_profile("fixed")


def pytest_configure(config: pytest.Config) -> None:
    from helpers import UNCOMPILED

    if UNCOMPILED:  # 64-bit counters wrap on purpose, in every thread
        config.addinivalue_line("filterwarnings", "ignore:overflow encountered:RuntimeWarning")


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Leave out what needs a browser unless it is asked for: `make test-browser`."""
    left_out = collection_path.name == "browser" and "browser" not in config.option.markexpr
    return True if left_out else None


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    from helpers import UNCOMPILED

    skip = pytest.mark.skip(reason="too heavy without compiled kernels")
    for item in items:
        if UNCOMPILED and "compiled" in item.keywords:
            item.add_marker(skip)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    from extras import judged

    return judged((yield))


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report() -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    from extras import judged

    return judged((yield))


@pytest.fixture(autouse=True)
def two_threads() -> Iterator[None]:
    """A test may change the number of threads; the next one starts with two."""
    from fastadv.threads import set_threads

    set_threads(2)
    yield
    set_threads(2)


@pytest.fixture(autouse=True)
def same_draws(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file's ``RNG`` begins anew with each test: what it draws hangs on no test before it."""
    if hasattr(request.module, "RNG"):
        monkeypatch.setattr(request.module, "RNG", np.random.default_rng(0))
