"""Convert stored masks to COCO's ``segmentation``: numpy in, plain Python out.

A segmentation is what ``LoadAnnotations`` and pycocotools accept: a list of
polygons, each a flat list ``[x0, y0, x1, y1, …]`` in pixels, or a run-length encoding
(RLE) ``{'size': [height, width], 'counts': …}`` with ``counts`` as text (compressed)
or as a list of numbers. ``None`` stands for an instance without a segmentation.

Errors name the instance by its index in the image; the caller adds lake and row.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pycocotools import mask as coco_mask

Segmentation = list[list[float]] | dict[str, Any] | None

_FEWEST_POINTS = 3


def pack_segmentations(segmentations: Sequence[Segmentation]) -> str:
    """Encode the segmentations of an image as JSON, with full double precision.

    Args:
        segmentations: One per instance.

    Raises:
        ValueError: If a number is infinite or NaN.

    Examples:
        >>> pack_segmentations([[[1.5, 0, 4, 0, 4, 3]], None])
        '[[[1.5,0,4,0,4,3]],null]'
    """
    return json.dumps(list(segmentations), separators=(',', ':'), allow_nan=False)


def unpack_segmentations(text: str) -> list[Segmentation]:
    """Decode the JSON of :func:`pack_segmentations`.

    Args:
        text: JSON of a list with one segmentation per instance.

    Raises:
        ValueError: If it is not the JSON of a list.
    """
    try:
        segmentations = json.loads(text or '[]')
    except ValueError as error:
        raise ValueError(
            f'masks must be stored as JSON, got {_shortened(text)} ({error}); write a '
            'list with one COCO segmentation per box'
        ) from error
    if not isinstance(segmentations, list):
        raise ValueError(
            f'masks must be stored as a JSON list, got {_shortened(text)}; write a list '
            'with one COCO segmentation per box'
        )
    return segmentations


def segmentations_of_polygons(polygons: Sequence[NDArray[Any]]) -> list[Segmentation]:
    """Convert polygons as Deep Lake's type ``Polygon`` stores them.

    Args:
        polygons: For each instance the points of its polygon, shape ``(k, 2)``, x and
            y in pixels.

    Raises:
        ValueError: If an array does not have shape ``(k, 2)``, or has fewer than three
            points.

    Examples:
        >>> segmentations_of_polygons([np.array([[0, 0], [4, 0], [4, 3]])])
        [[[0.0, 0.0, 4.0, 0.0, 4.0, 3.0]]]
    """
    segmentations: list[Segmentation] = []
    for number, polygon in enumerate(polygons):
        points = np.asarray(polygon, dtype=np.float64)
        if points.ndim != 2 or points.shape[1] != 2:
            raise ValueError(
                f'instance {number}: a polygon must have shape (k, 2), got '
                f'{points.shape}; write x and y of each point'
            )
        if len(points) < _FEWEST_POINTS:
            raise ValueError(
                f'instance {number}: a polygon must have at least 3 points, got '
                f'{len(points)}; add points, or leave the instance out'
            )
        segmentations.append([points.ravel().tolist()])
    return segmentations


def segmentations_of_bitmaps(bitmaps: NDArray[Any]) -> list[Segmentation]:
    """Convert dense masks to compressed RLEs, without loss.

    Args:
        bitmaps: Masks of shape ``(height, width, N)``; every pixel other than 0 belongs
            to the instance.

    Returns:
        ``N`` RLEs with ``counts`` as text, since ``LoadAnnotations`` drops an instance
        whose ``counts`` are bytes.

    Raises:
        ValueError: If the array does not have three dimensions.

    Examples:
        >>> segmentations_of_bitmaps(np.ones((2, 3, 1), bool))
        [{'size': [2, 3], 'counts': '06'}]
    """
    if not bitmaps.size:
        count = bitmaps.shape[2] if bitmaps.ndim == 3 else 0
        return [{'size': list(bitmaps.shape[:2]), 'counts': ''} for _ in range(count)]
    if bitmaps.ndim != 3:
        raise ValueError(
            'dense masks must have shape (height, width, N), got '
            f'{bitmaps.shape}; write one layer per box'
        )
    # Column by column, as COCO counts; bool becomes 0 and 1 without a copy.
    layers = np.asfortranarray(bitmaps != 0).view(np.uint8)
    return [as_text_counts(code) for code in coco_mask.encode(layers)]


def polygons_of_segmentations(
    segmentations: Sequence[Segmentation],
) -> list[NDArray[np.float32]] | NDArray[np.float32]:
    """Convert segmentations to what Deep Lake's type ``Polygon`` stores.

    Args:
        segmentations: One per instance.

    Returns:
        For each instance the points of its polygon, shape ``(k, 2)``, x and y in pixels.

    Raises:
        ValueError: If an instance does not consist of one polygon.
    """
    polygons = []
    for number, segmentation in enumerate(segmentations):
        parts = segmentation if isinstance(segmentation, list) else []
        if len(parts) != 1 or too_few_points(parts):
            raise ValueError(
                f'instance {number}: the column holds one polygon of three points or '
                f'more per instance, got {_shortened(segmentation)}; write one polygon'
            )
        polygons.append(np.array(parts[0], dtype=np.float32).reshape(-1, 2))
    return polygons or np.zeros((0, 0, 2), dtype=np.float32)


def bitmaps_of_segmentations(
    segmentations: Sequence[Segmentation], width: int, height: int
) -> NDArray[np.bool_]:
    """Convert segmentations to dense masks, as pycocotools draws them.

    Args:
        segmentations: One per instance; one without pixels may be ``None`` or empty.
        width: Width of the image in pixels.
        height: Height of the image in pixels.

    Returns:
        Masks of shape ``(height, width, N)``.
    """
    layers = np.zeros((height, width, len(segmentations)), dtype=np.bool_)
    for number, segmentation in enumerate(segmentations):
        if segmentation:
            code = as_run_length(segmentation, height, width)
            layers[:, :, number] = coco_mask.decode(code) != 0
    return layers


def as_run_length(segmentation: Any, height: int, width: int) -> dict[str, Any]:
    """Return polygons or a run-length code as a compressed run-length code.

    Args:
        segmentation: As in a COCO file.
        height: Height of the image in pixels.
        width: Width of the image in pixels.
    """
    if isinstance(segmentation, list):
        return coco_mask.merge(coco_mask.frPyObjects(segmentation, height, width))
    if isinstance(segmentation['counts'], list):
        return coco_mask.frPyObjects(segmentation, height, width)
    return segmentation


def as_text_counts(code: dict[str, Any]) -> dict[str, Any]:
    """Return an RLE with ``counts`` as text, also if they are bytes.

    Args:
        code: An RLE, such as ``pycocotools.mask.encode`` returns.
    """
    counts = code['counts']
    if not isinstance(counts, bytes):
        return code
    return {**code, 'counts': counts.decode('ascii')}


def check_segmentations(
    segmentations: Sequence[Segmentation], count: int, width: int, height: int
) -> None:
    """Raise an error for segmentations that do not fit their boxes or their image.

    Like ``CocoDataset``, it accepts polygons that ``LoadAnnotations`` will ignore.

    Args:
        segmentations: One per instance.
        count: Number of boxes of the image.
        width: Width of the image in pixels.
        height: Height of the image in pixels.

    Raises:
        ValueError: If there are more or fewer than ``count``, one is not a
            segmentation, or an RLE has another size than the image.
    """
    if len(segmentations) != count:
        raise ValueError(
            f'there must be one mask per box: found {len(segmentations)} masks for '
            f'{count} boxes'
        )
    for number, segmentation in enumerate(segmentations):
        problem = segmentation_problem(segmentation, width, height)
        if problem:
            raise ValueError(f'instance {number}: {problem}')


def segmentation_problem(segmentation: Any, width: int, height: int) -> str:
    """Describe what is wrong with a segmentation; ``''`` if nothing is.

    Args:
        segmentation: Any value.
        width: Width of the image in pixels.
        height: Height of the image in pixels.
    """
    if segmentation is None:
        return ''
    if isinstance(segmentation, list):
        if all(isinstance(polygon, list) for polygon in segmentation):
            return ''
        return (
            f'polygons must be a list of lists, got {_shortened(segmentation)}; write '
            '[[x, y, x, y, …], …]'
        )
    counts = segmentation.get('counts') if isinstance(segmentation, dict) else None
    if not isinstance(counts, (str, list)):
        return (
            f'{_shortened(segmentation)} is not a COCO segmentation; write a list of '
            "polygons, or {'size': [height, width], 'counts': …}"
        )
    size = segmentation.get('size')
    if size != [height, width]:
        shown = ' x '.join(map(str, size)) if isinstance(size, list) else repr(size)
        return (
            'a mask must have the size of its image: found a mask of '
            f'{shown} pixels (height x width) in an image of {height} x {width}'
        )
    return ''


def counts_problem(counts: Any, pixels: int) -> str:
    """Describe what is wrong with the counts of a run-length code; ``''`` if nothing is.

    Decoders read beyond the image if counts do not add up to its pixels.

    Args:
        counts: Integers, or the text that COCO compresses them to.
        pixels: Number of pixels of the image.

    Examples:
        >>> counts_problem('06', 6), counts_problem([2, 3], 6)
        ('', 'its counts must add up to the 6 pixels of the image, got 5')
    """
    runs: Sequence[Any] = counts
    if isinstance(counts, str):
        unpacked = _uncompressed(counts)
        if unpacked is None:
            return f'{_shortened(counts)} is not a compressed run-length code'
        runs = unpacked
    if not all(type(run) is int and run >= 0 for run in runs):
        return 'its counts must be integers, 0 or more'
    if sum(runs) != pixels:
        return (
            f'its counts must add up to the {pixels} pixels of the image, got {sum(runs)}'
        )
    return ''


def _uncompressed(text: str) -> list[int] | None:
    """Return the counts in a compressed code; ``None`` if it is not one.

    Each character holds five bits and whether more follow, the last one a sign. From the
    fourth count on, it is the difference from the last but one.
    """
    codes = np.frombuffer(text.encode('utf-8'), np.uint8).astype(np.int64) - ord('0')
    if codes.size == 0:
        return []
    ends = np.flatnonzero(codes & 0x20 == 0)
    if codes.min() < 0 or codes.max() > 0x3F or codes[-1] & 0x20:
        return None
    starts = np.concatenate([[0], ends[:-1] + 1])
    lengths = ends - starts + 1
    if lengths.max() > 12:  # more than 60 bits
        return None
    shifts = 5 * (np.arange(len(codes)) - np.repeat(starts, lengths))
    values = np.add.reduceat((codes & 0x1F) << shifts, starts)
    values -= np.where(codes[ends] & 0x10, np.int64(1) << (5 * lengths), 0)
    for start in (1, 2):
        values[start::2] = values[start::2].cumsum()
    return values.tolist()


def too_few_points(segmentation: Segmentation) -> bool:
    """Return whether ``LoadAnnotations`` ignores some polygon of a segmentation."""
    if not isinstance(segmentation, list):
        return False
    return any(
        len(polygon) < 2 * _FEWEST_POINTS or len(polygon) % 2 for polygon in segmentation
    )


def _shortened(value: Any, limit: int = 40) -> str:
    text = repr(value)
    return text if len(text) <= limit else f'{text[:limit]}…'
