"""Write corrected annotations of some images to a branch of their lake.

The file is a COCO JSON, such as ``to_coco`` exports, with some or all images of the lake.
Each image of the file is to have exactly the annotations that the file has for it; other
images stay as they are. Only what differs is written, in one commit, so that annotations
that did not change keep ids, areas and the last digit of their boxes; ``main`` is not
touched. ``--dry-run`` shows the differences, or says why they cannot be written.

With ``--by id`` images, categories and annotations have the ids of the lake: an
annotation with a new id is added. Tools that number everything anew keep file names and
the names of classes: with ``--by file_name`` annotations are paired by place and class,
and new ones get ids of their own. Keys that an annotation leaves out (``area``,
``iscrowd``, ``ignore``, ``segmentation``) keep what is stored, as long as that fits.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..lake import (
    AnnotationTable,
    CocoColumns,
    CorrectionBranch,
    Lake,
    LakeSpec,
    check_name,
    names,
    open_columns,
    open_source,
)
from ..utils.values import check_choice, is_number, wrong
from ._cli import add_column_options, add_lake_options, make_parser, run_tool
from .formats.coco_content import stored_instances
from .updating.corrected_file import BY, Corrected, read_corrected
from .updating.differences import Comparison, Difference, numbers_after, summary_of


def update(
    path: str,
    corrected: str | os.PathLike[str],
    branch: str,
    by: str = 'id',
    tolerance: float = 0.0,
    dry_run: bool = False,
    credentials: dict[str, Any] | None = None,
    commit_id: str = '',
    tensors: dict[str, Any] | None = None,
    box_format: str | None = None,
) -> str:
    """Write corrected annotations to a branch.

    Args:
        path: ``deeplake_path`` of a config; with ``@BRANCH`` that branch is corrected.
        corrected: COCO JSON with the images that were corrected.
        branch: Branch to write to: a new one, or the one in ``path``.
        by: What identifies images: ``'id'``, then categories and annotations too have
            the ids of the lake, or ``'file_name'``. Defaults to ``'id'``.
        tolerance: Pixels by which a tool may have rounded coordinates that did not
            change; the stored ones are kept. Defaults to 0.
        dry_run: Whether to show the differences alone. Defaults to False.
        credentials: ``deeplake_credentials`` of a config.
        commit_id: ``deeplake_commit_id`` of a config.
        tensors: ``deeplake_tensors`` of a config.
        box_format: ``box_format`` of a config.

    Returns:
        The differences, one line per annotation, and a line that says what was written.

    Raises:
        FileNotFoundError: If the file does not exist.
        ValueError: If the file is not a COCO file of instances or is about another lake,
            a value does not fit the lake, or the branch exists.
        PermissionError, OSError: If the lake cannot be written to; it then reads as
            before.
    """
    check_name('--branch', branch, True, '--branch relabel')
    check_choice('--by', by, BY)
    if not is_number(tolerance) or tolerance < 0:
        raise wrong('--tolerance', 'a number of pixels', tolerance, '--tolerance 0.01')
    source, rows = open_source(LakeSpec.from_config(path, credentials, commit_id))
    if rows is not None:
        raise ValueError(
            f'LAKE must be a lake or a branch of one, but {path} is a saved view; write '
            'the lake'
        )
    lake = open_columns(source, tensors, box_format)
    target = CorrectionBranch(lake, branch)
    if not dry_run:
        target.check()
    file = Path(corrected)
    table = lake.annotations(None)
    images = read_corrected(file, lake, table, by)
    differences = _compare(file, lake, table, images, target, by, tolerance)
    lines = [line for each in differences for line in each.lines]
    counts = sum((each.counts for each in differences), Counter())
    if counts['stale']:
        lines.append(
            f'note: {counts["stale"]} of the moved annotations have the area of before; '
            "leave 'area' out for width times height"
        )
    summary = summary_of(differences)
    changed = [each.row for each in differences if each.lines]
    columns = target.values_of(changed) if changed else {}
    if dry_run or not changed:
        return '\n'.join([*lines, f'{summary}; nothing was written'])
    target.write(columns, f'{summary} ({file.name})')
    return '\n'.join([*lines, f'{summary}; written to branch {branch!r} of {lake.name}'])


def _compare(
    file: Path,
    lake: Lake,
    table: AnnotationTable,
    images: Sequence[Corrected],
    target: CorrectionBranch,
    by: str,
    tolerance: float,
) -> list[Difference]:
    """Compare each image of the file with its row."""
    kept = CocoColumns(lake.source, lake.columns)
    all_ids = kept.per_box(names.ANN_ID, table.rows)
    by_id = by == 'id' and all_ids is not None and len(all_ids) == len(table.labels)
    if by_id:
        _refuse_foreign_ids(file, lake, table, images, all_ids or [])
    comparison = Comparison(
        target,
        lake.columns.class_names,
        numbers_after(all_ids, kept.per_box(names.ANN_POSITION, table.rows)),
        tolerance,
        by_id,
    )
    positions = [each.position for each in images]
    chosen = lake.annotations(table.rows[positions])
    labels = range(int(table.labels.max(initial=-1)) + 1)
    stored: list[list[dict[str, Any]]] = [[] for _ in positions]
    for each in stored_instances(lake, chosen, range(len(chosen)), labels):
        stored[each['image_id']].append({**each, 'label': each['category_id']})
    sizes = zip(chosen.widths.tolist(), chosen.heights.tolist())
    return [
        comparison.compare(image, annotations, row, size)
        for image, annotations, row, size in zip(
            images, stored, chosen.rows.tolist(), sizes
        )
    ]


def _refuse_foreign_ids(
    file: Path,
    lake: Lake,
    table: AnnotationTable,
    images: Sequence[Corrected],
    all_ids: Sequence[int],
) -> None:
    """Refuse annotations with the id of one of another image."""
    ids = np.array(all_ids, dtype=np.int64)
    order = np.argsort(ids, kind='stable')
    ids, owners = ids[order], table.row_of_instance[order]
    for image in images:
        for annotation in image.annotations:
            place = int(np.searchsorted(ids, annotation['id']))
            if place == len(ids) or ids[place] != annotation['id']:
                continue
            owner = int(owners[place])
            if owner != image.position:
                raise ValueError(
                    f'{file}: image {image.image_id!r} ({image.name}) has the annotation '
                    f'{annotation["id"]}, which in {lake.name} is one of image '
                    f'{table.img_ids[owner]!s}; write an id that is not in the lake for '
                    'a new annotation, or --by file_name if a tool numbered them anew'
                )


def main(argv: Sequence[str] | None = None) -> int:
    """Run :func:`update` from the command line and return the exit code."""
    parser = make_parser(
        'update',
        'Write corrected annotations of some images to a branch of their lake.',
        'lakes/coco_val corrected.json --branch relabel --dry-run',
    )
    add_lake_options(parser, with_rows=False)
    add = parser.add_argument
    add('corrected', metavar='CORRECTED_JSON', help='COCO file of corrected images')
    add('--branch', required=True, metavar='NAME', help='branch to write to')
    add('--by', choices=BY, default='id', help='what identifies images (default: id)')
    add(
        '--tolerance',
        type=float,
        default=0.0,
        metavar='PIXELS',
        help='by which a tool may have rounded what did not change (default: 0)',
    )
    add('--dry-run', action='store_true', help='show the differences, write nothing')
    add_column_options(parser)
    return run_tool(update, parser, argv)


if __name__ == '__main__':
    raise SystemExit(main())
