"""Find the annotated images of a folder and decode them."""

from __future__ import annotations

import logging
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from mmengine.logging import print_log
from numpy.typing import NDArray

from mmdet_deeplake_plugin.tools.formats.voc import VocObject, read_voc

SUFFIXES = ('.png', '.jpg', '.jpeg', '.tif', '.tiff')


@dataclass(frozen=True)
class Source:
    """An image to cut: its file, its size in pixels and its objects with an area."""

    image: Path
    width: int
    height: int
    objects: list[VocObject]


def find_sources(folder: Path, names: Sequence[str] | None) -> list[Source]:
    """Find images that have a VOC XML file with the same stem.

    Args:
        folder: Folder of the images. The XML files lie beside them or in its subfolder
            ``Annotations``. Of several images with the same stem the first is taken,
            PNG before JPEG before TIFF.
        names: File names or stems of the images to take, or None for all that have an
            XML file.

    Returns:
        Sources, sorted by stem.

    Raises:
        FileNotFoundError: If there are none, or one of ``names`` has no XML file.
        ValueError: If ``names`` contains an unknown name, or an XML file is invalid.
    """
    if not folder.is_dir():
        raise FileNotFoundError(f'SRC_DIR {folder} does not exist')
    images = _images_by_stem(folder)
    if names is not None:
        stems = resolve_stems('--images', names, images.values())
        images = {stem: images[stem] for stem in sorted(stems)}
    xml_files = {stem: _xml_file(folder, stem) for stem in images}
    without = [image.name for stem, image in images.items() if not xml_files[stem]]
    if not images:
        raise FileNotFoundError(f'SRC_DIR {folder} contains no PNG, JPEG or TIFF image')
    if len(without) == len(images) or (without and names is not None):
        raise FileNotFoundError(
            f'SRC_DIR {folder}: {len(without)} of {len(images)} images have no VOC .xml '
            'file with the same stem, beside them or in Annotations; the first is '
            f'{without[0]!r}'
        )
    if without:
        print_log(
            f'Skipping {len(without)} images without .xml file: {", ".join(without)}',
            logger='current',
            level=logging.WARNING,
        )
    pairs = ((image, xml_files[stem]) for stem, image in images.items())
    return [_read_source(image, xml_file) for image, xml_file in pairs if xml_file]


def _images_by_stem(folder: Path) -> dict[str, Path]:
    images: dict[str, Path] = {}
    files = (path for path in folder.iterdir() if path.suffix.lower() in SUFFIXES)
    for path in sorted(files, key=lambda p: (SUFFIXES.index(p.suffix.lower()), p)):
        images.setdefault(path.stem, path)
    return dict(sorted(images.items()))


def _xml_file(folder: Path, stem: str) -> Path | None:
    candidates = (folder / f'{stem}.xml', folder / 'Annotations' / f'{stem}.xml')
    return next((path for path in candidates if path.is_file()), None)


def resolve_stems(
    option: str, names: Sequence[str], images: Collection[Path]
) -> set[str]:
    """Turn file names or stems, as passed by the user, into stems.

    Args:
        option: Command line option with the names, for the error message.
        names: File names or stems.
        images: The images that may be named.

    Returns:
        Their stems.

    Raises:
        ValueError: If a name does not match any image.
    """
    known = {image.stem: image.stem for image in images}
    known.update({image.name: image.stem for image in images})
    for name in names:
        if name not in known:
            raise ValueError(
                f'{option} names {name!r}, which is not one of the images: '
                f'{", ".join(sorted(image.name for image in images))}'
            )
    return {known[name] for name in names}


def _read_source(image: Path, xml_file: Path) -> Source:
    annotation = read_voc(xml_file)
    width, height = annotation.size or read_pixels(image).shape[1::-1]
    objects = [item for item in annotation.objects if _has_area(item)]
    dropped = len(annotation.objects) - len(objects)
    if dropped:
        print_log(
            f'{xml_file.name}: dropping {dropped} objects whose box has no area',
            logger='current',
            level=logging.WARNING,
        )
    return Source(image, width, height, objects)


def _has_area(item: VocObject) -> bool:
    left, top, right, bottom = item.corners
    return right > left and bottom > top


def read_pixels(image: Path) -> NDArray[np.uint8]:
    """Decode an image as the stock pipelines do, EXIF rotation included.

    Args:
        image: PNG, JPEG or TIFF file.

    Returns:
        Pixels in BGR, shape ``(height, width, 3)``.

    Raises:
        ValueError: If the file cannot be decoded.
    """
    try:
        pixels = cv2.imdecode(np.fromfile(image, np.uint8), cv2.IMREAD_COLOR)
    except cv2.error as error:
        raise ValueError(f'{image} cannot be decoded: {error}') from error
    if pixels is None:
        raise ValueError(f'{image} cannot be decoded as an image')
    return pixels.astype(np.uint8, copy=False)
