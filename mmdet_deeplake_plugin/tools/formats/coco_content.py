"""Build the content of a COCO file from the annotations of a lake."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from ...lake import AnnotationTable, CocoColumns, Lake, names
from .._cli import with_progress
from .coco_panoptic import as_entries


def file_names(table: AnnotationTable) -> list[str]:
    """Return the file name of each image; images without one are named by their row."""
    rows = table.rows.tolist()
    return [name or f'{row}.jpg' for name, row in zip(table.file_names, rows)]


def coco_content(
    lake: Lake,
    table: AnnotationTable,
    entries: Sequence[dict[str, Any]] | None,
    progress: bool,
) -> dict[str, Any]:
    """Build the content of a file of instances or, for a panoptic lake, of segments.

    Args:
        lake: The lake.
        table: Annotations of the rows.
        entries: See :meth:`.CocoColumns.panoptic_keys`.
        progress: Whether to draw a progress bar on stderr.

    Raises:
        ValueError: If two rows have the same image id.
    """
    kept = CocoColumns(lake.source, lake.columns)
    images = image_entries(kept, table)
    img_ids = [image['id'] for image in images]
    category_ids = lake.columns.category_ids or range(
        int(table.labels.max(initial=-1)) + 1
    )
    annotations: list[dict[str, Any]]
    if lake.columns.is_panoptic:
        annotations = as_entries(table, category_ids, img_ids, file_names(table), entries)
    else:
        found = stored_instances(lake, table, img_ids, category_ids)
        count = len(table.labels)
        found = with_progress(found, count, 'reading annotations', progress)
        annotations = list(found)
        positions = kept.per_box(names.ANN_POSITION, table.rows)
        if positions is not None and len(positions) == count:  # as in the file
            order = np.argsort(positions, kind='stable')
            annotations = [annotations[index] for index in order]
    categories = kept.categories() or [
        {'id': label, 'name': str(label)} for label in np.unique(table.labels).tolist()
    ]
    return {
        **kept.file_keys(),
        'images': images,
        'annotations': annotations,
        'categories': categories,
    }


def image_entries(kept: CocoColumns, table: AnnotationTable) -> list[dict[str, Any]]:
    """Return the entry of each image in a COCO file.

    Args:
        kept: Further columns of the lake.
        table: Annotations of the rows.

    Raises:
        ValueError: If two rows have the same image id.
    """
    ids = [i if isinstance(i, str) else int(i) for i in table.img_ids]
    repeated = len(ids) - len(set(ids))
    if repeated:
        raise ValueError(
            f'{kept.source.name}: image ids must be distinct, but {repeated} rows have '
            'the id of another row; write --tensors \'{"img_id": null}\' to use row '
            'numbers, or select distinct rows with --query'
        )
    sizes = zip(table.widths.tolist(), table.heights.tolist())
    images = []
    for others, img_id, name, (width, height) in zip(
        kept.image_keys(table.rows), ids, file_names(table), sizes
    ):
        image = {**others, 'id': img_id, 'width': width, 'height': height}
        if 'file_name' in image:  # null: LVIS has a URL instead
            del image['file_name']
        else:
            image['file_name'] = name
        images.append(image)
    return images


def stored_instances(
    lake: Lake,
    table: AnnotationTable,
    img_ids: Sequence[Any],
    category_ids: Sequence[int],
) -> Iterator[dict[str, Any]]:
    """Yield the annotations, image by image.

    Args:
        lake: The lake.
        table: Annotations of the rows.
        img_ids: Image id of each row.
        category_ids: Category id of each label.
    """
    kept = CocoColumns(lake.source, lake.columns)
    ids = kept.per_box(names.ANN_ID, table.rows)
    if ids is None or len(ids) != len(table.labels):
        ids = list(range(1, len(table.labels) + 1))
    tracks = kept.tracks(table.rows, np.diff(table.offsets).tolist())
    with_ignore = lake.columns.of('ignore') is not None
    boxes = table.boxes_xywh
    packed = lake.masks.packed(table.rows) if lake.masks is not None else None
    for position, img_id in enumerate(img_ids):
        start, stop = table.offsets[position : position + 2].tolist()
        masks: list[Any] = [None] * (stop - start)
        if lake.masks is not None:
            size = int(table.widths[position]), int(table.heights[position])
            text = None if packed is None else packed[position]
            row = int(table.rows[position])
            masks = lake.masks.of_row(row, stop - start, size, text)
        for index, mask in zip(range(start, stop), masks):
            annotation: dict[str, Any] = {} if mask is None else {'segmentation': mask}
            annotation.update(
                area=float(table.areas[index]),
                iscrowd=int(table.ignore_flags[index]),
                image_id=img_id,
                bbox=boxes[index].tolist(),
                category_id=category_ids[int(table.labels[index])],
                id=ids[index],
            )
            annotation.update({key: numbers[index] for key, numbers in tracks.items()})
            if with_ignore:
                annotation['ignore'] = int(table.excluded[index])
            yield annotation
