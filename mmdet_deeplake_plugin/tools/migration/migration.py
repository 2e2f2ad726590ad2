"""A migration: the old config, its new base, and what became of each key."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ...utils.messages import comma_joined
from .expressions import Unread, walk


@dataclass
class Migration:
    """What every part of a migration reads, and where it says what it did.

    Args:
        old: Top-level values of the old config.
        base: The new base, as a dict.
        used: Names that other values of the old config use; they are not keys.
        done: Old key -> new key of what was translated.
        attention: Old key and what the user has to do before the first run.
        left: Old key and why it has no counterpart.
    """

    old: dict[str, Any]
    base: dict[str, Any]
    used: set[str]
    done: dict[str, str] = field(default_factory=dict)
    attention: list[tuple[str, str]] = field(default_factory=list)
    left: list[tuple[str, str]] = field(default_factory=list)

    @property
    def has_val(self) -> bool:
        """Whether something is validated."""
        return self.old['data'].get('val') is not None

    @property
    def own_test(self) -> Any:
        """``data.test`` if it has a lake of its own, other than ``data.val``."""
        data = self.old['data']
        test = data.get('test')
        has_lake = isinstance(test, dict) and test.get('deeplake_path')
        return test if has_lake and not (self.has_val and test == data['val']) else None

    @property
    def has_test(self) -> bool:
        """Whether something is tested."""
        return self.has_val or self.own_test is not None

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
        found = [part.shown for _, part in walk(value) if isinstance(part, Unread)]
        if found:
            self.attend(
                key,
                'the value is only known when the config runs or its base is there '
                f'({comma_joined(map(_shorten, found))}); write it by hand',
            )
        return not found

    def readable_keys(self, key: str, value: Any = None) -> dict[str, Any]:
        """Return the items of a dict that could be read; note the others."""
        value = self.old.get(key) if value is None else value
        if not isinstance(value, dict):
            self.readable(key, value if isinstance(value, Unread) else None)
            return {}
        return {
            name: item
            for name, item in value.items()
            if name != '_delete_' and self.readable(f'{key}.{name}'.lstrip('.'), item)
        }

    def move(
        self,
        key: str,
        names: Mapping[str, str] | Sequence[str],
        target: str,
        unknown: str = '',
        elsewhere: Sequence[str] = ('type',),
        old: Any = None,
    ) -> dict[str, Any]:
        """Translate the keys of a dict by a table, and note what became of each.

        Args:
            key: Name of the dict; ``''`` for the whole config, as in ``target``.
            names: Old name -> new name, or names that are the same. A value of None
                counts as not written.
            target: Name of the dict in the new config.
            unknown: Why all other keys are left out. Defaults to ``''``: they are
                translated elsewhere.
            elsewhere: Of the other keys, those that are translated elsewhere.
            old: The dict. Defaults to that of the key at the top level.

        Returns:
            The values by their new names.
        """
        if not isinstance(names, Mapping):
            names = dict(zip(names, names))
        old = self.old.get(key) if old is None else old
        if not unknown and isinstance(old, dict):
            old = {name: value for name, value in old.items() if name in names}
        new = {}
        for name, value in self.readable_keys(key, old).items():
            here = f'{key}.{name}'.lstrip('.')
            if name not in names:
                if name not in elsewhere:
                    self.leave(here, unknown)
            elif value is not None:
                new[names[name]] = value
                self.carry(here, f'{target}.{names[name]}'.lstrip('.'))
        return new

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


def _shorten(text: str) -> str:
    text = ' '.join(text.split())
    return text if len(text) <= 60 else f'{text[:57]}…'
