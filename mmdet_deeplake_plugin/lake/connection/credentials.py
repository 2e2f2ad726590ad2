"""References to secrets, resolved when a lake is opened and never before.

``env:NAME`` reads an environment variable, ``file:PATH`` a file (JSON for
``creds``). A literal secret works, but MMEngine writes the whole config to the
log, to the work directory and into every checkpoint; a warning says so.
"""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from multiprocessing.context import get_spawning_popen
from pathlib import Path
from typing import Any

from mmengine.logging import print_log

from ...utils.messages import did_you_mean

KEYS = ('token', 'creds')
# What Deep Lake's storage providers read; it ignores any other key in silence.
CREDS_KEYS = (
    'aws_access_key_id',
    'aws_secret_access_key',
    'aws_session_token',
    'aws_region',
    'endpoint_url',
    'profile_name',
    'account_name',
    'account_key',
    'sas_token',
    'creds_key',
)
# Not secret, so they may stand in a config, a repr and a pickle as they are.
_PLAIN_KEYS = (
    'aws_region',
    'endpoint_url',
    'profile_name',
    'account_name',
    'creds_key',
)

_warned = False
# Secrets that were handed out, the newest last: after a rotation a message may still
# hold one of before. Bounded, for runs of many rotations.
_handed_out: dict[str, None] = {}
_REMEMBERED = 256


class UnreadableReferenceError(ValueError):
    """A reference leads nowhere, or to something else than it should."""


@dataclass(frozen=True)
class Credentials:
    """Where the token and the storage credentials of a lake come from.

    Its ``repr`` shows references and hides literal values; a pickle leaves
    literal secrets out, unless it is on its way to a worker process that is
    being spawned.

    Args:
        token: Deep Lake token: a reference, a literal, or ``''`` for what the
            environment (``ACTIVELOOP_TOKEN``) says.
        creds: Storage credentials as ``(key, reference or literal)`` pairs, or
            one reference to a JSON object with all of them.
    """

    token: str = field(default='', repr=False)
    creds: str | tuple[tuple[str, str], ...] = field(default=(), repr=False)

    @classmethod
    def from_config(cls, config: Any) -> Credentials:
        """Checks ``deeplake_credentials`` of a config.

        Args:
            config: ``None`` or a mapping with ``token`` and ``creds``.

        Raises:
            ValueError: If a key is unknown or no longer supported, or a value
                is no string.
            TypeError: If it is no mapping.
        """
        if not config:
            return cls()
        if not isinstance(config, Mapping):
            raise TypeError(
                f'deeplake_credentials is a {type(config).__name__}; write a dict '
                "such as dict(token='env:ACTIVELOOP_TOKEN', creds=None)"
            )
        values = {key: value for key, value in config.items() if value not in (None, '')}
        for key in values:
            if key in ('username', 'password'):
                raise ValueError(
                    f'deeplake_credentials.{key}: Deep Lake 4 has no login by user '
                    'name and password; make a token on the web site and write '
                    "token='env:ACTIVELOOP_TOKEN'"
                )
            if key not in KEYS:
                raise ValueError(
                    f'deeplake_credentials.{key} is unknown{did_you_mean(key, KEYS)}; '
                    'the keys are token and creds'
                )
        token = _string('deeplake_credentials.token', values.get('token', ''))
        result = cls(token, _creds_from_config(values.get('creds', ())))
        if result.has_literal_secret:
            _warn_literal()
        return result

    @property
    def has_literal_secret(self) -> bool:
        """Whether a secret itself, not a reference to it, stands in the config."""
        if self.token and not _is_reference(self.token):
            return True
        return not isinstance(self.creds, str) and any(
            key not in _PLAIN_KEYS and not _is_reference(value)
            for key, value in self.creds
        )

    def resolve(self) -> dict[str, Any]:
        """Follows the references.

        Returns:
            The arguments ``creds`` and ``token`` of ``deeplake.open_read_only``;
            what is not set is left out, so that Deep Lake's and the storage
            provider's own environment apply.

        Raises:
            UnreadableReferenceError: If a reference leads nowhere; names it, not a
                value.
        """
        arguments: dict[str, Any] = {}
        if self.token:
            arguments['token'] = _follow('deeplake_credentials.token', self.token)
        if isinstance(self.creds, str):
            arguments['creds'] = _parse_creds(self.creds)
        elif self.creds:
            arguments['creds'] = {
                key: _follow(f'deeplake_credentials.creds.{key}', value)
                for key, value in self.creds
            }
        _remember(_secrets_of(arguments))
        return arguments

    def secrets(self) -> list[str]:
        """Secrets to be taken out of texts; never to be shown.

        They are those that this process has handed out so far, of this lake and of
        others, and the ones of now.
        """
        try:
            current = _secrets_of(self.resolve())
        except ValueError:
            current = []
        return [*_handed_out, *current]

    def age(self) -> tuple[int, ...]:
        """When the files that references name were changed (in ns), and which they are.

        Credentials of a short life are renewed in a file; another age than before
        says that a lake is to be opened anew.
        """
        values = [self.token, *([self.creds] if isinstance(self.creds, str) else [])]
        if not isinstance(self.creds, str):
            values += [value for _, value in self.creds]
        times = []
        for value in values:
            if value.startswith('file:'):
                try:
                    state = Path(value[len('file:') :]).expanduser().stat()
                    times += [state.st_mtime_ns, state.st_ino]
                except OSError:
                    times += [0, 0]
        return tuple(times)

    def __repr__(self) -> str:
        creds = (
            self.creds
            if isinstance(self.creds, str)
            else {key: _shown(key, value) for key, value in self.creds}
        )
        return f'Credentials(token={_shown("token", self.token)!r}, creds={creds!r})'

    def __getstate__(self) -> dict[str, Any]:
        # A spawned worker needs the secret and gets it through a pipe; every
        # other pickle may end on a disk.
        if get_spawning_popen() is not None or not self.has_literal_secret:
            return {'token': self.token, 'creds': self.creds}
        token = self.token if _is_reference(self.token) else ''
        if isinstance(self.creds, str):
            return {'token': token, 'creds': self.creds}
        kept = tuple(
            (key, value)
            for key, value in self.creds
            if key in _PLAIN_KEYS or _is_reference(value)
        )
        return {'token': token, 'creds': kept}

    def __setstate__(self, state: dict[str, Any]) -> None:
        for key, value in state.items():
            object.__setattr__(self, key, value)


def _creds_from_config(creds: Any) -> str | tuple[tuple[str, str], ...]:
    if isinstance(creds, str):
        if creds.upper() == 'ENV':  # the old integration's word for the environment
            return ()
        if not _is_reference(creds):
            raise ValueError(
                'deeplake_credentials.creds is a string that is no reference; write '
                "a dict of keys, 'env:NAME' or 'file:PATH' (JSON), or None for the "
                "storage provider's own environment"
            )
        return creds
    if isinstance(creds, tuple) and not creds:
        return ()
    if not isinstance(creds, Mapping):
        raise TypeError(
            f'deeplake_credentials.creds is a {type(creds).__name__}; write a dict, '
            "'env:NAME', 'file:PATH' or None"
        )
    for key in creds:
        _check_creds_key(key)
    return tuple(
        (key, _string(f'deeplake_credentials.creds.{key}', value))
        for key, value in creds.items()
        if value not in (None, '')
    )


def _check_creds_key(key: str) -> None:
    if key not in CREDS_KEYS:
        raise ValueError(
            f'deeplake_credentials.creds.{key} is unknown'
            f'{did_you_mean(key, CREDS_KEYS)}; Deep Lake reads {", ".join(CREDS_KEYS)}'
        )


def _string(key: str, value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError(f'{key} is a {type(value).__name__}; write a string')
    return value


def _is_reference(value: str) -> bool:
    return value.startswith(('env:', 'file:'))


def _shown(key: str, value: str) -> str:
    return value if not value or _is_reference(value) or key in _PLAIN_KEYS else '***'


def _follow(key: str, value: str) -> str:
    if value.startswith('env:'):
        name = value[len('env:') :]
        if name not in os.environ:
            raise UnreadableReferenceError(
                f'{key}={value!r}: the environment variable {name} is not set; '
                f'export it in the shell that starts the training'
            )
        return os.environ[name]
    if value.startswith('file:'):
        path = Path(value[len('file:') :]).expanduser()
        try:
            text = path.read_text().strip()
        except OSError as error:
            raise UnreadableReferenceError(
                f'{key}={value!r}: cannot read it: {error.strerror}'
            ) from error
        except UnicodeDecodeError:  # whose repr holds all that was read
            raise UnreadableReferenceError(f'{key}={value!r}: it is no text') from None
        if not text:  # somebody is writing it
            raise UnreadableReferenceError(f'{key}={value!r}: the file is empty')
        return text
    return value


def _parse_creds(reference: str) -> dict[str, str]:
    key = 'deeplake_credentials.creds'
    try:
        creds = json.loads(_follow(key, reference))
    except json.JSONDecodeError:
        creds = None  # the decoder's message would quote what it read
    if not isinstance(creds, dict):
        raise UnreadableReferenceError(
            f'{key}={reference!r}: what it refers to is no JSON object'
        )
    for name in creds:
        _check_creds_key(name)
    return {name: str(value) for name, value in creds.items()}


def _secrets_of(arguments: dict[str, Any]) -> list[str]:
    values = [
        value
        for key, value in arguments.get('creds', {}).items()
        if key not in _PLAIN_KEYS
    ]
    return [*values, *([arguments['token']] if 'token' in arguments else [])]


def _remember(secrets: list[str]) -> None:
    for secret in secrets:
        _handed_out.pop(secret, None)
        _handed_out[secret] = None
    while len(_handed_out) > _REMEMBERED:
        _handed_out.pop(next(iter(_handed_out)))


def _warn_literal() -> None:
    global _warned
    if _warned:
        return
    _warned = True
    print_log(
        'deeplake_credentials holds a secret as it is. MMEngine writes the config to '
        'the log, to work_dir/*.py and into every checkpoint, and the secret with it. '
        "Write a reference instead: token='env:ACTIVELOOP_TOKEN', or 'file:PATH'.",
        logger='current',
        level=logging.WARNING,
    )
