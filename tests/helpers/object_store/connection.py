"""A client's connection: sends answers, at a rate, in part, and ends by a reset."""

from __future__ import annotations

import asyncio
import socket
import struct
import time
from dataclasses import replace

from helpers.object_store.log import Record
from helpers.object_store.wire import Answer, FilePart

_PIECE = 256 * 1024
# How often a second a body is sent on that has a rate.
_TICKS = 20


class ResetError(Exception):
    """The connection is to be reset now."""


class Connection:
    """A connection, served by the task that makes this object.

    Attributes:
        number: Number of the connection.
        reader: What the client sends.
        writer: What it is sent.
        sending: Whether the body of an answer is on its way.
    """

    def __init__(
        self, number: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self.number = number
        self.reader = reader
        self.writer = writer
        self.sending = False
        self._task = asyncio.current_task()

    def reset(self) -> None:
        """Ends it by a TCP reset."""
        channel = self.writer.get_extra_info('socket')
        if channel is not None and channel.fileno() >= 0:
            linger = struct.pack('ii', 1, 0)  # drop what is unsent, send RST
            channel.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        self.writer.transport.abort()

    def kill(self) -> None:
        """Resets it and ends its task, whatever that waits for."""
        self.reset()
        if self._task:
            self._task.cancel()

    async def send(
        self, answer: Answer, stop: int, rate: float | None, record: Record
    ) -> None:
        """Sends an answer.

        Args:
            answer: What to send.
            stop: How many bytes of its body are sent.
            rate: Bytes per second; ``None`` is as fast as may be.
            record: Where status and bytes are noted.
        """
        record.status = answer.status
        self.sending = True
        try:
            if rate:
                await self._send_slowly(answer, stop, rate, record)
            elif isinstance(answer.body, FilePart) and stop > _PIECE:
                self.writer.write(answer.head())
                with answer.body.path.open('rb') as file:
                    record.sent = await asyncio.get_running_loop().sendfile(
                        self.writer.transport, file, answer.body.start, stop
                    )
            else:
                body = cut(answer.body, 0, stop)
                self.writer.write(answer.head() + body)
                record.sent = len(body)
                await self.writer.drain()
        finally:
            self.sending = False

    async def _send_slowly(
        self, answer: Answer, stop: int, rate: float, record: Record
    ) -> None:
        self.writer.write(answer.head())
        begin = time.monotonic()
        piece = max(int(rate / _TICKS), 1)
        for start in range(0, stop, piece):
            end = min(start + piece, stop)
            await asyncio.sleep(max(begin + end / rate - time.monotonic(), 0))
            self.writer.write(cut(answer.body, start, end))
            record.sent = end
            await self.writer.drain()


def cut(body: bytes | FilePart, start: int, stop: int) -> bytes:
    """Bytes of a body from ``start`` up to ``stop``."""
    return body[start:stop] if isinstance(body, bytes) else body.read(start, stop)


def shorten(answer: Answer, fraction: float) -> Answer:
    """The answer with less of its body, and headers that agree with it."""
    size = int(len(answer.body) * fraction)
    if isinstance(answer.body, FilePart):
        body: bytes | FilePart = replace(answer.body, size=size)
    else:
        body = answer.body[:size]
    headers = dict(answer.headers)
    if 'Content-Range' in headers:
        first, _, rest = headers['Content-Range'].partition('-')
        last = int(first.split()[-1]) + size - 1
        headers['Content-Range'] = f'{first}-{last}/{rest.partition("/")[2]}'
    return replace(answer, headers=headers, body=body)
