"""Annotations of spawned workers and other ranks: one copy, and the same numbers."""

from __future__ import annotations

import multiprocessing
import os
import pickle
from collections.abc import Iterator
from copy import deepcopy
from dataclasses import dataclass
from multiprocessing import context
from multiprocessing.reduction import ForkingPickler
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers.lakes import row, write_lake
from mmdet.utils import register_all_modules
from numpy.typing import NDArray
from torch.utils.data import DataLoader

from mmdet_deeplake_plugin import DeepLakeDataset
from mmdet_deeplake_plugin.utils.packed_strings import PackedStrings
from mmdet_deeplake_plugin.utils.shared_memory import SharedByProcesses, dumps_for_node

register_all_modules()

NAME = 'memfd:mmdet_deeplake_plugin'


@dataclass(frozen=True)
class Arrays(SharedByProcesses):
    """Arrays of several types, an empty one, and texts that are shared by themselves."""

    doubles: NDArray[np.float64]
    flags: NDArray[np.bool_]
    empty: NDArray[np.float64]
    names: PackedStrings
    number: int


class Spawning:
    """Stands for the process that is being spawned, so that its pickle can be seen."""

    def __init__(self) -> None:
        self.files: list[int] = []

    def duplicate_for_child(self, number: int) -> int:
        """A file of the child's own."""
        self.files.append(os.dup(number))
        return self.files[-1]

    class DupFd:
        """What the child gets of a file."""

        def __init__(self, number: int) -> None:
            self._number = number

        def detach(self) -> int:
            """The child's number of it."""
            return self._number


@pytest.fixture
def spawning() -> Iterator[Spawning]:
    """Lets pickles be those for a process that is being spawned."""
    process = Spawning()
    context.set_spawning_popen(process)
    yield process
    context.set_spawning_popen(None)


def make(count: int) -> Arrays:
    return Arrays(
        doubles=np.arange(4.0 * count).reshape(-1, 4),
        flags=np.arange(count) % 3 == 0,
        empty=np.zeros((0, 4)),
        names=PackedStrings(f'{number}.jpg' for number in range(count)),
        number=count,
    )


def equal(one: Arrays, other: Arrays) -> bool:
    return (
        np.array_equal(one.doubles, other.doubles)
        and np.array_equal(one.flags, other.flags)
        and one.empty.shape == other.empty.shape
        and list(one.names) == list(other.names)
        and one.number == other.number
    )


def test_a_spawned_process_is_sent_no_arrays(spawning):
    """However many rows, the pickle stays small; what it gives is equal and read-only."""
    sizes = set()
    for count in (1000, 1001, 9000):
        arrays = make(count)
        pickled = bytes(ForkingPickler.dumps(arrays))
        sizes.add(len(pickled) // 100)
        found = pickle.loads(pickled)
        assert equal(found, make(count))
        assert not found.doubles.flags.writeable and not found.flags.flags.writeable
    assert max(sizes) < 20 and len(sizes) == 1


def test_texts_are_shared_by_themselves_too(spawning):
    """As the masks of all rows are, which samples do not hold."""
    names = [f'{number}.jpg' for number in range(1000)]
    pickled = bytes(ForkingPickler.dumps(PackedStrings(names)))
    assert len(pickled) < 2000 and list(pickle.loads(pickled)) == names


def test_all_processes_map_one_file(spawning):
    """The second process gets the file of the first, and so does the one that made it."""
    arrays = make(500)
    before = arrays.doubles
    ForkingPickler.dumps(arrays)
    assert arrays.doubles is not before and equal(arrays, make(500))
    kept = arrays.doubles
    ForkingPickler.dumps(arrays)
    assert arrays.doubles is kept
    one, two = (os.fstat(number).st_ino for number in spawning.files)
    assert one == two


def test_other_pickles_and_copies_hold_the_arrays(spawning):
    """After a process was spawned, too: they may go to a disk, or another machine."""
    arrays = make(500)
    ForkingPickler.dumps(arrays)
    context.set_spawning_popen(None)
    pickled = pickle.dumps(arrays)
    assert len(pickled) > arrays.doubles.nbytes
    for copy in (pickle.loads(pickled), deepcopy(arrays)):
        assert equal(copy, make(500))
        assert vars(copy).keys() == vars(make(1)).keys()


def test_without_files_in_memory_the_arrays_are_sent(spawning, monkeypatch):
    """As on systems other than Linux."""
    monkeypatch.delattr(os, 'memfd_create')
    arrays = make(500)
    pickled = bytes(ForkingPickler.dumps(arrays))
    assert len(pickled) > arrays.doubles.nbytes
    assert equal(pickle.loads(pickled), arrays) and not spawning.files


def test_the_file_is_gone_with_the_objects():
    """No file is left open in the process that made it."""
    before = len(os.listdir('/proc/self/fd'))
    process = Spawning()
    context.set_spawning_popen(process)
    arrays = make(500)
    ForkingPickler.dumps(arrays)
    context.set_spawning_popen(None)
    for number in process.files:
        os.close(number)
    assert len(os.listdir('/proc/self/fd')) > before
    del arrays
    assert len(os.listdir('/proc/self/fd')) == before


def test_ranks_and_spawned_processes_map_one_file(spawning):
    """A rank that mapped another's arrays sends that file on to its workers."""
    context.set_spawning_popen(None)
    arrays = make(500)
    pickled = dumps_for_node(arrays)
    assert len(pickled) < 2000
    found = pickle.loads(pickled)
    assert equal(arrays, make(500)) and equal(found, make(500))
    for each in (arrays, found):
        assert not each.doubles.flags.writeable
        assert len(pickle.dumps(each)) > each.doubles.nbytes
    context.set_spawning_popen(spawning)
    for each in (arrays, found):
        ForkingPickler.dumps(each)
    one, two = (os.fstat(number).st_ino for number in spawning.files)
    assert one == two


def test_a_file_that_is_another_by_now_is_not_mapped():
    """The descriptor may have been given to another file since."""
    arrays, other = make(500), make(20)
    pickled = dumps_for_node(arrays)
    dumps_for_node(other)
    os.dup2(other._file.fileno(), arrays._file.fileno())
    with pytest.raises(OSError, match=r'/proc/\d+/fd/\d+ is another file by now'):
        pickle.loads(pickled)


def maps() -> int:
    """How many files in memory this process maps."""
    return Path('/proc/self/maps').read_text().count(NAME)


class Seen:
    """Ends a pipeline with the boxes, and what the process maps."""

    def __call__(self, results: dict) -> dict[str, Any]:
        """The sample in plain values."""
        return {
            'img_id': results['img_id'],
            'boxes': [each['bbox'] for each in results['instances']],
            'maps': maps(),
        }


@pytest.mark.parametrize('start', ['spawn', 'forkserver', 'fork'])
def test_workers_see_the_same_samples(start, tmp_path):
    """Twice two workers of any kind: the samples of the main process."""
    rows = [row(n, [(i, n, 10 + i, 12) for i in range(n % 4)]) for n in range(20)]
    dataset = DeepLakeDataset(
        write_lake(tmp_path / 'lake', rows), pipeline=[Seen()], test_mode=True
    )
    expected = [(dataset[n]['img_id'], dataset[n]['boxes']) for n in range(20)]
    before, children = maps(), set(multiprocessing.active_children())
    loader = DataLoader(
        dataset,
        batch_size=4,
        num_workers=2,
        multiprocessing_context=start,
        collate_fn=list,
    )
    for _ in range(2):
        seen = [each for batch in loader for each in batch]
        assert [(each['img_id'], each['boxes']) for each in seen] == expected
        assert start == 'fork' or all(each['maps'] == 1 for each in seen)
    assert maps() - before == (start != 'fork')
    del loader
    assert set(multiprocessing.active_children()) <= children
