"""Read the files of OpenImages: boxes, classes, their hierarchy, labels of images.

The boxes are a CSV file (V4 to V7), or the ``.txt`` file of the challenge.
"""

from __future__ import annotations

import csv
import json
from array import array
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from ...utils.messages import did_you_mean, warn
from .checks import check_file, read_text

FLAGS = {
    'is_occluded': 'IsOccluded',
    'is_truncated': 'IsTruncated',
    'is_group_of': 'IsGroupOf',
    'is_depiction': 'IsDepiction',
    'is_inside': 'IsInside',
}
CHALLENGE_FLAG = 'is_group_ofs'  # as OpenImagesChallengeDataset spells it
_REMEDY = '; write the path of the file'
_CORNERS = ('XMin', 'YMin', 'XMax', 'YMax')


# Id of an image -> labels and confidences, in the order of the file.
ImageLabels = dict[str, list[tuple[int, float]]]


@dataclass
class OpenImagesBoxes:
    """Boxes of images, in flat arrays, as millions of objects would fill the memory.

    Args:
        flags: Name of a flag -> its value for each box.
        files: File name of each image.
        counts: Number of boxes of each image.
        labels: Label of each box.
        corners: Left, top, right, bottom of each box, as fractions of the image.
    """

    flags: dict[str, array[int]]
    files: list[str] = field(default_factory=list)
    counts: array[int] = field(default_factory=lambda: array('q'))
    labels: array[int] = field(default_factory=lambda: array('i'))
    corners: array[float] = field(default_factory=lambda: array('d'))

    def add(self, label: int, corners: list[float], flags: list[bool]) -> None:
        """Add a box to the last image."""
        self.counts[-1] += 1
        self.labels.append(label)
        self.corners.extend(corners)
        for values, flag in zip(self.flags.values(), flags):
            values.append(flag)


def read_classes(path: Path, is_challenge: bool) -> tuple[list[str], dict[str, int]]:
    """Read the file that names the classes.

    Args:
        path: Lines of id and name; of the challenge also the number, from 1.
        is_challenge: Whether there are numbers, by which labels go.

    Returns:
        Names by label, unique, and id (such as ``/m/011k07``) -> label.
    """
    width = 3 if is_challenge else 2
    names, label_of = dict[int, str](), dict[str, int]()
    for where, line in _lines(path):
        if line[:2] == ['LabelName', 'DisplayName']:
            continue
        if len(line) < width or not line[0] or not line[1]:
            wanted = 'id, name and number' if is_challenge else 'id and name'
            raise ValueError(f'{where} must hold {wanted} of a class, got {line}')
        label = _whole(line[2], where) - 1 if is_challenge else len(names)
        if line[0] in label_of or label in names:
            raise ValueError(f'{where}: every class must occur once, got {line} again')
        name = line[1]
        if name in names.values():
            name = f'{name} ({line[0]})'
            warn(f'{where}: two classes are named {line[1]!r}; this one becomes {name!r}')
        label_of[line[0]], names[label] = label, name
    if not names or sorted(names) != list(range(len(names))):
        raise ValueError(f'{path} must number its classes 1, 2, …, without gaps')
    return [names[label] for label in range(len(names))], label_of


def read_hierarchy(path: Path, label_of: dict[str, int]) -> list[list[int]]:
    """Read which classes include others.

    Args:
        path: JSON file of nodes with ``LabelName`` and ``Subcategory``, or the array
            ``class_label_tree.np`` of the challenge.
        label_of: Id -> label.

    Returns:
        For each label, the labels that an instance also has, in ascending order.
    """
    check_file(path, 'file', _REMEDY)
    count = len(label_of)
    try:
        tree: Any = np.load(path, allow_pickle=False)
    except (ValueError, EOFError):
        tree = None
    if tree is not None:
        if tree.shape != (count + 1, count + 1):
            raise ValueError(
                f'{path} must have {count + 1} rows and columns, one more than there '
                f'are classes, got the shape {tree.shape}'
            )
        return [np.flatnonzero(line).tolist() for line in tree[1:, 1:]]
    try:
        root = json.loads(path.read_bytes())
    except ValueError as error:
        raise ValueError(
            f'{path} must be JSON, or an array without pickled objects: {error}'
        ) from error
    related = [{label} for label in range(count)]

    def visit(node: Any, parents: list[int]) -> None:
        children = node.get('Subcategory', []) if isinstance(node, dict) else None
        if not isinstance(children, list):
            raise ValueError(
                f'{path}: a node must be an object with LabelName and, if it includes '
                f'others, a list Subcategory, got {node!r:.80}'
            )
        for child in children:
            if not isinstance(child, dict) or 'LabelName' not in child:
                raise ValueError(f'{path}: a node must have LabelName, got {child!r:.80}')
            label = _label(child['LabelName'], label_of, str(path))
            related[label].update(parents)
            visit(child, [label, *parents])

    visit(root, [])
    return [sorted(labels) for labels in related]


def read_boxes(path: Path, label_of: dict[str, int]) -> OpenImagesBoxes:
    """Read a CSV file of boxes, whose lines must be grouped by image."""
    boxes = OpenImagesBoxes({name: array('B') for name in FLAGS})
    columns = ('ImageID', 'LabelName', *_CORNERS, *FLAGS.values())
    known: set[str] = set()
    last = ''
    for where, values in _records(path, columns):
        image_id, label, *others = values
        if image_id != last:
            if not image_id or image_id in known:
                raise ValueError(
                    f'{where}: the boxes of an image must follow each other, but '
                    f'{image_id!r} occurs again; sort the file by ImageID'
                )
            known.add(image_id)
            boxes.files.append(f'{image_id}.jpg')
            boxes.counts.append(0)
            last = image_id
        corners = [_fraction(each, where) for each in others[:4]]
        flags = [_flag(each, where) for each in others[4:]]
        boxes.add(_label(label, label_of, where), corners, flags)
    if not boxes.files:
        raise ValueError(f'{path} must have a line for each box, but has none')
    return boxes


def read_challenge(path: Path, num_classes: int) -> OpenImagesBoxes:
    """Read the text file of the challenge.

    Per image: file name, a line that is not read, number of boxes, and as many lines of
    label (from 1), corners and group-of flag.
    """
    boxes = OpenImagesBoxes({CHALLENGE_FLAG: array('B')})
    lines = read_text(path, 'file', _REMEDY).splitlines()
    at = 0
    while at < len(lines):
        where = f'{path}, line {at + 1}'
        name = lines[at].strip()
        if not name or at + 2 >= len(lines):
            raise ValueError(
                f'{where}: an image must have a file name, a line that is not read, and '
                f'the number of its boxes, got {lines[at : at + 3]}'
            )
        count = _whole(lines[at + 2], f'{path}, line {at + 3}')
        boxes.files.append(name)
        boxes.counts.append(0)
        at += 3 + count
        if count < 0 or at > len(lines):
            raise ValueError(f'{where}: {name} must have {count} boxes; the file ends')
        for number in range(at - count, at):
            where, parts = f'{path}, line {number + 1}', lines[number].split()
            if len(parts) != 6:
                raise ValueError(
                    f'{where} must hold label, four corners and a flag, got {parts}'
                )
            label = _whole(parts[0], where)
            if not 1 <= label <= num_classes:
                raise ValueError(
                    f'{where}: the label must be 1 to {num_classes}, got {label}'
                )
            corners = [_fraction(part, where) for part in parts[1:5]]
            boxes.add(label - 1, corners, [_flag(parts[5], where)])
    if len(set(boxes.files)) < len(boxes.files) or not boxes.files:
        raise ValueError(f'{path} must name each image once, and one or more')
    return boxes


def read_image_labels(path: Path, label_of: dict[str, int]) -> ImageLabels:
    """Read the labels of whole images that people verified, from a CSV file.

    Its columns are ImageID, LabelName and Confidence (1 if there, 0 if absent).
    """
    found: ImageLabels = {}
    columns = ('ImageID', 'LabelName', 'Confidence')
    for where, (image_id, label, confidence) in _records(path, columns):
        pair = _label(label, label_of, where), _fraction(confidence, where)
        found.setdefault(image_id, []).append(pair)
    return found


def _records(path: Path, columns: tuple[str, ...]) -> Iterator[tuple[str, list[str]]]:
    """Yield where each line stands, and its values of some columns."""
    lines = _lines(path)
    header = next(lines, ('', []))[1]
    missing = [name for name in columns if name not in header]
    if missing:
        raise ValueError(
            f'{path} must begin with a line that names its columns, but '
            f'{", ".join(missing)} are missing in {header}'
        )
    positions = [header.index(name) for name in columns]
    for where, line in lines:
        if len(line) < len(header):
            raise ValueError(f'{where} must have {len(header)} values, got {line}')
        yield where, [line[position] for position in positions]


def _lines(path: Path) -> Iterator[tuple[str, list[str]]]:
    check_file(path, 'file', _REMEDY)
    try:
        with path.open(encoding='utf-8-sig', newline='') as file:
            for number, line in enumerate(csv.reader(file), start=1):
                if line:
                    yield f'{path}, line {number}', line
    except (UnicodeDecodeError, csv.Error) as error:
        raise ValueError(f'{path} must be a CSV file in UTF-8: {error}') from error


def _label(text: Any, label_of: dict[str, int], where: str) -> int:
    if not isinstance(text, str) or text not in label_of:
        hint = did_you_mean(text, label_of)
        raise ValueError(f'{where}: {text!r} is not in the file of classes{hint}')
    return label_of[text]


def _whole(text: str, where: str) -> int:
    try:
        return int(text)
    except ValueError as error:
        raise ValueError(f'{where} must hold an integer, got {text!r}') from error


def _fraction(text: str, where: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = float('nan')
    if not 0 <= value <= 1:
        raise ValueError(f'{where} must hold a fraction from 0 to 1, got {text!r}')
    return value


def _flag(text: str, where: str) -> bool:
    if text.strip() not in ('0', '1', '-1'):
        raise ValueError(f'{where}: a flag must be 0, 1 or -1 (unknown), got {text!r}')
    return text.strip() == '1'
