"""Check values of annotation files that hold texts; each error says where and what."""

from __future__ import annotations

import json
import pickle
from pathlib import Path
from typing import Any

import numpy as np

from ....utils.values import is_int, is_number, shown
from ..coco_checks import check_storable, is_int64


def read_json(path: Path, what: str) -> Any:
    """Read a JSON file.

    Args:
        path: The file.
        what: What it is, for messages.

    Raises:
        FileNotFoundError: If it does not exist.
        ValueError: If it is not JSON.
    """
    if not path.is_file():
        raise FileNotFoundError(f'{what} {path} does not exist')
    try:
        return json.loads(path.read_text(encoding='utf-8'))
    except ValueError as error:
        raise ValueError(f'{path} is not a JSON file: {error}') from error


_NUMPY = ('scalar', 'dtype', 'ndarray', '_reconstruct')


class _PlainValues(pickle.Unpickler):
    """Loads lists, dicts, texts, numbers and arrays; nothing that runs code."""

    def find_class(self, module: str, name: str) -> Any:
        if module.partition('.')[0] == 'numpy' and name in _NUMPY:
            return super().find_class(module, name)
        raise pickle.UnpicklingError(f'it holds {module}.{name}')


def read_pickle(path: Path, what: str) -> Any:
    """Read a pickle of lists, dicts, texts and numbers.

    Args:
        path: The file.
        what: What it is, for messages.

    Raises:
        FileNotFoundError: If it does not exist.
        ValueError: If it is not a pickle, or holds anything else.
    """
    if not path.is_file():
        raise FileNotFoundError(f'{what} {path} does not exist')
    with path.open('rb') as file:
        try:
            return _PlainValues(file).load()
        except Exception as error:  # whatever its bytes mean
            raise ValueError(
                f'{path} must be a pickle of lists, dicts, texts and numbers: {error}'
            ) from error


def key_of(record: Any, key: str, kind: type, where: str, wanted: str) -> Any:
    """Return a value of a record.

    Args:
        record: Should be a dict.
        key: Key of the value.
        kind: Type that the value must have.
        where: Where the record stands, for messages.
        wanted: What the value must be.

    Raises:
        ValueError: If the record is not a dict, or the value has another type.
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
    """Return width and height of an image in pixels.

    Raises:
        ValueError: If one is not a positive integer.
    """
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
        order: What the numbers are, for the message.
        where: Where the box stands.

    Raises:
        ValueError: If it is something else.
    """
    fits = isinstance(box, list) and len(box) == 4
    if not fits or not all(is_number(each) and abs(each) < 2**53 for each in box):
        raise ValueError(
            f'{where} must be four finite numbers ({order} in pixels), got {shown(box)}'
        )
    return box


def check_spans(spans: Any, text: str, where: str) -> None:
    """Refuse what does not name parts of a text.

    Args:
        spans: Should be a list of pairs of first and last position.
        text: The text.
        where: Where the value stands.

    Raises:
        ValueError: If it is something else, or reaches beyond the text.
    """
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
