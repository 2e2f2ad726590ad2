"""Read Pascal VOC splits and annotation files: one XML per image, with corner boxes.

Numbers are read as in MMDetection's ``XMLDataset``: truncated to whole pixels, in VOC
coordinates, where the first pixel is 1.
"""

from __future__ import annotations

import xml.etree.ElementTree as ET
from dataclasses import dataclass
from pathlib import Path

from .checks import check_distinct, read_text

CORNERS = ('xmin', 'ymin', 'xmax', 'ymax')


@dataclass(frozen=True)
class VocObject:
    """One object of an XML file.

    Args:
        name: Class name.
        corners: Left, top, right, bottom in pixels, where the first pixel is 1.
        difficult: VOC's flag; MMDetection ignores such objects.
        truncated: Whether the object extends beyond the image.
    """

    name: str
    corners: tuple[int, int, int, int]
    difficult: bool = False
    truncated: bool = False


@dataclass(frozen=True)
class VocAnnotation:
    """One XML file: the image's ``(width, height)`` and folder, if stated; objects."""

    size: tuple[int, int] | None
    objects: list[VocObject]
    folder: str = ''


def read_split(root: Path, split: str) -> tuple[Path, list[str]]:
    """Return the file of a split and its image ids, in the order of the file.

    Args:
        root: Folder of the dataset.
        split: Name of a file in ``ImageSets/Main``, or path of a ``.txt`` file.
    """
    path, where = Path(split), root / 'ImageSets' / 'Main'
    if path.suffix != '.txt':
        path = where / f'{split}.txt'
    remedy = f'; pass the name of a file in {where} or the path of a .txt file'
    lines = read_text(path, 'split file', remedy).splitlines()
    image_ids = [line.strip() for line in lines if line.strip()]
    if not image_ids:
        raise ValueError(f'split file {path} must not be empty')
    check_distinct(f'split file {path}', 'image ids', map(repr, image_ids))
    return path, image_ids


def read_voc(xml_file: Path) -> VocAnnotation:
    """Read an annotation file, whose objects keep their order."""
    try:
        root = ET.parse(xml_file).getroot()
    except ET.ParseError as error:
        raise ValueError(f'{xml_file} is not an XML file: {error}') from error
    size = root.find('size')
    width_height = None
    if size is not None:
        where = f'{xml_file}: <size>'
        width_height = _integer(size, 'width', where), _integer(size, 'height', where)
    objects = [
        _read_object(element, f'{xml_file}: object {index}')
        for index, element in enumerate(root.findall('object'))
    ]
    return VocAnnotation(width_height, objects, root.findtext('folder') or '')


def _read_object(element: ET.Element, where: str) -> VocObject:
    name = element.findtext('name')
    if not name:
        raise ValueError(f'{where} must have a <name>')
    box = element.find('bndbox')
    if box is None:
        raise ValueError(f'{where} ({name}) must have a <bndbox>')
    left, top, right, bottom = (
        _integer(box, corner, f'{where} ({name})') for corner in CORNERS
    )
    return VocObject(
        name=name,
        corners=(left, top, right, bottom),
        difficult=_flag(element, 'difficult', where),
        truncated=_flag(element, 'truncated', where),
    )


def _flag(element: ET.Element, tag: str, where: str) -> bool:
    return element.find(tag) is not None and _integer(element, tag, where) != 0


def _integer(element: ET.Element, tag: str, where: str) -> int:
    text = element.findtext(tag)
    try:
        # XMLDataset truncates too, instead of rounding.
        return int(float(text or ''))
    except (ValueError, OverflowError) as error:
        raise ValueError(
            f'{where} must have a number in <{tag}>, got {text!r}'
        ) from error
