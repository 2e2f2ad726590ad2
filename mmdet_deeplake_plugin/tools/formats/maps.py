"""Finds the PNG maps that go with a COCO file, and checks all before any is stored.

Panoptic maps are decoded, to compare their segments with the file's; of semantic ones
the header alone is read.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mmdet_deeplake_plugin.structures.image_header import UNKNOWN, header_size
from mmdet_deeplake_plugin.structures.seg_maps import decode_ids, segments_problem
from mmdet_deeplake_plugin.tools._cli import with_progress
from mmdet_deeplake_plugin.tools.formats.coco import CocoAnnotations, file_name
from mmdet_deeplake_plugin.tools.formats.coco_panoptic import map_name

_PNG = b'\x89PNG\r\n\x1a\n'


def find_maps(
    ann_path: Path,
    coco: CocoAnnotations,
    panoptic_dir: str | os.PathLike[str] | None,
    seg_dir: str | os.PathLike[str] | None,
    seg_classes: Sequence[str],
    progress: bool,
) -> list[Path]:
    """Finds and checks the maps of all images.

    Args:
        ann_path: The annotation file.
        coco: Its content.
        panoptic_dir: Folder of a panoptic file's maps, if the user named it.
        seg_dir: Folder of semantic maps, if the user named it.
        seg_classes: Names of the labels of semantic maps.
        progress: Whether to draw a progress bar on stderr.

    Returns:
        A PNG for each image; an empty list if there are no maps.

    Raises:
        FileNotFoundError: If a folder or a map is not there.
        ValueError: If an option does not fit the file, or a map its image or segments.
    """
    if coco.entries is None and panoptic_dir is not None:
        raise ValueError(
            f'--panoptic-dir is given, but {ann_path} has no segments_info; for maps of '
            'stuff write --seg-dir'
        )
    if coco.entries is not None and seg_dir is not None:
        raise ValueError(
            f'--seg-dir is given, but {ann_path} is a panoptic file, which has maps of '
            'its own; leave it out'
        )
    if seg_classes and seg_dir is None:
        raise ValueError('--seg-classes names the labels of maps; write --seg-dir too')
    if coco.entries is not None:
        given = None if panoptic_dir is None else Path(panoptic_dir)
        folder = _find_folder(ann_path, given)
    elif seg_dir is not None:
        folder = Path(seg_dir)
    else:
        return []
    entries = coco.entries or {}
    files = [
        folder / map_name(file_name(image), entries.get(image['id']))
        for image in coco.images
    ]
    jobs = list(zip(files, coco.images))
    for file, image in with_progress(jobs, len(jobs), 'checking maps', progress):
        ids = [ann['id'] for ann in coco.by_image[image['id']]]
        _check_map(file, image, None if coco.entries is None else ids)
    return files


def _find_folder(ann_file: Path, given: Path | None) -> Path:
    """The folder with the PNG maps of a panoptic file."""
    folder = ann_file.with_suffix('') if given is None else given
    if not folder.is_dir():
        raise FileNotFoundError(
            f'{ann_file} is a panoptic file, whose segments are pixels of PNG maps, but '
            f'the folder {folder} does not exist; name it by --panoptic-dir'
        )
    return folder


def _check_map(file: Path, image: dict[str, Any], segment_ids: list[int] | None) -> None:
    """Refuses a map that does not fit its image or, if panoptic, its segments."""
    if not file.is_file():
        raise FileNotFoundError(
            f'the map {file} of image {file_name(image)!r} does not exist'
        )
    content = file.read_bytes()
    if not content.startswith(_PNG):
        raise ValueError(f'{file} is no PNG; maps must be stored without loss, as PNG')
    size, wanted = header_size(content), (int(image['width']), int(image['height']))
    if size not in (wanted, UNKNOWN):
        raise ValueError(
            f'{file} has {size[1]} x {size[0]} pixels (height x width), but its image '
            f'{wanted[1]} x {wanted[0]}; they must be equal'
        )
    if segment_ids is None:
        return
    try:
        problem = segments_problem(decode_ids(content), segment_ids)
    except ValueError as error:
        raise ValueError(f'{file}: {error}') from error
    if problem:
        raise ValueError(f'{file} (image id {image["id"]!r}): {problem}; correct either')
