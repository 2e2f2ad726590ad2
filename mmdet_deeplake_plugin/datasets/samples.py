"""Select the annotations that training sees, by the rules of mmdet's own datasets.

``coco``: as in ``CocoDataset``. Boxes that are less than a pixel wide or high, have no
area, lie outside the image or are marked ``ignore`` are left out; crowds get
``ignore_flag=1``.

``voc``: as in ``XMLDataset``. Every box is kept; difficult ones, and with
``bbox_min_size`` small ones, get ``ignore_flag=1``.

``crowdhuman``: as in ``CrowdHumanDataset``. Every box is kept; ignored ones get
``ignore_flag=1`` and the label -1.

``openimages``: as in ``OpenImagesDataset``. Every box is kept.

``odvg``: as in ``ODVGDataset``. Boxes are left out as by ``coco``.

``video``: as in ``BaseVideoDataset``. Boxes are left out as by ``coco``.

``grounding``: as in the other datasets of texts. Every box is kept.

``panoptic``: as in ``CocoPanopticDataset``. Things are kept if they are not crowds, have
an area, and are at least a pixel wide and high.

These rules do not apply to the ground truth of an evaluation, which the metric reads from
the lake as stored.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..lake import AnnotationTable, Lake
from ..structures.boxes import to_xywh, to_xyxy
from ..utils.blocks import blocks
from ..utils.packed_strings import PackedStrings
from ..utils.ragged import offsets_of
from ..utils.shared_by_copies import SharedByCopies
from ..utils.shared_memory import SharedByProcesses
from .classes import Classes
from .segments import SampleSegments, is_segment, make_segments


@dataclass(frozen=True)
class Samples(SharedByProcesses, SharedByCopies):
    """Annotations for the pipeline: ``R`` rows with ``N`` instances in all.

    They never change, so copies of a dataset and all workers share them.

    Args:
        rows: Row number in the lake, shape ``(R,)``.
        offsets: Index of each row's first instance, shape ``(R + 1,)``.
        boxes: Corners in pixels (xyxy), shape ``(N, 4)``.
        labels: Index into the classes of the dataset, shape ``(N,)``; -1 for ignored
            instances of the style ``crowdhuman``.
        ignore_flags: Whether losses ignore an instance, shape ``(N,)``.
        widths: Image width in pixels, shape ``(R,)``.
        heights: Image height in pixels, shape ``(R,)``.
        img_ids: Image id, shape ``(R,)``.
        names: File name of the image, unique in the dataset, without folders (which
            ``video`` keeps).
        labelled: Whether a row has an annotation of the classes, counting those that
            ``coco`` leaves out, shape ``(R,)``.
        stored: Index of each instance among the stored annotations of its row, shape
            ``(N,)``.
        num_stored: Number of stored annotations of each row, shape ``(R,)``.
        segments: Things and stuff, for the style ``panoptic`` only.
    """

    rows: NDArray[np.int64]
    offsets: NDArray[np.int64]
    boxes: NDArray[np.float64]
    labels: NDArray[np.int32]
    ignore_flags: NDArray[np.bool_]
    widths: NDArray[np.int64]
    heights: NDArray[np.int64]
    img_ids: NDArray[np.int64] | PackedStrings
    names: PackedStrings
    labelled: NDArray[np.bool_]
    stored: NDArray[np.int32]
    num_stored: NDArray[np.int32]
    segments: SampleSegments | None = None

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def nbytes(self) -> int:
        """Size of all arrays in bytes."""
        return sum(getattr(value, 'nbytes', 0) for value in vars(self).values())

    def instances(self, position: int) -> list[dict[str, Any]]:
        """Return the instances of a row in the form that ``LoadAnnotations`` reads.

        Args:
            position: Index into the samples, not a row number of the lake.

        Returns:
            Dicts with ``bbox`` (four floats, xyxy in pixels), ``bbox_label`` and
            ``ignore_flag``.
        """
        part = self.part(position)
        columns = (self.ignore_flags[part], self.boxes[part], self.labels[part])
        return [
            {'ignore_flag': int(flag), 'bbox': box, 'bbox_label': label}
            for flag, box, label in zip(*(each.tolist() for each in columns))
        ]

    def part(self, position: int) -> slice:
        """Return where the instances of a row lie in the arrays of shape ``(N,)``."""
        return slice(self.offsets[position], self.offsets[position + 1])


def make_samples(
    lake: Lake,
    table: AnnotationTable,
    classes: Classes,
    bbox_min_size: float | None = None,
) -> Samples:
    """Apply the rules of the style of a lake to annotations as stored.

    Args:
        lake: The lake.
        table: Annotations of some rows as stored.
        classes: Classes of the dataset.
        bbox_min_size: For ``'voc'``: boxes that are less than this many pixels wide or
            high get ``ignore_flag=1``.

    Returns:
        The samples, one per row of ``table``.
    """
    class_names, style = lake.columns.class_names, lake.columns.style
    chosen, things = classes.metainfo['classes'], classes.things
    new_label = np.full(max(len(class_names), 1), -1, dtype=np.int32)
    for label, name in enumerate(class_names):
        if name in chosen:
            new_label[label] = chosen.index(name)
    # First, as its peak of memory is the highest.
    names = _image_names(table, with_folders=style == 'video')
    labels = new_label[table.labels]
    keep = labels >= 0
    row = table.row_of_instance
    labelled = np.zeros(len(table), dtype=bool)
    segments = None
    if style == 'panoptic':
        segments = make_segments(table, new_label, things)
        keep &= is_segment(table) & np.asarray(things, dtype=bool)[table.labels]
        keep &= ~table.ignore_flags
    labelled[row[keep]] = True
    if style in ('coco', 'odvg', 'video'):
        keep &= ~table.excluded & has_extent(table)
    kept = np.flatnonzero(keep)
    row, labels = row[kept], labels[kept]
    stored = np.empty(len(kept), dtype=np.int32)
    for part in blocks(len(kept)):
        stored[part] = kept[part] - table.offsets[row[part]]
    boxes = np.empty((len(kept), 4))
    for part in blocks(len(kept)):
        of = row[part]
        sizes = table.widths[of], table.heights[of]
        boxes[part] = to_xyxy(table.boxes[kept[part]], table.box_format, *sizes)
    ignore_flags = table.ignore_flags[kept]
    if style == 'crowdhuman':
        labels[ignore_flags] = -1
    if style == 'voc' and bbox_min_size is not None:
        ignore_flags |= ((boxes[:, 2:] - boxes[:, :2]) < bbox_min_size).any(axis=1)
    return Samples(
        rows=table.rows,
        offsets=offsets_of(np.bincount(row, minlength=len(table))),
        boxes=boxes,
        labels=labels,
        ignore_flags=ignore_flags,
        widths=table.widths,
        heights=table.heights,
        img_ids=table.img_ids,
        names=names,
        labelled=labelled,
        stored=stored,
        num_stored=np.diff(table.offsets).astype(np.int32),
        segments=segments,
    )


def filter_samples(
    lake: Lake, samples: Samples, filter_cfg: dict[str, Any] | None
) -> NDArray[np.int64]:
    """Return the positions of the samples that ``filter_cfg`` keeps.

    In a lake with maps only, every sample counts as labelled.

    Args:
        lake: The lake of the samples.
        samples: The samples.
        filter_cfg: ``filter_empty_gt``, ``filter_crowds`` and ``min_size`` (pixels);
            ``None`` keeps all.

    Raises:
        ValueError: If none is left: a run would do nothing and succeed.
    """
    keep = np.ones(len(samples), dtype=bool)
    shorter = np.minimum(samples.widths, samples.heights)
    if filter_cfg is not None:
        if filter_cfg.get('filter_empty_gt', False) and not lake.columns.is_semantic:
            keep &= samples.labelled
        if filter_cfg.get('filter_crowds', False) and not lake.columns.is_semantic:
            counted = offsets_of((~samples.ignore_flags).astype(np.int8))
            keep &= np.diff(counted[samples.offsets]) > 0
        keep &= shorter >= filter_cfg.get('min_size', 0)
    if not keep.any():
        raise ValueError(
            f'filter_cfg={filter_cfg!r} must keep samples, but leaves out all '
            f'{len(samples)} rows of {lake.name}: {(~samples.labelled).sum()} have no '
            'annotation of the chosen classes, and the shorter sides are '
            f'{shorter.min()} to {shorter.max()} pixels; change filter_cfg or '
            'metainfo.classes'
        )
    return np.flatnonzero(keep)


def has_extent(table: AnnotationTable) -> NDArray[np.bool_]:
    """Return which boxes ``CocoDataset`` accepts as valid, shape ``(N,)``.

    Those are at least a pixel wide and high, have an area and lie partly in their image.
    """
    row = table.row_of_instance
    is_valid = np.empty(len(row), dtype=bool)
    for part in blocks(len(row)):
        widths, heights = table.widths[row[part]], table.heights[row[part]]
        boxes = to_xywh(table.boxes[part], table.box_format, widths, heights)
        x, y, w, h = boxes.T
        inside_w = np.maximum(0, np.minimum(x + w, widths) - np.maximum(x, 0))
        inside_h = np.maximum(0, np.minimum(y + h, heights) - np.maximum(y, 0))
        is_inside = inside_w * inside_h != 0
        is_valid[part] = is_inside & (table.areas[part] > 0) & (w >= 1) & (h >= 1)
    return is_valid


def _image_names(table: AnnotationTable, with_folders: bool) -> PackedStrings:
    # Tools write one picture per name, so two rows must never share a name; those for
    # videos make a folder for each.
    stored = names = list(table.file_names)
    together = ''.join(names)
    if not with_folders and ('/' in together or '\\' in together):
        names = [name.replace('\\', '/').rpartition('/')[2] for name in names]
    if not all('.' in name for name in names):
        names = [
            name if '.' in name else f'{name or row}.jpg'
            for name, row in zip(names, table.rows.tolist())
        ]
    if len(set(names)) < len(np.unique(table.rows)):
        names = [f'{row}_{name}' for name, row in zip(names, table.rows.tolist())]
    return table.file_names if names is stored else PackedStrings(names)
