"""Read columns of JSON, as text or of Deep Lake's type ``Dict``, whole or one key of it.

``annotations.bbox`` names the key ``bbox`` of the column ``annotations``: of its dict, or
of each dict in its list.
"""

from __future__ import annotations

import json
from collections.abc import Container
from typing import Any

import numpy as np


def split_key(column: str, columns: Container[str]) -> tuple[str, str]:
    """Split ``column.key``, unless the lake has a column of that very name.

    Returns:
        Name of the column and the key, ``''`` without one.
    """
    if column in columns or '.' not in column:
        return column, ''
    name, _, key = column.rpartition('.')
    return name, key


def is_json(dtype: Any) -> bool:
    """Whether a column of a type can hold JSON."""
    return dtype.id in ('text', 'object') and 'sequence' not in str(dtype)


def parse_json(value: Any, key: str = '') -> Any:
    """Parse a stored value.

    Args:
        value: JSON text, a ``Dict`` of Deep Lake, or ``None``.
        key: Key of the dict, or of each dict in the list; ``''`` for the whole.

    Returns:
        Plain Python values; ``None`` for no value or an empty text.

    Raises:
        ValueError: If the text is not JSON, or the key is missing.
    """
    if value is None or (isinstance(value, str) and not value):
        return None
    if isinstance(value, (str, bytes)):
        try:
            value = json.loads(value)
        except ValueError as error:
            raise ValueError(f'it is not JSON ({error}), got {value[:40]!r}') from error
    elif hasattr(value, 'to_dict'):
        value = _plain(value.to_dict())
    if not key:
        return value
    try:
        return [each[key] for each in value] if isinstance(value, list) else value[key]
    except (KeyError, TypeError) as error:
        raise ValueError(f'it has no key {key!r}, got {str(value)[:60]}') from error


def _plain(value: Any) -> Any:
    if hasattr(value, 'to_dict'):
        value = value.to_dict()
    if isinstance(value, dict):
        return {key: _plain(each) for key, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(each) for each in value]
    return value.tolist() if isinstance(value, (np.ndarray, np.generic)) else value
