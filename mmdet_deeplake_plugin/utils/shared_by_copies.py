"""Share an object between all deep copies of what holds it."""

from __future__ import annotations

from typing import Any, TypeVar

_T = TypeVar('_T')


class SharedByCopies:
    """Base of objects that ``copy.deepcopy`` returns as they are.

    MMEngine copies datasets deeply, e.g. for subsets. This is for what never changes, and
    for what all copies write to together.
    """

    def __deepcopy__(self: _T, memo: dict[int, Any]) -> _T:
        return self
