"""The proposals of a sample, read when somebody looks at them."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any

from ..lake import Lake


class SampleProposals(dict):
    """What a proposal file says of an image: ``bboxes`` and ``scores``.

    Samplers ask every sample for its size alone, in the main process; proposals would
    be read there for nothing.

    Args:
        lake: A lake with proposals.
        row: Row number.
        size: Width and height of the image in pixels.
    """

    def __init__(self, lake: Lake, row: int, size: tuple[int, int]) -> None:
        super().__init__()
        self._unread: tuple[Lake, int, tuple[int, int]] | None = (lake, row, size)

    def read(self) -> None:
        """Reads them, once."""
        if self._unread is not None:
            lake, row, size = self._unread
            if lake.proposals is not None:
                dict.update(self, lake.proposals.of_row(row, size))
            self._unread = None

    def __reduce__(self) -> tuple[Any, ...]:
        return dict, (dict(self.items()),)


def _reading(name: str) -> Callable[..., Any]:
    """A method of ``dict`` that reads first."""
    method = getattr(dict, name)

    @wraps(method)
    def read_first(self: SampleProposals, *args: Any, **kwargs: Any) -> Any:
        self.read()
        return method(self, *args, **kwargs)

    return read_first


for _name in (
    *('__contains__', '__delitem__', '__eq__', '__getitem__', '__iter__', '__len__'),
    *('__ne__', '__repr__', '__setitem__', 'clear', 'copy', 'get', 'items', 'keys'),
    *('pop', 'popitem', 'setdefault', 'update', 'values'),
):
    setattr(SampleProposals, _name, _reading(_name))
