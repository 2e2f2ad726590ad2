"""Let each worker of a validation read chunks of its own, where no result changes."""

from __future__ import annotations

from typing import Any

from mmengine.dist import get_world_size
from mmengine.evaluator import BaseMetric, Evaluator
from mmengine.hooks import Hook
from mmengine.logging import print_log
from mmengine.registry import HOOKS
from torch.utils.data import BatchSampler, DataLoader

from ..metrics.in_order import InDatasetOrder, can_be_put_in_order
from ..samplers.loader import DeepLakeLoader
from ..utils.messages import warn
from ..utils.values import refuse_unknown

# Hooks of these packages do not inspect single batches.
_IGNORE_BATCHES = ('mmengine', 'mmdet_deeplake_plugin')


@HOOKS.register_module()
class DeepLakeOrderHook(Hook):
    """Read each chunk once in validations and tests from object storage.

    In the order of the dataset, every worker of every rank reads a part of every chunk.
    With this hook, a ``DeepLakeLoader`` with ``shuffle=False`` deals the same batches so
    that each worker has neighbouring ones, and the metrics get their results back in the
    order of the dataset. So metrics, written files and the pickle of ``test.py --out``,
    whose results MMDetection's tools pair with the dataset by position, are the same.

    It leaves the order as it is where that could be noticed: with ``drop_last``, another
    batch sampler, another evaluator than MMEngine's, metrics of other packages, or hooks
    that look at single batches (``--show``, ``--show-dir``); and where nothing is gained:
    lakes on a local disk, saved views, rows in another order than they are stored.
    """

    # Before hooks that may iterate.
    priority = 'VERY_HIGH'

    def __init__(self, **unknown: Any) -> None:
        refuse_unknown(unknown, DeepLakeOrderHook.__init__)
        # Evaluators whose metrics are wrapped, and their metrics.
        self._wrapped: list[tuple[Evaluator, list[BaseMetric]]] = []

    def before_val(self, runner: Any) -> None:
        """Choose the order of a validation, before its first batch."""
        self._arrange(runner.val_loop, runner.hooks, 'val')

    def after_val(self, runner: Any) -> None:
        """Give the evaluator its metrics back."""
        self._unwrap()

    def before_test(self, runner: Any) -> None:
        """Choose the order of a test, before its first batch."""
        self._arrange(runner.test_loop, runner.hooks, 'test')

    def after_test(self, runner: Any) -> None:
        """Give the evaluator its metrics back."""
        self._unwrap()

    def _arrange(self, loop: Any, hooks: list[Hook], mode: str) -> None:
        self._unwrap()  # left over from a validation that failed
        dataloader, evaluator = loop.dataloader, loop.evaluator
        sampler = getattr(dataloader.batch_sampler, 'sampler', None)
        if not isinstance(sampler, DeepLakeLoader):
            return
        keeps_all = _is_dealt_in_sequence(dataloader) and not dataloader.drop_last
        can_restore = keeps_all and can_be_put_in_order(evaluator)
        processes = max(dataloader.num_workers, 1) * get_world_size()
        if (
            sampler.gains_by_worker
            and can_restore
            and processes > 1
            and not any(_watches(hook, mode) for hook in hooks)
        ):
            sampler.deal_by_worker(dataloader.batch_size, dataloader.num_workers)
            print_log(
                'DeepLakeOrderHook: each worker reads chunks of its own; results are put '
                'back into the order of the dataset',
                logger='current',
            )
        if not sampler.is_by_worker:
            return
        if can_restore:
            self._wrap(evaluator, sampler)
        else:
            reason = 'a metric or the evaluator collects results in its own way'
            if dataloader.drop_last:
                reason = 'drop_last is set'
            if not _is_dealt_in_sequence(dataloader):
                kind = type(dataloader.batch_sampler).__name__
                reason = f'the batch sampler is a {kind}'
            warn(
                "DeepLakeOrderHook: results stay in the order of order='by_worker', "
                f'because {reason}. Tools that pair results with the dataset by '
                "position need order='dataset'"
            )

    def _wrap(self, evaluator: Evaluator, sampler: DeepLakeLoader) -> None:
        order = sampler.global_order()
        self._wrapped.append((evaluator, list(evaluator.metrics)))
        evaluator.metrics[:] = [
            InDatasetOrder(metric, order) for metric in evaluator.metrics
        ]

    def _unwrap(self) -> None:
        for evaluator, metrics in self._wrapped:
            evaluator.metrics[:] = metrics
        self._wrapped.clear()


def _is_dealt_in_sequence(dataloader: DataLoader) -> bool:
    """Return whether batches are what the sampler yields, cut into pieces."""
    return type(dataloader.batch_sampler) is BatchSampler


def _watches(hook: Hook, mode: str) -> bool:
    """Return whether a hook could look at single batches of a validation or test."""
    stages = {f'before_{mode}_iter', f'after_{mode}_iter'}
    sees = not stages.isdisjoint(hook.get_triggered_stages())
    ignores = type(hook).__module__.partition('.')[0] in _IGNORE_BATCHES
    # Those that draw say so.
    return sees and not ignores and getattr(hook, 'draw', True) is not False
