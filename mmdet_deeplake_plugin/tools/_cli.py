"""What the converters' command lines share: parser, progress bar, exit codes.

Nothing here knows annotations or Deep Lake.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

from rich.console import Console
from rich.progress import track

T = TypeVar('T')

EXIT_USER_ERROR = 2
EXIT_INTERRUPTED = 130


def make_parser(name: str, description: str, example: str) -> argparse.ArgumentParser:
    """Builds the parser of one tool.

    Args:
        name: Name of the module in this package, such as ``'from_coco'``.
        description: What the tool does, in one sentence.
        example: Arguments of a typical call, shown at the end of ``--help``.

    Returns:
        A parser without arguments.
    """
    command = f'python -m mmdet_deeplake_plugin.tools.{name}'
    return argparse.ArgumentParser(
        prog=command,
        description=description,
        epilog=f'example: {command} {example}',
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )


def comma_list(text: str) -> list[str]:
    """Splits ``'a, b,c'`` into ``['a', 'b', 'c']``; empty parts are dropped."""
    return [part.strip() for part in text.split(',') if part.strip()]


def with_progress(
    items: Iterable[T], total: int, description: str, show: bool
) -> Iterator[T]:
    """Yields ``items`` and, if ``show``, draws a progress bar on stderr."""
    if not show:
        yield from items
        return
    console = Console(stderr=True)
    yield from track(items, description, total=total, console=console)


def run_tool(action: Callable[[], str]) -> int:
    """Runs a tool and turns mistakes of the user into one line on stderr.

    Args:
        action: Does the work and returns the line to print at the end.

    Returns:
        Exit code: 0, or 2 after an ``error: ...`` line (``OSError`` and
        ``ValueError``, which the tools raise for bad input and failed storage),
        or 130 after an interrupt. Other exceptions are bugs and pass through.
    """
    try:
        print(action())
    except (OSError, ValueError) as error:
        print(f'error: {error}', file=sys.stderr)
        return EXIT_USER_ERROR
    except KeyboardInterrupt:
        print('error: interrupted', file=sys.stderr)
        return EXIT_INTERRUPTED
    return 0
