"""Cut large annotated images into overlapping tiles: a VOC folder to import.

The splits do not leak: no pixel is in both a train tile and a val tile.

- With ``--val-images``, whole images go to val and all others to train.
- Otherwise each image whose longer side has room for two tiles is divided across that
  side into a train strip and a val strip. The val strip holds a whole number of tiles,
  at least one, and is as close as possible to ``--val-fraction`` of the length;
  ``--seed`` determines at which end it lies. Each strip is tiled on its own, so no tile
  straddles the cut and none is discarded. Of the smaller images, ``--val-fraction`` of
  their number, drawn by ``--seed``, go to val as a whole.

Tiles are ``--stride`` apart; border tiles are shifted inwards, so that together they
cover every pixel. Images smaller than a tile are kept whole. An object is in each tile
that shows at least ``--min-visibility`` of its area, clipped to the tile; so an object
on the cut between two strips may be visible, in part, on both sides. Tiles without
objects are kept. Tiles are 8-bit colour JPEGs of quality 95; objects whose box has no
area are dropped, and the log says how many.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from pathlib import Path

from mmdet_deeplake_plugin.tools._cli import comma_list, run_tool, with_progress
from mmdet_deeplake_plugin.utils.atomic_folder import atomic_folder
from tiling.geometry import check_grid, cut_region
from tiling.output import write_tiles
from tiling.sources import find_sources, resolve_stems
from tiling.split import Part, split_by_image, split_by_strip

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
    """Cut the images of a folder into tiles and split them into train and val.

    Args:
        src_dir: Folder with PNG, JPEG or TIFF images and, beside them or in
            ``Annotations``, a VOC XML file with the same stem. Images without one are
            skipped. Of several images with the same stem the first is taken, PNG before
            JPEG before TIFF.
        dest_dir: VOC folder to write, input of ``tools.from_voc``.
        size: Width and height of a tile in pixels. Defaults to 320.
        stride: Distance between tiles in pixels. Defaults to 240.
        min_visibility: Smallest share of an object's area that must be inside a tile
            for the tile to keep it, 0 to 1. Defaults to 0.4.
        val_fraction: Share of val, at least 0 and below 1. Defaults to 0.15.
        val_images: File names or stems of the images that go to val as a whole;
            ``val_fraction`` is not used then. Defaults to None.
        images: File names or stems of the images to cut. Defaults to None: all.
        seed: Seed of the split, see the module. Defaults to 0.
        overwrite: Whether to replace an earlier output at ``dest_dir``. Defaults to
            False.
        progress: Whether to draw a progress bar on stderr. Defaults to False.

    Returns:
        A sentence that says what was written.

    Raises:
        FileExistsError: If ``dest_dir`` already exists.
        FileNotFoundError: If no image with an XML file was found.
        ValueError: If an argument is out of range, an XML file or an image is invalid,
            or train or val would be empty.
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
            written = list(write_tiles(folder, sources, jobs, min_visibility))
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
        raise ValueError(
            f'--min-visibility must be between 0 and 1, got {min_visibility}'
        )
    if not 0 <= val_fraction < 1:
        raise ValueError(
            f'--val-fraction must be at least 0 and below 1, got {val_fraction}'
        )


def _check_split(regions: dict[str, list[Part]], val_wanted: bool) -> None:
    for split, parts in regions.items():
        if not parts and (split == 'train' or val_wanted):
            raise ValueError(
                f'the {split} split would be empty; choose other --val-images, or '
                'another --val-fraction (0 for no val split at all)'
            )


def _check_dest(source_folder: Path, dest: Path, overwrite: bool) -> None:
    source, target = source_folder.resolve(), dest.resolve()
    if source == target or target in source.parents:
        raise ValueError(f'SRC_DIR {source_folder} must not be inside DEST_DIR {dest}')
    if not dest.exists():
        return
    names = sorted(path.name for path in dest.iterdir()) if dest.is_dir() else [dest.name]
    others = [name for name in names if name not in OUTPUT_FOLDERS]
    if others:
        raise FileExistsError(
            f'DEST_DIR {dest} contains files other than tiles, such as {others[0]!r}; '
            'choose another folder'
        )
    if names and not overwrite:
        raise FileExistsError(
            f'DEST_DIR {dest} already contains tiles; pass --overwrite to replace them'
        )


def main(argv: Sequence[str] | None = None) -> int:
    """Run :func:`tile` from the command line and return the exit code."""
    command = 'python configs/demo/tile.py'
    parser = argparse.ArgumentParser(
        prog=command,
        description='Cut large images with VOC boxes into overlapping tiles, split into '
        'train and val.',
        epilog=f'example: {command} aerial tiles --size 320 --val-fraction 0.15',
    )
    add = parser.add_argument
    add('src_dir', metavar='SRC_DIR', help='folder of images and VOC .xml files')
    add('dest_dir', metavar='DEST_DIR', help='VOC folder to write')
    add(
        '--size',
        type=int,
        default=320,
        help='width and height of a tile in pixels (default: %(default)s)',
    )
    add(
        '--stride',
        type=int,
        default=240,
        help='distance between tiles in pixels (default: %(default)s)',
    )
    add(
        '--min-visibility',
        type=float,
        default=0.4,
        help='share of a box that must be visible in a tile (default: %(default)s)',
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
        help='images that go to val as a whole; all others go to train',
    )
    add('--images', type=comma_list, metavar='A,B', help='images to cut (default: all)')
    add('--seed', type=int, default=0, help='seed of the split (default: %(default)s)')
    add('--overwrite', action='store_true', help='replace the tiles in DEST_DIR')
    return run_tool(tile, parser, argv, progress=True)


if __name__ == '__main__':
    raise SystemExit(main())
