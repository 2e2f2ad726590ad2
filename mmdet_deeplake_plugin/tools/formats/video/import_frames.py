"""Write a CocoVID file, or what was read as one, as a lake with a row per frame."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from ....lake import write_lake
from ..._cli import with_progress
from ..coco import check_coco
from ..coco_layout import coco_layout, coco_rows
from ..images import stored_size


def import_frames(
    converter: str,
    content: dict[str, Any],
    source: Path,
    image_folder: Path,
    url: str,
    overwrite: bool,
    progress: bool,
    credentials: Any,
) -> str:
    """Check and write frames, and return a sentence that says what was written.

    Args:
        converter: Module that writes the lake.
        content: Content of a CocoVID file.
        source: Where it comes from, for messages.
        image_folder: Folder to which ``file_name`` s are relative.
        url: Any Deep Lake URL to write to.
        overwrite: Whether to replace an existing lake.
        progress: Whether to draw a progress bar on stderr.
        credentials: ``deeplake_credentials`` of a config.

    Raises:
        FileNotFoundError: If a frame is missing.
        ValueError: If the content is not consistent, or a frame has another size.
        OSError: If the storage fails.
    """
    coco = check_coco(content, source)
    layout = coco_layout(coco, image_folder, None, False, ())
    for image in coco.images:
        if image.get('frame_id') == 0:  # the frames of a video are alike
            _check_size(image_folder, image)
    summary = f'{len(coco.images)} images from {source.name}'
    if 'videos' in content:
        objects = {ann['instance_id'] for ann in content['annotations']}
        summary = (
            f'{len(content["videos"])} videos, {len(coco.images)} frames, {len(objects)} '
            f'objects, {coco.num_boxes} boxes from {source.name}'
        )
    layout = replace(layout, converter=converter)
    rows = coco_rows(coco, image_folder, layout, [], None)
    rows = with_progress(rows, len(coco.images), 'writing images', progress)
    write_lake(url, layout, rows, f'Imported {summary}', overwrite, credentials)
    return f'{url}: wrote {summary}'


def _check_size(folder: Path, image: dict[str, Any]) -> None:
    name, size = image['file_name'], (image['width'], image['height'])
    found = stored_size((folder / name).read_bytes(), name)
    if found != size:
        raise ValueError(
            f'{folder / name} must have the size of its video, {size[0]}x{size[1]}, but '
            f'has {found[0]}x{found[1]}; correct the annotations or the image'
        )
