"""Takes secrets out of texts that others wrote, such as messages of Deep Lake."""

from __future__ import annotations

import re
from collections.abc import Iterable

_HIDDEN = '***'
# Parts of signed URLs and headers, whatever their values are.
_SIGNED = re.compile(
    r'(?i)((?:X-Amz-(?:Signature|Credential|Security-Token)|AWSAccessKeyId|Signature|'
    r'sig|access_token|token)=)[^&\s"\'>]+'
)
_BEARER = re.compile(r'(?i)(Bearer\s+)[\w.~+/=-]+')
_SHORTEST = 4


def redact(text: str, secrets: Iterable[str] = ()) -> str:
    """A text without secrets.

    Args:
        text: Any text.
        secrets: Values to take out wherever they stand; ones of less than four
            characters are no secrets.
    """
    for secret in sorted(set(secrets), key=len, reverse=True):
        if len(secret) >= _SHORTEST:
            text = text.replace(secret, _HIDDEN)
    text = _SIGNED.sub(rf'\1{_HIDDEN}', text)
    return _BEARER.sub(rf'\1{_HIDDEN}', text)
