"""Lists, after each epoch, the rows whose image was left out."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import Any

from mmengine.dist import all_gather_object
from mmengine.hooks import Hook
from mmengine.logging import print_log
from mmengine.registry import HOOKS

from ..datasets.broken_images import describe_rows


@HOOKS.register_module()
class DeepLakeSkippedImagesHook(Hook):
    """Lists, after each epoch of training, the rows whose image was skipped.

    Worker processes warn about a row when they first meet it; this hook counts and
    lists the rows of all workers and ranks. Write it into ``custom_hooks`` beside
    ``on_broken_image='skip'``.
    """

    def after_train_epoch(self, runner: Any) -> None:
        """Logs the rows that were skipped since the last epoch."""
        own: dict[str, set[int]] = {}
        for dataset in _with_skipping(runner.train_dataloader.dataset):
            own.setdefault(dataset.lake.name, set()).update(dataset.take_skipped_rows())
        if not own:
            return
        rows_of: dict[str, set[int]] = {}
        for part in all_gather_object(own):
            for name, rows in part.items():
                rows_of.setdefault(name, set()).update(rows)
        found = {name: sorted(rows) for name, rows in rows_of.items() if rows}
        count = sum(map(len, found.values()))
        if count:
            print_log(
                f'{count} images could not be decoded in epoch {runner.epoch + 1} and '
                f'were replaced by the next ones: {describe_rows(found)}',
                logger='current',
                level=logging.WARNING,
            )


def _with_skipping(dataset: Any) -> Iterator[Any]:
    """The datasets of lakes under any wrappers that skip broken images."""
    if getattr(dataset, 'on_broken_image', '') == 'skip':
        yield dataset
    inner = getattr(dataset, 'dataset', None)
    for part in getattr(dataset, 'datasets', [] if inner is None else [inner]):
        yield from _with_skipping(part)
