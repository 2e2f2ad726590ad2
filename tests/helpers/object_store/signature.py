"""Who may ask: access keys, and the check of AWS's signature, version 4.

The construction is the one of
https://docs.aws.amazon.com/AmazonS3/latest/API/sig-v4-header-based-auth.html.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from urllib.parse import quote, unquote

from helpers.object_store.wire import Request

_AUTHORIZATION = re.compile(
    r'AWS4-HMAC-SHA256 Credential=(?P<id>[^/]+)/(?P<scope>[^,]+), *'
    r'SignedHeaders=(?P<headers>[^,]+), *Signature=(?P<signature>\w+)'
)


@dataclass(frozen=True)
class Key:
    """An access key; ``token`` is the session token of a short-lived one."""

    id: str
    secret: str
    token: str = ''

    @classmethod
    def new(cls, token: bool = False) -> Key:
        """A key that nobody had before; with a session token if asked for."""
        return cls(
            'AKIA' + secrets.token_hex(8).upper(),
            secrets.token_hex(20),
            secrets.token_hex(40) if token else '',
        )

    @property
    def creds(self) -> dict[str, str]:
        """The key in the words of Deep Lake's ``creds``."""
        creds = dict(aws_access_key_id=self.id, aws_secret_access_key=self.secret)
        return {**creds, 'aws_session_token': self.token} if self.token else creds


class Gate:
    """Lets requests in that were signed with a key that is accepted.

    Args:
        keys: The accepted keys.
        refusal: Error code for any other key: ``InvalidAccessKeyId``, ``ExpiredToken``
            or another of ``wire.ERRORS``.
    """

    def __init__(
        self, keys: Iterable[Key] = (), refusal: str = 'InvalidAccessKeyId'
    ) -> None:
        self._keys = {key.id: key for key in keys}
        self._refusal = refusal

    def refuse(self, request: Request) -> str:
        """Error code for a request that is not let in; empty for one that is."""
        match = _AUTHORIZATION.match(request.headers.get('authorization', ''))
        if not match:
            return 'AccessDenied'
        key = self._keys.get(match['id'])
        if key is None:
            return self._refusal
        if request.headers.get('x-amz-security-token', '') != key.token:
            return 'InvalidToken'
        expected = _sign(request, match['scope'], match['headers'], key.secret)
        if not hmac.compare_digest(expected, match['signature']):
            return 'SignatureDoesNotMatch'
        return ''

    def key_id(self, request: Request) -> str:
        """Id of the key that a request was signed with; empty for one without."""
        match = _AUTHORIZATION.match(request.headers.get('authorization', ''))
        return match['id'] if match else ''


def _sign(request: Request, scope: str, signed: str, secret: str) -> str:
    headers = request.headers
    canonical = '\n'.join(
        [
            request.method,
            quote(unquote(request.path), safe='/-_.~'),
            _canonical_query(request.query),
            *(
                f'{name}:{" ".join(headers.get(name, "").split())}'
                for name in signed.split(';')
            ),
            '',
            signed,
            headers.get('x-amz-content-sha256', 'UNSIGNED-PAYLOAD'),
        ]
    )
    digest = hashlib.sha256(canonical.encode()).hexdigest()
    text = f'AWS4-HMAC-SHA256\n{headers.get("x-amz-date", "")}\n{scope}\n{digest}'
    return _hmac(_signing_key(secret, scope), text).hex()


def _canonical_query(query: str) -> str:
    pairs = [part.partition('=') for part in query.split('&') if part]
    encoded = [
        (quote(unquote(name), safe='-_.~'), quote(unquote(value), safe='-_.~'))
        for name, _, value in pairs
    ]
    return '&'.join(f'{name}={value}' for name, value in sorted(encoded))


@lru_cache(maxsize=64)
def _signing_key(secret: str, scope: str) -> bytes:
    """Key derived from secret, day, region and service: the parts of the scope."""
    derived = b'AWS4' + secret.encode()
    for part in scope.split('/'):
        derived = _hmac(derived, part)
    return derived


def _hmac(key: bytes, text: str) -> bytes:
    return hmac.new(key, text.encode(), hashlib.sha256).digest()
