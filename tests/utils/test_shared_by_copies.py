"""Objects that deep copies share."""

from __future__ import annotations

import copy
import pickle
from dataclasses import dataclass

from mmdet_deeplake_plugin.utils.shared_by_copies import SharedByCopies


@dataclass(frozen=True)
class Shared(SharedByCopies):
    """Holds something that could be copied."""

    values: list[int]


def test_deep_copies_share_the_object():
    """By itself and inside others; a pickle holds a copy as ever."""
    shared = Shared([1, 2])
    assert copy.deepcopy(shared) is shared
    holder = copy.deepcopy({'shared': shared, 'own': [3]})
    assert holder['shared'] is shared
    other = pickle.loads(pickle.dumps(shared))
    assert other == shared and other is not shared
