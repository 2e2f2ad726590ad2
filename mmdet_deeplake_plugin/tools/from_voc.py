"""Import one split of a Pascal VOC dataset into a lake.

There is one row per image, in the order of the split file, also for images without
objects. Boxes are read as in MMDetection's ``XMLDataset``: corners in whole pixels, minus
1 (unless told otherwise). Objects of other classes are dropped, as there, and the log
says how many; ``difficult`` objects are kept with their flag. Image bytes are stored as
they are in the files.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import cv2

from ..lake import LakeLayout, names
from ..utils.messages import warn
from ._cli import (
    add_destination,
    comma_list,
    make_parser,
    run_tool,
    with_progress,
)
from ._converter import AnnotatedImage, Destination
from .formats.images import check_files, image_compression
from .formats.voc import VocAnnotation, read_split, read_voc


def from_voc(
    voc_root: str | os.PathLike[str],
    split: str | os.PathLike[str],
    dest: str | os.PathLike[str],
    classes: Sequence[str] | None = None,
    img_subdir: str = 'JPEGImages',
    ann_subdir: str = 'Annotations',
    overwrite: bool = False,
    progress: bool = False,
    image_folders: bool = False,
    minus_one: bool = True,
    credentials: Any = None,
) -> str:
    """Import the images of one split and their annotations.

    Args:
        voc_root: Folder with ``img_subdir``, ``ann_subdir`` and ``ImageSets``.
        split: Name of a split, read from ``ImageSets/Main/<split>.txt``, or the path of a
            ``.txt`` file. Each line is an image id: the stem of ``<img_subdir>/<id>.jpg``
            and of ``<ann_subdir>/<id>.xml``.
        dest: Any Deep Lake URL to write to.
        classes: Class names in the order of the labels. Defaults to None: all names in
            the split, sorted.
        img_subdir: Folder of the images. Defaults to ``'JPEGImages'``.
        ann_subdir: Folder of the XML files. Defaults to ``'Annotations'``.
        overwrite: Whether to replace an existing lake. Defaults to False.
        progress: Whether to draw progress bars on stderr. Defaults to False.
        image_folders: Whether images are in the folder that ``<folder>`` of their XML
            file names, below ``img_subdir``, as those of WIDER Face. Defaults to False.
        minus_one: Whether the first pixel is 1, which is VOC's convention. WIDER Face
            counts from 0. Defaults to True.
        credentials: ``deeplake_credentials`` for ``dest``. Defaults to the environment.

    Returns:
        A sentence that says what was written.

    Raises:
        FileExistsError: If ``dest`` already exists.
        FileNotFoundError: If the split file, an XML file or an image is missing.
        ValueError: If the split is empty or repeats an id, an XML file is not a valid VOC
            annotation or does not name the folder, or the classes are unknown.
        OSError: If the storage fails.
    """
    root = Path(voc_root)
    target = Destination(dest, overwrite, progress, credentials)
    split_file, image_ids = read_split(root, os.fspath(split))
    files = {image_id: f'{img_subdir}/{image_id}.jpg' for image_id in image_ids}
    if not image_folders:
        compression = image_compression(root, list(files.values()))
    check_files(root / ann_subdir, [f'{i}.xml' for i in image_ids], 'XML files')
    ids = with_progress(image_ids, len(image_ids), 'reading XML files', progress)
    annotations = {i: read_voc(root / ann_subdir / f'{i}.xml') for i in ids}
    if image_folders:
        for image_id, annotation in annotations.items():
            if not annotation.folder:
                raise ValueError(
                    f'the XML file of {image_id!r} must name the folder of its image in '
                    '<folder>; add it, or remove --image-folders'
                )
            place = Path(img_subdir, annotation.folder, f'{image_id}.jpg')
            files[image_id] = place.as_posix()
        compression = image_compression(root, list(files.values()))
    counts = Counter(item.name for ann in annotations.values() for item in ann.objects)
    class_names = _class_names(counts, classes)
    layout = LakeLayout(
        converter='from_voc',
        annotation_style='voc',
        box_format='ltrb',
        image_compression=compression,
        class_names=class_names,
        per_box={names.DIFFICULT: 'uint8'},
        text_ids=True,
    )
    num_boxes = sum(counts[name] for name in class_names)
    summary = (
        f'{len(image_ids)} images, {num_boxes} boxes, {len(class_names)} classes '
        f'from {split_file.name}'
    )
    images = _images(root, files, annotations, class_names, minus_one)
    return target.write(layout, root, images, len(image_ids), summary)


def _class_names(counts: Counter[str], classes: Sequence[str] | None) -> list[str]:
    class_names = sorted(counts) if classes is None else list(classes)
    if not class_names:
        raise ValueError('the split contains no objects; pass --classes NAME,NAME')
    if len(set(class_names)) < len(class_names):
        raise ValueError(f'--classes must be distinct, got {", ".join(class_names)}')
    dropped = {name: n for name, n in sorted(counts.items()) if name not in class_names}
    if dropped:
        warn(
            f'Dropping {sum(dropped.values())} objects that are not of --classes: '
            + ', '.join(f'{n} {name}' for name, n in dropped.items()),
        )
    return class_names


def _images(
    root: Path,
    files: dict[str, str],
    annotations: dict[str, VocAnnotation],
    class_names: list[str],
    minus_one: bool,
) -> Iterator[AnnotatedImage]:
    labels = {name: label for label, name in enumerate(class_names)}
    for image_id, file_name in files.items():
        annotation = annotations[image_id]
        objects = [item for item in annotation.objects if item.name in labels]
        yield AnnotatedImage(
            image_id,
            file_name,
            [[value - minus_one for value in item.corners] for item in objects],
            [labels[item.name] for item in objects],
            annotation.size or _decoded_size(root, file_name),
            {names.DIFFICULT: [item.difficult for item in objects]},
        )


def _decoded_size(root: Path, file_name: str) -> tuple[int, int]:
    """Return width and height as the stock pipelines see them, EXIF rotation included."""
    pixels = cv2.imread(str(root / file_name), cv2.IMREAD_COLOR)
    if pixels is None:
        raise ValueError(f'{file_name} cannot be decoded, and its XML file has no <size>')
    return pixels.shape[1], pixels.shape[0]


def main(argv: Sequence[str] | None = None) -> int:
    """Run :func:`from_voc` from the command line and return the exit code."""
    parser = make_parser(
        'from_voc',
        'Import one split of a Pascal VOC dataset into a Deep Lake dataset.',
        'VOCdevkit/VOC2007 trainval lakes/voc07',
    )
    add = parser.add_argument
    add('voc_root', metavar='VOC_ROOT', help='folder of the dataset')
    add(
        'split',
        metavar='SPLIT',
        help='name of a file in ImageSets/Main, or path of a .txt file',
    )
    add_destination(parser)
    add(
        '--classes',
        type=comma_list,
        metavar='A,B,C',
        help='class names in the order of the labels (default: all, sorted)',
    )
    add('--img-subdir', default='JPEGImages', help='image folder (default: %(default)s)')
    add('--ann-subdir', default='Annotations', help='XML folder (default: %(default)s)')
    add(
        '--image-folders',
        action='store_true',
        help='images are in the folder that <folder> names (WIDER Face)',
    )
    add(
        '--no-minus-one',
        dest='minus_one',
        action='store_false',
        help='the first pixel is 0, not 1 (WIDER Face)',
    )
    return run_tool(from_voc, parser, argv, progress=True)


if __name__ == '__main__':
    raise SystemExit(main())
