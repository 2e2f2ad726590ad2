"""Writes values as the text of a config, with comments."""

from __future__ import annotations

import textwrap
from dataclasses import dataclass
from typing import Any

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
    note = ''
    if isinstance(value, Noted):
        note, value = comment(value.note), value.value
    return f'{note}{name} = {_written(value, 0, len(name) + 3)}\n'


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


def _written(value: Any, indent: int, used: int) -> str:
    """Write a value that begins after ``used`` characters in its line."""
    if not _has_notes(value):
        short = _inline(value)
        if used + len(short) + 1 <= WIDTH:
            return short
    if isinstance(value, dict):
        names = all(isinstance(key, str) and key.isidentifier() for key in value)
        pairs = [(f'{key}=' if names else f'{key!r}: ', v) for key, v in value.items()]
        opening, closing = ('dict(', ')') if names else ('{', '}')
    elif isinstance(value, (list, tuple)):
        pairs = [('', item) for item in value]
        opening, closing = ('[', ']') if isinstance(value, list) else ('(', ')')
    else:
        return _inline(value)
    inner = indent + _STEP
    lines = [opening + '\n']
    for start, item in pairs:
        if isinstance(item, Remark):
            lines.append(comment(item.note, inner))
            continue
        if isinstance(item, Noted):
            lines.append(comment(item.note, inner))
            item = item.value
        text = _written(item, inner, inner + len(start))
        lines.append(f'{" " * inner}{start}{text},\n')
    return ''.join([*lines, ' ' * indent, closing])


def _inline(value: Any) -> str:
    if isinstance(value, Raw):
        return value.text
    if isinstance(value, dict):
        if all(isinstance(key, str) and key.isidentifier() for key in value):
            items = ', '.join(f'{key}={_inline(item)}' for key, item in value.items())
            return f'dict({items})'
        items = ', '.join(f'{key!r}: {_inline(item)}' for key, item in value.items())
        return f'{{{items}}}'
    if isinstance(value, list):
        return f'[{", ".join(map(_inline, value))}]'
    if isinstance(value, tuple):
        items = ', '.join(map(_inline, value))
        return f'({items},)' if len(value) == 1 else f'({items})'
    return repr(str(value)) if isinstance(value, str) else repr(value)


def _has_notes(value: Any) -> bool:
    if isinstance(value, (Noted, Remark)):
        return True
    if isinstance(value, dict):
        return any(map(_has_notes, value.values()))
    return isinstance(value, (list, tuple)) and any(map(_has_notes, value))
