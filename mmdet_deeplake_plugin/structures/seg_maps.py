"""Segmentation maps as pixels: PNG files and arrays in, ids and labels out.

Two kinds of map look alike. A semantic one has a label in each pixel. A panoptic one
has the id of a segment: in a PNG, red + 256 green + 65536 blue, as COCO writes it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

VOID = 0  # id of pixels that belong to no segment
MOST_IDS = 2**24
_SHOWN = 5


def encode_map(values: Any, panoptic: bool) -> bytes:
    """A stored array as a PNG that stock loaders decode to the same numbers.

    Args:
        values: Whole numbers, shape ``(H, W)`` or ``(H, W, 1)``; for a panoptic map
            also the colours of its PNG, ``uint8`` of shape ``(H, W, 3)`` as RGB.
        panoptic: Whether they are ids of segments rather than labels.

    Returns:
        A PNG of 8 or, for labels above 255, 16 bits a pixel; of colours if panoptic.

    Raises:
        ValueError: If the array has another shape or type, or a number does not fit.
    """
    found = np.asarray(values)
    if panoptic and found.ndim == 3 and found.shape[2] == 3 and found.dtype == np.uint8:
        return encode_png(found[:, :, ::-1])
    flat = found[:, :, 0] if found.ndim == 3 and found.shape[2] == 1 else found
    if flat.ndim != 2 or not flat.size or flat.dtype.kind not in 'biu':
        raise ValueError(
            f'an array of shape {found.shape} and type {found.dtype} is no map; store '
            f'{"an id" if panoptic else "a label"} for each pixel, whole numbers (H, W)'
        )
    least, most = int(flat.min()), int(flat.max())
    limit = MOST_IDS if panoptic else 2**16
    if least < 0 or most >= limit:
        what = 'id' if panoptic else 'label'
        raise ValueError(
            f'the {what} {least if least < 0 else most} does not fit into a PNG; write '
            f'0 to {limit - 1}{"" if panoptic else ", 255 for pixels to ignore"}'
        )
    if panoptic:
        return encode_png(colours_of(flat)[:, :, ::-1])
    narrow = flat.dtype.itemsize == 1 or (flat.dtype != np.uint16 and most < 2**8)
    return encode_png(flat.astype(np.uint8 if narrow else np.uint16))


def decode_labels(content: bytes) -> NDArray[Any]:
    """Labels of a semantic map, as ``LoadAnnotations`` reads them.

    Args:
        content: An image file.

    Returns:
        Shape ``(H, W)``, of the file's depth.

    Raises:
        ValueError: If it cannot be decoded, or has several numbers a pixel.
    """
    labels = _decoded(content, cv2.IMREAD_UNCHANGED).squeeze()
    if labels.ndim != 2:
        raise ValueError(
            f'a map of shape {labels.shape}; store one label a pixel, a grey PNG'
        )
    return labels


def decode_ids(content: bytes) -> NDArray[np.int32]:
    """Segment ids of a panoptic map, as ``LoadPanopticAnnotations`` reads them.

    Args:
        content: An image file.

    Returns:
        Shape ``(H, W)``.

    Raises:
        ValueError: If it cannot be decoded.
    """
    pixels = _decoded(content, cv2.IMREAD_COLOR).astype(np.int32)
    blue, green, red = np.moveaxis(pixels, 2, 0)
    ids: NDArray[np.int32] = red + 256 * green + 65536 * blue
    return ids


def colours_of(ids: NDArray[Any]) -> NDArray[np.uint8]:
    """The colours that stand for ids.

    Args:
        ids: Shape ``(H, W)``, below 2 ** 24.

    Returns:
        RGB, shape ``(H, W, 3)``.
    """
    wide = ids.astype(np.uint32)
    return np.stack([wide >> shift & 255 for shift in (0, 8, 16)], 2).astype(np.uint8)


def occurrences(
    pixels: NDArray[np.integer[Any]],
) -> tuple[NDArray[Any], NDArray[np.int64]]:
    """The distinct numbers of a map in ascending order, and how often each stands.

    Args:
        pixels: Shape ``(H, W)``, of a type with room for one less than its least number.
    """
    flat = pixels.ravel()
    # Most neighbours are equal, so few runs are left to sort.
    starts = np.flatnonzero(np.diff(flat, prepend=flat[:1] - 1))
    lengths = np.diff(starts, append=len(flat))
    values, which = np.unique(flat[starts], return_inverse=True)
    counts = np.zeros(len(values), dtype=np.int64)
    np.add.at(counts, which, lengths)
    return values, counts


def segments_problem(
    pixels: NDArray[Any], segment_ids: Sequence[int], both_ways: bool = True
) -> str:
    """What is wrong between a panoptic map and the list of its segments.

    Args:
        pixels: Ids, shape ``(H, W)``.
        segment_ids: Ids of the segments that are listed.
        both_ways: Whether a listed segment must have pixels.

    Returns:
        A sentence, ``''`` if nothing is wrong.
    """
    found = set(occurrences(pixels)[0].tolist()) - {VOID}
    listed = set(segment_ids)
    if found - listed:
        return (
            f'the map holds {_counted(found - listed)}, which the list of segments does '
            'not have'
        )
    if both_ways and listed - found:
        return f'the list of segments has {_counted(listed - found)} without any pixel'
    return ''


def encode_png(pixels: NDArray[Any], level: int = 0) -> bytes:
    """A PNG.

    Args:
        pixels: Shape ``(H, W)``, or ``(H, W, 3)`` as BGR; ``uint8`` or ``uint16``.
        level: Of compression, 0 to 9. What is decoded soon needs time, not room: 0.

    Raises:
        ValueError: If OpenCV cannot encode it.
    """
    done, encoded = cv2.imencode(
        '.png', np.ascontiguousarray(pixels), [cv2.IMWRITE_PNG_COMPRESSION, level]
    )
    if not done:
        raise ValueError(f'OpenCV cannot encode a map of shape {pixels.shape}')
    return encoded.tobytes()


def _counted(ids: set[int]) -> str:
    shown = ', '.join(map(str, sorted(ids)[:_SHOWN]))
    more = f' and {len(ids) - _SHOWN} more' if len(ids) > _SHOWN else ''
    return f'segment{"s" if len(ids) > 1 else ""} {shown}{more}'


def _decoded(content: bytes, flag: int) -> NDArray[Any]:
    try:
        pixels = cv2.imdecode(np.frombuffer(content, np.uint8), flag)
    except cv2.error as error:
        raise ValueError(f'OpenCV cannot decode it: {error}') from error
    if pixels is None:
        raise ValueError('OpenCV cannot decode it')
    return np.asarray(pixels)
