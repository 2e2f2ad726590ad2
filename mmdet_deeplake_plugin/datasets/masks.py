"""Read the masks of samples, aligned with the instances that training sees."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any

from ..lake import Lake
from ..utils.packed_strings import PackedStrings
from ..utils.shared_by_copies import SharedByCopies
from .lazy import LazyList
from .samples import Samples


class WithoutMask(dict):
    """An instance without a mask, which says so if a transform asks for it."""

    def __init__(self, instance: dict[str, Any], where: str) -> None:
        super().__init__(instance)
        self.where = where

    def __missing__(self, key: str) -> Any:
        """Raise an error that names the instance."""
        if key != 'mask':
            raise KeyError(key)
        raise ValueError(
            f'{self.where}: LoadAnnotations(with_mask=True) needs a mask of every '
            f'instance, but the one with the box {self["bbox"]} is stored without; store '
            'its mask, leave the row out with deeplake_query, or write with_mask=False'
        )

    def __reduce__(self) -> tuple[Any, ...]:
        return WithoutMask, (dict(self), self.where)


@dataclass(frozen=True, eq=False)
class SampleMasks(SharedByCopies):
    """Masks of samples, read one sample at a time.

    Args:
        lake: The lake with the masks.
        samples: The samples.
        packed: Encoded masks of all rows if they were read in advance, else ``None``.
    """

    lake: Lake
    samples: Samples
    packed: PackedStrings | None

    def with_masks(self, instances: list[dict[str, Any]], position: int) -> LazyList:
        """Return instances whose masks are read at first use, as in ``CocoDataset``.

        Reading them raises a ``ValueError`` if the masks of the row do not fit its boxes
        or its image. An instance without a mask becomes a :class:`WithoutMask`.

        Args:
            instances: Result of :meth:`Samples.instances`.
            position: Index into the samples.
        """
        return LazyList(instances, partial(self._add_to, position=position))

    def _add_to(self, instances: list[dict[str, Any]], position: int) -> None:
        column, samples = self.lake.masks, self.samples
        assert column is not None  # or there were no SampleMasks
        row = int(samples.rows[position])
        stored = column.of_row(
            row,
            int(samples.num_stored[position]),
            (int(samples.widths[position]), int(samples.heights[position])),
            None if self.packed is None else self.packed[position],
        )
        part = samples.stored[samples.part(position)].tolist()
        for number, (instance, index) in enumerate(zip(list(instances), part)):
            if stored[index]:
                instance['mask'] = stored[index]
            else:
                where = column.source.where(column.column, row)
                instances[number] = WithoutMask(instance, where)
