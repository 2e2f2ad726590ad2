"""Share an object between all deep copies of what holds it."""

from __future__ import annotations

from typing import Any, TypeVar

_T = TypeVar('_T')


class SharedByCopies:
    """Base of objects that ``copy.deepcopy`` returns as they are.

    For objects that never change, where a copy would waste memory or open files, and
    for those that all copies of a dataset write to together. MMEngine copies datasets
    deeply, e.g. for subsets.
    """

    def __deepcopy__(self: _T, memo: dict[int, Any]) -> _T:
        return self
