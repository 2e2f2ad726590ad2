"""Show what a lake contains and how this package would read it.

Columns and the role of each, box convention, classes, numbers of rows and boxes, saved
views and versions, how branches differ from what they were made of, and a snippet to
paste into a config.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..datasets.samples import has_extent
from ..lake import (
    BranchDifference,
    Lake,
    LakeSource,
    LakeSpec,
    compare_branches,
    names,
    open_columns,
    open_source,
)
from ._cli import add_lake_options, make_parser, run_tool

_SHOWN_CLASSES = 20
_SHOWN_VERSIONS = 5
_SHOWN_BRANCHES = 20
_MAIN_ROLES = ('img', 'gt_bboxes', 'gt_labels', 'gt_masks', 'gt_seg_map', 'segment_ids')
# Columns of a lake, what its rows are then, and what reads them as that.
_OTHER_DATASETS = (
    ({names.VIDEO_ID, names.FRAME_ID}, 'frames of videos', 'DeepLakeVideoDataset'),
    ({names.PERSON_ID}, 'images of persons', 'DeepLakeReIDDataset'),
)


def inspect(
    path: str,
    credentials: dict[str, Any] | None = None,
    commit_id: str = '',
    view_id: str = '',
    query: str = '',
) -> str:
    """Describe a lake.

    Args:
        path: ``deeplake_path`` of a config.
        credentials: ``deeplake_credentials`` of a config.
        commit_id: ``deeplake_commit_id`` of a config.
        view_id: ``deeplake_view_id`` of a config.
        query: ``deeplake_query`` of a config.

    Returns:
        Text of several lines. If the roles are ambiguous or the data is wrong, it states
        the problem and shows what it can.

    Raises:
        ValueError, FileNotFoundError, PermissionError, ConnectionError: If the lake
            cannot be opened.
    """
    source, rows = open_source(
        LakeSpec.from_config(path, credentials, commit_id, view_id, query)
    )
    roles = {}
    try:
        lake = open_columns(source)
        roles = {column: role for role, column in lake.columns.roles}
        data = _data(lake, rows)
    except ValueError as error:
        data = [f'problem: {error}']
    columns = list(source.handle.schema.columns)
    width = max((len(column.name) for column in columns), default=0)
    listed = [
        f'  {roles.get(column.name, "-"):16}{column.name:{width}}  {column.dtype}'
        for column in columns
    ]
    state = [*_state(source, rows), '', 'columns:   (role, name, type)']
    return '\n'.join([*state, *listed, '', *data])


def _state(source: LakeSource, rows: NDArray[np.int64] | None) -> list[str]:
    pin, handle = source.pin, source.handle
    lines = [
        f'lake:     {source.spec.path}',
        f'format:   Deep Lake {"3 (read through a query)" if pin.is_v3 else "4"}',
        f'rows:     {pin.num_rows}' + ('' if rows is None else f', {len(rows)} selected'),
    ]
    if pin.is_v3:
        return lines
    lines.insert(2, f'branch:   {pin.branch}, version {pin.version}')
    if pin.tag:
        return [*lines, f'view:     {pin.tag}']
    history = [handle.history[i] for i in range(len(handle.history))]
    lines.append(f'views:    {", ".join(handle.tags.names()) or "none"}')
    lines.append(f'branches: {", ".join(handle.branches.names())}')
    lines.append('versions:')
    lines += [
        f'  {entry.id}  {entry.timestamp:%Y-%m-%d %H:%M}  {entry.message or ""}'
        for entry in history[-_SHOWN_VERSIONS:]
    ]
    return [*lines, *_branches(source)]


def _branches(source: LakeSource) -> list[str]:
    """Show what branches have, and what they were made of has not."""
    found = [name for name in source.handle.branches.names() if name != 'main']
    lines = ['', 'branches:'] if found else []
    for each in compare_branches(source, found[:_SHOWN_BRANCHES]):
        base = each.base or 'a branch that was deleted'
        lines.append(f'  {each.name}, made of {base} (version {each.version}):')
        lines += [
            f'    {version}  {time:%Y-%m-%d %H:%M}  {message}'
            for version, time, message in each.commits[-_SHOWN_VERSIONS:]
        ]
        lines += [f'    {line}' for line in _difference(each) if each.base]
    if len(found) > _SHOWN_BRANCHES:
        lines.append(f'  … and {len(found) - _SHOWN_BRANCHES} more')
    return lines


def _difference(branch: BranchDifference) -> list[str]:
    lines = []
    if branch.rows != branch.rows_of_base:
        lines.append(f'{branch.rows} rows, where {branch.base} had {branch.rows_of_base}')
    rows = set().union(*branch.changed.values())
    if rows:
        changed = ', '.join(f'{name} ({len(of)})' for name, of in branch.changed.items())
        lines.append(f'rows changed: {len(rows)}, in {changed}')
    for what, columns in (('added', branch.added), ('removed', branch.removed)):
        if columns:
            lines.append(f'columns {what}: {", ".join(_by_prefix(columns))}')
    return lines or ['no difference']


def _by_prefix(columns: Sequence[str]) -> list[str]:
    """Return names, those of a set of predictions as one."""
    prefixes = [name.rpartition('/')[0] for name in columns]
    counts = {each: prefixes.count(each) for each in dict.fromkeys(prefixes) if each}
    sets = [f'{prefix}/… ({count})' for prefix, count in counts.items()]
    return sets + [name for name, prefix in zip(columns, prefixes) if not prefix]


def _data(lake: Lake, rows: NDArray[np.int64] | None) -> list[str]:
    columns, table = lake.columns, lake.annotations(rows)
    counts = np.diff(table.offsets)
    sizes = np.unique(np.stack([table.widths, table.heights], axis=1), axis=0)
    classes = columns.class_names
    num_classes = max(len(classes), int(table.labels.max(initial=-1)) + 1)
    per_class = np.bincount(table.labels, minlength=num_classes)
    lines = [
        f'boxes:    {len(table.boxes)} in {np.count_nonzero(counts)} of {len(table)} '
        f'images, at most {counts.max(initial=0)} per image; convention '
        f'{columns.box_format}, style {columns.style}',
        f'          {np.count_nonzero(table.ignore_flags)} crowd or difficult, '
        f'{np.count_nonzero(~has_extent(table))} without extent',
        *_masks_and_maps(lake),
        f'sizes:    {_sizes(sizes)}',
        f'classes:  {len(classes)}' if classes else 'classes:  without names',
    ]
    order = np.argsort(-per_class, kind='stable')
    for label in order[:_SHOWN_CLASSES]:
        name = classes[label] if classes else f'label {label}'
        lines.append(f'  {per_class[label]:8}  {name}')
    if num_classes > _SHOWN_CLASSES:
        lines.append(f'  … and {num_classes - _SHOWN_CLASSES} more')
    return [*lines, '', 'for a config:', *_snippet(lake, num_classes)]


def _masks_and_maps(lake: Lake) -> list[str]:
    lines = []
    if lake.masks is not None and lake.masks.kind is not None:
        lines.append(f'masks:    {lake.masks.kind.value}, column {lake.masks.column}')
    if lake.seg_maps is not None:
        kind = 'segment ids' if lake.seg_maps.panoptic else 'labels'
        lines.append(f'maps:     {kind}, column {lake.seg_maps.column}')
    return lines


def _sizes(sizes: np.ndarray) -> str:
    if len(sizes) == 1:
        return f'all {sizes[0][0]} × {sizes[0][1]} pixels'
    low, high = sizes.min(axis=0), sizes.max(axis=0)
    return (
        f'{len(sizes)} sizes, {low[0]} to {high[0]} pixels wide, '
        f'{low[1]} to {high[1]} high'
    )


def _snippet(lake: Lake, num_classes: int) -> list[str]:
    columns, pin, spec = lake.columns, lake.source.pin, lake.source.spec
    roles = {role: name for role, name in columns.roles if role in _MAIN_ROLES}
    lines = [
        'dict(',
        "    type='DeepLakeDataset',",
        f'    deeplake_path={spec.url!r},',
    ]
    if pin.version and not pin.tag:
        lines.append(f'    deeplake_commit_id={pin.version!r},  # empty: the latest')
    if pin.tag and not spec.suffix:
        lines.append(f'    deeplake_view_id={pin.tag!r},')
    if spec.query:
        lines.append(f'    deeplake_query={spec.query!r},')
    lines.append(f'    deeplake_tensors={roles!r},')
    if not columns.class_names:
        lines.append(f'    metainfo=dict(classes=(…)),  # {num_classes} names')
    heads = f'num_classes={num_classes}'
    if columns.is_panoptic and columns.things:
        things = sum(columns.things)
        stuff = len(columns.things) - things
        heads = f'num_things_classes={things}, num_stuff_classes={stuff}'
    known = {column.name for column in lake.source.handle.schema.columns}
    others = [
        f"  # rows are {what}: type='{dataset}' reads them as such"
        for needed, what, dataset in _OTHER_DATASETS
        if needed <= known
    ]
    return [
        *(f'  {line}' for line in [*lines, '    pipeline=…)']),
        f'  # and {heads} in the head(s) of the model',
        *others,
    ]


def main(argv: Sequence[str] | None = None) -> int:
    """Run :func:`inspect` from the command line and return the exit code."""
    parser = make_parser(
        'inspect',
        'Show what a Deep Lake dataset contains and how this package reads it.',
        'lakes/coco_val --query "SELECT * WHERE width > 600"',
    )
    add_lake_options(parser)
    return run_tool(inspect, parser, argv)


if __name__ == '__main__':
    raise SystemExit(main())
