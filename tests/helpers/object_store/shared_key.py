"""Who may ask an Azure account: its keys, and the check of the signature Shared Key.

The construction is the one of
https://learn.microsoft.com/rest/api/storageservices/authorize-with-shared-key.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets
from collections.abc import Iterable, Mapping
from urllib.parse import unquote

from helpers.object_store.signature import Key
from helpers.object_store.wire import Request

_STANDARD = (
    'content-encoding',
    'content-language',
    'content-length',
    'content-md5',
    'content-type',
    'date',
    'if-modified-since',
    'if-match',
    'if-none-match',
    'if-unmodified-since',
    'range',
)


def new_key(name: str) -> Key:
    """A key that no account had before; ``name`` is how the log calls it."""
    return Key(name, base64.b64encode(secrets.token_bytes(64)).decode())


class SharedKeyGate:
    """Lets requests in that were signed with a key that is accepted.

    Args:
        known: All keys, to name the one that a request was signed with.
        accepted: Those that are let in.
        refusal: Error code for the others.
    """

    def __init__(
        self,
        known: Iterable[Key] = (),
        accepted: Iterable[Key] = (),
        refusal: str = 'AuthenticationFailed',
    ) -> None:
        self._known = {key.id: key for key in (*known, *accepted)}
        self._accepted = {key.id for key in accepted}
        self._refusal = refusal

    def refuse(self, request: Request) -> str:
        """Error code for a request that is not let in; empty for one that is."""
        return '' if self.key_id(request) in self._accepted else self._refusal

    def key_id(self, request: Request) -> str:
        """Name of the key that a request was signed with; empty for an unknown one."""
        scheme, _, given = request.headers.get('authorization', '').partition(' ')
        account, _, signature = given.partition(':')
        if scheme != 'SharedKey':
            return ''
        for key in self._known.values():
            if hmac.compare_digest(_signature(request, account, key.secret), signature):
                return key.id
        return ''


def signed(
    method: str, target: str, headers: Mapping[str, str], account: str, key: Key
) -> dict[str, str]:
    """The headers of a request with the one that proves the key."""
    path, _, query = target.partition('?')
    lower = {name.lower(): value for name, value in headers.items()}
    request = Request(method, target, path, query, lower, 'HTTP/1.1')
    proof = _signature(request, account, key.secret)
    return {**headers, 'authorization': f'SharedKey {account}:{proof}'}


def _signature(request: Request, account: str, secret: str) -> str:
    headers = request.headers
    values = {name: headers.get(name, '') for name in _STANDARD}
    if values['content-length'] == '0':
        values['content-length'] = ''
    if 'x-ms-date' in headers:
        values['date'] = ''
    own = sorted(name for name in headers if name.startswith('x-ms-'))
    text = '\n'.join(
        [
            request.method,
            *values.values(),
            *(f'{name}:{" ".join(headers[name].split())}' for name in own),
            f'/{account}{request.path}{_parameters(request.query)}',
        ]
    )
    digest = hmac.new(base64.b64decode(secret), text.encode(), hashlib.sha256).digest()
    return base64.b64encode(digest).decode()


def _parameters(query: str) -> str:
    found: dict[str, list[str]] = {}
    for part in filter(None, query.split('&')):
        name, _, value = part.partition('=')
        found.setdefault(unquote(name).lower(), []).append(unquote(value))
    lines = [f'\n{name}:{",".join(sorted(found[name]))}' for name in sorted(found)]
    return ''.join(lines)
