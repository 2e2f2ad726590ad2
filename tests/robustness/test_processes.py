"""Workers of any kind end well: nothing hangs, nothing is left, nothing grows."""

from __future__ import annotations

import faulthandler
import gc
import multiprocessing
import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from helpers.chunked import Seen, intact, write_chunked
from helpers.object_store import ObjectStore
from mmdet.utils import register_all_modules
from torch.utils.data import DataLoader

from mmdet_deeplake_plugin import DeepLakeDataset, DeepLakeLoader

register_all_modules()

CHUNKS = [30] * 20
EPOCHS = 5


@pytest.fixture()
def watchdog() -> Iterator[None]:
    """Ends the process with a traceback of every thread if a test takes ten minutes."""
    faulthandler.dump_traceback_later(600, exit=True)
    yield
    faulthandler.cancel_dump_traceback_later()


@pytest.fixture(scope='module')
def lakes(tmp_path_factory) -> Iterator[Callable[[str], DeepLakeDataset]]:
    """A dataset on a real S3 server, or on disk; 600 images in 20 chunks."""
    path = write_chunked(tmp_path_factory.mktemp('lakes') / 'lake', CHUNKS)
    with ObjectStore.start(tmp_path_factory.mktemp('store')) as store:
        url = store.upload(path, 'lake')

        def of(place: str) -> DeepLakeDataset:
            creds = dict(creds=store.creds) if place == 's3' else None
            return DeepLakeDataset(
                url if place == 's3' else path,
                deeplake_credentials=creds,
                pipeline=[Seen()],
            )

        yield of


@pytest.mark.parametrize('persistent', [True, False], ids=['persistent', 'anew'])
@pytest.mark.parametrize('start', ['fork', 'spawn'])
def test_training_and_validation_side_by_side(start, persistent, lakes, watchdog):
    """Some epochs of both, their workers alive at once: intact, ended, and no larger."""
    keys = dict(
        batch_size=8,
        num_workers=2 if start == 'fork' else 1,
        persistent_workers=persistent,
        multiprocessing_context=start,
        collate_fn=list,
    )
    train, val = lakes('s3'), lakes('disk')
    sampler = DeepLakeLoader(train, seed=0)
    loaders = (
        DataLoader(train, sampler=sampler, **keys),
        DataLoader(val, sampler=DeepLakeLoader(val, shuffle=False), **keys),
    )
    threads, others = set(threading.enumerate()), set(multiprocessing.active_children())
    sizes = []
    # To spawn two processes per epoch takes most of this file's time.
    for epoch in range(EPOCHS if start == 'fork' or persistent else 3):
        sampler.set_epoch(epoch)
        first = iter(loaders[0])
        seen = [next(first)]  # its workers are at work while the others start
        checked = [each for batch in loaders[1] for each in batch]
        seen = [each for batch in [*seen, *first] for each in batch]
        assert [each['img_id'] for each in seen] == sampler.global_order().tolist()
        assert [each['img_id'] for each in checked] == list(range(600))
        assert intact(seen) and intact(checked)
        gc.collect()
        workers = children_beside(others) if persistent else []
        sizes.append(sum(map(resident, [os.getpid(), *(w.pid for w in workers)])))
    assert sizes[-1] <= 1.02 * sizes[0]
    del first, loaders
    gc.collect()
    for child in children_beside(others):
        child.join(timeout=20)
    assert not children_beside(others)
    for thread in set(threading.enumerate()) - threads:
        thread.join(timeout=20)  # one that feeds a queue ends soon after it
    assert set(threading.enumerate()) <= threads


def children_beside(others: set) -> list:
    """Processes that this one started, without those that ran before."""
    return [c for c in multiprocessing.active_children() if c not in others]


def resident(pid: int) -> int:
    """Memory of a process without the files that it maps, in KiB."""
    text = Path(f'/proc/{pid}/smaps_rollup').read_text()
    (line,) = [line for line in text.splitlines() if line.startswith('Anonymous:')]
    return int(line.split()[1])


@pytest.mark.parametrize('epochs', [1, 3])
def test_an_iterator_that_is_dropped_in_mid_epoch_leaves_nothing(epochs, lakes, watchdog):
    """Workers that read ahead on S3 end when the epoch is given up."""
    dataset = lakes('s3')
    sampler = DeepLakeLoader(dataset, seed=0)
    loader = DataLoader(
        dataset,
        batch_size=8,
        sampler=sampler,
        num_workers=2,
        multiprocessing_context='fork',
        collate_fn=list,
    )
    others = set(multiprocessing.active_children())
    for _ in range(epochs):
        iterator = iter(loader)
        assert intact(next(iterator))
        del iterator
        gc.collect()
    for child in children_beside(others):
        child.join(timeout=20)
    assert not children_beside(others)
