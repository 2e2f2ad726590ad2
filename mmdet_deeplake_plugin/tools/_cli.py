"""Share code between the command line tools.

Parsers, the options that name a lake, progress bars, exit codes.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, TypeVar

from rich.console import Console
from rich.progress import track

from ..utils.values import is_number

T = TypeVar('T')

EXIT_USER_ERROR = 2
EXIT_INTERRUPTED = 130


def make_parser(name: str, description: str, example: str) -> argparse.ArgumentParser:
    """Build the parser of the module ``name``; ``--help`` ends with an example."""
    command = f'python -m mmdet_deeplake_plugin.tools.{name}'
    return argparse.ArgumentParser(
        prog=command,
        description=description,
        epilog=f'example: {command} {example}',
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )


def add_lake_options(parser: argparse.ArgumentParser, with_rows: bool = True) -> None:
    """Add the arguments that say which lake to read and, if wanted, which rows."""
    add = parser.add_argument
    add('path', metavar='LAKE', help='local folder, s3://…, al://org/name')
    add(
        '--commit',
        dest='commit_id',
        metavar='COMMIT',
        default='',
        help='version id (default: the latest version)',
    )
    if with_rows:
        add(
            '--view',
            dest='view_id',
            metavar='VIEW',
            default='',
            help='name of a saved view (tag)',
        )
        add('--query', default='', help='TQL query that selects rows')
    add_credentials(parser)


def add_credentials(parser: argparse.ArgumentParser) -> None:
    """Add the arguments that name the credentials of a lake."""
    add = parser.add_argument
    add('--token', metavar='REF', help="Deep Lake token as 'env:NAME' or 'file:PATH'")
    add(
        '--creds',
        metavar='REF',
        help="storage credentials as JSON in 'env:NAME' or 'file:PATH'",
    )


def add_destination(parser: argparse.ArgumentParser) -> None:
    """Add the arguments that say which lake to write, and with which credentials."""
    add = parser.add_argument
    add('dest', metavar='DEST', help='any Deep Lake URL')
    add('--overwrite', action='store_true', help='replace the lake at DEST')
    add_credentials(parser)


def add_column_options(parser: argparse.ArgumentParser) -> None:
    """Add the arguments that say what the columns of a lake mean."""
    add = parser.add_argument
    add(
        '--tensors',
        type=_json_object,
        metavar='JSON',
        help='role -> column, as deeplake_tensors in a config',
    )
    add('--box-format', help='as box_format in a config')


def _json_object(text: str) -> dict[str, Any]:
    try:
        value = json.loads(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f'{text!r} is not JSON: {error}') from error
    if not isinstance(value, dict):
        raise argparse.ArgumentTypeError(
            f'must be a JSON object {{"role": "column"}}, got {text!r}'
        )
    return value


def comma_list(text: str) -> list[str]:
    """Split ``'a, b,c'`` into ``['a', 'b', 'c']``; empty parts are dropped."""
    return [part.strip() for part in text.split(',') if part.strip()]


def check_score_thr(score_thr: Any, example: float) -> None:
    """Refuse what is not a score from 0 to 1; the error suggests an example."""
    if not is_number(score_thr) or not 0 <= score_thr <= 1:
        raise ValueError(
            f'--score-thr must be a number from 0 to 1, got {score_thr!r}; write '
            f'--score-thr {example}'
        )


def with_progress(
    items: Iterable[T], total: int, description: str, show: bool
) -> Iterator[T]:
    """Yield ``items`` and, if ``show``, draw a progress bar on stderr."""
    if not show:
        yield from items
        return
    console = Console(stderr=True)
    yield from track(items, description, total=total, console=console)


def run_tool(
    tool: Callable[..., str],
    parser: argparse.ArgumentParser,
    argv: Sequence[str] | None,
    **further: Any,
) -> int:
    """Run a tool from the command line and report user errors as one line on stderr.

    Args:
        tool: Does the work and returns the line to print at the end. Its arguments are
            the options of ``parser``; those of :func:`add_credentials` are one,
            ``credentials``.
        parser: Parser of the tool.
        argv: Arguments of the command line; ``None``: those of the process.
        **further: Further arguments of ``tool``.

    Returns:
        Exit code: 0, or 2 after an ``error: ...`` line (``OSError`` and
        ``ValueError``, which the tools raise for bad input and failed storage), or 130
        after an interrupt. Other exceptions are bugs and propagate.
    """
    options = vars(parser.parse_args(argv))
    if 'token' in options:
        options['credentials'] = {each: options.pop(each) for each in ('token', 'creds')}
    try:
        print(tool(**options, **further))
    except (OSError, ValueError) as error:
        print(f'error: {error}', file=sys.stderr)
        return EXIT_USER_ERROR
    except KeyboardInterrupt:
        print('error: interrupted', file=sys.stderr)
        return EXIT_INTERRUPTED
    return 0
