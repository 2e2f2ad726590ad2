"""Import a YouTube-VIS file into a lake.

There is one row per frame, video by video, with the boxes, masks and areas of the objects
that are visible in it, and the id of each object. Image bytes are stored as they are in
the files, masks to the last digit.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ._cli import add_destination, make_parser, run_tool
from ._converter import Destination
from .formats.video.import_frames import import_frames
from .formats.video.youtube_vis import read_youtube_vis


def from_youtube_vis(
    ann_file: str | os.PathLike[str],
    img_dir: str | os.PathLike[str],
    dest: str | os.PathLike[str],
    overwrite: bool = False,
    progress: bool = False,
    credentials: Any = None,
) -> str:
    """Import the videos of an annotation file.

    Args:
        ann_file: YouTube-VIS JSON (2019, 2021 or OVIS).
        img_dir: Folder to which its ``file_names`` are relative.
        dest: Any Deep Lake URL to write to.
        overwrite: Whether to replace an existing lake. Defaults to False.
        progress: Whether to draw a progress bar on stderr. Defaults to False.
        credentials: ``deeplake_credentials`` for ``dest``. Defaults to the environment.

    Returns:
        A sentence that says what was written.

    Raises:
        FileExistsError: If ``dest`` already exists.
        FileNotFoundError: If the file or a frame is missing.
        ValueError: If the file is not one of YouTube-VIS, or a frame is not an image.
        OSError: If the storage fails.
    """
    path = Path(ann_file)
    target = Destination(dest, overwrite, progress, credentials)
    content = read_youtube_vis(path)
    return import_frames('from_youtube_vis', content, path, Path(img_dir), target)


def main(argv: Sequence[str] | None = None) -> int:
    """Run :func:`from_youtube_vis` from the command line and return the exit code."""
    parser = make_parser(
        'from_youtube_vis',
        'Import a YouTube-VIS file into a Deep Lake dataset.',
        'train.json train/JPEGImages lakes/youtube_vis_train',
    )
    add = parser.add_argument
    add('ann_file', metavar='ANN_FILE', help='YouTube-VIS annotation file')
    add('img_dir', metavar='IMG_DIR', help='folder of the frames')
    add_destination(parser)
    return run_tool(from_youtube_vis, parser, argv, progress=True)


if __name__ == '__main__':
    raise SystemExit(main())
