"""Describe a plan as text, with a sampler to paste into a config."""

from __future__ import annotations

import numpy as np

from .plan import LoaderKeys, Plan

# Measured with Deep Lake 4.7.4: reading a row without its chunk costs one read of the
# chunk's header and one of the block of rows around it, of up to this many bytes. Each
# process caches what it read, up to about 14 chunks of 8 MB.
_HEADER_BYTES = 32 << 10
_BLOCK_BYTES = 123_000
_CACHED_BYTES = 14 * (8 << 20)


def describe(plan: Plan, latency: float = 0.0, bandwidth: float = 0.0) -> str:
    """Describe a plan in several lines.

    Args:
        plan: The plan.
        latency: Latency of the storage in seconds; 0 if unknown.
        bandwidth: Bandwidth of one worker in bytes per second; 0 if unknown.
    """
    lines = [*_lake(plan), *_order(plan), *_epoch(plan)]
    if latency or bandwidth:
        lines.append(_speed(plan, latency, bandwidth))
    lines.append(f'quality:  {plan.quality}')
    notes = [f'note:     {text}' for text in _notes(plan)]
    return '\n'.join([*lines, *notes, '', 'for a config:', f'  {_sampler(plan)}'])


def network_cost(plan: Plan) -> tuple[float, float]:
    """Estimate the requests and bytes of an epoch on object storage, of all ranks."""
    reads, size = plan.reads, plan.row_bytes
    sizes = np.diff(plan.lake.images.chunks.bounds)
    cached = min(1.0, _CACHED_BYTES / (sizes.sum() * size))
    single = reads.listed + reads.rows - cached * reads.rows_again
    blocks = np.maximum(np.round(sizes / max(_BLOCK_BYTES // size, 1)), 1)

    def fetched(pieces: float) -> float:
        """Estimate how many pieces are read, of those that the rows are spread over."""
        distinct = pieces * -np.expm1(-single / max(pieces, 1))
        return float((1 - cached) * single + cached * distinct)

    headers = fetched(reads.divided)
    row_blocks = fetched(reads.divided * blocks.mean())
    whole = 1 - cached * reads.chunks_again / max(reads.chunks, 1)
    return (
        whole * reads.chunks + headers + row_blocks,
        whole * reads.chunk_rows * size
        + headers * _HEADER_BYTES
        + row_blocks * sizes.sum() / blocks.sum() * size,
    )


def _lake(plan: Plan) -> list[str]:
    chunks = plan.lake.images.chunks
    sizes = np.diff(chunks.bounds)
    kind = 'stored' if chunks.stored else 'blocks (stored chunks are unknown)'
    return [
        f'lake:     {plan.lake.name}',
        f'samples:  {len(plan.rows)} of {plan.lake.source.num_rows} rows, about '
        f'{_size(plan.row_bytes)} each (estimated from some images)',
        f'chunks:   {len(sizes)} {kind}, of {sizes.min()} to {sizes.max()} rows, median '
        f'{np.median(sizes):.0f}',
    ]


def _order(plan: Plan) -> list[str]:
    keys, loader, is_remote = plan.keys, plan.dataloader, plan.lake.images.is_remote
    if plan.requested.shuffle != 'auto':
        why = 'as requested'
    elif is_remote and keys.shuffle == 'full':
        why = 'auto: the rows of a saved view are scattered'
    else:
        why = f'auto: the lake is {"on object storage" if is_remote else "local"}'
    lines = [f'shuffle:  {keys.shuffle} ({why})']
    if keys.shuffle == 'none':
        why = 'as requested' if plan.requested.order != 'auto' else 'auto'
        lines.append(f'order:    {keys.order} ({why})')
    if keys.shuffle == 'lanes' and keys.lanes:
        times = f'{keys.lanes // loader.round_size} x'
        if not plan.lanes_divide:
            times = 'not a multiple of'
        lines.append(
            f'lanes:    {keys.lanes}, {times} '
            f'{_count(loader.world_size, "rank")} x {_count(loader.readers, "worker")} x '
            f'batch size {loader.batch_size}'
        )
    return lines


def _epoch(plan: Plan) -> list[str]:
    reads, loader = plan.reads, plan.dataloader
    single = reads.listed + reads.rows
    how = 'in lists per batch' if reads.lists else 'one by one'
    needed = reads.samples * plan.row_bytes
    lines = [
        f'epoch:    {reads.samples:.0f} images, from {reads.chunks:.0f} whole chunks and '
        f'{single:.0f} rows read {how}'
    ]
    if plan.lake.images.is_remote:
        requests, read = network_cost(plan)
        lines.append(
            f'          about {requests:.0f} requests, '
            f'{requests / reads.samples:.3f} per image; {_size(read)}, '
            f'{read / needed:.2f} x what is needed'
        )
    else:
        read = reads.rows_read * plan.row_bytes
        lines.append(
            f'          {reads.reads:.0f} reads; {_size(read)}, {read / needed:.2f} x '
            'what is needed'
        )
    if plan.mix.count:
        lines.append(_mixed(plan))
    processes = loader.world_size * loader.readers
    lines.append(
        f'memory:   at most {_size(reads.peak)} of images per worker, '
        f'{_size(reads.peak * processes)} in {_count(processes, "worker")}'
        if plan.along_chunks
        else 'memory:   only the images of a batch'
    )
    return lines


def _mixed(plan: Plan) -> str:
    mean = plan.reads.candidates / plan.reads.samples
    held = plan.mix.from_held and plan.along_chunks and plan.keys.shuffle == 'lanes'
    return f'mixed:    {plan.mix.count} other images in each, drawn from ' + (
        f'{mean:.0f} samples in open chunks' if held else 'all samples'
    )


def _speed(plan: Plan, latency: float, bandwidth: float) -> str:
    reads = plan.reads
    processes = plan.dataloader.world_size * plan.dataloader.readers
    _, read = network_cost(plan)
    seconds = reads.waits * latency + (read / processes / bandwidth if bandwidth else 0)
    return (
        f'speed:    {reads.samples / max(seconds, 1e-9):.0f} images per second for all '
        'workers together, if each read waited for the previous one'
    )


def _notes(plan: Plan) -> list[str]:
    notes = []
    if plan.keys.shuffle == 'lanes' and not plan.lanes_divide:
        notes.append(
            f'workers share lanes and read chunks more than once; remove lanes='
            f'{plan.keys.lanes}, or write a multiple of {plan.dataloader.round_size}'
        )
    if plan.keys.order == 'by_worker':
        notes.append(
            "results are put back by dict(type='DeepLakeOrderHook') in custom_hooks; "
            "without it, order='auto' stays 'dataset'"
        )
    if plan.room:
        notes.append(
            f'some chunks do not fit into cache_bytes={plan.keys.cache_bytes}, and their '
            'rows are read one by one'
        )
    if plan.mix.count and not plan.mix.from_held and plan.along_chunks:
        notes.append(
            'each other image is read by itself; DeepLakeMultiImageMixDataset draws '
            'them from chunks that are held'
        )
    if plan.lake.images.is_remote and plan.requested.shuffle == 'full':
        notes.append("rows are read one by one; shuffle='lanes' would read whole chunks")
    return notes


def _sampler(plan: Plan) -> str:
    requested, defaults = plan.requested, LoaderKeys()
    bools: dict[str, object] = {'auto': True, 'none': False}
    keys: dict[str, object] = {
        'shuffle': bools.get(requested.shuffle, requested.shuffle),
        'batch_size': plan.dataloader.batch_size,
        'num_workers': plan.dataloader.num_workers,
    }
    if requested.lanes is not None and plan.lanes_divide:
        keys['lanes'] = requested.lanes
    for key in ('window', 'loader_type', 'cache_bytes', 'order'):
        if getattr(requested, key) != getattr(defaults, key):
            keys[key] = getattr(requested, key)
    if plan.room:
        keys['cache_bytes'] = plan.room
    arguments = ''.join(f', {key}={value!r}' for key, value in keys.items())
    return f"sampler=dict(type='DeepLakeLoader'{arguments})"


def _count(count: int, what: str) -> str:
    return f'{count} {what}{"s" * (count != 1)}'


def _size(count: float) -> str:
    for unit in ('B', 'kB', 'MB', 'GB'):
        if count < 1000:
            return f'{count:.3g} {unit}'
        count /= 1000
    return f'{count:.3g} TB'
