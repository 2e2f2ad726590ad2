"""Read the ground truth of predicted images from their lakes.

All annotations of an image count, whatever the loader filtered. Several lakes, as in a
``ConcatDataset``, become one ground truth.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..datasets.samples import has_extent
from ..evaluation import Federation, GroundTruth, OpenImagesKeys, join_ground_truth
from ..evaluation.federation import FREQUENCIES
from ..lake import AnnotationTable, CocoColumns, Lake, metadata_of, names
from ..structures.masks import Segmentation, segmentations_of_bitmaps
from ..structures.seg_maps import decode_ids
from ..utils.ragged import offsets_of

_LVIS_REMEDY = (
    'make the lake by tools.from_coco from an LVIS file, which keeps these, or write '
    "metrics_format='COCO'"
)


@dataclass(eq=False)
class GroundTruthReader:
    """Reads the annotations of images, and keeps those that it read last.

    Args:
        with_degenerate: Whether boxes without extent count in lakes of the style
            ``coco``. ``CocoMetric`` scores them, since its file has them; ``VOCMetric``
            scores what the dataset kept.
        with_masks: Whether to read the masks too.
        with_federation: Whether to read LVIS's keys of images and categories.
        with_stuff: Whether the stuff of panoptic lakes counts, or things alone.
        with_open_images: Whether to read what OpenImages says beside boxes.
    """

    with_degenerate: bool = True
    with_masks: bool = False
    with_federation: bool = False
    with_stuff: bool = False
    with_open_images: bool = False
    _latest: tuple[list[tuple[Lake, Sequence[int]]], GroundTruth] | None = field(
        default=None, init=False
    )

    def read(self, rows_of: Mapping[Lake, Sequence[int]]) -> GroundTruth:
        """Read the annotations of images.

        Args:
            rows_of: Row numbers by lake, each once.

        Returns:
            Ground truth of the images, lake by lake, in the order of the rows.

        Raises:
            ValueError: If two rows of a lake have the same image id, or if the lake lacks
                the masks or the keys of LVIS that are to be read.
        """
        # A validation after each epoch asks for the same rows each time.
        in_order = list(rows_of.items())  # equal dicts may differ in it
        if self._latest is None or self._latest[0] != in_order:
            parts = [self._read_lake(lake, rows) for lake, rows in in_order]
            self._latest = in_order, join_ground_truth(parts)
        return self._latest[1]

    def _read_lake(self, lake: Lake, rows: Sequence[int]) -> GroundTruth:
        columns = lake.columns
        table = lake.annotations(np.asarray(rows, dtype=np.int64))
        _check_image_ids(lake, table)
        keep = np.ones(len(table.labels), dtype=bool)
        if columns.style == 'coco' and not self.with_degenerate:
            keep = has_extent(table) & ~table.excluded
        if columns.is_panoptic and columns.things and not self.with_stuff:
            keep &= np.asarray(columns.things)[table.labels]
        counts = np.bincount(table.row_of_instance[keep], minlength=len(table))
        return GroundTruth(
            img_ids=list(table.img_ids),
            widths=table.widths,
            heights=table.heights,
            file_names=list(table.file_names),
            offsets=offsets_of(counts),
            boxes_xywh=table.boxes_xywh[keep],
            boxes_xyxy=table.boxes_xyxy[keep],
            labels=table.labels[keep],
            category_names=columns.class_names,
            category_ids=columns.category_ids,
            areas=table.areas[keep],
            crowd=table.ignore_flags[keep],
            excluded=table.excluded[keep],
            segmentations=_read_masks(lake, table, keep) if self.with_masks else None,
            federation=_read_federation(lake, table.rows)
            if self.with_federation
            else None,
            segment_ids=table.segment_ids[keep] if columns.is_panoptic else None,
            open_images=_read_open_images(lake, table, keep)
            if self.with_open_images
            else None,
        )


def _check_image_ids(lake: Lake, table: AnnotationTable) -> None:
    ids = list(table.img_ids)
    if len(set(ids)) < len(ids):
        repeated = Counter(ids).most_common(1)[0][0]
        first, second = [row for row, i in zip(table.rows, ids) if i == repeated][:2]
        raise ValueError(
            f'{lake.name}: image ids must be unique, but rows {first} and {second} both '
            f"have {repeated}; write deeplake_tensors={{'img_id': None}} to use row "
            'numbers'
        )


def _read_masks(
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
    """Encode the areas of segments in the maps of a panoptic lake as masks."""
    masks: list[Segmentation] = []
    for index, row in enumerate(table.rows.tolist()):
        instances = slice(*table.offsets[index : index + 2])
        segment_ids = table.segment_ids[instances][keep[instances]]
        if len(segment_ids) and lake.seg_maps is not None:
            pixels = decode_ids(lake.seg_maps.of_row(row))
            masks += masks_of_ids(pixels, segment_ids)
    return masks


def masks_of_ids(pixels: NDArray[Any], ids: NDArray[np.int64]) -> list[Segmentation]:
    """Encode the areas of some ids in a map, shape ``(H, W)``, as masks."""
    # One at a time: all of an image take pixels times segments bytes.
    return [segmentations_of_bitmaps((pixels == each)[..., None])[0] for each in ids]


def _read_open_images(
    lake: Lake, table: AnnotationTable, keep: NDArray[np.bool_]
) -> OpenImagesKeys:
    column = lake.columns.of('gt_labels')
    text = metadata_of(lake.source.handle[column], names.HIERARCHY) if column else None
    flags = lake.extras(table.rows, np.diff(table.offsets), (table.widths, table.heights))
    group_of = flags.get('is_group_of', flags.get('is_group_ofs'))
    if text is None or group_of is None:
        raise ValueError(
            "metrics_format='OpenImages' needs the hierarchy of the classes and the "
            f'column is_group_of, but {lake.name} lacks them; make the lake by '
            "tools.from_openimages, or write metrics_format='PascalVOC'"
        )
    verified = lake.image_labels(table.rows)
    lists = None if verified is None else np.split(verified[1], verified[0][1:-1])
    return OpenImagesKeys(group_of[keep], lists, json.loads(text))


def _read_federation(lake: Lake, rows: NDArray[np.int64]) -> Federation:
    stored = CocoColumns(lake.source, lake.columns)
    frequencies = [
        str(category.get(names.LVIS_FREQUENCY)) for category in stored.categories()
    ]
    for category, frequency in zip(lake.columns.class_names, frequencies):
        if frequency not in FREQUENCIES:
            raise ValueError(
                'the metrics of LVIS group classes by frequency (r, c, f), but '
                f'{lake.name} has {frequency} for {category!r}; {_LVIS_REMEDY}'
            )
    images = stored.image_keys(rows)
    for row, image in zip(rows.tolist(), images):
        for key in names.LVIS_IMAGE_KEYS:
            if not isinstance(image.get(key), list):
                raise ValueError(
                    f'the metrics of LVIS need {key} of each image, but row {row} of '
                    f'{lake.name} has {image.get(key)!r}; {_LVIS_REMEDY}'
                )
    negatives, not_exhaustive = (
        [image[key] for image in images] for key in names.LVIS_IMAGE_KEYS
    )
    return Federation(negatives, not_exhaustive, tuple(frequencies))
