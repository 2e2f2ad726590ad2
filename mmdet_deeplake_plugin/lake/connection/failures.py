"""Classify errors of Deep Lake: access denied, unreachable or missing.

Deep Lake has exception types for these, but it raises ``StorageInternalError``, its type
for server errors, also for an unknown or expired S3 key and for a wrong signature. Only
the message distinguishes them.
"""

from __future__ import annotations

import re

import deeplake

_DENIED = (
    PermissionError,
    deeplake.AuthenticationError,
    deeplake.AuthorizationError,
    deeplake.PermissionDeniedError,
    deeplake.StorageAccessDenied,
    deeplake.ExpiredTokenError,
)
# S3 answers an expired or malformed session token with status 400.
_DENIED_MESSAGE = re.compile(
    r'status=40[13]\b|code=(?:Expired|Invalid)Token|code=(?:Request|Token)\w*Expired'
    r'|code=TokenRefreshRequired'
)
_UNREACHABLE = (
    deeplake.StorageNetworkConnectionError,
    deeplake.StorageInternalError,
    deeplake.HTTPRequestFailedError,
)
_MISSING = (deeplake.StorageKeyNotFound, deeplake.NotFoundError, KeyError)


def is_access_denied(error: BaseException) -> bool:
    """Return whether a server was reached and rejected the credentials.

    Args:
        error: An error of Deep Lake or of opening a lake.
    """
    if isinstance(error, _DENIED):
        return True
    is_storage = isinstance(error, (deeplake.StorageInternalError, RuntimeError))
    return is_storage and bool(_DENIED_MESSAGE.search(str(error)))


def is_unreachable(error: BaseException) -> bool:
    """Return whether the storage could not be reached, or failed.

    Args:
        error: An error of Deep Lake; check :func:`is_access_denied` first.
    """
    return isinstance(error, _UNREACHABLE)


def is_network_failure(error: BaseException) -> bool:
    """Return whether an error is transient, so that a retry may succeed.

    Args:
        error: An error of Deep Lake or of a read with a deadline.
    """
    return isinstance(error, (ConnectionError, TimeoutError)) or is_unreachable(error)


def is_missing(error: BaseException) -> bool:
    """Return whether a bucket, an object or a dataset does not exist.

    Args:
        error: An error of Deep Lake.
    """
    return isinstance(error, _MISSING)
