"""Turns credentials of an old config into references: no secret is copied."""

from __future__ import annotations

from typing import Any

from ..expressions import EnvironmentText, Unread
from ..findings import STORAGE_VARIABLES, TOKEN, Findings
from ..text import Noted

# Keys of the storage whose values are not secret.
_PLAIN = ('aws_region', 'endpoint_url', 'profile_name', 'account_name', 'creds_key')
_RENAMED = {'region': 'aws_region', 'region_name': 'aws_region'}


def translate_credentials(
    key: str, old: Any, findings: Findings
) -> dict[str, Any] | Noted | None:
    """Translate ``deeplake_credentials``.

    Args:
        key: Name of the key, for messages.
        old: Its value.
        findings: Gets the variables to set.

    Returns:
        The new value, all secrets in it as references; None for the environment alone.
    """
    if isinstance(old, Unread):
        old = {'token': old}
    if not isinstance(old, dict):
        return None
    variables: list[str] = []
    result: dict[str, Any] = {}
    for name, value in old.items():
        if value in (None, ''):
            continue
        here = f'{key}.{name}'
        if name == 'token':
            result['token'] = _reference(here, value, TOKEN, variables, findings)
        elif name == 'creds':
            creds = _translate_creds(here, value, variables, findings)
            result |= {'creds': creds} if creds else {}
        elif name in ('username', 'password'):
            findings.attend(
                here,
                'Deep Lake 4 has tokens only; create one on its web site and set the '
                f'environment variable {TOKEN}',
            )
            if 'token' not in old or old['token'] in (None, ''):
                result['token'] = f'env:{TOKEN}'
                variables.append(TOKEN)
        else:
            findings.leave(here, 'the key is unknown to Deep Lake 4')
    if not result:
        return None
    findings.carry(key, 'deeplake_credentials')
    if not variables:
        return result
    names = ', '.join(dict.fromkeys(variables))
    return Noted(result, f'Set the environment variable(s) {names} before training.')


def _translate_creds(key: str, old: Any, variables: list[str], findings: Findings) -> Any:
    if isinstance(old, str):
        if old.upper() == 'ENV' or old.startswith(('env:', 'file:')):
            return None if old.upper() == 'ENV' else old
        if isinstance(old, EnvironmentText):
            return f'env:{old.name}'
        findings.attend(
            key,
            'must be a reference to JSON here; write the keys of your storage as a JSON '
            "object into a file and name it as 'file:PATH'",
        )
        return Noted('file:~/.lake.json', 'A JSON object of storage keys.')
    if not isinstance(old, dict):
        variables.append('LAKE_CREDS')
        findings.attend(
            key,
            'is only known when the config runs; set the environment variable '
            'LAKE_CREDS to a JSON object of the keys of your storage',
        )
        return 'env:LAKE_CREDS'
    result = {}
    for name, value in old.items():
        here, new = f'{key}.{name}', _RENAMED.get(name, name)
        if value in (None, ''):
            continue
        if new in _PLAIN and isinstance(value, str):
            result[new] = value
        elif new in (*_PLAIN, *STORAGE_VARIABLES):
            variable = STORAGE_VARIABLES.get(new, new.upper())
            result[new] = _reference(here, value, variable, variables, findings)
        else:
            findings.leave(
                here,
                'Deep Lake 4 does not read this key; set it in the environment of the '
                'storage provider',
            )
    return result


def _reference(
    key: str, value: Any, variable: str, variables: list[str], findings: Findings
) -> str:
    if isinstance(value, EnvironmentText):
        variables.append(value.name)
        return f'env:{value.name}'
    if isinstance(value, str) and value.startswith(('env:', 'file:')):
        return str(value)
    variables.append(variable)
    found = 'a literal secret' if isinstance(value, str) else 'computed in the config'
    findings.attend(
        key,
        f'was {found}, which is not copied; set the environment variable {variable}',
    )
    return f'env:{variable}'
