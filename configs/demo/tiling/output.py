"""Write tiles: a JPEG and a VOC XML file each."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np

from mmdet_deeplake_plugin.tools.formats.voc import CORNERS, VocObject

from .geometry import Region, clip_boxes
from .sources import Source, read_pixels

JPEG_QUALITY = 95


def write_tiles(
    folder: Path,
    sources: list[Source],
    tiles: Iterator[tuple[int, Region]],
    min_visibility: float,
) -> Iterator[tuple[str, int]]:
    """Write tiles, sorted by source, to a VOC folder.

    Args:
        folder: Folder with the subfolders ``JPEGImages`` and ``Annotations``.
        sources: Images to cut.
        tiles: Index of the source and region of each tile.
        min_visibility: See :func:`.clip_boxes`.

    Yields:
        Name and number of objects of each tile.

    Raises:
        ValueError: If an image cannot be decoded or its size is not that of its XML
            file.
    """
    current, pixels = -1, np.empty((0, 0, 3), np.uint8)
    for index, region in tiles:
        source = sources[index]
        if index != current:
            current, pixels = index, read_pixels(source.image)
            if pixels.shape[1::-1] != (source.width, source.height):
                raise ValueError(
                    f'{source.image} has {pixels.shape[1]}x{pixels.shape[0]} pixels, '
                    f'but its XML file says {source.width}x{source.height}'
                )
        name = f'{source.image.stem}_{region.left}_{region.top}'
        objects = _tile_objects(source.objects, region, min_visibility)
        rows = slice(region.top, region.top + region.height)
        columns = slice(region.left, region.left + region.width)
        quality = [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY]
        _, encoded = cv2.imencode('.jpg', pixels[rows, columns], quality)
        (folder / 'JPEGImages' / f'{name}.jpg').write_bytes(encoded.tobytes())
        write_voc(
            folder / 'Annotations' / f'{name}.xml',
            f'{name}.jpg',
            (region.width, region.height),
            objects,
        )
        yield name, len(objects)


def _tile_objects(
    objects: list[VocObject], region: Region, min_visibility: float
) -> list[VocObject]:
    corners = np.array([item.corners for item in objects], np.int64).reshape(-1, 4)
    kept, clipped = clip_boxes(corners, region, min_visibility)
    offset = np.array([region.left, region.top] * 2)
    cut = (clipped + offset != corners[kept]).any(axis=1)
    return [
        replace(
            objects[index],
            corners=(int(box[0]), int(box[1]), int(box[2]), int(box[3])),
            truncated=objects[index].truncated or bool(is_cut),
        )
        for index, box, is_cut in zip(kept, clipped, cut)
    ]


def write_voc(
    xml_file: Path, image_name: str, size: tuple[int, int], objects: list[VocObject]
) -> None:
    """Write the VOC annotation file of a three-channel image.

    Args:
        xml_file: File to write.
        image_name: File name of the image.
        size: Width and height in pixels.
        objects: Objects in VOC coordinates.
    """
    root = ET.Element('annotation')
    _add(root, 'folder', 'JPEGImages')
    _add(root, 'filename', image_name)
    size_element = ET.SubElement(root, 'size')
    for tag, value in zip(('width', 'height', 'depth'), (*size, 3)):
        _add(size_element, tag, value)
    _add(root, 'segmented', 0)
    for item in objects:
        element = ET.SubElement(root, 'object')
        _add(element, 'name', item.name)
        _add(element, 'pose', 'Unspecified')
        _add(element, 'truncated', int(item.truncated))
        _add(element, 'difficult', int(item.difficult))
        box = ET.SubElement(element, 'bndbox')
        for corner, value in zip(CORNERS, item.corners):
            _add(box, corner, value)
    ET.indent(root)
    ET.ElementTree(root).write(xml_file, encoding='utf-8')


def _add(parent: ET.Element, tag: str, value: object) -> None:
    ET.SubElement(parent, tag).text = str(value)
