"""Which row next, on which rank: a sampler with the contract of ``DefaultSampler``."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from mmdet.registry import DATA_SAMPLERS
from mmengine.dist import all_gather_object, get_dist_info, sync_random_seed
from numpy.typing import NDArray
from torch.utils.data import Sampler

from ..shuffle.batches import spread
from ..shuffle.epoch import epoch_order, rank_length, rank_slice
from ..shuffle.lanes import Lanes
from ..shuffle.repeats import sample_counts
from ..utils.blocks import blocks
from .checks import check_loader_keys, choose_shuffle, default_lanes
from .dataloader_shape import DataloaderCheck
from .pause import is_paused
from .read_strategy import choose_reads
from .weighting import sample_weights
from .wrappers import map_samples


@DATA_SAMPLERS.register_module()
class DeepLakeLoader(Sampler):
    """Deals the samples of a dataset to ranks in one order for any number of ranks.

    The global order is a pure function of seed, epoch, the lake and, in lanes, their
    number. Rank ``r`` of ``R`` takes positions ``r, r + R, r + 2R, …``, which is also
    how MMEngine puts the results of a validation together again.

    Args:
        dataset: Dataset, wrapped or not. Of one that is not made of
            ``DeepLakeDataset`` only the length is used.
        shuffle: ``'full'``: a permutation of all samples. ``'lanes'``: a shuffle that
            reads each stored chunk about once, see
            :mod:`mmdet_deeplake_plugin.shuffle.lanes`. ``True`` or ``'auto'``:
            ``'lanes'`` for lakes on object storage, ``'full'`` for others.
            ``False`` or ``'none'``: in sequence.
        seed: Seed of the order, 0 or more; ``None`` lets rank 0 draw one for all.
        round_up: Whether every rank sees equally many samples, by repeating the
            beginning of the order.
        batch_size: Batch size of the dataloader, per rank, to choose ``lanes`` by.
        num_workers: Workers of the dataloader, to choose ``lanes`` by.
        window: Number of chunks whose samples a lane mixes. More shuffles better and
            holds more in memory.
        lanes: Number of lanes. Defaults to the least multiple of ranks x
            ``num_workers`` x ``batch_size`` from 64 on if both are given, else 64;
            another number is another order, so state it to compare runs.
        loader_type: ``'c++'``: reads whole chunks, or the rows of a batch as a list,
            by Deep Lake's engine; ``'python'``: reads row by row; ``'auto'``: the
            former for lakes on object storage, the latter for others.
        weights: How often samples come, with ``shuffle``:
            ``dict(type='repeat_factor', threshold=0.001)`` as for LVIS,
            ``dict(type='class_balanced')``, ``dict(type='column', name='…')`` or
            ``dict(type='query', expression='…')`` (TQL). ``None``: each once.
        cache_bytes: Largest size of the chunks that a worker holds, in bytes.

    Raises:
        ValueError: If a key is wrong, or if ranks have datasets of different length.
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
    ) -> None:
        if seed is not None and seed < 0:
            raise ValueError(
                f'seed={seed} of DeepLakeLoader is negative; write 0 or more'
            )
        check_loader_keys(
            loader_type,
            batch_size=batch_size,
            num_workers=num_workers,
            window=window,
            lanes=lanes,
            cache_bytes=cache_bytes,
        )
        self.rank, self.world_size = get_dist_info()
        self.dataset = dataset
        self.seed = sync_random_seed() if seed is None else seed
        self.round_up = round_up
        self.window = window
        self.epoch = 0
        self._check_ranks()
        self._places = places = map_samples(dataset)
        self.shuffle = choose_shuffle(shuffle, places)
        self.lanes = lanes or default_lanes(self.world_size, batch_size, num_workers)
        self._weights: NDArray[np.float64] | None = None
        self._total = len(dataset)
        if weights is not None:
            self._weights, self._total = sample_weights(weights, self.shuffle, places)
        self._reading = choose_reads(
            places,
            self.shuffle,
            loader_type,
            world_size=self.world_size,
            is_weighted=weights is not None,
            cache_bytes=cache_bytes,
        )
        in_lanes = self.lanes if self.shuffle == 'lanes' else 0
        for dataset in places.datasets[:1] if places and self.rank == 0 else ():
            dataset.reader.on_first_batch = DataloaderCheck(
                self.world_size, in_lanes, batch_size, num_workers
            )
        self._skip, self._keep = 0, list[int]()

    def __iter__(self) -> Iterator[int]:
        """Indices of this rank in their order, as Python integers."""
        if is_paused():
            return
        (skip, keep), self._skip, self._keep = (self._skip, self._keep), 0, []
        if self.shuffle == 'lanes':
            lanes = self._lanes(self._counts())
            rows = lanes.rank_slice(self.rank, self.world_size, len(self))
            self.begin_reading([lanes], skip * self.world_size)
        else:
            order = self._permuted(self._counts())
            rows = rank_slice(order, self.rank, self.world_size, self.round_up)
            self.begin_reading([], skip * self.world_size)
        yield from keep
        rows = rows[skip:]
        for block in blocks(len(rows)):
            yield from rows[block].tolist()

    def __len__(self) -> int:
        """Number of samples that this rank sees in an epoch."""
        return rank_length(self._total, self.rank, self.world_size, self.round_up)

    @property
    def num_samples(self) -> int:
        """Number of samples of an epoch, of all ranks together, not rounded up."""
        return self._total

    def set_epoch(self, epoch: int) -> None:
        """Chooses the epoch whose order the next iteration follows.

        Args:
            epoch: Number of the epoch, from 0.
        """
        self.epoch = epoch

    def skip(self, num_samples: int, keep: Sequence[int] = ()) -> None:
        """Lets the next iteration, and only that, begin later in its epoch.

        Args:
            num_samples: Number of this rank's samples to leave out at the beginning.
            keep: Indices among them that are dealt all the same, first of all: what a
                batch sampler had taken, and not yet put into a batch.

        Raises:
            ValueError: If there are not as many.
        """
        if not 0 <= num_samples <= len(self):
            raise ValueError(
                f'cannot skip {num_samples} samples of the {len(self)} that rank '
                f'{self.rank} sees in an epoch; to go on in a later epoch, add '
                "dict(type='DeepLakeResumeHook') to custom_hooks"
            )
        self._skip, self._keep = num_samples, list(keep)

    def global_order(self) -> NDArray[np.integer]:
        """The order of the epoch on all ranks together, shape ``(num_samples,)``."""
        if self.shuffle == 'lanes':
            return self._lanes(self._counts()).rank_slice(0, 1, self._total)
        return self._permuted(self._counts())

    def grouped_order(
        self, groups: NDArray[np.integer]
    ) -> tuple[NDArray[np.integer], list[Lanes]]:
        """The order of the epoch for batches of one group each.

        In lanes each group has an order of its own along the same chunks, and they
        take turns of as many samples as there are lanes: so what a worker meets of
        each group lies in the same chunks.

        Args:
            groups: Group of each sample of the dataset, 0 or more, shape ``(N,)``.

        Returns:
            The order, shape ``(num_samples,)``, and its lanes, if it has any.
        """
        counts = self._counts()
        if self.shuffle != 'lanes':
            return self._permuted(counts), []
        lanes = [
            self._lanes(counts, groups == group, int(group))
            for group in np.unique(groups)
        ]
        parts = [each.rank_slice(0, 1, len(each)) for each in lanes]
        return spread(parts, self.lanes, (self.seed, self.epoch)), lanes

    def is_upright(self) -> NDArray[np.bool_]:
        """Whether an image is higher than wide, by sample, shape ``(N,)``.

        Raises:
            ValueError: If the dataset does not tell the size of its images.
        """
        if self._places is None:
            return self._is_upright_by_info()
        sizes = [dataset.sizes_of_samples() for dataset in self._places.datasets]
        return self._places.gather([width < height for width, height in sizes])

    def begin_reading(self, lanes: list[Lanes], skip: int) -> None:
        """Tells the workers along which chunks the epoch goes.

        Args:
            lanes: The lanes of the order, if it has any.
            skip: Number of samples of all ranks that are left out at the beginning.
        """
        self._reading.begin(lanes, skip)

    def order_state(self) -> dict[str, Any]:
        """What the order depends on besides the epoch, in plain values."""
        state = {
            'seed': self.seed,
            'shuffle': self.shuffle,
            'samples': self._total,
            'round_up': self.round_up,
        }
        if self.shuffle == 'lanes':
            state.update(lanes=self.lanes, window=self.window)
        if self._weights is not None:
            digest = hashlib.sha256(self._weights.tobytes()).hexdigest()
            state['weights'] = digest[:16]
        return state

    def load_order_state(self, state: dict[str, Any]) -> None:
        """Takes over the order of an earlier run, but for its kind of shuffle.

        Args:
            state: What :meth:`order_state` returned there.
        """
        self.seed = state['seed']
        self.lanes = state.get('lanes', self.lanes)
        self.window = state.get('window', self.window)

    def _is_upright_by_info(self) -> NDArray[np.bool_]:
        try:
            infos = map(self.dataset.get_data_info, range(len(self.dataset)))
            return np.array([info['width'] < info['height'] for info in infos], bool)
        except (AttributeError, KeyError) as error:
            raise ValueError(
                f'{type(self.dataset).__name__} does not tell the size of its images; '
                'batches of one orientation need get_data_info() with width and height'
            ) from error

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
        index = self._reading.index
        if chosen is not None:
            index = index.only(chosen)
        if counts is not None:
            index = index.repeated(counts)
        return Lanes(index, self.lanes, self.window, self.seed, self.epoch, group)

    def _check_ranks(self) -> None:
        lengths = all_gather_object(len(self.dataset))
        if len(set(lengths)) > 1:
            seen = ', '.join(f'rank {i}: {length}' for i, length in enumerate(lengths))
            raise ValueError(
                f'the ranks have datasets of different length ({seen}), and would wait '
                'for each other for ever; give all ranks the same rows'
            )
