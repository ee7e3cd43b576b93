"""Test images block by block: what a stage holds in memory follows the block, not the grid.

What came of the blocks of one cell is put together in `fastadv.grid.found`.
"""

from __future__ import annotations

BLOCK = 2048  # images: a multiple of the chunks that models and attacks take


def blocks(n: int) -> list[slice]:
    """Return n images in blocks, at least one."""
    return [slice(start, min(start + BLOCK, n)) for start in range(0, max(n, 1), BLOCK)]
