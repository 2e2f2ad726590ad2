"""Read COCO files in which each image has a caption, as MDETR made them.

Those of referring expressions have an entry of an image for each expression; those of
Flickr30k have one for each caption.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from ....utils.values import is_int, shown
from ..._converter import AnnotatedImage
from ..checks import (
    LTWH,
    check_box,
    check_distinct,
    check_spans,
    image_size,
    is_id,
    key_of,
    read_json,
)
from .images import text_columns

_Annotations = list[tuple[str, dict[str, Any]]]
_Keys = Callable[[dict[str, Any], _Annotations, str], dict[str, Any]]


def read_expressions(path: Path) -> list[AnnotatedImage]:
    """Read referring expressions, as ``MDETRStyleRefCocoDataset`` does.

    The ``images`` have ``caption`` and ``dataset_name``.
    """

    def keys(image: dict[str, Any], found: _Annotations, where: str) -> dict[str, Any]:
        return {
            'dataset_mode': key_of(image, 'dataset_name', str, where, 'a text'),
            'text': image['caption'],
            'custom_entities': False,
            'tokens_positive': -1,
        }

    return _read(path, keys)


def read_phrases(path: Path) -> list[AnnotatedImage]:
    """Read captions with phrases, as ``Flickr30kDataset`` does.

    The ``images`` have ``caption`` and ``tokens_positive_eval``, the annotations
    ``phrase_ids``.
    """

    def keys(image: dict[str, Any], found: _Annotations, where: str) -> dict[str, Any]:
        caption, spans = image['caption'], image.get('tokens_positive_eval')
        if not isinstance(spans, list):
            raise ValueError(
                f'{where}: tokens_positive_eval must be a list with the positions of '
                f'each phrase, got {shown(spans)}'
            )
        for index, phrase in enumerate(spans):
            check_spans(phrase, caption, f'{where}: tokens_positive_eval[{index}]')
        ids: list[Any] = [annotation.get('phrase_ids') for _, annotation in found]
        for (place, _), phrase_id in zip(found, ids):
            if not is_int(phrase_id) and not isinstance(phrase_id, str):
                raise ValueError(
                    f'{place}: phrase_ids must be the id of a phrase, a number or a '
                    f'text, got {shown(phrase_id)}'
                )
        if len({type(each) for each in ids}) > 1:
            raise ValueError(
                f'{where}: phrase_ids must all be numbers, or all texts, got {shown(ids)}'
            )
        numbered = {each: number for number, each in enumerate(sorted(set(ids)))}
        return {
            'phrase_ids': [numbered[each] for each in ids],
            'text': caption,
            'tokens_positive': spans,
            'phrases': [caption[slice(*phrase[0])] for phrase in spans],
        }

    return sorted(_read(path, keys), key=lambda image: image.image_id)


def _read(path: Path, keys: _Keys) -> list[AnnotatedImage]:
    content = read_json(path)
    images = key_of(content, 'images', list, str(path), 'a list of images')
    annotations = key_of(content, 'annotations', list, str(path), 'a list of annotations')
    for index, image in enumerate(images):
        where = f'{path}: images[{index}]'
        if not isinstance(image, dict) or not is_id(image.get('id')):
            raise ValueError(
                f'{where} must have an integer or text id, got {shown(image)}'
            )
    ids = [image['id'] for image in images]
    check_distinct(f"{path}: 'images'", 'ids', ids)
    if len({type(each) for each in ids}) != 1:
        raise ValueError(
            f'{path}: images must be there, with ids that are all integers or all texts, '
            f'got {len(ids)} images'
        )
    by_image: dict[Any, _Annotations] = {each: [] for each in ids}
    for index, annotation in enumerate(annotations):
        where = f'{path}: annotations[{index}]'
        image_id = annotation.get('image_id') if isinstance(annotation, dict) else None
        if not is_id(image_id) or image_id not in by_image:
            raise ValueError(
                f'{where} must have the image_id of one of images, got '
                f'{shown(annotation)}'
            )
        by_image[image_id].append((where, annotation))
    return [
        _image(image, by_image[image['id']], f'{path}: images[{index}]', keys)
        for index, image in enumerate(images)
    ]


def _image(
    image: dict[str, Any], found: _Annotations, where: str, keys: _Keys
) -> AnnotatedImage:
    file_name = key_of(image, 'file_name', str, where, 'the path of the image')
    key_of(image, 'caption', str, where, 'a text')
    boxes, labels, crowds = [], [], []
    for place, annotation in found:
        boxes.append(check_box(annotation.get('bbox'), LTWH, f'{place}: bbox'))
        labels.append(key_of(annotation, 'category_id', int, place, 'an integer'))
        crowd = annotation.get('iscrowd', 0)
        if crowd not in (0, 1) or not is_int(crowd):
            raise ValueError(f'{place}: iscrowd must be 0 or 1, got {shown(crowd)}')
        crowds.append(crowd)
    return AnnotatedImage(
        image['id'],
        file_name,
        boxes,
        [0] * len(found),
        image_size(image, where),
        # The labels of these datasets are the category ids of the file.
        text_columns({**keys(image, found, where), 'labels': labels}, crowds),
    )
