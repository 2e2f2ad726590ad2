"""Names of hosts that mean addresses of the loopback, while a test runs.

They are lines of ``/etc/hosts``, which only root may write. Each names the process that
it is for; lines of processes that are gone are removed by the next one.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

FILE = Path('/etc/hosts')
_MARK = '# for a test of process '


def can_name_hosts() -> bool:
    """Whether this process may change the file."""
    return os.access(FILE, os.W_OK)


@contextmanager
def named(address: str, host: str) -> Iterator[None]:
    """Lets a name mean an address."""
    line = f'{address} {host} {_MARK}{os.getpid()}'
    _rewrite(lambda lines: [*filter(_is_needed, lines), line])
    try:
        yield
    finally:
        _rewrite(lambda lines: [each for each in lines if each != line])


def _is_needed(line: str) -> bool:
    _, mark, process = line.partition(_MARK)
    return not mark or Path('/proc', process).exists()


def _rewrite(change) -> None:
    # In place: in a container the file may be mounted, and cannot be replaced.
    with FILE.open('r+') as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        lines = change(file.read().splitlines())
        file.seek(0)
        file.write('\n'.join([*lines, '']))
        file.truncate()
