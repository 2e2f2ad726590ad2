"""Masks of samples, in step with the instances that training sees."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any

from ..lake import Lake
from ..utils.packed_strings import PackedStrings
from .samples import Samples


class SampleMasks:
    """Reads the masks of one sample at a time.

    Args:
        lake: The lake that holds them.
        samples: The samples that they belong to.
        packed: The rows' texts if they were read as a whole, else ``None``.
    """

    def __init__(
        self, lake: Lake, samples: Samples, packed: PackedStrings | None
    ) -> None:
        self._lake = lake
        self._samples = samples
        self._packed = packed

    def add_to(self, instances: list[dict[str, Any]], position: int) -> None:
        """Puts the masks of a sample into its instances, as ``CocoDataset`` has them.

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
            None if self._packed is None else self._packed[position],
        )
        part = slice(samples.offsets[position], samples.offsets[position + 1])
        for instance, index in zip(instances, samples.stored[part].tolist()):
            if stored[index]:
                instance['mask'] = stored[index]

    def __deepcopy__(self, memo: dict[int, Any]) -> SampleMasks:
        return self  # nothing in it changes


class MaskedInstances(list):
    """Instances of a sample whose masks are read when somebody looks at one.

    Samplers ask every sample for its size or its labels alone, in the main
    process; masks that nobody looks at would be read and encoded there for nothing.

    Args:
        instances: What :meth:`Samples.instances` gives.
        masks: Reads the masks.
        position: Position in the samples.
    """

    def __init__(
        self, instances: list[dict[str, Any]], masks: SampleMasks, position: int
    ) -> None:
        super().__init__(instances)
        self._unread: tuple[SampleMasks, int] | None = (masks, position)

    def plain(self, with_masks: bool) -> list[dict[str, Any]]:
        """The instances as a list like any other.

        Args:
            with_masks: Whether to read their masks, if that was not done yet.
        """
        if with_masks:
            self.read()
        return list(list.__iter__(self))

    def read(self) -> None:
        """Reads the masks, once."""
        if self._unread is not None:
            masks, position = self._unread
            masks.add_to(self.plain(with_masks=False), position)
            self._unread = None

    def __radd__(self, other: list[Any]) -> list[Any]:
        return other + self.plain(with_masks=True)

    def __reduce__(self) -> tuple[Any, ...]:
        return list, (self.plain(with_masks=True),)


def _reading(name: str) -> Callable[..., Any]:
    """A method of ``list`` that reads the masks first."""
    method = getattr(list, name)

    @wraps(method)
    def read_first(self: MaskedInstances, *args: Any, **kwargs: Any) -> Any:
        for one in (self, *args):
            if isinstance(one, MaskedInstances):
                one.read()
        return method(self, *args, **kwargs)

    return read_first


# All that shows or changes an instance; the length does neither.
for _name in (
    *('__iter__', '__reversed__', '__getitem__', '__contains__', '__repr__'),
    *('__eq__', '__ne__', '__add__', '__mul__', '__rmul__'),
    *('__setitem__', '__delitem__', '__iadd__', '__imul__'),
    *('append', 'copy', 'count', 'extend', 'index', 'insert', 'pop', 'remove'),
    *('reverse', 'sort'),
):
    setattr(MaskedInstances, _name, _reading(_name))


def sample_masks(lake: Lake, samples: Samples, at_once: bool) -> SampleMasks | None:
    """The masks of samples, ``None`` if their lake has none.

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
