"""What differs between the storages that the proxy stands in front of."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from helpers.object_store.bearer import BearerGate
from helpers.object_store.objects import Objects, forward
from helpers.object_store.shared_key import SharedKeyGate
from helpers.object_store.signature import Gate, Key
from helpers.object_store.wire import Answer, Request


class AnyGate(Protocol):
    """Decides who is let in."""

    def refuse(self, request: Request) -> str:
        """Error code for a request that is not let in; empty for one that is."""

    def key_id(self, request: Request) -> str:
        """Name of the key that a request came with."""


class Forwarding:
    """Answers all requests by the server behind the proxy.

    Args:
        port: Port of the server.
        folder: Not used.
    """

    def __init__(self, port: int, folder: Path) -> None:
        self._port = port
        self._threads = ThreadPoolExecutor(16)

    async def answer(self, request: Request) -> Answer:
        """Answers a request."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._threads, forward, self._port, request)

    def forget(self) -> None:
        """Does nothing: there are no copies."""


@dataclass(frozen=True)
class Dialect:
    """A kind of storage.

    Attributes:
        gate: Makes a gate of all keys so far, the accepted ones, and the error code for
            the others.
        objects: Makes what answers requests, of a port and a folder for copies.
    """

    gate: Callable[[Sequence[Key], Sequence[Key], str], AnyGate]
    objects: Callable[[int, Path], Objects | Forwarding]


DIALECTS = {
    's3': Dialect(lambda known, accepted, refusal: Gate(accepted, refusal), Objects),
    'azure': Dialect(SharedKeyGate, Forwarding),
    'google': Dialect(BearerGate, Forwarding),
}
