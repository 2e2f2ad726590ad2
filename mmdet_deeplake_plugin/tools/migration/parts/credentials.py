"""Turns credentials of an old config into references: no secret is copied."""

from __future__ import annotations

from typing import Any

from ..expressions import EnvironmentText, Unread, walk
from ..migration import Migration
from ..secrets import STORAGE_VARIABLES, TOKEN
from ..text import Noted

# Keys of the storage whose values are not secret.
_PLAIN = ('aws_region', 'endpoint_url', 'profile_name', 'account_name', 'creds_key')
_RENAMED = {'region': 'aws_region', 'region_name': 'aws_region'}
_REFERENCES = ('env:', 'file:')
_UNSET = (None, '')


def translate_credentials(
    migration: Migration, key: str, old: Any
) -> dict[str, Any] | Noted | None:
    """Translate ``deeplake_credentials``.

    Returns:
        The new value, all secrets in it as references; None for the environment alone.
    """
    if isinstance(old, Unread):
        old = {'token': old}
    if not isinstance(old, dict):
        return None
    result: dict[str, Any] = {}
    for name, value in old.items():
        if value in _UNSET:
            continue
        here = f'{key}.{name}'
        if name == 'token':
            result['token'] = _reference(migration, here, value, TOKEN)
        elif name == 'creds':
            creds = _translate_creds(migration, here, value)
            result |= {'creds': creds} if creds else {}
        elif name in ('username', 'password'):
            migration.attend(
                here,
                'Deep Lake 4 has tokens only; create one on its web site and set the '
                f'environment variable {TOKEN}',
            )
            if old.get('token') in _UNSET:
                result['token'] = f'env:{TOKEN}'
        else:
            migration.leave(here, 'the key is unknown to Deep Lake 4')
    if not result:
        return None
    migration.carry(key, 'deeplake_credentials')
    texts = [text for _, text in walk(result) if isinstance(text, str)]
    variables = [text[len('env:') :] for text in texts if text.startswith('env:')]
    if not variables:
        return result
    names = ', '.join(dict.fromkeys(variables))
    return Noted(result, f'Set the environment variable(s) {names} before training.')


def _translate_creds(migration: Migration, key: str, old: Any) -> Any:
    if isinstance(old, EnvironmentText):
        return f'env:{old.name}'
    if isinstance(old, str):
        if old.upper() == 'ENV' or old.startswith(_REFERENCES):
            return None if old.upper() == 'ENV' else old
        migration.attend(
            key,
            'must be a reference to JSON here; write the keys of your storage as a JSON '
            "object into a file and name it as 'file:PATH'",
        )
        return Noted('file:~/.lake.json', 'A JSON object of storage keys.')
    if not isinstance(old, dict):
        migration.attend(
            key,
            'is only known when the config runs; set the environment variable '
            'LAKE_CREDS to a JSON object of the keys of your storage',
        )
        return 'env:LAKE_CREDS'
    result = {}
    for name, value in old.items():
        here, new = f'{key}.{name}', _RENAMED.get(name, name)
        if value in _UNSET:
            continue
        if new in _PLAIN and isinstance(value, str):
            result[new] = value
        elif new in (*_PLAIN, *STORAGE_VARIABLES):
            variable = STORAGE_VARIABLES.get(new, new.upper())
            result[new] = _reference(migration, here, value, variable)
        else:
            migration.leave(
                here,
                'Deep Lake 4 does not read this key; set it in the environment of the '
                'storage provider',
            )
    return result


def _reference(migration: Migration, key: str, value: Any, variable: str) -> str:
    if isinstance(value, EnvironmentText):
        return f'env:{value.name}'
    if isinstance(value, str) and value.startswith(_REFERENCES):
        return value
    found = 'a literal secret' if isinstance(value, str) else 'computed in the config'
    migration.attend(
        key,
        f'was {found}, which is not copied; set the environment variable {variable}',
    )
    return f'env:{variable}'
