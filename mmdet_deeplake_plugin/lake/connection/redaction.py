"""Redact secrets in texts of other libraries, such as error messages of Deep Lake."""

from __future__ import annotations

import re
from collections.abc import Iterable
from urllib.parse import quote

_HIDDEN = '***'
# Parts of signed URLs and headers, redacted whatever their values are.
_SIGNED = re.compile(
    r'(?i)((?:X-Amz-(?:Signature|Credential|Security-Token)|AWSAccessKeyId|Signature|'
    r'sig|access_token|token)=)[^&\s"\'>]+'
)
_BEARER = re.compile(r'(?i)(Bearer\s+)[\w.~+/=-]+')
_SHORTEST = 4


def redact(text: str, secrets: Iterable[str] = ()) -> str:
    """Replace the secrets in a text by ``***``.

    Args:
        text: Any text.
        secrets: Values to redact wherever they occur, also URL-quoted; values of less
            than four characters are ignored.
    """
    for secret in sorted(set(secrets), key=len, reverse=True):  # one may contain another
        if len(secret) >= _SHORTEST:
            for form in (secret, quote(secret, safe=''), quote(secret)):
                text = text.replace(form, _HIDDEN)
    text = _SIGNED.sub(rf'\1{_HIDDEN}', text)
    return _BEARER.sub(rf'\1{_HIDDEN}', text)
