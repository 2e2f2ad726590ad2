"""Import referring expressions, captions with phrases, or described objects into a lake.

There is one row per sample of the stock dataset: per expression (``mdetr``), caption
(``flickr30k``) or image (``refcoco``, ``dod``). Its boxes and masks are columns as in any
lake; the texts and what belongs to them are in the column ``grounding``. An image of
which several rows speak is stored with each of them, so that every row stands for itself.

Pickles are read without running what they might hold.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..lake import LakeLayout, names
from ..utils.values import check_choice
from ._cli import add_destination, make_parser, run_tool
from ._converter import Destination
from .formats.grounding.dod import read_dod
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
        credentials: ``deeplake_credentials`` for ``dest``. Defaults to the environment.

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
    _check_options(form, refs=refs, split=split, anno_dir=anno_dir)
    path, folder = Path(ann_file), Path(img_dir)
    target = Destination(dest, overwrite, progress, credentials)
    categories = {1: 'object'}
    if form == 'refcoco':
        images = read_refcoco(path, Path(refs or ''), split or '', text_mode)
    elif form == 'dod':
        images, categories = read_dod(path, Path(anno_dir or ''))
    else:
        images = {'mdetr': read_expressions, 'flickr30k': read_phrases}[form](path)
    files = list(dict.fromkeys(image.file_name for image in images))
    layout = LakeLayout(
        converter='from_grounding',
        annotation_style='grounding',
        box_format='ltwh',
        image_compression=image_compression(folder, files),
        class_names=list(categories.values()),
        per_box={names.ISCROWD: 'uint8'},
        text_ids=isinstance(images[0].image_id, str),
        texts=(names.GROUNDING, *((names.SEGMENTATION,) if form == 'refcoco' else ())),
        metadata={names.CATEGORIES: {names.CATEGORY_IDS: list(categories)}},
    )
    count = sum(len(image.labels) for image in images)
    summary = (
        f'{len(images)} samples of {len(files)} images, {count} boxes from {path.name}'
    )
    return target.write(layout, folder, images, len(images), summary)


def _check_options(form: str, **given: Any) -> None:
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
