"""Export a lake as an ODVG file, for tools that read these: the inverse of ``from_odvg``.

A lake with phrases gives captions with regions; any other lake gives detections, and a
label map. Crowds and what is marked ``ignore``, which the format does not know, are left
out. To train on a lake, no export is needed: see ``docs/grounding.md``.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from ..lake import AnnotationTable, Lake, LakeSpec, TextColumn, open_lake
from ._cli import add_lake_options, make_parser, run_tool
from .formats.coco_content import file_names
from .formats.files import as_json, check_targets, refuse_existing, replace_file
from .formats.grounding.odvg import detection_line, grounding_line


def to_odvg(
    path: str,
    out: str | os.PathLike[str],
    label_map: str | os.PathLike[str] | None = None,
    credentials: dict[str, Any] | None = None,
    commit_id: str = '',
    view_id: str = '',
    query: str = '',
    tensors: dict[str, Any] | None = None,
    images_dir: str | os.PathLike[str] | None = None,
    overwrite: bool = False,
) -> str:
    """Export the annotations of a lake and, if requested, its images.

    Args:
        path: ``deeplake_path`` of a config.
        out: File to write, with JSON in each line.
        label_map: File to write the names of the labels to; for detections.
        credentials: ``deeplake_credentials`` of a config.
        commit_id: ``deeplake_commit_id`` of a config.
        view_id: ``deeplake_view_id`` of a config.
        query: ``deeplake_query`` of a config.
        tensors: ``deeplake_tensors`` of a config.
        images_dir: Folder for the images' stored bytes, under their file names.
            Defaults to None: images are not written.
        overwrite: Whether to replace files that exist. Defaults to False.

    Returns:
        A sentence that says what was written.

    Raises:
        FileExistsError: If a file exists and ``overwrite`` is false.
        ValueError: If ``label_map`` is missing for detections, or set for captions, or a
            class has no name.
        ValueError, FileNotFoundError, PermissionError, ConnectionError: If the lake
            cannot be opened, or its data is wrong.
    """
    refuse_existing('OUT', out, overwrite)
    refuse_existing('--label-map', label_map, overwrite)
    spec = LakeSpec.from_config(path, credentials, commit_id, view_id, query)
    lake, rows = open_lake(spec, tensors)
    has_phrases = bool(lake.columns.of('phrases') and lake.columns.of('text'))
    if has_phrases == (label_map is not None):
        raise ValueError(
            f'{lake.name} has phrases, which need no label map; remove --label-map'
            if has_phrases
            else '--label-map must name the file for the names of the labels, which '
            'ODVGDataset needs; write --label-map label_map.json'
        )
    if not lake.columns.class_names:
        raise ValueError(
            f'{lake.name} has no class names, which an ODVG file needs; store them in '
            'the metadata class_names of the column of labels'
        )
    table = lake.annotations(rows)
    names = file_names(table)
    targets = check_targets('--images-dir', images_dir, names, overwrite)
    left_out = int((table.ignore_flags | table.excluded).sum())
    lines = _captions(lake, table, names) if has_phrases else _boxes(lake, table, names)
    replace_file(Path(out), ''.join(f'{line}\n' for line in lines).encode())
    if label_map is not None:
        labels = {str(i): name for i, name in enumerate(lake.columns.class_names)}
        replace_file(Path(label_map), as_json(labels).encode())
    for row, target in zip(table.rows.tolist(), targets):
        replace_file(target, lake.reader.read_row(row))
    kept = len(table.labels) - (0 if has_phrases else left_out)
    more = f' ({left_out} crowds or ignored ones left out)' if left_out else ''
    return f'{out}: wrote {len(names)} images, {kept} boxes of {lake.name}{more}'


def _boxes(lake: Lake, table: AnnotationTable, names: Sequence[str]) -> Iterator[str]:
    boxes, keep = table.boxes_xyxy, ~(table.ignore_flags | table.excluded)
    sizes = zip(table.widths.tolist(), table.heights.tolist())
    for index, (name, size) in enumerate(zip(names, sizes)):
        part = slice(*table.offsets[index : index + 2].tolist())
        kept = keep[part]
        found = boxes[part][kept], table.labels[part][kept]
        yield detection_line(name, size, *found, lake.columns.class_names)


def _captions(lake: Lake, table: AnnotationTable, names: Sequence[str]) -> Iterator[str]:
    boxes, rows = table.boxes_xyxy, table.rows
    column = TextColumn(lake.source, lake.columns.of('phrases') or '')
    texts = TextColumn(lake.source, lake.columns.of('text') or '').packed(rows)
    phrases = column.packed(rows)
    sizes = zip(table.widths.tolist(), table.heights.tolist())
    for index, (name, size) in enumerate(zip(names, sizes)):
        found = boxes[slice(*table.offsets[index : index + 2].tolist())]
        regions = column.regions(phrases[index], int(rows[index]), len(found))
        yield grounding_line(name, size, found, texts[index], regions)


def main(argv: Sequence[str] | None = None) -> int:
    """Run :func:`to_odvg` from the command line and return the exit code."""
    parser = make_parser(
        'to_odvg',
        'Export a Deep Lake dataset as an ODVG file.',
        'lakes/cat_train cat_train_od.json --label-map cat_label_map.json',
    )
    add_lake_options(parser)
    add = parser.add_argument
    add('out', metavar='OUT', help='file to write')
    add('--label-map', metavar='JSON', help='file to write the names of the labels to')
    add('--images-dir', metavar='DIR', help='also write the images, as they are stored')
    add('--overwrite', action='store_true', help='replace files that exist')
    return run_tool(to_odvg, parser, argv)


if __name__ == '__main__':
    raise SystemExit(main())
