"""Calls of Deep Lake that are waited for no longer than a set time.

A call that hangs cannot be ended: Deep Lake tries for up to half an hour, and holds
off Ctrl-C meanwhile. So it runs in a thread that does not keep the process alive, and
is left behind when its time is up. A process that forks while such a call runs crashes
or hangs, so a fork waits for it, and fails if it stays; one that ends while it runs would
crash too, so it ends without Deep Lake's clearing up.
"""

from __future__ import annotations

import atexit
import ctypes
import functools
import logging
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeoutError
from typing import TypeVar

import deeplake  # noqa: F401  (puts its own os.fork in place, which the one below calls)

T = TypeVar('T')

# Deep Lake gives an attempt up 8 seconds after the server fell silent.
_WAIT_BEFORE_FORK = 20.0
_WAIT_BEFORE_EXIT, _WAIT_AFTER_FAILURE = 5.0, 0.3
_LONGEST_EXIT = 120


class _Call(threading.Thread):
    """A call of Deep Lake that runs by itself.

    Attributes:
        has_been_awaited: Whether a fork has waited for it, as others then do not.
    """

    def __init__(self, task: Callable[[], T], future: Future[T], name: str) -> None:
        super().__init__(target=_run, args=(task, future), name=name, daemon=True)
        self.has_been_awaited = False


def run_in_thread(task: Callable[[], T], name: str = 'deeplake-read') -> Future[T]:
    """Begins a call in a thread of its own.

    Args:
        task: The call.
        name: Name of the thread.
    """
    future: Future[T] = Future()
    _Call(task, future, name).start()
    return future


def _run(task: Callable[[], T], future: Future[T]) -> None:
    try:
        future.set_result(task())
    except BaseException as error:  # it belongs to who waits for the result
        future.set_exception(error)
    finally:
        # The error's frames would hold the future, which holds the error, and all that
        # the call read with: a circle that lives until Python's next full collection.
        del task, future


def call_with_deadline(task: Callable[[], T], seconds: float) -> T:
    """Makes a call and waits for its result; Ctrl-C interrupts the wait.

    Args:
        task: The call.
        seconds: How long to wait at most.

    Raises:
        TimeoutError: If it takes longer; it goes on by itself.
    """
    future = run_in_thread(task)
    try:
        return future.result(timeout=seconds)
    except (TimeoutError, FutureTimeoutError) as error:
        if future.done():  # the error is the call's own, or it has just come through
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
    """Waits until no call runs, also none that begins meanwhile.

    Raises:
        TimeoutError: If one still runs after 20 s, or did so before an earlier fork.
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
            'cannot fork: a call of Deep Lake has not come back within '
            f'{_WAIT_BEFORE_FORK:.3g} s, and the process would crash or hang. Is the '
            'storage within reach? Workers that are spawned need no fork: '
            "env_cfg=dict(mp_cfg=dict(mp_start_method='spawn'))"
        )


def _after_calls(fork: Callable[[], int]) -> Callable[[], int]:
    """A fork that waits for calls first.

    No hook of ``os.register_at_fork``: Deep Lake's ``os.fork`` ends Deep Lake's threads
    before these are asked, and with them what the calls wait for.
    """

    @functools.wraps(fork)
    def wait_and_fork() -> int:
        _before_fork()
        return fork()

    return wait_and_fork


def _at_exit() -> None:
    failure = getattr(sys, 'last_type', None)
    _wait(_running(), _WAIT_BEFORE_EXIT if failure is None else _WAIT_AFTER_FAILURE)
    if not _running():
        return
    logging.shutdown()
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    if failure is None:
        # sys.exit() may have been called; only the C library knows with which code.
        _leave_by_the_c_library()
        return
    if issubclass(failure, KeyboardInterrupt):
        # Ends as Python does, so that a shell's loop ends with it.
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        os.kill(os.getpid(), signal.SIGINT)
    os._exit(1)


def _leave_by_the_c_library() -> None:
    """Ends the process with its exit code before Deep Lake is cleared up.

    A call that returns while Python shuts down would abort the process: its thread is
    ended across C++ frames, which calls C++'s handler for that. It waits instead.
    """
    try:
        library, cpp = ctypes.CDLL(None), ctypes.CDLL('libstdc++.so.6')
        library.on_exit(library._exit, None)
        cpp._ZSt13set_terminatePFvvE(library.pause)  # std::set_terminate
    except (OSError, AttributeError):  # not the C libraries of GNU
        return
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.alarm(_LONGEST_EXIT)


os.fork = _after_calls(os.fork)
atexit.register(_at_exit)
