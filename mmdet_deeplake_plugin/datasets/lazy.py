"""Fill lists and dicts at first use.

Samplers ask every sample for its size or labels only, in the main process. Masks and
proposals that are not used need not be read and encoded there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import wraps
from typing import Any, TypeVar

C = TypeVar('C', bound=type)


def _fills_first(base: type, *names: str) -> Callable[[C], C]:
    """Override methods to fill the container, and lazy arguments, before the call."""

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


# All methods that show or change an item. The length is known without filling.
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
        items: Items, which may be incomplete.
        complete: Function that completes or replaces them in the list that it is given;
            called once.
    """

    def __init__(
        self, items: Iterable[Any], complete: Callable[[list[Any]], None]
    ) -> None:
        super().__init__(items)
        self._complete: Callable[[list[Any]], None] | None = complete

    def fill(self) -> None:
        """Complete the items, unless they are complete."""
        if self._complete is not None:
            items = self.plain(filled=False)
            self._complete(items)
            list.__setitem__(self, slice(None), items)
            self._complete = None

    def plain(self, filled: bool) -> list[Any]:
        """Return the items as an ordinary list.

        Args:
            filled: Whether to complete the items first.
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
        read: Function that returns the items; called once.
    """

    def __init__(self, read: Callable[[], dict[str, Any]]) -> None:
        super().__init__()
        self._read: Callable[[], dict[str, Any]] | None = read

    def fill(self) -> None:
        """Read the items, unless they have been read."""
        if self._read is not None:
            dict.update(self, self._read())
            self._read = None

    def __reduce__(self) -> tuple[Any, ...]:
        return dict, (dict(self.items()),)
