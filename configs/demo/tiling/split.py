"""Split images into train and val regions: sizes in, regions out, no files.

A region belongs to one split only, so tiles that are cut inside of regions share no
pixel across splits.
"""

from __future__ import annotations

import random
from collections.abc import Collection, Sequence

from .geometry import Region

Part = tuple[int, Region]


def split_by_image(
    sizes: Sequence[tuple[int, int]], val: Collection[int]
) -> dict[str, list[Part]]:
    """Assign whole images to train and val.

    Args:
        sizes: Width and height of each image in pixels.
        val: Indices of the val images.

    Returns:
        ``'train'`` and ``'val'``: index of the image and region, by index.
    """
    parts: dict[str, list[Part]] = {'train': [], 'val': []}
    for index, (width, height) in enumerate(sizes):
        split = 'val' if index in val else 'train'
        parts[split].append((index, Region(0, 0, width, height)))
    return parts


def split_by_strip(
    sizes: Sequence[tuple[int, int]],
    size: int,
    stride: int,
    val_fraction: float,
    seed: int,
) -> dict[str, list[Part]]:
    """Assign a strip of each large image, and some whole small images, to val.

    Args:
        sizes: Width and height of each image in pixels.
        size: Width and height of a tile in pixels. Images whose longer side has room
            for two tiles are divided, see :func:`split_strip`; the others stay whole.
        stride: Distance between tiles in pixels.
        val_fraction: Share of val, at least 0 and below 1.
        seed: Determines at which end of an image its val strip lies, and which of the
            whole images go to val.

    Returns:
        ``'train'`` and ``'val'``: index of the image and region, by index.
    """
    rng = random.Random(seed)
    parts: dict[str, list[Part]] = {'train': [], 'val': []}
    whole = []
    for index, (width, height) in enumerate(sizes):
        image = Region(0, 0, width, height)
        val_first = rng.random() < 0.5
        if val_fraction > 0 and max(width, height) >= 2 * size:
            train, val = split_strip(image, size, stride, val_fraction, val_first)
            parts['train'].append((index, train))
            parts['val'].append((index, val))
        else:
            whole.append((index, image))
    chosen = set(rng.sample(range(len(whole)), round(val_fraction * len(whole))))
    for position, part in enumerate(whole):
        parts['val' if position in chosen else 'train'].append(part)
    return {split: sorted(regions) for split, regions in parts.items()}


def split_strip(
    image: Region, size: int, stride: int, val_fraction: float, val_first: bool
) -> tuple[Region, Region]:
    """Divide an image across its longer side into a train strip and a val strip.

    The val strip is as long as a whole number of tiles, ``size + k * stride``, so that
    tiles fill it evenly. ``k`` is chosen so that the strip comes closest to
    ``val_fraction`` of the side and leaves at least one tile for train.

    Args:
        image: The whole image; its longer side is at least ``2 * size``.
        size: Width and height of a tile in pixels.
        stride: Distance between tiles in pixels.
        val_fraction: Requested share of val, between 0 and 1.
        val_first: Whether val is the left or upper strip.

    Returns:
        Train strip and val strip, which share no pixel and cover the image.
    """
    length = max(image.width, image.height)
    steps = round((val_fraction * length - size) / stride)
    val_length = size + stride * max(0, min(steps, (length - 2 * size) // stride))
    cut = val_length if val_first else length - val_length
    if image.width >= image.height:
        first = image._replace(width=cut)
        second = image._replace(left=image.left + cut, width=length - cut)
    else:
        first = image._replace(height=cut)
        second = image._replace(top=image.top + cut, height=length - cut)
    return (second, first) if val_first else (first, second)
