"""Reads and writes COCO's captions, and checks all of them before they are stored."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...lake import LakeSource
from ...lake.columns.mapping import metadata_of
from ...lake.columns.texts import COCO_CAPTIONS, TextColumn

COLUMN = 'captions'


@dataclass(frozen=True)
class CocoCaptions:
    """A checked captions file.

    Args:
        by_image: Image id to pairs of position in the file and annotation.
        others: The file's further keys: ``info``, ``licenses``, ….
    """

    by_image: dict[Any, list[tuple[int, dict[str, Any]]]]
    others: dict[str, Any]

    @property
    def num_captions(self) -> int:
        """Number of captions of all images."""
        return sum(map(len, self.by_image.values()))

    @property
    def metadata(self) -> dict[str, Any]:
        """Metadata of the column that holds them."""
        others = json.dumps(self.others, ensure_ascii=False)
        return {'content': COCO_CAPTIONS, 'coco_file': others}

    def packed(self, img_id: Any) -> str:
        """The captions of an image as the text of a row."""
        return json.dumps(self.by_image[img_id], ensure_ascii=False)


def read_captions(path: Path, images: Sequence[dict[str, Any]]) -> CocoCaptions:
    """Reads and checks a COCO captions file.

    Args:
        path: JSON with ``annotations`` of ``id``, ``image_id`` and ``caption``.
        images: Images of the annotation file, to which they belong.

    Returns:
        The file's captions.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is not JSON, holds no captions, or names an image that is
            not among ``images``.
    """
    if not path.is_file():
        raise FileNotFoundError(f'--captions: {path} does not exist')
    try:
        content = json.loads(path.read_text(encoding='utf-8'))
    except ValueError as error:
        raise ValueError(f'--captions: {path} is not a JSON file: {error}') from error
    annotations = content.get('annotations') if isinstance(content, dict) else None
    if not isinstance(annotations, list):
        raise ValueError(
            f"--captions: {path} is no COCO captions file: it has no list 'annotations'"
        )
    by_image: dict[Any, list[tuple[int, dict[str, Any]]]] = {
        image['id']: [] for image in images
    }
    for position, annotation in enumerate(annotations):
        where = f'--captions: {path}: annotations[{position}]'
        if not isinstance(annotation, dict) or not isinstance(
            annotation.get('caption'), str
        ):
            raise ValueError(f"{where} needs a text as 'caption': {annotation!r:.80}")
        img_id = annotation.get('image_id')
        if not isinstance(img_id, (int, str)) or img_id not in by_image:
            raise ValueError(
                f'{where} has image_id {img_id!r}, which is not an image of ANN_JSON'
            )
        kept = {key: value for key, value in annotation.items() if key != 'image_id'}
        by_image[img_id].append((position, kept))
    ids = Counter(annotation.get('id') for annotation in annotations)
    repeated = [i for i, count in ids.items() if i is None or count > 1]
    if repeated:
        raise ValueError(
            f"--captions: {path}: 'annotations' need an 'id' each, all of them distinct, "
            f'but {repeated[0]!r} does not tell one'
        )
    others = {
        key: value
        for key, value in content.items()
        if key not in ('images', 'annotations')
    }
    return CocoCaptions(by_image, others)


def captions_content(
    source: LakeSource,
    column: str,
    rows: NDArray[np.int64],
    images: Sequence[dict[str, Any]],
) -> dict[str, Any]:
    """The content of a captions file, as it was.

    Args:
        source: Reads the lake.
        column: The column of captions; one that another tool wrote holds a caption an
            image.
        rows: Row numbers, shape ``(R,)``.
        images: The rows' images as a COCO file has them.
    """
    texts = TextColumn(source, column)
    packed = texts.packed(rows)
    placed = []
    for index, (row, image) in enumerate(zip(rows.tolist(), images)):
        for position, annotation in _captions(texts, packed[index], row, index):
            placed.append((position, {'image_id': image['id'], **annotation}))
    placed.sort(key=lambda pair: pair[0])
    others = metadata_of(source.handle[column], 'coco_file')
    return {
        **(json.loads(others) if others else {}),
        'images': list(images),
        'annotations': [annotation for _, annotation in placed],
    }


def _captions(
    texts: TextColumn, text: str, row: int, index: int
) -> list[tuple[int, dict[str, Any]]]:
    if texts.has_several:
        return texts.captions(text, row)
    return [(index, {'id': index + 1, 'caption': text})] if text else []
