"""Find and check the PNG maps of a COCO file.

Panoptic maps are decoded, to compare their segments with those of the file; of semantic
maps only the header is read.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ...structures.image_format import image_format
from ...structures.image_header import UNKNOWN, header_size
from ...structures.seg_maps import decode_ids, segments_problem
from .._cli import with_progress
from .coco import CocoAnnotations, file_name
from .coco_panoptic import map_name

# How Cityscapes calls an image, and the map of its instance ids.
_CITYSCAPES = ('_leftImg8bit.png', '_gtFine_instanceIds.png')


def find_maps(
    ann_path: Path,
    coco: CocoAnnotations,
    panoptic_dir: str | os.PathLike[str] | None,
    seg_dir: str | os.PathLike[str] | None,
    seg_classes: Sequence[str],
    progress: bool,
) -> list[Path]:
    """Find and check the maps of all images.

    Args:
        ann_path: The annotation file.
        coco: Its content.
        panoptic_dir: Folder of the maps of a panoptic file, or None for the default.
        seg_dir: Folder of semantic maps, or None.
        seg_classes: Names of the labels of semantic maps.
        progress: Whether to draw a progress bar on stderr.

    Returns:
        One PNG per image; an empty list without maps.
    """
    if coco.entries is None and panoptic_dir is not None:
        raise ValueError(
            f'--panoptic-dir needs a panoptic file, but {ann_path} has no segments_info; '
            'for semantic maps write --seg-dir'
        )
    if coco.entries is not None and seg_dir is not None:
        raise ValueError(
            f'--seg-dir needs a file of instances, but {ann_path} is a panoptic file, '
            'which has its own maps; remove --seg-dir'
        )
    if seg_classes and seg_dir is None:
        raise ValueError(
            '--seg-classes names the labels of maps, but --seg-dir is missing; write both'
        )
    if coco.entries is not None:
        folder = ann_path.with_suffix('') if panoptic_dir is None else Path(panoptic_dir)
        if not folder.is_dir():
            raise FileNotFoundError(
                f'{ann_path} is a panoptic file, which needs the PNG maps with its '
                f'segments, but their folder {folder} does not exist; name it with '
                '--panoptic-dir'
            )
    elif seg_dir is not None:
        folder = Path(seg_dir)
    else:
        return []
    entries = coco.entries or {}
    files = [
        _map_of(folder, file_name(image), entries.get(image['id']))
        for image in coco.images
    ]
    jobs = list(zip(files, coco.images))
    for file, image in with_progress(jobs, len(jobs), 'checking maps', progress):
        ids = [ann['id'] for ann in coco.by_image[image['id']]]
        _check_map(file, image, None if coco.entries is None else ids)
    return files


def _map_of(folder: Path, name: str, entry: dict[str, Any] | None) -> Path:
    if entry is None and name.endswith(_CITYSCAPES[0]):
        file = folder / name.replace(*_CITYSCAPES)
        if file.is_file():
            return file
    return folder / map_name(name, entry)


def _check_map(file: Path, image: dict[str, Any], segment_ids: list[int] | None) -> None:
    """Check that a map matches its image and, if panoptic, its segments."""
    if not file.is_file():
        raise FileNotFoundError(
            f'the map {file} of image {file_name(image)!r} does not exist'
        )
    content = file.read_bytes()
    if image_format(content) != 'PNG':
        raise ValueError(f'{file} must be a PNG; other formats may lose labels')
    size, expected = header_size(content), (int(image['width']), int(image['height']))
    if size not in (expected, UNKNOWN):
        raise ValueError(
            f'{file} must have the size of its image, {expected[1]} x {expected[0]} '
            f'pixels (height x width), got {size[1]} x {size[0]}'
        )
    if segment_ids is None:
        return
    try:
        problem = segments_problem(decode_ids(content), segment_ids)
    except ValueError as error:
        raise ValueError(f'{file}: {error}') from error
    if problem:
        raise ValueError(
            f'{file} (image id {image["id"]!r}): {problem}; correct the map or the file'
        )
