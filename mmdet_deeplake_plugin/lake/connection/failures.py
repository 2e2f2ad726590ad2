"""What kind of failure an error of Deep Lake is: denied, unreachable or missing.

Deep Lake has types for it, but raises ``StorageInternalError``, as for a broken server,
for an unknown or expired S3 key and for a wrong signature; only the message tells.
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
# An expired or malformed session token is 400 on S3.
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
    """Whether a server was reached and did not accept the credentials.

    Args:
        error: What Deep Lake, or the opening of a lake, raised.
    """
    if isinstance(error, _DENIED):
        return True
    is_storage = isinstance(error, (deeplake.StorageInternalError, RuntimeError))
    return is_storage and bool(_DENIED_MESSAGE.search(str(error)))


def is_unreachable(error: BaseException) -> bool:
    """Whether Deep Lake could not reach the storage, or the storage failed.

    Args:
        error: What Deep Lake raised; check :func:`is_access_denied` first.
    """
    return isinstance(error, _UNREACHABLE)


def is_network_failure(error: BaseException) -> bool:
    """Whether an error may go away by itself when the read is tried again.

    Args:
        error: What Deep Lake, or a read with a deadline, raised.
    """
    return isinstance(error, (ConnectionError, TimeoutError)) or is_unreachable(error)


def is_missing(error: BaseException) -> bool:
    """Whether a bucket, an object or a dataset does not exist.

    Args:
        error: What Deep Lake raised.
    """
    return isinstance(error, _MISSING)
