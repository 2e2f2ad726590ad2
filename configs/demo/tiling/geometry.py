"""Tile geometry: rectangles in, rectangles out, no files.

A :class:`Region` counts pixels from 0. Boxes are in Pascal VOC coordinates: left, top,
right, bottom, where the first pixel is 1, so boxes of an image of width w range from 1
to w.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray


class Region(NamedTuple):
    """A rectangle of pixels; left and top count from 0."""

    left: int
    top: int
    width: int
    height: int


def check_grid(size: int, stride: int) -> None:
    """Check that tiles leave no pixel uncovered.

    Args:
        size: Width and height of a tile in pixels.
        stride: Distance between tiles in pixels.

    Raises:
        ValueError: If ``stride`` is not between 1 and ``size``.
    """
    if not 0 < stride <= size:
        raise ValueError(
            f'--stride must be between 1 and --size {size}, got {stride}; otherwise some '
            'pixels would not be in any tile'
        )


def origins(length: int, size: int, stride: int) -> list[int]:
    """Compute where tiles start along one axis.

    Tiles are ``stride`` apart; the last one is shifted inwards so that it ends at the
    end of the axis. An axis no longer than ``size`` gets one tile.

    Args:
        length: Length of the axis in pixels.
        size: Length of a tile in pixels.
        stride: Distance between tiles in pixels, at most ``size``.

    Returns:
        Starts in ascending order.

    Examples:
        >>> origins(900, 320, 240)
        [0, 240, 480, 580]
    """
    last = max(length - size, 0)
    return [*range(0, last, stride), last]


def cut_region(region: Region, size: int, stride: int) -> list[Region]:
    """Cut a region into overlapping tiles that cover it, row by row.

    Args:
        region: The region to cut.
        size: Width and height of a tile in pixels; a smaller region keeps its own width
            or height.
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
    """Clip the boxes of an image to one of its tiles.

    Args:
        boxes: Boxes of the image, shape ``(N, 4)``, VOC coordinates in pixels.
        tile: The tile.
        min_visibility: Smallest share of a box's area, ``(right - left) *
            (bottom - top)``, that must be inside the tile. Boxes without any area
            inside are always dropped.

    Returns:
        Indices of the boxes that are kept, shape ``(K,)``, in ascending order, and
        these boxes clipped, shape ``(K, 4)``, in the tile's VOC coordinates: from 1 to
        its width or height.
    """
    shifted = boxes.reshape(-1, 4) - np.array([tile.left, tile.top] * 2, np.int64)
    limits = np.array([tile.width, tile.height] * 2, np.int64)
    clipped = np.clip(shifted, 1, limits)
    visible, whole = _areas(clipped), _areas(shifted)
    # Multiplied instead of divided: a box may have an area of 0.
    kept = np.flatnonzero((visible > 0) & (visible >= min_visibility * whole))
    return kept, clipped[kept]


def _areas(boxes: NDArray[np.int64]) -> NDArray[np.int64]:
    sizes = np.maximum(boxes[:, 2:] - boxes[:, :2], 0)
    return sizes[:, 0] * sizes[:, 1]
