"""Which annotations training sees, by the rules of mmdet's own datasets.

``coco``: what ``CocoDataset`` keeps. Boxes narrower or lower than a pixel,
without area, outside the image, or marked ``ignore`` are left out; crowds
become ``ignore_flag=1``.

``voc``: what ``XMLDataset`` keeps, which is every box; difficult ones, and with
``bbox_min_size`` small ones, become ``ignore_flag=1``.

``panoptic``: what ``CocoPanopticDataset`` keeps, which is the things that are no
crowd, with an area and at least a pixel wide and high.

The ground truth of an evaluation does not pass through here; the metric reads
it from the lake as it is stored.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..lake import AnnotationTable
from ..structures.boxes import to_xywh, to_xyxy
from ..utils.blocks import blocks
from ..utils.packed_strings import PackedStrings
from ..utils.ragged import offsets_of
from ..utils.shared_by_copies import SharedByCopies
from ..utils.shared_memory import SharedWhenSpawned
from .segments import SampleSegments, is_segment, make_segments


@dataclass(frozen=True)
class Samples(SharedWhenSpawned, SharedByCopies):
    """Annotations as the pipeline gets them, of ``R`` rows with ``N`` instances.

    Never changed once made, so copies of a dataset and all workers share it.

    Args:
        rows: Row number in the lake, shape ``(R,)``.
        offsets: Where a row's instances begin, shape ``(R + 1,)``.
        boxes: Corners in pixels (xyxy), shape ``(N, 4)``.
        labels: Position in the classes of the dataset, shape ``(N,)``.
        ignore_flags: Shape ``(N,)``.
        widths: Image width in pixels, shape ``(R,)``.
        heights: Image height in pixels, shape ``(R,)``.
        img_ids: Image id, shape ``(R,)``.
        names: File name of the image, without folders, unique in the dataset.
        labelled: Whether a row has any annotation of the classes, also one that
            is left out, shape ``(R,)``.
        stored: Which of the row's stored annotations an instance is, from 0,
            shape ``(N,)``.
        num_stored: Number of a row's stored annotations, shape ``(R,)``.
        segments: Things and stuff of the style ``panoptic``.
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
        values = (getattr(self, field.name) for field in fields(self))
        return sum(getattr(value, 'nbytes', 0) for value in values)

    def instances(self, position: int) -> list[dict[str, Any]]:
        """The instances of a row in the form that ``LoadAnnotations`` reads.

        Args:
            position: Position in the table, not the row number.

        Returns:
            Dicts of ``bbox`` (four floats, xyxy in pixels), ``bbox_label`` and
            ``ignore_flag``.
        """
        part = slice(self.offsets[position], self.offsets[position + 1])
        return [
            {'ignore_flag': int(flag), 'bbox': box, 'bbox_label': label}
            for flag, box, label in zip(
                self.ignore_flags[part].tolist(),
                self.boxes[part].tolist(),
                self.labels[part].tolist(),
            )
        ]


def make_samples(
    table: AnnotationTable,
    class_names: Sequence[str],
    classes: Sequence[str],
    style: str,
    bbox_min_size: float | None = None,
    things: Sequence[bool] = (),
) -> Samples:
    """Applies the rules of a style to annotations as stored.

    Args:
        table: Annotations as stored.
        class_names: Name of each stored label.
        classes: Classes of the dataset, in the order of its labels.
        style: ``'coco'``, ``'voc'`` or ``'panoptic'``.
        bbox_min_size: With ``'voc'``: boxes narrower or lower than this many
            pixels get ``ignore_flag=1``.
        things: With ``'panoptic'``: whether each stored label is a thing.

    Returns:
        The samples, a row each of ``table``.
    """
    new_label = np.full(max(len(class_names), 1), -1, dtype=np.int32)
    for label, name in enumerate(class_names):
        if name in classes:
            new_label[label] = classes.index(name)
    names = _image_names(table)  # first, as it needs the most memory for a moment
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
    if style == 'coco':
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
    if style == 'voc' and bbox_min_size is not None:
        ignore_flags |= ((boxes[:, 2:] - boxes[:, :2]) < bbox_min_size).any(axis=1)
    offsets = offsets_of(np.bincount(row, minlength=len(table)))
    return Samples(
        rows=table.rows,
        offsets=offsets,
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
    samples: Samples, filter_cfg: dict[str, Any] | None, is_semantic: bool
) -> NDArray[np.int64]:
    """Return the positions of the samples that ``filter_cfg`` keeps.

    Args:
        samples: The samples.
        filter_cfg: ``filter_empty_gt`` and ``min_size`` (pixels); ``None`` keeps all.
        is_semantic: Whether there are maps alone, so that no sample counts as empty.
    """
    keep = np.ones(len(samples), dtype=bool)
    if filter_cfg is not None:
        if filter_cfg.get('filter_empty_gt', False) and not is_semantic:
            keep &= samples.labelled
        shorter = np.minimum(samples.widths, samples.heights)
        keep &= shorter >= filter_cfg.get('min_size', 0)
    return np.flatnonzero(keep)


def has_extent(table: AnnotationTable) -> NDArray[np.bool_]:
    """Which boxes ``CocoDataset`` takes for real ones.

    Args:
        table: Annotations as stored.

    Returns:
        Whether a box is at least a pixel wide and high, has an area and lies
        partly inside its image, shape ``(N,)``.
    """
    row = table.row_of_instance
    found = np.empty(len(row), dtype=bool)
    for part in blocks(len(row)):
        widths, heights = table.widths[row[part]], table.heights[row[part]]
        boxes = to_xywh(table.boxes[part], table.box_format, widths, heights)
        x, y, w, h = boxes.T
        inside_w = np.maximum(0, np.minimum(x + w, widths) - np.maximum(x, 0))
        inside_h = np.maximum(0, np.minimum(y + h, heights) - np.maximum(y, 0))
        is_inside = inside_w * inside_h != 0
        found[part] = is_inside & (table.areas[part] > 0) & (w >= 1) & (h >= 1)
    return found


def _image_names(table: AnnotationTable) -> PackedStrings:
    # Tools write one picture a name, so two rows must never share one.
    stored = names = list(table.file_names)
    together = ''.join(names)
    if '/' in together or '\\' in together:
        names = [name.replace('\\', '/').rpartition('/')[2] for name in names]
    if not all('.' in name for name in names):
        names = [
            name if '.' in name else f'{name or row}.jpg'
            for name, row in zip(names, table.rows.tolist())
        ]
    if len(set(names)) < len(np.unique(table.rows)):
        names = [f'{row}_{name}' for name, row in zip(names, table.rows.tolist())]
    return table.file_names if names is stored else PackedStrings(names)
