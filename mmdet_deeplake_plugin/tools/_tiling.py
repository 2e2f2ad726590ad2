"""Geometry of tiles: rectangles in, rectangles out, no files.

A :class:`Region` counts pixels from 0. Boxes are in Pascal VOC's coordinates:
left, top, right, bottom, the first pixel being 1, so an image of width w holds
boxes from 1 to w.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray


class Region(NamedTuple):
    """A rectangle of pixels: left and top count from 0."""

    left: int
    top: int
    width: int
    height: int


def check_grid(size: int, stride: int) -> None:
    """Refuses tiles that would leave pixels uncovered.

    Args:
        size: Width and height of a tile in pixels.
        stride: Distance between tiles in pixels.

    Raises:
        ValueError: If ``stride`` is not between 1 and ``size``.
    """
    if not 0 < stride <= size:
        raise ValueError(
            f'--stride {stride} must be between 1 and --size {size}, or pixels would '
            'lie in no tile'
        )


def origins(length: int, size: int, stride: int) -> list[int]:
    """Starts of tiles along one axis.

    Tiles are ``stride`` apart; the last one is shifted inwards so that it ends
    where the axis ends. An axis no longer than ``size`` gets one tile.

    Args:
        length: Length of the axis in pixels.
        size: Length of a tile in pixels.
        stride: Distance between tiles in pixels, at most ``size``.

    Returns:
        Starts in rising order.

    Examples:
        >>> origins(900, 320, 240)
        [0, 240, 480, 580]
    """
    last = max(length - size, 0)
    return [*range(0, last, stride), last]


def cut_region(region: Region, size: int, stride: int) -> list[Region]:
    """Cuts a region into overlapping tiles that cover it, row by row.

    Args:
        region: What to cut.
        size: Width and height of a tile in pixels; a smaller region keeps its
            own width or height.
        stride: Distance between tiles in pixels.

    Returns:
        Tiles inside of ``region``.
    """
    return [
        Region(
            region.left + x,
            region.top + y,
            min(size, region.width),
            min(size, region.height),
        )
        for y in origins(region.height, size, stride)
        for x in origins(region.width, size, stride)
    ]


def clip_boxes(
    boxes: NDArray[np.int64], tile: Region, min_visibility: float
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Boxes of an image as they are seen in one of its tiles.

    Args:
        boxes: Boxes of the image, shape ``(N, 4)``, VOC coordinates in pixels.
        tile: The tile.
        min_visibility: Smallest share of a box's area, ``(right - left) *
            (bottom - top)``, that must lie inside. Boxes without any area inside
            are dropped always.

    Returns:
        Indices of the boxes that are kept, shape ``(K,)``, in rising order, and
        these boxes clipped, shape ``(K, 4)``, VOC coordinates of the tile: from
        1 to its width or height.
    """
    shifted = boxes.reshape(-1, 4) - np.array([tile.left, tile.top] * 2, np.int64)
    limits = np.array([tile.width, tile.height] * 2, np.int64)
    clipped = np.clip(shifted, 1, limits)
    visible, whole = _areas(clipped), _areas(shifted)
    # Not divided: a box without area has no share.
    kept = np.flatnonzero((visible > 0) & (visible >= min_visibility * whole))
    return kept, clipped[kept]


def _areas(boxes: NDArray[np.int64]) -> NDArray[np.int64]:
    sizes = np.maximum(boxes[:, 2:] - boxes[:, :2], 0)
    return sizes[:, 0] * sizes[:, 1]
