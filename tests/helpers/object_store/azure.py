"""Azure Blob Storage on the loopback: Azurite, behind its real host name and TLS.

Deep Lake asks ``https://ACCOUNT.blob.core.windows.net`` and no other address. So the
proxy listens on port 443 of an address of the loopback, ``/etc/hosts`` lets that name
mean it, and Deep Lake trusts the certificate by ``ca_file``.
"""

from __future__ import annotations

import os
import secrets
import shutil
from contextlib import ExitStack
from email.utils import formatdate
from pathlib import Path
from urllib.parse import quote

from helpers import ROOT
from helpers.object_store.certificates import write_certificate
from helpers.object_store.hosts import can_name_hosts, named
from helpers.object_store.objects import ask_server
from helpers.object_store.shared_key import new_key, signed
from helpers.object_store.signature import Key
from helpers.object_store.steered import Store, free_port

AZURITE = ROOT / '.azurite' / 'node_modules' / 'azurite' / 'dist' / 'src' / 'blob' / 'main.js'
CONTAINER = 'lakes'
_VERSION = '2021-10-04'


class AzureStore(Store):
    """A storage account with an empty container, and two keys, as accounts have.

    Attributes:
        account: Name of the account; no other store has it.
        keys: Its keys, of which the first is accepted at first.
        environment: What a process needs that reads it: nothing.
    """

    refusal = 'AuthenticationFailed'

    def __init__(self, folder: Path | str) -> None:
        super().__init__(folder)
        self._stack = ExitStack()
        self.environment: dict[str, str] = {}
        self.account = f'lakes{secrets.token_hex(6)}'
        self.keys = (new_key('key1'), new_key('key2'))
        self.host = f'{self.account}.blob.core.windows.net'
        try:
            self._azurite = self._start_azurite()
            trusted, proof = write_certificate(self._folder, self.host)
            self._trusted = str(trusted)
            # An address of its own, since the port must be 443.
            self._address = f'127.{secrets.randbelow(200) + 20}.{os.getpid() % 250}.1'
            self._start_proxy(
                'azure',
                self._azurite,
                *('--address', self._address, '--port', '443'),
                *('--certificate', str(proof)),
            )
            self._ask_azurite('PUT', f'/{CONTAINER}?restype=container', {})
            self._stack.enter_context(named(self._address, self.host))
            self.accept_keys(self.keys)  # so that the proxy knows both by name
            self.accept_keys(self.keys[:1])
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Ends the processes and forgets the host."""
        self._stack.close()
        super().close()

    @property
    def creds(self) -> dict[str, str]:
        """Deep Lake's ``creds`` with the first key."""
        return self.creds_of(self.keys[0])

    def creds_of(self, key: Key) -> dict[str, str]:
        """Deep Lake's ``creds`` with another key."""
        return {
            'account_name': self.account,
            'account_key': key.secret,
            'ca_file': self._trusted,
        }

    @property
    def plain_endpoint(self) -> str:
        """URL of Azurite itself, without the proxy and TLS."""
        return f'http://127.0.0.1:{self._azurite}/{self.account}'

    def url(self, name: str) -> str:
        """URL of a lake, or of anything else in the container."""
        return f'az://{self.account}/{CONTAINER}/{name}'

    @staticmethod
    def what_is_missing() -> str:
        """Why it cannot run here; empty if it can."""
        if not shutil.which('node'):
            return 'Node.js is not installed'
        if not AZURITE.exists():
            return 'Azurite is not installed: make test installs it'
        if not can_name_hosts():
            return 'only root may write /etc/hosts'
        return ''

    # -------------------------------------------------------------------------- private

    def _start_azurite(self) -> int:
        port = free_port()
        self._start_server(
            'azurite',
            *(shutil.which('node') or 'node', AZURITE, '--silent', '--disableTelemetry'),
            *('--skipApiVersionCheck', '--inMemoryPersistence'),
            *('--blobHost', '127.0.0.1', '--blobPort', str(port)),
            AZURITE_ACCOUNTS=':'.join([self.account, *(k.secret for k in self.keys)]),
        )
        self._wait_for('azurite', port)
        return port

    def _put(self, key: str, body: bytes) -> None:
        headers = {'x-ms-blob-type': 'BlockBlob'}
        self._ask_azurite('PUT', f'/{CONTAINER}/{quote(key)}', headers, body)

    def _ask_azurite(
        self, method: str, target: str, headers: dict[str, str], body: bytes = b''
    ) -> None:
        headers = {
            'host': self.host,
            'x-ms-version': _VERSION,
            'x-ms-date': formatdate(usegmt=True),
            'content-length': str(len(body)),
            **headers,
        }
        proven = signed(method, target, headers, self.account, self.keys[0])
        answer = ask_server(self._azurite, method, target, proven, body)
        if answer.status not in (200, 201):
            raise RuntimeError(f'{method} {target}: {answer.status} {answer.body!r}')
