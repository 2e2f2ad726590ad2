"""Calls of Deep Lake that are waited for no longer than a set time.

A call that hangs cannot be ended: Deep Lake tries for up to half an hour, and holds
off Ctrl-C meanwhile. So it runs in a thread that does not keep the process alive, and
is left behind when its time is up. A process that forks while such a call runs would
crash, so a fork waits for the calls that were left behind.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeoutError
from typing import TypeVar

T = TypeVar('T')

# Deep Lake gives an attempt up 8 seconds after the server fell silent.
_WAIT_BEFORE_FORK = 20.0
_left_behind: set[threading.Thread] = set()


def start(task: Callable[[], T], name: str = 'deeplake-read') -> Future[T]:
    """Begins a call in a thread of its own.

    Args:
        task: The call.
        name: Name of the thread.
    """
    future: Future[T] = Future()
    threading.Thread(target=_run, args=(task, future), name=name, daemon=True).start()
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


def within(task: Callable[[], T], seconds: float) -> T:
    """Makes a call and waits for its result; Ctrl-C interrupts the wait.

    Args:
        task: The call.
        seconds: How long to wait at most.

    Raises:
        TimeoutError: If it takes longer; it goes on by itself.
    """
    done = threading.Event()
    thread: list[threading.Thread] = []

    def run() -> T:
        thread.append(threading.current_thread())
        try:
            return task()
        finally:
            done.set()

    future = start(run)
    try:
        return future.result(timeout=seconds)
    except (TimeoutError, FutureTimeoutError) as error:
        if done.is_set():
            raise  # the call's own
        _left_behind.update(thread)
        raise TimeoutError(f'no answer within {seconds:g} s') from error
    except KeyboardInterrupt:
        _left_behind.update(thread)
        raise
    finally:
        del future  # see _run


def _before_fork() -> None:
    for thread in list(_left_behind):
        thread.join(timeout=_WAIT_BEFORE_FORK)
        _left_behind.discard(thread)


def _after_fork() -> None:
    _left_behind.clear()


os.register_at_fork(before=_before_fork, after_in_child=_after_fork)
