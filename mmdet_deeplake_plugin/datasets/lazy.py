"""Lists and dicts that are filled when somebody first looks into them.

Samplers ask every sample for its size or its labels alone, in the main process; masks
and proposals that nobody looks at would be read and encoded there for nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import wraps
from typing import Any, TypeVar

C = TypeVar('C', bound=type)


def _fills_first(base: type, *names: str) -> Callable[[C], C]:
    """Make methods of a base class fill the container, and others given to them."""

    def method_of(name: str) -> Callable[..., Any]:
        method = getattr(base, name)

        @wraps(method)
        def fill_first(self: Any, *args: Any, **kwargs: Any) -> Any:
            for each in (self, *args):
                if isinstance(each, (LazyList, LazyDict)):
                    each.fill()
            return method(self, *args, **kwargs)

        return fill_first

    def decorate(cls: C) -> C:
        for name in names:
            setattr(cls, name, method_of(name))
        return cls

    return decorate


# All methods that show or change an item; the length does neither.
@_fills_first(
    list,
    *('__iter__', '__reversed__', '__getitem__', '__contains__', '__repr__'),
    *('__eq__', '__ne__', '__add__', '__mul__', '__rmul__'),
    *('__setitem__', '__delitem__', '__iadd__', '__imul__'),
    *('append', 'copy', 'count', 'extend', 'index', 'insert', 'pop', 'remove'),
    *('reverse', 'sort'),
)
class LazyList(list):
    """A list whose items are completed at first use.

    Args:
        items: The items.
        complete: Completes them in place; called once.
    """

    def __init__(
        self, items: Iterable[Any], complete: Callable[[list[Any]], None]
    ) -> None:
        super().__init__(items)
        self._complete: Callable[[list[Any]], None] | None = complete

    def fill(self) -> None:
        """Complete the items, unless that was done before."""
        if self._complete is not None:
            self._complete(self.plain(filled=False))
            self._complete = None

    def plain(self, filled: bool) -> list[Any]:
        """Return the items as a list like any other.

        Args:
            filled: Whether to complete them first.
        """
        if filled:
            self.fill()
        return list(list.__iter__(self))

    def __radd__(self, other: list[Any]) -> list[Any]:
        return other + self.plain(filled=True)

    def __reduce__(self) -> tuple[Any, ...]:
        return list, (self.plain(filled=True),)


@_fills_first(
    dict,
    *('__contains__', '__delitem__', '__eq__', '__getitem__', '__iter__', '__len__'),
    *('__ne__', '__repr__', '__setitem__', 'clear', 'copy', 'get', 'items', 'keys'),
    *('pop', 'popitem', 'setdefault', 'update', 'values'),
)
class LazyDict(dict):
    """A dict whose items are read at first use.

    Args:
        read: Returns the items; called once.
    """

    def __init__(self, read: Callable[[], dict[str, Any]]) -> None:
        super().__init__()
        self._read: Callable[[], dict[str, Any]] | None = read

    def fill(self) -> None:
        """Read the items, unless that was done before."""
        if self._read is not None:
            dict.update(self, self._read())
            self._read = None

    def __reduce__(self) -> tuple[Any, ...]:
        return dict, (dict(self.items()),)
