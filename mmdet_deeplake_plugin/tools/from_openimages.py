"""Import one split of OpenImages, or of its challenge, into a lake.

There is one row per image that has boxes, in the order of the file, as in MMDetection's
``OpenImagesDataset``. Flags of boxes, verified labels of images and the hierarchy of the
classes are kept, which the metric needs. Image bytes are stored as they are in the files;
sizes come from the images, so the files of image metas are not needed.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..lake import LakeLayout, names
from ..utils.ragged import offsets_of
from ._cli import add_destination, make_parser, run_tool
from ._converter import AnnotatedImage, Destination
from .formats.images import image_compression
from .formats.openimages import (
    ImageLabels,
    OpenImagesBoxes,
    read_boxes,
    read_challenge,
    read_classes,
    read_hierarchy,
    read_image_labels,
)


def from_openimages(
    ann_file: str | os.PathLike[str],
    img_dir: str | os.PathLike[str],
    dest: str | os.PathLike[str],
    label_file: str | os.PathLike[str],
    hierarchy_file: str | os.PathLike[str],
    image_labels: str | os.PathLike[str] | None = None,
    overwrite: bool = False,
    progress: bool = False,
    credentials: Any = None,
) -> str:
    """Import the images of a file of boxes.

    Args:
        ann_file: Boxes: a CSV file, or the ``.txt`` file of the challenge.
        img_dir: Folder of the images.
        dest: Any Deep Lake URL to write to.
        label_file: Descriptions of the classes, in the order of the labels.
        hierarchy_file: Hierarchy of the classes: JSON, or the array of the challenge.
        image_labels: CSV file of the labels of images that people verified. Defaults to
            None: the metric then takes the classes of the boxes for all that is known.
        overwrite: Whether to replace an existing lake. Defaults to False.
        progress: Whether to draw progress bars on stderr. Defaults to False.
        credentials: ``deeplake_credentials`` for ``dest``. Defaults to the environment.

    Returns:
        A sentence that says what was written.

    Raises:
        FileExistsError: If ``dest`` already exists.
        FileNotFoundError: If a file or an image is missing.
        ValueError: If a file is not one of OpenImages, or they do not fit together.
        OSError: If the storage fails.
    """
    path, folder = Path(ann_file), Path(img_dir)
    target = Destination(dest, overwrite, progress, credentials)
    is_challenge = path.suffix == '.txt'
    class_names, label_of = read_classes(Path(label_file), is_challenge)
    hierarchy = read_hierarchy(Path(hierarchy_file), label_of)
    verified = read_image_labels(Path(image_labels), label_of) if image_labels else None
    if is_challenge:
        boxes = read_challenge(path, len(class_names))
    else:
        boxes = read_boxes(path, label_of)
    layout = LakeLayout(
        converter='from_openimages',
        annotation_style='openimages',
        box_format='ltrb',
        image_compression=image_compression(folder, boxes.files),
        class_names=class_names,
        per_box=dict.fromkeys(boxes.flags, 'uint8'),
        text_ids=True,
        per_image={names.IMAGE_LABELS: 'int64', names.CONFIDENCES: 'float32'}
        if verified is not None
        else {},
        metadata={names.CATEGORIES: {names.HIERARCHY: json.dumps(hierarchy)}},
    )
    count = len(boxes.files)
    summary = (
        f'{count} images, {len(boxes.labels)} boxes, {len(class_names)} classes from '
        f'{path.name}'
    )
    images = _images(boxes, verified)
    return target.write(layout, folder, images, count, summary, in_fractions=True)


def _images(
    boxes: OpenImagesBoxes, verified: ImageLabels | None
) -> Iterator[AnnotatedImage]:
    offsets = offsets_of(boxes.counts)
    corners = np.array(boxes.corners).reshape(-1, 4)
    for index, name in enumerate(boxes.files):
        part = slice(*offsets[index : index + 2])
        image_id = Path(name).stem
        flags = {flag: values[part] for flag, values in boxes.flags.items()}
        pairs = (verified or {}).get(image_id, [])
        columns = {
            **flags,
            names.IMAGE_LABELS: [pair[0] for pair in pairs],
            names.CONFIDENCES: [pair[1] for pair in pairs],
        }
        labels = boxes.labels[part]
        yield AnnotatedImage(image_id, name, corners[part], labels, None, columns)


def main(argv: Sequence[str] | None = None) -> int:
    """Run :func:`from_openimages` from the command line and return the exit code."""
    parser = make_parser(
        'from_openimages',
        'Import one split of OpenImages into a Deep Lake dataset.',
        'validation-annotations-bbox.csv validation lakes/oid_val '
        '--label-file class-descriptions-boxable.csv '
        '--hierarchy-file bbox_labels_600_hierarchy.json',
    )
    add = parser.add_argument
    add('ann_file', metavar='ANN_FILE', help='boxes: CSV, or .txt of the challenge')
    add('img_dir', metavar='IMG_DIR', help='folder of the images')
    add_destination(parser)
    add('--label-file', required=True, metavar='CSV', help='descriptions of the classes')
    add('--hierarchy-file', required=True, metavar='FILE', help='JSON, or .np')
    add('--image-labels', metavar='CSV', help='verified labels of images')
    return run_tool(from_openimages, parser, argv, progress=True)


if __name__ == '__main__':
    raise SystemExit(main())
