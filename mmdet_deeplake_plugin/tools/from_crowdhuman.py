"""Import one split of CrowdHuman into a lake.

There is one row per line of the file. The full boxes of persons are the boxes of the
lake; the visible boxes and those of the heads are columns of their own. Masks, and what
is marked ``ignore``, keep their boxes with the flag ``iscrowd``: training ignores them,
as with MMDetection's ``CrowdHumanDataset``, and so does the metric. Image bytes are
stored as they are in the files.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..lake import LakeLayout, names
from ._cli import add_destination, make_parser, run_tool
from ._converter import Destination
from .formats.crowdhuman import read_odgt
from .formats.images import image_compression


def from_crowdhuman(
    odgt: str | os.PathLike[str],
    img_dir: str | os.PathLike[str],
    dest: str | os.PathLike[str],
    overwrite: bool = False,
    progress: bool = False,
    credentials: Any = None,
) -> str:
    """Import the images of an annotation file and their boxes.

    Args:
        odgt: Annotation file, such as ``annotation_train.odgt``.
        img_dir: Folder of the images ``<ID>.jpg``.
        dest: Any Deep Lake URL to write to.
        overwrite: Whether to replace an existing lake. Defaults to False.
        progress: Whether to draw progress bars on stderr. Defaults to False.
        credentials: ``deeplake_credentials`` for ``dest``. Defaults to the environment.

    Returns:
        A sentence that says what was written.

    Raises:
        FileExistsError: If ``dest`` already exists.
        FileNotFoundError: If the file or an image is missing.
        ValueError: If a line is not an annotation of CrowdHuman, an id occurs twice, or a
            file is not an image.
        OSError: If the storage fails.
    """
    path, folder = Path(odgt), Path(img_dir)
    target = Destination(dest, overwrite, progress, credentials)
    images = read_odgt(path)
    layout = LakeLayout(
        converter='from_crowdhuman',
        annotation_style='crowdhuman',
        box_format='ltwh',
        image_compression=image_compression(
            folder, [image.file_name for image in images]
        ),
        class_names=['person'],
        per_box={names.ISCROWD: 'uint8', names.HEAD_IGNORE: 'uint8'},
        text_ids=True,
        extra_boxes=(names.HEAD_BOXES, names.VISIBLE_BOXES),
    )
    ignored = sum(sum(image.columns[names.ISCROWD]) for image in images)
    persons = sum(len(image.labels) for image in images) - ignored
    summary = (
        f'{len(images)} images, {persons} persons, {ignored} ignored boxes from '
        f'{path.name}'
    )
    return target.write(layout, folder, images, len(images), summary)


def main(argv: Sequence[str] | None = None) -> int:
    """Run :func:`from_crowdhuman` from the command line and return the exit code."""
    parser = make_parser(
        'from_crowdhuman',
        'Import one split of CrowdHuman into a Deep Lake dataset.',
        'annotation_val.odgt CrowdHuman/Images lakes/crowdhuman_val',
    )
    add = parser.add_argument
    add('odgt', metavar='ODGT', help='annotation file')
    add('img_dir', metavar='IMG_DIR', help='folder of the images')
    add_destination(parser)
    return run_tool(from_crowdhuman, parser, argv, progress=True)


if __name__ == '__main__':
    raise SystemExit(main())
