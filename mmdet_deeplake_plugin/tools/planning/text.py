"""A plan in words, and the sampler to paste."""

from __future__ import annotations

import numpy as np

from .plan import LoaderKeys, Plan

# Measured with Deep Lake 4.7.4: a row that is read without its chunk costs a read of
# the chunk's beginning, and one of the rows around it up to so many bytes. Each process
# remembers what it read, up to about 14 chunks of 8 MB.
_BEGINNING = 32 << 10
_AROUND = 123_000
_REMEMBERED = 14 * (8 << 20)


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


def network_cost(plan: Plan) -> tuple[float, float]:
    """Requests and bytes that an epoch costs on object storage.

    Args:
        plan: The plan.

    Returns:
        Both for all ranks together.
    """
    reads, size, sizes = plan.reads, plan.row_bytes, plan.chunk_sizes
    known = min(1.0, _REMEMBERED / (sizes.sum() * size))
    alone = reads.listed + reads.rows - known * reads.rows_again
    blocks = np.maximum(np.round(sizes / max(_AROUND // size, 1)), 1)

    def fetched(pieces: float) -> float:
        """Pieces that are read, of so many in which the rows lie."""
        met = pieces * -np.expm1(-alone / max(pieces, 1))
        return float((1 - known) * alone + known * met)

    beginnings = fetched(reads.divided)
    around = fetched(reads.divided * blocks.mean())
    whole = 1 - known * reads.chunks_again / max(reads.chunks, 1)
    return (
        whole * reads.chunks + beginnings + around,
        whole * reads.chunk_rows * size
        + beginnings * _BEGINNING
        + around * sizes.sum() / blocks.sum() * size,
    )


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
    if plan.asked.shuffle != 'auto':
        why = 'as asked'
    elif plan.is_remote and keys.shuffle == 'full':
        why = 'auto: rows of a saved view lie anywhere'
    else:
        why = f'auto: the lake is {where}'
    lines = [f'shuffle:  {keys.shuffle} ({why})']
    if keys.shuffle == 'lanes' and keys.lanes:
        who = (
            f'{_count(loader.world_size, "rank")} x {_count(loader.readers, "worker")} x '
            f'batch size {loader.batch_size}'
        )
        times = (
            f'{keys.lanes // plan.per_draw} x' if plan.lanes_divide else 'no multiple of'
        )
        lines.append(f'lanes:    {keys.lanes}, {times} {who}')
    return lines


def _epoch(plan: Plan) -> list[str]:
    reads, loader = plan.reads, plan.dataloader
    alone = reads.listed + reads.rows
    how = 'in lists of a batch' if reads.lists else 'one by one'
    needed = reads.samples * plan.row_bytes
    lines = [
        f'an epoch: {reads.samples:.0f} images, from {reads.chunks:.0f} whole chunks and '
        f'{alone:.0f} rows read {how}'
    ]
    if plan.is_remote:
        requests, read = network_cost(plan)
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
        f'{_size(reads.peak * processes)} in {_count(processes, "worker")}'
        if plan.along_chunks
        else 'memory:   no more than the images of a batch'
    )
    return lines


def _speed(plan: Plan, latency: float, bandwidth: float) -> str:
    reads = plan.reads
    processes = plan.dataloader.world_size * plan.dataloader.readers
    _, read = network_cost(plan)
    seconds = reads.waits * latency + (read / processes / bandwidth if bandwidth else 0)
    return (
        f'speed:    {reads.samples / max(seconds, 1e-9):.0f} images per second of all '
        'workers, if each read waited for the one before'
    )


def _notes(plan: Plan) -> list[str]:
    notes = []
    if plan.keys.shuffle == 'lanes' and not plan.lanes_divide:
        notes.append(
            f'workers share lanes and read chunks more than once; leave lanes='
            f'{plan.keys.lanes} out, or write a multiple of {plan.per_draw}'
        )
    if plan.room:
        notes.append(
            f'some chunks find no room in cache_bytes={plan.keys.cache_bytes}, and their '
            'rows are read one by one'
        )
    if plan.is_remote and plan.keys.shuffle == 'full' and plan.asked.shuffle == 'full':
        notes.append("each row is read by itself; shuffle='lanes' reads whole chunks")
    return notes


def _sampler(plan: Plan) -> str:
    asked, loader = plan.asked, plan.dataloader
    keys: dict[str, object] = {
        'shuffle': {'auto': True, 'none': False}.get(asked.shuffle, asked.shuffle),
        'batch_size': loader.batch_size,
        'num_workers': loader.num_workers,
    }
    usual = LoaderKeys()
    if asked.lanes is not None and plan.lanes_divide:
        keys['lanes'] = asked.lanes
    for key in ('window', 'loader_type', 'cache_bytes'):
        if getattr(asked, key) != getattr(usual, key):
            keys[key] = getattr(asked, key)
    if plan.room:
        keys['cache_bytes'] = plan.room
    given = ''.join(f', {key}={value!r}' for key, value in keys.items())
    return f"sampler=dict(type='DeepLakeLoader'{given})"


def _count(count: int, what: str) -> str:
    return f'{count} {what}{"s" * (count != 1)}'


def _size(count: float) -> str:
    for unit in ('B', 'kB', 'MB', 'GB'):
        if count < 1000:
            return f'{count:.3g} {unit}'
        count /= 1000
    return f'{count:.3g} TB'
