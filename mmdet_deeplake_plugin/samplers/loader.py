"""Sample in one global order for any number of ranks; replaces ``DefaultSampler``."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
from mmdet.registry import DATA_SAMPLERS
from mmengine.dist import get_dist_info, sync_random_seed
from numpy.typing import NDArray
from torch.utils.data import Sampler

from ..datasets.class_comparison import refuse_other_classes
from ..shuffle.batches import spread
from ..shuffle.by_worker import by_worker_order
from ..shuffle.epoch import epoch_order, rank_length, rank_slice
from ..shuffle.lanes import Lanes
from ..shuffle.repeats import sample_counts
from ..utils.blocks import blocks
from ..utils.distributed import once_per_node
from ..utils.shared_memory import SharedArray
from ..utils.values import refuse_unknown, wrong
from .checks import (
    check_equal_on_ranks,
    check_loader_keys,
    choose_shuffle,
    default_lanes,
)
from .dataloader_shape import DataloaderCheck, DataloaderShape
from .pause import is_paused
from .read_strategy import choose_reads, suits_workers, warn_of_scattered_reads
from .weighting import parse_weights, sample_weights
from .wrappers import SampleMap, map_samples


@DATA_SAMPLERS.register_module()
class DeepLakeLoader(Sampler):
    """Distribute the samples of a dataset to ranks, in one order for any number of ranks.

    The global order is a pure function of seed, epoch, the lake and, with lanes, their
    number. Rank ``r`` of ``R`` takes positions ``r, r + R, r + 2R, …``, which is also
    how MMEngine reassembles validation results. (``order='by_worker'``, for validation,
    depends on the dataloaders.)

    Args:
        dataset: Dataset, wrapped or not. If it does not consist of ``DeepLakeDataset``
            alone, only its length is used.
        shuffle: ``'full'``: a permutation of all samples. ``'lanes'``: a shuffle that
            reads each stored chunk about once, see
            :mod:`mmdet_deeplake_plugin.shuffle.lanes`. ``True`` or ``'auto'``:
            ``'lanes'`` for lakes on object storage, otherwise ``'full'``.
            ``False`` or ``'none'``: in sequence, see ``order``.
        seed: Seed of the order, 0 or more; with ``None``, rank 0 draws one for all.
        round_up: Whether every rank gets the same number of samples, by repeating the
            beginning of the order.
        batch_size: Batch size of the dataloader, per rank; used to choose ``lanes``, and
            by ``order='by_worker'``.
        num_workers: Workers of the dataloader, per rank; used in the same way.
        window: Number of chunks whose samples a lane mixes. A larger window shuffles
            better and needs more memory.
        lanes: Number of lanes. Defaults to the least multiple of ranks x
            ``num_workers`` x ``batch_size`` that is at least 64 if both are set, else
            to 64. The order depends on it, so set it to compare runs.
        loader_type: ``'c++'``: Deep Lake's engine reads whole chunks, or the rows of a
            batch as a list; ``'python'``: rows are read one by one; ``'auto'``:
            ``'c++'`` for lakes on object storage, otherwise ``'python'``.
        weights: How often samples are drawn; needs ``shuffle``:
            ``dict(type='repeat_factor', threshold=0.001)`` as for LVIS,
            ``dict(type='class_balanced')``, ``dict(type='column', name='…')`` or
            ``dict(type='query', expression='…')`` (TQL). ``None``: each once.
        cache_bytes: Most bytes of chunks that a worker keeps in memory.
        order: Without ``shuffle``: ``'dataset'``: the order of the dataset, in which
            every worker reads a part of every chunk. ``'by_worker'``: the same batches,
            dealt so that each worker has a run of neighbouring ones, see
            :mod:`mmdet_deeplake_plugin.shuffle.by_worker`; needs ``batch_size`` and
            ``num_workers``. ``'auto'``: ``'dataset'``, unless ``DeepLakeOrderHook``
            finds that ``'by_worker'`` reads less and changes no result.

    Raises:
        ValueError: If a key is invalid, or the datasets of the ranks differ in length.
    """

    def __init__(
        self,
        dataset: Any,
        shuffle: bool | str = True,
        seed: int | None = None,
        round_up: bool = True,
        batch_size: int | None = None,
        num_workers: int | None = None,
        window: int = 1,
        lanes: int | None = None,
        loader_type: str = 'auto',
        weights: dict[str, Any] | None = None,
        cache_bytes: int = 1 << 30,
        order: str = 'auto',
        **unknown: Any,
    ) -> None:
        keys = locals()
        refuse_unknown(unknown, DeepLakeLoader.__init__)
        if not hasattr(dataset, '__len__'):
            remedy = "dataset=dict(type='DeepLakeDataset', …)"
            raise wrong('dataset of DeepLakeLoader', 'a dataset', dataset, remedy)
        if weights is not None:
            parse_weights(weights)
        check_loader_keys(keys)
        self.rank, self.world_size = get_dist_info()
        self.dataset = dataset
        self.seed = sync_random_seed() if seed is None else int(seed)
        self.round_up = round_up
        self.window = int(window)
        self.epoch = 0
        check_equal_on_ranks(len(dataset), 'samples', 'rows')
        refuse_other_classes(dataset)
        sample_map = map_samples(dataset)
        self.shuffle = choose_shuffle(shuffle, sample_map)
        self.order = order
        self._dealt: DataloaderShape | None = None
        self.lanes = int(lanes or default_lanes(self.world_size, batch_size, num_workers))
        self._weights: NDArray[np.float64] | None = None
        self._total = len(dataset)
        if weights is not None:
            values, self._total = sample_weights(weights, self.shuffle, sample_map)
            self._weights = once_per_node(lambda: SharedArray(values), values).values
        self._loader_type, self._cache_bytes = loader_type, cache_bytes
        self._batch_size = batch_size
        if order == 'by_worker' and batch_size is not None and num_workers is not None:
            self.deal_by_worker(batch_size, num_workers)
        else:
            self._choose_reads()
        warn_of_scattered_reads(sample_map)
        in_lanes = self.lanes if self.shuffle == 'lanes' else 0
        if sample_map is not None and self.rank == 0:
            check = DataloaderCheck(self.world_size, in_lanes, batch_size, num_workers)
            for dataset in sample_map.datasets[:1]:
                dataset.reader.on_first_batch = check
            if sample_map.mixer is not None:
                sample_map.mixer.on_first_batch = check
        self._skip, self._keep = 0, list[int]()

    def __iter__(self) -> Iterator[int]:
        """Yield the indices of this rank in order, as Python integers."""
        if is_paused():
            return
        (skip, keep), self._skip, self._keep = (self._skip, self._keep), 0, []
        lanes = [self._lanes(self._counts())] if self.shuffle == 'lanes' else []
        if lanes:
            rows = lanes[0].rank_slice(self.rank, self.world_size, len(self))
        elif self._dealt is not None:
            rows = self._by_worker(self._dealt)[self.rank :: self.world_size]
        else:
            order = self._permuted(self._counts())
            rows = rank_slice(order, self.rank, self.world_size, self.round_up)
            del order
        # Keep neither the order of all ranks, of which it may be a view, nor the index
        # of lanes with weights.
        rows = np.ascontiguousarray(rows)[skip:]
        self._reads.begin(lanes, skip * self.world_size, rows)
        del lanes
        end = self.world_size * len(self)
        positions = range(self.rank, end, self.world_size)[skip:]
        yield from keep
        for block in blocks(len(rows)):
            yield from self._reads.indices(rows[block], positions[block])

    def __len__(self) -> int:
        """Return the number of samples per epoch on this rank."""
        return rank_length(self._total, self.rank, self.world_size, self.round_up)

    @property
    def num_samples(self) -> int:
        """Number of samples per epoch on all ranks together, not rounded up."""
        return self._total

    def set_epoch(self, epoch: int) -> None:
        """Set the epoch, from 0, whose order the next iteration follows."""
        self.epoch = epoch

    def skip(self, num_samples: int, keep: Sequence[int] = ()) -> None:
        """Skip the first samples of the next iteration, and of that one only.

        Args:
            num_samples: Number of this rank's samples to skip.
            keep: Indices among them that are yielded nevertheless, before all others:
                those that a batch sampler has taken but not yet put into a batch.

        Raises:
            ValueError: If an epoch has fewer samples on this rank.
        """
        if not 0 <= num_samples <= len(self):
            raise ValueError(
                f'cannot skip {num_samples} samples of the {len(self)} that rank '
                f'{self.rank} sees in an epoch; to resume in a later epoch, add '
                "dict(type='DeepLakeResumeHook') to custom_hooks"
            )
        self._skip, self._keep = num_samples, list(keep)

    def global_order(self) -> NDArray[np.integer]:
        """Return the epoch's order over all ranks, shape ``(num_samples,)``."""
        if self.shuffle == 'lanes':
            return self._lanes(self._counts()).rank_slice(0, 1, self._total)
        if self._dealt is not None:
            return self._by_worker(self._dealt)[: self._total]
        return self._permuted(self._counts())

    @property
    def gains_by_worker(self) -> bool:
        """Whether :meth:`deal_by_worker` is still to be chosen, and reads less."""
        is_free = self.order == 'auto' and self.shuffle == 'none' and self._dealt is None
        return is_free and suits_workers(self._sample_map, self._loader_type)

    @property
    def is_by_worker(self) -> bool:
        """Whether each worker gets a run of neighbouring batches."""
        return self._dealt is not None

    def deal_by_worker(self, batch_size: int, num_workers: int) -> None:
        """Give each worker a run of neighbouring batches from now on.

        To be called before the dataloader, whose keys these are, starts its workers.
        """
        self._dealt = DataloaderShape(self.world_size, num_workers, batch_size)
        self._choose_reads()

    def begin_in_groups(
        self, groups: NDArray[np.integer], skip: int
    ) -> NDArray[np.integer]:
        """Announce the epoch to the workers, for batches that hold one group each.

        With lanes, each group has its own order over the same chunks, and the groups
        take turns after as many samples as there are lanes. So the samples that a
        worker gets of each group are stored in the same chunks.

        Args:
            groups: Group of each sample of the dataset, 0 or more, shape ``(N,)``.
            skip: Number of samples of all ranks that are skipped at the beginning.

        Returns:
            The epoch's order, shape ``(num_samples,)``.
        """
        counts = self._counts()
        if self.shuffle != 'lanes':
            self._reads.begin([], skip)
            return self._permuted(counts)
        lanes = [
            self._lanes(counts, groups == group, int(group))
            for group in np.unique(groups)
        ]
        parts = [each.rank_slice(0, 1, len(each)) for each in lanes]
        self._reads.begin(lanes, skip)
        return spread(parts, self.lanes, (self.seed, self.epoch))

    def is_upright(self) -> NDArray[np.bool_]:
        """Return for each sample whether its image is taller than wide, shape ``(N,)``.

        Raises:
            ValueError: If the dataset does not provide the size of its images.
        """
        sample_map = self._sample_map
        if sample_map is not None:
            sizes = [dataset.sizes_of_samples() for dataset in sample_map.datasets]
            return sample_map.per_sample([width < height for width, height in sizes])
        try:
            infos = map(self.dataset.get_data_info, range(len(self.dataset)))
            return np.array([info['width'] < info['height'] for info in infos], bool)
        except (AttributeError, KeyError) as error:
            raise ValueError(
                f'batches of one orientation need the size of each image, which '
                f'{type(self.dataset).__name__} does not provide; return width and '
                'height from its get_data_info()'
            ) from error

    def order_state(self) -> dict[str, Any]:
        """Return what the order depends on besides the epoch, as plain values."""
        state = {
            'seed': self.seed,
            'shuffle': self.shuffle,
            'samples': self._total,
            'round_up': self.round_up,
        }
        if self.shuffle == 'lanes':
            state.update(lanes=self.lanes, window=self.window)
        if self._dealt is not None:
            state.update(order='by_worker', **asdict(self._dealt))
        if self._weights is not None:
            digest = hashlib.sha256(self._weights.tobytes()).hexdigest()
            state['weights'] = digest[:16]
        return state

    def load_order_state(self, state: dict[str, Any]) -> None:
        """Adopt the :meth:`order_state` of an earlier run, except for its shuffle."""
        self.seed = state['seed']
        self.lanes = state.get('lanes', self.lanes)
        self.window = state.get('window', self.window)

    @property
    def _sample_map(self) -> SampleMap | None:
        return map_samples(self.dataset)  # not kept: 12 bytes per row, in each rank

    def _choose_reads(self) -> None:
        self._reads = choose_reads(
            self._sample_map,
            self.shuffle,
            self._loader_type,
            world_size=self.world_size,
            is_weighted=self._weights is not None,
            cache_bytes=self._cache_bytes,
            batch_size=self._batch_size,
            dealt=self._dealt,
        )

    def _by_worker(self, dealt: DataloaderShape) -> NDArray[np.int64]:
        shape = dealt.world_size, dealt.readers, dealt.batch_size
        return by_worker_order(self._total, *shape, self.round_up)

    def _counts(self) -> NDArray[np.integer] | None:
        if self._weights is None:
            return None
        return sample_counts(self._weights, self._total, self.seed, self.epoch)

    def _permuted(self, counts: NDArray[np.integer] | None) -> NDArray[np.int64]:
        order = epoch_order(self._total, self.seed, self.epoch, self.shuffle != 'none')
        if counts is not None:
            samples = np.repeat(np.arange(len(counts), dtype=np.int32), counts)
            del counts
            for block in blocks(len(order)):  # in place, without a second array of all
                order[block] = samples[order[block]]
        return order

    def _lanes(
        self,
        counts: NDArray[np.integer] | None,
        chosen: NDArray[np.bool_] | None = None,
        group: int = 0,
    ) -> Lanes:
        index = self._reads.index
        if chosen is not None:
            index = index.only(chosen)
        if counts is not None:
            index = index.repeated(counts)
        return Lanes(index, self.lanes, self.window, self.seed, self.epoch, group)
