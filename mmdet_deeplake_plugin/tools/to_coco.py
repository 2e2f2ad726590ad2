"""Export the annotations of a lake as a COCO file: the inverse of ``from_coco``.

For a lake of ``from_coco``, annotations, ids, areas, crowds, masks, categories, their
order, and the further keys of images and of the file are those of the original file;
annotations have the keys of COCO's instances only. A panoptic lake gives a panoptic file.

For other lakes, the file has what this package reads of them: annotations are numbered
from 1, dense masks become run-length codes, labels without a name are named by their
number, and images without a file name are named by their row.

``--predictions NAME`` exports what a model predicted instead, as labels to correct.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..lake import (
    CocoColumns,
    LakeSpec,
    StoredPredictions,
    open_columns,
    open_source,
)
from ._cli import (
    add_column_options,
    add_lake_options,
    check_score_thr,
    make_parser,
    run_tool,
    with_progress,
)
from .formats.coco_captions import captions_content
from .formats.coco_content import coco_content, file_names
from .formats.coco_panoptic import map_name
from .formats.coco_predictions import predicted_rows, predictions_content
from .formats.files import as_json, check_targets, refuse_existing, replace_file


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
    predictions: str | None = None,
    score_thr: float | None = None,
) -> str:
    """Export the annotations of a lake and, if requested, its images and maps.

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
        overwrite: Whether to replace files that exist. Defaults to False.
        progress: Whether to draw a progress bar on stderr. Defaults to False.
        maps_dir: Folder for the segmentation maps' stored bytes, as PNG files. Defaults
            to None: maps are not written.
        captions: File to write the captions to, in COCO's format, with the images of
            ``out_json``. Defaults to None: captions are not written.
        predictions: Name of predictions, as ``DeepLakePredictions`` writes them, to
            export in place of the annotations, with their scores. Images without
            predictions are left out. Defaults to None: the annotations are exported.
        score_thr: Least score of the exported predictions. Defaults to None: all.

    Returns:
        A sentence that says what was written.

    Raises:
        FileExistsError: If a file exists and ``overwrite`` is false.
        ValueError: If maps, captions or predictions are requested, but the lake has
            none, or ``score_thr`` is not a number from 0 to 1.
        ValueError, FileNotFoundError, PermissionError, ConnectionError: If the lake
            cannot be opened, or its data is wrong.
    """
    out = Path(out_json)
    refuse_existing('OUT_JSON', out_json, overwrite)
    refuse_existing('--captions', captions, overwrite)
    if score_thr is not None:
        if predictions is None:
            raise ValueError(
                '--score-thr selects predictions, but --predictions is not set; write '
                '--predictions NAME, or remove --score-thr'
            )
        check_score_thr(score_thr, 0.4)
    spec = LakeSpec.from_config(path, credentials, commit_id, view_id, query)
    source, rows = open_source(spec)
    stored = StoredPredictions(source, predictions) if predictions else None
    if stored is not None:
        rows = predicted_rows(
            stored, np.arange(source.num_rows) if rows is None else rows
        )
        if not stored.has('verdict'):  # the lake has no annotations
            tensors = {'gt_bboxes': None, 'gt_labels': None, **(tensors or {})}
    lake = open_columns(source, tensors, box_format)
    caption_column = lake.columns.of('caption')
    if captions is not None and caption_column is None:
        raise ValueError(
            f'--captions needs a column of captions, but {lake.name} has none; name it '
            'with --tensors \'{"caption": …}\', or remove --captions'
        )
    if maps_dir is not None and lake.seg_maps is None:
        raise ValueError(
            f'--maps-dir needs a column for gt_seg_map, but {lake.name} has none; name '
            'it with --tensors, or remove --maps-dir'
        )
    table = lake.annotations(rows)
    names = file_names(table)
    image_files = check_targets('--images-dir', images_dir, names, overwrite)
    entries = CocoColumns(lake.source, lake.columns).panoptic_keys(table.rows)
    pairs = zip(names, entries or [{}] * len(names))
    map_names = [map_name(name, entry) for name, entry in pairs]
    map_files = check_targets('--maps-dir', maps_dir, map_names, overwrite)
    if stored is not None:
        content = predictions_content(lake, table, stored, score_thr or 0.0)
    else:
        content = coco_content(lake, table, entries, progress)
    replace_file(out, as_json(content).encode())
    images = content['images']
    if captions is not None and caption_column is not None:
        texts = captions_content(lake.source, caption_column, table.rows, images)
        replace_file(Path(captions), as_json(texts).encode())

    def write(what: str, files: list[Path], read: Callable[[int], bytes]) -> None:
        jobs = list(zip(table.rows.tolist(), files))
        show = progress and bool(jobs)
        for row, file in with_progress(jobs, len(jobs), f'writing {what}', show):
            replace_file(file, read(row))

    write('images', image_files, lake.reader.read_row)
    if lake.seg_maps is not None:
        write('maps', map_files, lake.seg_maps.of_row)
    written = f', and the images to {images_dir}' if image_files else ''
    written += f', and the maps to {maps_dir}' if map_files else ''
    what, count = 'annotations', len(table.labels)
    if stored is not None:
        what, count = f'predictions of {stored.name!r}', len(content['annotations'])
    elif lake.columns.is_panoptic:
        what = 'segments'
    return (
        f'{out}: wrote {len(images)} images, {count} {what}, '
        f'{len(content["categories"])} categories of {lake.name}{written}'
    )


def main(argv: Sequence[str] | None = None) -> int:
    """Run :func:`to_coco` from the command line and return the exit code."""
    parser = make_parser(
        'to_coco',
        'Export the annotations of a Deep Lake dataset as a COCO file.',
        'lakes/coco_val val.json --query "SELECT * WHERE width > 600"',
    )
    add_lake_options(parser)
    add = parser.add_argument
    add('out_json', metavar='OUT_JSON', help='file to write')
    add_column_options(parser)
    add('--images-dir', metavar='DIR', help='also write the images, as they are stored')
    add('--maps-dir', metavar='DIR', help='also write the PNG maps, as they are stored')
    add('--captions', metavar='JSON', help='also write the captions, to this file')
    add(
        '--predictions',
        metavar='NAME',
        help='export predictions of DeepLakePredictions in place of annotations',
    )
    add(
        '--score-thr',
        type=float,
        metavar='X',
        help='least score of the exported predictions (default: all)',
    )
    add('--overwrite', action='store_true', help='replace files that exist')
    return run_tool(to_coco, parser, argv, progress=True)


if __name__ == '__main__':
    raise SystemExit(main())
