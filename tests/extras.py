"""Tests of what fastadv does with another library: skipped without it, but not where CI has them all."""

from __future__ import annotations

import os
import re
from typing import TypeVar

import pytest

# What CI has to have installed: FASTADV_ALL_EXTRAS is set there.
EXTRAS = (
    "dask", "distributed", "onnx", "onnxruntime", "safetensors", "skl2onnx", "skops", "torch",
)  # fmt: skip

Report = TypeVar("Report", pytest.TestReport, pytest.CollectReport)


def judged(report: Report) -> Report:
    """Return a report, as failed if it is of a skip for want of a library that has to be there."""
    if (
        report.skipped
        and os.environ.get("FASTADV_ALL_EXTRAS")
        and isinstance(report.longrepr, tuple)
    ):
        said = str(report.longrepr[2])
        found = re.search(r"could not import '(\w+)", said)
        if found and found.group(1) in EXTRAS:
            report.outcome, report.longrepr = "failed", f"FASTADV_ALL_EXTRAS is set, but: {said}"
    return report
