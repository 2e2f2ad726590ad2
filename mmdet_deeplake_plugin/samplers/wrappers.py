"""Map the samples of a dataset, wrapped by MMEngine or MMDetection, to lakes."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from mmdet.datasets import MultiImageMixDataset
from mmengine.dataset import ClassBalancedDataset, ConcatDataset, RepeatDataset
from numpy.typing import NDArray

from ..datasets.dataset import DeepLakeDataset
from ..datasets.mixing.multi_image_mix import DeepLakeMultiImageMixDataset
from ..utils.ragged import offsets_of


@dataclass(frozen=True)
class SampleMap:
    """For each sample of a dataset, the sample of a ``DeepLakeDataset`` that it is.

    Args:
        datasets: The ``DeepLakeDataset`` objects below all wrappers, each once.
        dataset_idx: Index into ``datasets``, shape ``(N,)``.
        sample_idx: Index into that dataset, shape ``(N,)``.
        only_own_image: Whether loading a sample reads its own image only; not so if
            it is mixed with random other images.
        mixer: The outermost dataset, if it can take these from chunks that are held.
    """

    datasets: list[DeepLakeDataset]
    dataset_idx: NDArray[np.int32]
    sample_idx: NDArray[np.int64]
    only_own_image: bool = True
    mixer: DeepLakeMultiImageMixDataset | None = None

    def per_sample(self, values: list[NDArray[Any]]) -> NDArray[Any]:
        """Return a value for each sample of the whole dataset, shape ``(N,)``.

        Args:
            values: For each of ``datasets``, a value for each of its samples.
        """
        if len(values) == 1:
            return values[0][self.sample_idx]
        starts = offsets_of([len(part) for part in values])
        return np.concatenate(values)[starts[self.dataset_idx] + self.sample_idx]

    def chunks_of_samples(self) -> tuple[NDArray[np.int64], list[int]]:
        """Return the stored chunk of each sample, numbered across all lakes.

        Returns:
            Chunk of each sample, shape ``(N,)``, and the number of each lake's first
            chunk, followed by the total number of chunks.
        """
        readers = [dataset.reader for dataset in self.datasets]
        offsets = offsets_of([len(reader.chunks) for reader in readers]).tolist()
        chunks = [
            dataset.reader.chunks.of(dataset.rows_of()) + offset
            for dataset, offset in zip(self.datasets, offsets)
        ]
        return self.per_sample(chunks), offsets


def map_samples(dataset: Any) -> SampleMap | None:
    """Map the samples of a dataset to those of the ``DeepLakeDataset`` objects in it.

    Args:
        dataset: A ``DeepLakeDataset``, or ``ConcatDataset``, ``RepeatDataset``,
            ``ClassBalancedDataset`` and ``MultiImageMixDataset`` around some.

    Returns:
        The map, or ``None`` if the dataset contains any other kind of dataset.
    """
    if isinstance(dataset, DeepLakeDataset):
        count = len(dataset)
        return SampleMap([dataset], np.zeros(count, np.int32), np.arange(count))
    if isinstance(dataset, ConcatDataset):
        return _concatenate([map_samples(part) for part in dataset.datasets])
    if isinstance(dataset, MultiImageMixDataset):
        inner = map_samples(dataset.dataset)
        mixer = dataset if isinstance(dataset, DeepLakeMultiImageMixDataset) else None
        return inner and replace(inner, only_own_image=False, mixer=mixer)
    if isinstance(dataset, RepeatDataset):
        inner = map_samples(dataset.dataset)
        return inner and _select(inner, np.arange(len(dataset)) % len(inner.sample_idx))
    if isinstance(dataset, ClassBalancedDataset):
        inner = map_samples(dataset.dataset)
        return inner and _select(inner, np.asarray(dataset.repeat_indices))
    return None


def _select(inner: SampleMap, indices: NDArray[np.integer]) -> SampleMap:
    return replace(
        inner,
        dataset_idx=inner.dataset_idx[indices],
        sample_idx=inner.sample_idx[indices],
        mixer=None,
    )


def _concatenate(parts: list[SampleMap | None]) -> SampleMap | None:
    known = [part for part in parts if part is not None]
    if len(known) < len(parts):
        return None
    datasets = {id(dataset): dataset for part in known for dataset in part.datasets}
    places = {key: place for place, key in enumerate(datasets)}
    dataset_idx = [
        np.array([places[id(each)] for each in part.datasets], np.int32)[part.dataset_idx]
        for part in known
    ]
    return SampleMap(
        list(datasets.values()),
        np.concatenate(dataset_idx),
        np.concatenate([part.sample_idx for part in known]),
        all(part.only_own_image for part in known),
    )
