"""What became of each key of an old config, for the report and the new file."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any

from ...utils.messages import comma_joined
from .expressions import EnvironmentText, Unread, unread_in

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
VARIABLES = (TOKEN, *STORAGE_VARIABLES.values())


@dataclass
class Findings:
    """What was translated, what the user has to do, and what has no counterpart.

    Args:
        done: Old key -> new key.
        attention: Old key and what to do.
        left: Old key and why it has no counterpart.
    """

    done: dict[str, str] = field(default_factory=dict)
    attention: list[tuple[str, str]] = field(default_factory=list)
    left: list[tuple[str, str]] = field(default_factory=list)

    def carry(self, old: str, new: str) -> None:
        """Note that a key was translated."""
        self.done.setdefault(old, new)

    def attend(self, key: str, text: str) -> None:
        """Note what the user has to do before the first run."""
        if (key, text) not in self.attention:
            self.attention.append((key, text))

    def leave(self, key: str, reason: str) -> None:
        """Note that a key has no counterpart."""
        if (key, reason) not in self.left:
            self.left.append((key, reason))

    def readable(self, key: str, value: Any) -> bool:
        """Return whether a value could be read; note it if not."""
        found = [part.shown for part in unread_in(value)]
        if found:
            self.attend(
                key,
                'the value is only known when the config runs or its base is there '
                f'({comma_joined(shorten(part) for part in found)}); write it by hand',
            )
        return not found

    def readable_keys(self, key: str, value: Any) -> dict[str, Any]:
        """Return the items of a dict that could be read; note the others."""
        if not isinstance(value, dict):
            self.readable(key, value if isinstance(value, Unread) else None)
            return {}
        return {
            name: item
            for name, item in value.items()
            if name != '_delete_' and self.readable(f'{key}.{name}', item)
        }

    def report(self) -> str:
        """Describe all of it, a line for each key."""
        lines = [f'  {old} -> {new}' for old, new in self.done.items()]
        lines = ['translated:', *(lines or ['  nothing'])]
        for title, entries in (
            ('needs your attention:', self.attention),
            ('left out:', self.left),
        ):
            if entries:
                lines += ['', title, *(f'  {key}: {text}' for key, text in entries)]
        return '\n'.join(lines)


def shorten(text: str) -> str:
    """Cut a text to what fits into a comment."""
    text = ' '.join(text.split())
    return text if len(text) <= 60 else f'{text[:57]}…'


def is_secret(key: str) -> bool:
    """Return whether a key is named like one that holds a secret."""
    return bool(_SECRET.search(key))


def has_secret(address: Any) -> bool:
    """Return whether a value is a URL with a password or a signature in it."""
    return bool(_secrets_of(str(address)))


def _secrets_of(address: str) -> list[str]:
    """Return the password and the signature in a URL, none for all other texts."""
    start, found, rest = address.partition('://')
    if not (start and found):
        return []
    user, query = rest.split('/')[0].rpartition('@')[0], rest.partition('?')[2]
    return [secret for secret in (user, query) if secret]


def secret_addresses(key: str, value: Any) -> list[tuple[str, str]]:
    """Return the passwords and signatures in the URLs of an old config.

    Args:
        key: Name of the value; ``''`` for the whole config.
        value: The value.

    Returns:
        Key and secret of each.
    """
    if isinstance(value, dict):
        items = [(f'{key}.{name}'.lstrip('.'), item) for name, item in value.items()]
    elif isinstance(value, (list, tuple)):
        items = [(f'{key}[{number}]', item) for number, item in enumerate(value)]
    else:
        texts = value.texts if isinstance(value, Unread) else [value]
        texts = [text for text in texts if isinstance(text, str)]
        return [(key, secret) for text in texts for secret in _secrets_of(text)]
    return [pair for name, item in items for pair in secret_addresses(name, item)]


def secrets_in(value: Any, inside: bool = False) -> list[str]:
    """Return the literal secrets of an old config, by the names of their keys.

    Args:
        value: The values of the config.
        inside: Whether the value is that of such a key.
    """
    if isinstance(value, dict):
        found: list[str] = []
        for key, item in value.items():
            found += secrets_in(item, inside or is_secret(str(key)))
        return found
    if isinstance(value, (list, tuple)):
        return [part for item in value for part in secrets_in(item, inside)]
    texts = value.texts if isinstance(value, Unread) else [value]
    if isinstance(value, EnvironmentText):
        texts = [value.default]
    return [text for text in texts if inside and _may_be_secret(text)]


def _may_be_secret(text: Any) -> bool:
    """Return whether a value is a secret itself, not a reference to one."""
    if not isinstance(text, str) or len(text) < _SHORTEST:
        return False
    return not text.startswith(_REFERENCES) and text not in VARIABLES
