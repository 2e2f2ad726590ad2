"""Import one split of CrowdHuman into a lake.

There is one row per line of the file. The full boxes of persons are the boxes of the
lake; the visible boxes and those of the heads are columns of their own. Masks, and what
is marked ``ignore``, keep their boxes with the flag ``iscrowd``: training ignores them,
as with MMDetection's ``CrowdHumanDataset``, and so does the metric. Image bytes are
stored as they are in the files.

All input is checked before anything is written; see ``lake/writer.py`` for what a failure
leaves behind.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..lake import LakeLayout, check_dest, names, write_lake
from ._cli import (
    add_destination,
    make_parser,
    run_tool,
    with_progress,
)
from .formats.crowdhuman import CrowdHumanImage, read_odgt
from .formats.images import image_compression, stored_size


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
        credentials: ``deeplake_credentials`` of a config, for ``dest``. Defaults to
            None: from the environment.

    Returns:
        A sentence that says what was written.

    Raises:
        FileExistsError: If ``dest`` already exists.
        FileNotFoundError: If the file or an image is missing.
        ValueError: If a line is not an annotation of CrowdHuman, an id occurs twice, or a
            file is not an image.
        OSError: If the storage fails.
    """
    path, folder, url = Path(odgt), Path(img_dir), os.fspath(dest)
    check_dest(url, overwrite, credentials)
    images = read_odgt(path)
    files = [f'{image.image_id}.jpg' for image in images]
    layout = LakeLayout(
        converter='from_crowdhuman',
        annotation_style='crowdhuman',
        box_format='ltwh',
        image_compression=image_compression(folder, files),
        class_names=['person'],
        per_box={names.ISCROWD: 'uint8', names.HEAD_IGNORE: 'uint8'},
        text_ids=True,
        extra_boxes=(names.HEAD_BOXES, names.VISIBLE_BOXES),
    )
    ignored = sum(int(image.ignored.sum()) for image in images)
    persons = sum(len(image.ignored) for image in images) - ignored
    summary = (
        f'{len(images)} images, {persons} persons, {ignored} ignored boxes from '
        f'{path.name}'
    )
    rows = with_progress(_rows(folder, images), len(images), 'writing images', progress)
    write_lake(url, layout, rows, f'Imported {summary}', overwrite, credentials)
    return f'{url}: wrote {summary}'


def _rows(folder: Path, images: list[CrowdHumanImage]) -> Iterator[dict[str, Any]]:
    for image in images:
        name = f'{image.image_id}.jpg'
        content = (folder / name).read_bytes()
        width, height = stored_size(content, name)
        yield {
            names.IMAGES: content,
            names.BOXES: image.boxes['fbox'],
            names.VISIBLE_BOXES: image.boxes['vbox'],
            names.HEAD_BOXES: image.boxes['hbox'],
            names.CATEGORIES: np.zeros(len(image.ignored), np.int32),
            names.ISCROWD: image.ignored,
            names.HEAD_IGNORE: image.head_ignored,
            names.IMAGE_ID: image.image_id,
            names.FILE_NAME: name,
            names.WIDTH: width,
            names.HEIGHT: height,
        }


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
