"""Where the samples of a dataset lie, through MMEngine's and MMDetection's wrappers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from mmdet.datasets import MultiImageMixDataset
from mmengine.dataset import ClassBalancedDataset, ConcatDataset, RepeatDataset
from numpy.typing import NDArray

from ..datasets.dataset import DeepLakeDataset
from ..utils.ragged import offsets_of


@dataclass(frozen=True)
class SampleMap:
    """Which sample of which ``DeepLakeDataset`` each index of a dataset means.

    Args:
        datasets: The datasets at the bottom; one that is wrapped twice stands here
            once.
        which: Number of the dataset, shape ``(N,)``.
        index: Index in that dataset, shape ``(N,)``.
        in_turn: Whether a sample reads its own image only, not others at random.
    """

    datasets: list[DeepLakeDataset]
    which: NDArray[np.int32]
    index: NDArray[np.int64]
    in_turn: bool = True

    def gather(self, values: list[NDArray[Any]]) -> NDArray[Any]:
        """A value for each index.

        Args:
            values: For each dataset, a value for each of its samples.
        """
        if len(values) == 1:
            return values[0][self.index]
        starts = offsets_of([len(part) for part in values])
        return np.concatenate(values)[starts[self.which] + self.index]

    def chunks(self) -> tuple[NDArray[np.int64], list[int]]:
        """Stored chunks of the samples; those of several lakes are numbered on.

        Returns:
            Chunk of each index, shape ``(N,)``, and the number of each lake's first
            chunk, followed by the number of chunks of all.
        """
        readers = [dataset.reader for dataset in self.datasets]
        offsets = offsets_of([len(reader.chunks) for reader in readers]).tolist()
        parts = [
            dataset.reader.chunks.of(dataset.rows_of()) + offset
            for dataset, offset in zip(self.datasets, offsets)
        ]
        return self.gather(parts), offsets


def map_samples(dataset: Any) -> SampleMap | None:
    """Finds what the indices of a dataset mean.

    Args:
        dataset: A ``DeepLakeDataset``, or ``ConcatDataset``, ``RepeatDataset``,
            ``ClassBalancedDataset`` and ``MultiImageMixDataset`` over such.

    Returns:
        The places, or ``None`` if there is another kind of dataset in it.
    """
    if isinstance(dataset, DeepLakeDataset):
        count = len(dataset)
        return SampleMap([dataset], np.zeros(count, np.int32), np.arange(count))
    if isinstance(dataset, ConcatDataset):
        return _concatenated([map_samples(part) for part in dataset.datasets])
    if isinstance(dataset, MultiImageMixDataset):
        inner = map_samples(dataset.dataset)
        return inner and SampleMap(
            inner.datasets, inner.which, inner.index, in_turn=False
        )
    if isinstance(dataset, RepeatDataset):
        inner = map_samples(dataset.dataset)
        return inner and _picked(inner, np.arange(len(dataset)) % len(inner.index))
    if isinstance(dataset, ClassBalancedDataset):
        inner = map_samples(dataset.dataset)
        return inner and _picked(inner, np.asarray(dataset.repeat_indices))
    return None


def _picked(inner: SampleMap, indices: NDArray[np.integer]) -> SampleMap:
    return SampleMap(
        inner.datasets, inner.which[indices], inner.index[indices], inner.in_turn
    )


def _concatenated(parts: list[SampleMap | None]) -> SampleMap | None:
    datasets: list[DeepLakeDataset] = []
    which, index = [], []
    for part in parts:
        if part is None:
            return None
        numbers = []
        for dataset in part.datasets:
            known = [i for i, other in enumerate(datasets) if other is dataset]
            if not known:
                datasets.append(dataset)
            numbers.append(known[0] if known else len(datasets) - 1)
        which.append(np.array(numbers, np.int32)[part.which])
        index.append(part.index)
    in_turn = all(part.in_turn for part in parts if part is not None)
    return SampleMap(datasets, np.concatenate(which), np.concatenate(index), in_turn)
