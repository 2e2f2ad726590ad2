"""Read objects of a lake's storage, without opening the lake.

To open a lake takes five to six round trips, one after the other. A process that knows
which object holds what it needs, from the process that started it, can do without.
"""

from __future__ import annotations

import os
from typing import Any

import deeplake

from ...utils.shared_by_copies import SharedByCopies
from .retry import retry_read
from .source import LakeSource
from .spec import BUCKETS

# Readers inherited by a fork are kept, but not used, as handles are.
_inherited: list[Any] = []


class ObjectReader(SharedByCopies):
    """Reads objects with the credentials, deadlines and retries of a lake.

    Each process has a reader of its own, opened at its first use, and again after a
    failure and when the credentials are renewed.

    Args:
        source: The lake.
    """

    def __init__(self, source: LakeSource) -> None:
        self._source = source
        self._process = os.getpid()
        self._reader: Any = None
        self._age: tuple[int, ...] = ()

    @staticmethod
    def can_read(source: LakeSource) -> bool:
        """Return whether the storage of a lake has objects that can be read directly."""
        return source.spec.path.partition('://')[0] in BUCKETS

    def read(
        self, what: str, name: str, begin: int | None = None, end: int | None = None
    ) -> memoryview | None:
        """Read the object at a path within the lake, or bytes ``begin`` to ``end - 1``.

        Returns:
            The bytes; ``None`` if the object does not exist.

        Raises:
            LakeReadError: If all attempts fail; the message says ``what``.
        """

        def attempt() -> memoryview | None:
            reader = self._current()
            try:
                # Not get(), which blocks other threads while it waits.
                return memoryview(reader.get_async(name, begin, end).result())
            except (KeyError, deeplake.StorageKeyNotFound):
                return None

        source = self._source
        return retry_read(source.spec, f'{source.name}, {what}', attempt, self._forget)

    def _current(self) -> Any:
        credentials = self._source.spec.credentials
        if self._process != os.getpid():
            _inherited.append(self._reader)
            self._reader, self._process = None, os.getpid()
        age = credentials.age()
        reader = self._reader if self._age == age else None
        if reader is None:
            arguments = credentials.resolve()
            reader = deeplake.storage.Reader(self._source.spec.path, **arguments)
            self._reader, self._age = reader, age
        return reader

    def _forget(self) -> None:
        self._reader = None

    def __reduce__(self) -> tuple[Any, ...]:
        return ObjectReader, (self._source,)
