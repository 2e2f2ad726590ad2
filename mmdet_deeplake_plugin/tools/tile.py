"""Cuts large annotated images into overlapping tiles: a VOC folder to import.

The split does not leak: no pixel lies both in a train tile and in a val tile.

- With ``--val-images`` whole images go to val, all others to train.
- Otherwise each image whose longer side holds two tiles is divided across that
  side into a train strip and a val strip. The val strip holds a whole number of
  tiles, at least one, and comes nearest to ``--val-fraction`` of the length;
  ``--seed`` decides on which end it lies. Each strip is tiled for itself, so no
  tile straddles the cut and none is thrown away. Of the smaller images
  ``--val-fraction`` of the number, drawn by ``--seed``, go to val as a whole.

Tiles are ``--stride`` apart; border tiles are shifted inwards, so that together
they cover every pixel. Images smaller than a tile are kept whole. An object is in
each tile that shows at least ``--min-visibility`` of its area, clipped to the
tile; so an object on the cut between the strips may be seen, in part, on both
sides. Tiles without objects are kept. Written are 8-bit colour JPEGs of quality
95; objects whose box has no area are dropped and counted in the log.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np

from mmdet_deeplake_plugin.tools._cli import (
    comma_list,
    make_parser,
    run_tool,
    with_progress,
)
from mmdet_deeplake_plugin.tools._sources import (
    Source,
    find_sources,
    read_pixels,
    resolve_stems,
)
from mmdet_deeplake_plugin.tools._split import Part, split_by_image, split_by_strip
from mmdet_deeplake_plugin.tools._tiling import (
    Region,
    check_grid,
    clip_boxes,
    cut_region,
)
from mmdet_deeplake_plugin.tools.formats.voc import VocObject, write_voc
from mmdet_deeplake_plugin.utils.atomic_folder import atomic_folder

JPEG_QUALITY = 95
OUTPUT_FOLDERS = ('Annotations', 'ImageSets', 'JPEGImages')


def tile(
    src_dir: str | os.PathLike[str],
    dest_dir: str | os.PathLike[str],
    size: int = 320,
    stride: int = 240,
    min_visibility: float = 0.4,
    val_fraction: float = 0.15,
    val_images: Sequence[str] | None = None,
    images: Sequence[str] | None = None,
    seed: int = 0,
    overwrite: bool = False,
    progress: bool = False,
) -> str:
    """Cuts the images of a folder into tiles and splits them into train and val.

    Args:
        src_dir: Folder with PNG, JPEG or TIFF images and, beside them or in
            ``Annotations``, a VOC XML file of the same stem. Images without one
            are left out. Of several images of one stem the first is taken, PNG
            before JPEG before TIFF.
        dest_dir: VOC folder to write, for ``from_voc``.
        size: Width and height of a tile in pixels. Defaults to 320.
        stride: Distance between tiles in pixels. Defaults to 240.
        min_visibility: Smallest share of an object's area inside a tile for which
            the tile keeps it, 0 to 1. Defaults to 0.4.
        val_fraction: Share of val, at least 0 and below 1. Defaults to 0.15.
        val_images: File names or stems of the images that are val as a whole;
            ``val_fraction`` is not used then. Defaults to None.
        images: File names or stems of the images to cut. Defaults to None: all.
        seed: Decides what is val, see the module. Defaults to 0.
        overwrite: Whether an earlier output at ``dest_dir`` is replaced.
        progress: Whether to draw a progress bar on stderr. Defaults to False.

    Returns:
        A sentence that says what was written.

    Raises:
        FileExistsError: If ``dest_dir`` is taken.
        FileNotFoundError: If there is no image with an XML file.
        ValueError: If an argument is out of range, an XML file or an image is
            invalid, or train or val would be empty.
    """
    source_folder, dest = Path(src_dir), Path(dest_dir)
    _check_ranges(min_visibility, val_fraction)
    _check_dest(source_folder, dest, overwrite)
    check_grid(size, stride)
    sources = find_sources(source_folder, images)
    sizes = [(source.width, source.height) for source in sources]
    if val_images is None:
        regions = split_by_strip(sizes, size, stride, val_fraction, seed)
    else:
        files = [source.image for source in sources]
        stems = resolve_stems('--val-images', val_images, files)
        val = {i for i, file in enumerate(files) if file.stem in stems}
        regions = split_by_image(sizes, val)
    _check_split(regions, val_wanted=val_images is not None or val_fraction > 0)
    tiles = {
        split: [(i, cut) for i, part in parts for cut in cut_region(part, size, stride)]
        for split, parts in regions.items()
    }
    counts = {}
    with atomic_folder(dest, replace=overwrite) as folder:
        (folder / 'ImageSets' / 'Main').mkdir(parents=True)
        (folder / 'JPEGImages').mkdir()
        (folder / 'Annotations').mkdir()
        for split, cuts in tiles.items():
            jobs = with_progress(cuts, len(cuts), f'cutting {split} tiles', progress)
            written = list(_write_tiles(folder, sources, jobs, min_visibility))
            lines = ''.join(f'{name}\n' for name, _ in written)
            (folder / 'ImageSets' / 'Main' / f'{split}.txt').write_text(lines)
            num_boxes = [boxes for _, boxes in written]
            counts[split] = (
                f'{len(num_boxes)} {split} tiles with {sum(num_boxes)} boxes '
                f'({num_boxes.count(0)} tiles without)'
            )
    return f'{dest}: wrote {counts["train"]}, {counts["val"]}'


def _check_ranges(min_visibility: float, val_fraction: float) -> None:
    if not 0 <= min_visibility <= 1:
        raise ValueError(f'--min-visibility {min_visibility} must be between 0 and 1')
    if not 0 <= val_fraction < 1:
        raise ValueError(f'--val-fraction {val_fraction} must be at least 0, below 1')


def _check_split(regions: dict[str, list[Part]], val_wanted: bool) -> None:
    for split, parts in regions.items():
        if not parts and (split == 'train' or val_wanted):
            raise ValueError(
                f'the {split} split would be empty: choose --val-images, or another '
                '--val-fraction (0 for no val at all)'
            )


def _check_dest(source_folder: Path, dest: Path, overwrite: bool) -> None:
    source, target = source_folder.resolve(), dest.resolve()
    if source == target or target in source.parents:
        raise ValueError(f'SRC_DIR {source_folder} lies in DEST_DIR {dest}')
    if not dest.exists():
        return
    found = sorted(path.name for path in dest.iterdir()) if dest.is_dir() else [dest.name]
    others = [name for name in found if name not in OUTPUT_FOLDERS]
    if others:
        raise FileExistsError(
            f'DEST_DIR {dest} holds other things than tiles, such as {others[0]!r}; '
            'choose another place'
        )
    if found and not overwrite:
        raise FileExistsError(
            f'DEST_DIR {dest} already holds tiles; pass --overwrite to replace them'
        )


def _write_tiles(
    folder: Path,
    sources: list[Source],
    tiles: Iterator[tuple[int, Region]],
    min_visibility: float,
) -> Iterator[tuple[str, int]]:
    """Writes tiles, sorted by source; yields each name and number of boxes."""
    current, pixels = -1, np.empty((0, 0, 3), np.uint8)
    for index, region in tiles:
        source = sources[index]
        if index != current:
            current, pixels = index, read_pixels(source.image)
            if pixels.shape[1::-1] != (source.width, source.height):
                raise ValueError(
                    f'{source.image} has {pixels.shape[1]}x{pixels.shape[0]} pixels, '
                    f'but its XML file says {source.width}x{source.height}'
                )
        name = f'{source.image.stem}_{region.left}_{region.top}'
        objects = _tile_objects(source.objects, region, min_visibility)
        rows = slice(region.top, region.top + region.height)
        columns = slice(region.left, region.left + region.width)
        quality = [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY]
        _, encoded = cv2.imencode('.jpg', pixels[rows, columns], quality)
        (folder / 'JPEGImages' / f'{name}.jpg').write_bytes(encoded.tobytes())
        write_voc(
            folder / 'Annotations' / f'{name}.xml',
            f'{name}.jpg',
            (region.width, region.height),
            objects,
        )
        yield name, len(objects)


def _tile_objects(
    objects: list[VocObject], region: Region, min_visibility: float
) -> list[VocObject]:
    corners = np.array([item.corners for item in objects], np.int64).reshape(-1, 4)
    kept, clipped = clip_boxes(corners, region, min_visibility)
    offset = np.array([region.left, region.top] * 2)
    cut = (clipped + offset != corners[kept]).any(axis=1)
    return [
        replace(
            objects[index],
            corners=(int(box[0]), int(box[1]), int(box[2]), int(box[3])),
            truncated=objects[index].truncated or bool(is_cut),
        )
        for index, box, is_cut in zip(kept, clipped, cut)
    ]


def main(argv: Sequence[str] | None = None) -> int:
    """Command line of :func:`tile`; returns the exit code."""
    parser = make_parser(
        'tile',
        'Cuts large images with VOC boxes into overlapping tiles, train and val.',
        'aerial tiles --size 320 --stride 240 --val-fraction 0.15',
    )
    _add_arguments(parser)
    args = parser.parse_args(argv)
    return run_tool(lambda: tile(**vars(args), progress=True))


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        'src_dir', metavar='SRC_DIR', help='folder of images and VOC .xml files'
    )
    parser.add_argument('dest_dir', metavar='DEST_DIR', help='VOC folder to write')
    parser.add_argument(
        '--size', type=int, default=320, help='pixels of a tile (default: %(default)s)'
    )
    parser.add_argument(
        '--stride',
        type=int,
        default=240,
        help='pixels between tiles (default: %(default)s)',
    )
    parser.add_argument(
        '--min-visibility',
        type=float,
        default=0.4,
        help='share of a box that a tile must show (default: %(default)s)',
    )
    split = parser.add_mutually_exclusive_group()
    split.add_argument(
        '--val-fraction',
        type=float,
        default=0.15,
        help='share of each image, in one strip, for val (default: %(default)s)',
    )
    split.add_argument(
        '--val-images',
        type=comma_list,
        metavar='A,B',
        help='images that are val as a whole; all others are train',
    )
    parser.add_argument(
        '--images', type=comma_list, metavar='A,B', help='images to cut (default: all)'
    )
    parser.add_argument(
        '--seed', type=int, default=0, help='of the split (default: %(default)s)'
    )
    parser.add_argument(
        '--overwrite', action='store_true', help='replace the tiles at DEST_DIR'
    )


if __name__ == '__main__':
    raise SystemExit(main())
