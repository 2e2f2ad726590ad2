"""Convert boxes between six conventions: numpy in, numpy out.

A convention is an order of the four numbers (``xyxy``, ``xywh``, ``cxcywh``)
in pixels or, with the suffix ``n``, normalised by the image's width and height.
Everything is computed in double precision, as ``CocoDataset`` does from JSON, so the
same four numbers give the same box to the last bit.

A convention is never guessed from values; it is declared, see
``lake/columns/box_format.py``.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

BOX_FORMATS = ('xyxy', 'xywh', 'cxcywh', 'xyxyn', 'xywhn', 'cxcywhn')


def to_xyxy(
    boxes: ArrayLike, box_format: str, widths: ArrayLike, heights: ArrayLike
) -> NDArray[np.float64]:
    """Convert boxes of any convention to corners in pixels.

    Args:
        boxes: Boxes of shape ``(N, 4)`` in the order of ``box_format``.
        box_format: One of :data:`BOX_FORMATS`.
        widths: Width in pixels of each box's image, shape ``(N,)`` or scalar.
        heights: Height in pixels of each box's image, shape ``(N,)`` or scalar.

    Returns:
        Boxes of shape ``(N, 4)``: left, top, right, bottom in pixels.

    Raises:
        ValueError: If ``box_format`` is not one of the six.

    Examples:
        >>> to_xyxy([[0.5, 0.5, 0.25, 0.5]], 'cxcywhn', 640, 480)
        array([[240., 120., 400., 360.]])
    """
    order, pixels = _to_pixels(boxes, box_format, widths, heights)
    if order == 'xyxy':
        return pixels
    first, size = pixels[:, :2], pixels[:, 2:]
    if order == 'xywh':
        return np.concatenate([first, first + size], axis=1)
    return np.concatenate([first - size / 2, first + size / 2], axis=1)


def to_xywh(
    boxes: ArrayLike, box_format: str, widths: ArrayLike, heights: ArrayLike
) -> NDArray[np.float64]:
    """Convert boxes of any convention to COCO's left, top, width, height.

    Boxes stored as ``xywh`` are returned unchanged: a detour through corners would
    change the last bit of widths, and with it evaluation results.

    The arguments and errors are those of :func:`to_xyxy`.

    Returns:
        Boxes of shape ``(N, 4)``: left, top, width, height in pixels.
    """
    order, pixels = _to_pixels(boxes, box_format, widths, heights)
    if order == 'xywh':
        return pixels
    first, second = pixels[:, :2], pixels[:, 2:]
    if order == 'xyxy':
        return np.concatenate([first, second - first], axis=1)
    return np.concatenate([first - second / 2, second], axis=1)


def from_xywh(
    boxes: ArrayLike, box_format: str, widths: ArrayLike, heights: ArrayLike
) -> NDArray[np.float64]:
    """Convert COCO's left, top, width, height in pixels to any convention.

    Args:
        boxes: Boxes of shape ``(N, 4)``: left, top, width, height in pixels.
        box_format: One of :data:`BOX_FORMATS`.
        widths: Width in pixels of each box's image, shape ``(N,)`` or scalar.
        heights: Height in pixels of each box's image, shape ``(N,)`` or scalar.

    Returns:
        Boxes of shape ``(N, 4)`` in the order of ``box_format``.

    Raises:
        ValueError: If ``box_format`` is not one of the six.

    Examples:
        >>> from_xywh([[240, 120, 160, 240]], 'cxcywhn', 640, 480)
        array([[0.5 , 0.5 , 0.25, 0.5 ]])
    """
    check_box_format(box_format)
    pixels = np.array(boxes, dtype=np.float64).reshape(-1, 4)
    order = box_format.removesuffix('n')
    if order == 'xyxy':
        pixels[:, 2:] += pixels[:, :2]
    elif order == 'cxcywh':
        pixels[:, :2] += pixels[:, 2:] / 2
    if box_format.endswith('n'):
        pixels[:, 0::2] /= np.asarray(widths, dtype=np.float64).reshape(-1, 1)
        pixels[:, 1::2] /= np.asarray(heights, dtype=np.float64).reshape(-1, 1)
    return pixels


def check_box_format(box_format: object, key: str = 'box_format') -> str:
    """Return ``box_format`` if it is one of the six conventions.

    Raises:
        ValueError: Otherwise; the message names ``key`` and the six.
    """
    if not isinstance(box_format, str) or box_format not in BOX_FORMATS:
        raise ValueError(
            f'{key} must be one of {", ".join(BOX_FORMATS)} (x and y in pixels; with the '
            f'suffix n, fractions of the image width and height), got {box_format!r}; '
            'write one of them'
        )
    return box_format


def _to_pixels(
    boxes: ArrayLike, box_format: str, widths: ArrayLike, heights: ArrayLike
) -> tuple[str, NDArray[np.float64]]:
    check_box_format(box_format)
    pixels = np.array(boxes, dtype=np.float64).reshape(-1, 4)
    if not box_format.endswith('n'):
        return box_format, pixels
    pixels[:, 0::2] *= np.asarray(widths, dtype=np.float64).reshape(-1, 1)
    pixels[:, 1::2] *= np.asarray(heights, dtype=np.float64).reshape(-1, 1)
    return box_format[:-1], pixels
