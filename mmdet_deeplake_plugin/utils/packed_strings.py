"""Store many short strings in one block of bytes, which processes share."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np

from .shared_memory import SharedByProcesses


class PackedStrings(SharedByProcesses):
    """An immutable sequence of strings, in two arrays; ``None`` becomes an empty one."""

    def __init__(self, values: Iterable[str | None]) -> None:
        texts = ['' if value is None else str(value) for value in values]
        joined = ''.join(texts).encode()
        lengths: Iterable[int] = map(len, texts)
        if not joined.isascii():  # a character may be several bytes
            lengths = (len(text.encode()) for text in texts)
        self._ends = np.cumsum(np.fromiter(lengths, np.int64, len(texts)))
        self._bytes = np.frombuffer(joined, dtype=np.uint8)

    def __len__(self) -> int:
        return len(self._ends)

    def __getitem__(self, index: int) -> str:
        start = self._ends[index - 1] if index else 0
        return self._bytes[start : self._ends[index]].tobytes().decode()

    def __iter__(self) -> Iterator[str]:
        joined, ends = self._bytes.tobytes(), self._ends.tolist()
        if joined.isascii():
            text = joined.decode()
            return (text[start:end] for start, end in zip([0, *ends], ends))
        return (joined[start:end].decode() for start, end in zip([0, *ends], ends))

    @property
    def nbytes(self) -> int:
        """Size in bytes."""
        return self._bytes.nbytes + self._ends.nbytes
