"""Log after each epoch the rows whose image was skipped."""

from __future__ import annotations

from typing import Any

from mmengine.dist import all_gather_object
from mmengine.hooks import Hook
from mmengine.registry import HOOKS

from ..datasets.broken_images import describe_rows
from ..datasets.class_comparison import members_of
from ..utils.messages import warn
from ..utils.values import refuse_unknown


@HOOKS.register_module()
class DeepLakeSkippedImagesHook(Hook):
    """List after each training epoch the rows whose image was skipped.

    Worker processes warn when they first skip a row; this hook counts and lists the
    rows of all workers and ranks. Add it to ``custom_hooks`` together with
    ``on_broken_image='skip'``.
    """

    def __init__(self, **unknown: Any) -> None:
        refuse_unknown(unknown, DeepLakeSkippedImagesHook.__init__)

    def after_train_epoch(self, runner: Any) -> None:
        """Log the rows that were skipped since the previous epoch."""
        own: dict[str, set[int]] = {}
        for dataset in members_of(runner.train_dataloader.dataset):
            if dataset.on_broken_image == 'skip':
                rows = own.setdefault(dataset.lake.name, set())
                rows.update(dataset.take_skipped_rows())
        if not own:
            return
        rows_of: dict[str, set[int]] = {}
        for part in all_gather_object(own):
            for name, rows in part.items():
                rows_of.setdefault(name, set()).update(rows)
        skipped = {name: sorted(rows) for name, rows in rows_of.items() if rows}
        count = sum(map(len, skipped.values()))
        if count:
            warn(
                f'{count} images could not be decoded in epoch {runner.epoch + 1} and '
                f'were replaced by the next ones: {describe_rows(skipped)}'
            )
