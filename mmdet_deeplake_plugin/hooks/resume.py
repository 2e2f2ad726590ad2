"""Goes on in the middle of an epoch, at exactly the next batch."""

from __future__ import annotations

import hashlib
import logging
from typing import Any

from mmdet.datasets.samplers import AspectRatioBatchSampler
from mmengine.dist import get_world_size
from mmengine.hooks import Hook
from mmengine.logging import print_log
from mmengine.registry import HOOKS
from mmengine.runner import IterBasedTrainLoop
from torch.utils.data import DataLoader

from ..samplers.loader import DeepLakeLoader
from ..samplers.pause import pause, unpause
from ..samplers.wrappers import map_samples
from .mid_epoch import BatchStream, find_sampler, skip_batches

KEY = 'deeplake'


@HOOKS.register_module()
class DeepLakeResumeHook(Hook):
    """Resumes a training in mid-epoch, under the epoch- and the iteration-based loop.

    With ``CheckpointHook(by_epoch=False)``, ``train.py --resume`` goes on with the
    batch behind the checkpoint, without loading those before it, also on another
    number of ranks with the same global batch. Checkpoints get an entry
    ``'deeplake'``: lakes, version, rows, order and position, no secret. In the log,
    the epoch that is resumed counts its iterations from 1.

    What the transforms draw at random is not restored.

    Args:
        accept_changes: Whether to go on when lake, rows, order or batches differ from
            those of the checkpoint; each difference is logged then.

    Raises:
        ValueError: On resume, if they differ; names both sides.
    """

    # Before CheckpointHook, after the hook that sets the sampler's epoch.
    priority = 'BELOW_NORMAL'

    def __init__(self, accept_changes: bool = False) -> None:
        self.accept_changes = accept_changes
        self._found: dict[str, Any] | None = None
        self._resumed: tuple[int, int] | None = None
        # The epoch that is trained, and the iteration at which it began.
        self._began = (0, 0)
        pause(self)

    def before_run(self, runner: Any) -> None:
        """Lets the samplers deal again."""
        unpause(self)

    def after_load_checkpoint(self, runner: Any, checkpoint: dict) -> None:
        """Keeps what a checkpoint says of lake, order and position.

        Args:
            runner: The runner.
            checkpoint: The checkpoint.
        """
        self._found = checkpoint.get(KEY)

    def before_train(self, runner: Any) -> None:
        """Compares with the checkpoint, if one is resumed, and takes over its order.

        Args:
            runner: The runner.
        """
        loop = runner.train_loop
        sampler = find_sampler(loop.dataloader)
        if loop.iter > 0:
            self._resumed = self._take_over(runner, sampler)
        if isinstance(loop, IterBasedTrainLoop):
            epoch, done = self._resumed or (0, 0)
            forgets = getattr(loop, 'fast_forward_on_resume', False)  # in onedl-mmengine
            advance = 0 if forgets else loop.iter
            loop.dataloader_iterator = BatchStream(loop.dataloader, epoch, done, advance)

    def before_train_epoch(self, runner: Any) -> None:
        """Leaves out the batches of a resumed epoch that were trained.

        Args:
            runner: The runner.
        """
        if isinstance(runner.train_loop, IterBasedTrainLoop):
            return
        resumed, self._resumed = self._resumed, None
        done = resumed[1] if resumed and resumed[0] == runner.epoch else 0
        if done:
            skip_batches(runner.train_loop.dataloader, done)
        self._began = (runner.epoch, runner.iter - done)

    def before_save_checkpoint(self, runner: Any, checkpoint: dict) -> None:
        """Adds lake, order and position to a checkpoint.

        Args:
            runner: The runner.
            checkpoint: The checkpoint; gets the key ``'deeplake'``.
        """
        loop, meta = runner.train_loop, checkpoint['meta']
        if isinstance(loop, IterBasedTrainLoop):
            epoch, done = loop.dataloader_iterator.epoch, loop.dataloader_iterator.batches
        elif meta['epoch'] == self._began[0]:
            epoch, done = meta['epoch'], meta['iter'] - self._began[1]
        else:  # between two epochs
            epoch, done = meta['epoch'], 0
        checkpoint[KEY] = {
            **describe(loop.dataloader),
            'position': {'epoch': epoch, 'batches': done},
        }

    def _take_over(self, runner: Any, sampler: DeepLakeLoader) -> tuple[int, int]:
        """The epoch in which to go on, and the number of its batches to leave out."""
        dataloader, loop = runner.train_loop.dataloader, runner.train_loop
        if self._found is None:
            print_log(
                'DeepLakeResumeHook: the checkpoint was written without this hook, so it '
                'cannot be compared with lake and order of this run',
                logger='current',
                level=logging.WARNING,
            )
            length = max(len(dataloader), 1)
            if isinstance(loop, IterBasedTrainLoop):
                return divmod(loop.iter, length)
            return loop.epoch, min(max(loop.iter - loop.epoch * length, 0), length)
        config = (runner.cfg.get('train_dataloader') or {}).get('sampler') or {}
        stated = {
            key for key in ('seed', 'lanes', 'window') if config.get(key) is not None
        }
        own = sampler.order_state()
        order = {**own, **self._found['order']}
        order.update({key: own[key] for key in stated & own.keys()})
        sampler.load_order_state(order)
        self._compare(self._found, describe(dataloader))
        position = self._found['position']
        return position['epoch'], position['batches']

    def _compare(self, before: dict[str, Any], now: dict[str, Any]) -> None:
        old, new = _flat(before), _flat(now)
        changes = [
            f'{key}: {old.get(key, "none")} in the checkpoint, {new.get(key, "none")} now'
            for key in {**old, **new}
            if old.get(key) != new.get(key) and not key.startswith('position')
        ]
        if not changes:
            return
        text = (
            'DeepLakeResumeHook: this run would not go on where the checkpoint ends: '
            + '; '.join(changes)
        )
        if not self.accept_changes:
            raise ValueError(
                f'{text}. Restore what differs, or accept it by custom_hooks='
                "[dict(type='DeepLakeResumeHook', accept_changes=True)]"
            )
        print_log(text, logger='current', level=logging.WARNING)


def describe(dataloader: DataLoader) -> dict[str, Any]:
    """What the batches of a dataloader depend on, in plain values without secrets.

    Args:
        dataloader: With a ``DeepLakeLoader``.

    Returns:
        ``lakes`` (path, branch, version, number of samples and a digest of their rows),
        ``order`` and ``batches``.
    """
    sampler, batches = find_sampler(dataloader), dataloader.batch_sampler
    form: dict[str, Any] = {
        'sampler': type(batches).__name__,
        'global_batch': batches.batch_size * get_world_size(),
        'drop_last': batches.drop_last,
        'in_epoch': len(dataloader),  # with drop_last, some depend on the ranks
    }
    if isinstance(batches, AspectRatioBatchSampler):
        form['ranks'] = get_world_size()  # each rank sorts its own samples there
    places = map_samples(dataloader.dataset)
    lakes = {}
    for number, dataset in enumerate(places.datasets if places else ()):
        source, rows = dataset.lake.source, dataset.rows_of()
        lakes[str(number)] = {
            'path': source.spec.path,
            'branch': source.pin.branch,
            'version': source.pin.version,
            'view': source.pin.tag,
            'samples': len(rows),
            'rows': hashlib.sha256(rows.tobytes()).hexdigest()[:16],
        }
    return {
        'lakes': lakes,
        'order': sampler.order_state(),
        'batches': form,
    }


def _flat(tree: dict[str, Any], prefix: str = '') -> dict[str, Any]:
    leaves: dict[str, Any] = {}
    for key, value in tree.items():
        if isinstance(value, dict):
            leaves.update(_flat(value, f'{prefix}{key}.'))
        else:
            leaves[f'{prefix}{key}'] = value
    return leaves
