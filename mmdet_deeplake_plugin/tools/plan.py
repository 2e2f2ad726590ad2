"""Show how the loader would read a lake, before a training run starts.

Which order it would choose and why, how many lanes, what an epoch reads, how much memory
a worker needs and how well the samples are shuffled, with a sampler to paste into a
config. The numbers come from simulated workers: they go through an epoch as in training,
but count reads instead of making them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

from ..lake import LakeSpec, open_lake
from ..samplers.checks import LOADER_TYPES, ORDERS, SHUFFLES
from ..samplers.dataloader_shape import DataloaderShape
from ._cli import add_lake_options, make_parser, run_tool
from .planning.plan import LoaderKeys, Mix, make_plan
from .planning.plot import draw_order
from .planning.text import describe


def plan(
    path: str,
    dataloader: DataloaderShape,
    keys: LoaderKeys | None = None,
    credentials: dict[str, Any] | None = None,
    commit_id: str = '',
    view_id: str = '',
    query: str = '',
    image_column: str | None = None,
    latency: float = 0.0,
    bandwidth: float = 0.0,
    plot: Path | None = None,
    progress: bool = False,
    mix: Mix | None = None,
) -> str:
    """Describe how the loader would read a lake.

    Args:
        path: ``deeplake_path`` of a config.
        dataloader: Ranks, workers and batch size.
        keys: Keys of the loader.
        credentials: ``deeplake_credentials`` of a config.
        commit_id: ``deeplake_commit_id`` of a config.
        view_id: ``deeplake_view_id`` of a config.
        query: ``deeplake_query`` of a config.
        image_column: Image column. Defaults to None: the lake has only one.
        latency: Latency of the storage in seconds; 0 if unknown.
        bandwidth: Bandwidth of one worker in bytes per second; 0 if unknown.
        plot: PNG to write, with rows over positions in the epoch. Defaults to None.
        progress: Whether to draw a progress bar on stderr. Defaults to False.
        mix: Images that the pipeline mixes into each sample. Defaults to None: none.

    Returns:
        Text of several lines.

    Raises:
        ValueError, FileNotFoundError, PermissionError, ConnectionError: If a key is
            wrong or the lake cannot be opened.
        OSError: If the plot cannot be written.
    """
    spec = LakeSpec.from_config(path, credentials, commit_id, view_id, query)
    # Planning needs no annotations, and opening a lake without them is much faster.
    tensors: dict[str, str | None] = {'gt_bboxes': None, 'gt_labels': None}
    if image_column is not None:
        tensors['img'] = image_column
    lake, rows = open_lake(spec, tensors)
    result = make_plan(lake, rows, dataloader, keys or LoaderKeys(), progress, mix)
    if plot is not None:
        draw_order(plot, result.order, result.rows, dataloader)
    return describe(result, latency, bandwidth)


def main(argv: Sequence[str] | None = None) -> int:
    """Run :func:`plan` from the command line and return the exit code."""
    defaults = LoaderKeys()
    parser = make_parser(
        'plan',
        'Show how DeepLakeLoader would read a lake: order, requests, memory, quality.',
        's3://bucket/coco_train --batch-size 8 --num-workers 4 --gpus 8',
    )
    add_lake_options(parser)
    add = parser.add_argument
    add('--batch-size', type=int, required=True, help='batch size per GPU')
    add('--num-workers', type=int, required=True, help='number of workers per GPU')
    add('--gpus', type=int, default=1, help='number of ranks (default: 1)')
    add('--shuffle', choices=SHUFFLES, default=defaults.shuffle, help='(default: auto)')
    add('--lanes', type=int, help='number of lanes (default: fits the dataloader)')
    add(
        '--window',
        type=int,
        default=defaults.window,
        help='number of chunks that a lane mixes (default: 1)',
    )
    add('--seed', type=int, default=defaults.seed, help='seed of the order (default: 0)')
    add(
        '--order',
        choices=ORDERS,
        default=defaults.order,
        help='with --shuffle none (default: auto)',
    )
    add('--loader-type', choices=LOADER_TYPES, default='auto', help='(default: auto)')
    add(
        '--cache-bytes',
        type=int,
        default=defaults.cache_bytes,
        help='largest size of the chunks that a worker holds (default: 1 GiB)',
    )
    add(
        '--mix',
        type=int,
        default=0,
        metavar='COUNT',
        help='images of others that are read for each sample, uncached: 3 for Mosaic, 2 '
        'for MixUp (it looks at one first), 1 for CopyPaste (default: 0)',
    )
    add(
        '--mix-from-all',
        action='store_true',
        help='draw them from all samples, as MultiImageMixDataset does (default: as '
        'DeepLakeMultiImageMixDataset)',
    )
    add('--image-column', help='image column, if there are several')
    add('--latency', type=float, default=0, metavar='MS', help='latency of the storage')
    add(
        '--bandwidth',
        type=float,
        default=0,
        metavar='MB/S',
        help='bandwidth of one worker',
    )
    add('--plot', type=Path, metavar='PNG', help='plot rows over positions in the epoch')
    return run_tool(_from_options, parser, argv)


def _from_options(
    gpus: int,
    num_workers: int,
    batch_size: int,
    mix: int,
    mix_from_all: bool,
    latency: float,
    bandwidth: float,
    **others: Any,
) -> str:
    limits = (('gpus', gpus, 1), ('seed', others['seed'], 0), ('mix', mix, 0))
    for key, number, least in limits:
        if number < least:
            raise ValueError(f'--{key} must be at least {least}, got {number}')
    return plan(
        dataloader=DataloaderShape(gpus, num_workers, batch_size),
        keys=LoaderKeys(**{key.name: others.pop(key.name) for key in fields(LoaderKeys)}),
        latency=latency / 1e3,
        bandwidth=bandwidth * 1e6,
        progress=True,
        mix=Mix(mix, from_held=not mix_from_all),
        **others,
    )


if __name__ == '__main__':
    raise SystemExit(main())
