"""Read a file of corrected annotations, and find its images and classes in a lake."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np

from ...lake import AnnotationTable, Lake
from ...utils.messages import comma_joined, did_you_mean
from ..formats.coco import CocoAnnotations, file_name, read_coco
from ..formats.coco_content import file_names

BY = ('id', 'file_name')


@dataclass(frozen=True)
class Corrected:
    """An image of the file.

    Args:
        position: Its position in the table of the lake.
        image_id: Its id in the lake.
        name: Its file name in the lake.
        annotations: What it is to have: the file's annotations, each with the ``label``
            of the lake.
    """

    position: int
    image_id: Any
    name: str
    annotations: list[dict[str, Any]]


def read_corrected(
    file: Path, lake: Lake, table: AnnotationTable, by: str
) -> list[Corrected]:
    """Read a file, and check that it is about images and classes of the lake.

    Args:
        file: COCO JSON of some images, each with all annotations that it is to have.
        lake: The lake.
        table: Annotations of all its rows.
        by: One of :data:`BY`: what identifies an image.

    Returns:
        The images in the order of the lake.

    Raises:
        FileNotFoundError: If the file does not exist.
        ValueError: If it is not a COCO file of instances, or an image or a class is not
            one of the lake.
    """
    coco = read_coco(file, needs_annotations=True)
    if coco.entries is not None:
        raise ValueError(
            f'{file} must be a COCO file of instances, but its annotations are segments '
            'of panoptic maps; correct the files, and import them again'
        )
    positions = _positions(file, coco, lake, table, by)
    labels = _labels(file, coco, lake, table, by)
    found = [
        Corrected(
            position,
            _plain(table.img_ids[position]),
            table.file_names[position],
            [
                {**each, 'label': labels[each['category_id']]}
                for each in coco.by_image[image['id']]
            ],
        )
        for image, position in zip(coco.images, positions)
    ]
    return sorted(found, key=lambda each: each.position)


def _positions(
    file: Path, coco: CocoAnnotations, lake: Lake, table: AnnotationTable, by: str
) -> list[int]:
    ids = [_plain(each) for each in table.img_ids]
    names = file_names(table)
    keys: Sequence[Any] = ids if by == 'id' else names
    wanted = [image['id'] if by == 'id' else file_name(image) for image in coco.images]
    repeated = {key for key, count in Counter(keys).items() if count > 1}
    for key in wanted:
        if key in repeated:
            other = 'file_name' if by == 'id' else 'id'
            raise ValueError(
                f'{lake.name}: several rows have the {by} {key!r} of an image in {file}; '
                f'write --by {other}'
            )
    twice = [key for key, count in Counter(wanted).items() if count > 1]
    if twice:
        raise ValueError(
            f'{file}: images must be distinct, but several have the {by} {twice[0]!r}; '
            'write all annotations of an image under one entry'
        )
    position_of = {key: position for position, key in enumerate(keys)}
    absent = [key for key in wanted if key not in position_of]
    if absent:
        hint = (
            'if a tool numbered the images anew, write --by file_name'
            if by == 'id'
            else 'names must be written as to_coco exports them'
        )
        raise ValueError(
            f'{file}: {len(absent)} of {len(wanted)} images are not in {lake.name}, the '
            f'first has the {by} {absent[0]!r}; is the file of another lake? Else '
            f'{hint}, or leave these images out'
        )
    positions = [position_of[key] for key in wanted]
    hint = (
        'If a tool numbered the images anew, write --by file_name'
        if by == 'id'
        else 'Else leave the image out'
    )
    for image, position in zip(coco.images, positions):
        # One that has the id or name of an image of the lake may be another all the same.
        size = int(table.widths[position]), int(table.heights[position])
        stated = int(image['width']), int(image['height'])
        for what, found, expected in (
            ('file name', file_name(image), names[position]),
            ('size', stated, size if all(size) else stated),
        ):
            if found != expected:
                raise ValueError(
                    f'{file}: image {image["id"]!r} has the {what} {found!r}, but in '
                    f'{lake.name} it has {expected!r}; is the file of another lake? '
                    f'{hint}'
                )
    return positions


def _labels(
    file: Path, coco: CocoAnnotations, lake: Lake, table: AnnotationTable, by: str
) -> dict[int, int]:
    """Return the label in the lake of each category that annotations have."""
    class_names, ids = lake.columns.class_names, lake.columns.category_ids
    annotations = chain.from_iterable(coco.by_image.values())
    used = {each['category_id'] for each in annotations}
    labels = {}
    for category in coco.categories:
        key, name = category['id'], category['name']
        if key not in used:
            continue
        if not class_names:  # to_coco then exports the labels as ids
            if key not in np.unique(table.labels):
                raise ValueError(
                    f'{file}: the category {key} is not one of the labels of '
                    f'{lake.name}, which has no class names; write one of those'
                )
            labels[key] = key
            continue
        if name not in class_names:
            raise ValueError(
                f'{file}: the category {name!r} is not a class of {lake.name}'
                f'{did_you_mean(name, class_names)}; its classes are '
                f'{comma_joined(class_names)}. Write one of them: a new class needs a '
                'lake that is imported again'
            )
        label = class_names.index(name)
        if by == 'id' and key != ids[label]:
            raise ValueError(
                f'{file}: the category {name!r} has the id {key}, but in {lake.name} it '
                f'has {ids[label]}; is the file of another lake? If a tool numbered '
                'everything anew, write --by file_name'
            )
        labels[key] = label
    return labels


def _plain(image_id: Any) -> Any:
    return image_id if isinstance(image_id, str) else int(image_id)
