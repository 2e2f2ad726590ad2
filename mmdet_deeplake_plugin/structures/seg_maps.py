"""Encode and decode segmentation maps.

A semantic map has a label in each pixel. A panoptic map has the id of a segment: in a
PNG, red + 256 * green + 65536 * blue, as COCO defines it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

VOID = 0  # id of pixels without a segment
MOST_IDS = 2**24
_SHOWN = 5


def encode_map(values: Any, panoptic: bool) -> bytes:
    """Encode a stored array as a PNG that stock loaders decode to the same numbers.

    Args:
        values: Integers, shape ``(H, W)`` or ``(H, W, 1)``; for a panoptic map also
            the colours of its PNG, ``uint8`` of shape ``(H, W, 3)`` as RGB.
        panoptic: Whether the values are segment ids rather than labels.

    Returns:
        A PNG: in colour if panoptic, else grey with 8 bits per pixel, or 16 for labels
        above 255.

    Raises:
        ValueError: If the array has another shape or type, or a number does not fit.
    """
    pixels = np.asarray(values)
    is_colour = pixels.ndim == 3 and pixels.shape[2] == 3 and pixels.dtype == np.uint8
    if panoptic and is_colour:
        return encode_png(pixels[:, :, ::-1])
    flat = pixels[:, :, 0] if pixels.ndim == 3 and pixels.shape[2] == 1 else pixels
    if flat.ndim != 2 or not flat.size or flat.dtype.kind not in 'biu':
        raise ValueError(
            'a map must be an integer array of shape (H, W), got shape '
            f'{pixels.shape} and type {pixels.dtype}; store '
            f'{"an id" if panoptic else "a label"} for each pixel'
        )
    least, most = int(flat.min()), int(flat.max())
    limit = MOST_IDS if panoptic else 2**16
    if least < 0 or most >= limit:
        what = 'id' if panoptic else 'label'
        raise ValueError(
            f'each {what} of a map must fit into a PNG, 0 to {limit - 1}, got '
            f'{least if least < 0 else most}; renumber it'
            f'{"" if panoptic else ", and write 255 for pixels to ignore"}'
        )
    if panoptic:
        return encode_png(colours_of(flat)[:, :, ::-1])
    narrow = flat.dtype.itemsize == 1 or (flat.dtype != np.uint16 and most < 2**8)
    return encode_png(flat.astype(np.uint8 if narrow else np.uint16))


def decode_labels(content: bytes) -> NDArray[Any]:
    """Decode the labels of a semantic map as ``LoadAnnotations`` does.

    Args:
        content: An image file.

    Returns:
        Labels, shape ``(H, W)``, with the bit depth of the file.

    Raises:
        ValueError: If it cannot be decoded, or has several values per pixel.
    """
    labels = _decode(content, cv2.IMREAD_UNCHANGED).squeeze()
    if labels.ndim != 2:
        raise ValueError(
            'a semantic map must have one label per pixel, got shape '
            f'{labels.shape}; store a grey PNG'
        )
    return labels


def decode_ids(content: bytes) -> NDArray[np.int32]:
    """Decode the segment ids of a panoptic map as ``LoadPanopticAnnotations`` does.

    Args:
        content: An image file.

    Returns:
        Ids, shape ``(H, W)``.

    Raises:
        ValueError: If it cannot be decoded.
    """
    pixels = _decode(content, cv2.IMREAD_COLOR).astype(np.int32)
    blue, green, red = np.moveaxis(pixels, 2, 0)
    ids: NDArray[np.int32] = red + 256 * green + 65536 * blue
    return ids


def colours_of(ids: NDArray[Any]) -> NDArray[np.uint8]:
    """Encode ids as colours.

    Args:
        ids: Segment ids below 2 ** 24, shape ``(H, W)``.

    Returns:
        RGB colours, shape ``(H, W, 3)``.
    """
    wide = ids.astype(np.uint32)
    return np.stack([wide >> shift & 255 for shift in (0, 8, 16)], 2).astype(np.uint8)


def occurrences(
    pixels: NDArray[np.integer[Any]],
) -> tuple[NDArray[Any], NDArray[np.int64]]:
    """Return the distinct values of a map in ascending order, and their counts.

    Args:
        pixels: Map, shape ``(H, W)``; its type must hold one less than its least value.
    """
    flat = pixels.ravel()
    # Most neighbours are equal, so there are few runs to sort.
    starts = np.flatnonzero(np.diff(flat, prepend=flat[:1] - 1))
    lengths = np.diff(starts, append=len(flat))
    values, which = np.unique(flat[starts], return_inverse=True)
    counts = np.zeros(len(values), dtype=np.int64)
    np.add.at(counts, which, lengths)
    return values, counts


def segments_problem(
    pixels: NDArray[Any], segment_ids: Sequence[int], both_ways: bool = True
) -> str:
    """Describe how a panoptic map and the list of its segments disagree.

    Args:
        pixels: Segment ids, shape ``(H, W)``.
        segment_ids: Ids in the list of segments.
        both_ways: Whether each segment of the list must have pixels.

    Returns:
        A clause for an error message; ``''`` if they agree.
    """
    in_map = set(occurrences(pixels)[0].tolist()) - {VOID}
    in_list = set(segment_ids)
    if in_map - in_list:
        return (
            f'the map has {_name_segments(in_map - in_list)}, which the list of segments '
            'does not have'
        )
    if both_ways and in_list - in_map:
        return (
            f'the list of segments has {_name_segments(in_list - in_map)}, which the map '
            'does not have'
        )
    return ''


def encode_png(pixels: NDArray[Any], level: int = 0) -> bytes:
    """Encode an array as a PNG.

    Args:
        pixels: Grey, shape ``(H, W)``, BGR, shape ``(H, W, 3)``, or BGRA, shape
            ``(H, W, 4)``; ``uint8`` or ``uint16``.
        level: Compression level, 0 to 9. Defaults to the fastest, for PNGs that are
            decoded right away.

    Raises:
        ValueError: If OpenCV cannot encode it.
    """
    done, encoded = cv2.imencode(
        '.png', np.ascontiguousarray(pixels), [cv2.IMWRITE_PNG_COMPRESSION, level]
    )
    if not done:
        raise ValueError(f'OpenCV cannot encode an array of shape {pixels.shape}')
    return encoded.tobytes()


def _name_segments(ids: set[int]) -> str:
    shown = ', '.join(map(str, sorted(ids)[:_SHOWN]))
    more = f' and {len(ids) - _SHOWN} more' if len(ids) > _SHOWN else ''
    return f'segment{"s" if len(ids) > 1 else ""} {shown}{more}'


def _decode(content: bytes, flag: int) -> NDArray[Any]:
    try:
        pixels = cv2.imdecode(np.frombuffer(content, np.uint8), flag)
    except cv2.error as error:
        raise ValueError(f'OpenCV cannot decode it: {error}') from error
    if pixels is None:
        raise ValueError('OpenCV cannot decode it')
    return np.asarray(pixels)
