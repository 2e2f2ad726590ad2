"""Classify errors of Deep Lake: access denied, unreachable or missing.

Deep Lake has exception types for these, but it raises ``StorageInternalError``, its type
for server errors, also for an unknown or expired S3 key, for a wrong signature, and for
what Azure and Google refuse. Only the message distinguishes them.
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
# S3 answers an expired or malformed session token with status 400. Google's codes are
# those of gRPC: 7 is "permission denied" and 16 "unauthenticated".
_DENIED_MESSAGE = re.compile(
    r'status=40[13]\b|code=(?:Expired|Invalid)Token|code=(?:Request|Token)\w*Expired'
    r'|code=TokenRefreshRequired'
    r'|^\[Azure\]\s+Error with code(?:Auth|Insufficient|InvalidAuth|AccountIsDisabled)'
    r'|^\[GCS\] Error with code (?:7|16)\b'
)
_MISSING_MESSAGE = re.compile(r'^\[Azure\]\s+Error with codeContainerNotFound')
# A RuntimeError, after Azure's client has tried for half a minute.
_NO_CONNECTION = 'Fail to get a new connection for: '
_UNREACHABLE = (
    deeplake.StorageNetworkConnectionError,
    deeplake.StorageInternalError,
    deeplake.HTTPRequestFailedError,
)
_MISSING = (deeplake.StorageKeyNotFound, deeplake.NotFoundError, KeyError)


def is_access_denied(error: BaseException) -> bool:
    """Return whether a server was reached and rejected the credentials."""
    if isinstance(error, _DENIED):
        return True
    is_storage = isinstance(error, (deeplake.StorageInternalError, RuntimeError))
    return is_storage and bool(_DENIED_MESSAGE.search(str(error)))


def is_unreachable(error: BaseException) -> bool:
    """Return whether the storage could not be reached, or failed.

    Check :func:`is_access_denied` and :func:`is_missing` first.
    """
    return isinstance(error, _UNREACHABLE) or str(error).startswith(_NO_CONNECTION)


def is_network_failure(error: BaseException) -> bool:
    """Return whether an error is transient, so that a retry may succeed."""
    is_transient = isinstance(error, (ConnectionError, TimeoutError))
    return is_transient or (is_unreachable(error) and not is_missing(error))


def is_missing(error: BaseException) -> bool:
    """Return whether a bucket, an object or a dataset does not exist."""
    return isinstance(error, _MISSING) or bool(_MISSING_MESSAGE.search(str(error)))
