"""Keep the predictions of many images as arrays, beyond a bound in temporary files."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import chain, pairwise, zip_longest
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..evaluation import Prediction
from ..evaluation.groups.packed import PackedPredictions, pack
from ..evaluation.groups.selection import take
from ..utils.ragged import offsets_of

_IMAGES_AT_ONCE = 128
# Bytes of predictions that a rank holds in memory: 9 million boxes.
MOST_IN_MEMORY = 256 << 20


class PackedResults(Sequence[tuple[str, Prediction]]):
    """The results of a rank, to which it appends: path of the image, and prediction.

    MMEngine takes it for the list that it is in other metrics.
    """

    def __init__(self) -> None:
        self.clear()

    def append(self, result: tuple[str, Prediction]) -> None:
        """Add the result of an image.

        Raises:
            OSError: If memory has no room for it by its bound, and neither has the disk.
        """
        path, prediction = result
        self.paths.append(path)
        self._recent.append(prediction)
        if len(self._recent) >= _IMAGES_AT_ONCE:
            self._pack()

    def clear(self) -> None:
        """Forget all results."""
        self.paths: list[str] = []
        self._blocks: list[PackedPredictions] = []
        self._recent: list[Prediction] = []
        self._num_on_disk = self._in_memory = 0

    @property
    def blocks(self) -> list[PackedPredictions]:
        """The predictions of all images."""
        self._pack()
        return self._blocks

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: Any) -> Any:
        """Return a result, or for a slice :class:`SelectedResults`."""
        return SelectedResults(self.paths, self.blocks)[index]

    def __iter__(self) -> Iterator[tuple[str, Prediction]]:
        return zip(self.paths, chain.from_iterable(self.blocks))

    def __getstate__(self) -> dict[str, Any]:
        self._pack()
        return vars(self)

    def _pack(self) -> None:
        if not self._recent:
            return
        self._blocks.append(pack(self._recent))
        self._recent = []
        self._in_memory += self._blocks[-1].nbytes
        if self._in_memory > MOST_IN_MEMORY:
            held = self._blocks[self._num_on_disk :]
            images = np.arange(sum(map(len, held)))
            self._blocks[self._num_on_disk :] = [take(held, images, on_disk=True)]
            self._num_on_disk, self._in_memory = len(self._blocks), 0


class SelectedResults(Sequence[tuple[str, Prediction]]):
    """Some of the results of ranks, in some order.

    Args:
        paths: Paths of all images.
        blocks: Their predictions.
        images: Numbers of the images that are selected. Defaults to all.
    """

    def __init__(
        self,
        paths: Sequence[str],
        blocks: Sequence[PackedPredictions],
        images: NDArray[np.int64] | None = None,
    ) -> None:
        self._paths, self._blocks = paths, blocks
        self._first = offsets_of([len(block) for block in blocks])
        self._images = np.arange(len(paths)) if images is None else images

    def __len__(self) -> int:
        return len(self._images)

    def __getitem__(self, index: Any) -> Any:
        """Return a result; for a slice or a list of numbers a selection."""
        images = self._images[index]
        if np.ndim(images):
            return SelectedResults(self._paths, self._blocks, images)
        number = int(np.searchsorted(self._first, images, side='right')) - 1
        prediction = self._blocks[number][int(images - self._first[number])]
        return self._paths[images], prediction

    @property
    def paths(self) -> Iterator[str]:
        """Paths of the images."""
        return (self._paths[image] for image in self._images.tolist())

    def predictions(self, chosen: Sequence[int]) -> PackedPredictions:
        """Return the predictions at some positions in this selection, in that order."""
        if not self._blocks:
            return pack([])
        images = self._images[np.asarray(chosen, dtype=np.int64)]
        size = sum(block.nbytes for block in self._blocks)
        return take(self._blocks, images, on_disk=size > MOST_IN_MEMORY)


def interleaved(parts: Sequence[PackedResults]) -> SelectedResults:
    """Return the results of all ranks, of which rank r has the images r, r + R, …."""
    starts = np.cumsum([0, *map(len, parts)]).tolist()
    numbers = [range(start, stop) for start, stop in pairwise(starts)]
    dealt = [each for each in chain(*zip_longest(*numbers)) if each is not None]
    return _joined(parts, np.array(dealt, dtype=np.int64))


def one_after_another(parts: Sequence[Any]) -> Any:
    """Return the results of all ranks, lists or :class:`PackedResults`, in rank order."""
    if isinstance(parts[0], PackedResults):
        return _joined(parts)
    return [result for part in parts for result in part]


def _joined(
    parts: Sequence[PackedResults], images: NDArray[np.int64] | None = None
) -> SelectedResults:
    return SelectedResults(
        [path for part in parts for path in part.paths],
        [block for part in parts for block in part.blocks],
        images,
    )
