"""Write a CocoVID file, or what was read as one, as a lake with a row per frame."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from ..._converter import Destination
from ..coco import check_coco
from ..coco_layout import annotated_images, coco_layout
from ..images import stored_size


def import_frames(
    converter: str,
    content: dict[str, Any],
    source: Path,
    image_folder: Path,
    target: Destination,
) -> str:
    """Check and write frames, and return a sentence that says what was written.

    Args:
        converter: Module that writes the lake.
        content: Content of a CocoVID file.
        source: Where it comes from, for messages.
        image_folder: Folder to which ``file_name`` s are relative.
        target: The lake to write.
    """
    coco = check_coco(content, source)
    layout = coco_layout(coco, image_folder, None, False, ())
    for image in coco.images:
        if image.get('frame_id') == 0:  # the frames of a video are alike
            file = image_folder / image['file_name']
            size = image['width'], image['height']
            found = stored_size(file.read_bytes(), image['file_name'])
            if found != size:
                raise ValueError(
                    f'{file} must have the size of its video, {size[0]}x{size[1]}, but '
                    f'has {found[0]}x{found[1]}; correct the annotations or the image'
                )
    summary = f'{len(coco.images)} images from {source.name}'
    if 'videos' in content:
        objects = {ann['instance_id'] for ann in content['annotations']}
        summary = (
            f'{len(content["videos"])} videos, {len(coco.images)} frames, {len(objects)} '
            f'objects, {len(coco.annotations)} boxes from {source.name}'
        )
    layout = replace(layout, converter=converter)
    images = annotated_images(coco, [], None)
    return target.write(layout, image_folder, images, len(coco.images), summary)
