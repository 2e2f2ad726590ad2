"""Which row next, on which rank: a sampler with the contract of ``DefaultSampler``."""

from __future__ import annotations

from collections.abc import Iterator, Sized

from mmdet.registry import DATA_SAMPLERS
from mmengine.dist import get_dist_info, sync_random_seed
from torch.utils.data import Sampler

from .order import epoch_order, rank_length, rank_slice


@DATA_SAMPLERS.register_module()
class DeepLakeLoader(Sampler):
    """Deals the rows of a dataset to ranks in one order for any number of ranks.

    The global order is a pure function of seed and epoch. Rank ``r`` of ``R``
    takes positions ``r, r + R, r + 2R, …``, which is also how MMEngine puts the
    results of a validation together again.

    Args:
        dataset: Dataset, wrapped or not; only its length is used.
        shuffle: Whether to permute the rows anew in each epoch.
        seed: Seed of the order, 0 or more; ``None`` lets rank 0 draw one for all.
        round_up: Whether every rank sees equally many samples, by repeating the
            beginning of the order.

    Raises:
        ValueError: If ``seed`` is negative.
    """

    def __init__(
        self,
        dataset: Sized,
        shuffle: bool = True,
        seed: int | None = None,
        round_up: bool = True,
    ) -> None:
        if seed is not None and seed < 0:
            raise ValueError(
                f'seed={seed} of DeepLakeLoader is negative; write 0 or more'
            )
        self.rank, self.world_size = get_dist_info()
        self.dataset = dataset
        self.shuffle = shuffle
        self.seed = sync_random_seed() if seed is None else seed
        self.round_up = round_up
        self.epoch = 0

    def __iter__(self) -> Iterator[int]:
        """Indices of this rank in their order, as Python integers."""
        order = epoch_order(len(self.dataset), self.seed, self.epoch, self.shuffle)
        return iter(rank_slice(order, self.rank, self.world_size, self.round_up).tolist())

    def __len__(self) -> int:
        """Number of samples that this rank sees in an epoch."""
        return rank_length(len(self.dataset), self.rank, self.world_size, self.round_up)

    def set_epoch(self, epoch: int) -> None:
        """Chooses the epoch whose order the next iteration follows.

        Args:
            epoch: Number of the epoch, from 0.
        """
        self.epoch = epoch
