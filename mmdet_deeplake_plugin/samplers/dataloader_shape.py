"""Compare the lanes of a sampler with the shape of its dataloader."""

from __future__ import annotations

from dataclasses import dataclass

from torch.utils.data import get_worker_info

from ..utils.messages import warn


@dataclass(frozen=True)
class DataloaderShape:
    """The dataloaders of all ranks.

    Args:
        world_size: Number of ranks.
        num_workers: Workers per rank; 0 if the main process reads.
        batch_size: Batch size per rank.
    """

    world_size: int
    num_workers: int
    batch_size: int

    @property
    def readers(self) -> int:
        """Number of processes per rank that read."""
        return max(self.num_workers, 1)

    @property
    def round_size(self) -> int:
        """Number of samples in a round: one batch for each reading process."""
        return self.world_size * self.readers * self.batch_size


@dataclass(frozen=True)
class DataloaderCheck:
    """A callback for the first batch: warns when the lanes do not suit the dataloader.

    Args:
        world_size: Number of ranks.
        lanes: Number of lanes; 0 if the order has none.
        batch_size: The sampler's key, if it is set.
        num_workers: The sampler's key, if it is set.
    """

    world_size: int
    lanes: int
    batch_size: int | None
    num_workers: int | None

    def __call__(self, batch_size: int, num_workers: int) -> None:
        """Log the warning; only the first worker of a dataloader does."""
        worker = get_worker_info()
        if worker is None or worker.id == 0:
            text = self.warning(batch_size, num_workers)
            if text:
                warn(text)

    def warning(self, batch_size: int, num_workers: int) -> str:
        """Return the text of the warning, ``''`` if the lanes suit the dataloader."""
        actual = {'batch_size': batch_size, 'num_workers': num_workers}
        for key, value in actual.items():
            configured = getattr(self, key)
            if configured is not None and configured != value:
                return (
                    f'{key} of DeepLakeLoader must be that of the dataloader, {value}, '
                    f'but it is {configured}. The order stays the same, but chunks may '
                    f'be read more than once; write {key}={value} in the sampler too'
                )
        shape = DataloaderShape(self.world_size, num_workers, batch_size)
        if self.lanes and self.lanes % shape.round_size:
            return (
                f'{self.lanes} lanes are not a multiple of {self.world_size} ranks x '
                f'{num_workers} workers x batch size {batch_size}, so chunks are read '
                f'more than once; write batch_size={batch_size}, '
                f'num_workers={num_workers} in the sampler (which changes the order), '
                'or ignore this'
            )
        return ''
