"""Log one line per epoch: where the time and the bytes went."""

from __future__ import annotations

from time import perf_counter
from typing import Any

from mmengine.dist import all_gather_object, get_world_size, is_main_process
from mmengine.hooks import Hook
from mmengine.logging import print_log
from mmengine.registry import HOOKS
from mmengine.runner import IterBasedTrainLoop
from torch.utils.data import DataLoader

from ..datasets.timing import TimedCollate
from ..samplers.loader import DeepLakeLoader
from ..samplers.wrappers import map_samples
from ..shuffle.quality import measure_quality
from ..utils.counters import FIELDS, ReadCounters
from ..utils.values import check_bool, refuse_unknown

_STAGES = ('storage', 'decode', 'transforms', 'collate')


@HOOKS.register_module()
class DeepLakeReportHook(Hook):
    """Report the data loading of each training epoch on ``DeepLakeDataset``.

    The line shows samples per second, the share of time that training waited for data,
    how the workers' time divides into waiting for storage, decoding, transforms and
    collating, how much was read, and its ratio to what was needed. Numbers are sums
    over ranks and workers. The time of transforms that a dataset wrapper runs is not
    measured.

    Args:
        details: Whether to log also the seconds of each stage and the quality of the
            shuffle.
    """

    priority = 'LOW'

    def __init__(self, details: bool = False, **unknown: Any) -> None:
        refuse_unknown(unknown, DeepLakeReportHook.__init__)
        check_bool('details of DeepLakeReportHook', details)
        self.details = details
        self._counters: list[ReadCounters] = []
        self._before: dict[str, float] = {}
        self._began = self._waited = self._idle_since = 0.0
        ReadCounters.shared_from_now_on()

    def before_train(self, runner: Any) -> None:
        """Start measuring."""
        dataloader = runner.train_loop.dataloader
        sample_map = map_samples(dataloader.dataset)
        datasets = sample_map.datasets if sample_map else []
        self._counters = [dataset.reader.counters for dataset in datasets]
        # The iteration-based loop is reading already: shared counters count from 0.
        self._before = _sums(
            [counters.totals() for counters in self._counters if not counters.is_shared]
        )
        for counters in self._counters:
            counters.share()
        if self._counters:
            dataloader.collate_fn = TimedCollate(dataloader.collate_fn, self._counters[0])

    def before_train_epoch(self, runner: Any) -> None:
        """Start the measurement of an epoch."""
        self._begin()

    def before_train_iter(
        self, runner: Any, batch_idx: int, data_batch: Any = None
    ) -> None:
        """Add the time that training waited for this batch."""
        self._waited += perf_counter() - self._idle_since

    def after_train_iter(
        self, runner: Any, batch_idx: int, data_batch: Any = None, outputs: Any = None
    ) -> None:
        """Report when an epoch of the iteration-based loop ends."""
        self._idle_since = perf_counter()
        loop = runner.train_loop
        if isinstance(loop, IterBasedTrainLoop):
            done, length = loop.iter + 1, max(len(loop.dataloader), 1)
            if done % length == 0 or done == loop.max_iters:
                self._report(loop.dataloader, (done - 1) // length)
                self._begin()

    def after_train_epoch(self, runner: Any, metrics: Any = None) -> None:
        """Report an epoch of the epoch-based loop."""
        if not isinstance(runner.train_loop, IterBasedTrainLoop):
            self._report(runner.train_loop.dataloader, runner.epoch)

    def _begin(self) -> None:
        self._began = self._idle_since = perf_counter()
        self._waited = 0.0

    def _report(self, dataloader: DataLoader, epoch: int) -> None:
        if not self._counters:
            return
        seconds = perf_counter() - self._began
        now = _sums([counters.totals() for counters in self._counters])
        own = {field: now[field] - self._before[field] for field in now}
        self._before = now
        total = _sums(all_gather_object(own))
        waited = sum(all_gather_object(self._waited)) / get_world_size()
        if is_main_process():
            print_log(
                f'DeepLakeLoader, epoch {epoch + 1}: {summary(total, seconds, waited)}',
                logger='current',
            )
            if self.details:
                self._print_details(dataloader, total)

    def _print_details(self, dataloader: DataLoader, total: dict[str, float]) -> None:
        stages = ', '.join(f'{stage} {total[stage]:.1f} s' for stage in _STAGES)
        print_log(f'DeepLakeLoader, all workers: {stages}', logger='current')
        sampler = getattr(dataloader.batch_sampler, 'sampler', None)
        sample_map = map_samples(dataloader.dataset)
        if isinstance(sampler, DeepLakeLoader) and sample_map:
            size = dataloader.batch_sampler.batch_size * get_world_size()
            chunks, _ = sample_map.chunks_of_samples()
            quality = measure_quality(sampler.global_order(), chunks, size)
            print_log(f'DeepLakeLoader, shuffle {sampler.shuffle}: {quality}', 'current')


def summary(total: dict[str, float], seconds: float, waited: float) -> str:
    """Format an epoch's counters as a line of text.

    Args:
        total: Field of :class:`ReadCounters` -> sum over ranks and workers.
        seconds: Duration of the epoch in seconds.
        waited: Seconds that training waited for data, mean of the ranks.
    """
    busy = sum(total[stage] for stage in _STAGES) or 1.0
    shares = ', '.join(f'{stage} {total[stage] / busy:.0%}' for stage in _STAGES)
    return (
        f'{total["samples"]:.0f} samples, {total["samples"] / seconds:.1f} per second; '
        f'training waited {waited / seconds:.1%}; workers: {shares}; read '
        f'{total["bytes"] / 1e6:.1f} MB in {total["requests"]:.0f} reads '
        f'({total["chunks"]:.0f} whole chunks), '
        f'{total["bytes"] / max(total["needed"], 1):.2f} x what was needed'
    )


def _sums(parts: list[dict[str, float]]) -> dict[str, float]:
    return {field: sum(part[field] for part in parts) for field in FIELDS}
