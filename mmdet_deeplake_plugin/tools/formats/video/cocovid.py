"""Find what a CocoVID file has beside a COCO file: frames of videos, and objects."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from ....lake import names
from ..coco_checks import is_int64, is_number


def frame_numbers(images: Sequence[dict[str, Any]]) -> tuple[str, ...]:
    """Return the keys of images that say which frame of which video they are.

    Args:
        images: ``images`` of a COCO file.

    Returns:
        The keys, or that of persons; none if an image is neither.
    """
    for keys in ((names.VIDEO_ID, names.FRAME_ID), (names.PERSON_ID,)):
        if all(is_int64(image.get(key)) for image in images for key in keys):
            return keys
    return ()


def track_numbers(
    images: Sequence[dict[str, Any]], by_image: Iterable[list[dict[str, Any]]]
) -> dict[str, str]:
    """Return the keys with numbers of the objects in the frames of a CocoVID file.

    Args:
        images: ``images`` of a COCO file.
        by_image: Annotations of each image.

    Returns:
        Key -> dtype of its column; nothing for a file of images.

    Raises:
        ValueError: If some annotations have a number and others have not.
    """
    if names.VIDEO_ID not in frame_numbers(images):
        return {}
    annotations = [ann for part in by_image for ann in part]
    found = {key for ann in annotations for key in ann}
    if not annotations:
        found = {names.INSTANCE_ID}
    dtypes = {
        key: names.TRACK_NUMBERS[key] for key in names.TRACK_NUMBERS if key in found
    }
    for key, dtype in dtypes.items():
        fits, wanted = (
            (is_int64, 'an integer')
            if dtype == 'int64'
            else (is_number, 'a finite number')
        )
        for ann in annotations:
            if not fits(ann.get(key)):
                raise ValueError(
                    f'the annotation with id {ann["id"]} must have {wanted} {key!r}, as '
                    f'others have, got {ann.get(key)!r}; write one for each annotation, '
                    'or for none'
                )
    return dtypes
