"""Define the roles that columns can play.

A new kind of annotation is one more entry in :data:`ROLES`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import Any

from deeplake.types import TypeKind

from ..connection.json_values import is_json
from ..connection.text_lists import is_text_list


@dataclass(frozen=True)
class Role:
    """A kind of data that a sample needs, or may have.

    Args:
        name: Key of ``deeplake_tensors``.
        wanted: What the column must hold, worded for error messages.
        usual_names: Column names, in lower case, that identify the role where the type
            does not.
        takes: Whether a column of a type can play the role at all, if the config or a
            usual name selects it; ``None`` if any type can.
        fits: Whether a column of a type is declared for this role; ``None`` if no type
            is specific to it, so that only the name counts.
        style: The annotation style in which usual names count; ``None`` for every style.
        required: Whether a dataset needs a column for the role.
    """

    name: str
    wanted: str
    usual_names: tuple[str, ...] = ()
    takes: Callable[[Any], bool] | None = None
    fits: Callable[[Any], bool] | None = None
    style: str | None = None
    required: bool = False


class MaskKind(Enum):
    """How a column stores the masks of an image."""

    TEXT = 'COCO segmentations as JSON'
    POLYGONS = 'one polygon per instance'
    BITMAPS = 'dense masks (H, W, N)'


def kind_of(dtype: Any) -> Any:
    """Return the kind of a column's type; of the inner type, if it is nullable."""
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
    """Whether a column is declared as class labels, one or a sequence per row."""
    return kind_of(dtype) == TypeKind.ClassLabel or 'kind=class_label' in str(dtype)


def is_text(dtype: Any) -> bool:
    """Whether a column holds text."""
    return kind_of(dtype) == TypeKind.Text


def mask_kind(dtype: Any) -> MaskKind | None:
    """Return how a column of a type stores masks, ``None`` if it cannot."""
    return _MASK_KINDS.get(kind_of(dtype))


def is_masks(dtype: Any) -> bool:
    """Whether a column is declared as instance masks."""
    return mask_kind(dtype) in (MaskKind.POLYGONS, MaskKind.BITMAPS)


def is_seg_map(dtype: Any) -> bool:
    """Whether a column is declared as segmentation maps, one label per pixel."""
    return kind_of(dtype) == TypeKind.SegmentMask


def may_hold_seg_maps(dtype: Any) -> bool:
    """Whether a column can hold segmentation maps: as such, as images or as arrays."""
    is_table = 'shape=(None, None' in str(dtype) and dtype.id in _LABEL_TYPES
    return is_seg_map(dtype) or is_image(dtype) or dtype.id == 'bytes' or is_table


def holds_numbers(dtype: Any) -> bool:
    """Whether a column can hold numbers: as such, or as JSON."""
    is_picture = is_image(dtype) or is_seg_map(dtype) or is_masks(dtype)
    return is_json(dtype) or (dtype.id in _NUMBERS and not is_picture)


def holds_several(dtype: Any) -> bool:
    """Whether a column can hold several values per row, such as one for each box."""
    if any(word in str(dtype) for word in _FILES):
        return False
    return holds_numbers(dtype) or is_masks(dtype) or dtype.is_sequence


def holds_labels(dtype: Any) -> bool:
    """Whether a column can hold labels, or the names of classes in place of them."""
    return holds_numbers(dtype) or is_text_list(dtype)


def holds_ids(dtype: Any) -> bool:
    """Whether a column can hold one number or text per row."""
    return dtype.id in _NUMBERS or is_json(dtype)


_NUMBERS = (
    *('bool', 'float16', 'float32', 'float64'),
    *(f'{sign}int{bits}' for sign in ('', 'u') for bits in (8, 16, 32, 64)),
)
# Types whose values are whole files, possibly to be downloaded.
_FILES = ('kind=link', 'kind=image', 'kind=audio', 'kind=medical', 'mesh')
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

# What instances have beside a box and a label, by the key in the sample.
EXTRA_BOXES = {'hbox': 'head_boxes', 'vbox': 'visible_boxes'}
EXTRA_FLAGS: dict[str, tuple[str, ...]] = {
    'is_occluded': (),
    'is_truncated': (),
    'is_group_of': ('is_group_ofs',),  # as OpenImagesChallengeDataset spells it
    'is_depiction': (),
    'is_inside': (),
}
# The key in an instance, and the type of the number.
EXTRA_NUMBERS = {
    'gt_instance_ids': ('instance_id', 'int64'),
    'mot_conf': ('mot_conf', 'float64'),
    'visibility': ('visibility', 'float64'),
}


def _named(
    name: str,
    wanted: str,
    *others: str,
    takes: Callable[[Any], bool] = holds_numbers,
    style: str | None = None,
) -> Role:
    """Return a role whose column is found by the name of the role, or by another."""
    return Role(name, wanted, (name, *others), takes, style=style)


# In the order in which columns are found.
ROLES: dict[str, Role] = {
    role.name: role
    for role in (
        Role('img', 'encoded images, one per row', fits=is_image, required=True),
        Role(
            'gt_bboxes',
            'boxes of shape (N, 4)',
            takes=holds_numbers,
            fits=is_boxes,
            required=True,
        ),
        Role(
            'gt_labels',
            'class labels of shape (N,), or a list of their names',
            takes=holds_labels,
            fits=is_labels,
            required=True,
        ),
        Role(
            'gt_masks',
            'N masks per row: BinaryMask (H, W, N), Polygon, or the text that '
            'tools.from_coco writes',
            ('segmentation',),
            takes=lambda dtype: mask_kind(dtype) is not None,
            fits=is_masks,
        ),
        Role(
            'gt_seg_map',
            'segmentation maps, one per row: SegmentMask, PNG images, or integer arrays '
            '(H, W)',
            ('gt_seg_map', 'seg_map', 'seg_maps'),
            takes=may_hold_seg_maps,
            fits=is_seg_map,
        ),
        _named(
            'segment_ids',
            'ids (N,) of panoptic segments, equal to their pixel values in gt_seg_map',
            'segment_id',
        ),
        _named(
            'gt_ignore_flags',
            'crowd or difficult flags (N,)',
            *('iscrowd', 'is_crowd', 'iscrowds', 'crowd', 'difficult'),
        ),
        _named('area', 'areas (N,) in square pixels', 'areas'),
        _named('ignore', "COCO's ignore flags (N,)"),
        _named(
            'img_id',
            'image id, a number or text',
            *('image_id', 'image_ids'),
            takes=holds_ids,
        ),
        _named(
            'file_name',
            'file name of the image, as text',
            *('filename', 'file_names', 'filenames'),
            takes=is_json,
        ),
        _named('proposals', 'boxes of shape (P, 4) and type BoundingBox', takes=is_boxes),
        _named('proposal_scores', 'scores (P,) of proposals', 'proposals_scores'),
        _named(
            'caption',
            'text: one caption per image, or the captions that tools.from_coco writes',
            'captions',
            takes=is_text,
        ),
        # Inferred in one style only: many lakes have text that is not a prompt.
        _named('text', 'text, which contains the phrases', takes=is_text, style='odvg'),
        _named(
            'phrases',
            'text: a JSON list of dicts with phrase, tokens_positive and boxes',
            takes=is_text,
            style='odvg',
        ),
        _named(
            'grounding',
            'text: a JSON object with keys of the sample, as tools.from_grounding '
            'writes it',
            takes=is_text,
            style='grounding',
        ),
        _named('width', 'width in pixels'),
        _named('height', 'height in pixels'),
        *(
            _named(
                key,
                'further boxes (N, 4) of type BoundingBox',
                column,
                takes=is_boxes,
                style='crowdhuman',
            )
            for key, column in EXTRA_BOXES.items()
        ),
        *(
            _named(key, 'flags (N,)', *others, style='openimages')
            for key, others in EXTRA_FLAGS.items()
        ),
        *(
            _named(key, f'{key} of each image, a list of numbers', style='openimages')
            for key in ('image_level_labels', 'confidences')
        ),
        _named('video_id', 'the id of the video, an integer per row', style='video'),
        _named(
            'frame_id',
            'the place of the frame in its video, an integer per row, from 0',
            style='video',
        ),
        _named(
            'gt_instance_ids',
            'ids (N,) of the objects, the same in all frames of a video',
            'instance_id',
            style='video',
        ),
        _named('mot_conf', 'flags (N,), 0 for what MOT ignores', style='video'),
        _named('visibility', 'visible fractions (N,), 0 to 1', style='video'),
        _named('person_id', 'whom the image shows, an integer per row', style='reid'),
    )
}
