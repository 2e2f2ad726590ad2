"""Pascal VOC annotation files: one XML an image, objects with corner boxes.

Numbers are read as MMDetection's ``XMLDataset`` reads them: whole pixels, cut
off after the point, in VOC's own coordinates where the first pixel is 1.
"""

from __future__ import annotations

import xml.etree.ElementTree as ET
from dataclasses import dataclass
from pathlib import Path

CORNERS = ('xmin', 'ymin', 'xmax', 'ymax')


@dataclass(frozen=True)
class VocObject:
    """One object of an XML file.

    Args:
        name: Class name.
        corners: Left, top, right, bottom in pixels, the first pixel being 1.
        difficult: VOC's flag; MMDetection ignores such objects.
        truncated: Whether the object goes on outside of the image.
    """

    name: str
    corners: tuple[int, int, int, int]
    difficult: bool = False
    truncated: bool = False


@dataclass(frozen=True)
class VocAnnotation:
    """One XML file: the image's ``(width, height)``, if it says so, and objects."""

    size: tuple[int, int] | None
    objects: list[VocObject]


def read_voc(xml_file: Path) -> VocAnnotation:
    """Reads one annotation file.

    Args:
        xml_file: VOC XML file.

    Returns:
        Its content, objects in the order of the file.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is not XML, or an object lacks a name or a corner.
    """
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
    return VocAnnotation(width_height, objects)


def _read_object(element: ET.Element, where: str) -> VocObject:
    name = element.findtext('name')
    if not name:
        raise ValueError(f'{where} has no <name>')
    box = element.find('bndbox')
    if box is None:
        raise ValueError(f'{where} ({name}) has no <bndbox>')
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
        # Truncation instead of rounding is what XMLDataset does.
        return int(float(text or ''))
    except (ValueError, OverflowError) as error:
        raise ValueError(f'{where} needs a number in <{tag}>, found {text!r}') from error
