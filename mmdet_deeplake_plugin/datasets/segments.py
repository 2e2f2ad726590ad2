"""Segments of panoptic samples, by the rules of mmdet's ``CocoPanopticDataset``.

Every segment, thing or stuff, is an instance of the lake's tables; here it becomes an
entry of ``segments_info``. Those that training also sees as instances are the things
that are not a crowd, see :func:`~mmdet_deeplake_plugin.datasets.samples.make_samples`.
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
        offsets: Where a row's segments begin, shape ``(R + 1,)``.
        ids: Id in the row's map, shape ``(S,)``.
        labels: Position in the classes of the dataset, shape ``(S,)``.
        things: Whether it is a thing and not a crowd, shape ``(S,)``.
    """

    offsets: NDArray[np.int64]
    ids: NDArray[np.int32]
    labels: NDArray[np.int32]
    things: NDArray[np.bool_]

    def info(self, position: int) -> list[dict[str, Any]]:
        """The segments of a row in the form that ``LoadPanopticAnnotations`` reads.

        Args:
            position: Position in the table, not the row number.

        Returns:
            Dicts of ``id``, ``category`` and ``is_thing``.
        """
        part = slice(self.offsets[position], self.offsets[position + 1])
        return [
            {'id': segment_id, 'category': label, 'is_thing': int(thing)}
            for segment_id, label, thing in zip(
                self.ids[part].tolist(),
                self.labels[part].tolist(),
                self.things[part].tolist(),
            )
        ]


def make_segments(
    table: AnnotationTable, new_label: NDArray[np.int32], things: Sequence[bool]
) -> SampleSegments:
    """Applies the rules to annotations as stored.

    Args:
        table: Annotations as stored.
        new_label: Position in the classes of the dataset of each stored label, -1 for
            none.
        things: Whether each stored label is a thing.
    """
    keep = (new_label[table.labels] >= 0) & is_segment(table)
    counts = np.bincount(table.row_of_instance[keep], minlength=len(table))
    offsets = offsets_of(counts)
    labels = table.labels[keep]
    return SampleSegments(
        offsets=offsets,
        ids=table.segment_ids[keep].astype(np.int32),
        labels=new_label[labels],
        things=np.asarray(things, dtype=bool)[labels] & ~table.ignore_flags[keep],
    )


def is_segment(table: AnnotationTable) -> NDArray[np.bool_]:
    """Which segments ``CocoPanopticDataset`` takes for real ones, shape ``(N,)``.

    Args:
        table: Annotations as stored.
    """
    row = table.row_of_instance
    sizes = table.widths[row], table.heights[row]
    w, h = to_xywh(table.boxes, table.box_format, *sizes).T[2:]
    return (table.areas > 0) & (w >= 1) & (h >= 1)
