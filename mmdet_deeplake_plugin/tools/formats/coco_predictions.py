"""Build the content of a COCO file from the predictions in a lake.

Annotation tools read it as labels to correct: each prediction is an annotation, with its
score beside it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pycocotools import mask as coco_mask

from ...lake import AnnotationTable, CocoColumns, Lake, StoredPredictions
from ...structures.masks import unpack_segmentations
from .coco_content import image_entries


def predicted_rows(
    stored: StoredPredictions, rows: NDArray[np.int64]
) -> NDArray[np.int64]:
    """Return those of some rows that have predictions.

    Args:
        stored: The predictions.
        rows: Row numbers, shape ``(R,)``.

    Raises:
        ValueError: If none has.
    """
    is_null = [boxes is None for boxes in stored.values('boxes', rows)]
    predicted = rows[~np.array(is_null, dtype=bool)]
    if not len(predicted):
        raise ValueError(
            f'{stored.source.name}: none of the {len(rows)} selected rows has '
            f'predictions {stored.name!r}; select others with --query or --view'
        )
    return predicted


def predictions_content(
    lake: Lake,
    table: AnnotationTable,
    stored: StoredPredictions,
    score_thr: float,
) -> dict[str, Any]:
    """Build the content of a file of instances.

    Categories have the ids of the lake's classes; in a lake without annotations, which
    stores no ids, they count from 1.

    Args:
        lake: The lake.
        table: Annotations of the rows, of which the images are used.
        stored: The predictions.
        score_thr: Least score of a prediction that is kept.

    Raises:
        ValueError: If two rows have the same image id.
    """
    kept = CocoColumns(lake.source, lake.columns)
    images = image_entries(kept, table)
    categories = kept.categories() if lake.columns.class_names else []
    ids = {category['name']: category['id'] for category in categories}
    if not set(stored.class_names) <= ids.keys():
        ids = {name: number for number, name in enumerate(stored.class_names, start=1)}
        categories = [{'id': number, 'name': name} for name, number in ids.items()]
    category_ids = [ids[name] for name in stored.class_names]
    annotations = _annotations(stored, table.rows, images, category_ids, score_thr)
    return {
        **kept.file_keys(),
        'images': images,
        'annotations': [
            {'id': number, **annotation}
            for number, annotation in enumerate(annotations, start=1)
        ],
        'categories': categories,
    }


def _annotations(
    stored: StoredPredictions,
    rows: NDArray[np.int64],
    images: Sequence[dict[str, Any]],
    category_ids: Sequence[int],
    score_thr: float,
) -> Iterator[dict[str, Any]]:
    columns = [stored.values(name, rows) for name in ('boxes', 'labels', 'scores')]
    masks = stored.values('masks', rows) if stored.has('masks') else [None] * len(rows)
    for image, boxes, labels, scores, packed in zip(images, *columns, masks):
        corners = np.asarray(boxes, dtype=np.float64).reshape(-1, 4)
        sizes = corners[:, 2:] - corners[:, :2]
        codes = unpack_segmentations(packed) if packed else [None] * len(corners)
        for number in np.flatnonzero(np.asarray(scores) >= score_thr).tolist():
            code = codes[number]
            area = sizes[number].prod() if code is None else coco_mask.area(code)
            yield {
                **({} if code is None else {'segmentation': code}),
                'image_id': image['id'],
                'category_id': category_ids[int(labels[number])],
                'bbox': [*corners[number, :2].tolist(), *sizes[number].tolist()],
                'area': float(area),
                'iscrowd': 0,
                'score': float(scores[number]),
            }
