"""Google Cloud Storage on the loopback: an emulator, with access tokens.

Deep Lake asks ``CLOUD_STORAGE_EMULATOR_ENDPOINT`` in the place of Google, and sends the
access token that its ``creds`` hold. Without one it looks for Google's metadata server,
for minutes.
"""

from __future__ import annotations

import importlib.util
import secrets
import sys
from pathlib import Path
from urllib.parse import quote

from helpers.object_store.objects import ask_server
from helpers.object_store.signature import Key
from helpers.object_store.steered import Store, free_port

BUCKET = 'lakes'


class GoogleStore(Store):
    """An empty bucket, and two access tokens, of which one is accepted at first.

    Attributes:
        keys: The tokens, by name.
        environment: What a process needs that reads it.
    """

    refusal = 'Unauthorized'

    def __init__(self, folder: Path | str) -> None:
        super().__init__(folder)
        names = ('token1', 'token2')
        self.keys = tuple(Key(name, f'ya29.{secrets.token_hex(40)}') for name in names)
        try:
            self._emulator = free_port()
            self._start_server(
                'emulator',
                *(sys.executable, '-m', 'gcp_storage_emulator', 'start', '--in-memory'),
                *('--host=127.0.0.1', f'--port={self._emulator}'),
                f'--default-bucket={BUCKET}',
            )
            self._wait_for('emulator', self._emulator)
            port = self._start_proxy('google', self._emulator)
            endpoint = f'http://127.0.0.1:{port}'
            self.environment = {'CLOUD_STORAGE_EMULATOR_ENDPOINT': endpoint}
            self.accept_keys(self.keys)  # so that the proxy knows both by name
            self.accept_keys(self.keys[:1])
        except BaseException:
            self.close()
            raise

    @property
    def creds(self) -> dict[str, str]:
        """Deep Lake's ``creds`` with the first token."""
        return self.creds_of(self.keys[0])

    def creds_of(self, key: Key) -> dict[str, str]:
        """Deep Lake's ``creds`` with another token."""
        return {'gcs_oauth_token': key.secret}

    def url(self, name: str) -> str:
        """URL of a lake, or of anything else in the bucket."""
        return f'gs://{BUCKET}/{name}'

    @staticmethod
    def what_is_missing() -> str:
        """Why it cannot run here; empty if it can."""
        found = importlib.util.find_spec('gcp_storage_emulator')
        return '' if found else 'gcp-storage-emulator is not installed'

    # -------------------------------------------------------------------------- private

    def _put(self, key: str, body: bytes) -> None:
        name = quote(key, safe='')
        target = f'/upload/storage/v1/b/{BUCKET}/o?uploadType=media&name={name}'
        headers = {'content-type': 'application/octet-stream'}
        answer = ask_server(self._emulator, 'POST', target, headers, body)
        if answer.status != 200:
            raise RuntimeError(f'POST {target}: {answer.status} {answer.body!r}')
