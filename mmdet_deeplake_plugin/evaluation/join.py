"""Join the ground truth of several sources, such as the lakes of a ``ConcatDataset``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from mmengine.logging import print_log

from ..utils.ragged import offsets_of
from .federation import Federation, OpenImagesKeys
from .ground_truth import ARRAYS, GroundTruth


def join_ground_truth(parts: Sequence[GroundTruth]) -> GroundTruth:
    """Make one ground truth of several.

    Categories are matched by name; a category id that is taken already is replaced by a
    new one. If image ids repeat, images are numbered from 0.

    Args:
        parts: At least one.

    Returns:
        The images of all parts, in their order.

    Raises:
        ValueError: If parts with a ``federation`` differ in their categories.
    """
    if len(parts) == 1:
        return parts[0]
    ids: dict[str, int] = {}
    for part in parts:
        for name, category_id in zip(part.category_names, part.category_ids):
            if name not in ids:
                taken = set(ids.values())
                ids[name] = category_id if category_id not in taken else max(taken) + 1
    names = tuple(ids)
    arrays = {
        name: np.concatenate([getattr(part, name) for part in parts])
        for name in ARRAYS
        if name not in ('offsets', 'labels')
    }
    counts = np.concatenate([np.diff(part.offsets) for part in parts])
    labels = [
        np.array([names.index(name) for name in part.category_names])[part.labels]
        for part in parts
    ]
    return GroundTruth(
        img_ids=_join_image_ids(parts),
        file_names=[name for part in parts for name in part.file_names],
        offsets=offsets_of(counts),
        labels=np.concatenate(labels),
        category_names=names,
        category_ids=tuple(ids.values()),
        segmentations=[mask for part in parts for mask in part.segmentations or ()]
        if all(part.segmentations is not None for part in parts)
        else None,
        federation=_join_federations(parts),
        open_images=_join_open_images(parts),
        segment_ids=np.concatenate([part.segment_ids for part in parts])
        if all(part.segment_ids is not None for part in parts)
        else None,
        **arrays,
    )


def _join_image_ids(parts: Sequence[GroundTruth]) -> list[Any]:
    img_ids: list[Any] = [img_id for part in parts for img_id in part.img_ids]
    if len({str(img_id) for img_id in img_ids}) < len(img_ids):
        print_log(
            'DeepLakeMetric: lakes use the same image ids; for this evaluation images '
            f'are numbered from 0 to {len(img_ids) - 1}',
            logger='current',
        )
        return list(range(len(img_ids)))
    if len({type(img_id) for img_id in img_ids}) > 1:
        return [str(img_id) for img_id in img_ids]
    return img_ids


def _join_federations(parts: Sequence[GroundTruth]) -> Federation | None:
    federations = [part.federation for part in parts if part.federation is not None]
    if len(federations) < len(parts):
        return None
    _check_categories(parts, 'LVIS')
    return Federation(
        [ids for each in federations for ids in each.negatives],
        [ids for each in federations for ids in each.not_exhaustive],
        federations[0].frequencies,
    )


def _join_open_images(parts: Sequence[GroundTruth]) -> OpenImagesKeys | None:
    keys = [part.open_images for part in parts if part.open_images is not None]
    if len(keys) < len(parts):
        return None
    _check_categories(parts, 'OpenImages')
    lists = [each.image_labels for each in keys if each.image_labels is not None]
    return OpenImagesKeys(
        np.concatenate([each.group_of for each in keys]),
        [labels for each in lists for labels in each]
        if len(lists) == len(keys)
        else None,
        keys[0].relations,
    )


def _check_categories(parts: Sequence[GroundTruth], form: str) -> None:
    if len({(part.category_names, part.category_ids) for part in parts}) > 1:
        raise ValueError(
            f'metrics_format={form!r} scores several lakes together only if they have '
            'the same categories, with the same ids, in the same order'
        )
