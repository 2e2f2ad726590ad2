"""Find what a CocoVID file has beside a COCO file: frames of videos, and objects."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ....lake import names
from ..checks import is_int64
from ..coco_checks import is_number


def frame_numbers(images: Sequence[dict[str, Any]]) -> tuple[str, ...]:
    """Return the keys that say which frame of which video, or which person, images are.

    There are none if an image is neither.
    """
    for keys in ((names.VIDEO_ID, names.FRAME_ID), (names.PERSON_ID,)):
        if all(is_int64(image.get(key)) for image in images for key in keys):
            return keys
    return ()


def track_numbers(
    images: Sequence[dict[str, Any]], annotations: Sequence[dict[str, Any]]
) -> dict[str, str]:
    """Return the keys with numbers of objects in frames, and the dtypes of their columns.

    A file of images has none. It is an error if some annotations have an ``instance_id``
    and others have not; of other numbers, those that some lack are left out.
    """
    if names.VIDEO_ID not in frame_numbers(images):
        return {}
    dtypes = {}
    for key, dtype in names.TRACK_NUMBERS.items():
        fits = is_int64 if dtype == 'int64' else is_number
        without = [ann for ann in annotations if not fits(ann.get(key))]
        if not without and (annotations or key == names.INSTANCE_ID):
            dtypes[key] = dtype
        elif key == names.INSTANCE_ID and any(key in ann for ann in annotations):
            raise ValueError(
                f'the annotation with id {without[0]["id"]} must have an integer '
                f'{key!r}, as others have, got {without[0].get(key)!r}; write one for '
                'each annotation, or for none'
            )
    return dtypes
