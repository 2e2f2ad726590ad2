"""Compare the classes of a run with those of its checkpoint."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from mmengine.hooks import Hook
from mmengine.registry import HOOKS

from ..datasets.class_comparison import (
    compared,
    has_distractors,
    members_of,
    refuse_other_classes,
)
from ..utils.messages import warn
from ..utils.values import refuse_unknown


@HOOKS.register_module()
class DeepLakeClassCheckHook(Hook):
    """Compare names and order of the classes of all datasets of a run.

    - Datasets that are joined for training must have the same classes.
    - A resumed training must have the classes of its checkpoint.
    - A warning tells if a test has other classes than its checkpoint, or if a training
      starts from a checkpoint with the same classes in another order. Starting from a
      checkpoint with other classes is the usual fine-tuning.

    Without this hook, ``DeepLakeLoader`` and workers compare joined datasets, and
    datasets for training and for tests that are in use together are compared too.

    Raises:
        ValueError: Before the first iteration; the message shows both lists.
    """

    def __init__(self, **unknown: Any) -> None:
        refuse_unknown(unknown, DeepLakeClassCheckHook.__init__)
        self._stored: Sequence[str] | None = None

    def after_load_checkpoint(self, runner: Any, checkpoint: dict) -> None:
        """Keep the classes that the checkpoint was trained on."""
        meta = (checkpoint.get('meta') or {}).get('dataset_meta') or {}
        self._stored = meta.get('classes') if isinstance(meta, dict) else None

    def before_train(self, runner: Any) -> None:
        """Compare joined datasets, and those of a resumed run with the checkpoint."""
        dataset = runner.train_dataloader.dataset
        refuse_other_classes(dataset)
        difference = self._difference(dataset)
        if difference and runner.iter > 0:
            raise ValueError(
                'a resumed training must have the classes of its checkpoint in the same '
                f'order, but {difference}'
            )
        own = [name for part in members_of(dataset) for name in part.metainfo['classes']]
        if difference and set(own) == set(self._stored or ()):
            _warn('the weights of the checkpoint belong to other labels', difference)
        self._stored = None

    def before_val(self, runner: Any) -> None:
        """Compare with the checkpoint, unless the validation is part of a training."""
        self._warn_of(runner.val_dataloader.dataset)

    def before_test(self, runner: Any) -> None:
        """Compare with the checkpoint."""
        self._warn_of(runner.test_dataloader.dataset)

    def _warn_of(self, dataset: Any) -> None:
        difference = self._difference(dataset)
        if difference:
            _warn('the scores will be wrong', difference)

    def _difference(self, dataset: Any) -> str:
        for part in members_of(dataset) if self._stored else ():
            classes, stored = part.metainfo['classes'], tuple(self._stored or ())
            may_differ = part.return_classes or has_distractors(part, stored)
            if stored != classes and not may_differ:
                return compared('the checkpoint', stored, part.lake.name, classes)
        return ''


def _warn(consequence: str, difference: str) -> None:
    warn(f'DeepLakeClassCheckHook: {consequence}: {difference}')
