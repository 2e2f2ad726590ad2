"""Split long arrays into blocks, so that intermediate results take little memory."""

from __future__ import annotations

# Weighted orders are drawn block by block, so another size is another order.
BLOCK_SIZE = 1 << 16


def blocks(count: int) -> list[slice]:
    """Split ``count`` items into consecutive slices of at most ``BLOCK_SIZE``.

    Examples:
        >>> blocks(100_000)
        [slice(0, 65536, None), slice(65536, 100000, None)]
    """
    return [
        slice(start, min(start + BLOCK_SIZE, count))
        for start in range(0, count, BLOCK_SIZE)
    ]
