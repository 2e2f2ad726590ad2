"""Blocks cover all items once, in order, and none is larger than the limit."""

from __future__ import annotations

import numpy as np
import pytest

from mmdet_deeplake_plugin.utils.blocks import BLOCK_SIZE, blocks


@pytest.mark.parametrize('count', [0, 1, 65535, 65536, 65537, 131072, 200_000])
def test_blocks_cover_everything_once(count):
    """The slices joined are the whole array."""
    items = np.arange(count)
    parts = [items[part] for part in blocks(count)]
    assert np.array_equal(np.concatenate([items[:0], *parts]), items)
    assert all(0 < len(part) <= BLOCK_SIZE for part in parts)
    assert len(parts) == -(-count // BLOCK_SIZE)
    assert all(part.stop <= count for part in blocks(count))


def test_the_block_size_is_fixed():
    """Weighted orders are drawn per block: a new size would change them all."""
    assert BLOCK_SIZE == 65536
