"""Serve the page on the loopback, and make thumbnails when they are looked at."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable
from functools import lru_cache
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

from .content import Content
from .data import as_script
from .folder import (
    DATA,
    IMAGES,
    INDEX,
    THUMBS,
    TYPES,
    page_files,
    read_image,
    served_name,
)
from .images import CONTENT_TYPES, for_browser, thumbnail

_HOST = '127.0.0.1'
_KEPT_THUMBS = 4096
_IMAGE = re.compile(rf'/({THUMBS}|{IMAGES})/(\d{{1,18}})(?![^./])')
# Stands for the suffix, as images are not read before they are shown.
_PICTURE = 'picture'

Answer = tuple[str, bytes]  # type and content


class PageServer:
    """Serves a page on the loopback.

    Args:
        content: What the page shows.
        port: Port, 0 for any that is free.
        max_side: Longest side of the images in pixels, None for images as stored.

    Raises:
        OSError: If the port is taken.
    """

    def __init__(
        self, content: Content, port: int = 0, max_side: int | None = None
    ) -> None:
        self._lake, self._max_side = content.lake, max_side
        self._rows = frozenset(content.rows.tolist())
        self._reading = threading.Lock()
        self._files = {
            f'/{served_name(file)}': (TYPES[file.suffix], file.read_bytes())
            for file in page_files()
        }
        self._files['/'] = self._files[f'/{INDEX}']
        script = as_script(content.data, [_PICTURE] * len(content.rows))
        self._files[f'/{DATA}'] = (TYPES['.js'], script)
        self._thumbnail = lru_cache(_KEPT_THUMBS)(lambda row: thumbnail(self._read(row)))
        try:
            self._server = ThreadingHTTPServer((_HOST, port), _handler(self.answer))
        except OSError as error:
            raise OSError(
                f'--port {port} cannot be used ({error.strerror}); write another one, or '
                'leave it out'
            ) from error

    @property
    def url(self) -> str:
        """Address of the page."""
        return f'http://{_HOST}:{self._server.server_port}/'

    def run(self) -> None:
        """Serve until :meth:`stop` is called, or the user interrupts."""
        try:
            self._server.serve_forever()
        finally:
            self._server.server_close()

    def stop(self) -> None:
        """Stop serving."""
        self._server.shutdown()

    def answer(self, path: str) -> Answer | None:
        """Return what is at a path such as ``/thumbs/12.jpg``, None for nothing."""
        if path in self._files:
            return self._files[path]
        found = _IMAGE.match(path)
        if found is None or int(found[2]) not in self._rows:
            return None
        if found[1] == THUMBS:
            small = self._thumbnail(int(found[2]))
            return None if small is None else (CONTENT_TYPES['jpg'], small)
        large = for_browser(self._read(int(found[2])), self._max_side)
        return None if large is None else (CONTENT_TYPES[large[0]], large[1])

    def _read(self, row: int) -> bytes:
        with self._reading:
            return read_image(self._lake, row)


def _handler(answer: Callable[[str], Answer | None]) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = 'HTTP/1.1'

        def do_GET(self) -> None:
            """Answer a request; only of this machine, whatever name a site gave it."""
            host = self.headers.get('Host', '').rpartition(':')[0]
            if host not in (_HOST, 'localhost'):
                self.send_error(HTTPStatus.FORBIDDEN)
                return
            found = answer(urlsplit(self.path).path)
            if found is None:
                self.send_error(HTTPStatus.NOT_FOUND)
                return
            self.send_response(HTTPStatus.OK)
            self.send_header('Content-Type', found[0])
            self.send_header('Content-Length', str(len(found[1])))
            self.send_header('X-Content-Type-Options', 'nosniff')
            self.end_headers()
            self.wfile.write(found[1])

        def log_message(self, *args: object) -> None:
            """Say nothing."""

    return Handler
