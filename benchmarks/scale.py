"""Ten million rows, a hundred, a thousand: what do annotations and orders cost?

Annotations are made up as those of COCO are spread, and shared by the ranks of a node as
a dataset shares them; memory is the sum over all ranks of what came after the imports,
every page read, and pages that several map divided among them.

Orders are built as the loader builds them, for one rank, in a process of its own that may
take a minute and 20 GiB. What would take more is extrapolated from the size below, and
marked with ``≈``. Then the reads of up to 1,024 ranks are simulated on rows of 160 KB in
chunks of 52. No lake of that size is made.
"""

from __future__ import annotations

import time
from functools import partial
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
from _children import NotRunError, joined, memory_of, run_child, run_ranks, serve, touch
from _common import Bars, Report, beside_each_other, make_parser, progress, shown
from _data import BOXES
from mmengine.dist import barrier

from mmdet_deeplake_plugin.datasets.dataset import DeepLakeDataset
from mmdet_deeplake_plugin.datasets.samples import Samples
from mmdet_deeplake_plugin.lake import ImageReader
from mmdet_deeplake_plugin.lake.images.chunk_map import ChunkMap
from mmdet_deeplake_plugin.samplers.checks import default_lanes
from mmdet_deeplake_plugin.samplers.dataloader_shape import DataloaderShape
from mmdet_deeplake_plugin.samplers.read_strategy import choose_reads
from mmdet_deeplake_plugin.samplers.wrappers import SampleMap
from mmdet_deeplake_plugin.shuffle.epoch import epoch_order, rank_length, rank_slice
from mmdet_deeplake_plugin.shuffle.lanes import ChunkIndex, Lanes
from mmdet_deeplake_plugin.shuffle.repeats import sample_counts
from mmdet_deeplake_plugin.tools.planning.simulation import Epoch, Simulation
from mmdet_deeplake_plugin.utils.distributed import once_per_node
from mmdet_deeplake_plugin.utils.packed_strings import PackedStrings
from mmdet_deeplake_plugin.utils.ragged import offsets_of

ROW_BYTES, CHUNK_ROWS = 160_000, 52
BATCH_SIZE, WORKERS = 8, 2
RATE = 200  # images a second that a rank trains with
MOST_SECONDS, MOST_GIB = 60.0, 20.0
INPUT_BYTES = 24  # a row, of what an order is built from, and while that is made
FULL, LANES, WEIGHTED = 'full shuffle', 'lanes', 'lanes, weighted'
TO_SHARDS = 'index of chunks'
ORDERS = (TO_SHARDS, LANES, WEIGHTED, FULL)


class FakeReader:
    """As much of an ``ImageReader`` as orders need.

    Args:
        rows: Number of rows of the lake.
    """

    is_remote = has_chunks = True
    in_lists = True

    def __init__(self, rows: int) -> None:
        bounds = np.append(np.arange(0, rows, CHUNK_ROWS), rows)
        self.chunks = ChunkMap(bounds, stored=True)
        source = SimpleNamespace(spec=SimpleNamespace(is_remote=True))
        self.column = SimpleNamespace(
            source=source,
            name='images',
            storage='encoded',
            chunks=self.chunks,
            verify_chunk_objects=lambda: None,
        )

    def read_chunks_from(self, cache: Any, offset: int) -> None:
        """Reads nothing."""

    def chunk_rows(self, chunk: int) -> tuple[int, int]:
        """First row of a chunk, and the first behind it."""
        return self.chunks.rows(chunk)


class FakeDataset:
    """As much of a dataset as orders need.

    Args:
        rows: Number of rows of the lake.
    """

    def __init__(self, rows: int) -> None:
        self.reader = FakeReader(rows)
        self._rows = np.arange(rows)

    def rows_of(self) -> Any:
        """Row of each sample."""
        return self._rows


def hold(rows: int, rank: int, ranks: int, store: str) -> dict[str, float]:
    """Memory in MiB of annotations that a rank holds, made up by the first.

    Args:
        rows: Number of rows.
        rank: This rank.
        ranks: Number of ranks.
        store: Where they find each other.

    Returns:
        ``held``: pages in memory; ``peak``: at most; ``bytes``: size of all arrays.
    """
    joined(rank, ranks, store)
    barrier()
    before = memory_of()
    samples = once_per_node(partial(_made_up, rows), rows)
    touch(samples)
    barrier()
    after = memory_of()
    barrier()  # all have measured
    return {
        'held': after['pss'] - before['pss'],
        'peak': after['peak'] - before['rss'],
        'bytes': samples.nbytes,
    }


def _made_up(rows: int) -> Samples:
    dice = np.random.default_rng(0)
    counts = np.minimum(dice.geometric(1 / BOXES, rows), 90)
    total = int(counts.sum())
    return Samples(
        rows=np.arange(rows),
        offsets=offsets_of(counts),
        boxes=dice.random((total, 4)),
        labels=dice.integers(0, 80, total, np.int32),
        ignore_flags=np.zeros(total, bool),
        widths=np.full(rows, 640),
        heights=np.full(rows, 480),
        img_ids=np.arange(rows),
        names=PackedStrings(f'{number:012d}.jpg' for number in range(rows)),
        labelled=np.ones(rows, bool),
        stored=np.zeros(total, np.int32),
        num_stored=counts.astype(np.int32),
    )


def build(order: str, rows: int, ranks: int) -> dict[str, float]:
    """Seconds and MiB for a rank's part of an epoch.

    Args:
        order: One of ``ORDERS``.
        rows: Number of rows.
        ranks: Number of ranks.
    """
    weights = np.random.default_rng(0).random(rows) if order == WEIGHTED else None
    chunks = None
    if order != FULL:
        # What a dataset of all rows of a lake has; it takes memory of its own.
        chunks = np.arange(rows, dtype=np.int64) // CHUNK_ROWS
    before = memory_of()
    began = time.perf_counter()
    count = rank_length(rows, 0, ranks, round_up=True)
    lanes = default_lanes(ranks, BATCH_SIZE, WORKERS)
    if chunks is None:
        rank_slice(epoch_order(rows, 0, 0, True), 0, ranks, True)
    else:
        index = ChunkIndex.from_chunks(chunks, -(-rows // CHUNK_ROWS))
        if order != TO_SHARDS:
            began = time.perf_counter()  # the index is built once, not each epoch
            if weights is not None:
                index = index.repeated(sample_counts(weights, rows, 0, 0))
            Lanes(index, lanes, 1, 0, 0).rank_slice(0, ranks, count)
    seconds = time.perf_counter() - began
    return {'seconds': seconds, 'memory': max(memory_of()['peak'] - before['rss'], 0.0)}


def simulate(rows: int, ranks: int) -> dict[str, float]:
    """What the ranks read in an epoch.

    Args:
        rows: Number of rows.
        ranks: Number of ranks.
    """
    dataset = FakeDataset(rows)
    places = SampleMap(
        [cast(DeepLakeDataset, dataset)], np.zeros(rows, np.int32), np.arange(rows)
    )
    lanes = default_lanes(ranks, BATCH_SIZE, WORKERS)
    reading = choose_reads(
        places,
        'lanes',
        'c++',
        world_size=ranks,
        is_weighted=False,
        cache_bytes=1 << 30,
    )
    epoch = Epoch(rows, 0, True, Lanes(reading.index, lanes, 1, 0, 0))
    reader = cast(ImageReader, dataset.reader)
    loader = DataloaderShape(ranks, WORKERS, BATCH_SIZE)
    tried = Simulation(epoch, loader, reading, reader, dataset.rows_of(), ROW_BYTES)
    reads = list(tried)[-1]
    return {
        'lanes': lanes,
        'requests': reads.reads / rows,
        'amplification': reads.rows_read / rows,
        'peak': reads.peak / (1 << 20),
    }


def main() -> None:
    """Measures, and reports."""
    serve({'build': build, 'simulate': simulate, 'hold': hold})
    args = make_parser(__doc__).parse_args()
    sizes = (10**5, 10**6) if args.quick else (10**7, 10**8, 10**9)
    report = Report('scale', 'What breaks first, at what size?', args.quick)
    report.settings = {
        'batch size': BATCH_SIZE,
        'workers of a rank': WORKERS,
        'ranks': '1 and 1,024',
    }
    _annotations(report, (10**4,) if args.quick else (10**6, 10**7))
    _orders(report, sizes)
    _reads(report, sizes[0] if args.quick else 10**7)
    report.write()


def _annotations(report: Report, sizes: tuple[int, ...]) -> None:
    table: list[list[Any]] = []
    for rows in sizes:
        for ranks in (1, 2, 4):
            try:
                runs = run_ranks(__file__, 'hold', ranks, memory_gib=MOST_GIB, rows=rows)
            except NotRunError as error:
                table.append([rows, ranks, f'not run: {error}', None, None, None])
                continue
            held = sum(run['held'] for run in runs)
            peak = max(run['peak'] for run in runs)
            size = runs[0]['bytes'] / rows
            table.append([rows, ranks, held, held * (1 << 20) / rows, size, peak])
    report.raw['annotations'] = table
    report.table(
        'Annotations of all ranks of a node',
        [
            'rows',
            'ranks',
            'MiB of all together',
            'bytes per row',
            'of them in arrays',
            'peak of the first rank, MiB',
        ],
        table,
        f'{BOXES} boxes per row. The peak is that of sharing; reading takes more, see '
        'below.',
    )


def _orders(report: Report, sizes: tuple[int, ...]) -> None:
    cases = [
        (order, rows, ranks) for order in ORDERS for rows in sizes for ranks in (1, 1024)
    ]
    cases = [case for case in cases if case[0] != TO_SHARDS or case[2] == 1]
    found: dict[Any, dict[str, float]] = {}
    table = []
    name = partial('{0[0]}, {0[1]:,} rows, {0[2]} ranks'.format)
    for case in progress(cases, 'orders', name):
        order, rows, ranks = case
        mark, reason = '', ''
        below = found.get((order, rows // 10, ranks))
        try:
            if below:
                _refuse_too_large(below, rows)
            keys = dict(timeout=MOST_SECONDS + 30, memory_gib=MOST_GIB)
            run = run_child(
                __file__, 'build', order=order, rows=rows, ranks=ranks, **keys
            )
        except NotRunError as error:
            if below is None:
                table.append([order, rows, ranks, f'not run: {error}', None, None])
                continue
            mark, reason = '≈ ', str(error)
            run = {key: 10 * value for key, value in below.items()}
        found[case] = run
        table.append(
            [
                order,
                rows,
                ranks,
                mark + shown(run['seconds']),
                mark + shown(run['memory']),
                mark + shown(run['memory'] * (1 << 20) / rows),
                reason,
            ]
        )
        measured = f'{mark}{shown(run["seconds"])} s, {mark}{shown(run["memory"])} MiB'
        if rows == 10**8 and ranks == 1 and order in (LANES, WEIGHTED):
            met = run['seconds'] < 60 and run['memory'] < 2000
            text = f'100 million rows ordered in < 60 s and 2 GB: {order}, 1 rank'
            report.goal(text, measured, met)
    report.raw['orders'] = table
    report.table(
        "A rank's part of an epoch",
        ['order', 'rows', 'ranks', 's', 'MiB', 'bytes per row', 'not run because'],
        [[*row, *[''] * (7 - len(row))] for row in table],
        'The index of chunks is built once, the others in each epoch. Memory is the peak '
        'above what was there before, and for lanes includes the making of the index.',
    )
    largest = [row for row in found if row[2] == 1]
    report.bars.append(
        Bars(
            "A rank's part of an epoch, 1 rank",
            'MiB',
            [f'{rows:,} rows' for rows in sizes],
            {
                order: [
                    found[order, rows, 1]['memory']
                    if (order, rows, 1) in largest
                    else None
                    for rows in sizes
                ]
                for order in ORDERS
            },
        )
    )


def _refuse_too_large(below: dict[str, float], rows: int) -> None:
    """Refuses a run that is bound to be ended, by what a tenth of it took."""
    gib = below['memory'] * 10 / 1024 + rows * INPUT_BYTES / 2**30
    if gib > MOST_GIB:
        raise NotRunError(f'more than {MOST_GIB:.0f} GiB')
    if below['seconds'] * 10 > MOST_SECONDS:
        raise NotRunError(f'more than {MOST_SECONDS:.0f} s')


def _reads(report: Report, rows: int) -> None:
    cases = {
        f'{ranks:,} ranks': partial(_row_of_reads, rows, ranks)
        for ranks in (1, 8, 64, 256, 1024)
    }
    table = list(beside_each_other(cases, 'reads').values())
    report.raw['reads'] = table
    head = ['ranks', 'lanes', 'reads per image', 'bytes ÷ needed']
    head += ['reads/s of a rank', 'reads/s of all', 'MB/s of a rank', 'GB/s of all']
    report.table(
        f'Reads of {rows:,} rows in lanes, simulated, at {RATE} images/s and rank',
        [*head, 'MiB held by a worker, at most'],
        table,
    )


def _row_of_reads(rows: int, ranks: int) -> list[Any]:
    try:
        run = run_child(__file__, 'simulate', timeout=180, rows=rows, ranks=ranks)
    except NotRunError as error:
        return [ranks, f'not run: {error}', *[None] * 7]
    rate = RATE * run['requests']
    bandwidth = RATE * run['amplification'] * ROW_BYTES / 1e6
    return [
        ranks,
        int(run['lanes']),
        run['requests'],
        run['amplification'],
        rate,
        rate * ranks,
        bandwidth,
        bandwidth * ranks / 1000,
        run['peak'],
    ]


if __name__ == '__main__':
    main()
