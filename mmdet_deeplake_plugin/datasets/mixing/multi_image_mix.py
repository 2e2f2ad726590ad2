"""Define ``DeepLakeMultiImageMixDataset``, whose mosaics cost few reads."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from mmdet.datasets import MultiImageMixDataset
from mmdet.registry import DATASETS
from mmengine.dataset import BaseDataset
from numpy.typing import NDArray
from torch.utils.data import get_worker_info

from ...utils.allocator import keep_freed_memory
from ...utils.values import check_bool, check_int, is_list, refuse_unknown, wrong
from .partners import IndexInEpoch, Partners

_OWN = object()


@DATASETS.register_module()
class DeepLakeMultiImageMixDataset(MultiImageMixDataset):
    """``MultiImageMixDataset`` whose transforms mix images that a worker holds anyway.

    Where ``DeepLakeLoader`` reads whole chunks (``shuffle='lanes'`` on object storage),
    the other images of ``Mosaic``, ``MixUp``, ``CopyPaste`` and of every transform with
    ``get_indexes`` are drawn at random from the samples of the chunks that this worker
    has open at that position of the epoch. So they cost no request. Everywhere else they
    are drawn from all samples, by the same random calls as in ``MultiImageMixDataset``.

    Only the outermost dataset draws from held chunks; inside another wrapper, this class
    draws from all samples.

    Args:
        dataset: The dataset to mix, or its config.
        pipeline: Configs of transforms.
        skip_type_keys: Types of transforms to leave out; ``None`` for none.
        max_refetch: How many times to draw again if a sample is ``None``.
        lazy_init: Whether to initialise the dataset at first use only.

    Raises:
        ValueError: If a key is invalid.
    """

    def __init__(
        self,
        dataset: BaseDataset | dict,
        pipeline: Sequence[dict],
        skip_type_keys: Sequence[str] | None = None,
        max_refetch: int = 15,
        lazy_init: bool = False,
        **unknown: Any,
    ) -> None:
        refuse_unknown(unknown, DeepLakeMultiImageMixDataset.__init__)
        _check_keys(dataset, pipeline, skip_type_keys, max_refetch, lazy_init)
        skipped = None if skip_type_keys is None else list(skip_type_keys)
        super().__init__(dataset, list(pipeline), skipped, int(max_refetch), lazy_init)
        # Set by the sampler; without it, all samples are drawn from.
        self.partners: Partners | None = None
        # Whether the current batch is one that the partners know; None outside a batch.
        self._is_dealt: bool | None = None
        # Called once per process, with batch size and number of workers.
        self.on_first_batch: Callable[[int, int], None] | None = None

    @property
    def num_mixing(self) -> int:
        """Number of transforms that take other samples."""
        return sum(hasattr(transform, 'get_indexes') for transform in self.pipeline)

    def __getitems__(self, indices: Sequence[int]) -> list[Any]:
        """Return the samples of a batch, for PyTorch."""
        worker = get_worker_info()
        if worker is not None:
            keep_freed_memory()
        on_first_batch, self.on_first_batch = self.on_first_batch, None
        if on_first_batch is not None:
            on_first_batch(len(indices), worker.num_workers if worker else 0)
        self._is_dealt = self.partners is not None and self.partners.knows(indices)
        return [self[index] for index in indices]

    def __getitem__(self, idx: int) -> Any:
        """Return the sample of an index that the sampler yielded, mixed with others."""
        worker, partners = get_worker_info(), self.partners
        is_dealt = worker is None if self._is_dealt is None else self._is_dealt
        if partners is None or not is_dealt or not isinstance(idx, IndexInEpoch):
            return super().__getitem__(idx)
        candidates = partners.keep(idx.position, worker.num_workers if worker else 1)
        if candidates is None:
            return super().__getitem__(idx)
        mixing = copy.copy(self)
        mixing.dataset = _Mixable(self.dataset, idx, candidates, partners)
        return MultiImageMixDataset.__getitem__(mixing, _OWN)


class _Mixable:
    """A dataset as transforms see it: the candidates to draw from, and ``_OWN``."""

    def __init__(
        self, dataset: Any, own: int, candidates: NDArray[np.int64], partners: Partners
    ) -> None:
        self._dataset, self._own = dataset, own
        self._candidates, self._cache = candidates, partners.cache

    def __len__(self) -> int:
        return len(self._candidates)

    def __getitem__(self, index: Any) -> Any:
        if index is _OWN:
            return self._dataset[int(self._own)]
        with self._cache.lending():
            return self._dataset[int(self._candidates[index])]

    def get_data_info(self, idx: int) -> dict:
        """What the pipeline of the dataset gets for a sample."""
        return self._dataset.get_data_info(int(self._candidates[idx]))

    def get_cat_ids(self, idx: int) -> list[int]:
        """Labels of a sample."""
        return self._dataset.get_cat_ids(int(self._candidates[idx]))

    def __getattr__(self, name: str) -> Any:
        if name.startswith('_'):  # also while a copy is being made
            raise AttributeError(name)
        return getattr(self._dataset, name)


def _check_keys(
    dataset: Any, pipeline: Any, skip_type_keys: Any, max_refetch: Any, lazy_init: Any
) -> None:
    owner = 'of DeepLakeMultiImageMixDataset'
    if not isinstance(dataset, (Mapping, BaseDataset)):
        remedy = "dataset=dict(type='DeepLakeDataset', …)"
        raise wrong(f'dataset {owner}', 'a dataset or its config', dataset, remedy)
    if not is_list(pipeline) or not all(
        isinstance(step, Mapping) and 'type' in step for step in pipeline
    ):
        remedy = "pipeline=[dict(type='Mosaic', …), …]"
        raise wrong(f'pipeline {owner}', 'a list of configs', pipeline, remedy)
    if skip_type_keys is not None and not (
        is_list(skip_type_keys) and all(isinstance(each, str) for each in skip_type_keys)
    ):
        remedy = "skip_type_keys=['Mosaic'], or leave it out"
        raise wrong(f'skip_type_keys {owner}', 'a list of types', skip_type_keys, remedy)
    check_int(f'max_refetch {owner}', max_refetch, 1, 'max_refetch=15')
    check_bool(f'lazy_init {owner}', lazy_init)
