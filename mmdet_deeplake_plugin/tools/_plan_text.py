"""A plan in words, and the sampler to paste."""

from __future__ import annotations

import numpy as np

from ..simulation import Reads
from ._planning import Plan

# Measured with Deep Lake 4.7.4: a row that is read without its chunk costs a read of
# the chunk's beginning, unless the chunk is among the last so many, and one of rows
# around it up to so many bytes.
_BEGINNING = 32 << 10
_REMEMBERED = 14
_AROUND = 123_000


def describe(plan: Plan, latency: float = 0.0, bandwidth: float = 0.0) -> str:
    """Puts a plan into words.

    Args:
        plan: The plan.
        latency: Seconds until storage answers; 0 if it is not known.
        bandwidth: Bytes per second of one connection; 0 if it is not known.

    Returns:
        Text of several lines.
    """
    lines = [*_lake(plan), *_order(plan), *_epoch(plan)]
    if latency or bandwidth:
        lines.append(_speed(plan, latency, bandwidth))
    lines.append(f'quality:  {plan.quality}')
    notes = [f'note:     {text}' for text in _notes(plan)]
    return '\n'.join([*lines, *notes, '', 'for a config:', f'  {_sampler(plan)}'])


def network_cost(reads: Reads, row_bytes: int, num_chunks: int) -> tuple[float, float]:
    """Requests and bytes that reads cost on object storage.

    Args:
        reads: What is read.
        row_bytes: Size of an image.
        num_chunks: Number of chunks of the lake.
    """
    alone = reads.listed + reads.rows
    beginnings = alone * max(0.0, 1 - _REMEMBERED / max(num_chunks, 1))
    around = max(_AROUND // row_bytes, 1) * row_bytes
    requests = reads.chunks + alone + beginnings
    read = reads.chunk_rows * row_bytes + alone * around + beginnings * _BEGINNING
    return requests, read


def _lake(plan: Plan) -> list[str]:
    sizes = plan.chunk_sizes
    kind = 'stored' if plan.chunks_stored else 'blocks (stored ones are not known)'
    return [
        f'lake:     {plan.name}',
        f'samples:  {len(plan.rows)} of {plan.total_rows} rows, about '
        f'{_size(plan.row_bytes)} each (estimated from some images)',
        f'chunks:   {len(sizes)} {kind}, of {sizes.min()} to {sizes.max()} rows, median '
        f'{np.median(sizes):.0f}',
    ]


def _order(plan: Plan) -> list[str]:
    keys, loader = plan.keys, plan.dataloader
    where = 'on object storage' if plan.is_remote else 'local'
    if not plan.was_auto:
        why = 'as asked'
    elif plan.is_remote and keys.shuffle == 'full':
        why = 'auto: rows of a saved view lie anywhere'
    else:
        why = f'auto: the lake is {where}'
    lines = [f'shuffle:  {keys.shuffle} ({why})']
    if keys.shuffle == 'lanes' and keys.lanes:
        met = loader.world_size * loader.readers * loader.batch_size
        who = (
            f'{loader.world_size} ranks x {loader.readers} workers x batch size '
            f'{loader.batch_size}'
        )
        fits = f'{keys.lanes // met} x ({who})' if keys.lanes % met == 0 else ''
        lines.append(f'lanes:    {keys.lanes}, {fits or f"no multiple of {who}"}')
    return lines


def _epoch(plan: Plan) -> list[str]:
    reads, loader = plan.reads, plan.dataloader
    alone = reads.listed + reads.rows
    how = 'in lists of a batch' if reads.lists else 'one by one'
    needed = reads.samples * plan.row_bytes
    lines = [
        f'an epoch: {reads.samples:.0f} images by {reads.chunks:.0f} whole chunks and '
        f'{alone:.0f} rows {how}'
    ]
    if plan.is_remote:
        requests, read = network_cost(reads, plan.row_bytes, len(plan.chunk_sizes))
        lines.append(
            f'          about {requests:.0f} requests ({requests / reads.samples:.3f} an '
            f'image), {_size(read)}: {read / needed:.2f} x what is needed'
        )
    else:
        read = reads.rows_read * plan.row_bytes
        lines.append(
            f'          {reads.reads:.0f} reads, {_size(read)}: {read / needed:.2f} x '
            'what is needed'
        )
    processes = loader.world_size * loader.readers
    lines.append(
        f'memory:   at most {_size(reads.peak)} of images in a worker, '
        f'{_size(reads.peak * processes)} in all {processes}'
        if plan.along_chunks
        else 'memory:   no more than the images of a batch'
    )
    return lines


def _speed(plan: Plan, latency: float, bandwidth: float) -> str:
    reads = plan.reads
    processes = plan.dataloader.world_size * plan.dataloader.readers
    _, read = network_cost(reads, plan.row_bytes, len(plan.chunk_sizes))
    seconds = reads.waits * latency + (read / processes / bandwidth if bandwidth else 0)
    return (
        f'speed:    a worker waits {seconds:.0f} s for storage in an epoch if it reads one '
        f'after the other, {reads.samples / max(seconds, 1e-9):.0f} images per second of '
        'all workers'
    )


def _notes(plan: Plan) -> list[str]:
    notes = []
    if plan.warning:
        notes.append(f'{plan.keys.lanes} lanes do not divide: {_LANES_ADVICE}')
    if _wants_memory(plan):
        left = plan.reads.listed + plan.reads.rows - plan.unbound.listed
        notes.append(
            f'{left - plan.unbound.rows:.0f} images are read by themselves as there is no '
            f'room for their chunks in cache_bytes={plan.keys.cache_bytes}'
        )
    if plan.is_remote and plan.keys.shuffle == 'full' and not plan.was_auto:
        notes.append("shuffle='full' reads each row by itself; 'lanes' whole chunks")
    return notes


_LANES_ADVICE = 'workers share chunks and read them more than once; leave lanes out'


def _wants_memory(plan: Plan) -> bool:
    return plan.unbound.chunk_rows > plan.reads.chunk_rows


def _sampler(plan: Plan) -> str:
    keys, loader = plan.keys, plan.dataloader
    shuffle: bool | str = keys.shuffle if not plan.was_auto else True
    if keys.shuffle == 'none':
        shuffle = False
    given = {
        'type': 'DeepLakeLoader',
        'shuffle': shuffle,
        'batch_size': loader.batch_size,
        'num_workers': loader.num_workers,
    }
    return f'sampler=dict({", ".join(f"{key}={value!r}" for key, value in given.items())})'


def _size(count: float) -> str:
    for unit in ('B', 'kB', 'MB', 'GB'):
        if count < 1000:
            return f'{count:.3g} {unit}'
        count /= 1000
    return f'{count:.3g} TB'
