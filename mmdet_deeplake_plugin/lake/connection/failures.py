"""Tells a refusal (wrong, expired or revoked credentials) from other failures.

Deep Lake has types for it, but says ``StorageInternalError``, as for a broken server,
of an unknown or expired S3 key, and of a false signature; only its words tell.
"""

from __future__ import annotations

import re

import deeplake

_TYPES = (
    PermissionError,
    deeplake.AuthenticationError,
    deeplake.AuthorizationError,
    deeplake.PermissionDeniedError,
    deeplake.StorageAccessDenied,
    deeplake.ExpiredTokenError,
)
# An expired or malformed session token is 400 on S3.
_WORDS = re.compile(
    r'status=40[13]\b|code=(?:Expired|Invalid)Token|code=(?:Request|Token)\w*Expired'
    r'|code=TokenRefreshRequired'
)


def is_access_denied(error: BaseException) -> bool:
    """Whether a server was reached and did not accept the credentials.

    Args:
        error: What Deep Lake, or the opening of a lake, raised.
    """
    if isinstance(error, _TYPES):
        return True
    is_storage = isinstance(error, (deeplake.StorageInternalError, RuntimeError))
    return is_storage and bool(_WORDS.search(str(error)))
