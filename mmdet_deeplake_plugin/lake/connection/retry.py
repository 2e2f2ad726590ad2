"""Retry reads of a lake, with a deadline per attempt and growing pauses."""

from __future__ import annotations

import random
import socket
import time
from collections.abc import Callable
from typing import TypeVar
from urllib.parse import SplitResult, urlsplit
from urllib.request import getproxies_environment, proxy_bypass

from ...structures.image_check import BrokenImageError
from ...utils.messages import first_line, warn
from .failures import is_access_denied, is_network_failure
from .fork_safety import call_with_deadline, cut_in_forks
from .redaction import redact
from .spec import AZURE, BUCKETS, LakeSpec

T = TypeVar('T')

_FIRST_PAUSE, _LONGEST_PAUSE = 0.5, 15.0  # seconds
_DENIED_SECONDS = 60.0
_FEW_ATTEMPTS = 3
_CONNECT_SECONDS = 10.0
_LAST_ATTEMPT = 1.0  # seconds; granted to the last attempt, however little is left
# Not the global generator that transforms use: a retry must not change a sample.
_jitter = random.SystemRandom()


class LakeReadError(OSError):
    """A lake could not be read, after all retries."""


def retry_read(
    spec: LakeSpec,
    what: str,
    read: Callable[[], T],
    reopen: Callable[[], None],
    try_denied: bool = True,
    hint: Callable[[], str] = str,
) -> T:
    """Read, and retry after a failure with a newly opened lake.

    A handle of Deep Lake remembers a failed read and fails at once from then on, so a
    retry needs a new handle. Its credentials are resolved again, since they may have been
    renewed. On object storage each attempt has a deadline, and the pauses between
    attempts grow. Network errors are retried for ``retry_timeout``, denied access until
    the credentials have not changed for a minute, and other errors up to three attempts.
    On a local disk every read gets two attempts; so does a broken image on any storage.

    Args:
        spec: The lake.
        what: What is read (lake, column, rows), for messages.
        read: The read.
        reopen: Makes the next call of ``read`` use a new handle.
        try_denied: Whether to retry when access is denied. At the start of a run this is
            a mistake in the config; later, credentials may have been renewed.
        hint: Returns what to do if all attempts fail, for the message.

    Returns:
        The result of ``read``.

    Raises:
        LakeReadError: If the last attempt fails; the message contains ``what``, the
            cause, the number of attempts and the seconds.
        BrokenImageError: If the image is broken in both attempts.
        ValueError, TypeError, FileNotFoundError, PermissionError: If the request itself
            is wrong, as ``read`` raises them.
    """
    timeouts, remote = spec.timeouts, spec.is_remote

    def read_if_reachable() -> T:
        check_connection(spec)
        return read()

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
                read_if_reachable,
                min(timeouts.read_timeout, max(left, _LAST_ATTEMPT)),
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
        warn(
            f'{what}: {cause}; attempt {attempts} failed after {spent:.0f} s, '
            'trying again'
        )
        if remote and not isinstance(failure, BrokenImageError):
            # Jitter, so that workers do not all retry at the same moment.
            wait = min(pause, _LONGEST_PAUSE) * _jitter.uniform(0.5, 1.0)
            time.sleep(min(wait, max(timeouts.retry_timeout - spent, 0)))
            pause *= 2
    if isinstance(failure, BrokenImageError):
        raise failure
    raise LakeReadError(
        f'{what}: {_cause(failure, spec)} ({attempts} attempts in {spent:.1f} s){hint()}'
    ) from None  # messages of Deep Lake may contain signed URLs


def check_connection(spec: LakeSpec) -> None:
    """Connect to the host of a lake on Azure, before Deep Lake does.

    If Deep Lake cannot connect to it for half a minute, it aborts the whole process.
    Forked processes will not use this process's connections to it.

    Args:
        spec: The lake; nothing is tried for one on other storage, or behind a proxy.

    Raises:
        ValueError: If ``blob_endpoint`` is not a URL.
        ConnectionError: If the host is unknown or does not answer.
    """
    scheme = spec.path.partition('://')[0]
    if scheme not in AZURE:
        if spec.is_remote and scheme not in BUCKETS:
            cut_in_forks(443)  # Deep Lake's cloud keeps some lakes on Azure
        return
    url = urlsplit(spec.endpoint)
    if url.scheme not in ('http', 'https') or not url.hostname:
        raise ValueError(
            "deeplake_credentials['creds']['blob_endpoint'] must be a URL, found "
            f"{spec.endpoint!r}; write for example 'https://{spec.endpoint}'"
        )
    proxies = getproxies_environment()
    proxy = proxies.get(url.scheme) or proxies.get('all')
    if proxy and not proxy_bypass(url.hostname, proxies):
        cut_in_forks(_port_of(urlsplit(proxy)))
        return
    port = _port_of(url)
    cut_in_forks(port)
    try:
        socket.create_connection((url.hostname, port), _CONNECT_SECONDS).close()
    except OSError as error:
        raise ConnectionError(
            f'cannot connect to {url.netloc}: {error.strerror or error}; check the '
            'account in the path, and the network'
        ) from error


def _port_of(url: SplitResult) -> int:
    return url.port or (80 if url.scheme == 'http' else 443)


def _without_frames(error: Exception) -> Exception:
    """Remove the tracebacks of an error.

    Their frames refer to the error itself and to the handle that failed, with its
    connections and its cache. The cycle would keep all of them alive until Python's next
    full garbage collection.
    """
    each: BaseException | None = error
    while each is not None:
        each.__traceback__ = None
        each = each.__cause__ or each.__context__
    return error


def _is_final(error: Exception) -> bool:
    """Return whether an error is about the request, so that retries are useless."""
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
            f'access denied with {spec.credentials!r}, resolved again at each attempt: '
            f'{cause}'
        )
    return cause
