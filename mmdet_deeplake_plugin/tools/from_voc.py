"""Imports one split of a Pascal VOC data set into a Deep Lake dataset.

One row an image, in the order of the split file, also for images without
objects. Boxes are what MMDetection's ``XMLDataset`` makes of the XML: corners in
whole pixels, minus 1. Objects of other classes are dropped, as there, and
counted in the log; ``difficult`` objects are kept with their flag. Image bytes
are stored as they are in the files.

All input is checked before anything is written. On a local disk a failure or an
interrupt leaves an existing lake as it was and no half-written one; for other
storage see ``lake/writer.py``.
"""

from __future__ import annotations

import logging
import os
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from mmengine.logging import print_log

from mmdet_deeplake_plugin.lake.writer import LakeLayout, check_dest, write_lake
from mmdet_deeplake_plugin.tools._cli import (
    comma_list,
    make_parser,
    run_tool,
    with_progress,
)
from mmdet_deeplake_plugin.tools.formats.images import image_compression
from mmdet_deeplake_plugin.tools.formats.voc import VocAnnotation, read_voc


def from_voc(
    voc_root: str | os.PathLike[str],
    split: str | os.PathLike[str],
    dest: str | os.PathLike[str],
    classes: Sequence[str] | None = None,
    img_subdir: str = 'JPEGImages',
    ann_subdir: str = 'Annotations',
    overwrite: bool = False,
    progress: bool = False,
) -> str:
    """Imports the images of one split and their annotations.

    Args:
        voc_root: Folder with ``img_subdir``, ``ann_subdir`` and ``ImageSets``.
        split: Name of a split, read from ``ImageSets/Main/<split>.txt``, or the
            path of a ``.txt`` file. Each line is an image id: the stem of
            ``<img_subdir>/<id>.jpg`` and of ``<ann_subdir>/<id>.xml``.
        dest: Where to write: any Deep Lake url.
        classes: Class names in the order of the labels. Defaults to None: all
            names of the split, sorted.
        img_subdir: Folder of the images. Defaults to ``'JPEGImages'``.
        ann_subdir: Folder of the XML files. Defaults to ``'Annotations'``.
        overwrite: Whether an existing lake is replaced. Defaults to False.
        progress: Whether to draw progress bars on stderr. Defaults to False.

    Returns:
        A sentence that says what was written.

    Raises:
        FileExistsError: If ``dest`` is taken.
        FileNotFoundError: If the split file, an XML file or an image is missing.
        ValueError: If the split is empty or repeats an id, an XML file is not a
            valid VOC annotation, or no class is known.
        OSError: If the storage fails.
    """
    root, url = Path(voc_root), os.fspath(dest)
    check_dest(url, overwrite)
    split_file = _split_file(root, os.fspath(split))
    image_ids = _read_split(split_file)
    names = {image_id: f'{img_subdir}/{image_id}.jpg' for image_id in image_ids}
    compression = image_compression(root, list(names.values()))
    annotations = _read_annotations(root / ann_subdir, image_ids, progress)
    class_names = _class_names(annotations, classes)
    layout = LakeLayout(
        converter='from_voc',
        annotation_style='voc',
        box_format='ltrb',
        image_compression=compression,
        class_names=class_names,
        per_box={'difficult': 'uint8'},
        text_ids=True,
    )
    known = set(class_names)
    num_boxes = sum(
        item.name in known for ann in annotations.values() for item in ann.objects
    )
    summary = (
        f'{len(image_ids)} images, {num_boxes} boxes, {len(class_names)} classes '
        f'from {split_file.name}'
    )
    rows = _rows(root, names, annotations, class_names)
    rows = with_progress(rows, len(image_ids), 'writing images', progress)
    write_lake(url, layout, rows, f'Imported {summary}', overwrite)
    return f'{url}: wrote {summary}'


def _split_file(root: Path, split: str) -> Path:
    path = Path(split)
    if path.suffix != '.txt':
        path = root / 'ImageSets' / 'Main' / f'{split}.txt'
    if not path.is_file():
        raise FileNotFoundError(
            f'split file {path} does not exist; give the name of a file in '
            f'{root / "ImageSets" / "Main"} or the path of a .txt file'
        )
    return path


def _read_split(split_file: Path) -> list[str]:
    lines = split_file.read_text(encoding='utf-8').splitlines()
    image_ids = [line.strip() for line in lines if line.strip()]
    if not image_ids:
        raise ValueError(f'split file {split_file} is empty: there is nothing to convert')
    repeated = [name for name, count in Counter(image_ids).items() if count > 1]
    if repeated:
        raise ValueError(
            f'split file {split_file} names {len(repeated)} images more than once; '
            f'the first is {repeated[0]!r}'
        )
    return image_ids


def _read_annotations(
    folder: Path, image_ids: list[str], progress: bool
) -> dict[str, VocAnnotation]:
    missing = [name for name in image_ids if not (folder / f'{name}.xml').is_file()]
    if missing:
        raise FileNotFoundError(
            f'{len(missing)} of {len(image_ids)} XML files are missing in {folder}; '
            f'the first is {missing[0] + ".xml"!r}'
        )
    ids = with_progress(image_ids, len(image_ids), 'reading XML files', progress)
    return {image_id: read_voc(folder / f'{image_id}.xml') for image_id in ids}


def _class_names(
    annotations: dict[str, VocAnnotation], classes: Sequence[str] | None
) -> list[str]:
    found = Counter(item.name for ann in annotations.values() for item in ann.objects)
    class_names = sorted(found) if classes is None else list(classes)
    if not class_names:
        raise ValueError('the split holds no objects: pass --classes NAME,NAME')
    if len(set(class_names)) < len(class_names):
        raise ValueError(f'--classes names a class twice: {", ".join(class_names)}')
    dropped = {name: n for name, n in sorted(found.items()) if name not in class_names}
    if dropped:
        counts = ', '.join(f'{n} {name}' for name, n in dropped.items())
        print_log(
            f'{sum(dropped.values())} objects are not of --classes and are dropped: '
            f'{counts}',
            logger='current',
            level=logging.WARNING,
        )
    return class_names


def _rows(
    root: Path,
    names: dict[str, str],
    annotations: dict[str, VocAnnotation],
    class_names: list[str],
) -> Iterator[dict[str, Any]]:
    labels = {name: label for label, name in enumerate(class_names)}
    for image_id, file_name in names.items():
        annotation = annotations[image_id]
        objects = [item for item in annotation.objects if item.name in labels]
        image = (root / file_name).read_bytes()
        width, height = annotation.size or _decoded_size(image, file_name)
        corners = np.array([item.corners for item in objects], np.float64)
        yield {
            'images': image,
            # VOC counts pixels from 1.
            'boxes': corners.reshape(-1, 4) - 1,
            'categories': np.array([labels[item.name] for item in objects], np.int32),
            'difficult': np.array([item.difficult for item in objects], np.uint8),
            'image_id': image_id,
            'file_name': file_name,
            'width': width,
            'height': height,
        }


def _decoded_size(image: bytes, file_name: str) -> tuple[int, int]:
    """Width and height as the stock pipelines see them, EXIF rotation included."""
    pixels = cv2.imdecode(np.frombuffer(image, np.uint8), cv2.IMREAD_COLOR)
    if pixels is None:
        raise ValueError(
            f'{file_name} cannot be decoded, and its XML file has no <size> either'
        )
    return pixels.shape[1], pixels.shape[0]


def main(argv: Sequence[str] | None = None) -> int:
    """Command line of :func:`from_voc`; returns the exit code."""
    parser = make_parser(
        'from_voc',
        'Imports one split of a Pascal VOC data set into a Deep Lake dataset.',
        'VOCdevkit/VOC2007 trainval lakes/voc07',
    )
    parser.add_argument('voc_root', metavar='VOC_ROOT', help='folder of the data set')
    parser.add_argument(
        'split',
        metavar='SPLIT',
        help='name of a file in ImageSets/Main, or path of a .txt file',
    )
    parser.add_argument('dest', metavar='DEST', help='any Deep Lake url')
    parser.add_argument(
        '--classes',
        type=comma_list,
        metavar='A,B,C',
        help='class names in the order of the labels (default: all, sorted)',
    )
    parser.add_argument(
        '--img-subdir', default='JPEGImages', help='image folder (default: %(default)s)'
    )
    parser.add_argument(
        '--ann-subdir', default='Annotations', help='XML folder (default: %(default)s)'
    )
    parser.add_argument(
        '--overwrite', action='store_true', help='replace the lake at DEST'
    )
    args = parser.parse_args(argv)
    return run_tool(
        lambda: from_voc(
            args.voc_root,
            args.split,
            args.dest,
            classes=args.classes,
            img_subdir=args.img_subdir,
            ann_subdir=args.ann_subdir,
            overwrite=args.overwrite,
            progress=True,
        )
    )


if __name__ == '__main__':
    raise SystemExit(main())
