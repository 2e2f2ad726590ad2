"""References to secrets, resolved only when a lake is opened.

``env:NAME`` reads an environment variable, ``file:PATH`` a file (JSON for ``creds``). A
literal secret works too, with a warning: MMEngine writes the whole config to the log, to
the work directory and into every checkpoint.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from multiprocessing.context import get_spawning_popen
from pathlib import Path
from typing import Any

from ...utils.messages import did_you_mean, warn

KEYS = ('token', 'creds')
# The keys that Deep Lake's storage providers read; it silently ignores all others.
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
    'blob_endpoint',
    'ca_file',
    'gcs_oauth_token',
    'creds_key',
)
# Not secret: a config, a repr and a pickle may show their values.
_PLAIN_KEYS = (
    'aws_region',
    'endpoint_url',
    'profile_name',
    'account_name',
    'blob_endpoint',
    'ca_file',
    'creds_key',
)

_warned = False
# Secrets that were resolved so far, the newest last: after a rotation a message may still
# contain an old one. Bounded, for runs with many rotations.
_handed_out: dict[str, None] = {}
_REMEMBERED = 256


class UnreadableReferenceError(ValueError):
    """A reference cannot be read, or what it refers to is invalid."""


@dataclass(frozen=True)
class Credentials:
    """The token and the storage credentials of a lake, or references to them.

    ``repr`` shows references and hides literal secrets. A pickle omits literal secrets,
    unless it is sent to a worker process that is being spawned.

    Args:
        token: Deep Lake token: a reference, a literal, or ``''`` to leave it to the
            environment (``ACTIVELOOP_TOKEN``).
        creds: Storage credentials as ``(key, reference or literal)`` pairs, or
            one reference to a JSON object with all keys.
    """

    token: str = field(default='', repr=False)
    creds: str | tuple[tuple[str, str], ...] = field(default=(), repr=False)

    @classmethod
    def from_config(cls, config: Any) -> Credentials:
        """Validate ``deeplake_credentials``: a mapping with ``token`` and ``creds``.

        Raises:
            ValueError: If a key is unknown or no longer supported, or ``creds`` is a
                string but not a reference.
            TypeError: If the config is not a mapping, or a value not a string.
        """
        if config is None:
            return cls()
        if not isinstance(config, Mapping):
            raise TypeError(
                'deeplake_credentials must be a dict, got a '
                f'{type(config).__name__}; write for example '
                "dict(token='env:ACTIVELOOP_TOKEN', creds=None)"
            )
        values = {key: value for key, value in config.items() if value not in (None, '')}
        for key in values:
            if key in ('username', 'password'):
                raise ValueError(
                    f'deeplake_credentials.{key} is not supported: Deep Lake 4 does not '
                    'log in with user name and password; create a token on its web site '
                    "and write token='env:ACTIVELOOP_TOKEN'"
                )
            if key not in KEYS:
                raise ValueError(
                    f'deeplake_credentials.{key} is unknown{did_you_mean(key, KEYS)}; '
                    'the keys are: token, creds'
                )
        token = _string('deeplake_credentials.token', values.get('token', ''))
        result = cls(token, _creds_from_config(values.get('creds', ())))
        if result.has_literal_secret:
            _warn_literal()
        return result

    @property
    def has_literal_secret(self) -> bool:
        """Whether the config contains a secret itself, not only references."""
        return any(_is_literal(key, value) for key, value in self._pairs())

    def resolve(self) -> dict[str, Any]:
        """Return the arguments ``creds`` and ``token`` of ``deeplake.open_read_only``.

        Those that are not set are omitted, so that the environment of Deep Lake and of
        the storage provider applies.

        Raises:
            UnreadableReferenceError: If a reference cannot be resolved; the message
                contains the reference, never a value.
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
        """Return the secrets to redact from texts.

        These are all secrets that this process resolved so far, for this lake and for
        others, and the current ones.
        """
        try:
            current = _secrets_of(self.resolve())
        except ValueError:
            current = []
        return [*resolved_secrets(), *current]

    def age(self) -> tuple[int, ...]:
        """Return modification time (ns) and inode of each referenced file.

        Short-lived credentials are renewed in a file; when the age changes, the lake
        must be opened again.
        """
        times = []
        for _, value in self._pairs():
            if value.startswith('file:'):
                try:
                    state = Path(value[len('file:') :]).expanduser().stat()
                    times += [state.st_mtime_ns, state.st_ino]
                except OSError:
                    times += [0, 0]
        return tuple(times)

    def _pairs(self) -> list[tuple[str, str]]:
        """Return the token and the storage credentials by key."""
        creds = [('creds', self.creds)] if isinstance(self.creds, str) else self.creds
        return [('token', self.token), *creds]

    def __repr__(self) -> str:
        shown = {key: '***' if _is_literal(key, v) else v for key, v in self._pairs()}
        token = shown.pop('token')
        creds = self.creds if isinstance(self.creds, str) else shown
        return f'Credentials(token={token!r}, creds={creds!r})'

    def __reduce__(self) -> tuple[Any, ...]:
        # A spawned worker needs the secret and gets it through a pipe; any other pickle
        # may be written to disk.
        if get_spawning_popen() is not None:
            return Credentials, (self.token, self.creds)
        kept = {key: v for key, v in self._pairs() if not _is_literal(key, v)}
        token = kept.pop('token', '')
        creds = self.creds if isinstance(self.creds, str) else tuple(kept.items())
        return Credentials, (token, creds)


def resolved_secrets() -> list[str]:
    """Return the secrets that this process resolved so far, to redact them from texts."""
    return [*_handed_out]


def _creds_from_config(creds: Any) -> str | tuple[tuple[str, str], ...]:
    if isinstance(creds, str):
        if creds.upper() == 'ENV':  # how the old integration names the environment
            return ()
        if not _is_reference(creds):
            raise ValueError(
                'deeplake_credentials.creds must be a dict or a reference, got another '
                "string; write a dict of keys, 'env:NAME' or 'file:PATH' (JSON), or None "
                "for the storage provider's own environment"
            )
        return creds
    if isinstance(creds, tuple) and not creds:
        return ()
    if not isinstance(creds, Mapping):
        raise TypeError(
            'deeplake_credentials.creds must be a dict or a reference, got a '
            f"{type(creds).__name__}; write a dict, 'env:NAME', 'file:PATH' or None"
        )
    _check_creds_keys(creds)
    return tuple(
        (key, _string(f'deeplake_credentials.creds.{key}', value))
        for key, value in creds.items()
        if value not in (None, '')
    )


def _check_creds_keys(creds: Mapping[str, Any]) -> None:
    for key in creds:
        if key not in CREDS_KEYS:
            raise ValueError(
                f'deeplake_credentials.creds.{key} is unknown'
                f'{did_you_mean(key, CREDS_KEYS)}; the keys are: {", ".join(CREDS_KEYS)}'
            )


def _string(key: str, value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError(
            f'{key} must be a string, got a {type(value).__name__}; write '
            "'env:NAME' or 'file:PATH'"
        )
    return value


def _is_reference(value: str) -> bool:
    return value.startswith(('env:', 'file:'))


def _is_literal(key: str, value: str) -> bool:
    """Whether a value is a secret itself."""
    return bool(value) and key not in _PLAIN_KEYS and not _is_reference(value)


def _follow(key: str, value: str) -> str:
    if value.startswith('env:'):
        name = value[len('env:') :]
        if name not in os.environ:
            raise UnreadableReferenceError(
                f'{key}={value!r}: the environment variable {name} is not set; '
                'export it in the shell that starts the training'
            )
        return os.environ[name]
    if not value.startswith('file:'):
        return value
    try:
        text = Path(value[len('file:') :]).expanduser().read_text().strip()
    except OSError as error:
        raise UnreadableReferenceError(
            f'{key}={value!r}: cannot read the file: {error.strerror}'
        ) from error
    except UnicodeDecodeError:  # its repr contains the whole file
        raise UnreadableReferenceError(f'{key}={value!r}: the file is not text') from None
    if not text:  # it is being rewritten
        raise UnreadableReferenceError(f'{key}={value!r}: the file is empty')
    return text


def _parse_creds(reference: str) -> dict[str, str]:
    key = 'deeplake_credentials.creds'
    try:
        creds = json.loads(_follow(key, reference))
    except json.JSONDecodeError:
        creds = None  # the error message would quote the secret
    if not isinstance(creds, dict):
        raise UnreadableReferenceError(
            f'{key}={reference!r}: its content must be a JSON object of storage keys'
        )
    _check_creds_keys(creds)
    return {name: str(value) for name, value in creds.items()}


def _secrets_of(arguments: dict[str, Any]) -> list[str]:
    creds = {**arguments.get('creds', {}), 'token': arguments.get('token')}
    return [value for key, value in creds.items() if value and key not in _PLAIN_KEYS]


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
    warn(
        'deeplake_credentials contains a literal secret. MMEngine writes the config, '
        'and the secret with it, to the log, to work_dir/*.py and into every checkpoint. '
        "Write a reference instead: token='env:ACTIVELOOP_TOKEN', or 'file:PATH'."
    )
