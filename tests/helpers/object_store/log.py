"""What was asked of the store and what it answered."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass, field
from typing import Any


@dataclass
class Record:
    """A request and its answer.

    Attributes:
        method: Such as ``GET``.
        key: Key of the object; empty for requests about the bucket.
        query: Query as it was sent.
        range: ``Range`` header; empty if there was none.
        key_id: Access key that it was signed with.
        connection: Number of the client's connection.
        start: Seconds since the store was started.
        status: HTTP status of the answer; 0 if none was sent.
        sent: Bytes of the body that were sent.
        seconds: From the request to the end of the answer.
        fault: Kind of the fault that spoiled the answer; empty if none.
    """

    method: str
    key: str
    query: str
    range: str
    key_id: str
    connection: int
    start: float
    status: int = 0
    sent: int = 0
    seconds: float = 0.0
    fault: str = ''


@dataclass
class Totals:
    """Sums over requests.

    Attributes:
        requests: All requests.
        gets: Those that read an object.
        bytes: Bytes of bodies sent.
        connections: Client connections that carried them.
        faults: Kind of fault -> times.
    """

    requests: int = 0
    gets: int = 0
    bytes: int = 0
    connections: int = 0
    faults: dict[str, int] = field(default_factory=dict)


class Log:
    """The records since the last reset, in the order in which requests came."""

    def __init__(self) -> None:
        self._records: list[Record] = []

    def add(self, record: Record) -> None:
        """Appends a record; its end is filled in later."""
        self._records.append(record)

    def clear(self) -> None:
        """Forgets all records."""
        self._records = []

    def select(self, keys: str) -> list[dict[str, Any]]:
        """Records whose key matches a regular expression, as dicts."""
        return [dict(vars(record)) for record in self._matching(keys)]

    def totals(self, keys: str) -> Totals:
        """Sums over the records whose key matches a regular expression."""
        records = self._matching(keys)
        return Totals(
            requests=len(records),
            gets=sum(record.method == 'GET' and record.key != '' for record in records),
            bytes=sum(record.sent for record in records),
            connections=len({record.connection for record in records}),
            faults=dict(Counter(record.fault for record in records if record.fault)),
        )

    def _matching(self, keys: str) -> list[Record]:
        return [record for record in self._records if re.search(keys, record.key)]
