"""The ground truth of predicted images, read from their lakes.

All annotations of an image count, whatever the loader filtered. Several lakes,
as in a ``ConcatDataset``, become one ground truth: their classes are matched by
name, and where two lakes use the same image id, images are numbered anew.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from mmengine.logging import print_log
from numpy.typing import NDArray

from ..datasets.samples import has_extent
from ..evaluation import Federation, GroundTruth
from ..evaluation.federation import FREQUENCIES, joined
from ..lake import Lake
from ..lake.coco_columns import CocoColumns
from ..lake.columns.annotations import AnnotationTable
from ..structures.masks import Segmentation, segmentations_of_bitmaps
from ..structures.seg_maps import decode_ids

_LVIS_KEYS = ('neg_category_ids', 'not_exhaustive_category_ids')
_LVIS_REMEDY = (
    'make the lake by tools.from_coco of an LVIS file, which keeps these, or write '
    "metrics_format='COCO'"
)


def read_ground_truth(
    rows_of: Mapping[Lake, Sequence[int]],
    with_degenerate: bool = True,
    with_masks: bool = False,
    with_federation: bool = False,
    with_stuff: bool = False,
) -> GroundTruth:
    """Reads the annotations of images.

    Args:
        rows_of: Row numbers, each once, of each lake.
        with_degenerate: Whether boxes without extent count in lakes of the style
            ``coco``. ``CocoMetric`` scores them, since they stand in its file;
            ``VOCMetric`` scores what the dataset kept.
        with_masks: Whether to read the masks too.
        with_federation: Whether to read what LVIS says of images and categories.
        with_stuff: Whether the stuff of panoptic lakes counts, or things alone.

    Returns:
        Ground truth of the images, lake by lake, in the order of the rows.

    Raises:
        ValueError: If two rows of a lake have the same image id, or masks or LVIS's
            keys are asked for where there are none.
    """
    parts = [
        _of_lake(lake, rows, with_degenerate, with_masks, with_federation, with_stuff)
        for lake, rows in rows_of.items()
    ]
    return parts[0] if len(parts) == 1 else _joined(parts)


def _of_lake(
    lake: Lake,
    rows: Sequence[int],
    with_degenerate: bool,
    with_masks: bool,
    with_federation: bool,
    with_stuff: bool,
) -> GroundTruth:
    table = lake.annotations(np.asarray(rows, dtype=np.int64))
    img_ids: list[Any] = [i if isinstance(i, str) else int(i) for i in table.img_ids]
    if len(set(img_ids)) < len(img_ids):
        twice = Counter(img_ids).most_common(1)[0][0]
        first, second = [row for row, i in zip(rows, img_ids) if i == twice][:2]
        raise ValueError(
            f'{lake.name}: rows {first} and {second} both have the image id {twice!r}, '
            "and an evaluation needs distinct ones; write deeplake_tensors={'img_id': "
            'None} to use row numbers'
        )
    keep = np.ones(len(table.labels), dtype=bool)
    if lake.columns.style == 'coco' and not with_degenerate:
        keep = has_extent(table) & ~table.excluded
    if lake.columns.is_panoptic and lake.columns.things and not with_stuff:
        keep &= np.asarray(lake.columns.things)[table.labels]
    offsets = np.zeros(len(table) + 1, dtype=np.int64)
    counts = np.bincount(table.row_of_instance[keep], minlength=len(table))
    np.cumsum(counts, out=offsets[1:])
    return GroundTruth(
        img_ids=img_ids,
        widths=table.widths,
        heights=table.heights,
        file_names=list(table.file_names),
        offsets=offsets,
        boxes_xywh=table.boxes_xywh[keep],
        boxes_xyxy=table.boxes_xyxy[keep],
        labels=table.labels[keep],
        category_names=lake.columns.class_names,
        category_ids=lake.columns.category_ids,
        areas=table.areas[keep],
        crowd=table.ignore_flags[keep],
        excluded=table.excluded[keep],
        segmentations=_masks_of(lake, table, keep) if with_masks else None,
        federation=_federation_of(lake, table.rows) if with_federation else None,
        segment_ids=table.segment_ids[keep] if lake.columns.is_panoptic else None,
    )


def _masks_of(
    lake: Lake, table: AnnotationTable, keep: NDArray[np.bool_]
) -> list[Segmentation]:
    if lake.columns.is_panoptic and lake.seg_maps is not None:
        return _masks_of_segments(lake, table, keep)
    if lake.masks is None:
        raise ValueError(
            f"metric 'segm' compares masks, but {lake.name} has no column for gt_masks; "
            "write metric='bbox', or name the column in deeplake_tensors"
        )
    packed = lake.masks.packed(table.rows)
    sizes = zip(table.widths.tolist(), table.heights.tolist())
    counts = np.diff(table.offsets).tolist()
    masks: list[Segmentation] = []
    for index, (row, count, size) in enumerate(zip(table.rows.tolist(), counts, sizes)):
        text = None if packed is None else packed[index]
        masks += lake.masks.of_row(row, count, size, text)
    return [masks[index] for index in np.flatnonzero(keep).tolist()]


def _masks_of_segments(
    lake: Lake, table: AnnotationTable, keep: NDArray[np.bool_]
) -> list[Segmentation]:
    """Codes of what segments cover in the maps of a panoptic lake."""
    masks: list[Segmentation] = []
    for index, row in enumerate(table.rows.tolist()):
        own = slice(*table.offsets[index : index + 2])
        wanted = table.segment_ids[own][keep[own]]
        if len(wanted) and lake.seg_maps is not None:
            ids = decode_ids(lake.seg_maps.of_row(row))
            # One at a time: all of an image fill as many bytes as pixels times segments.
            for one in wanted:
                masks += segmentations_of_bitmaps((ids == one)[..., None])
    return masks


def _federation_of(lake: Lake, rows: NDArray[np.int64]) -> Federation:
    origin = CocoColumns(lake.source, lake.columns)
    frequencies = [str(category.get('frequency')) for category in origin.categories()]
    for category, frequency in zip(lake.columns.class_names, frequencies):
        if frequency not in FREQUENCIES:
            raise ValueError(
                "metrics_format='LVIS' groups classes by frequency (r, c, f), but "
                f'{lake.name} has {frequency} for {category!r}; {_LVIS_REMEDY}'
            )
    images = origin.image_keys(rows)
    for row, image in zip(rows.tolist(), images):
        for key in _LVIS_KEYS:
            if not isinstance(image.get(key), list):
                raise ValueError(
                    f"metrics_format='LVIS' needs {key} of each image, but row {row} of "
                    f'{lake.name} has {image.get(key)!r}; {_LVIS_REMEDY}'
                )
    negatives, not_exhaustive = ([image[key] for image in images] for key in _LVIS_KEYS)
    return Federation(negatives, not_exhaustive, tuple(frequencies))


def _joined_federation(parts: Sequence[GroundTruth]) -> Federation | None:
    found = [part.federation for part in parts if part.federation is not None]
    if len(found) < len(parts):
        return None
    if len({(part.category_names, part.category_ids) for part in parts}) > 1:
        raise ValueError(
            "metrics_format='LVIS' scores several lakes together only if they have the "
            'same categories, with the same ids, in the same order'
        )
    return joined(found)


def _joined(parts: Sequence[GroundTruth]) -> GroundTruth:
    ids: dict[str, int] = {}
    for part in parts:
        for name, category_id in zip(part.category_names, part.category_ids):
            if name not in ids:
                taken = set(ids.values())
                ids[name] = category_id if category_id not in taken else max(taken) + 1
    names = tuple(ids)
    img_ids: list[Any] = [img_id for part in parts for img_id in part.img_ids]
    if len({str(img_id) for img_id in img_ids}) < len(img_ids):
        print_log(
            'DeepLakeMetric: lakes use the same image ids; for this evaluation images '
            f'are numbered from 0 to {len(img_ids) - 1}',
            logger='current',
        )
        img_ids = list(range(len(img_ids)))
    elif len({type(img_id) for img_id in img_ids}) > 1:
        img_ids = [str(img_id) for img_id in img_ids]
    counts = np.concatenate([np.diff(part.offsets) for part in parts])
    labels = [
        np.array([names.index(name) for name in part.category_names])[part.labels]
        for part in parts
    ]
    return GroundTruth(
        img_ids=img_ids,
        file_names=[name for part in parts for name in part.file_names],
        offsets=np.concatenate([[0], np.cumsum(counts)]),
        labels=np.concatenate(labels),
        category_names=names,
        category_ids=tuple(ids.values()),
        segmentations=[mask for part in parts for mask in part.segmentations or ()]
        if all(part.segmentations is not None for part in parts)
        else None,
        federation=_joined_federation(parts),
        segment_ids=np.concatenate([part.segment_ids for part in parts])
        if all(part.segment_ids is not None for part in parts)
        else None,
        **{
            field: np.concatenate([getattr(part, field) for part in parts])
            for field in (
                'widths',
                'heights',
                'boxes_xywh',
                'boxes_xyxy',
                'areas',
                'crowd',
                'excluded',
            )
        },
    )
