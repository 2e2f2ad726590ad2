"""Imports a COCO detection or panoptic data set into a Deep Lake dataset.

One row an image, in the order of the JSON's ``images``, also for images without
annotations; boxes keep the order of the JSON's ``annotations``. Image bytes,
boxes (doubles), masks (polygons and run-length codes, to the last digit), areas, ids
and names are stored exactly as they are in the files; crowds and zero-area boxes too.
LVIS files are such files as well: what they say of images and categories is kept.
Of a panoptic file, each segment becomes a box; its PNG maps, or those of stuff, are
stored verbatim. Captions come from a second file; keypoints are not imported.

All input is checked before anything is written. On a local disk a failure or an
interrupt leaves an existing lake as it was and no half-written one; for other
storage see ``lake/writer.py``.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from mmdet_deeplake_plugin.lake.writer import LakeLayout, check_dest, write_lake
from mmdet_deeplake_plugin.structures.masks import pack_segmentations
from mmdet_deeplake_plugin.tools._cli import make_parser, run_tool, with_progress
from mmdet_deeplake_plugin.tools.formats.coco import (
    CocoAnnotations,
    file_name,
    image_keys,
    read_coco,
)
from mmdet_deeplake_plugin.tools.formats.coco_captions import COLUMN as CAPTIONS
from mmdet_deeplake_plugin.tools.formats.coco_captions import CocoCaptions, read_captions
from mmdet_deeplake_plugin.tools.formats.images import image_compression
from mmdet_deeplake_plugin.tools.formats.maps import find_maps


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
) -> str:
    """Imports a COCO annotation file and its images.

    Args:
        ann_file: COCO or LVIS JSON with ``images``, ``annotations`` and
            ``categories``; a panoptic one is told by its ``segments_info``.
        img_dir: Local folder to which the JSON's ``file_name`` s are relative; for
            LVIS, the folder that holds ``train2017`` and ``val2017``.
        dest: Where to write: any Deep Lake url.
        overwrite: Whether an existing lake is replaced. Defaults to False.
        progress: Whether to draw a progress bar on stderr. Defaults to False.
        panoptic_dir: Folder of the PNG maps of a panoptic JSON. Defaults to the JSON's
            path without ``.json``.
        seg_dir: Folder of semantic PNG maps, called as the images but for the suffix
            ``.png``. Defaults to None: no maps.
        seg_classes: Names of the labels in the maps of ``seg_dir``.
        captions: COCO captions JSON of the same images. Defaults to None: none.

    Returns:
        A sentence that says what was written.

    Raises:
        FileExistsError: If ``dest`` is taken.
        FileNotFoundError: If a JSON, an image or a map is missing.
        ValueError: If the JSON is not a valid COCO file, an image is none, or a map does
            not fit its image or its segments.
        OSError: If the storage fails.
    """
    ann_path, image_folder, url = Path(ann_file), Path(img_dir), os.fspath(dest)
    check_dest(url, overwrite)
    coco = read_coco(ann_path)
    is_panoptic = coco.entries is not None
    maps = find_maps(ann_path, coco, panoptic_dir, seg_dir, seg_classes, progress)
    told = None if captions is None else read_captions(Path(captions), coco.images)
    own_id = 'segment_id' if is_panoptic else 'ann_id'
    per_box = {'iscrowd': 'uint8', 'area': 'float64', own_id: 'int64'}
    if coco.has_ignored:
        per_box['ignore'] = 'uint8'
    if not coco.is_grouped:
        per_box['ann_position'] = 'int64'
    texts = ['segmentation'] if coco.has_masks else []
    if coco.has_image_keys:
        texts.append('coco_image')
    if is_panoptic:
        texts.append('coco_annotation')
    if told is not None:
        texts.append(CAPTIONS)
    names = [file_name(image) for image in coco.images]
    map_metadata = {'class_names': list(seg_classes)} if seg_classes else {}
    layout = LakeLayout(
        converter='from_coco',
        annotation_style='panoptic' if is_panoptic else 'coco',
        box_format='ltwh',
        image_compression=image_compression(image_folder, names),
        class_names=[category['name'] for category in coco.categories],
        per_box=per_box,
        text_ids=coco.text_ids,
        category_metadata={
            'category_ids': [category['id'] for category in coco.categories],
            'categories': json.dumps(coco.categories, ensure_ascii=False),
            **_things(coco),
        },
        texts=tuple(texts),
        # Not needed to train: for the way back, by to_coco, and for the licences.
        image_metadata={'coco_file': json.dumps(coco.others, ensure_ascii=False)}
        if coco.others
        else {},
        map_metadata=map_metadata if maps else None,
        text_metadata={} if told is None else {CAPTIONS: told.metadata},
    )
    summary = (
        f'{len(coco.images)} images, '
        f'{coco.num_boxes} {"segments" if is_panoptic else "boxes"}, '
        f'{len(coco.categories)} classes from {ann_path.name}'
    )
    if told is not None:
        summary += f', {told.num_captions} captions'
    rows = _rows(coco, image_folder, layout, maps, told)
    rows = with_progress(rows, len(coco.images), 'writing images', progress)
    write_lake(url, layout, rows, f'Imported {summary}', overwrite)
    return f'{url}: wrote {summary}'


def _rows(
    coco: CocoAnnotations,
    image_folder: Path,
    layout: LakeLayout,
    maps: list[Path],
    captions: CocoCaptions | None,
) -> Iterator[dict[str, Any]]:
    category_ids = layout.category_metadata['category_ids']
    labels = {category_id: label for label, category_id in enumerate(category_ids)}
    positions = coco.positions
    entries = coco.entries or {}
    for index, image in enumerate(coco.images):
        annotations = coco.by_image[image['id']]
        values: dict[str, list[Any]] = {
            'iscrowd': [bool(ann.get('iscrowd')) for ann in annotations],
            'area': [_area(ann) for ann in annotations],
            'ann_id': [ann['id'] for ann in annotations],
            'ignore': [bool(ann.get('ignore')) for ann in annotations],
            'segment_id': [ann['id'] for ann in annotations],
            'ann_position': []
            if coco.entries is not None
            else [positions[ann['id']] for ann in annotations],
        }
        segmentations = [ann.get('segmentation') for ann in annotations]
        boxes = np.array([ann['bbox'] for ann in annotations], np.float64)
        yield {
            'images': (image_folder / file_name(image)).read_bytes(),
            'boxes': boxes.reshape(-1, 4),
            'categories': np.array(
                [labels[ann['category_id']] for ann in annotations], np.int32
            ),
            **{
                name: np.array(values[name], dtype)
                for name, dtype in layout.per_box.items()
            },
            'segmentation': pack_segmentations(segmentations),
            CAPTIONS: '' if captions is None else captions.packed(image['id']),
            'coco_image': json.dumps(image_keys(image), ensure_ascii=False),
            'coco_annotation': json.dumps(entries.get(image['id'], {})),
            **({'seg_map': maps[index].read_bytes()} if maps else {}),
            'image_id': str(image['id']) if layout.text_ids else image['id'],
            'file_name': file_name(image),
            'width': int(image['width']),
            'height': int(image['height']),
        }


def _things(coco: CocoAnnotations) -> dict[str, Any]:
    """Things and stuff, which also image lists of panoptic test sets tell apart."""
    flags = [category.get('isthing') for category in coco.categories]
    return {'isthing': flags} if flags and all(f in (0, 1) for f in flags) else {}


def _area(annotation: dict[str, Any]) -> float:
    """The JSON's area, which is a mask's if there is one, else the box's."""
    if annotation.get('area') is not None:
        return annotation['area']
    return annotation['bbox'][2] * annotation['bbox'][3]


def main(argv: Sequence[str] | None = None) -> int:
    """Command line of :func:`from_coco`; returns the exit code."""
    parser = make_parser(
        'from_coco',
        'Imports a COCO detection or panoptic data set into a Deep Lake dataset.',
        'annotations/instances_val2017.json val2017 lakes/coco_val',
    )
    parser.add_argument('ann_json', metavar='ANN_JSON', help='COCO annotation file')
    parser.add_argument('img_dir', metavar='IMG_DIR', help='folder of the images')
    parser.add_argument('dest', metavar='DEST', help='any Deep Lake url')
    parser.add_argument(
        '--overwrite', action='store_true', help='replace the lake at DEST'
    )
    parser.add_argument(
        '--panoptic-dir',
        metavar='DIR',
        help='PNG maps of a panoptic ANN_JSON (default: its path without .json)',
    )
    parser.add_argument(
        '--seg-dir', metavar='DIR', help='semantic PNG maps, called as the images'
    )
    parser.add_argument(
        '--seg-classes', metavar='FILE', help='names of the labels in --seg-dir, by line'
    )
    parser.add_argument(
        '--captions', metavar='JSON', help='COCO captions of the same images'
    )
    args = parser.parse_args(argv)
    return run_tool(
        lambda: from_coco(
            args.ann_json,
            args.img_dir,
            args.dest,
            args.overwrite,
            progress=True,
            panoptic_dir=args.panoptic_dir,
            seg_dir=args.seg_dir,
            seg_classes=Path(args.seg_classes).read_text('utf-8').splitlines()
            if args.seg_classes
            else (),
            captions=args.captions,
        )
    )


if __name__ == '__main__':
    raise SystemExit(main())
