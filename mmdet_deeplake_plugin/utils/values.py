"""Check values of config keys: each error names the key, the value and what to write.

A check takes the key as errors are to show it, such as ``'seed of DeepLakeLoader'``, and
its value. Scalars of NumPy count as those of Python.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from difflib import get_close_matches
from inspect import signature
from typing import Any

import numpy as np

from .messages import did_you_mean

_MOST_SHOWN = 200


def wrong(key: str, wanted: str, value: object, remedy: str) -> ValueError:
    """Return the error for a value that a key cannot have: what is wanted and written."""
    return ValueError(f'{key} must be {wanted}, got {shown(value)}; write {remedy}')


def shown(value: object) -> str:
    """Return the repr of a value, the beginning of it if it is long."""
    text = repr(value)
    return text if len(text) <= _MOST_SHOWN else f'{text[:_MOST_SHOWN]}…'


def is_bool(value: object) -> bool:
    """Return whether a value is true or false."""
    return isinstance(value, (bool, np.bool_))


def is_int(value: object) -> bool:
    """Return whether a value is an integer, which bools are not."""
    return isinstance(value, (int, np.integer)) and not is_bool(value)


def is_number(value: object) -> bool:
    """Return whether a value is a finite number, which bools are not."""
    if is_int(value):
        return True
    return isinstance(value, (float, np.floating)) and math.isfinite(value)


def is_list(value: object) -> bool:
    """Return whether a value has items in an order, and is not a text."""
    if isinstance(value, np.ndarray):
        return value.ndim > 0
    return isinstance(value, Sequence) and not isinstance(value, (str, bytes))


def check_bool(key: str, value: object) -> None:
    """Refuse what is neither ``True`` nor ``False``, such as ``'False'`` or ``0``."""
    if not is_bool(value):
        name = key.split(' ')[0]
        raise wrong(key, 'True or False', value, f'{name}=True or {name}=False')


def check_int(key: str, value: object, least: int, remedy: str) -> None:
    """Refuse what is not an integer of at least ``least``."""
    if not is_int(value) or value < least:  # type: ignore[operator]
        wanted = 'a positive integer' if least == 1 else f'an integer of {least} or more'
        raise wrong(key, wanted, value, remedy)


def check_choice(key: str, value: object, choices: Iterable[str]) -> None:
    """Refuse a value that is not one of a few words; the error suggests the nearest."""
    choices = list(choices)
    if not isinstance(value, str) or value not in choices:
        raise ValueError(
            f'{key}={shown(value)} is unknown{did_you_mean(value, choices)}; write '
            + ' or '.join(map(repr, choices))
        )


def check_text(key: str, value: object) -> None:
    """Refuse what is neither a string nor ``None`` by a ``TypeError``."""
    if value is not None and not isinstance(value, str):
        plain = is_int(value) or isinstance(value, os.PathLike)
        raise TypeError(
            f'{key} must be a string, got {shown(value)} ({type(value).__name__}); write '
            + (repr(str(value)) if plain else 'a string, or leave it out')
        )


def check_keys_of(key: str, value: object, known: Sequence[str], example: str) -> None:
    """Refuse what is not a dict, and keys of it that are not known."""
    if not isinstance(value, Mapping):
        raise wrong(key, 'a dict', value, example)
    for name in value:
        if name not in known:
            raise ValueError(
                f'{key}.{name} is unknown{did_you_mean(name, known)}; the keys are '
                f'{", ".join(known)}'
            )


def refuse_unknown(
    unknown: Mapping[str, Any],
    init: Callable[..., None],
    elsewhere: Mapping[str, str] | None = None,
) -> None:
    """Refuse keys that a class does not have: say where they belong, or what is nearest.

    Args:
        unknown: Unknown keys and their values.
        init: The constructor, whose arguments but the last are the known keys.
        elsewhere: What to say of keys that belong elsewhere.
    """
    owner, elsewhere = init.__qualname__.rpartition('.')[0], elsewhere or {}
    known = list(signature(init).parameters)[1:-1]  # without self and **unknown
    for key, value in unknown.items():
        if key in elsewhere:
            remedy = elsewhere[key]
            raise ValueError(f'{key}={shown(value)} has no meaning for {owner}{remedy}')
        near = get_close_matches(key.lower(), [*known, *elsewhere], n=1)
        if near and near[0] not in known:  # a misspelt key that belongs elsewhere
            raise ValueError(f'{key!r} is not a key of {owner}{elsewhere[near[0]]}')
        raise ValueError(
            f'{key!r} is not a key of {owner}{did_you_mean(key, known)}; '
            + (f'its keys are {", ".join(known)}' if known else 'it has none')
        )
