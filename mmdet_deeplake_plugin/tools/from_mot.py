"""Import sequences of MOTChallenge into a lake.

There is one row per frame, sequence by sequence, with the boxes of ``gt/gt.txt`` and, for
each box, object, confidence, class and visible fraction. The lake serves
``DeepLakeVideoDataset`` for trackers, and ``DeepLakeDataset`` for their detectors. Image
bytes are stored as they are in the files.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ._cli import add_destination, comma_list, make_parser, run_tool
from ._converter import Destination
from .formats.video.import_frames import import_frames
from .formats.video.mot import HALVES, read_mot


def from_mot(
    folder: str | os.PathLike[str],
    dest: str | os.PathLike[str],
    half: str | None = None,
    sequences: Sequence[str] = (),
    overwrite: bool = False,
    progress: bool = False,
    credentials: Any = None,
) -> str:
    """Import the sequences of a folder.

    Args:
        folder: Folder of sequences, such as ``MOT17/train``.
        dest: Any Deep Lake URL to write to.
        half: ``'train'`` for the first half of each sequence, ``'val'`` for the second,
            as ``mot2coco.py --split-train`` divides them. Defaults to None: all frames.
        sequences: Names of the sequences to import. Defaults to all.
        overwrite: Whether to replace an existing lake. Defaults to False.
        progress: Whether to draw a progress bar on stderr. Defaults to False.
        credentials: ``deeplake_credentials`` for ``dest``. Defaults to the environment.

    Returns:
        A sentence that says what was written.

    Raises:
        FileExistsError: If ``dest`` already exists.
        FileNotFoundError: If a folder or file is missing.
        ValueError: If a file is not one of MOTChallenge, or a frame is not an image.
        OSError: If the storage fails.
    """
    root = Path(folder)
    target = Destination(dest, overwrite, progress, credentials)
    if half not in (None, *HALVES):
        raise ValueError(f'half must be one of {", ".join(HALVES)}, got {half!r}')
    content = read_mot(root, sequences, half)
    return import_frames('from_mot', content, root, root, target)


def main(argv: Sequence[str] | None = None) -> int:
    """Run :func:`from_mot` from the command line and return the exit code."""
    parser = make_parser(
        'from_mot',
        'Import sequences of MOTChallenge into a Deep Lake dataset.',
        'MOT17/train lakes/mot17_half_train --half train',
    )
    add = parser.add_argument
    add('folder', metavar='FOLDER', help='folder of sequences')
    add_destination(parser)
    add('--half', choices=HALVES, help='import the first or the second half of each')
    add(
        '--sequences',
        type=comma_list,
        default=(),
        metavar='NAMES',
        help='sequences to import, separated by commas (default: all)',
    )
    return run_tool(from_mot, parser, argv, progress=True)


if __name__ == '__main__':
    raise SystemExit(main())
