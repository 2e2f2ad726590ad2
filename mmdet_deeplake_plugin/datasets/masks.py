"""Masks of samples, in step with the instances that training sees."""

from __future__ import annotations

from functools import partial
from typing import Any

from ..lake import Lake
from ..utils.packed_strings import PackedStrings
from ..utils.shared_by_copies import SharedByCopies
from .lazy import LazyList
from .samples import Samples


class SampleMasks(SharedByCopies):
    """Reads the masks of one sample at a time.

    Args:
        lake: The lake that holds them.
        samples: The samples that they belong to.
        packed: The texts of the rows if they were read as a whole, else ``None``.
    """

    def __init__(
        self, lake: Lake, samples: Samples, packed: PackedStrings | None
    ) -> None:
        self._lake = lake
        self._samples = samples
        self.packed = packed

    def with_masks(self, instances: list[dict[str, Any]], position: int) -> LazyList:
        """Return instances whose masks are read when somebody looks at one.

        Args:
            instances: What :meth:`Samples.instances` gives.
            position: Position in the samples.
        """
        return LazyList(instances, partial(self.add_to, position=position))

    def add_to(self, instances: list[dict[str, Any]], position: int) -> None:
        """Put the masks of a sample into its instances, as ``CocoDataset`` has them.

        Args:
            instances: What :meth:`Samples.instances` gives; an instance without a
                mask gets no key ``mask``.
            position: Position in the samples.

        Raises:
            ValueError: If the masks of the row do not fit its boxes or its image.
        """
        column, samples = self._lake.masks, self._samples
        if column is None:
            return
        stored = column.of_row(
            int(samples.rows[position]),
            int(samples.num_stored[position]),
            (int(samples.widths[position]), int(samples.heights[position])),
            None if self.packed is None else self.packed[position],
        )
        for instance, index in zip(
            instances, samples.stored[samples.part(position)].tolist()
        ):
            if stored[index]:
                instance['mask'] = stored[index]


def sample_masks(lake: Lake, samples: Samples, at_once: bool) -> SampleMasks | None:
    """Return the masks of samples, ``None`` if their lake has none.

    Args:
        lake: The lake of the samples.
        samples: The samples.
        at_once: Whether to read them all now, if they are stored compactly:
            forked workers then share them. Else they are read row by row.
    """
    if lake.masks is None:
        return None
    packed = lake.masks.packed(samples.rows) if at_once else None
    return SampleMasks(lake, samples, packed)
