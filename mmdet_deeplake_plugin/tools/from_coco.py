"""Import a COCO detection or panoptic dataset into a lake.

There is one row per image, in the order of the JSON's ``images``, also for images without
annotations; boxes keep the order of the JSON's ``annotations``. Image bytes, boxes (as
doubles), masks (polygons and run-length codes, to the last digit), areas, ids and names
are stored exactly as they are in the files, crowds and zero-area boxes included. LVIS
files work too, with the keys that they add to images and categories. In a panoptic file
each segment becomes a box; its PNG maps, or semantic ones of another folder, are stored
verbatim. Captions come from a second file; keypoints are not imported.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ._cli import add_destination, make_parser, run_tool
from ._converter import Destination
from .formats.coco import read_coco
from .formats.coco_captions import read_captions
from .formats.coco_layout import annotated_images, coco_layout
from .formats.maps import find_maps


def from_coco(
    ann_file: str | os.PathLike[str],
    img_dir: str | os.PathLike[str],
    dest: str | os.PathLike[str],
    overwrite: bool = False,
    progress: bool = False,
    panoptic_dir: str | os.PathLike[str] | None = None,
    seg_dir: str | os.PathLike[str] | None = None,
    seg_classes: Sequence[str] = (),
    captions: str | os.PathLike[str] | None = None,
    credentials: Any = None,
) -> str:
    """Import a COCO annotation file and its images.

    Args:
        ann_file: COCO or LVIS JSON with ``images``, ``annotations`` and
            ``categories``; one with ``segments_info`` is read as panoptic.
        img_dir: Local folder to which the JSON's ``file_name`` s are relative; for
            LVIS, the folder that holds ``train2017`` and ``val2017``.
        dest: Any Deep Lake URL to write to.
        overwrite: Whether to replace an existing lake. Defaults to False.
        progress: Whether to draw a progress bar on stderr. Defaults to False.
        panoptic_dir: Folder of the PNG maps of a panoptic JSON. Defaults to the JSON's
            path without ``.json``.
        seg_dir: Folder of semantic PNG maps, named like the images but with the suffix
            ``.png``, or of the ``gtFine_instanceIds.png`` of Cityscapes. Defaults to
            None: no maps.
        seg_classes: Names of the labels in the maps of ``seg_dir``.
        captions: COCO captions JSON of the same images. Defaults to None: no captions.
        credentials: ``deeplake_credentials`` for ``dest``. Defaults to the environment.

    Returns:
        A sentence that says what was written.

    Raises:
        FileExistsError: If ``dest`` already exists.
        FileNotFoundError: If a JSON, an image or a map is missing.
        ValueError: If the JSON is not a valid COCO file, a file is not an image, or a map
            does not match its image or its segments.
        OSError: If the storage fails.
    """
    ann_path, image_folder = Path(ann_file), Path(img_dir)
    target = Destination(dest, overwrite, progress, credentials)
    coco = read_coco(ann_path)
    maps = find_maps(ann_path, coco, panoptic_dir, seg_dir, seg_classes, progress)
    texts = None if captions is None else read_captions(Path(captions), coco.images)
    layout = coco_layout(coco, image_folder, texts, bool(maps), seg_classes)
    summary = (
        f'{len(coco.images)} images, '
        f'{len(coco.annotations)} {"boxes" if coco.entries is None else "segments"}, '
        f'{len(coco.categories)} classes from {ann_path.name}'
    )
    if texts is not None:
        summary += f', {texts.count} captions'
    images = annotated_images(coco, maps, texts)
    return target.write(layout, image_folder, images, len(coco.images), summary)


def main(argv: Sequence[str] | None = None) -> int:
    """Run :func:`from_coco` from the command line and return the exit code."""
    parser = make_parser(
        'from_coco',
        'Import a COCO detection or panoptic dataset into a Deep Lake dataset.',
        'annotations/instances_val2017.json val2017 lakes/coco_val',
    )
    add = parser.add_argument
    add('ann_file', metavar='ANN_JSON', help='COCO annotation file')
    add('img_dir', metavar='IMG_DIR', help='folder of the images')
    add_destination(parser)
    add(
        '--panoptic-dir',
        metavar='DIR',
        help='PNG maps of a panoptic ANN_JSON (default: its path without .json)',
    )
    add('--seg-dir', metavar='DIR', help='semantic PNG maps, named like the images')
    add(
        '--seg-classes',
        metavar='FILE',
        help='names of the labels in --seg-dir, one per line',
    )
    add('--captions', metavar='JSON', help='COCO captions of the same images')
    return run_tool(_from_options, parser, argv)


def _from_options(seg_classes: str | None, **options: Any) -> str:
    lines = Path(seg_classes).read_text('utf-8-sig').splitlines() if seg_classes else ()
    return from_coco(**options, seg_classes=lines, progress=True)


if __name__ == '__main__':
    raise SystemExit(main())
