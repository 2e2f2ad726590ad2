"""HTTP/1.1 as object storage speaks it: requests read, answers built, errors as XML."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import unquote

# Error code -> status and message. Those of S3, and how Azure and Google refuse a key.
# https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html
ERRORS = {
    'AccessDenied': (403, 'Access Denied'),
    'AuthenticationFailed': (403, 'Server failed to authenticate the request.'),
    'ExpiredToken': (400, 'The provided token has expired.'),
    'InternalError': (500, 'We encountered an internal error. Please try again.'),
    'InvalidAccessKeyId': (
        403,
        'The AWS Access Key Id you provided does not exist in our records.',
    ),
    'InvalidRange': (416, 'The requested range is not satisfiable'),
    'InvalidToken': (400, 'The provided token is malformed or otherwise invalid.'),
    'NoSuchKey': (404, 'The specified key does not exist.'),
    'ServiceUnavailable': (503, 'Reduce your request rate.'),
    'SignatureDoesNotMatch': (
        403,
        'The request signature we calculated does not match the signature you provided. '
        'Check your key and signing method.',
    ),
    'SlowDown': (503, 'Please reduce your request rate.'),
    'TooManyRequests': (429, 'Too many requests.'),
    'Unauthorized': (401, 'Invalid Credentials'),
}
_REASONS = {
    200: 'OK',
    204: 'No Content',
    206: 'Partial Content',
    304: 'Not Modified',
    400: 'Bad Request',
    401: 'Unauthorized',
    403: 'Forbidden',
    404: 'Not Found',
    416: 'Range Not Satisfiable',
    429: 'Too Many Requests',
    500: 'Internal Server Error',
    503: 'Service Unavailable',
}


@dataclass
class Request:
    """A request; ``body`` is read later, by :func:`read_body`.

    Attributes:
        method: Such as ``GET``.
        target: Path and query as they were sent.
        path: Path as it was sent, percent-encoded.
        query: Query as it was sent.
        headers: By lower-case name.
        version: Such as ``HTTP/1.1``.
        body: Body, without the framing of a chunked transfer.
    """

    method: str
    target: str
    path: str
    query: str
    headers: dict[str, str]
    version: str
    body: bytes = b''

    @property
    def key(self) -> str:
        """Key of the object, decoded; empty if the request is about a bucket."""
        return unquote(self.path.lstrip('/').partition('/')[2])

    @property
    def is_head(self) -> bool:
        """Whether the answer must have no body."""
        return self.method == 'HEAD'

    @property
    def is_last(self) -> bool:
        """Whether the client closes the connection after the answer."""
        connection = self.headers.get('connection', '').lower()
        return connection == 'close' or self.version == 'HTTP/1.0'


@dataclass(frozen=True)
class FilePart:
    """Bytes ``start`` to ``start + size`` of a file."""

    path: Path
    start: int
    size: int

    def __len__(self) -> int:
        return self.size

    def read(self, start: int, stop: int) -> bytes:
        """Bytes of the part from ``start`` up to ``stop``."""
        descriptor = os.open(self.path, os.O_RDONLY)
        try:
            return os.pread(descriptor, stop - start, self.start + start)
        finally:
            os.close(descriptor)


@dataclass
class Answer:
    """An answer.

    Attributes:
        status: HTTP status.
        headers: All but ``Content-Length``.
        body: What is sent; empty for ``HEAD``.
        length: ``Content-Length`` where it is not the body's, as for ``HEAD``.
    """

    status: int
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes | FilePart = b''
    length: int | None = None

    def head(self) -> bytes:
        """Status line and headers."""
        length = len(self.body) if self.length is None else self.length
        lines = [f'HTTP/1.1 {self.status} {_REASONS.get(self.status, "Status")}']
        lines += [f'{name}: {value}' for name, value in self.headers.items()]
        if self.status not in (204, 304):
            lines.append(f'Content-Length: {length}')
        return '\r\n'.join([*lines, '', '']).encode('latin1')


def error(code: str, request: Request) -> Answer:
    """The answer of S3 for an error code; without its XML to a ``HEAD``."""
    status, message = ERRORS[code]
    xml = (
        '<?xml version="1.0" encoding="UTF-8"?>\n'
        f'<Error><Code>{code}</Code><Message>{message}</Message>'
        '<RequestId>0000000000000000</RequestId></Error>'
    )
    body = b'' if request.is_head else xml.encode()
    # Azure's clients read the code from a header.
    headers = {'Content-Type': 'application/xml', 'x-ms-error-code': code}
    return Answer(status, headers, body)


async def read_head(reader: asyncio.StreamReader) -> Request | None:
    """Reads a request up to its body; ``None`` at the end of the connection."""
    try:
        head = (await reader.readuntil(b'\r\n\r\n')).decode('latin1')
    except asyncio.IncompleteReadError:
        return None
    first, *lines = head[:-4].split('\r\n')
    method, target, version = first.split(' ')
    headers = {}
    for line in lines:
        name, _, value = line.partition(':')
        headers[name.strip().lower()] = value.strip()
    path, _, query = target.partition('?')
    return Request(method, target, path, query, headers, version)


async def read_body(
    request: Request, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
) -> None:
    """Reads the body into the request, after telling a client that waits to send it."""
    if request.headers.get('expect', '').lower() == '100-continue':
        writer.write(b'HTTP/1.1 100 Continue\r\n\r\n')
    if request.headers.get('transfer-encoding', '').lower() == 'chunked':
        pieces = []
        while size := int((await reader.readline()).partition(b';')[0], 16):
            pieces.append(await reader.readexactly(size))
            await reader.readline()
        while await reader.readline() not in (b'\r\n', b''):
            pass  # trailers
        request.body = b''.join(pieces)
    elif length := int(request.headers.get('content-length') or 0):
        request.body = await reader.readexactly(length)
