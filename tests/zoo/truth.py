"""Masks and segments of a sample, from which made-up predictions are drawn."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from mmdet.evaluation import INSTANCE_OFFSET
from mmengine.fileio import get
from numpy.typing import NDArray
from pycocotools import mask as coco_mask

from zoo.maps import segment_ids


def true_masks(info: dict[str, Any]) -> NDArray[np.bool_] | None:
    """The masks of a sample's instances.

    Args:
        info: The sample before its pipeline.

    Returns:
        Shape ``(N, H, W)``; ``None`` if there are none.
    """
    size = info['height'], info['width']
    if 'segments_info' in info:
        ids = segment_ids(get(info['seg_map_path']))
        masks = [ids == part['id'] for part in info['segments_info'] if part['is_thing']]
    elif all('mask' in part for part in info['instances']):
        codes = [_code(part['mask'], size) for part in info['instances']]
        masks = [coco_mask.decode(code).astype(bool) for code in codes]
    else:
        return None
    return np.stack(masks) if masks else np.zeros((0, *size), bool)


def guessed_segments(
    info: dict[str, Any], num_classes: int, random: np.random.Generator
) -> dict[str, torch.Tensor]:
    """Nine in ten segments of a sample, some with a wrong class.

    Args:
        info: The sample before its pipeline.
        num_classes: Number of classes, which is also the label of no class.
        random: Decides which.

    Returns:
        ``sem_seg`` of shape ``(1, H, W)``, as panoptic models predict it.
    """
    ids = segment_ids(get(info['seg_map_path']))
    guess = np.full(ids.shape, num_classes, np.int64)
    for number, part in enumerate(info['segments_info'], start=1):
        label = int(part['category'])
        if random.random() < 0.1:
            label = int(random.integers(num_classes))
        if random.random() < 0.9:
            guess[ids == part['id']] = label + INSTANCE_OFFSET * number
    return {'sem_seg': torch.from_numpy(guess[None])}


def _code(mask: Any, size: tuple[int, int]) -> dict[str, Any]:
    if isinstance(mask, dict):
        is_loose = isinstance(mask['counts'], list)
        return coco_mask.frPyObjects(mask, *size) if is_loose else mask
    return coco_mask.merge(coco_mask.frPyObjects(mask, *size))


def found_labels(info: dict[str, Any]) -> NDArray[np.int64]:
    """The labels that a model should find for the instances of a sample.

    Args:
        info: The sample before its pipeline. For a text, models predict which phrase or
            description of it is meant.
    """
    labels = [part['bbox_label'] for part in info['instances']]
    if 'phrase_ids' in info:
        labels = info['phrase_ids']
    elif 'sent_ids' in info:
        labels = [info['sent_ids'].tolist().index(1 + label) for label in labels]
    return np.array(labels, np.int64)
