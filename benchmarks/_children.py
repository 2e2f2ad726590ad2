"""Processes of their own for measurements, so that none inherits memory or caches.

A script lists what it measures by name and calls :func:`serve` first of all: started
again with ``--child NAME``, it measures that and ends.
"""

from __future__ import annotations

import contextlib
import json
import logging
import multiprocessing
import os
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar, cast

import numpy as np
import torch

T = TypeVar('T')

_FLAG = '--child'
_MIB = 1 << 20


class NotRunError(Exception):
    """A measurement could not be made; says why in a few words."""


def serve(measurements: Mapping[str, Callable[..., Any]]) -> None:
    """Makes the measurement that the command line asks for, if it asks for one.

    Args:
        measurements: Name -> function of keyword arguments whose result JSON can hold.
    """
    if _FLAG not in sys.argv:
        return
    name, keys, result = sys.argv[sys.argv.index(_FLAG) + 1 :][:3]
    try:
        found = {'value': measurements[name](**json.loads(keys))}
    except NotRunError as error:
        found = {'not_run': str(error)}
    except MemoryError:
        found = {'not_run': 'out of memory'}
    Path(result).write_text(json.dumps(found))
    sys.stdout.flush()
    os._exit(0)  # a measurement is over when it is told, whatever threads are left


def run_child(
    script: str,
    name: str,
    python: str = sys.executable,
    timeout: float = 600.0,
    memory_gib: float | None = None,
    env: Mapping[str, str] | None = None,
    **keys: Any,
) -> Any:
    """Makes a measurement in a process of its own.

    Args:
        script: ``__file__`` of the script that serves it.
        name: Its name there.
        python: Interpreter to run it with.
        timeout: Seconds after which it is ended.
        memory_gib: Memory beyond which it is ended; that of its children does not count.
        env: Environment variables on top of this process's.
        keys: Keyword arguments of the measurement.

    Raises:
        NotRunError: If it says so, takes too long or too much memory, or fails.
    """
    with tempfile.TemporaryDirectory() as folder:
        result = Path(folder, 'result.json')
        log = Path(folder, 'log')
        command = [python, '-W', 'ignore', script, _FLAG, name, json.dumps(keys)]
        with log.open('w') as noise:
            process = subprocess.Popen(
                [*command, str(result)],
                stdout=noise,
                stderr=noise,
                env={**os.environ, **(env or {})},
                start_new_session=True,
            )
            try:
                _wait(process, timeout, memory_gib)
            finally:
                _end(process)
        if not result.exists():
            last = log.read_text().strip().splitlines()[-1:] or ['it said nothing']
            raise NotRunError(f'{last[0][:200]} (exit {process.returncode})')
        found = json.loads(result.read_text())
    if 'not_run' in found:
        raise NotRunError(found['not_run'])
    return found['value']


def forked(
    measurement: Callable[..., T],
    timeout: float = 600.0,
    is_quiet: bool = True,
    **keys: Any,
) -> T:
    """Makes a measurement in a fork of this process, which has its modules imported.

    Nothing of Deep Lake may be open here. Memory is that of the parent at first: to
    measure it, take :func:`run_child`.

    Args:
        measurement: Function of ``keys``.
        timeout: Seconds after which it is ended.
        is_quiet: Whether what it says is dropped, unless ``BENCH_DEBUG`` is set.
        keys: Keyword arguments of the measurement.

    Raises:
        NotRunError: If it says so, takes too long, or fails.
    """
    is_quiet = is_quiet and not os.environ.get('BENCH_DEBUG')
    receiver, sender = multiprocessing.Pipe(duplex=False)
    sys.stdout.flush()
    process = multiprocessing.get_context('fork').Process(
        target=_answer, args=(measurement, keys, sender, is_quiet)
    )
    process.start()
    sender.close()
    try:
        if not receiver.poll(timeout):
            raise NotRunError(f'not done after {timeout:.0f} s')
        done, value = receiver.recv()
    except EOFError as error:
        raise NotRunError(f'its process died (exit {process.exitcode})') from error
    finally:
        if process.pid is not None:
            _kill_group(process.pid)
        process.join()
        receiver.close()
    if not done:
        raise NotRunError(value)
    return cast(T, value)


def _answer(
    measurement: Callable[..., Any], keys: dict[str, Any], sender: Any, is_quiet: bool
) -> None:
    os.setsid()
    logging.disable(logging.INFO)
    noise = os.open(os.devnull, os.O_WRONLY)
    os.dup2(noise, 1)
    if is_quiet:
        os.dup2(noise, 2)
    try:
        found = (True, measurement(**keys))
    except NotRunError as error:
        found = (False, str(error))
    except Exception as error:
        traceback.print_exc()
        text = str(error).strip().splitlines()[-1:] or ['']
        found = (False, f'{type(error).__name__}: {text[0][:150]}')
    sender.send(found)
    os._exit(0)


def memory_of(pid: int | None = None) -> dict[str, float]:
    """Memory of a process in MiB.

    Args:
        pid: Number of the process; this one by default.

    Returns:
        ``rss``: what lies in memory; ``private``: what no other process has as well;
        ``pss``: shared pages divided by who shares them; ``peak``: the highest ``rss``
        so far.
    """
    place = Path('/proc', str(pid or os.getpid()))
    sizes: dict[str, float] = {}
    for line in (place / 'smaps_rollup').read_text().splitlines()[1:]:
        name, _, rest = line.partition(':')
        sizes[name] = int(rest.split()[0]) * 1024 / _MIB
    peak = 0.0
    for line in (place / 'status').read_text().splitlines():
        if line.startswith('VmHWM'):
            peak = int(line.split()[1]) * 1024 / _MIB
    return {
        'rss': sizes['Rss'],
        'private': sizes['Private_Clean'] + sizes['Private_Dirty'],
        'pss': sizes['Pss'],
        'peak': peak,
    }


def _wait(
    process: subprocess.Popen[bytes], timeout: float, memory_gib: float | None
) -> None:
    deadline = time.monotonic() + timeout
    while process.poll() is None:
        if time.monotonic() > deadline:
            raise NotRunError(f'not done after {timeout:.0f} s')
        if memory_gib is not None and _rss(process.pid) > memory_gib * 1024:
            raise NotRunError(f'took more than {memory_gib:.0f} GiB')
        time.sleep(0.1)


def _rss(pid: int) -> float:
    try:
        pages = int(Path('/proc', str(pid), 'statm').read_text().split()[1])
    except (OSError, IndexError):
        return 0.0
    return pages * os.sysconf('SC_PAGE_SIZE') / _MIB


def _end(process: subprocess.Popen[bytes]) -> None:
    """Ends a process and those that it started, which share its group."""
    _kill_group(process.pid)
    process.wait()


def _kill_group(number: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(number, 9)


def run_ranks(script: str, name: str, ranks: int, **keys: Any) -> list[Any]:
    """Makes a measurement on several ranks at once, each a process of its own.

    Args:
        script: ``__file__`` of the script that serves it.
        name: Its name there; it takes ``rank``, ``ranks`` and ``store``, and passes
            them to :func:`joined`.
        ranks: Number of ranks.
        keys: Further keyword arguments for :func:`run_child`.

    Returns:
        What it returned on each rank.

    Raises:
        NotRunError: If it fails on any of them.
    """
    with tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor(ranks) as threads:
        store = str(Path(folder, 'store'))
        answers = [
            threads.submit(
                run_child, script, name, rank=rank, ranks=ranks, store=store, **keys
            )
            for rank in range(ranks)
        ]
        return [answer.result() for answer in answers]


def joined(rank: int, ranks: int, store: str) -> None:
    """Joins the ranks of :func:`run_ranks` by gloo; a single one stays as it is."""
    if ranks > 1:
        torch.distributed.init_process_group(
            'gloo', init_method=f'file://{store}', rank=rank, world_size=ranks
        )


def touch(value: Any) -> None:
    """Reads every page of the arrays in an object; only then they count.

    Args:
        value: An array, or an object with some in its attributes.
    """
    if isinstance(value, np.ndarray):
        value.view(np.uint8).reshape(-1)[::4096].sum()
    else:
        for each in getattr(value, '__dict__', {}).values():
            touch(each)
