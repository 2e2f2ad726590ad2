"""Read and write ODVG files: in each line a JSON object for an image.

Its ``detection`` has boxes with labels, named by a label map; its ``grounding`` has a
caption and regions, each a phrase of the caption with boxes.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ....lake import names
from ....utils.values import is_int, shown
from ..._converter import AnnotatedImage
from ..checks import (
    LTRB,
    check_box,
    check_file,
    check_spans,
    image_size,
    key_of,
    parse_json,
    read_json,
)
from ..files import as_json

_OTHER = {
    'grounding': 'for a file of detections write --label-map',
    'detection': 'for a file of captions leave out --label-map',
}


def read_label_map(path: Path) -> list[str]:
    """Read the names of the labels from JSON of an object ``{"0": "cat", …}``."""
    content = read_json(path, 'label map')
    keys = list(content) if isinstance(content, dict) else []
    if not keys or sorted(keys) != sorted(map(str, range(len(keys)))):
        raise ValueError(
            f'{path} must be a JSON object of all labels from "0" and their names, got '
            f'{shown(content)}; write {{"0": "cat", "1": "dog"}}'
        )
    names = [content[str(label)] for label in range(len(keys))]
    for label, name in enumerate(names):
        if not isinstance(name, str) or not name:
            raise ValueError(
                f'{path}: the name of label {label} must be a text, got {shown(name)}'
            )
    name, count = Counter(names).most_common(1)[0]
    if count > 1:
        raise ValueError(
            f'{path}: names must be unique, but {count} labels are {name!r}; rename '
            'them, or merge them in both files'
        )
    return names


def read_odvg(path: Path, num_labels: int | None) -> Iterator[AnnotatedImage]:
    """Yield the images of a file, in the order of its lines.

    Args:
        path: The file.
        num_labels: Number of labels for detections; ``None`` for captions.
    """
    check_file(path)
    number = 0
    with path.open('rb') as file:
        for number, line in enumerate(file, start=1):
            where = f'{path}, line {number}'
            yield _read(number - 1, parse_json(line, where), num_labels, where)
    if not number:
        raise ValueError(f'{path} must have a line for each image, but is empty')


def _read(
    image_id: int, record: Any, num_labels: int | None, where: str
) -> AnnotatedImage:
    name = key_of(record, 'filename', str, where, 'the path of the image')
    kinds = ('grounding', 'detection')
    wanted, other = kinds if num_labels is None else kinds[::-1]
    if wanted not in record and (num_labels is None or other in record):
        raise ValueError(
            f'{where} must have {wanted!r}, got {", ".join(record)}; {_OTHER[wanted]}'
        )
    boxes: list[list[float]] = []
    labels, phrases, caption = [], [], ''
    if num_labels is not None:
        for place, found in _list(record.get(wanted, {}), 'instances', where):
            boxes.append(check_box(found.get('bbox'), LTRB, f'{place}.bbox'))
            labels.append(_label(found.get('label'), num_labels, place))
    else:
        grounding = record[wanted]
        caption = key_of(grounding, 'caption', str, f'{where}: {wanted}', 'a text')
        for place, found in _list(grounding, 'regions', where):
            given: Any = found.get('bbox')
            nested = isinstance(given, list) and given and isinstance(given[0], list)
            new = [
                check_box(box, LTRB, f'{place}.bbox')
                for box in (given if nested else [given])
            ]
            phrase = found.get('phrase')
            if not isinstance(phrase, (str, list)) or not phrase:
                raise ValueError(
                    f'{place}.phrase must be a text or a list of texts, got '
                    f'{shown(phrase)}'
                )
            spans = found.get('tokens_positive')
            check_spans(spans, caption, f'{place}.tokens_positive')
            numbers = list(range(len(boxes), len(boxes) + len(new)))
            phrases.append({'phrase': phrase, 'tokens_positive': spans, 'boxes': numbers})
            boxes += new
        labels = [0] * len(boxes)
    texts = {names.TEXT: caption, names.PHRASES: as_json(phrases)}
    size = image_size(record, where)
    return AnnotatedImage(image_id, name, boxes, labels, size, texts)


def _list(record: Any, key: str, where: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the place and the content of each item of a list of objects."""
    items = record.get(key, []) if isinstance(record, dict) else None
    if not isinstance(items, list):
        raise ValueError(f'{where}: {key} must be a list of objects, got {shown(record)}')
    for index, item in enumerate(items):
        place = f'{where}: {key}[{index}]'
        if not isinstance(item, dict):
            raise ValueError(f'{place} must be an object, got {shown(item)}')
        yield place, item


def _label(value: Any, num_labels: int, where: str) -> int:
    label = int(value) if isinstance(value, str) and value.isdecimal() else value
    if not is_int(label) or not 0 <= label < num_labels:
        raise ValueError(
            f'{where}.label must be one of the label map, 0 to {num_labels - 1}, got '
            f'{shown(value)}'
        )
    return label


def detection_line(
    name: str,
    size: tuple[int, int],
    boxes: NDArray[np.float64],
    labels: NDArray[np.int64],
    names: Sequence[str],
) -> str:
    """Return the line of an image with detections.

    Args:
        name: Path of the image in its folder.
        size: Width and height in pixels.
        boxes: Corners in pixels, shape ``(N, 4)``.
        labels: Their labels, shape ``(N,)``.
        names: Name of each label.
    """
    instances = [
        {'bbox': box, 'label': label, 'category': names[label]}
        for box, label in zip(boxes.tolist(), labels.tolist())
    ]
    return _line(name, size, {'detection': {'instances': instances}})


def grounding_line(
    name: str,
    size: tuple[int, int],
    boxes: NDArray[np.float64],
    caption: str,
    phrases: Sequence[dict[str, Any]],
) -> str:
    """Return the line of an image with a caption, see :func:`detection_line`.

    ``phrases`` are those of the caption, with indices of their boxes.
    """
    regions = []
    for phrase in phrases:
        found = boxes[phrase['boxes']].tolist()
        region = {key: value for key, value in phrase.items() if key != 'boxes'}
        regions.append({'bbox': found[0] if len(found) == 1 else found, **region})
    return _line(name, size, {'grounding': {'caption': caption, 'regions': regions}})


def _line(name: str, size: tuple[int, int], content: dict[str, Any]) -> str:
    width, height = size
    return as_json({'filename': name, 'height': height, 'width': width, **content})
