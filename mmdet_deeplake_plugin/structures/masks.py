"""Three ways to store masks to COCO's ``segmentation``: numpy in, plain Python out.

A segmentation is what ``LoadAnnotations`` and pycocotools take: a list of
polygons, each a flat list ``[x0, y0, x1, y1, …]`` in pixels, or a run-length code
``{'size': [height, width], 'counts': …}`` with ``counts`` as text (compressed) or
as a list of numbers. ``None`` stands for an instance without one.

Errors name the instance by its place in the image; the caller adds lake and row.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, Optional, Union

import numpy as np
from numpy.typing import NDArray
from pycocotools import mask as coco_mask

Segmentation = Optional[Union[list[list[float]], dict[str, Any]]]

_FEWEST_POINTS = 3


def pack_segmentations(segmentations: Sequence[Segmentation]) -> str:
    """The segmentations of an image as JSON, with every digit of a double.

    Args:
        segmentations: One an instance.

    Raises:
        ValueError: If a number is infinite or NaN.

    Examples:
        >>> pack_segmentations([[[1.5, 0, 4, 0, 4, 3]], None])
        '[[[1.5,0,4,0,4,3]],null]'
    """
    return json.dumps(list(segmentations), separators=(',', ':'), allow_nan=False)


def unpack_segmentations(text: str) -> list[Segmentation]:
    """The inverse of :func:`pack_segmentations`.

    Args:
        text: JSON of a list with one segmentation an instance.

    Raises:
        ValueError: If it is no such JSON.
    """
    try:
        found = json.loads(text or '[]')
    except ValueError as error:
        raise ValueError(
            f'{_shortened(text)} is no JSON ({error}); write a list with one COCO '
            'segmentation a box'
        ) from error
    if not isinstance(found, list):
        raise ValueError(
            f'{_shortened(text)} is no list; write a list with one COCO segmentation a '
            'box'
        )
    return found


def segmentations_of_polygons(
    polygons: Sequence[NDArray[Any]],
) -> list[Segmentation]:
    """One polygon an instance, as Deep Lake's type ``Polygon`` holds it.

    Args:
        polygons: Points of shape ``(k, 2)``, x and y in pixels, one array an
            instance.

    Raises:
        ValueError: If an array is not ``(k, 2)``, or has fewer than three points.

    Examples:
        >>> segmentations_of_polygons([np.array([[0, 0], [4, 0], [4, 3]])])
        [[[0.0, 0.0, 4.0, 0.0, 4.0, 3.0]]]
    """
    segmentations: list[Segmentation] = []
    for number, polygon in enumerate(polygons):
        points = np.asarray(polygon, dtype=np.float64)
        if points.ndim != 2 or points.shape[1] != 2:
            raise ValueError(
                f'instance {number}: a polygon of shape {points.shape}; write (k, 2), x '
                'and y of each point'
            )
        if len(points) < _FEWEST_POINTS:
            raise ValueError(
                f'instance {number}: a polygon of {len(points)} points encloses nothing; '
                'write at least 3, or leave the instance out'
            )
        segmentations.append([points.ravel().tolist()])
    return segmentations


def segmentations_of_bitmaps(bitmaps: NDArray[Any]) -> list[Segmentation]:
    """Dense masks as compressed run-length codes, which hold every pixel of them.

    Args:
        bitmaps: Masks of shape ``(height, width, N)``; what is not 0 belongs to the
            instance.

    Returns:
        ``N`` codes with ``counts`` as text; ``LoadAnnotations`` drops an instance
        whose ``counts`` are bytes.

    Raises:
        ValueError: If the shape is another one.

    Examples:
        >>> segmentations_of_bitmaps(np.ones((2, 3, 1), bool))
        [{'size': [2, 3], 'counts': '06'}]
    """
    if not bitmaps.size:
        count = bitmaps.shape[2] if bitmaps.ndim == 3 else 0
        return [{'size': list(bitmaps.shape[:2]), 'counts': ''} for _ in range(count)]
    if bitmaps.ndim != 3:
        raise ValueError(
            f'a mask of shape {bitmaps.shape}; write (height, width, N), one layer a box'
        )
    # Column by column, as COCO counts; bool becomes 0 and 1 without a copy.
    layers = np.asfortranarray(bitmaps != 0).view(np.uint8)
    return [as_text_counts(code) for code in coco_mask.encode(layers)]


def as_text_counts(code: dict[str, Any]) -> dict[str, Any]:
    """A run-length code whose ``counts`` may be bytes, with text instead.

    Args:
        code: What ``pycocotools.mask.encode`` gives.
    """
    counts = code['counts']
    if not isinstance(counts, bytes):
        return code
    return {**code, 'counts': counts.decode('ascii')}


def check_segmentations(
    segmentations: Sequence[Segmentation], count: int, width: int, height: int
) -> None:
    """Refuses segmentations that do not fit their boxes or their image.

    What ``CocoDataset`` passes on is passed on: also polygons that
    ``LoadAnnotations`` will ignore.

    Args:
        segmentations: One an instance.
        count: Number of boxes of the image.
        width: Width of the image in pixels.
        height: Height of the image in pixels.

    Raises:
        ValueError: If there are more or fewer than ``count``, one is no
            segmentation, or a run-length code has another size than the image.
    """
    if len(segmentations) != count:
        raise ValueError(f'{len(segmentations)} masks for {count} boxes; write one a box')
    for number, segmentation in enumerate(segmentations):
        problem = segmentation_problem(segmentation, width, height)
        if problem:
            raise ValueError(f'instance {number}: {problem}')


def segmentation_problem(segmentation: Any, width: int, height: int) -> str:
    """What is wrong with a segmentation, ``''`` if nothing is.

    Args:
        segmentation: Anything.
        width: Width of the image in pixels.
        height: Height of the image in pixels.
    """
    if segmentation is None:
        return ''
    if isinstance(segmentation, list):
        if all(isinstance(polygon, list) for polygon in segmentation):
            return ''
        return (
            f'{_shortened(segmentation)} is no list of polygons; write [[x, y, x, y, …], '
            '…]'
        )
    counts = segmentation.get('counts') if isinstance(segmentation, dict) else None
    if not isinstance(counts, (str, list)):
        return (
            f'{_shortened(segmentation)} is no COCO segmentation; write a list of '
            "polygons, or {'size': [height, width], 'counts': …}"
        )
    size = segmentation.get('size')
    if size != [height, width]:
        found = ' x '.join(map(str, size)) if isinstance(size, list) else repr(size)
        return (
            f'a mask of {found} pixels (height x width) in an image of {height} x '
            f'{width}; they must be equal'
        )
    return ''


def too_few_points(segmentation: Segmentation) -> bool:
    """Whether ``LoadAnnotations`` leaves out some polygon of a segmentation."""
    if not isinstance(segmentation, list):
        return False
    return any(
        len(polygon) < 2 * _FEWEST_POINTS or len(polygon) % 2 for polygon in segmentation
    )


def _shortened(value: Any, limit: int = 40) -> str:
    text = repr(value)
    return text if len(text) <= limit else f'{text[:limit]}…'
