"""Shows what a lake holds and what this package would make of it.

Columns and the role that each would get, box convention, classes, numbers of
rows and boxes, saved views and versions, and a config snippet to paste.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..datasets.samples import has_extent
from ..lake import (
    Lake,
    LakeSource,
    LakeSpec,
    open_columns,
    open_source,
)
from ._cli import make_parser, run_tool

_SHOWN_CLASSES = 20
_SHOWN_VERSIONS = 5
_MAIN_ROLES = ('img', 'gt_bboxes', 'gt_labels', 'gt_masks', 'gt_seg_map', 'segment_ids')


@dataclass(frozen=True)
class _Found:
    """A lake with what could be told of it."""

    spec: LakeSpec
    source: LakeSource
    rows: Any
    lake: Lake | None
    problem: str


def inspect(
    path: str,
    credentials: dict[str, Any] | None = None,
    commit_id: str = '',
    view_id: str = '',
    query: str = '',
) -> str:
    """Describes a lake.

    Args:
        path: ``deeplake_path`` of a config.
        credentials: ``deeplake_credentials`` of a config.
        commit_id: ``deeplake_commit_id`` of a config.
        view_id: ``deeplake_view_id`` of a config.
        query: ``deeplake_query`` of a config.

    Returns:
        Text of several lines. If the roles are ambiguous or the data is wrong,
        it says so and shows what can be shown.

    Raises:
        ValueError, FileNotFoundError, PermissionError, ConnectionError: If the
            lake cannot be opened as asked.
    """
    spec = LakeSpec.from_config(path, credentials, commit_id, view_id, query)
    source, rows = open_source(spec)
    try:
        lake, problem = open_columns(source), ''
    except ValueError as error:
        lake, problem = None, str(error)
    found = _Found(spec, source, rows, lake, problem)
    return '\n'.join([*_state(found), '', *_columns(found), '', *_data(found)])


def _state(found: _Found) -> list[str]:
    pin, handle = found.source.pin, found.source.handle
    chosen = pin.num_rows if found.rows is None else len(found.rows)
    lines = [
        f'lake:     {found.spec.path}',
        f'format:   Deep Lake {"3 (read through a query)" if pin.is_v3 else "4"}',
        f'rows:     {pin.num_rows}'
        + (f', {chosen} chosen' if found.rows is not None else ''),
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
    return lines


def _columns(found: _Found) -> list[str]:
    roles = {}
    if found.lake is not None:
        roles = {column: role for role, column in found.lake.columns.roles}
    columns = list(found.source.handle.schema.columns)
    width = max(len(column.name) for column in columns)
    return ['columns:   (role, name, type)'] + [
        f'  {roles.get(column.name, "-"):16}{column.name:{width}}  {column.dtype}'
        for column in columns
    ]


def _data(found: _Found) -> list[str]:
    lake = found.lake
    if lake is None:
        return [f'problem: {found.problem}']
    columns = lake.columns
    try:
        table = lake.annotations(found.rows)
    except ValueError as error:
        return [f'problem: {error}']
    counts = np.diff(table.offsets)
    sizes = np.unique(np.stack([table.widths, table.heights], axis=1), axis=0)
    names = columns.class_names
    known = max(len(names), int(table.labels.max(initial=-1)) + 1)
    per_class = np.bincount(table.labels, minlength=known)
    lines = [
        f'boxes:    {len(table.boxes)} in {np.count_nonzero(counts)} of {len(table)} '
        f'images, at most {counts.max(initial=0)} in one; convention '
        f'{columns.box_format}, style {columns.style}',
        f'          {np.count_nonzero(table.ignore_flags)} crowd or difficult, '
        f'{np.count_nonzero(~has_extent(table))} without extent',
        *_masks(lake),
        *_maps(lake),
        f'sizes:    {_sizes(sizes)}',
        f'classes:  {len(names)}' if names else 'classes:  no class names',
    ]
    order = np.argsort(-per_class, kind='stable')
    for label in order[:_SHOWN_CLASSES]:
        name = names[label] if names else f'label {label}'
        lines.append(f'  {per_class[label]:8}  {name}')
    if known > _SHOWN_CLASSES:
        lines.append(f'  … and {known - _SHOWN_CLASSES} more')
    return [*lines, '', 'for a config:', *_snippet(found, lake, known)]


def _masks(lake: Lake) -> list[str]:
    if lake.masks is None or lake.masks.kind is None:
        return []
    return [f'masks:    {lake.masks.kind.value}, column {lake.masks.column}']


def _maps(lake: Lake) -> list[str]:
    if lake.seg_maps is None:
        return []
    kind = 'ids of segments' if lake.seg_maps.panoptic else 'labels'
    return [f'maps:     {kind}, column {lake.seg_maps.column}']


def _sizes(sizes: np.ndarray) -> str:
    if len(sizes) == 1:
        return f'all {sizes[0][0]} × {sizes[0][1]} pixels'
    low, high = sizes.min(axis=0), sizes.max(axis=0)
    return (
        f'{len(sizes)} sizes, {low[0]} to {high[0]} pixels wide, '
        f'{low[1]} to {high[1]} high'
    )


def _snippet(found: _Found, lake: Lake, num_classes: int) -> list[str]:
    columns = lake.columns
    pin = found.source.pin
    roles = {role: name for role, name in columns.roles if role in _MAIN_ROLES}
    lines = [
        'dict(',
        "    type='DeepLakeDataset',",
        f'    deeplake_path={found.spec.url!r},',
    ]
    if pin.version and not pin.tag:
        lines.append(f'    deeplake_commit_id={pin.version!r},  # empty: the newest')
    if pin.tag and not found.spec.suffix:
        lines.append(f'    deeplake_view_id={pin.tag!r},')
    if found.spec.query:
        lines.append(f'    deeplake_query={found.spec.query!r},')
    lines.append(f'    deeplake_tensors={roles!r},')
    if not columns.class_names:
        lines.append(f'    metainfo=dict(classes=(…)),  # {num_classes} names')
    heads = f'num_classes={num_classes}'
    if columns.is_panoptic and columns.things:
        things = sum(columns.things)
        stuff = len(columns.things) - things
        heads = f'num_things_classes={things}, num_stuff_classes={stuff}'
    return [f'  {line}' for line in [*lines, '    pipeline=…)']] + [
        f'  # and {heads} in the head(s) of the model'
    ]


def main(argv: Sequence[str] | None = None) -> int:
    """Command line of :func:`inspect`; returns the exit code."""
    parser = make_parser(
        'inspect',
        'Shows what a Deep Lake dataset holds and how this package reads it.',
        'lakes/coco_val --query "SELECT * WHERE width > 600"',
    )
    parser.add_argument('path', metavar='PATH', help='a folder, s3://…, al://org/name')
    parser.add_argument('--commit', default='', help='version id (default: the newest)')
    parser.add_argument('--view', default='', help='name of a saved view (tag)')
    parser.add_argument('--query', default='', help='TQL that selects rows')
    parser.add_argument(
        '--token', metavar='REF', help="Deep Lake token as 'env:NAME' or 'file:PATH'"
    )
    parser.add_argument(
        '--creds',
        metavar='REF',
        help="storage credentials as JSON in 'env:NAME' or 'file:PATH'",
    )
    args = parser.parse_args(argv)
    credentials = dict(token=args.token, creds=args.creds)
    return run_tool(
        lambda: inspect(args.path, credentials, args.commit, args.view, args.query)
    )


if __name__ == '__main__':
    raise SystemExit(main())
