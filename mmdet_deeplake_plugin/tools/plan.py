"""Says what the loader would do with a lake, before a training begins.

Which order and why, how many lanes, what is read in an epoch, what a worker holds in
memory and how well it is shuffled, with a sampler to paste. The numbers come from
workers that go through an epoch as in a training, but only count what they read.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..lake import LakeSpec
from ..samplers.checks import LOADER_TYPES, SHUFFLES
from ..samplers.dataloader_shape import DataloaderShape
from ._cli import make_parser, run_tool
from .planning.plan import LoaderKeys, make_plan
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
) -> str:
    """Describes what the loader would do.

    Args:
        path: ``deeplake_path`` of a config.
        dataloader: Ranks, workers and batch size.
        keys: Keys of the loader.
        credentials: ``deeplake_credentials`` of a config.
        commit_id: ``deeplake_commit_id`` of a config.
        view_id: ``deeplake_view_id`` of a config.
        query: ``deeplake_query`` of a config.
        image_column: Column of the images. Defaults to the only one there is.
        latency: Seconds until storage answers; 0 if it is not known.
        bandwidth: Bytes per second of one worker; 0 if it is not known.
        plot: PNG to write, of rows against positions in the epoch.
        progress: Whether to draw a progress bar on stderr.

    Returns:
        Text of several lines.

    Raises:
        ValueError, FileNotFoundError, PermissionError, ConnectionError: If a key is
            wrong or the lake cannot be opened as asked.
        OSError: If the picture cannot be written.
    """
    spec = LakeSpec.from_config(path, credentials, commit_id, view_id, query)
    found = make_plan(spec, dataloader, keys or LoaderKeys(), image_column, progress)
    if plot is not None:
        draw_order(plot, found.order, found.rows, dataloader)
    return describe(found, latency, bandwidth)


def main(argv: Sequence[str] | None = None) -> int:
    """Command line of :func:`plan`; returns the exit code."""
    usual = LoaderKeys()
    parser = make_parser(
        'plan',
        'Says how DeepLakeLoader would read a lake: order, requests, memory, quality.',
        's3://bucket/coco_train --batch-size 8 --num-workers 4 --gpus 8',
    )
    parser.add_argument('path', metavar='LAKE', help='a folder, s3://…, al://org/name')
    add = parser.add_argument
    add('--batch-size', type=int, required=True, help='of one GPU')
    add('--num-workers', type=int, required=True, help='of one GPU')
    add('--gpus', type=int, default=1, help='number of ranks (default: 1)')
    add('--shuffle', choices=SHUFFLES, default=usual.shuffle, help='(default: auto)')
    add('--lanes', type=int, help='(default: what suits the dataloader)')
    add('--window', type=int, default=usual.window, help='chunks mixed (default: 1)')
    add('--seed', type=int, default=usual.seed, help='seed of the order (default: 0)')
    add('--loader-type', choices=LOADER_TYPES, default='auto', help='(default: auto)')
    add('--cache-bytes', type=int, default=usual.cache_bytes, help='(default: 1 GiB)')
    add('--commit', default='', help='version id (default: the newest)')
    add('--view', default='', help='name of a saved view (tag)')
    add('--query', default='', help='TQL that selects rows')
    add('--image-column', help='if there are several columns of images')
    add('--token', metavar='REF', help="Deep Lake token as 'env:NAME' or 'file:PATH'")
    add(
        '--creds',
        metavar='REF',
        help="storage credentials as JSON in 'env:NAME' or 'file:PATH'",
    )
    add('--latency', type=float, default=0, metavar='MS', help='of storage')
    add('--bandwidth', type=float, default=0, metavar='MB/S', help='of one worker')
    add('--plot', type=Path, metavar='PNG', help='draws row against position')
    args = parser.parse_args(argv)
    return run_tool(lambda: _run(args))


def _run(args: Any) -> str:
    for key, least in (('gpus', 1), ('seed', 0)):
        if getattr(args, key) < least:
            raise ValueError(f'--{key} {getattr(args, key)}: write {least} or more')
    return plan(
        args.path,
        DataloaderShape(args.gpus, args.num_workers, args.batch_size),
        LoaderKeys(
            args.shuffle,
            args.lanes,
            args.window,
            args.seed,
            args.loader_type,
            args.cache_bytes,
        ),
        credentials=dict(token=args.token, creds=args.creds),
        commit_id=args.commit,
        view_id=args.view,
        query=args.query,
        image_column=args.image_column,
        latency=args.latency / 1e3,
        bandwidth=args.bandwidth * 1e6,
        plot=args.plot,
        progress=True,
    )


if __name__ == '__main__':
    raise SystemExit(main())
