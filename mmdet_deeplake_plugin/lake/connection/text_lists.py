"""Read lists of texts in another process, as Deep Lake 4.7.4 crashes on them at random.

Of processes that read 60,000 lists, three in five crashed, whichever way they read, and
on a busy machine four in five that read as soon as the lake was open; of those that
waited for half a second or more, one in five. Here a child reads block by block; when it
crashes, the next one continues with the block that is missing.
"""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
import time
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .credentials import Credentials
from .opening import open_at
from .spec import LakeSpec, Pin

_ROWS_AT_ONCE = 500
_MOST_CRASHES = 10  # in a row, without a block between
_PAUSE = 0.5  # seconds from opening a lake to reading it
_CHILD = f'from {__name__} import serve; serve()'


def is_text_list(dtype: Any) -> bool:
    """Whether a column stores a list of texts per row."""
    return 'sequence[text' in str(dtype)


def read_text_lists(
    spec: LakeSpec, pin: Pin, column: str, rows: NDArray[np.int64]
) -> list[list[str]]:
    """Read the lists of some rows of a lake, but not one in memory.

    Raises:
        OSError: If the lake cannot be opened in the other process, or it crashes on the
            same rows again and again.
    """
    lists: list[list[str]] = []
    crashes = 0
    while len(lists) < len(rows):
        done, fault = _read_some(spec, pin, column, rows[len(lists) :])
        lists += done
        crashes = 0 if done else crashes + 1
        if fault or crashes == _MOST_CRASHES:
            reason = fault or f'Deep Lake crashed {crashes} times in a row'
            raise OSError(
                f'row {rows[len(lists)]}: {reason} on a list of texts; store class names '
                'as ClassLabel, or as a JSON list in a text column'
            )
    return lists


def _read_some(
    spec: LakeSpec, pin: Pin, column: str, rows: NDArray[np.int64]
) -> tuple[list[list[str]], str]:
    """Return the lists until the end or a crash, and an error other than a crash."""
    # A pickle leaves literal secrets out, as it may be written to disk; a pipe is not.
    secrets = spec.credentials.token, spec.credentials.creds
    task = pickle.dumps((spec.path, secrets, pin, column, rows))
    child = subprocess.Popen(
        [sys.executable, '-c', _CHILD], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert child.stdin and child.stdout
    lists: list[list[str]] = []
    try:
        with child.stdin as pipe:
            pipe.write(task)
        while True:
            block = pickle.load(child.stdout)
            if isinstance(block, str):
                return lists, block
            lists += block
    except (EOFError, pickle.UnpicklingError, BrokenPipeError):
        return lists, ''
    finally:
        child.kill()
        child.wait()
        child.stdout.close()


def serve() -> None:
    """Read what :func:`read_text_lists` asks for on stdin, and write it to stdout."""
    answers = os.fdopen(os.dup(1), 'wb')
    os.dup2(2, 1)  # whatever else is printed
    path, (token, creds), pin, column, rows = pickle.load(sys.stdin.buffer)
    try:
        spec = LakeSpec(path=path, credentials=Credentials(token=token, creds=creds))
        handle = open_at(spec, pin)  # a column does not keep it alive
        values = handle[column]
        time.sleep(_PAUSE)
        for start in range(0, len(rows), _ROWS_AT_ONCE):
            part = rows[start : start + _ROWS_AT_ONCE].tolist()
            block = [[str(text) for text in values[row] or ()] for row in part]
            pickle.dump(block, answers)
            answers.flush()
    except Exception as error:
        pickle.dump(f'{type(error).__name__}: {error}', answers)
        answers.flush()
    os._exit(0)  # Deep Lake's threads may be at work
