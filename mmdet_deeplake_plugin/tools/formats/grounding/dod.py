"""Read the Description Detection Dataset (D-cube): boxes, and pickles of descriptions."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ....utils.values import shown
from ..._converter import AnnotatedImage
from ..checks import LTWH, check_box, image_size, key_of, read_json, read_pickle
from .images import text_columns


def read_dod(path: Path, folder: Path) -> tuple[list[AnnotatedImage], dict[int, str]]:
    """Read the images and descriptions, as ``DODDataset`` does.

    Args:
        path: Boxes, such as ``d3_full_annotations.json``.
        folder: Folder of ``sentences.pkl``, ``images.pkl`` and ``groups.pkl``.

    Returns:
        The images, and the name of each category id.
    """
    sentences, images, groups = (
        _records(folder / f'{name}.pkl') for name in ('sentences', 'images', 'groups')
    )
    where = str(folder / 'sentences.pkl')
    names = [
        key_of(record, 'raw_sent', str, f'{where}: {number}', 'a text')
        for number, record in sentences.items()
    ]
    if list(sentences) != list(range(1, len(names) + 1)) or len(set(names)) < len(names):
        raise ValueError(
            f'{where} must have the ids 1, 2, … in this order, and distinct texts, got '
            f'{shown(list(sentences))}'
        )
    content = read_json(path)
    annotations = key_of(content, 'annotations', list, str(path), 'a list of annotations')
    by_image: dict[Any, list[tuple[list[float], int]]] = {each: [] for each in images}
    for index, annotation in enumerate(annotations):
        place = f'{path}: annotations[{index}]'
        found = annotation.get('bbox') if isinstance(annotation, dict) else None
        box = check_box(found, LTWH, f'{place}: bbox')
        image_id = key_of(annotation, 'image_id', int, place, 'the id of an image')
        if image_id not in by_image:
            raise ValueError(
                f'{place}: image_id {image_id} is not in {folder}/images.pkl'
            )
        sentence = key_of(annotation, 'category_id', int, place, 'the id of a sentence')
        if sentence not in sentences:
            raise ValueError(f'{place}: category_id {sentence} is not in {where}')
        by_image[image_id].append((box, sentence - 1))
    described = [
        _image(number, record, by_image[number], groups, sentences, folder)
        for number, record in images.items()
    ]
    return described, dict(zip(sentences, names))


def _records(path: Path) -> dict[int, Any]:
    records = read_pickle(path, 'file of descriptions')
    if not isinstance(records, dict) or not records:
        raise ValueError(f'{path} must be a dict of objects by id, got {shown(records)}')
    return {int(number): record for number, record in records.items()}


def _image(
    number: int,
    record: Any,
    found: list[tuple[list[float], int]],
    groups: dict[int, Any],
    sentences: dict[int, Any],
    folder: Path,
) -> AnnotatedImage:
    where = f'{folder}/images.pkl: {number}'
    file_name = key_of(record, 'file_name', str, where, 'the path of the image')
    group = record.get('group_id')
    if group not in groups:
        raise ValueError(
            f'{where}: group_id {shown(group)} is not in {folder}/groups.pkl'
        )
    ids = groups[group].get('inner_sent_id', ())
    unknown = [each for each in ids if each not in sentences]
    if unknown or not len(ids):
        raise ValueError(
            f'{folder}/groups.pkl: {group}: inner_sent_id must be ids of sentences.pkl, '
            f'got {shown(ids)}'
        )
    # In the order in which a set gives them, as in the stock dataset.
    chosen: set[int] = set()
    chosen |= {int(each) for each in ids}
    keys = {
        'text': [sentences[each]['raw_sent'] for each in chosen],
        'sent_ids': list(chosen),
        'custom_entities': True,
    }
    return AnnotatedImage(
        number,
        file_name,
        [box for box, _ in found],
        [label for _, label in found],
        image_size(record, where),
        text_columns(keys, [0] * len(found)),
    )
