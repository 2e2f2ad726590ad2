"""Ragged arrays: offsets and picked lists equal those of plain Python lists."""

from __future__ import annotations

import numpy as np
import pytest

from mmdet_deeplake_plugin.utils.ragged import indices_of_ranges, offsets_of

COUNTS = {
    'none': [],
    'one': [3],
    'empty lists': [0, 2, 0, 0, 1, 0],
    'all empty': [0, 0],
}


@pytest.mark.parametrize('counts', COUNTS.values(), ids=COUNTS)
@pytest.mark.parametrize('kind', [list, np.int8, np.int32, np.int64])
def test_offsets_are_the_sums_of_the_counts_before(counts, kind):
    """Of lists and of any integers, as 64-bit integers."""
    given = counts if kind is list else np.array(counts, dtype=kind)
    offsets = offsets_of(given)
    assert offsets.dtype == np.int64
    assert offsets.tolist() == [sum(counts[:i]) for i in range(len(counts) + 1)]


def test_offsets_of_small_integers_do_not_overflow():
    """The sum may need more bits than the counts."""
    assert offsets_of(np.full(300, 100, dtype=np.int8))[-1] == 30_000


@pytest.mark.parametrize(
    'chosen', [[], [0], [2, 0, 2, 1], [1, 1], [3, 4]], ids=lambda chosen: str(chosen)
)
def test_chosen_lists_are_picked(chosen):
    """In the order in which they are chosen, also twice, also empty ones."""
    lists = [[10, 11], [], [12, 13, 14], [15], []]
    counts = np.array([len(values) for values in lists], dtype=np.int32)
    flat, offsets = np.concatenate(lists).astype(int), offsets_of(counts)
    chosen_rows = np.array(chosen, dtype=np.int64)
    indices = indices_of_ranges(offsets[chosen_rows], counts[chosen_rows])
    assert indices.dtype == np.int64
    assert flat[indices].tolist() == [value for i in chosen for value in lists[i]]
