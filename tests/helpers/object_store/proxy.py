"""The proxy in front of the objects: checks keys, adds faults, logs every request.

A process of its own: ``python -m helpers.object_store.proxy``, started by ``store.py``, which
also steers it, through a second port (``control.py``).
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import json
import os
import socket
import ssl
import time
from collections.abc import Sequence
from pathlib import Path

from helpers.object_store.connection import Connection, ResetError, shorten
from helpers.object_store.control import serve_control
from helpers.object_store.dialects import DIALECTS, Dialect
from helpers.object_store.faults import CUT_KINDS, SILENT_KINDS, Fault, FaultPlan, Strike
from helpers.object_store.log import Log, Record
from helpers.object_store.parent import end_with_parent
from helpers.object_store.signature import Key
from helpers.object_store.wire import (
    ERRORS,
    Answer,
    Request,
    error,
    read_body,
    read_head,
)

# Bytes of a request that are read ahead.
_BUFFER = 1024 * 1024


class Proxy:
    """Serves a storage on an address of the loopback.

    Args:
        dialect: The kind of storage.
        server: Port of the server with the objects.
        folder: An empty folder for copies of objects.
        place: Address and port to listen on; port 0 is any free one.
        tls: What the connections are wrapped in, if anything.

    Attributes:
        objects: What answers the requests that are let through.
        plan: The faults.
        gate: The accepted keys.
        log: The requests so far.
    """

    def __init__(
        self,
        dialect: Dialect,
        server: int,
        folder: Path,
        place: tuple[str, int],
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self._dialect = dialect
        self._tls = tls
        self._keys: dict[str, Key] = {}
        self.objects = dialect.objects(server, folder)
        self.plan = FaultPlan()
        self.accept([], '')
        self.log = Log()
        self._begin = time.monotonic()
        self._numbers = itertools.count()
        self._connections: set[Connection] = set()
        self._server: asyncio.Server | None = None
        self._revival: asyncio.TimerHandle | None = None
        self._reserved = _bind(place)
        self._place: tuple[str, int] = self._reserved.getsockname()
        self.port = self._place[1]

    def accept(self, keys: Sequence[Key], refusal: str) -> None:
        """Replaces the keys that are let in, and what others are told."""
        self._keys.update({key.id: key for key in keys})
        self.gate = self._dialect.gate([*self._keys.values()], keys, refusal)

    async def revive(self) -> None:
        """Listens, if it does not."""
        if self._revival:
            self._revival.cancel()
            self._revival = None
        if self._server is None:
            self._server = await asyncio.start_server(
                self._serve,
                sock=self._reserved,
                backlog=1024,
                limit=_BUFFER,
                ssl=self._tls,
            )

    def kill(self, seconds: float | None = None) -> None:
        """Resets all connections and refuses new ones; for good, or for some seconds."""
        if self._server is not None:
            self._server.close()
            self._server = None
            # A socket that is bound but does not listen refuses, and keeps the port.
            self._reserved = _bind(self._place)
        for connection in self._connections:
            connection.kill()
        if self._revival:
            self._revival.cancel()
        if seconds is not None:
            loop = asyncio.get_running_loop()
            self._revival = loop.call_later(
                seconds, lambda: asyncio.ensure_future(self.revive())
            )

    async def settle(self) -> None:
        """Waits a moment for answers whose last bytes the client may have already."""
        deadline = time.monotonic() + 0.2
        while time.monotonic() < deadline and any(c.sending for c in self._connections):
            await asyncio.sleep(0.001)

    async def _serve(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        connection = Connection(next(self._numbers), reader, writer)
        if self._server is None:  # killed between its accept and now
            connection.reset()
            return
        self._connections.add(connection)
        try:
            while request := await read_head(reader):
                await read_body(request, reader, writer)
                if not await self._handle(request, connection) or request.is_last:
                    break
            writer.close()
        except (ResetError, ConnectionError, asyncio.IncompleteReadError):
            connection.reset()
        except asyncio.CancelledError:
            pass  # killed
        finally:
            self._connections.discard(connection)

    async def _handle(self, request: Request, connection: Connection) -> bool:
        """Answers a request; whether the connection may be used again."""
        begin = time.monotonic()
        strike = self.plan.strike(request.method, request.key)
        record = Record(
            method=request.method,
            key=request.key,
            query=request.query,
            range=request.headers.get('range', ''),
            key_id=self.gate.key_id(request),
            connection=connection.number,
            start=round(begin - self._begin, 6),
            fault=strike.fault.kind if strike.fault else '',
        )
        self.log.add(record)
        try:
            await asyncio.sleep(strike.delay)
            answer = await self._answer(request, strike.fault)
            return await _send(connection, answer, strike, record)
        finally:
            record.seconds = round(time.monotonic() - begin, 6)

    async def _answer(self, request: Request, fault: Fault | None) -> Answer:
        """The answer, or the error that the fault puts in its place."""
        if fault and fault.kind in SILENT_KINDS:
            await asyncio.sleep(fault.seconds)
            raise ResetError
        code = fault.kind if fault and fault.kind in ERRORS else self.gate.refuse(request)
        return error(code, request) if code else await self.objects.answer(request)


async def _send(
    connection: Connection, answer: Answer, strike: Strike, record: Record
) -> bool:
    """Sends what the fault leaves of an answer; whether all of it was sent."""
    fault = strike.fault
    if fault and fault.kind == 'shorten':
        answer = shorten(answer, fault.fraction)
    if fault is None or fault.kind not in CUT_KINDS:
        await connection.send(answer, len(answer.body), strike.rate, record)
        return True
    stop = int(len(answer.body) * fault.fraction)
    await connection.send(answer, stop, strike.rate, record)
    if fault.kind == 'truncate':
        return False
    await asyncio.sleep(fault.seconds)  # none but in a stall
    raise ResetError


def _bind(place: tuple[str, int]) -> socket.socket:
    """A socket that is bound to an address, and does not listen."""
    bound = socket.socket()
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    bound.bind(place)
    return bound


async def _main(arguments: argparse.Namespace) -> None:
    tls = None
    if arguments.certificate:
        tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        tls.load_cert_chain(arguments.certificate)
    proxy = Proxy(
        DIALECTS[arguments.dialect],
        arguments.server,
        arguments.folder,
        (arguments.address, arguments.port),
        tls,
    )
    await proxy.revive()
    control = await serve_control(proxy)
    print(json.dumps({'port': proxy.port, 'control': control}), flush=True)
    await asyncio.Event().wait()


if __name__ == '__main__':
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--dialect', choices=DIALECTS, default='s3')
    parser.add_argument('--server', type=int, required=True)
    parser.add_argument('--address', default='127.0.0.1')
    parser.add_argument('--port', type=int, default=0)
    parser.add_argument('--certificate', type=Path)
    parser.add_argument('--folder', type=Path, required=True)
    parser.add_argument('--parent', type=int, required=True)
    arguments = parser.parse_args()
    end_with_parent(arguments.parent)
    os.makedirs(arguments.folder, exist_ok=True)
    asyncio.run(_main(arguments))
