"""Read annotation files and check their values.

A file that does not exist is a ``FileNotFoundError``, anything wrong in one a
``ValueError`` that says where it stands, what must be there and what is.
"""

from __future__ import annotations

import json
import pickle
from collections import Counter
from collections.abc import Container, Iterable
from pathlib import Path
from typing import Any, TypeGuard

import numpy as np

from ...utils.values import is_int, is_number, shown

LTWH = 'left, top, width, height in pixels'
LTRB = 'left, top, right, bottom in pixels'
_NUMPY = ('scalar', 'dtype', 'ndarray', '_reconstruct')


def check_file(path: Path, what: str = 'annotation file', remedy: str = '') -> None:
    """Refuse a file that does not exist."""
    if not path.is_file():
        raise FileNotFoundError(f'{what} {path} does not exist{remedy}')


def read_text(path: Path, what: str = 'annotation file', remedy: str = '') -> str:
    """Read a text file."""
    check_file(path, what, remedy)
    try:
        return path.read_text(encoding='utf-8-sig')
    except UnicodeDecodeError as error:
        raise ValueError(f'{path} must be a text file in UTF-8: {error}') from error


def parse_json(line: str | bytes, where: str) -> Any:
    """Read JSON of a line."""
    try:
        return json.loads(line)
    except ValueError as error:
        raise ValueError(f'{where} is not JSON: {error}') from error


def read_json(path: Path, what: str = 'annotation file') -> Any:
    """Read a JSON file."""
    check_file(path, what)
    try:
        return json.loads(path.read_text(encoding='utf-8-sig'))
    except ValueError as error:
        raise ValueError(f'{path} is not a JSON file: {error}') from error


class _PlainValues(pickle.Unpickler):
    """Loads lists, dicts, texts, numbers and arrays; nothing that runs code."""

    def find_class(self, module: str, name: str) -> Any:
        if module.partition('.')[0] == 'numpy' and name in _NUMPY:
            return super().find_class(module, name)
        raise pickle.UnpicklingError(f'it holds {module}.{name}')


def read_pickle(path: Path, what: str) -> Any:
    """Read a pickle of lists, dicts, texts and numbers, which refuses anything else."""
    check_file(path, what)
    with path.open('rb') as file:
        try:
            return _PlainValues(file).load()
        except Exception as error:  # whatever its bytes mean
            raise ValueError(
                f'{path} must be a pickle of lists, dicts, texts and numbers: {error}'
            ) from error


def is_int64(value: Any) -> bool:
    """Return whether a value is an integer of at most 64 bits."""
    return is_int(value) and -(2**63) <= value < 2**63


def is_id(value: Any) -> bool:
    """Return whether a value can be an id: an integer of 64 bits or a text."""
    return is_int64(value) or (isinstance(value, str) and bool(value))


def is_id_of(value: Any, known: Container[Any]) -> bool:
    """Return whether a value is one of some ids, which True is not."""
    return (is_int(value) or isinstance(value, str)) and value in known


def are_dicts(value: Any) -> TypeGuard[list[dict[str, Any]]]:
    """Return whether a value is a list of dicts."""
    return isinstance(value, list) and all(isinstance(item, dict) for item in value)


def key_of(record: Any, key: str, kind: type, where: str, wanted: str) -> Any:
    """Return a value of a record.

    Args:
        record: Should be a dict.
        key: Key of the value.
        kind: Type that the value must have; texts must not be empty.
        where: Where the record stands.
        wanted: What the value must be.
    """
    if not isinstance(record, dict):
        raise ValueError(f'{where} must be an object, got {shown(record)}')
    value = record.get(key)
    value = value.item() if isinstance(value, np.generic) else value
    right = is_int64(value) if kind is int else isinstance(value, kind)
    if not right or (kind is str and not value):
        raise ValueError(f'{where}: {key} must be {wanted}, got {shown(value)}')
    check_storable(f'{where}: {key}', value)
    return value


def image_size(record: Any, where: str) -> tuple[int, int]:
    """Return width and height of an image in pixels."""
    sizes = []
    for key in ('width', 'height'):
        value = key_of(record, key, int, where, 'a positive integer of pixels')
        if not 0 < value < 2**31:
            raise ValueError(
                f'{where}: {key} must be a positive integer of pixels, got {value}'
            )
        sizes.append(value)
    return sizes[0], sizes[1]


def check_box(box: Any, order: str, where: str) -> list[float]:
    """Return a box, checked to be four finite numbers.

    Args:
        box: The box.
        order: What the numbers are, such as :data:`LTWH`.
        where: Where the box stands.
    """
    fits = isinstance(box, list) and len(box) == 4
    if not fits or not all(is_number(each) and abs(each) < 2**53 for each in box):
        raise ValueError(
            f'{where} must be four finite numbers ({order}), got {shown(box)}'
        )
    return box


def check_spans(spans: Any, text: str, where: str) -> None:
    """Refuse what is not a list of pairs of first and last position in a text."""
    is_pairs = isinstance(spans, list) and all(
        isinstance(each, list) and len(each) == 2 and all(map(is_int, each))
        for each in spans
    )
    if not is_pairs or not spans:
        raise ValueError(
            f'{where} must be a list of pairs of first and last position in the caption, '
            f'got {shown(spans)}; write for example [[0, 5]]'
        )
    for start, end in spans:
        if not 0 <= start < end <= len(text):
            raise ValueError(
                f'{where}: the positions must lie in the caption of {len(text)} '
                f'characters, the first before the last, got {[start, end]}'
            )


def check_storable(where: str, value: Any) -> None:
    """Refuse what neither JSON nor UTF-8 holds: NaN, infinity, halves of characters."""
    try:
        json.dumps(value, ensure_ascii=False, allow_nan=False).encode()
    except ValueError as error:
        for key, part in value.items() if isinstance(value, dict) else ():
            check_storable(f'{where}: {key!r}', part)
        if not isinstance(error, UnicodeEncodeError):
            raise ValueError(
                f'{where} has a number that is NaN or infinite, which JSON does not '
                'allow; write null, or leave the key out'
            ) from None
        raise ValueError(
            f'{where} has a text that is not Unicode, {error.object[error.start]!r}; '
            'write whole characters'
        ) from None


def check_distinct(where: str, what: str, values: Iterable[Any]) -> None:
    """Refuse values that occur more than once; ``what`` they are is in the plural."""
    repeated = [value for value, count in Counter(values).items() if count > 1]
    if repeated:
        raise ValueError(
            f'{where} must have distinct {what}, but {len(repeated)} occur more than '
            f'once; the first is {repeated[0]}'
        )
