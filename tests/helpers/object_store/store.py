"""The handle by which a test starts, steers and asks the object store."""

from __future__ import annotations

import http.client
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from html import unescape
from pathlib import Path
from types import TracebackType
from typing import Any
from urllib.parse import quote, urlencode

from helpers import TESTS
from helpers.object_store.faults import Fault
from helpers.object_store.log import Record, Totals
from helpers.object_store.objects import ANYONE, ask_moto
from helpers.object_store.signature import Key

REGION = 'us-east-1'
BUCKET = 'lakes'


class ObjectStore:
    """An S3 server with an empty bucket; see the package.

    Use as a context, or call :meth:`close`. Methods return when what they ask for is in
    effect. Those that steer and ask may be called in forked processes too.

    Attributes:
        endpoint: URL of the S3 server.
        control: URL that steers it (``control.py``), for ``curl``.
        key: The access key that is accepted at first.
    """

    def __init__(self, folder: Path, port: int, key: Key | None) -> None:
        self._folder = Path(tempfile.mkdtemp(prefix='object-store-', dir=folder))
        self._processes: list[subprocess.Popen[str]] = []
        self.key = key or Key.new()
        try:
            parent = str(os.getpid())
            self._moto = self._run('moto_process', parent)['port']
            ports = self._run(
                'proxy',
                *('--moto', str(self._moto), '--port', str(port), '--parent', parent),
                *('--folder', str(self._folder / 'copies')),
            )
            self._put(f'/{BUCKET}', b'')
            self._control_port = ports['control']
            self.endpoint = f'http://127.0.0.1:{ports["port"]}'
            self.control = f'http://127.0.0.1:{self._control_port}'
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

    def close(self) -> None:
        """Ends the processes and removes the objects."""
        for process in self._processes:
            process.kill()
        for process in self._processes:
            process.wait()
            if process.stdout:
                process.stdout.close()
        shutil.rmtree(self._folder, ignore_errors=True)

    def __enter__(self) -> ObjectStore:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

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

    def upload(self, folder: Path | str, name: str) -> str:
        """Copies the files of a folder, such as a finished lake, and returns its URL.

        They go to moto directly: no faults, no signatures, nothing in the log.
        """
        root = Path(folder)
        # Deep Lake removes its locks a little later.
        files = [file for file in root.rglob('*') if file.suffix != '.lock']
        files = sorted(file for file in files if file.is_file())

        def put(file: Path) -> None:
            key = quote(f'{name}/{file.relative_to(root).as_posix()}')
            self._put(f'/{BUCKET}/{key}', file.read_bytes())

        with ThreadPoolExecutor(4) as threads:
            list(threads.map(put, files))
        self._ask('DELETE', '/copies')
        return self.url(name)

    def objects(self, name: str) -> dict[str, bytes]:
        """Content of each object below a folder by its key, past faults and log."""
        listing = self._get(f'/{BUCKET}?list-type=2&prefix={quote(name)}/').decode()
        keys = map(unescape, re.findall(r'<Key>(.*?)</Key>', listing))
        return {key: self._get(quote(f'/{BUCKET}/{key}')) for key in keys}

    def remove(self, key: str) -> None:
        """Removes an object, past faults and log."""
        ask_moto(self._moto, 'DELETE', quote(f'/{BUCKET}/{key}'), {'authorization': ANYONE})
        self._ask('DELETE', '/copies')

    # --------------------------------------------------------------------------- faults

    def set_faults(
        self, *faults: Fault, latency: float = 0, bandwidth: float = 0
    ) -> None:
        """Replaces the faults.

        Args:
            faults: Rules; see :class:`Fault`.
            latency: Seconds that every answer waits; short for ``Fault('delay', …)``.
            bandwidth: Bytes per second and connection; short for ``Fault('slow', …)``.
        """
        rules = list(faults)
        if latency:
            rules.append(Fault('delay', seconds=latency))
        if bandwidth:
            rules.append(Fault('slow', bytes_per_second=bandwidth))
        self._ask('PUT', '/faults', [asdict(rule) for rule in rules])

    def clear(self) -> None:
        """Ends all faults but what already hangs; the log stays."""
        self._ask('DELETE', '/faults')

    def kill(self, seconds: float | None = None) -> None:
        """Resets all connections and refuses new ones, for some seconds or for good."""
        query = '' if seconds is None else f'?seconds={seconds}'
        self._ask('POST', f'/kill{query}')

    def revive(self) -> None:
        """Ends a :meth:`kill`; the objects and the address are the same."""
        self._ask('POST', '/revive')

    def accept_keys(
        self, keys: Sequence[Key], refusal: str = 'InvalidAccessKeyId'
    ) -> None:
        """Replaces the accepted access keys.

        Args:
            keys: Those that are let in.
            refusal: What others are told: ``InvalidAccessKeyId`` (403) or
                ``ExpiredToken`` (400), say.
        """
        given = {'keys': [asdict(key) for key in keys], 'refusal': refusal}
        self._ask('PUT', '/keys', given)

    # ------------------------------------------------------------------------------ log

    def requests(self, keys: str = '') -> list[Record]:
        """Requests since the last reset; those whose key matches an expression."""
        found = self._ask('GET', '/log?' + urlencode({'keys': keys}))
        return [Record(**record) for record in found]

    def totals(self, keys: str = '') -> Totals:
        """Sums over :meth:`requests`, made where they are: fast for many."""
        return Totals(**self._ask('GET', '/totals?' + urlencode({'keys': keys})))

    def reset_log(self) -> None:
        """Forgets the requests so far."""
        self._ask('DELETE', '/log')

    # -------------------------------------------------------------------------- private

    def _run(self, module: str, *arguments: str) -> dict[str, Any]:
        """Starts a module of this package and returns what it says of itself."""
        noise = self._folder / f'{module}.log'
        with noise.open('w') as stderr:
            process = subprocess.Popen(
                [sys.executable, '-m', f'helpers.object_store.{module}', *arguments],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=stderr,
                env={**os.environ, 'PYTHONPATH': str(TESTS), 'TMPDIR': str(self._folder)},
                start_new_session=True,  # Ctrl-C is the parent's to handle
                text=True,
            )
        self._processes.append(process)
        assert process.stdout
        line = process.stdout.readline()
        if not line:
            raise RuntimeError(f'{module} did not start: {noise.read_text()[-2000:]}')
        found: dict[str, Any] = json.loads(line)
        return found

    def _put(self, target: str, body: bytes) -> None:
        answer = ask_moto(self._moto, 'PUT', target, {'authorization': ANYONE}, body)
        if answer.status != 200:
            raise RuntimeError(f'PUT {target}: {answer.status} {answer.body!r}')

    def _get(self, target: str) -> bytes:
        answer = ask_moto(self._moto, 'GET', target, {'authorization': ANYONE})
        if answer.status != 200 or not isinstance(answer.body, bytes):
            raise RuntimeError(f'GET {target}: {answer.status} {answer.body!r}')
        return answer.body

    def _ask(self, method: str, target: str, given: Any = None) -> Any:
        body = b'' if given is None else json.dumps(given).encode()
        connection = http.client.HTTPConnection('127.0.0.1', self._control_port)
        try:
            connection.request(method, target, body)
            response = connection.getresponse()
            found = json.loads(response.read())
        finally:
            connection.close()
        if response.status != 200:
            raise ValueError(f'{method} {target}: {found}')
        return found
