"""Many short strings in one block of bytes, which processes share."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np


class PackedStrings:
    """A fixed sequence of strings in two arrays instead of one object each.

    Args:
        values: The strings.
    """

    def __init__(self, values: Iterable[str]) -> None:
        encoded = [str(value).encode() for value in values]
        self._ends = np.cumsum([len(value) for value in encoded], dtype=np.int64)
        self._bytes = np.frombuffer(b''.join(encoded), dtype=np.uint8)

    def __len__(self) -> int:
        return len(self._ends)

    def __getitem__(self, index: int) -> str:
        start = self._ends[index - 1] if index else 0
        return self._bytes[start : self._ends[index]].tobytes().decode()

    def __iter__(self) -> Iterator[str]:
        return (self[index] for index in range(len(self)))

    @property
    def nbytes(self) -> int:
        """Size in bytes."""
        return self._bytes.nbytes + self._ends.nbytes
