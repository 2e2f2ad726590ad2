"""Resume in the middle of an epoch, at exactly the next batch."""

from __future__ import annotations

import hashlib
from typing import Any

from mmdet.datasets.samplers import AspectRatioBatchSampler
from mmengine.dist import get_world_size
from mmengine.hooks import Hook
from mmengine.registry import HOOKS
from mmengine.runner import IterBasedTrainLoop
from torch.utils.data import DataLoader

from ..samplers.loader import DeepLakeLoader
from ..samplers.pause import pause, unpause
from ..samplers.wrappers import map_samples
from ..utils.messages import warn
from ..utils.values import check_bool, refuse_unknown
from .mid_epoch import BatchStream, find_sampler, skip_batches

KEY = 'deeplake'


@HOOKS.register_module()
class DeepLakeResumeHook(Hook):
    """Resume training in mid-epoch, with the epoch-based and the iteration-based loop.

    With ``CheckpointHook(by_epoch=False)``, ``train.py --resume`` continues with the
    batch after the checkpoint, without loading the batches before it, also on another
    number of ranks with the same global batch size. Checkpoints get an entry
    ``'deeplake'`` with lakes, versions, rows, order and position, but without secrets.
    In the log, a resumed epoch counts its iterations from 1.

    The random state of transforms is not restored.

    Args:
        accept_changes: Whether to continue if lakes, rows, order or batches differ
            from those of the checkpoint; each difference is then logged.

    Raises:
        ValueError: On resume, if they differ; the message names both values.
    """

    # Before CheckpointHook, after the hook that sets the sampler's epoch.
    priority = 'BELOW_NORMAL'

    def __init__(self, accept_changes: bool = False, **unknown: Any) -> None:
        refuse_unknown(unknown, DeepLakeResumeHook.__init__)
        check_bool('accept_changes of DeepLakeResumeHook', accept_changes)
        self.accept_changes = accept_changes
        self._saved: dict[str, Any] | None = None
        self._resumed: tuple[int, int] | None = None
        # The current epoch, and the iteration at which it began.
        self._began = (0, 0)
        pause(self)

    def before_run(self, runner: Any) -> None:
        """Unpause the samplers."""
        unpause(self)

    def after_load_checkpoint(self, runner: Any, checkpoint: dict) -> None:
        """Keep the checkpoint's record of lakes, order and position."""
        self._saved = checkpoint.get(KEY)

    def before_train(self, runner: Any) -> None:
        """On resume, compare the run with the checkpoint and adopt its order."""
        loop = runner.train_loop
        sampler = find_sampler(loop.dataloader)
        if loop.iter > 0:
            self._resumed = self._restore(runner, sampler)
        if isinstance(loop, IterBasedTrainLoop):
            epoch, done = self._resumed or (0, 0)
            # onedl-mmengine does not request the batches that are trained already.
            skips = getattr(loop, 'fast_forward_on_resume', False)
            advance = 0 if skips else loop.iter
            loop.dataloader_iterator = BatchStream(loop.dataloader, epoch, done, advance)

    def before_train_epoch(self, runner: Any) -> None:
        """Skip the batches of a resumed epoch that are trained already."""
        if isinstance(runner.train_loop, IterBasedTrainLoop):
            return
        resumed, self._resumed = self._resumed, None
        done = resumed[1] if resumed and resumed[0] == runner.epoch else 0
        if done:
            skip_batches(runner.train_loop.dataloader, done)
        self._began = (runner.epoch, runner.iter - done)

    def before_save_checkpoint(self, runner: Any, checkpoint: dict) -> None:
        """Add lakes, order and position to a checkpoint, as ``'deeplake'``."""
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

    def _restore(self, runner: Any, sampler: DeepLakeLoader) -> tuple[int, int]:
        """Adopt the checkpoint's order; return the epoch and its batches to skip."""
        dataloader, loop = runner.train_loop.dataloader, runner.train_loop
        if self._saved is None:
            warn(
                'DeepLakeResumeHook: the checkpoint was written without this hook, so '
                'its lakes and order cannot be compared with those of this run'
            )
            length = max(len(dataloader), 1)
            if isinstance(loop, IterBasedTrainLoop):
                return divmod(loop.iter, length)
            return loop.epoch, min(max(loop.iter - loop.epoch * length, 0), length)
        config = (runner.cfg.get('train_dataloader') or {}).get('sampler') or {}
        own = sampler.order_state()
        configured: dict[str, Any] = {
            key: own[key]
            for key in ('seed', 'lanes', 'window')
            if key in own and config.get(key) is not None
        }
        sampler.load_order_state({**own, **self._saved['order'], **configured})
        self._compare(self._saved, describe(dataloader))
        position = self._saved['position']
        return position['epoch'], position['batches']

    def _compare(self, before: dict[str, Any], now: dict[str, Any]) -> None:
        old, new = _flat(before), _flat(now)
        # Old checkpoints do not contain the ids and classes of lakes.
        later = {key: new[key] for key in new if key.endswith(('.id', '.classes'))}
        old = {**later, **old}
        changes = [
            f'{key}: {old.get(key, "none")} in the checkpoint, {new.get(key, "none")} now'
            for key in {**old, **new}
            if old.get(key) != new.get(key) and not key.startswith('position')
        ]
        if not changes:
            return
        text = (
            'DeepLakeResumeHook: this run would not continue exactly after the '
            'checkpoint: ' + '; '.join(changes)
        )
        if not self.accept_changes:
            raise ValueError(
                f'{text}. Restore what differs, or accept it with custom_hooks='
                "[dict(type='DeepLakeResumeHook', accept_changes=True)]"
            )
        warn(text)


def describe(dataloader: DataLoader) -> dict[str, Any]:
    """Describe what a dataloader's batches depend on, in plain values without secrets.

    Args:
        dataloader: A dataloader with a ``DeepLakeLoader``.

    Returns:
        ``lakes`` (path, id, branch, version, saved view, number of samples, classes
        and a digest of their rows), ``order`` and ``batches``.
    """
    sampler, batches = find_sampler(dataloader), dataloader.batch_sampler
    form: dict[str, Any] = {
        'sampler': type(batches).__name__,
        'global_batch': batches.batch_size * get_world_size(),
        'drop_last': batches.drop_last,
        'in_epoch': len(dataloader),  # with drop_last, it may depend on the ranks
    }
    if isinstance(batches, AspectRatioBatchSampler):
        form['ranks'] = get_world_size()  # each rank groups its own samples there
    sample_map = map_samples(dataloader.dataset)
    lakes = {}
    for number, dataset in enumerate(sample_map.datasets if sample_map else ()):
        source, rows = dataset.lake.source, dataset.rows_of()
        lakes[str(number)] = {
            'path': source.spec.path,
            'id': source.pin.lake_id,
            'branch': source.pin.branch,
            'version': source.pin.version,
            'view': source.pin.tag,
            'samples': len(rows),
            'classes': list(dataset.metainfo['classes']),
            'rows': hashlib.sha256(rows.tobytes()).hexdigest()[:16],
        }
    return {'lakes': lakes, 'order': sampler.order_state(), 'batches': form}


def _flat(tree: dict[str, Any], prefix: str = '') -> dict[str, Any]:
    leaves: dict[str, Any] = {}
    for key, value in tree.items():
        if isinstance(value, dict):
            leaves.update(_flat(value, f'{prefix}{key}.'))
        else:
            leaves[f'{prefix}{key}'] = value
    return leaves
