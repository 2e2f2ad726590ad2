"""The handle by which a test starts, steers and asks the S3 server."""

from __future__ import annotations

import os
import re
from html import unescape
from pathlib import Path
from urllib.parse import quote

from helpers.object_store.objects import ANYONE, ask_server
from helpers.object_store.signature import Key
from helpers.object_store.steered import Store

REGION = 'us-east-1'
BUCKET = 'lakes'


class ObjectStore(Store):
    """An S3 server with an empty bucket; see the package.

    Attributes:
        endpoint: URL of the S3 server.
        key: The access key that is accepted at first.
    """

    refusal = 'InvalidAccessKeyId'

    def __init__(self, folder: Path, port: int, key: Key | None) -> None:
        super().__init__(folder)
        self.key = key or Key.new()
        try:
            self._moto = self._run('moto_process', str(os.getpid()))['port']
            port = self._start_proxy('s3', self._moto, '--port', str(port))
            self._put_to_moto(f'/{BUCKET}', b'')
            self.endpoint = f'http://127.0.0.1:{port}'
            self.accept_keys([self.key])
        except BaseException:
            self.close()
            raise

    @classmethod
    def start(
        cls, folder: Path | str, port: int = 0, key: Key | None = None
    ) -> ObjectStore:
        """Starts the server.

        Args:
            folder: Where the objects lie while it runs.
            port: Port of the endpoint; 0 is a free one.
            key: Access key to accept; a new one by default.

        Raises:
            RuntimeError: If a process does not come up; with what it said.
        """
        return cls(Path(folder), port, key)

    # ------------------------------------------------------------------------ addresses

    @property
    def creds(self) -> dict[str, str]:
        """Deep Lake's ``creds`` with the key that is accepted at first."""
        return self.creds_of(self.key)

    def creds_of(self, key: Key) -> dict[str, str]:
        """Deep Lake's ``creds`` with another key."""
        return {**key.creds, 'endpoint_url': self.endpoint, 'aws_region': REGION}

    def url(self, name: str) -> str:
        """URL of a lake, or of anything else in the bucket."""
        return f's3://{BUCKET}/{name}'

    def objects(self, name: str) -> dict[str, bytes]:
        """Content of each object below a folder by its key, past faults and log."""
        listing = self._get(f'/{BUCKET}?list-type=2&prefix={quote(name)}/').decode()
        keys = map(unescape, re.findall(r'<Key>(.*?)</Key>', listing))
        return {key: self._get(quote(f'/{BUCKET}/{key}')) for key in keys}

    def remove(self, key: str) -> None:
        """Removes an object, past faults and log."""
        target, headers = quote(f'/{BUCKET}/{key}'), {'authorization': ANYONE}
        ask_server(self._moto, 'DELETE', target, headers)
        self._ask('DELETE', '/copies')

    # -------------------------------------------------------------------------- private

    def _get(self, target: str) -> bytes:
        answer = ask_server(self._moto, 'GET', target, {'authorization': ANYONE})
        if answer.status != 200 or not isinstance(answer.body, bytes):
            raise RuntimeError(f'GET {target}: {answer.status} {answer.body!r}')
        return answer.body

    def _put(self, key: str, body: bytes) -> None:
        self._put_to_moto(f'/{BUCKET}/{quote(key)}', body)

    def _put_to_moto(self, target: str, body: bytes) -> None:
        answer = ask_server(self._moto, 'PUT', target, {'authorization': ANYONE}, body)
        if answer.status != 200:
            raise RuntimeError(f'PUT {target}: {answer.status} {answer.body!r}')
