"""Notes what a training sees and reads, and kills it; named in ``custom_imports``.

To files in the folder ``$RESUME_NOTES``: ``seen_<rank>`` gets a line ``iteration
id id …`` for each batch, ``read_<rank>`` the row of each image that a process of
the rank reads.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import time
from pathlib import Path
from typing import Any

from mmdet.registry import HOOKS
from mmengine.hooks import Hook

from mmdet_deeplake_plugin.lake import ImageReader

NOTES = Path(os.environ['RESUME_NOTES'])
RANK = os.environ.get('RANK', '0')

_list, _read_row = ImageReader._list, ImageReader.read_row


def _note(name: str, line: str) -> None:
    # One write to the end of a file: processes do not mix, and a kill loses nothing.
    with (NOTES / f'{name}_{RANK}').open('a') as file:
        file.write(f'{line}\n')


def _noted_list(reader: ImageReader, rows: list[int]) -> None:
    _list(reader, rows)
    for row in reader._listed:
        _note('read', str(row))


def _noted(reader: ImageReader, row: int) -> bytes:
    if row not in reader._listed:
        _note('read', str(row))
    return _read_row(reader, row)


ImageReader._list = _noted_list
ImageReader.read_row = _noted


@HOOKS.register_module()
class ResumeWatchHook(Hook):
    """Notes the ids of each batch, and kills the run or a worker where it is told to.

    Args:
        kill: Number of iterations after which to kill, from 1; 0 for never.
        worker: Whether to kill a worker of the dataloader, not the whole run.
    """

    priority = 'LOWEST'

    def __init__(self, kill: int = 0, worker: bool = False) -> None:
        self.kill = kill
        self.worker = worker

    def before_train_iter(
        self, runner: Any, batch_idx: int, data_batch: Any = None
    ) -> None:
        ids = [str(sample.img_id) for sample in data_batch['data_samples']]
        _note('seen', ' '.join([str(runner.iter), *ids]))

    def after_train_iter(
        self, runner: Any, batch_idx: int, data_batch: Any = None, outputs: Any = None
    ) -> None:
        if runner.iter + 1 != self.kill:
            return
        if not self.worker:
            os.killpg(0, signal.SIGKILL)
        victim = multiprocessing.active_children()[0]
        _note('killed', str(time.time()))
        os.kill(victim.pid, signal.SIGKILL)
        # The run is told of it here. Where it takes a batch at the same moment, PyTorch
        # may fail first on the closed connection, which does not say why.
        time.sleep(20)
