"""Strings in one block: each comes back, whatever its characters."""

from __future__ import annotations

import pickle

import pytest

from mmdet_deeplake_plugin.utils.packed_strings import PackedStrings

KINDS = {
    'ascii': ['000001.jpg', '', 'a', 'x y', ''],
    'umlauts': ['Straße.jpg', '', 'é', '猫.png', 'plain', '🐈'],
    'control': ['a\x00b', '\n', '\x7f'],
    'none': [],
    'empty': ['', ''],
}


@pytest.mark.parametrize('values', KINDS.values(), ids=KINDS)
def test_strings_come_back(values):
    """By place, in sequence and from a pickle."""
    packed = PackedStrings(values)
    assert len(packed) == len(values)
    assert [packed[place] for place in range(len(packed))] == values
    assert list(packed) == values
    assert list(pickle.loads(pickle.dumps(packed))) == values
    assert packed.nbytes == sum(len(value.encode()) for value in values) + 8 * len(values)
