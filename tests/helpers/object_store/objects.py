"""The objects: ``moto`` holds them, and a copy on disk answers reads of them.

moto answers about 250 requests a second, and reads an object whole for each range of
it. So the first read of an object copies it to a file, and reads are answered from
there, until a request changes the object. All that is not a plain read goes to moto.
"""

from __future__ import annotations

import asyncio
import http.client
import itertools
import re
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote

from helpers.object_store.wire import Answer, FilePart, Request, error

# moto takes any signature, but none at all makes a request anonymous.
ANYONE = (
    'AWS4-HMAC-SHA256 Credential=anyone/20200101/us-east-1/s3/aws4_request, '
    'SignedHeaders=host, Signature=0'
)
_PLAIN_QUERIES = ('', 'x-id=GetObject', 'x-id=HeadObject')
_HOP_BY_HOP = (
    'connection',
    'content-length',
    'expect',
    'keep-alive',
    'transfer-encoding',
)
_RANGE = re.compile(r'bytes=(\d*)-(\d*)$')


@dataclass(frozen=True)
class _Copy:
    """An object on disk, and the headers of its answers."""

    path: Path
    size: int
    headers: Mapping[str, str]


class Objects:
    """Answers requests that are let through.

    Args:
        port: Port of moto.
        folder: An empty folder for copies of objects.
    """

    def __init__(self, port: int, folder: Path) -> None:
        self._port = port
        self._folder = folder
        self._names = itertools.count()
        self._copies: dict[str, _Copy] = {}
        self._copying: dict[str, asyncio.Future[_Copy | Answer]] = {}
        self._threads = ThreadPoolExecutor(16)

    async def answer(self, request: Request) -> Answer:
        """Answers a request as S3 does."""
        if _is_plain_read(request):
            copy = await self._copy(request.path)
            if isinstance(copy, _Copy):
                return _read(copy, request)
            return Answer(copy.status, copy.headers) if request.is_head else copy
        if request.method in ('GET', 'HEAD'):
            return await self._forward(request)
        self.forget(request)
        try:
            return await self._forward(request)
        finally:
            self.forget(request)  # what was copied while moto was changing it

    def forget(self, request: Request | None = None) -> None:
        """Drops the copies of what a request changes; without one, all.

        Their files stay: an answer may still be reading them.
        """
        if request is None or not request.key:  # such as the deletion of a list of keys
            self._copies.clear()
            self._copying.clear()
        else:
            self._copies.pop(unquote(request.path), None)
            self._copying.pop(unquote(request.path), None)

    async def _copy(self, path: str) -> _Copy | Answer:
        """The copy of an object, made once for all who ask; else moto's refusal."""
        name = unquote(path)
        if copy := self._copies.get(name):
            return copy
        copying = self._copying.get(name)
        if copying is None:
            loop = asyncio.get_running_loop()
            copying = loop.run_in_executor(self._threads, self._download, path)
            self._copying[name] = copying
            copying.add_done_callback(lambda done: self._keep(name, done))
        return await asyncio.shield(copying)

    def _keep(self, name: str, done: asyncio.Future[_Copy | Answer]) -> None:
        if self._copying.get(name) is not done:
            return  # forgotten meanwhile
        del self._copying[name]
        if not done.exception() and isinstance(copy := done.result(), _Copy):
            self._copies[name] = copy

    def _download(self, path: str) -> _Copy | Answer:
        answer = ask_server(self._port, 'GET', path, {'authorization': ANYONE})
        if answer.status != 200:
            return answer
        assert isinstance(answer.body, bytes)
        file = self._folder / str(next(self._names))
        file.write_bytes(answer.body)
        headers = {**answer.headers, 'Accept-Ranges': 'bytes'}
        return _Copy(file, len(answer.body), headers)

    async def _forward(self, request: Request) -> Answer:
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._threads, forward, self._port, request)


def forward(port: int, request: Request) -> Answer:
    """Sends a request on to the server behind the proxy."""
    headers = {
        name: value for name, value in request.headers.items() if name not in _HOP_BY_HOP
    }
    return ask_server(port, request.method, request.target, headers, request.body)


def ask_server(
    port: int, method: str, target: str, headers: Mapping[str, str], body: bytes = b''
) -> Answer:
    """Sends a request to a server of the loopback."""
    connection = http.client.HTTPConnection('127.0.0.1', port)
    try:
        connection.putrequest(
            method, target, skip_host='host' in headers, skip_accept_encoding=True
        )
        for name, value in {**headers, 'content-length': str(len(body))}.items():
            connection.putheader(name, value)
        connection.endheaders(body or None)
        response = connection.getresponse()
        data = response.read()
        kept = {
            name: value
            for name, value in response.getheaders()
            if name.lower() not in _HOP_BY_HOP
        }
        length = response.getheader('content-length') if method == 'HEAD' else None
        return Answer(response.status, kept, data, int(length) if length else None)
    finally:
        connection.close()


def _is_plain_read(request: Request) -> bool:
    """Whether a request asks for the newest bytes of an object without conditions."""
    return (
        request.method in ('GET', 'HEAD')
        and bool(request.key)
        and request.query in _PLAIN_QUERIES
        and not any(name.startswith('if-') for name in request.headers)
    )


def _read(copy: _Copy, request: Request) -> Answer:
    """The whole object or the range that is asked for; a bad range counts as none."""
    status, headers, start, stop = 200, copy.headers, 0, copy.size
    match = _RANGE.match(request.headers.get('range', ''))
    if match and any(match.groups()):
        first, last = match.groups()
        if first:
            start, stop = int(first), min(int(last or copy.size) + 1, copy.size)
        else:
            start = max(copy.size - int(last), 0)
        if start >= stop:
            return error('InvalidRange', request)
        status = 206
        headers = {**headers, 'Content-Range': f'bytes {start}-{stop - 1}/{copy.size}'}
    if request.is_head:
        return Answer(status, headers, length=stop - start)
    return Answer(status, headers, FilePart(copy.path, start, stop - start))
