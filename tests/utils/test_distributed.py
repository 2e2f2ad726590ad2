"""What one rank of a node reads, the others map: one copy, and no rank waits for ever."""

from __future__ import annotations

import os
import re
import signal
import tempfile
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers.ranks import files_of, hear, ranks, run_ranks, tell
from mmengine.dist import barrier, get_rank
from numpy.typing import NDArray

from mmdet_deeplake_plugin.utils import distributed
from mmdet_deeplake_plugin.utils.distributed import (
    fingerprint,
    on_main_rank,
    once_per_node,
)
from mmdet_deeplake_plugin.utils.packed_strings import PackedStrings
from mmdet_deeplake_plugin.utils.shared_memory import SharedByProcesses

LARGE = 3_000_000  # boxes: 96 MB


@dataclass(frozen=True)
class Arrays(SharedByProcesses):
    """What is shared.

    Args:
        boxes: An array.
        names: Texts in the same file.
    """

    boxes: NDArray[np.float64]
    names: PackedStrings


def make(count: int) -> dict[str, Any]:
    """A result with two shared objects, and plain values."""
    arrays = Arrays(
        np.arange(4.0 * count).reshape(-1, 4),
        PackedStrings(f'{number}.jpg' for number in range(min(count, 1000))),
    )
    return {'arrays': arrays, 'texts': PackedStrings(['a', '', 'ü']), 'count': count}


def contents(found: dict[str, Any]) -> tuple[Any, ...]:
    """All values, as plain ones."""
    arrays = found['arrays']
    total = float(arrays.boxes.sum())
    return total, list(arrays.names), list(found['texts']), found['count']


def read(folder: Path, count: int = 50) -> dict[str, Any]:
    """Notes the rank that reads, and reads."""
    (folder / f'read_by_{get_rank()}').touch()
    return make(count)


def readers(folder: Path) -> list[int]:
    """Ranks that have read."""
    return sorted(int(file.name.rpartition('_')[2]) for file in folder.glob('read_by_*'))


# ------------------------------------------------------------------------- who reads


def share(folder: Path) -> dict[str, Any]:
    found = once_per_node(lambda: read(folder), 'a')
    boxes = found['arrays'].boxes
    return {
        'contents': contents(found),
        'files': files_of(boxes),
        'can_write': boxes.flags.writeable,
    }


@pytest.mark.parametrize('count', [2, 4])
def test_the_first_rank_of_a_node_reads_and_all_map_it(count, tmp_path):
    """Equal to what one rank reads by itself; the arrays are one file, and read-only."""
    found = run_ranks(count, share, tmp_path, tmp_path)
    assert readers(tmp_path) == [0]
    assert [each['contents'] for each in found] == [contents(make(50))] * count
    (files,) = {frozenset(each['files']) for each in found}
    assert len(files) == 1
    assert not any(each['can_write'] for each in found)


def test_one_rank_reads_as_ever(tmp_path):
    """Its arrays are its own, and can be written to."""
    (found,) = run_ranks(1, share, tmp_path, tmp_path)
    assert found['contents'] == contents(make(50))
    assert found['can_write'] and not found['files']


def share_in_pairs(folder: Path) -> Any:
    return contents(once_per_node(lambda: read(folder), get_rank() % 2))


def test_ranks_that_read_something_else_do_not_share(tmp_path):
    """Ranks 0 and 2 ask for one thing, 1 and 3 for another."""
    assert run_ranks(4, share_in_pairs, tmp_path, tmp_path) == [contents(make(50))] * 4
    assert readers(tmp_path) == [0, 1]


def share_on_two_nodes(folder: Path) -> Any:
    distributed.node_of_process = lambda: ('node', str(get_rank() // 2))
    return contents(once_per_node(lambda: read(folder), 'a'))


def test_each_node_reads(tmp_path):
    """Four ranks, two on each of two nodes."""
    found = run_ranks(4, share_on_two_nodes, tmp_path, tmp_path)
    assert found == [contents(make(50))] * 4
    assert readers(tmp_path) == [0, 2]


def share_without_files(folder: Path) -> Any:
    del os.memfd_create
    return contents(once_per_node(lambda: read(folder), 'a'))


def test_without_files_in_memory_each_rank_reads(tmp_path):
    """As on systems other than Linux."""
    found = run_ranks(2, share_without_files, tmp_path, tmp_path)
    assert found == [contents(make(50))] * 2
    assert readers(tmp_path) == [0, 1]


def share_behind_a_wall(folder: Path) -> Any:
    warnings = refuse_to_open()
    return contents(once_per_node(lambda: read(folder), 'a')), warnings


def refuse_to_open() -> list[str]:
    """Lets this process open no file of another; returns what it warns of."""
    inner, warnings = os.open, list[str]()

    def refuse(path: Any, *args: Any, **keys: Any) -> int:
        if str(path).startswith('/proc/'):
            raise PermissionError(13, 'Permission denied', str(path))
        return inner(path, *args, **keys)

    os.open = refuse
    distributed.warn = warnings.append
    return warnings


def test_a_rank_that_may_not_open_the_file_reads_itself_and_says_so(tmp_path):
    """Where a container forbids it."""
    first, second = run_ranks(2, share_behind_a_wall, tmp_path, tmp_path)
    assert first == (contents(make(50)), [])
    assert second[0] == contents(make(50))
    assert re.fullmatch(
        r'rank 1 cannot map what rank 0 has read \(.*Permission denied.*\), so it reads '
        r'the same and holds a copy; allow the processes of a node to open /proc/PID/fd '
        r'of each other to save this',
        second[1][0],
    )
    assert readers(tmp_path) == [0, 1]


# --------------------------------------------------------------------------- failures


class OddError(Exception):
    """Has arguments that its pickle does not know."""

    def __init__(self, one: str, two: str) -> None:
        super().__init__(one + two)


def fail(kind: str) -> Any:
    raise ValueError('row 3 is wrong') if kind == 'plain' else OddError('no', 't known')


def share_what_fails(share: Callable[..., Any], kind: str) -> Any:
    return share(lambda: fail(kind))


@pytest.mark.parametrize('share', [once_per_node, on_main_rank])
@pytest.mark.parametrize(
    ('kind', 'of_first', 'of_others'),
    [
        ('plain', ('ValueError', 'row 3 is wrong'), ('ValueError', 'row 3 is wrong')),
        ('odd', ('OddError', 'not known'), ('RuntimeError', 'OddError: not known')),
    ],
)
def test_an_error_reaches_all_ranks(share, kind, of_first, of_others, tmp_path):
    """With its text, also where its class cannot be sent."""
    found = run_ranks(3, told(share_what_fails), tmp_path, share, kind)
    assert found == [of_first, of_others, of_others]


def told(task: Callable[..., Any]) -> Callable[..., Any]:
    """A task that returns type and text of its error."""

    def run(*args: Any) -> tuple[str, str]:
        try:
            task(*args)
        except Exception as error:
            return type(error).__name__, str(error)
        return '', ''

    return run


def fail_behind_a_wall() -> Any:
    refuse_to_open()
    return once_per_node(fail_on_rank_1, 'a')


def fail_on_rank_1() -> Any:
    if get_rank() == 1:
        raise ValueError('rank 1 cannot read it')
    return make(50)


def test_an_error_of_another_rank_reaches_the_first(tmp_path):
    """One that reads itself because it cannot map what the first has read."""
    found = run_ranks(3, told(fail_behind_a_wall), tmp_path)
    assert found == [('ValueError', 'rank 1 cannot read it')] * 3


def wait_for_ever() -> Any:
    tell('reads')
    signal.pause()


def share_what_never_comes() -> Any:
    return once_per_node(wait_for_ever, 'a')


def test_no_rank_waits_for_one_that_was_killed_while_it_read(tmp_path):
    """They end with the error of the exchange."""
    with ranks(3, share_what_never_comes, tmp_path) as started:
        assert started[0].hear() == 'reads'
        started[0].kill()
        for rank in started[1:]:
            assert isinstance(rank.hear(), RuntimeError)


# ----------------------------------------------------------------------------- memory


def hold(count: int) -> None:
    barrier()  # pages of the test are shared by all ranks from now on
    before = own_memory()
    found = once_per_node(lambda: make(count), 'a')
    contents(found)  # only what was read counts as memory of a process
    barrier()
    tell(own_memory() - before)
    while hear() == 'again':
        tell(contents(found))


def own_memory() -> int:
    """Pages of this process, each divided by who shares it, in KiB."""
    text = Path('/proc/self/smaps_rollup').read_text()
    return int(re.search(r'^Pss: +(\d+)', text, re.MULTILINE)[1])


def test_four_ranks_hold_little_more_than_one(tmp_path):
    """Together at most 1.3 times as much, of 96 MB."""
    together = {}
    for count in (1, 4):
        with ranks(count, hold, tmp_path, LARGE) as started:
            together[count] = sum(rank.hear() for rank in started)
    assert together[1] > 90_000
    assert together[4] <= 1.3 * together[1]


def named_files(process: int) -> set[str]:
    """Files in ``/dev/shm`` and temporary ones that a process maps or holds open."""
    place = Path('/proc', str(process))
    lines = (place / 'maps').read_text().splitlines()
    paths = {line.split(maxsplit=5)[5] for line in lines if line.count('/')}
    for link in list((place / 'fd').iterdir()):
        with suppress(OSError):  # the folder itself was open
            paths.add(os.readlink(link))
    folders = ('/dev/shm/', f'{tempfile.gettempdir()}/')
    return {path for path in paths if path.startswith(folders)}


@pytest.mark.parametrize('killed', [0, 1, 2])
def test_a_killed_rank_leaves_nothing_and_takes_nothing(killed, tmp_path):
    """The others read on, from a file without a name, which ends with its processes."""
    own = named_files(os.getpid())
    with ranks(3, hold, tmp_path, 1000) as started:
        for rank in started:
            rank.hear()
            assert named_files(rank.process.pid) <= own
        started[killed].kill()
        for rank in started:
            if rank is not started[killed]:
                rank.say('again')
                assert rank.hear() == contents(make(1000))


# ------------------------------------------------------------------------ fingerprints


def test_a_fingerprint_tells_contents_types_and_shapes():
    """Of arrays by their bytes; of other values by how they are written."""
    array = np.arange(0, 12, 2)
    same = fingerprint(np.arange(12)[::2], 'a', None)
    assert fingerprint(array, 'a', None) == same
    others = [
        (array.astype(np.int32), 'a', None),
        (array.reshape(2, 3), 'a', None),
        (array[::-1], 'a', None),
        (array, 'b', None),
        (array, 'a', {}),
        (array, 'aNone'),
        (np.empty(0), 'a', None),
    ]
    assert len({same, *(fingerprint(*parts) for parts in others)}) == 8
