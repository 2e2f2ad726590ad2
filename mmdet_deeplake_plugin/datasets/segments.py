"""Select the segments of panoptic samples, by the rules of ``CocoPanopticDataset``.

The lake stores every segment, thing or stuff, as an annotation. Here it becomes an entry
of ``segments_info``. Training sees things that are not crowds as instances too, see
:func:`~mmdet_deeplake_plugin.datasets.samples.make_samples`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..lake import AnnotationTable
from ..structures.boxes import to_xywh
from ..utils.ragged import offsets_of
from ..utils.shared_by_copies import SharedByCopies


@dataclass(frozen=True)
class SampleSegments(SharedByCopies):
    """Segments of ``R`` rows, ``S`` in all.

    Args:
        offsets: Index of each row's first segment, shape ``(R + 1,)``.
        ids: Id in the map of the row, shape ``(S,)``.
        labels: Index into the classes of the dataset, shape ``(S,)``.
        things: Whether a segment is a thing and not a crowd, shape ``(S,)``.
    """

    offsets: NDArray[np.int64]
    ids: NDArray[np.int32]
    labels: NDArray[np.int32]
    things: NDArray[np.bool_]

    def info(self, position: int) -> list[dict[str, Any]]:
        """Return the segments of a sample as ``LoadPanopticAnnotations`` reads them."""
        part = slice(self.offsets[position], self.offsets[position + 1])
        columns = (self.ids[part], self.labels[part], self.things[part])
        return [
            {'id': segment_id, 'category': label, 'is_thing': int(thing)}
            for segment_id, label, thing in zip(*(each.tolist() for each in columns))
        ]


def make_segments(
    table: AnnotationTable, new_label: NDArray[np.int32], things: Sequence[bool]
) -> SampleSegments:
    """Apply the rules to annotations as stored.

    Args:
        table: The annotations.
        new_label: Index into the classes of the dataset for each stored label, -1 for
            labels of other classes.
        things: Whether each stored label is a thing.
    """
    keep = (new_label[table.labels] >= 0) & is_segment(table)
    counts = np.bincount(table.row_of_instance[keep], minlength=len(table))
    labels = table.labels[keep]
    return SampleSegments(
        offsets=offsets_of(counts),
        ids=table.segment_ids[keep].astype(np.int32),
        labels=new_label[labels],
        things=np.asarray(things, dtype=bool)[labels] & ~table.ignore_flags[keep],
    )


def is_segment(table: AnnotationTable) -> NDArray[np.bool_]:
    """Return which segments ``CocoPanopticDataset`` accepts as valid, shape ``(N,)``.

    Those have an area, and a box that is at least a pixel wide and high.
    """
    row = table.row_of_instance
    sizes = table.widths[row], table.heights[row]
    w, h = to_xywh(table.boxes, table.box_format, *sizes).T[2:]
    return (table.areas > 0) & (w >= 1) & (h >= 1)
