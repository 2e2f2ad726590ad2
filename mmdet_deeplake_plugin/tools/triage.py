"""Make a page on which one looks at what a model got wrong.

The page shows images of a lake with their annotations and the predictions that
``DeepLakePredictions`` wrote to a branch. It is one folder, which works without a server
and without a network; or ``--serve`` shows it on the loopback.

``--compare BRANCH`` shows the predictions of another run beside them, and how far the
average precision of the two is apart. ``--tag NAME`` saves the chosen rows as a view,
which ``deeplake_view_id`` reads.
"""

from __future__ import annotations

import os
import shlex
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from ..lake import LakeSpec, NewView, StoredPredictions, open_source
from ._cli import add_lake_options, check_score_thr, make_parser, run_tool
from .triage_page.content import open_other, read_content
from .triage_page.folder import check_folder, write_page
from .triage_page.selection import choose_predictions, worst_query
from .triage_page.server import PageServer

_SCORE_THR = 0.05
_LAST_PORT = 65535


def triage(
    path: str,
    out: str | os.PathLike[str] | None = None,
    credentials: dict[str, Any] | None = None,
    commit_id: str = '',
    view_id: str = '',
    query: str = '',
    name: str | None = None,
    worst: int | None = None,
    by: str | None = None,
    tag: str | None = None,
    compare: str | None = None,
    compare_name: str | None = None,
    score_thr: float = _SCORE_THR,
    max_side: int | None = None,
    overwrite: bool = False,
    progress: bool = False,
    serve: Callable[[PageServer], None] | None = None,
    port: int = 0,
) -> str:
    """Make a page, save a view, or both.

    Args:
        path: ``deeplake_path`` of a config, with the branch of the predictions.
        out: Folder to write. Defaults to None: none is written.
        credentials: ``deeplake_credentials`` of a config.
        commit_id: ``deeplake_commit_id`` of a config.
        view_id: ``deeplake_view_id`` of a config.
        query: TQL that selects rows. Defaults to all that were predicted.
        name: Name of the predictions. Defaults to the only ones.
        worst: Number of images to select in place of a query, the worst by ``by``.
        by: Name of a number of each image: what follows ``<name>/``, or that of another
            column. Defaults to ``f1`` where ``worst`` is given.
        tag: Name of the view to save: the images of the page, without a page all rows
            that are selected. Defaults to None: none is saved.
        compare: Branch of the same lake with the predictions of another run. Defaults to
            None: there is none.
        compare_name: Name of those predictions. Defaults to ``name``, or the only ones.
        score_thr: Least score of a prediction on the page.
        max_side: Longest side in pixels of the images on the page. Defaults to None: as
            they are stored.
        overwrite: Whether to replace a page that exists.
        progress: Whether to draw progress bars on stderr.
        serve: Called with the server of the page, to run it. Defaults to None: the page
            is not served.
        port: Port of the server, 0 for any that is free.

    Returns:
        A sentence that says what was done.

    Raises:
        FileExistsError: If ``out`` has other content than a page, or a page that is not
            to be replaced.
        ValueError: If options contradict each other, such predictions do not exist, the
            query is wrong, or the name of the view is taken.
        FileNotFoundError, PermissionError, ConnectionError, OSError: If the lake cannot
            be opened or written to, or the folder cannot be written.
    """
    _check_choice(out, query, worst, by, tag, serve)
    _check_page(score_thr, max_side, compare, compare_name, out, serve, port)
    folder = None if out is None else check_folder(out, overwrite)
    spec = LakeSpec.from_config(path, credentials, commit_id, view_id)
    source, rows = open_source(spec)
    stored = choose_predictions(source, name)
    if worst is not None:
        query = worst_query(stored, worst, by or 'f1')
    view = None if tag is None else NewView(source, query, tag)
    other = None
    if compare is not None:
        other = open_other(stored, compare, credentials, compare_name)
    if view is not None:
        rows = view.rows
    elif query:
        rows = open_source(replace(spec, query=query))[1]
    content, done = None, []
    if folder is not None or serve is not None:
        texts = _texts(path, stored, query)
        content = read_content(
            source, stored, rows, score_thr, texts, other, progress=progress
        )
    if content is not None and folder is not None:
        broken = write_page(folder, content, max_side, progress)
        done.append(
            f'wrote {len(content.rows)} images'
            + (f' ({broken} of them broken)' if broken else '')
            + f' with the predictions {stored.name!r} of {source.name}; open '
            f'{folder / "index.html"}'
        )
    if view is not None:
        saved = view.rows if content is None else content.rows
        view.save(saved)
        done.append(
            f'saved {len(saved)} rows as a view; write deeplake_path={spec.path!r} and '
            f'deeplake_view_id={tag!r}'
        )
    if content is not None and serve is not None:
        server = PageServer(content, port, max_side)
        serve(server)
        done.append(f'{server.url} is not served any more')
    return '\n'.join(done)


def _texts(path: str, stored: StoredPredictions, query: str) -> dict[str, str]:
    """Return what the page says about itself."""
    tool = ['python', '-m', 'mmdet_deeplake_plugin.tools.triage']
    # A view of a view cannot be saved.
    is_view = bool(stored.source.pin.tag)
    command = '' if is_view else shlex.join([*tool, path, '--name', stored.name])
    return {'lake': path, 'query': query, 'command': command}


def _check_choice(
    out: Any, query: str, worst: int | None, by: str | None, tag: str | None, serve: Any
) -> None:
    """Refuse options that do not say which images, or what to do with them."""
    if out is None and tag is None and serve is None:
        raise ValueError(
            'nothing is to be done; write --out DIR for a page, --serve to look at one, '
            'or --tag NAME to save the rows as a view'
        )
    if query and worst is not None:
        raise ValueError(
            '--query and --worst both select images; keep one of the two (a query may '
            'have ORDER BY and LIMIT)'
        )
    if by is not None and worst is None:
        raise ValueError(
            '--by names the number by which images are the worst, but --worst is not '
            f'set; write --worst 200 --by {by}'
        )
    if tag is not None and not query and worst is None:
        raise ValueError(
            '--tag saves the rows that are chosen, but none are; write --query TQL, or '
            '--worst 200 --by f1'
        )


def _check_page(
    score_thr: Any,
    max_side: int | None,
    compare: str | None,
    compare_name: str | None,
    out: Any,
    serve: Any,
    port: int,
) -> None:
    """Refuse options that a page cannot have."""
    check_score_thr(score_thr, _SCORE_THR)
    if max_side is not None and max_side < 1:
        raise ValueError(
            f'--max-side must be a positive integer, got {max_side}; write '
            '--max-side 1024'
        )
    if not 0 <= port <= _LAST_PORT:
        raise ValueError(f'--port must be from 0 to {_LAST_PORT}, got {port}')
    if compare_name is not None and compare is None:
        raise ValueError(
            '--compare-name names predictions on the branch of --compare, which is not '
            f'set; write --compare BRANCH --compare-name {compare_name}'
        )
    if compare is not None and out is None and serve is None:
        raise ValueError(
            '--compare needs a page to show the two runs on; write --out DIR or --serve'
        )


def _serve(server: PageServer) -> None:
    """Serve until the user interrupts."""
    print(f'{server.url} (stop with Ctrl-C)', flush=True)
    try:
        server.run()
    except KeyboardInterrupt:
        print(flush=True)


def main(argv: Sequence[str] | None = None) -> int:
    """Run :func:`triage` from the command line and return the exit code."""
    parser = make_parser(
        'triage',
        'Make a page on which one looks at what a model got wrong.',
        'lakes/val@runs/rtmdet_tiny --worst 200 --by fn --out worst',
    )
    add_lake_options(parser)
    add = parser.add_argument
    add('--out', metavar='DIR', help='folder to write the page to')
    add(
        '--serve',
        action='store_const',
        const=_serve,
        help='show the page on the loopback',
    )
    add('--port', type=int, default=0, help='of --serve (default: any that is free)')
    add('--name', help='name of the predictions (default: the only ones)')
    add('--worst', type=int, metavar='N', help='the N worst images, in place of --query')
    add(
        '--by',
        metavar='NUMBER',
        help='number by which images are the worst: f1, fn, duplicate, …, or any column '
        'with one number per image (default: f1); of f1, label_quality and tp the lowest '
        'are the worst, of all others the highest',
    )
    add('--tag', metavar='NAME', help='save the chosen rows as a view of this name')
    add(
        '--compare',
        metavar='BRANCH',
        help='branch of the same lake with the predictions of another run',
    )
    add(
        '--compare-name',
        metavar='NAME',
        help='name of those predictions (default: as --name, or the only ones)',
    )
    add(
        '--score-thr',
        type=float,
        default=_SCORE_THR,
        metavar='X',
        help=f'least score of a prediction on the page (default: {_SCORE_THR})',
    )
    add(
        '--max-side',
        type=int,
        metavar='PIXELS',
        help='shrink images to this longest side (default: as they are stored)',
    )
    add('--overwrite', action='store_true', help='replace a page that exists')
    return run_tool(triage, parser, argv, progress=True)


if __name__ == '__main__':
    raise SystemExit(main())
