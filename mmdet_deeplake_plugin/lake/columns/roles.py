"""The roles that a column can play. A new kind of annotation is one more entry."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import Any

from deeplake.types import TypeKind


@dataclass(frozen=True)
class Role:
    """One thing that a sample needs, or may have.

    Args:
        name: Key of ``deeplake_tensors``.
        required: Whether a dataset cannot do without a column for it.
        fits: Tells by a column's type whether it is of that kind; ``None`` if
            the type does not say, so that only a name can.
        usual_names: Column names, in lower case, that are taken for an optional
            role whose type says nothing.
        wanted: What to store, in the words of an error message.
        takes: Tells by a column's type whether it can play the role at all, be it
            given or called by a usual name; ``None`` if any can.
    """

    name: str
    required: bool
    fits: Callable[[Any], bool] | None
    usual_names: tuple[str, ...]
    wanted: str
    takes: Callable[[Any], bool] | None = None


class MaskKind(Enum):
    """How a column stores the masks of an image."""

    TEXT = 'COCO segmentations as JSON'
    POLYGONS = 'one polygon an instance'
    BITMAPS = 'dense masks (H, W, N)'


def kind_of(dtype: Any) -> Any:
    """Kind of a column's type; of what it holds, if it is nullable."""
    if dtype.kind != TypeKind.Nullable:
        return dtype.kind
    text = str(dtype)
    for word, kind in _KINDS_INSIDE.items():
        if word in text:
            return kind
    return TypeKind.Generic


def is_image(dtype: Any) -> bool:
    """Whether a column holds encoded images (not segment masks)."""
    return dtype.is_image or kind_of(dtype) == TypeKind.Image


def is_boxes(dtype: Any) -> bool:
    """Whether a column is declared as bounding boxes."""
    return kind_of(dtype) == TypeKind.BoundingBox


def is_labels(dtype: Any) -> bool:
    """Whether a column is declared as class labels, one or a sequence a row."""
    return kind_of(dtype) == TypeKind.ClassLabel or 'kind=class_label' in str(dtype)


def is_text(dtype: Any) -> bool:
    """Whether a column holds text."""
    return kind_of(dtype) == TypeKind.Text


def mask_kind(dtype: Any) -> MaskKind | None:
    """How a column of a type would store masks, ``None`` if it cannot."""
    return _MASK_KINDS.get(kind_of(dtype))


def is_masks(dtype: Any) -> bool:
    """Whether a column is declared as masks of instances."""
    return mask_kind(dtype) in (MaskKind.POLYGONS, MaskKind.BITMAPS)


def is_seg_map(dtype: Any) -> bool:
    """Whether a column is declared as segmentation maps, one label a pixel."""
    return kind_of(dtype) == TypeKind.SegmentMask


def may_hold_seg_maps(dtype: Any) -> bool:
    """Whether a column can hold segmentation maps: declared, images, or arrays."""
    is_table = 'shape=(None, None' in str(dtype) and dtype.id in _LABEL_TYPES
    return is_seg_map(dtype) or is_image(dtype) or dtype.id == 'bytes' or is_table


_LABEL_TYPES = ('uint8', 'uint16', 'uint32', 'int16', 'int32', 'int64')
_MASK_KINDS = {
    TypeKind.Text: MaskKind.TEXT,
    TypeKind.Polygon: MaskKind.POLYGONS,
    TypeKind.BinaryMask: MaskKind.BITMAPS,
}
_KINDS_INSIDE = {
    'kind=image': TypeKind.Image,
    'kind=bbox': TypeKind.BoundingBox,
    'kind=class_label': TypeKind.ClassLabel,
    'kind=bmask': TypeKind.BinaryMask,
    'kind=smask': TypeKind.SegmentMask,
    'nullable[polygon': TypeKind.Polygon,
    'nullable[text': TypeKind.Text,
}

ROLES: dict[str, Role] = {
    role.name: role
    for role in (
        Role('img', True, is_image, (), 'encoded images, one a row'),
        Role('gt_bboxes', True, is_boxes, (), 'boxes (N, 4), N a row'),
        Role('gt_labels', True, is_labels, (), 'class numbers (N,), N a row'),
        Role(
            'gt_masks',
            False,
            is_masks,
            ('segmentation',),
            'masks, N a row: BinaryMask (H, W, N), Polygon, or the text that '
            'tools.from_coco writes',
            takes=lambda dtype: mask_kind(dtype) is not None,
        ),
        Role(
            'gt_seg_map',
            False,
            is_seg_map,
            ('gt_seg_map', 'seg_map', 'seg_maps'),
            'segmentation maps, one a row: SegmentMask, PNG images, or arrays (H, W) of '
            'whole numbers',
            takes=may_hold_seg_maps,
        ),
        Role(
            'segment_ids',
            False,
            None,
            ('segment_id', 'segment_ids'),
            'ids (N,) of panoptic segments, as the pixels of gt_seg_map have them',
        ),
        Role(
            'gt_ignore_flags',
            False,
            None,
            (
                'iscrowd',
                'is_crowd',
                'iscrowds',
                'crowd',
                'difficult',
                'gt_ignore_flags',
            ),
            'crowd or difficult flags (N,)',
        ),
        Role('area', False, None, ('area', 'areas'), 'areas (N,) in square pixels'),
        Role('ignore', False, None, ('ignore',), "COCO's ignore flags (N,)"),
        Role('img_id', False, None, ('image_id', 'img_id', 'image_ids'), 'image id'),
        Role(
            'file_name',
            False,
            None,
            ('file_name', 'filename', 'file_names', 'filenames'),
            'file name of the image',
        ),
        Role(
            'proposals',
            False,
            None,
            ('proposals',),
            'boxes (P, 4), P a row, of the type BoundingBox',
            takes=is_boxes,
        ),
        Role(
            'proposal_scores',
            False,
            None,
            ('proposal_scores', 'proposals_scores'),
            'scores (P,) of proposals',
        ),
        Role(
            'caption',
            False,
            None,
            ('caption', 'captions'),
            'text, a caption an image, or the captions that tools.from_coco writes',
            takes=is_text,
        ),
        # Never inferred: many lakes have some text that is no prompt of a detector.
        Role('text', False, None, (), 'text, what phrases are parts of', takes=is_text),
        Role(
            'phrases',
            False,
            None,
            (),
            'text, a JSON list of phrase, tokens_positive and boxes',
            takes=is_text,
        ),
        Role('width', False, None, ('width',), 'width in pixels'),
        Role('height', False, None, ('height',), 'height in pixels'),
    )
}
