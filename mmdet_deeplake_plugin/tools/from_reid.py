"""Import a dataset for re-identification into a lake.

There is one row per line of the file: the image of a person, and the number of that
person. Image bytes are stored as they are in the files. The lake serves
``DeepLakeReIDDataset``.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ._cli import add_destination, make_parser, run_tool
from ._converter import Destination
from .formats.video.import_frames import import_frames
from .formats.video.persons import read_persons


def from_reid(
    ann_file: str | os.PathLike[str],
    img_dir: str | os.PathLike[str],
    dest: str | os.PathLike[str],
    overwrite: bool = False,
    progress: bool = False,
    credentials: Any = None,
) -> str:
    """Import the images of an annotation file.

    Args:
        ann_file: Text file with the name of an image and a number in each line.
        img_dir: Folder to which the names are relative.
        dest: Any Deep Lake URL to write to.
        overwrite: Whether to replace an existing lake. Defaults to False.
        progress: Whether to draw a progress bar on stderr. Defaults to False.
        credentials: ``deeplake_credentials`` for ``dest``. Defaults to the environment.

    Returns:
        A sentence that says what was written.

    Raises:
        FileExistsError: If ``dest`` already exists.
        FileNotFoundError: If the file or an image is missing.
        ValueError: If a line is wrong, or a file is not an image.
        OSError: If the storage fails.
    """
    path, folder = Path(ann_file), Path(img_dir)
    target = Destination(dest, overwrite, progress, credentials)
    content = read_persons(path, folder)
    return import_frames('from_reid', content, path, folder, target)


def main(argv: Sequence[str] | None = None) -> int:
    """Run :func:`from_reid` from the command line and return the exit code."""
    parser = make_parser(
        'from_reid',
        'Import a dataset for re-identification into a Deep Lake dataset.',
        'reid/meta/train_80.txt reid/imgs lakes/reid_train',
    )
    add = parser.add_argument
    add('ann_file', metavar='ANN_FILE', help='an image and a person in each line')
    add('img_dir', metavar='IMG_DIR', help='folder of the images')
    add_destination(parser)
    return run_tool(from_reid, parser, argv, progress=True)


if __name__ == '__main__':
    raise SystemExit(main())
