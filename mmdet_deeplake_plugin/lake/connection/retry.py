"""How long reads of a lake may take, and when they are tried again."""

from __future__ import annotations

import logging
import random
import time
from collections.abc import Callable
from typing import TypeVar

from mmengine.logging import print_log

from ...structures.image_check import BrokenImageError
from ...utils.messages import first_line
from .failures import is_access_denied, is_network_failure
from .fork_safety import call_with_deadline
from .redaction import redact
from .spec import LakeSpec

T = TypeVar('T')

_FIRST_PAUSE, _LONGEST_PAUSE = 0.5, 15.0  # seconds
_DENIED_SECONDS = 60.0
_FEW_ATTEMPTS = 3
_LAST_ATTEMPT = 1.0  # seconds, though the time for all is up
# Not the generator that transforms draw from: a retry must not change a sample.
_jitter = random.SystemRandom()


class LakeReadError(OSError):
    """A lake could not be read, however often it was tried."""


def retry_read(
    spec: LakeSpec,
    what: str,
    read: Callable[[], T],
    reopen: Callable[[], None],
    try_denied: bool = True,
) -> T:
    """Reads, and tries again after a failure, each time with a lake opened anew.

    Deep Lake's handle remembers a failed read and fails at once from then on, so a
    retry needs another handle; its credentials are looked up again, since they may
    have been renewed. On object storage an attempt has a deadline, and pauses between
    attempts grow. Network errors are tried for all of ``retry_timeout``, a refusal until
    the credentials have not changed for a minute, anything else three times; on a local
    disk everything twice, and so a broken image anywhere.

    Args:
        spec: The lake.
        what: Words for what is read: lake, column, rows.
        read: The read.
        reopen: Makes the next call of ``read`` use a new handle.
        try_denied: Whether a refusal is tried again. At the beginning of a run it
            is a mistake in the config, later credentials may have been renewed.

    Raises:
        LakeReadError: If it fails in the end; names ``what``, the cause, attempts and
            seconds.
        BrokenImageError: If the image that was read is broken both times.
        ValueError, TypeError, FileNotFoundError, PermissionError: As ``read`` raises
            them, if what is asked for is wrong.
    """
    timeouts, remote = spec.timeouts, spec.is_remote
    began = renewed = time.monotonic()
    pause, attempts = _FIRST_PAUSE, 0
    age = spec.credentials.age() if remote else ()
    while True:
        attempts += 1
        left = timeouts.retry_timeout - (time.monotonic() - began)
        try:
            if not remote:
                return read()
            return call_with_deadline(
                read, min(timeouts.read_timeout, max(left, _LAST_ATTEMPT))
            )
        except Exception as error:
            if _is_final(error) or (is_access_denied(error) and not try_denied):
                raise
            failure = _without_frames(error)
        reopen()
        now, new_age = time.monotonic(), spec.credentials.age() if remote else ()
        if age != new_age:
            renewed, age = now, new_age
        spent = now - began
        denied = is_access_denied(failure) and now - renewed >= _DENIED_SECONDS
        if denied or not _again(failure, remote, attempts, spent, timeouts.retry_timeout):
            break
        cause = redact(first_line(failure), spec.credentials.secrets())
        print_log(
            f'{what}: {cause}; attempt {attempts} after {spent:.0f} s, trying again',
            logger='current',
            level=logging.WARNING,
        )
        if remote and not isinstance(failure, BrokenImageError):
            # Jitter, so that all workers do not come back in the same moment.
            wait = min(pause, _LONGEST_PAUSE) * _jitter.uniform(0.5, 1.0)
            time.sleep(min(wait, max(timeouts.retry_timeout - spent, 0)))
            pause *= 2
    if isinstance(failure, BrokenImageError):
        raise failure
    raise LakeReadError(
        f'{what}: {_cause(failure, spec)} ({attempts} attempts in {spent:.1f} s)'
    ) from None  # what Deep Lake says may hold signed URLs


def _without_frames(error: Exception) -> Exception:
    """The error without what it was raised in.

    Its frames hold the handle that failed, with its connections and its cache, and the
    error itself: a circle that would live until Python's next full collection.
    """
    each: BaseException | None = error
    while each is not None:
        each.__traceback__ = None
        each = each.__cause__ or each.__context__
    return error


def _is_final(error: Exception) -> bool:
    """Whether an error is about what is asked for, not about reading it."""
    if isinstance(error, (BrokenImageError, LakeReadError)):
        return isinstance(error, LakeReadError)
    return isinstance(error, (ValueError, TypeError, FileNotFoundError))


def _again(
    failure: Exception, remote: bool, attempts: int, spent: float, budget: float
) -> bool:
    if not remote or isinstance(failure, BrokenImageError):
        return attempts < 2
    if is_network_failure(failure) or is_access_denied(failure):
        return spent < budget
    return attempts < _FEW_ATTEMPTS and spent < budget


def _cause(failure: Exception, spec: LakeSpec) -> str:
    cause = redact(first_line(failure), spec.credentials.secrets())
    if is_access_denied(failure) and not isinstance(failure, PermissionError):
        return (
            f'access denied with {spec.credentials!r}, looked up anew at each attempt: '
            f'{cause}'
        )
    return cause
