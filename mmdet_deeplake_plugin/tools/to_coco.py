"""Writes a lake's annotations as a COCO file: the way back of ``from_coco``.

Annotations, ids, areas, crowds, masks, categories, their order, and what else the
file says of images, are those of the file that a lake of ``from_coco`` came from;
annotations have the keys of COCO's instances and no others. A lake of panoptic data
gives a panoptic file.

A lake of another origin gives what this package reads of it: annotations are
numbered from 1, dense masks become run-length codes, labels without a name are named
by their number, and an image without a file name is called by its row.
"""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..lake import Lake, LakeSpec, open_lake
from ..lake.coco_columns import CocoColumns
from ..lake.columns.annotations import AnnotationTable
from ._cli import make_parser, run_tool, with_progress
from .formats.coco_captions import captions_content
from .formats.coco_panoptic import as_entries, map_name


def to_coco(
    path: str,
    out_json: str | os.PathLike[str],
    credentials: dict[str, Any] | None = None,
    commit_id: str = '',
    view_id: str = '',
    query: str = '',
    tensors: dict[str, Any] | None = None,
    box_format: str | None = None,
    images_dir: str | os.PathLike[str] | None = None,
    overwrite: bool = False,
    progress: bool = False,
    maps_dir: str | os.PathLike[str] | None = None,
    captions: str | os.PathLike[str] | None = None,
) -> str:
    """Exports the annotations of a lake, and its images and maps if asked to.

    Args:
        path: ``deeplake_path`` of a config.
        out_json: File to write.
        credentials: ``deeplake_credentials`` of a config.
        commit_id: ``deeplake_commit_id`` of a config.
        view_id: ``deeplake_view_id`` of a config.
        query: ``deeplake_query`` of a config.
        tensors: ``deeplake_tensors`` of a config.
        box_format: ``box_format`` of a config.
        images_dir: Folder for the images' stored bytes, under their file names.
            Defaults to None: images are not written.
        overwrite: Whether files that exist are replaced. Defaults to False.
        progress: Whether to draw a progress bar on stderr. Defaults to False.
        maps_dir: Folder for the segmentation maps' stored bytes, as PNG files. Defaults
            to None: maps are not written.
        captions: File to write the captions to, in COCO's format, with the images of
            ``out_json``. Defaults to None: they are not written.

    Returns:
        A sentence that says what was written.

    Raises:
        FileExistsError: If a file exists and ``overwrite`` is false.
        ValueError: If captions are asked for where there are none.
        ValueError, FileNotFoundError, PermissionError, ConnectionError: If the
            lake cannot be opened as asked, or holds wrong data.
    """
    out = Path(out_json)
    for what, file in (('OUT_JSON', out_json), ('--captions', captions)):
        if file is not None and Path(file).exists() and not overwrite:
            raise FileExistsError(
                f'{what} {file} already exists; pass --overwrite to replace it'
            )
    spec = LakeSpec.from_config(path, credentials, commit_id, view_id, query)
    lake, rows = open_lake(spec, tensors, box_format)
    columns = lake.columns
    told = columns.of('caption')
    if captions is not None and told is None:
        raise ValueError(
            f'--captions: {lake.name} has no column of captions; name it by --tensors '
            '\'{"caption": …}\', or leave --captions out'
        )
    origin = CocoColumns(lake.source, columns)
    table = lake.annotations(rows)
    names = _file_names(table)
    targets = _targets('--images-dir', images_dir, names, overwrite)
    stored = origin.panoptic_keys(table.rows)
    map_targets = _map_targets(lake, maps_dir, names, stored, overwrite)
    images = _images(lake, origin, table, names)
    img_ids = [image['id'] for image in images]
    annotations: list[dict[str, Any]] = []
    if columns.is_panoptic:
        ids = _category_ids(lake, table)
        annotations = as_entries(table, ids, img_ids, names, stored)
    else:
        found = _annotations(lake, origin, table, img_ids)
        count = len(table.labels)
        found = with_progress(found, count, 'reading annotations', progress)
        annotations = _in_order(origin, table, list(found))
    categories = origin.categories() or [
        {'id': label, 'name': str(label)} for label in np.unique(table.labels).tolist()
    ]
    content = {
        **origin.file_keys(),
        'images': images,
        'annotations': annotations,
        'categories': categories,
    }
    _replace(out, json.dumps(content, ensure_ascii=False).encode())
    if captions is not None and told is not None:
        content = captions_content(lake.source, told, table.rows, images)
        _replace(Path(captions), json.dumps(content, ensure_ascii=False).encode())
    jobs = list(zip(table.rows.tolist(), targets))
    show = progress and bool(jobs)
    for row, target in with_progress(jobs, len(jobs), 'writing images', show):
        _replace(target, lake.reader.read_row(row))
    maps = list(zip(table.rows.tolist(), map_targets))
    show = progress and bool(maps)
    for row, target in with_progress(maps, len(maps), 'writing maps', show):
        if lake.seg_maps is not None:
            _replace(target, lake.seg_maps.of_row(row))
    written = f', and the images to {images_dir}' if jobs else ''
    written += f', and the maps to {maps_dir}' if maps else ''
    what = 'segments' if columns.is_panoptic else 'annotations'
    return (
        f'{out}: wrote {len(images)} images, {len(table.labels)} {what}, '
        f'{len(categories)} categories of {lake.name}{written}'
    )


def _file_names(table: AnnotationTable) -> list[str]:
    rows = table.rows.tolist()
    return [name or f'{row}.jpg' for name, row in zip(table.file_names, rows)]


def _map_targets(
    lake: Lake,
    maps_dir: str | os.PathLike[str] | None,
    names: list[str],
    stored: list[dict[str, Any]] | None,
    overwrite: bool,
) -> list[Path]:
    if maps_dir is not None and lake.seg_maps is None:
        raise ValueError(
            f'--maps-dir is given, but {lake.name} has no column for gt_seg_map; leave '
            'it out, or name the column by --tensors'
        )
    entries = stored or [{}] * len(names)
    map_names = [map_name(name, entry) for name, entry in zip(names, entries)]
    return _targets('--maps-dir', maps_dir, map_names, overwrite)


def _targets(
    option: str,
    given: str | os.PathLike[str] | None,
    names: list[str],
    overwrite: bool,
) -> list[Path]:
    """Where images or maps go; checked as a whole before anything is written."""
    if given is None:
        return []
    folder = Path(given).resolve()
    targets = [(folder / name).resolve() for name in names]
    for name, target in zip(names, targets):
        if folder not in target.parents:
            raise ValueError(
                f'the file name {name!r} leads out of {option} {given}; correct it in '
                'the lake'
            )
        if target.exists() and not overwrite:
            raise FileExistsError(
                f'{option}: {target} already exists; pass --overwrite to replace it'
            )
    twice = len(targets) - len(set(targets))
    if twice:
        raise ValueError(
            f'{option}: {twice} images have the file name of another one; leave it out, '
            'or correct the names in the lake'
        )
    return targets


def _images(
    lake: Lake, origin: CocoColumns, table: AnnotationTable, names: list[str]
) -> list[dict[str, Any]]:
    ids = [i if isinstance(i, str) else int(i) for i in table.img_ids]
    if len(set(ids)) < len(ids):
        raise ValueError(
            f'{lake.name}: {len(ids) - len(set(ids))} rows have the image id of another '
            'one; write --tensors \'{"img_id": null}\' to use row numbers, or choose '
            'distinct rows by --query'
        )
    sizes = zip(table.widths.tolist(), table.heights.tolist())
    images = []
    for others, img_id, name, (width, height) in zip(
        origin.image_keys(table.rows), ids, names, sizes
    ):
        image = {**others, 'id': img_id, 'width': width, 'height': height}
        if 'file_name' in image:  # null: LVIS has an address instead
            del image['file_name']
        else:
            image['file_name'] = name
        images.append(image)
    return images


def _annotations(
    lake: Lake, origin: CocoColumns, table: AnnotationTable, img_ids: Sequence[Any]
) -> Iterator[dict[str, Any]]:
    """The annotations, image by image."""
    ids = origin.per_box('ann_id', table.rows)
    if ids is None or len(ids) != len(table.labels):
        ids = list(range(1, len(table.labels) + 1))
    columns = lake.columns
    category_ids = _category_ids(lake, table)
    with_ignore = columns.of('ignore') is not None
    boxes = table.boxes_xywh
    packed = lake.masks.packed(table.rows) if lake.masks is not None else None
    for position, img_id in enumerate(img_ids):
        start, stop = table.offsets[position : position + 2].tolist()
        masks: list[Any] = [None] * (stop - start)
        if lake.masks is not None:
            size = int(table.widths[position]), int(table.heights[position])
            text = None if packed is None else packed[position]
            row = int(table.rows[position])
            masks = lake.masks.of_row(row, stop - start, size, text)
        for index, mask in zip(range(start, stop), masks):
            annotation: dict[str, Any] = {} if mask is None else {'segmentation': mask}
            annotation.update(
                area=float(table.areas[index]),
                iscrowd=int(table.ignore_flags[index]),
                image_id=img_id,
                bbox=boxes[index].tolist(),
                category_id=category_ids[int(table.labels[index])],
                id=ids[index],
            )
            if with_ignore:
                annotation['ignore'] = int(table.excluded[index])
            yield annotation


def _category_ids(lake: Lake, table: AnnotationTable) -> Sequence[int]:
    """Category id of each label; the label itself if the lake names no classes."""
    return lake.columns.category_ids or range(int(table.labels.max(initial=-1)) + 1)


def _in_order(
    origin: CocoColumns, table: AnnotationTable, annotations: list[dict[str, Any]]
) -> list[dict[str, Any]]:
    """Annotations in the order of the file that they came from, if the lake says it."""
    positions = origin.per_box('ann_position', table.rows)
    if positions is None or len(positions) != len(annotations):
        return annotations
    return [annotations[index] for index in np.argsort(positions, kind='stable')]


def _replace(target: Path, content: bytes) -> None:
    """Writes a file so that it is either complete or as it was."""
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = target.with_name(f'.{target.name}.partial')
    try:
        partial.write_bytes(content)
        partial.replace(target)
    finally:
        partial.unlink(missing_ok=True)


def _json_object(text: str) -> dict[str, Any]:
    try:
        value = json.loads(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f'{text!r} is no JSON: {error}') from error
    if not isinstance(value, dict):
        raise argparse.ArgumentTypeError(
            f'{text!r} is no JSON object {{"role": "column"}}'
        )
    return value


def main(argv: Sequence[str] | None = None) -> int:
    """Command line of :func:`to_coco`; returns the exit code."""
    parser = make_parser(
        'to_coco',
        'Writes the annotations of a Deep Lake dataset as a COCO file.',
        'lakes/coco_val val.json --query "SELECT * WHERE width > 600"',
    )
    parser.add_argument('lake', metavar='LAKE', help='a folder, s3://…, al://org/name')
    parser.add_argument('out_json', metavar='OUT_JSON', help='file to write')
    parser.add_argument('--commit', default='', help='version id (default: the newest)')
    parser.add_argument('--view', default='', help='name of a saved view (tag)')
    parser.add_argument('--query', default='', help='TQL that selects rows')
    parser.add_argument(
        '--tensors',
        type=_json_object,
        metavar='JSON',
        help='role -> column, as deeplake_tensors of a config',
    )
    parser.add_argument('--box-format', help='as box_format of a config')
    parser.add_argument(
        '--images-dir', metavar='DIR', help='write the images too, as they are stored'
    )
    parser.add_argument(
        '--maps-dir', metavar='DIR', help='write the PNG maps too, as they are stored'
    )
    parser.add_argument(
        '--captions', metavar='JSON', help='file to write the captions to'
    )
    parser.add_argument(
        '--token', metavar='REF', help="Deep Lake token as 'env:NAME' or 'file:PATH'"
    )
    parser.add_argument(
        '--creds',
        metavar='REF',
        help="storage credentials as JSON in 'env:NAME' or 'file:PATH'",
    )
    parser.add_argument(
        '--overwrite', action='store_true', help='replace files that exist'
    )
    args = parser.parse_args(argv)
    return run_tool(
        lambda: to_coco(
            args.lake,
            args.out_json,
            dict(token=args.token, creds=args.creds),
            args.commit,
            args.view,
            args.query,
            args.tensors,
            args.box_format,
            args.images_dir,
            args.overwrite,
            progress=True,
            maps_dir=args.maps_dir,
            captions=args.captions,
        )
    )


if __name__ == '__main__':
    raise SystemExit(main())
