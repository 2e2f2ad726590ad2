"""Finds the secrets of an old config: none of them is copied or shown."""

from __future__ import annotations

import re
from typing import Any

from .expressions import EnvironmentText, Unread, walk

_SECRET = re.compile(
    r'(?i)token(?!i[sz])|secret|password|passwd|api_?key|access_key|account_key'
)
# Shorter texts also stand in paths and names, which a config needs.
_SHORTEST = 8
_REFERENCES = ('env:', 'file:')
TOKEN = 'ACTIVELOOP_TOKEN'
# Keys of a storage that are secret, with the variables that their providers use.
STORAGE_VARIABLES = {
    'aws_access_key_id': 'AWS_ACCESS_KEY_ID',
    'aws_secret_access_key': 'AWS_SECRET_ACCESS_KEY',
    'aws_session_token': 'AWS_SESSION_TOKEN',
    'account_key': 'AZURE_STORAGE_KEY',
    'sas_token': 'AZURE_STORAGE_SAS_TOKEN',
}
ADDRESS_NOT_COPIED = (
    'the address contains a secret, which is not copied; download the file'
)


def is_secret(key: Any) -> bool:
    """Return whether a key is named like one that holds a secret."""
    return bool(_SECRET.search(str(key)))


def secrets_of(address: Any) -> list[str]:
    """Return the password and the signature in a URL, none for all other values."""
    start, found, rest = str(address).partition('://')
    if not (start and found):
        return []
    user, query = rest.split('/')[0].rpartition('@')[0], rest.partition('?')[2]
    return [secret for secret in (user, query) if secret]


def secret_addresses(values: dict[str, Any]) -> list[tuple[str, str]]:
    """Return the passwords and signatures in the URLs of an old config, with keys."""
    return [
        (_written(path), secret)
        for path, value in walk(values)
        for text in _texts(value)
        for secret in secrets_of(text)
    ]


def secrets_in(values: dict[str, Any]) -> list[str]:
    """Return the literal secrets of an old config, by the names of their keys."""
    variables = (TOKEN, *STORAGE_VARIABLES.values())
    return [
        text
        for path, value in walk(values)
        if any(map(is_secret, path))
        for text in (
            [value.default] if isinstance(value, EnvironmentText) else _texts(value)
        )
        if len(text) >= _SHORTEST
        and not text.startswith(_REFERENCES)
        and text not in variables
    ]


def _texts(value: Any) -> list[str]:
    if isinstance(value, Unread):
        return value.texts
    return [value] if isinstance(value, str) else []


def _written(path: tuple[Any, ...]) -> str:
    keys = (f'[{key}]' if isinstance(key, int) else f'.{key}' for key in path)
    return ''.join(keys).lstrip('.')
