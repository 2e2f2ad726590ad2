"""Read RefCOCO in its original form: masks of COCO, and a pickle of their expressions."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

from ....lake import names
from ....structures.masks import pack_segmentations, segmentation_problem
from ....utils.values import shown
from ..._converter import AnnotatedImage
from ..checks import LTWH, check_box, image_size, key_of, read_json, read_pickle
from .images import text_columns

TEXT_MODES = ('select_first', 'original', 'concat', 'random')


def read_refcoco(
    path: Path, refs: Path, split: str, text_mode: str
) -> list[AnnotatedImage]:
    """Read one split, as ``RefCocoDataset`` does.

    Args:
        path: ``instances.json``.
        refs: Pickle with the expressions, such as ``refs(unc).p``.
        split: Name of the split, such as ``val``.
        text_mode: Which of an object's expressions are taken, as in ``RefCocoDataset``:
            the first, all, all as one text, or one at random.
    """
    content = read_json(path)
    wanted = 'a list of objects with an id'
    images, annotations = (
        _by_id(key_of(content, key, list, str(path), wanted), f'{path}: {key}')
        for key in ('images', 'annotations')
    )
    records = read_pickle(refs, '--refs')
    if not isinstance(records, list):
        raise ValueError(f'{refs} must be a list of expressions, got {shown(records)}')
    # An annotation that several records speak of has the place of the first of them, and
    # the texts of the last.
    texts: dict[Any, list[str]] = {}
    splits = set()
    for index, record in enumerate(records):
        where = f'{refs}: [{index}]'
        splits.add(key_of(record, 'split', str, where, 'the name of a split'))
        if record['split'] == split:
            ann_id = key_of(record, 'ann_id', int, where, 'the id of an annotation')
            if ann_id not in annotations:
                raise ValueError(f'{where}: ann_id {ann_id} is not in {path}')
            texts[ann_id] = _texts(record, where)
    if not texts:
        raise ValueError(
            f'--split must be one that {refs} has, {", ".join(sorted(splits))}, got '
            f'{split!r}'
        )
    by_image: dict[Any, list[Any]] = {}
    for ann_id in texts:
        where = f'{path}: the annotation {ann_id}'
        image_id = key_of(annotations[ann_id], 'image_id', int, where, 'an image id')
        if image_id not in images:
            raise ValueError(f'{where}: image_id {image_id} is not in images')
        by_image.setdefault(image_id, []).append(ann_id)
    # The stock dataset has the order of a set that is made of a list.
    return [
        _image(images[each], by_image[each], annotations, texts, text_mode, path)
        for each in set(list(by_image))
    ]


def _by_id(records: list[Any], where: str) -> dict[Any, dict[str, Any]]:
    return {
        key_of(record, 'id', int, f'{where}[{index}]', 'an integer'): record
        for index, record in enumerate(records)
    }


def _texts(record: dict[str, Any], where: str) -> list[str]:
    sentences = key_of(record, 'sentences', list, where, 'a list of sentences')
    texts = [
        key_of(each, 'raw', str, f'{where}: sentences[{index}]', 'a text').lower()
        for index, each in enumerate(sentences)
    ]
    if not texts:
        raise ValueError(f'{where}: sentences must have at least one, got []')
    return texts


def _chosen(texts: list[str], text_mode: str) -> list[str]:
    if text_mode == 'random':
        return [texts[random.randint(0, len(texts) - 1)]]
    if text_mode == 'concat':
        return [''.join(texts)]
    return texts[:1] if text_mode == 'select_first' else texts


def _image(
    image: dict[str, Any],
    ann_ids: list[Any],
    annotations: dict[Any, dict[str, Any]],
    texts: dict[Any, list[str]],
    text_mode: str,
    path: Path,
) -> AnnotatedImage:
    where = f'{path}: the image {image["id"]}'
    file_name = key_of(image, 'file_name', str, where, 'the path of the image')
    size = image_size(image, where)
    boxes, masks, sentences = [], [], []
    for ann_id in ann_ids:
        place, annotation = f'{path}: the annotation {ann_id}', annotations[ann_id]
        mask = annotation.get('segmentation')
        problem = segmentation_problem(mask, *size) if mask else 'it has none'
        if problem:
            raise ValueError(f'{place} must have a valid segmentation: {problem}')
        box = check_box(annotation.get('bbox'), LTWH, f'{place}: bbox')
        # Each text has its own copy of the object.
        chosen = _chosen(texts[ann_id], text_mode)
        boxes += [box] * len(chosen)
        masks += [mask] * len(chosen)
        sentences += chosen
    none = [0] * len(boxes)
    columns = text_columns({'text': sentences}, none)
    columns[names.SEGMENTATION] = pack_segmentations(masks)
    return AnnotatedImage(image['id'], file_name, boxes, none, size, columns)
