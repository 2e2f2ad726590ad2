"""Import referring expressions, captions with phrases, or described objects into a lake.

There is one row per sample of the stock dataset: per expression (``mdetr``), caption
(``flickr30k``) or image (``refcoco``, ``dod``). Its boxes and masks are columns as in any
lake; the texts and what belongs to them are in the column ``grounding``. An image of
which several rows speak is stored with each of them, so that every row stands for itself.

All input is checked before anything is written; see ``lake/writer.py`` for what a failure
leaves behind. Pickles are read without running what they might hold.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..lake import LakeLayout, check_dest, names, write_lake
from ..structures.masks import pack_segmentations
from ..utils.values import check_choice
from ._cli import (
    add_destination,
    make_parser,
    run_tool,
    with_progress,
)
from .formats.grounding.dod import read_dod
from .formats.grounding.images import GroundedImage, GroundedImages
from .formats.grounding.mdetr import read_expressions, read_phrases
from .formats.grounding.refcoco import TEXT_MODES, read_refcoco
from .formats.images import image_compression

# Format -> options that it needs.
FORMATS: dict[str, tuple[str, ...]] = {
    'mdetr': (),
    'flickr30k': (),
    'refcoco': ('refs', 'split'),
    'dod': ('anno_dir',),
}


def from_grounding(
    form: str,
    ann_file: str | os.PathLike[str],
    img_dir: str | os.PathLike[str],
    dest: str | os.PathLike[str],
    refs: str | os.PathLike[str] | None = None,
    split: str | None = None,
    text_mode: str = TEXT_MODES[0],
    anno_dir: str | os.PathLike[str] | None = None,
    overwrite: bool = False,
    progress: bool = False,
    credentials: Any = None,
) -> str:
    """Import an annotation file and its images.

    Args:
        form: ``'mdetr'`` (as ``MDETRStyleRefCocoDataset`` reads it), ``'flickr30k'``
            (``Flickr30kDataset``), ``'refcoco'`` (``RefCocoDataset``) or ``'dod'``
            (``DODDataset``).
        ann_file: JSON file of the format.
        img_dir: Folder to which the file names are relative.
        dest: Any Deep Lake URL to write to.
        refs: ``refcoco``: pickle of the expressions.
        split: ``refcoco``: name of the split.
        text_mode: ``refcoco``: ``'select_first'``, ``'original'``, ``'concat'`` or
            ``'random'``.
        anno_dir: ``dod``: folder of ``sentences.pkl``, ``images.pkl``, ``groups.pkl``.
        overwrite: Whether to replace an existing lake. Defaults to False.
        progress: Whether to draw a progress bar on stderr. Defaults to False.
        credentials: ``deeplake_credentials`` of a config, for ``dest``. Defaults to
            None: from the environment.

    Returns:
        A sentence that says what was written.

    Raises:
        FileExistsError: If ``dest`` already exists.
        FileNotFoundError: If a file or an image is missing.
        ValueError: If an option is missing or belongs to another format, a file is not
            one of the format, or a file is not an image.
        OSError: If the storage fails.
    """
    check_choice('FORMAT', form, FORMATS)
    check_choice('--text-mode', text_mode, TEXT_MODES)
    given = {'refs': refs, 'split': split, 'anno_dir': anno_dir}
    _check_options(form, given)
    path, folder, url = Path(ann_file), Path(img_dir), os.fspath(dest)
    check_dest(url, overwrite, credentials)
    content: GroundedImages
    if form == 'refcoco':
        content = read_refcoco(path, Path(refs or ''), split or '', text_mode)
    elif form == 'dod':
        content = read_dod(path, Path(anno_dir or ''))
    else:
        content = {'mdetr': read_expressions, 'flickr30k': read_phrases}[form](path)
    images = content.images
    has_masks = any(image.masks for image in images)
    files = list(dict.fromkeys(image.file_name for image in images))
    layout = LakeLayout(
        converter='from_grounding',
        annotation_style='grounding',
        box_format='ltwh',
        image_compression=image_compression(folder, files),
        class_names=content.class_names,
        per_box={names.ISCROWD: 'uint8'},
        text_ids=isinstance(images[0].img_id, str),
        texts=(names.GROUNDING, *((names.SEGMENTATION,) if has_masks else ())),
        metadata={names.CATEGORIES: {names.CATEGORY_IDS: content.category_ids}},
    )
    count = sum(len(image.boxes) for image in images)
    summary = (
        f'{len(images)} samples of {len(files)} images, {count} boxes from {path.name}'
    )
    rows = with_progress(_rows(folder, images), len(images), 'writing images', progress)
    write_lake(url, layout, rows, f'Imported {summary}', overwrite, credentials)
    return f'{url}: wrote {summary}'


def _check_options(form: str, given: dict[str, Any]) -> None:
    for key, value in given.items():
        option = f'--{key.replace("_", "-")}'
        if key in FORMATS[form] and value is None:
            raise ValueError(
                f'{option} must be set for the format {form}; write {option}'
            )
        if key not in FORMATS[form] and value is not None:
            owner = next(each for each, keys in FORMATS.items() if key in keys)
            raise ValueError(
                f'{option} has no meaning for the format {form}; remove it (it belongs '
                f'to {owner})'
            )


def _rows(folder: Path, images: Sequence[GroundedImage]) -> Iterator[dict[str, Any]]:
    for image in images:
        count = len(image.boxes)
        yield {
            names.IMAGES: (folder / image.file_name).read_bytes(),
            names.BOXES: np.array(image.boxes, np.float64).reshape(-1, 4),
            names.CATEGORIES: np.array(image.labels, np.int32),
            names.ISCROWD: np.array(image.crowds or [0] * count, np.uint8),
            names.GROUNDING: json.dumps(image.keys, ensure_ascii=False),
            names.SEGMENTATION: pack_segmentations(image.masks or [None] * count),
            names.IMAGE_ID: image.img_id,
            names.FILE_NAME: image.file_name,
            names.WIDTH: image.width,
            names.HEIGHT: image.height,
        }


def main(argv: Sequence[str] | None = None) -> int:
    """Run :func:`from_grounding` from the command line and return the exit code."""
    parser = make_parser(
        'from_grounding',
        'Import images and texts that name what they show into a Deep Lake dataset.',
        'mdetr mdetr_annotations/finetune_refcoco_val.json train2014 lakes/refcoco_val',
    )
    add = parser.add_argument
    add('form', metavar='FORMAT', help=', '.join(FORMATS))
    add('ann_file', metavar='ANN_FILE', help='JSON file of the format')
    add('img_dir', metavar='IMG_DIR', help='folder of the images')
    add_destination(parser)
    add('--refs', metavar='FILE', help='refcoco: pickle of the expressions')
    add('--split', metavar='NAME', help='refcoco: name of the split')
    add(
        '--text-mode',
        default=TEXT_MODES[0],
        metavar='MODE',
        help=f'refcoco: {", ".join(TEXT_MODES)} (default: the first)',
    )
    add('--anno-dir', metavar='DIR', help='dod: folder of the pickles')
    return run_tool(from_grounding, parser, argv, progress=True)


if __name__ == '__main__':
    raise SystemExit(main())
