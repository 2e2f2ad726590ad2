"""Run calls of Deep Lake with a deadline, and keep fork and exit safe meanwhile.

A call that hangs cannot be cancelled: Deep Lake retries for up to half an hour and blocks
Ctrl-C meanwhile. So each call runs in a daemon thread, which is abandoned at its
deadline. A process that forks during such a call crashes or hangs, so a fork waits for
the call, and fails if the call does not return. A process that exits during such a call
would crash too, so it exits without the cleanup of Deep Lake.

Azure's client keeps its open connections in one pool per process, which a fork copies:
several processes then speak through one connection, and one of them may read the answer
to what another one asked for. That is an image of another row, without any error. So
forked processes cut the connections to Azure that they inherit.
"""

from __future__ import annotations

import atexit
import contextlib
import ctypes
import functools
import inspect
import logging
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeoutError
from typing import TypeVar

import deeplake  # noqa: F401  (replaces os.fork; the wrapper below calls that one)

from ..changed_parts import warn_changed

T = TypeVar('T')

# Seconds. Deep Lake gives up an attempt 8 seconds after the server stopped responding.
_WAIT_BEFORE_FORK = 20.0
_WAIT_BEFORE_EXIT, _WAIT_AFTER_FAILURE = 5.0, 0.3
_LONGEST_EXIT = 120

_cut_ports: set[int] = set()


class _Call(threading.Thread):
    """A thread that runs one call of Deep Lake.

    Attributes:
        has_been_awaited: Whether a fork has waited for it already; later forks then
            fail at once.
    """

    def __init__(self, task: Callable[[], T], future: Future[T], name: str) -> None:
        super().__init__(target=_run, args=(task, future), name=name, daemon=True)
        self.has_been_awaited = False


def run_in_thread(task: Callable[[], T], name: str = 'deeplake-read') -> Future[T]:
    """Start a call in its own thread.

    Args:
        task: The call.
        name: Name of the thread.

    Returns:
        The future result of the call.
    """
    future: Future[T] = Future()
    _Call(task, future, name).start()
    return future


def _run(task: Callable[[], T], future: Future[T]) -> None:
    try:
        future.set_result(task())
    except BaseException as error:  # raised where the result is awaited
        future.set_exception(error)
    finally:
        # Break the cycle of error, its frames and the future: it would keep all that the
        # call used alive until Python's next full garbage collection.
        del task, future


def call_with_deadline(task: Callable[[], T], seconds: float) -> T:
    """Run a call and wait for its result; Ctrl-C interrupts the wait.

    Args:
        task: The call.
        seconds: Longest time to wait.

    Raises:
        TimeoutError: If the call takes longer; it continues in the background.
    """
    future = run_in_thread(task)
    try:
        return future.result(timeout=seconds)
    except (TimeoutError, FutureTimeoutError) as error:
        if future.done():  # the call itself raised it, or has just returned
            return future.result()
        raise TimeoutError(f'no answer within {seconds:.3g} s') from error
    finally:
        del future  # see _run


def _running() -> list[_Call]:
    return [thread for thread in threading.enumerate() if isinstance(thread, _Call)]


def _wait(calls: list[_Call], seconds: float) -> None:
    deadline = time.monotonic() + seconds
    for call in calls:
        call.join(timeout=max(deadline - time.monotonic(), 0))


def _before_fork() -> None:
    """Wait until no call is running, including calls that start meanwhile.

    Raises:
        TimeoutError: If a call is still running after 20 s, or did not return before an
            earlier fork and is still running.
    """
    deadline = time.monotonic() + _WAIT_BEFORE_FORK
    while calls := [call for call in _running() if not call.has_been_awaited]:
        _wait(calls, deadline - time.monotonic())
        if time.monotonic() >= deadline:
            break
    for call in calls:
        call.has_been_awaited = True
    if _running():
        raise TimeoutError(
            'cannot fork while a call of Deep Lake is running, as the process would '
            f'crash or hang; it did not return within {_WAIT_BEFORE_FORK:.3g} s. Check '
            'that the storage is reachable, or spawn the workers instead: '
            "env_cfg=dict(mp_cfg=dict(mp_start_method='spawn'))"
        )


def _after_calls(fork: Callable[[], int]) -> Callable[[], int]:
    """Wrap a fork, so that it waits for running calls first.

    A hook of ``os.register_at_fork`` would come too late: Deep Lake's ``os.fork`` first
    stops the threads that the calls wait for.
    """

    @functools.wraps(fork)
    def wait_and_fork() -> int:
        _before_fork()
        return fork()

    return wait_and_fork


def cut_in_forks(port: int) -> None:
    """Cut connections to a port in all processes that are forked from now on.

    The clients there then open connections of their own; those of this process stay.

    Args:
        port: Port of the server, or of the proxy that leads to it.
    """
    if not _cut_ports:
        os.register_at_fork(after_in_child=_cut)
    _cut_ports.add(port)


def _cut() -> None:
    folder = '/proc/self/fd' if os.path.isdir('/proc/self/fd') else '/dev/fd'
    dead, other_end = socket.socketpair()
    other_end.close()
    with dead:
        for name in os.listdir(folder):
            if _port_of(int(name)) in _cut_ports:
                # To close it would let another file take its number.
                os.dup2(dead.fileno(), int(name), inheritable=False)


def _port_of(descriptor: int) -> int | None:
    """Return the port that a descriptor is connected to, ``None`` if it is not."""
    with contextlib.suppress(OSError):
        copy = socket.socket(fileno=os.dup(descriptor))
        with copy:
            if copy.family in (socket.AF_INET, socket.AF_INET6):
                return int(copy.getpeername()[1])
    return None


def _at_exit() -> None:
    failure = getattr(sys, 'last_type', None)
    _wait(_running(), _WAIT_BEFORE_EXIT if failure is None else _WAIT_AFTER_FAILURE)
    if not _running():
        return
    logging.shutdown()
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    if failure is None:
        # The exit code of sys.exit() is known to the C library only.
        _exit_before_cleanup()
        return
    if issubclass(failure, KeyboardInterrupt):
        # Die of SIGINT as Python does, so that a loop in a shell stops too.
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        os.kill(os.getpid(), signal.SIGINT)
    os._exit(1)


def _exit_before_cleanup() -> None:
    """Make the process exit, with its own exit code, before Deep Lake cleans up.

    A call that returns while Python shuts down would abort the process: Python ends its
    thread across C++ frames, which calls the terminate handler of C++. The handler set
    here blocks the thread instead.
    """
    try:
        library, cpp = ctypes.CDLL(None), ctypes.CDLL('libstdc++.so.6')
        library.on_exit(library._exit, None)
        cpp._ZSt13set_terminatePFvvE(library.pause)  # std::set_terminate
    except (OSError, AttributeError):  # not the GNU C libraries
        return
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.alarm(_LONGEST_EXIT)


if inspect.isbuiltin(os.fork):
    warn_changed(
        'does not replace os.fork as earlier versions did',
        'forked workers may crash. If they do, spawn them: '
        "env_cfg=dict(mp_cfg=dict(mp_start_method='spawn'))",
    )
os.fork = _after_calls(os.fork)
atexit.register(_at_exit)
