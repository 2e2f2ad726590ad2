"""Data for the benchmarks, made once and kept in ``bench_out/data``.

``photographs``: JPEGs of COCO's usual sizes and of about 160 KB each, resampled from the
real ones in ``../shared/data`` if they are there, else textures of as many bytes; with
COCO's annotation file and the lake that ``tools.from_coco`` makes of them.

``annotations``: as many images as one likes with annotations like COCO's, but hardly any
pixels, for what depends on the number of rows and not on their size.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from _children import forked
from _common import OUT, ROOT, progress, say
from numpy.typing import NDArray

from mmdet_deeplake_plugin.lake.writer import LakeLayout, write_lake
from mmdet_deeplake_plugin.tools.from_coco import from_coco

SHARED = ROOT.parent / 'shared' / 'data'
# Width, height and share of COCO's most frequent sizes.
SIZES = np.array([(640, 480), (640, 427), (480, 640), (500, 375), (427, 640)])
SHARES = np.array([0.37, 0.25, 0.15, 0.13, 0.10])
JPEG_BYTES = 160_000  # of an image, in the mean
BOXES = 7.3  # of an image, in the mean
CLASSES = 80
# What ext4 lets a file have, and a bit less.
_LINKS = 60_000


@dataclass(frozen=True)
class Data:
    """A data set in two forms.

    Args:
        folder: Where it lies.
        count: Number of images.
    """

    folder: Path
    count: int

    @property
    def ann_file(self) -> str:
        """COCO's annotation file."""
        return str(self.folder / 'instances.json')

    @property
    def images(self) -> str:
        """Folder of the JPEGs."""
        return str(self.folder / 'images')

    @property
    def lake(self) -> str:
        """The lake."""
        return str(self.folder / 'lake')


@dataclass(frozen=True)
class Drawn:
    """Annotations drawn at random, of ``R`` images with ``N`` boxes.

    Args:
        widths: In pixels, shape ``(R,)``.
        heights: In pixels, shape ``(R,)``.
        offsets: Boxes of image ``i``: ``offsets[i]:offsets[i + 1]``, shape ``(R + 1,)``.
        boxes: Left, top, width, height in pixels, two decimals, shape ``(N, 4)``.
        labels: From 0, shape ``(N,)``.
        crowd: Shape ``(N,)``.
    """

    widths: NDArray[np.int64]
    heights: NDArray[np.int64]
    offsets: NDArray[np.int64]
    boxes: NDArray[np.float64]
    labels: NDArray[np.int64]
    crowd: NDArray[np.bool_]

    @property
    def areas(self) -> NDArray[np.float64]:
        """Of a mask that fills most of its box, shape ``(N,)``."""
        return np.round(0.7 * self.boxes[:, 2] * self.boxes[:, 3], 2)


def photographs(count: int) -> Data:
    """Images of COCO's sizes in pixels and bytes, as files and as a lake.

    Args:
        count: Number of images.
    """
    return _made(OUT / 'data' / f'photographs_{count}', count, _write_photographs)


def annotations(count: int) -> Data:
    """Annotations like COCO's of many images that are one small JPEG.

    Args:
        count: Number of images; COCO's train set has 118,287.
    """
    return _made(OUT / 'data' / f'annotations_{count}', count, _write_annotations)


def masks(count: int) -> Data:
    """Annotations with polygons of many images that are one small JPEG.

    Args:
        count: Number of images; COCO's validation set has 5,000.
    """
    return _made(OUT / 'data' / f'masks_{count}', count, _write_masks)


def draw(count: int, seed: int = 0) -> Drawn:
    """Draws annotations whose numbers, sizes and classes are spread like COCO's.

    Args:
        count: Number of images.
        seed: Of the dice.
    """
    dice = np.random.default_rng(seed)
    size = SIZES[dice.choice(len(SIZES), count, p=SHARES)]
    counts = np.minimum(dice.geometric(1 / BOXES, count), 90)
    offsets = np.concatenate([[0], np.cumsum(counts)])
    total = int(offsets[-1])
    of_image = np.repeat(size, counts, axis=0).astype(np.float64)
    # Most boxes are small, some nearly fill the image.
    extent = np.clip(dice.lognormal(-1.9, 0.9, (total, 2)), 0.01, 0.95) * of_image
    corner = dice.random((total, 2)) * (of_image - extent)
    boxes = np.round(np.concatenate([corner, extent], axis=1), 2)
    share = 1 / np.arange(1, CLASSES + 1) ** 0.8
    labels = dice.choice(CLASSES, total, p=share / share.sum())
    return Drawn(
        widths=size[:, 0],
        heights=size[:, 1],
        offsets=offsets,
        boxes=boxes,
        labels=labels,
        crowd=dice.random(total) < 0.01,
    )


def polygon(box: NDArray[np.float64]) -> list[float]:
    """An octagon in a box, as COCO writes polygons."""
    x, y, w, h = box.tolist()
    at = ((0.3, 0), (0.7, 0), (1, 0.3), (1, 0.7), (0.7, 1), (0.3, 1), (0, 0.7), (0, 0.3))
    return [round(v, 2) for a, b in at for v in (x + a * w, y + b * h)]


# --------------------------------------------------------------------------- photographs


def _write_photographs(folder: Path, count: int) -> None:
    images = folder / 'images'
    images.mkdir()
    drawn = draw(count)
    draw_image = _texture if not SHARED.is_dir() else _photographer()
    for number in progress(range(count), 'drawing images'):
        size = (int(drawn.widths[number]), int(drawn.heights[number]))
        (images / _name(number)).write_bytes(draw_image(number, size))
    _write_json(folder / 'instances.json', drawn, with_masks=False)
    from_coco(folder / 'instances.json', images, folder / 'lake', progress=True)


def _photographer() -> Callable[[int, tuple[int, int]], bytes]:
    """Makes crops of real photographs, resampled."""
    files = sorted((SHARED / 'coco_cc' / 'images').glob('*.jpg'))
    photos = [cv2.imread(str(file)) for file in files]
    qualities: dict[int, int] = {}

    def crop(number: int, size: tuple[int, int]) -> bytes:
        dice = np.random.default_rng((1, number))
        which = number % len(photos)
        photo = photos[which]
        if (photo.shape[0] > photo.shape[1]) != (size[1] > size[0]):
            photo = np.ascontiguousarray(photo.transpose(1, 0, 2))
        share = dice.uniform(0.8, 1.0)
        height, width = (int(share * side) for side in photo.shape[:2])
        top = int(dice.integers(0, photo.shape[0] - height + 1))
        left = int(dice.integers(0, photo.shape[1] - width + 1))
        part = photo[top : top + height, left : left + width]
        pixels = cv2.resize(part, size, interpolation=cv2.INTER_AREA)
        if which not in qualities:
            qualities[which] = _quality(pixels)
        return _encoded(pixels, qualities[which])

    return crop


def _texture(number: int, size: tuple[int, int]) -> bytes:
    """Smooth colours under fine noise."""
    dice = np.random.default_rng((1, number))
    coarse = dice.integers(0, 256, (6, 8, 3), np.uint8)
    smooth = cv2.resize(coarse, size, interpolation=cv2.INTER_CUBIC).astype(np.int16)
    noise = dice.normal(0, 18, smooth.shape)
    pixels = np.clip(smooth + noise, 0, 255).astype(np.uint8)
    return _encoded(pixels, _quality(pixels))


def _quality(pixels: NDArray[np.uint8]) -> int:
    """The quality that gives about the size of COCO's JPEGs."""
    low, high = 30, 99
    while low < high:
        middle = (low + high) // 2
        if len(_encoded(pixels, middle)) < JPEG_BYTES * pixels.size / (640 * 480 * 3):
            low = middle + 1
        else:
            high = middle
    return low


def _encoded(pixels: NDArray[np.uint8], quality: int) -> bytes:
    return cv2.imencode('.jpg', pixels, [cv2.IMWRITE_JPEG_QUALITY, quality])[1].tobytes()


# --------------------------------------------------------------------------- annotations


def _write_annotations(folder: Path, count: int) -> None:
    drawn = draw(count)
    _link_images(folder / 'images', count)
    _write_json(folder / 'instances.json', drawn, with_masks=False)
    layout = LakeLayout(
        converter='from_coco',
        annotation_style='coco',
        box_format='ltwh',
        image_compression='jpeg',
        class_names=_class_names(),
        per_box={'iscrowd': 'uint8', 'area': 'float64', 'ann_id': 'int64'},
        text_ids=False,
        metadata={'categories': {'category_ids': list(range(1, CLASSES + 1))}},
    )
    write_lake(str(folder / 'lake'), layout, _rows(drawn), 'For a benchmark')


def _write_masks(folder: Path, count: int) -> None:
    _link_images(folder / 'images', count)
    _write_json(folder / 'instances.json', draw(count), with_masks=True)
    images, ann_file = folder / 'images', folder / 'instances.json'
    from_coco(ann_file, images, folder / 'lake', progress=True)


def _rows(drawn: Drawn) -> Iterator[dict[str, Any]]:
    areas, small = drawn.areas, _small_image()
    crowd = drawn.crowd.astype(np.uint8)
    for number in progress(range(len(drawn.widths)), 'writing rows'):
        part = slice(drawn.offsets[number], drawn.offsets[number + 1])
        yield {
            'images': small,
            'boxes': drawn.boxes[part],
            'categories': drawn.labels[part].astype(np.int32),
            'iscrowd': crowd[part],
            'area': areas[part],
            'ann_id': np.arange(part.start + 1, part.stop + 1),
            'image_id': number + 1,
            'file_name': _name(number),
            'width': int(drawn.widths[number]),
            'height': int(drawn.heights[number]),
        }


def _write_json(path: Path, drawn: Drawn, with_masks: bool) -> None:
    """Writes COCO's annotation file piece by piece: it may be larger than memory."""
    with path.open('w') as file:
        categories = [
            {'id': number + 1, 'name': name} for number, name in enumerate(_class_names())
        ]
        file.write('{"categories": ' + json.dumps(categories) + ', "images": [')
        for number, (width, height) in enumerate(
            zip(drawn.widths.tolist(), drawn.heights.tolist())
        ):
            file.write(
                f'{", " if number else ""}{{"id": {number + 1}, "file_name": '
                f'"{_name(number)}", "width": {width}, "height": {height}}}'
            )
        file.write('], "annotations": [')
        areas = drawn.areas
        for number in progress(range(len(drawn.widths)), 'writing JSON'):
            part = slice(drawn.offsets[number], drawn.offsets[number + 1])
            for at, box, area, label, crowd in zip(
                range(part.start, part.stop),
                drawn.boxes[part].tolist(),
                areas[part].tolist(),
                drawn.labels[part].tolist(),
                drawn.crowd[part].tolist(),
            ):
                # By hand: json.dumps would take minutes.
                others = f'"iscrowd": {int(crowd)}'
                if with_masks:
                    outline = polygon(drawn.boxes[at])
                    others = f'"iscrowd": 0, "segmentation": [{outline}]'
                file.write(
                    f'{", " if at else ""}{{"id": {at + 1}, "image_id": {number + 1}, '
                    f'"category_id": {label + 1}, "bbox": {box}, "area": {area}, '
                    f'{others}}}'
                )
        file.write(']}')


def _link_images(folder: Path, count: int) -> None:
    """Gives one small image many names."""
    folder.mkdir()
    for number in range(count):
        file = folder / _name(number)
        if number % _LINKS == 0:
            file.write_bytes(_small_image())
            first = file
        else:
            os.link(first, file)


def _small_image() -> bytes:
    """A JPEG of 640 x 480 pixels in about 2 KB."""
    pixels = np.full((480, 640, 3), 127, np.uint8)
    return cv2.imencode('.jpg', pixels, [cv2.IMWRITE_JPEG_OPTIMIZE, 1])[1].tobytes()


def _class_names() -> list[str]:
    return [f'class {number}' for number in range(CLASSES)]


def _name(number: int) -> str:
    return f'{number + 1:012d}.jpg'


def _made(folder: Path, count: int, write: Callable[[Path, int], None]) -> Data:
    """The data in a folder, written before if they are not there, or not to the end.

    A process that wrote a lake must not fork: another writes it.
    """
    done = folder / '.done'
    if not done.exists():
        say(f'making {folder.name}')
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        forked(write, timeout=3600, is_quiet=False, folder=folder, count=count)
        done.touch()
    return Data(folder, count)
