"""Tests and benchmarks share the kernels that they compile, in the checkout."""

import os
from pathlib import Path

os.environ.setdefault("NUMBA_CACHE_DIR", str(Path(__file__).parent / ".cache" / "kernels"))
