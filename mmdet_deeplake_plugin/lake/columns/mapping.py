"""Map the columns of a lake to their roles, and find the convention of its boxes.

The column of a role comes from the config (``deeplake_tensors``), else from the column
types. Ambiguous types raise an error that lists the columns; nothing is guessed. The box
convention comes from the config, else from the column's type, else from the ``coords``
of a v3 lake, and is never inferred from values.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...utils.messages import comma_joined, did_you_mean
from ..connection.json_values import is_json, split_key
from ..connection.opening import column_names, metadata_of
from . import names
from .box_format import box_format_of, declared_box_format
from .managed import category_ids, managed_roles
from .roles import (
    EXTRA_BOXES,
    EXTRA_FLAGS,
    EXTRA_NUMBERS,
    ROLES,
    Role,
    is_boxes,
    is_labels,
)

STYLES = (
    *('coco', 'voc', 'panoptic', 'crowdhuman', 'openimages', 'odvg', 'grounding'),
    *('video', 'reid'),
)
# Roles with one value per box, beside boxes and labels.
PER_BOX = (
    *('gt_masks', 'segment_ids', 'gt_ignore_flags', 'area', 'ignore'),
    *EXTRA_BOXES,
    *EXTRA_FLAGS,
    *EXTRA_NUMBERS,
)
_COUNTED = (
    *('segment_ids', 'gt_ignore_flags', 'area', 'ignore', 'img_id', 'file_name'),
    *('width', 'height', 'proposal_scores'),
)


@dataclass(frozen=True)
class Columns:
    """The columns that a dataset reads, and what their numbers mean.

    Args:
        roles: ``(role, column)`` pairs, for roles that have a column.
        box_format: One of :data:`mmdet_deeplake_plugin.structures.boxes.BOX_FORMATS`.
        class_names: Names of the classes by label; empty if the lake has none.
        category_ids: Category id of each class in the source data (COCO's are not
            contiguous); the label itself if the lake stores none.
        style: One of :data:`STYLES`. Decides which annotations training sees, see
            :class:`mmdet_deeplake_plugin.DeepLakeDataset`.
        things: Whether each class is a thing (countable) rather than stuff; empty if
            the lake does not store it.
    """

    roles: tuple[tuple[str, str], ...]
    box_format: str
    class_names: tuple[str, ...]
    category_ids: tuple[int, ...]
    style: str
    things: tuple[bool, ...] = ()

    def labels_of(self, names: NDArray[Any], where: str) -> NDArray[np.int64]:
        """Return the labels of class names, shape ``(N,)``.

        Raises:
            ValueError: If one of them is not a class; the message begins with ``where``.
        """
        labels = {name: label for label, name in enumerate(self.class_names)}
        for name in names.tolist():
            if name not in labels:
                raise ValueError(
                    f'{where}: {name!r} is not a class{did_you_mean(name, labels)}; the '
                    f'classes are {comma_joined(labels)}'
                )
        return np.array([labels[name] for name in names.tolist()], dtype=np.int64)

    def of(self, role: str) -> str | None:
        """Return the name of the column that plays a role, ``None`` without one."""
        return dict(self.roles).get(role)

    @cached_property
    def img(self) -> str:
        """Name of the image column."""
        return dict(self.roles)['img']

    @property
    def is_panoptic(self) -> bool:
        """Whether instances are segments of the row's panoptic map."""
        return self.style == 'panoptic'

    @property
    def is_semantic(self) -> bool:
        """Whether the lake has semantic maps, but no boxes."""
        return self.of('gt_bboxes') is None and self.of('gt_seg_map') is not None


def map_columns(
    handle: Any,
    tensors: Any = None,
    box_format: str | None = None,
    style: str | None = None,
) -> Columns:
    """Find the column of each role in an open lake.

    Args:
        handle: An open Deep Lake dataset or view.
        tensors: ``deeplake_tensors`` of the config: role -> column name. ``None`` as
            the name leaves an optional role (or the annotations of an unlabelled lake)
            without a column.
        box_format: Box convention; overrides the one that the lake declares.
        style: Annotation style; overrides the metadata ``annotation_style`` of the box
            column. Without either it is ``'panoptic'`` if the lake has columns for
            ``gt_seg_map`` and ``segment_ids``, else ``'coco'``.

    Raises:
        TypeError: If ``tensors`` is not a dict.
        ValueError: If a role or column is unknown, a required role matches no column or
            several, the box convention is not declared, or class names repeat.
    """
    types = {column.name: column.dtype for column in handle.schema.columns}
    # Predictions play a role only if the config says so.
    own = {name: types[name] for name in types if not is_predicted(handle, name)}
    if not types:
        raise ValueError(
            'the lake must have columns of images and annotations, but has no columns; '
            'add them with add_column, append rows and commit(), or make the lake with '
            'python -m mmdet_deeplake_plugin.tools.from_coco'
        )
    managed = managed_roles(types)
    requested = {**managed, **check_roles(tensors)}
    _check_columns(requested, types)
    if _has_only_maps(requested, own):
        requested = {'gt_bboxes': None, 'gt_labels': None, **requested}
    roles = {role: name for role, name in requested.items() if name is not None}
    # Proposals have the type of boxes: claim their column before gt_bboxes is inferred.
    for role in sorted(ROLES.values(), key=lambda role: role.name != 'proposals'):
        if role.name not in requested:
            column = _infer(role, own, taken=set(roles.values()))
            if column is not None:
                roles[role.name] = column
    if ('gt_bboxes' in roles) != ('gt_labels' in roles):
        lone = 'gt_labels' if 'gt_bboxes' in roles else 'gt_bboxes'
        raise ValueError(
            'deeplake_tensors: gt_bboxes and gt_labels must both have a column, but '
            f'{lone} is None; set both to None for a lake without annotations'
        )
    if 'gt_bboxes' not in roles:
        for name in PER_BOX:
            roles.pop(name, None)
    _check_proposals(handle, roles.get('proposals'))
    if requested.get('phrases') and 'text' not in roles:
        raise ValueError(
            f'deeplake_tensors: phrases={roles["phrases"]!r} needs a column for text, '
            'but text is not set; write the column with the text that contains the '
            'phrases'
        )
    owner = roles.get('gt_labels') or roles.get('gt_seg_map')
    owner = owner and split_key(owner, types)[0]
    class_names, ids = _classes(handle, owner)
    pair = [roles.get(role) for role in ('gt_bboxes', 'gt_labels')]
    if managed and pair == [managed['gt_bboxes'], managed['gt_labels']]:
        box_format = box_format or 'xywh'
        ids = category_ids(handle, roles, len(class_names))
    if 'gt_bboxes' in roles:
        box_format = box_format_of(handle, roles['gt_bboxes'], types, box_format)
    style = _style(handle, roles, style)
    return Columns(
        roles=tuple(
            (role, column)
            for role, column in roles.items()
            if role in requested or ROLES[role].style in (None, style)
        ),
        box_format=box_format or 'xyxy',
        class_names=class_names,
        category_ids=ids,
        style=style,
        things=_things(handle, owner if 'gt_labels' in roles else None, class_names),
    )


def check_roles(tensors: Any) -> dict[str, str | None]:
    """Check ``deeplake_tensors`` of a config as far as that needs no lake.

    Returns:
        Role -> name of the column.

    Raises:
        TypeError: If it is not a dict, or a column is not named by a string.
        ValueError: If a role is unknown, or the images have no column.
    """
    if tensors is None:
        return {}
    if not isinstance(tensors, Mapping):
        raise TypeError(
            f'deeplake_tensors must be a dict, got {type(tensors).__name__}; write e.g. '
            "{'img': 'images', 'gt_bboxes': 'boxes', 'gt_labels': 'categories'}"
        )
    for role, name in tensors.items():
        if role not in ROLES:
            raise ValueError(
                f'deeplake_tensors: unknown role {role!r}{did_you_mean(role, ROLES)}; '
                f'the roles are {", ".join(ROLES)}'
            )
        if name is None and role == 'img':
            raise ValueError(
                'deeplake_tensors: img must name a column, got None; write the column '
                'with the images'
            )
        if name is not None and not isinstance(name, str):
            raise TypeError(
                f'deeplake_tensors[{role!r}] must be the name of a column or None, got '
                f'{name!r}; write a string'
            )
    return dict(tensors)


def check_style(style: Any) -> None:
    """Refuse an unknown ``annotation_style`` with a ``ValueError``."""
    if not isinstance(style, str) or style not in STYLES:
        raise ValueError(
            f'annotation_style={style!r} is unknown{did_you_mean(style, STYLES)}; '
            'write coco (drops degenerate boxes, like CocoDataset), voc (keeps all '
            'boxes, like XMLDataset), panoptic (like CocoPanopticDataset), crowdhuman '
            '(like CrowdHumanDataset), openimages (like OpenImagesDataset), odvg (like '
            'ODVGDataset), grounding (like the datasets of tools.from_grounding), video '
            '(frames, as DeepLakeVideoDataset reads them) or reid (persons, as '
            'DeepLakeReIDDataset does)'
        )


def is_predicted(handle: Any, name: str) -> bool:
    """Return whether a column holds predictions."""
    return '/' in name and metadata_of(handle[name], names.PREDICTIONS) is not None


def _check_columns(requested: Mapping[str, str | None], types: Mapping[str, Any]) -> None:
    for role, name in requested.items():
        if name is None:
            continue
        column, key = split_key(name, types)
        if column not in types:
            raise ValueError(
                f'deeplake_tensors[{role!r}]={name!r}: the lake has no such column'
                f'{did_you_mean(name, types)}; columns: {", ".join(types)}'
            )
        dtype, takes = types[column], is_json if key else ROLES[role].takes
        if takes is not None and not takes(dtype):
            wanted = f'JSON with a key {key!r}' if key else ROLES[role].wanted
            raise ValueError(_wrong_type(role, name, wanted, dtype))


def _wrong_type(role: str, name: str, wanted: str, dtype: Any) -> str:
    return (
        f'deeplake_tensors[{role!r}]={name!r}: the column must hold {wanted}, but its '
        f'type is {dtype}; write another column'
    )


def _infer(role: Role, types: Mapping[str, Any], taken: set[str]) -> str | None:
    free = {name: dtype for name, dtype in types.items() if name not in taken}
    typed = [name for name, dtype in free.items() if role.fits and role.fits(dtype)]
    named = [name for name in free if name.lower() in role.usual_names]
    wrong = [name for name in named if role.takes and not role.takes(free[name])]
    if wrong and not typed and role.name in _COUNTED:  # leaving it out changes results
        text = _wrong_type(role.name, wrong[0], role.wanted, free[wrong[0]])
        raise ValueError(f'{text}, or None to leave it out')
    named = [name for name in named if name not in wrong]
    # Columns that carry the usual name of another role come last, and are not taken for
    # images, boxes and labels.
    others = {name for other in ROLES.values() for name in other.usual_names}
    others -= set(role.usual_names)
    candidates = [name for name in typed if name.lower() not in others] or named
    if not role.required:
        candidates = candidates or typed
    if len(candidates) == 1:
        return candidates[0]
    if not candidates and not role.required:
        return None
    shown = ', '.join(f'{name} ({types[name]})' for name in types)
    if candidates:
        raise ValueError(
            f'deeplake_tensors[{role.name!r}] is not set and {len(candidates)} columns '
            f'match: {", ".join(candidates)}; write one of them'
            f'{"" if role.required else ", or None for no column"}. Columns: {shown}'
        )
    found = 'no column is'
    if typed:
        found = f'only {comma_joined(typed)}, with the usual name of another role, is'
    raise ValueError(
        f'deeplake_tensors[{role.name!r}] is not set and {found} declared to hold '
        f'{role.wanted}; write the name of the column. Columns: {shown}'
    )


def _check_proposals(handle: Any, column: str | None) -> None:
    if column is not None and declared_box_format(handle, column) is None:
        raise ValueError(
            f'the box convention of the proposals in column {column!r} '
            f'({handle.schema[column].dtype}) is not declared in the lake; store them in '
            "a column of type BoundingBox(dtype='float32', format='ltrb', "
            "bbox_type='pixel'), or write None for proposals in deeplake_tensors"
        )


def _classes(handle: Any, column: str | None) -> tuple[tuple[str, ...], tuple[int, ...]]:
    if column is None:
        return (), ()
    stored = metadata_of(handle[column], names.CLASS_NAMES) or ()
    class_names = tuple(str(name) for name in stored)
    twice = sorted({name for name in class_names if class_names.count(name) > 1})
    if twice:
        raise ValueError(
            f'class_names of column {column!r} must be unique, found more than once: '
            f'{", ".join(twice)}; rename or merge these classes'
        )
    ids = tuple(int(i) for i in metadata_of(handle[column], names.CATEGORY_IDS) or ())
    if ids and len(ids) != len(class_names):
        raise ValueError(
            f'column {column!r} must have one category id per class name: found '
            f'{len(ids)} category_ids for {len(class_names)} class_names'
        )
    return class_names, ids or tuple(range(len(class_names)))


def _has_only_maps(requested: Mapping[str, str | None], types: Mapping[str, Any]) -> bool:
    """Whether a lake has segmentation maps, but no columns typed as boxes or labels."""
    if 'gt_bboxes' in requested or 'gt_labels' in requested:
        return False
    if any(is_boxes(dtype) or is_labels(dtype) for dtype in types.values()):
        return False
    if 'gt_seg_map' in requested:
        return requested['gt_seg_map'] is not None
    return _infer(ROLES['gt_seg_map'], types, taken=set()) is not None


def _things(
    handle: Any, column: str | None, class_names: tuple[str, ...]
) -> tuple[bool, ...]:
    flags = metadata_of(handle[column], names.ISTHING) if column else None
    things = tuple(bool(flag) for flag in flags or ())
    if things and len(things) != len(class_names):
        raise ValueError(
            f'column {column!r} must have one isthing flag per class name: found '
            f'{len(things)} isthing flags for {len(class_names)} class_names'
        )
    return things


def _style(handle: Any, roles: Mapping[str, str], requested: str | None) -> str:
    column = roles.get('gt_bboxes')
    # Stored with the column, as only column metadata is versioned; a lake's is not.
    is_column = column in column_names(handle)  # not a key of one
    declared = metadata_of(handle[column], names.ANNOTATION_STYLE) if is_column else None
    usual = 'panoptic' if {'segment_ids', 'gt_seg_map'} <= roles.keys() else 'coco'
    style = requested or declared or usual
    check_style(style)
    if style == 'panoptic' and 'segment_ids' not in roles:
        raise ValueError(
            "annotation_style='panoptic' needs a column for segment_ids, which links "
            'boxes to segments of the map, but none was found; write deeplake_tensors='
            "{'segment_ids': 'COLUMN'} or annotation_style='coco'"
        )
    return style
