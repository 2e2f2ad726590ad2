"""What the stores have in common: their processes, their faults, and their log."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path
from types import TracebackType
from typing import Any, TypeVar
from urllib.parse import urlencode

from helpers import TESTS
from helpers.object_store.faults import Fault
from helpers.object_store.log import Record, Totals
from helpers.object_store.signature import Key

Self = TypeVar('Self', bound='Store')
HERE = Path(__file__).resolve().parent


def free_port() -> int:
    """A port of the loopback that nobody listens on."""
    with socket.socket() as free:
        free.bind(('127.0.0.1', 0))
        return int(free.getsockname()[1])


class Store:
    """A server with objects, and a proxy in front of it that can be told to fail.

    Use as a context, or call :meth:`close`. Methods return when what they ask for is in
    effect. Those that steer and ask may be called in forked processes too.

    Args:
        folder: Where the objects lie while it runs.
    """

    refusal = ''  # what keys are told that are not accepted, unless a test says it

    def __init__(self, folder: Path | str) -> None:
        self._folder = Path(tempfile.mkdtemp(prefix='object-store-', dir=folder))
        self._processes: list[subprocess.Popen[Any]] = []
        self._control_port = 0

    def close(self) -> None:
        """Ends the processes and removes the objects."""
        for process in self._processes:
            process.kill()
        for process in self._processes:
            process.wait()
            if process.stdout:
                process.stdout.close()
        shutil.rmtree(self._folder, ignore_errors=True)

    def __enter__(self: Self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    @property
    def control(self) -> str:
        """URL that steers it (``control.py``), for ``curl``."""
        return f'http://127.0.0.1:{self._control_port}'

    # ------------------------------------------------------------------------ addresses

    def url(self, name: str) -> str:
        """URL of a lake, or of anything else in the bucket."""
        raise NotImplementedError

    def upload(self, folder: Path | str, name: str) -> str:
        """Copies the files of a folder, such as a finished lake, and returns its URL.

        They go to the server directly: no faults, nothing in the log.
        """
        root = Path(folder)
        # Deep Lake removes its locks a little later.
        files = [file for file in root.rglob('*') if file.suffix != '.lock']
        files = sorted(file for file in files if file.is_file())

        def put(file: Path) -> None:
            self._put(f'{name}/{file.relative_to(root).as_posix()}', file.read_bytes())

        with ThreadPoolExecutor(4) as threads:
            list(threads.map(put, files))
        self._ask('DELETE', '/copies')
        return self.url(name)

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

    def accept_keys(self, keys: Sequence[Key], refusal: str = '') -> None:
        """Replaces the accepted access keys.

        Args:
            keys: Those that are let in.
            refusal: What others are told, one of ``wire.ERRORS``; by default what the
                storage tells them.
        """
        refusal = refusal or self.refusal
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

    def _put(self, key: str, body: bytes) -> None:
        """Puts an object into the bucket."""
        raise NotImplementedError

    def _run(self, module: str, *arguments: str) -> dict[str, Any]:
        """Starts a module of this package and returns what it says of itself."""
        command = [sys.executable, '-m', f'helpers.object_store.{module}', *arguments]
        line = self._start(module, command, {'PYTHONPATH': str(TESTS)})
        found: dict[str, Any] = json.loads(line)
        return found

    def _start(self, name: str, command: Sequence[str], env: Mapping[str, str]) -> str:
        """Starts a process and returns the first line that it writes."""
        noise = self._folder / f'{name}.log'
        with noise.open('w') as stderr:
            process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=stderr,
                env={**os.environ, 'TMPDIR': str(self._folder), **env},
                start_new_session=True,  # Ctrl-C is the parent's to handle
                text=True,
            )
        self._processes.append(process)
        assert process.stdout
        line = process.stdout.readline()
        if not line:
            raise RuntimeError(f'{name} did not start: {noise.read_text()[-2000:]}')
        return line

    def _start_server(self, name: str, *command: str | Path, **env: str) -> None:
        """Starts a server that is not ours; it ends with this process."""
        words = [sys.executable, str(HERE / 'with_parent.py'), str(os.getpid())]
        words += [str(word) for word in command]
        noise = (self._folder / f'{name}.log').open('w')
        with noise:
            process = subprocess.Popen(
                words,
                stdin=subprocess.DEVNULL,
                stdout=noise,
                stderr=noise,
                env={**os.environ, **env},
                cwd=self._folder,
                start_new_session=True,
            )
        self._processes.append(process)

    def _wait_for(self, name: str, port: int, seconds: float = 60) -> None:
        """Returns when a server that was started listens."""
        deadline = time.monotonic() + seconds
        while self._processes[-1].poll() is None and time.monotonic() < deadline:
            with contextlib.suppress(OSError), socket.create_connection(
                ('127.0.0.1', port)
            ):
                return
            time.sleep(0.05)
        said = (self._folder / f'{name}.log').read_text()[-2000:]
        raise RuntimeError(f'{name} did not start: {said}')

    def _start_proxy(self, dialect: str, server: int, *options: str) -> int:
        """Starts the proxy in front of a server, and returns its port."""
        ports = self._run(
            'proxy',
            *('--dialect', dialect, '--server', str(server)),
            *('--folder', str(self._folder / 'copies'), '--parent', str(os.getpid())),
            *options,
        )
        self._control_port = ports['control']
        return int(ports['port'])

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
