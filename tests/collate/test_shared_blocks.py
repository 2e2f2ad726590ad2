"""Blocks are used again once nothing shows them any more, and not before."""

from __future__ import annotations

import errno
import gc
import os
import pickle
import resource
from typing import Any

import numpy as np
import pytest
import torch

from mmdet_deeplake_plugin.collate import leases, shared_blocks
from mmdet_deeplake_plugin.collate.collate import hand_over
from mmdet_deeplake_plugin.collate.shared_blocks import MOST_BLOCKS, BlockPool

SIZE = 1 << 18


def batch(number: int) -> list[torch.Tensor]:
    """A batch that is told by its values."""
    return [torch.full((SIZE,), number % 251, dtype=torch.uint8), torch.tensor(number)]


def mapped() -> int:
    """How many times this process has mapped a block."""
    with open('/proc/self/maps') as maps:
        return sum('memfd:mmdet_deeplake_plugin' in line for line in maps)


@pytest.fixture()
def pool():
    """The pool of a worker."""
    return BlockPool()


def send(pool: BlockPool, number: int) -> tuple[list[torch.Tensor], int | None]:
    """A batch as it arrives, and the number of its block."""
    message = hand_over(batch(number), pool)
    if isinstance(message, list):
        return message, None
    address = message.__reduce__()[1][1]
    return pickle.loads(pickle.dumps(message)), address.number


def test_a_block_is_used_again(pool):
    """A consumer that lets go of each batch needs one block, mapped once."""
    for number in range(50):
        assert send(pool, number)[1] == 0
    assert pool._made == 1
    assert [len(each) for each in leases._pools.values()] == [1]


@pytest.mark.parametrize('view', ['tensor', 'slice', 'numpy', 'storage', 'detached'])
def test_the_last_view_holds_the_block(view, pool):
    """Whatever is made of a batch keeps its values, and lets go when it is gone."""
    found, first = send(pool, 1)
    kept = {
        'tensor': lambda t: t,
        'slice': lambda t: t[100:200:3],
        'numpy': lambda t: t.numpy()[7:],
        'storage': lambda t: t.untyped_storage(),
        'detached': lambda t: t.detach().view(2, -1),
    }[view](found[0])
    del found
    other, second = send(pool, 2)
    assert second != first
    assert set(np.array(kept).ravel().tolist()) == {1} and other[0].max() == 2
    del kept
    assert send(pool, 3)[1] == first


def test_a_small_part_that_is_kept_holds_nothing(pool):
    """The label of a batch is no view."""
    labels = [send(pool, number)[0][1] for number in range(20)]
    assert [int(label) for label in labels] == list(range(20))
    assert pool._made == 1


def test_a_hundred_batches_that_are_kept(pool):
    """None is overwritten; beyond the most blocks they go PyTorch's way."""
    kept = [send(pool, number) for number in range(100)]
    assert [used for _, used in kept] == [*range(MOST_BLOCKS), *[None] * (100 - 16)]
    for number, (found, _) in enumerate(kept):
        assert torch.equal(found[0], batch(number)[0])
    del kept, found
    assert send(pool, 5)[1] == 0


def test_a_batch_that_nobody_received_keeps_its_block(pool):
    """It may still be on its way."""
    message = pickle.dumps(hand_over(batch(1), pool))
    assert [send(pool, number)[1] for number in (2, 3)] == [1, 1]
    assert pickle.loads(message)[0].max() == 1


def test_a_cycle_lets_go_when_it_is_collected(pool):
    """Python's collector may end a lease at any time."""
    found, _ = send(pool, 1)
    found.append(found)
    del found
    assert send(pool, 2)[1] == 1
    gc.collect()
    assert send(pool, 3)[1] == 0


def test_a_process_that_was_forked_keeps_what_it_inherited(pool):
    """Its batch isn't overwritten after the parent lets go, and it frees no block."""
    found, used = send(pool, 1)
    go, going = os.pipe()
    done, telling = os.pipe()
    child = os.fork()
    if not child:
        os.read(go, 1)
        right = bool((found[0] == 1).all())
        del found
        os.write(telling, b'y' if right else b'n')
        os._exit(0)
    del found
    replaced, other = send(pool, 2)
    assert used == 0 and other == 1  # the block of the fork is retired
    del replaced
    assert send(pool, 3)[1] == 1
    kept, _ = send(pool, 4)
    os.write(going, b'x')
    assert os.read(done, 1) == b'y'
    os.waitpid(child, 0)
    assert send(pool, 5)[1] == 2 and kept[0].max() == 4
    for descriptor in (go, going, done, telling):
        os.close(descriptor)
    assert [list(each) for each in leases._pools.values()] == [[1, 2]]


def test_blocks_need_no_descriptors(pool):
    """Descriptors of a worker are closed once its blocks are mapped by the receiver."""
    before = len(os.listdir('/proc/self/fd'))
    kept = [send(pool, number)[0] for number in range(10)]
    del kept
    assert send(pool, 11)[1] == 0
    kept = [send(pool, number)[0] for number in range(10)]
    assert len(kept) == 10
    assert len(os.listdir('/proc/self/fd')) == before


def test_a_pool_that_is_gone_leaves_no_memory(pool):
    """Its files exist as long as they are mapped."""
    before = mapped()
    own = BlockPool()
    send(own, 1)
    assert mapped() == before + 2  # by the sender and by the receiver
    leases._pools.clear()
    del own
    gc.collect()
    assert mapped() == before


@pytest.mark.parametrize('lack', ['memfd', 'proc', 'address space', 'PyTorch 2'])
def test_a_system_without_blocks_takes_the_way_of_pytorch(lack, monkeypatch):
    """Other systems, and a limit of the address space that blocks would exceed."""
    if lack == 'memfd':
        monkeypatch.delattr(os, 'memfd_create')
    elif lack == 'proc':
        monkeypatch.setattr(shared_blocks.os.path, 'isdir', lambda path: False)
    elif lack == 'PyTorch 2':
        monkeypatch.setattr(torch, 'Tensor', object)  # without untyped_storage()
    else:
        monkeypatch.setattr(resource, 'getrlimit', lambda which: (1 << 40, 1 << 40))
    assert not BlockPool().is_usable
    values = batch(1)
    assert hand_over(values, BlockPool()) is values


@pytest.mark.parametrize('refused', ['memfd_create', 'ftruncate'])
def test_a_process_that_may_make_no_block_takes_the_way_of_pytorch(refused, monkeypatch):
    """As under ``ulimit -f``, or in a container without the system call."""
    calls = []

    def refuse(*_: Any) -> None:
        calls.append(refused)
        raise OSError(errno.EFBIG, 'File too large')

    pool, before = BlockPool(), len(os.listdir('/proc/self/fd'))
    monkeypatch.setattr(os, refused, refuse)
    for number in range(3):
        values = batch(number)
        assert hand_over(values, pool) is values
    assert calls == [refused] and len(os.listdir('/proc/self/fd')) == before
