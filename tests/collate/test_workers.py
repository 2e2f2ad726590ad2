"""Batches of real workers: as ``pseudo_collate``'s, in memory that is used again."""

from __future__ import annotations

import multiprocessing
import os
import resource
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from helpers import ROOT
from mmengine.dataset import pseudo_collate
from torch.utils.data import DataLoader, Dataset, get_worker_info

from mmdet_deeplake_plugin import deeplake_collate
from mmdet_deeplake_plugin.collate import leases
from mmdet_deeplake_plugin.collate.collate import _pools
from mmdet_deeplake_plugin.collate.leases import receive

IMAGES, BATCH = 96, 4


class Images(Dataset):
    """Images of several sizes with boxes; each says what its worker has used so far."""

    def __len__(self) -> int:
        return IMAGES

    def __getitem__(self, index: int) -> dict[str, Any]:
        """Image ``index``: all its values follow from the index."""
        faults = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
        return dict(
            inputs=torch.full((3, 300 + index, 400), index, dtype=torch.uint8),
            boxes=np.full((5, 4), index, np.float32),
            mask=np.full((2, 300, 300), index % 2 == 0),
            index=index,
            worker=get_worker_info() and get_worker_info().id,
            faults=faults,
            blocks=sum(pool._made for pool in _pools.values()),
            open_files=len(os.listdir('/proc/self/fd')),
        )


def loader(**keys: Any) -> DataLoader:
    """A dataloader with two workers and our collate."""
    keys = {'num_workers': 2, 'collate_fn': deeplake_collate, **keys}
    return DataLoader(Images(), batch_size=BATCH, **keys)


def intact(batch: dict[str, Any]) -> bool:
    """Whether all values of a batch follow from its indices."""
    return all(
        image.shape == (3, 300 + index, 400)
        and bool((image == index).all())
        and bool((boxes == index).all())
        and bool((mask == (index % 2 == 0)).all())
        for index, image, boxes, mask in zip(
            batch['index'], batch['inputs'], batch['boxes'], batch['mask']
        )
    )


def mapped() -> list[str]:
    """Blocks that this process has mapped."""
    lines = Path('/proc/self/maps').read_text().splitlines()
    return [line for line in lines if 'memfd:mmdet_deeplake_plugin' in line]


@pytest.mark.parametrize(
    ('start', 'persistent'),
    [('fork', True), ('fork', False), ('spawn', True)],
    ids=['fork, persistent', 'fork, anew', 'spawn, persistent'],
)
def test_epochs_of_two_loaders_at_once(start, persistent):
    """All batches are intact, in order, and nothing is left in the end."""
    keys = dict(
        num_workers=2 if start == 'fork' else 1,
        multiprocessing_context=start,
        persistent_workers=persistent,
    )
    loaders = loader(**keys), loader(**keys)
    for _ in range(2):
        for left, right in zip(*loaders):
            assert left['index'] == right['index'] and intact(left) and intact(right)
    assert left['index'] == list(range(IMAGES - BATCH, IMAGES))
    del loaders, left, right
    assert not multiprocessing.active_children()
    assert not leases._pools and not mapped()


def test_twenty_epochs_take_the_memory_of_one():
    """Neither process maps more blocks from epoch to epoch, nor opens more files."""
    data = loader(persistent_workers=True)
    seen = []
    for _ in range(20):
        for batch in data:
            assert intact(batch)
        files = len(os.listdir('/proc/self/fd')), max(batch['open_files'])
        seen.append((len(mapped()), max(batch['blocks']), *files))
    blocks, made, main_files, worker_files = (set(column) for column in zip(*seen))
    # A worker prepares two batches while the main process holds one or two.
    assert max(blocks) <= 8 and max(made) <= 4
    # A descriptor is closed when the receiver has let go of a block's first batch.
    assert len(main_files) == 1 and max(worker_files) <= min(worker_files) + 4


def test_batches_that_are_kept_stay_as_they_were():
    """A hundred of them, more than a worker has blocks; compared in the end."""
    data = loader(persistent_workers=True)
    kept = [batch for _ in range(5) for batch in data][:100]
    assert len(kept) == 100 and all(map(intact, kept))
    assert [batch['index'][0] for batch in kept[24:48]] == list(range(0, IMAGES, BATCH))


def test_a_slow_consumer_that_keeps_some(seed=0):
    """Batches are kept for random times, in random order."""
    random = np.random.default_rng(seed)
    kept: list[dict[str, Any]] = []
    for _ in range(3):
        for batch in loader():
            kept.append(batch)
            while len(kept) > 6:
                assert intact(kept.pop(int(random.integers(len(kept)))))
    assert all(map(intact, kept))


def test_a_loop_that_ends_early_leaves_nothing():
    """Batches on their way are dropped with their workers."""
    for batch in loader(prefetch_factor=4):
        assert intact(batch)
        break
    del batch
    assert not leases._pools and not mapped()


def test_persistent_workers_go_on_after_a_loop_that_ended_early():
    """PyTorch receives and drops what was on its way, which frees its blocks."""
    data = loader(persistent_workers=True)
    for _ in range(20):
        for batch in data:
            assert intact(batch)
            break
    batches = list(data)
    assert len(batches) == IMAGES // BATCH and all(map(intact, batches))
    assert batches[-1]['blocks'][0] <= 16


def test_a_thread_may_receive():
    """As PyTorch's own does for ``pin_memory=True``."""
    data = iter(loader())
    found: list[Any] = []
    thread = threading.Thread(target=lambda: found.append(next(data)))
    thread.start()
    thread.join()
    assert intact(found[0]) and all(map(intact, data))


def test_a_worker_that_is_killed_is_an_error():
    """What was received stays intact, and the loop ends with PyTorch's error."""
    data = loader(persistent_workers=True)
    batches = iter(data)
    kept = [next(batches) for _ in range(4)]
    os.kill(batches._workers[0].pid, signal.SIGKILL)
    with pytest.raises(RuntimeError, match=r'worker \(pid\(?s?\)? .* (killed|exited)'):
        kept += list(batches)
    assert all(map(intact, kept))
    del batches, data, kept
    assert not multiprocessing.active_children() and not leases._pools


def test_a_batch_of_a_worker_that_is_gone_is_an_error():
    """Its block cannot be found: better an error than another one's values."""
    code = 'import os; print(os.getpid())'
    gone = int(subprocess.check_output([sys.executable, '-c', code]))
    from mmdet_deeplake_plugin.collate.shared_blocks import BlockAddress

    said = rf'worker \(pid {gone}\) was killed or has exited before .*: .*No such file'
    with pytest.raises(RuntimeError, match=said):
        receive(b'', BlockAddress(gone, b'pool', 0, 5), [])


SCRIPT = """
import os, resource, sys, time
from pathlib import Path
sys.path.insert(0, 'tests/collate')
if int(sys.argv[1]):
    resource.setrlimit(resource.RLIMIT_NOFILE, (int(sys.argv[1]),) * 2)
import test_workers
data = iter(test_workers.loader(persistent_workers=True))
print(*(worker.pid for worker in data._workers), flush=True)
if int(sys.argv[1]):
    assert all(test_workers.intact(batch) for batch in data)
    print('whole')
else:
    kept = [next(data) for _ in range(6)]
    print('running', flush=True)
    time.sleep(600)
"""


def script(limit: int) -> subprocess.Popen[str]:
    """A process of its own with a dataloader; ``limit`` of its descriptors, if not 0."""
    return subprocess.Popen(
        [sys.executable, '-W', 'ignore', '-c', SCRIPT, str(limit)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, 'PYTHONPATH': os.pathsep.join(['tests', str(ROOT)])},
    )


def test_few_descriptors_are_enough():
    """An epoch with ``ulimit -n 64``, where stock needs one for each tensor it holds."""
    process = script(64)
    output, _ = process.communicate(timeout=120)
    assert process.returncode == 0 and output.endswith('whole\n')


def test_nothing_is_left_of_a_training_that_is_killed():
    """Its workers end, and there is no file of theirs anywhere."""
    process = script(0)
    workers = [int(pid) for pid in process.stdout.readline().split()]
    assert process.stdout.readline() == 'running\n' and len(workers) == 2
    process.kill()
    process.communicate()
    deadline = time.monotonic() + 30  # a worker looks for its parent every few seconds
    while any(Path('/proc', str(pid)).exists() for pid in workers):
        assert time.monotonic() < deadline, 'a worker is still running'
        time.sleep(0.1)
    ids = {str(pid) for pid in (process.pid, *workers)}
    assert not [name for name in os.listdir('/dev/shm') if ids & set(name.split('_'))]


def test_a_worker_meets_no_page_faults():
    """After the first batches an image costs few, with stock collate many hundreds."""
    costs = {}
    for name, collate in (('stock', pseudo_collate), ('ours', deeplake_collate)):
        data = loader(num_workers=1, collate_fn=collate, persistent_workers=True)
        for _ in range(3):
            batches = [{**batch, 'inputs': None, 'mask': None} for batch in data]
        faults = [count for batch in batches for count in batch['faults']]
        costs[name] = (faults[-1] - faults[0]) / (IMAGES - 1)
    assert costs['ours'] < 20 and costs['stock'] > 10 * costs['ours'], costs
