"""Writes values as the text of a config, with comments."""

from __future__ import annotations

import textwrap
from dataclasses import dataclass
from typing import Any

from .expressions import walk

WIDTH = 88
_STEP = 4


@dataclass(frozen=True)
class Raw:
    """An expression to write as it is, such as ``_base_.train_pipeline``."""

    text: str


@dataclass(frozen=True)
class Noted:
    """A value with a comment above it."""

    value: Any
    note: str


@dataclass(frozen=True)
class Remark:
    """A comment in place of an item of a list."""

    note: str


def assignment(name: str, value: Any) -> str:
    """Write ``name = value``."""
    return _entry(f'{name} = ', value, 0, '\n')


def comment(text: str, indent: int = 0) -> str:
    """Write a comment in as many lines as it needs."""
    start = ' ' * indent + '# '
    lines = textwrap.wrap(
        text,
        WIDTH,
        initial_indent=start,
        subsequent_indent=start + '  ' * text.startswith('- '),
        break_long_words=False,
        break_on_hyphens=False,
    )
    return ''.join(f'{line}\n' for line in lines)


def _entry(start: str, value: Any, indent: int, end: str) -> str:
    """Write a value on lines of its own, with its comment."""
    if isinstance(value, Remark):
        return comment(value.note, indent)
    note = ''
    if isinstance(value, Noted):
        note, value = comment(value.note, indent), value.value
    text = _written(value, indent, indent + len(start))
    return f'{note}{" " * indent}{start}{text}{end}'


def _written(value: Any, indent: int, used: int) -> str:
    """Write a value that begins after ``used`` characters in its line."""
    if not isinstance(value, (dict, list, tuple)):
        return _inline(value)
    if not any(isinstance(each, (Noted, Remark)) for _, each in walk(value)):
        short = _inline(value)
        if used + len(short) + 1 <= WIDTH:
            return short
    opening, items, closing = _split(value)
    entries = [_entry(start, item, indent + _STEP, ',\n') for start, item in items]
    return f'{opening}\n{"".join(entries)}{" " * indent}{closing}'


def _inline(value: Any) -> str:
    if isinstance(value, Raw):
        return value.text
    if isinstance(value, (dict, list, tuple)):
        opening, items, closing = _split(value)
        text = ', '.join(start + _inline(item) for start, item in items)
        comma = ',' * (isinstance(value, tuple) and len(value) == 1)
        return f'{opening}{text}{comma}{closing}'
    return repr(str(value)) if isinstance(value, str) else repr(value)


def _split(value: Any) -> tuple[str, list[tuple[str, Any]], str]:
    """Return how a dict, list or tuple begins, its items with keys, and how it ends."""
    if not isinstance(value, dict):
        opening, closing = '[]' if isinstance(value, list) else '()'
        return opening, [('', item) for item in value], closing
    if all(isinstance(key, str) and key.isidentifier() for key in value):
        return 'dict(', [(f'{key}=', item) for key, item in value.items()], ')'
    return '{', [(f'{key!r}: ', item) for key, item in value.items()], '}'
