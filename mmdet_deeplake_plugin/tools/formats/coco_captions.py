"""Read, check and write COCO captions files."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...lake import LakeSource, TextColumn, metadata_of, names
from ...utils.values import is_int
from .checks import check_storable, is_id_of, read_json
from .files import as_json


@dataclass(frozen=True)
class CocoCaptions:
    """A checked captions file.

    Args:
        texts: Image id to its captions, packed into the text of a row.
        count: Number of captions of all images.
        metadata: Metadata of the column with the captions.
    """

    texts: dict[Any, str]
    count: int
    metadata: dict[str, Any]


def read_captions(path: Path, images: Sequence[dict[str, Any]]) -> CocoCaptions:
    """Read and check a COCO captions file.

    Args:
        path: JSON with ``annotations`` of ``id``, ``image_id`` and ``caption``.
        images: Images of the annotation file that the captions belong to.
    """
    try:
        content = read_json(path, '--captions:')
        annotations = content.get('annotations') if isinstance(content, dict) else None
        if not isinstance(annotations, list):
            raise ValueError(
                f"{path} is not a COCO captions file; it must have a list 'annotations'"
            )
        by_image = _by_image(f'{path}: annotations', annotations, images)
    except ValueError as error:
        raise ValueError(f'--captions: {error}') from error
    others = {k: v for k, v in content.items() if k not in ('images', 'annotations')}
    metadata = {names.CONTENT: names.COCO_CAPTIONS, names.COCO_FILE: as_json(others)}
    texts = {img_id: as_json(captions) for img_id, captions in by_image.items()}
    return CocoCaptions(texts, len(annotations), metadata)


def _by_image(
    where: str, annotations: list[Any], images: Sequence[dict[str, Any]]
) -> dict[Any, list[tuple[int, dict[str, Any]]]]:
    by_image: dict[Any, Any] = {image['id']: [] for image in images}
    known = set()
    for position, annotation in enumerate(annotations):
        place = f'{where}[{position}]'
        caption = annotation.get('caption') if isinstance(annotation, dict) else None
        if not isinstance(caption, str):
            raise ValueError(
                f"{place} must have a string 'caption', got {annotation!r:.80}"
            )
        img_id, ann_id = annotation.get('image_id'), annotation.get('id')
        if not is_id_of(img_id, by_image):
            raise ValueError(
                f'{place} has image_id {img_id!r}, which is not an image id in ANN_JSON'
            )
        if not is_int(ann_id) and not isinstance(ann_id, str):
            raise ValueError(f"{place} must have an integer 'id', got {ann_id!r}")
        if ann_id in known:
            raise ValueError(
                f"{place}: each of 'annotations' must have a distinct 'id', got "
                f'{ann_id!r}'
            )
        known.add(ann_id)
        check_storable(place, annotation)
        kept = {key: value for key, value in annotation.items() if key != 'image_id'}
        by_image[img_id].append((position, kept))
    return by_image


def captions_content(
    source: LakeSource,
    column: str,
    rows: NDArray[np.int64],
    images: Sequence[dict[str, Any]],
) -> dict[str, Any]:
    """Build the content of a captions file, as it was before the import.

    Args:
        source: The lake.
        column: The column of captions; if another tool wrote it, it has one caption per
            image.
        rows: Row numbers, shape ``(R,)``.
        images: ``images`` of the COCO file, one per row.
    """
    column_of_texts = TextColumn(source, column)
    texts = column_of_texts.packed(rows)
    placed = []
    for index, (row, image, text) in enumerate(zip(rows.tolist(), images, texts)):
        pairs = [(index, {'id': index + 1, 'caption': text})] if text else []
        if column_of_texts.has_several:
            pairs = column_of_texts.captions(text, row)
        for position, annotation in pairs:
            placed.append((position, {'image_id': image['id'], **annotation}))
    placed.sort(key=lambda pair: pair[0])
    others = metadata_of(source.handle[column], names.COCO_FILE)
    return {
        **(json.loads(others) if others else {}),
        'images': list(images),
        'annotations': [annotation for _, annotation in placed],
    }
