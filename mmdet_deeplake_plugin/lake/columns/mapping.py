"""Which column of a lake plays which role, and how its boxes are meant.

A role is given in the config (``deeplake_tensors``) or inferred from the
column's type; what the type leaves open is an error that lists the columns,
never a guess. The box convention comes from the config, else from the column's
type, else from the ``coords`` of a v3 lake, and is never read from values.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from deeplake import types as T

from ...structures.boxes import check_box_format
from ...utils.messages import did_you_mean
from . import names
from .roles import ROLES, Role, is_boxes, is_labels

STYLES = ('coco', 'voc', 'panoptic')
_PER_BOX = ('gt_masks', 'segment_ids', 'gt_ignore_flags', 'area', 'ignore')
_ORDERS = {'ltrb': 'xyxy', 'ltwh': 'xywh', 'ccwh': 'cxcywh'}
_UNITS = {'pixel': '', 'fractional': 'n'}


@dataclass(frozen=True)
class Columns:
    """The columns that a dataset reads, and what their numbers mean.

    Args:
        roles: ``(role, column)`` pairs of the roles that have a column.
        box_format: One of :data:`mmdet_deeplake_plugin.structures.boxes.BOX_FORMATS`.
        class_names: Names of the classes by label; empty if the lake has none.
        category_ids: The source's category id of each class (COCO's are not
            contiguous); the label itself if the lake holds none.
        style: ``'coco'``, ``'voc'`` or ``'panoptic'``: which annotations training
            sees, see :class:`mmdet_deeplake_plugin.DeepLakeDataset`.
        things: Whether each class is a thing (can be counted) or stuff; empty if the
            lake does not say.
    """

    roles: tuple[tuple[str, str], ...]
    box_format: str
    class_names: tuple[str, ...]
    category_ids: tuple[int, ...]
    style: str
    things: tuple[bool, ...] = ()

    def of(self, role: str) -> str | None:
        """Name of the column that plays a role, ``None`` if none does."""
        return dict(self.roles).get(role)

    @cached_property
    def img(self) -> str:
        """Name of the column with the images."""
        return dict(self.roles)['img']

    @property
    def is_panoptic(self) -> bool:
        """Whether an instance is a segment of the row's map."""
        return self.style == 'panoptic'

    @property
    def is_semantic(self) -> bool:
        """Whether there are maps alone, and no boxes."""
        return self.of('gt_bboxes') is None and self.of('gt_seg_map') is not None


def map_columns(
    handle: Any,
    tensors: Any = None,
    box_format: str | None = None,
    style: str | None = None,
) -> Columns:
    """Settles the roles of an open lake.

    Args:
        handle: An open Deep Lake dataset or view.
        tensors: ``deeplake_tensors`` of the config: role -> column name, or
            ``None`` to leave an optional role (or the annotations of an
            unlabelled lake) without a column.
        box_format: Box convention that overrides what the lake declares.
        style: Annotation style that overrides what the metadata
            ``annotation_style`` of the box column declares; if neither is there,
            ``'panoptic'`` if columns play ``gt_seg_map`` and ``segment_ids``, else
            ``'coco'``.

    Raises:
        ValueError: If a role or column is unknown, a required role has no
            column or several, the box convention is declared nowhere, or the
            class names are no list of distinct names.
    """
    types = {column.name: column.dtype for column in handle.schema.columns}
    given = _check_given(tensors, types)
    if _maps_alone(given, types):
        given = {'gt_bboxes': None, 'gt_labels': None, **given}
    roles = {role: name for role, name in given.items() if name is not None}
    # What is called proposals has the type of boxes, but is no annotation: it goes first.
    for role in sorted(ROLES.values(), key=lambda role: role.name != 'proposals'):
        if role.name not in given:
            found = _infer(role, types, taken=set(roles.values()))
            if found is not None:
                roles[role.name] = found
    if ('gt_bboxes' in roles) != ('gt_labels' in roles):
        lone = 'gt_labels' if 'gt_bboxes' in roles else 'gt_bboxes'
        raise ValueError(
            f'deeplake_tensors: {lone} is None, but boxes and labels go together; '
            'set both to None for a lake without annotations'
        )
    if 'gt_bboxes' not in roles:
        for name in _PER_BOX:  # these are read in step with boxes
            roles.pop(name, None)
    _check_proposals(handle, roles.get('proposals'))
    if 'phrases' in roles and 'text' not in roles:
        raise ValueError(
            f'deeplake_tensors: phrases is {roles["phrases"]!r}, but text is not given; '
            'write the column with the text that the phrases are parts of'
        )
    owner = roles.get('gt_labels') or roles.get('gt_seg_map')
    class_names, category_ids = _classes(handle, owner)
    if 'gt_bboxes' in roles:
        box_format = _box_format(
            handle, roles['gt_bboxes'], types[roles['gt_bboxes']], box_format
        )
    return Columns(
        roles=tuple(roles.items()),
        box_format=box_format or 'xyxy',
        class_names=class_names,
        category_ids=category_ids,
        style=_style(handle, roles, style),
        things=_things(handle, roles.get('gt_labels'), class_names),
    )


def declared_box_format(handle: Any, column: str) -> str | None:
    """The box convention that a column's type or v3 metadata declares.

    Args:
        handle: An open Deep Lake dataset or view.
        column: Name of the column.

    Returns:
        One of :data:`mmdet_deeplake_plugin.structures.boxes.BOX_FORMATS`, or ``None`` if
        none is declared.
    """
    dtype = handle.schema[column].dtype
    # No attribute of the type tells format and unit; being equal to one does.
    for order, name in _ORDERS.items():
        for unit, suffix in _UNITS.items():
            candidate = T.BoundingBox(dtype=dtype.id, format=order, bbox_type=unit)
            if dtype in (candidate, T.Nullable(candidate)):
                return name + suffix
    coords = metadata_of(handle[column], 'coords')
    if not isinstance(coords, Mapping):
        return None
    stated_order = _ORDERS.get(str(coords.get('mode', '')).lower())
    stated_unit = _UNITS.get(str(coords.get('type', '')).lower())
    if stated_order is None or stated_unit is None:
        return None
    return stated_order + stated_unit


def _check_given(tensors: Any, types: Mapping[str, Any]) -> dict[str, str | None]:
    if not tensors:
        return {}
    if not isinstance(tensors, Mapping):
        raise TypeError(
            f'deeplake_tensors is a {type(tensors).__name__}; write a dict such as '
            "{'img': 'images', 'gt_bboxes': 'boxes', 'gt_labels': 'categories'}"
        )
    for role, name in tensors.items():
        if role not in ROLES:
            raise ValueError(
                f'deeplake_tensors: {role!r} is no role{did_you_mean(role, ROLES)}; the '
                f'roles are {", ".join(ROLES)}'
            )
        if name is None and role == 'img':
            raise ValueError(
                'deeplake_tensors: img is None, but every sample needs an image'
            )
        if name is None:
            continue
        if name not in types:
            raise ValueError(
                f'deeplake_tensors[{role!r}]={name!r}: the lake has no such column'
                f'{did_you_mean(name, types)}; columns: {", ".join(types)}'
            )
        takes = ROLES[role].takes
        if takes is not None and not takes(types[name]):
            raise ValueError(
                f'deeplake_tensors[{role!r}]={name!r}: that column is {types[name]}, but '
                f'the role takes {ROLES[role].wanted}'
            )
    return dict(tensors)


def _infer(role: Role, types: Mapping[str, Any], taken: set[str]) -> str | None:
    free = {name: dtype for name, dtype in types.items() if name not in taken}
    candidates = []
    if role.fits is not None:
        candidates = [name for name, dtype in free.items() if role.fits(dtype)]
    if not candidates:
        candidates = [
            name
            for name, dtype in free.items()
            if name.lower() in role.usual_names
            and (role.takes is None or role.takes(dtype))
        ]
    if len(candidates) > 1:
        # A column of images that is called by another role's name plays that role.
        others = {name for other in ROLES.values() for name in other.usual_names}
        others -= set(role.usual_names)
        candidates = [c for c in candidates if c.lower() not in others] or candidates
    if len(candidates) == 1:
        return candidates[0]
    if not candidates and not role.required:
        return None
    shown = ', '.join(f'{name} ({types[name]})' for name in types)
    if candidates:
        raise ValueError(
            f'deeplake_tensors[{role.name!r}] is not given and {len(candidates)} columns '
            f'fit: {", ".join(candidates)}; write one of them'
            f'{"" if role.required else ", or None to do without"}. Columns: {shown}'
        )
    raise ValueError(
        f'deeplake_tensors[{role.name!r}] is not given and no column is declared to hold '
        f'{role.wanted}; write its name. Columns: {shown}'
    )


def _box_format(handle: Any, column: str, dtype: Any, given: str | None) -> str:
    if given is not None:
        return check_box_format(given)
    declared = declared_box_format(handle, column)
    if declared is None:
        raise ValueError(
            f'the lake does not say how the boxes of column {column!r} ({dtype}) are '
            'meant; write box_format= xyxy, xywh or cxcywh for pixels, xyxyn, xywhn or '
            'cxcywhn for fractions of the image'
        )
    return declared


def _check_proposals(handle: Any, column: str | None) -> None:
    if column is not None and declared_box_format(handle, column) is None:
        raise ValueError(
            f'the lake does not say how the proposals of column {column!r} '
            f'({handle.schema[column].dtype}) are meant; store them in a column of the '
            "type BoundingBox(dtype='float32', format='ltrb', bbox_type='pixel'), or "
            'write None for proposals in deeplake_tensors'
        )


def _classes(handle: Any, column: str | None) -> tuple[tuple[str, ...], tuple[int, ...]]:
    if column is None:
        return (), ()
    stored = metadata_of(handle[column], names.CLASS_NAMES) or ()
    class_names = tuple(str(name) for name in stored)
    twice = sorted({name for name in class_names if class_names.count(name) > 1})
    if twice:
        raise ValueError(
            f'class_names of column {column!r} holds {", ".join(twice)} more than once; '
            'names must tell classes apart'
        )
    ids = tuple(int(i) for i in metadata_of(handle[column], names.CATEGORY_IDS) or ())
    if ids and len(ids) != len(class_names):
        raise ValueError(
            f'column {column!r} has {len(class_names)} class_names, but {len(ids)} '
            'category_ids; write one id a name'
        )
    return class_names, ids or tuple(range(len(class_names)))


def _maps_alone(given: Mapping[str, str | None], types: Mapping[str, Any]) -> bool:
    """Whether a lake has segmentation maps, and no column that is declared a box."""
    if 'gt_bboxes' in given or 'gt_labels' in given:
        return False
    if any(is_boxes(dtype) or is_labels(dtype) for dtype in types.values()):
        return False
    if 'gt_seg_map' in given:
        return given['gt_seg_map'] is not None
    return _infer(ROLES['gt_seg_map'], types, taken=set()) is not None


def _things(
    handle: Any, column: str | None, class_names: tuple[str, ...]
) -> tuple[bool, ...]:
    flags = metadata_of(handle[column], names.ISTHING) if column else None
    things = tuple(bool(flag) for flag in flags or ())
    if things and len(things) != len(class_names):
        raise ValueError(
            f'column {column!r} has {len(class_names)} class_names, but {len(things)} '
            'isthing; write one flag a name'
        )
    return things


def _style(handle: Any, roles: Mapping[str, str], given: str | None) -> str:
    column = roles.get('gt_bboxes')
    # In the metadata of the column, which has versions; a lake's own has none.
    declared = metadata_of(handle[column], names.ANNOTATION_STYLE) if column else None
    usual = 'panoptic' if {'segment_ids', 'gt_seg_map'} <= roles.keys() else 'coco'
    style = given or declared or usual
    if style not in STYLES:
        raise ValueError(
            f'annotation_style={style!r} is unknown{did_you_mean(style, STYLES)}; '
            'write coco (degenerate boxes are left out, as CocoDataset does), voc (all '
            'boxes are kept, as XMLDataset does) or panoptic (as CocoPanopticDataset does)'
        )
    if style == 'panoptic' and 'segment_ids' not in roles:
        raise ValueError(
            "annotation_style='panoptic': no column plays segment_ids, so nothing tells "
            'which segment of the map a box belongs to; write deeplake_tensors='
            "{'segment_ids': 'COLUMN'} or annotation_style='coco'"
        )
    return style


def metadata_of(owner: Any, key: str) -> Any:
    """A value of the metadata of a column or a lake, ``None`` if it has none."""
    metadata = owner.metadata  # has no get()
    return metadata[key] if key in metadata.keys() else None
