"""Writes data of videos and of persons, and draws what a model makes of them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from helpers.clips import (
    IMAGES,
    VIS_CLASSES,
    draw,
    stock_mot_files,
    stock_vis_file,
    write_mot,
    write_youtube_vis,
)
from mmdet.structures import DetDataSample, TrackDataSample
from mmengine.structures import InstanceData
from pycocotools import mask as coco_mask

from mmdet_deeplake_plugin.tools.from_mot import from_mot
from mmdet_deeplake_plugin.tools.from_reid import from_reid
from mmdet_deeplake_plugin.tools.from_youtube_vis import from_youtube_vis
from zoo.source import Source

Files = dict[str, Any]
Classes = tuple[str, ...]
PERSONS, IMAGES_EACH = 10, 3


def make_tracks(folder: Path, source: Source, classes: Classes) -> tuple[Files, str]:
    """Three sequences in the layout of MOT17, and stock's file of them."""
    sequences = write_mot(folder)
    ann_file = stock_mot_files(folder) / 'train_cocoformat.json'
    from_mot(sequences, folder / 'lake')
    prefix = dict(img_path=str(sequences))
    files = dict(data_root=str(folder), ann_file=str(ann_file), data_prefix=prefix)
    return files, str(folder / 'lake')


def make_clips(folder: Path, source: Source, classes: Classes) -> tuple[Files, str]:
    """Three videos as YouTube-VIS has them, whose objects are of three of the classes."""
    path = write_youtube_vis(folder)
    ann_file = stock_vis_file(folder)  # which fails for classes without objects
    place = {i: 1 + classes.index(name) for i, name in enumerate(VIS_CLASSES, 1)}
    for each in (path, ann_file):
        content = json.loads(each.read_text())
        for annotation in content['annotations']:
            annotation['category_id'] = place[annotation['category_id']]
        named = [{'id': i, 'name': name} for i, name in enumerate(classes, 1)]
        each.write_text(json.dumps({**content, 'categories': named}))
    from_youtube_vis(path, folder / IMAGES, folder / 'lake')
    prefix = dict(img_path=str(folder / IMAGES))
    files = dict(data_root=str(folder), ann_file=str(ann_file), data_prefix=prefix)
    return files, str(folder / 'lake')


def make_persons(folder: Path, source: Source, classes: Classes) -> tuple[Files, str]:
    """Drawn images of ten persons, three each."""
    lines = []
    for number in range(PERSONS * IMAGES_EACH):
        person, shot = divmod(number, IMAGES_EACH)
        name = f'{person:03d}/{shot}.jpg'
        draw(folder / 'imgs' / name, person, shot, (40 + 2 * shot, 64 + person))
        lines.append(f'{name} {person}')
    ann_file = folder / 'persons.txt'
    ann_file.write_text('\n'.join(lines) + '\n')
    from_reid(ann_file, folder / 'imgs', folder / 'lake')
    prefix = dict(img_path=str(folder / 'imgs'))
    files = dict(data_root=str(folder), ann_file=str(ann_file), data_prefix=prefix)
    return files, str(folder / 'lake')


def video_sample(info: dict[str, Any], random: np.random.Generator) -> TrackDataSample:
    """What a mediocre tracker makes of a video: moved, missed and mistaken tracks.

    Args:
        info: The video before its pipeline.
        random: Decides.
    """
    frames = []
    for number, image in enumerate(info['images']):
        size = image['height'], image['width']
        frame = DetDataSample(
            metainfo={
                'img_id': image['img_id'],
                'img_path': image['img_path'],
                'instances': [dict(part) for part in image['instances']],
                'ori_shape': size,
                'frame_id': number,
                'video_id': info['video_id'],
                'ori_video_length': len(info['images']),
            }
        )
        kept = [part for part in image['instances'] if random.random() < 0.9]
        boxes = np.array([part['bbox'] for part in kept], np.float32).reshape(-1, 4)
        boxes += random.normal(0, 2, boxes.shape).astype(np.float32)
        labels = np.array([part['bbox_label'] for part in kept], np.int64)
        ids = [10 * part['instance_id'] + (number > 2) for part in kept]
        found = dict(
            bboxes=torch.from_numpy(boxes),
            scores=torch.from_numpy(random.random(len(kept)).astype(np.float32)),
            labels=torch.from_numpy(labels),
            instances_id=torch.tensor(ids, dtype=torch.int64),
        )
        if all('mask' in part for part in kept):
            masks = [coco_mask.decode(_code(part['mask'], size)) for part in kept]
            moved = [np.roll(mask, 1 + number % 3, 1) for mask in masks]
            pixels = np.array(moved, bool).reshape(-1, *size)
            found['masks'] = torch.from_numpy(pixels)
        frame.pred_track_instances = InstanceData(**found)
        frame.pred_instances = InstanceData(**found)
        frames.append(frame)
    return TrackDataSample(video_data_samples=frames)


def as_rows(sample: TrackDataSample) -> TrackDataSample:
    """The tracks of a video as StrongSORT gives them, with a ``postprocess_model``.

    Args:
        sample: As :func:`video_sample` draws it; changed in place.
    """
    for frame in sample:
        found = frame.pred_track_instances
        keys = (found.instances_id, found.bboxes, found.scores)
        rows = [
            [frame.frame_id + 1, number, x, y, z - x, b - y, score]
            for number, (x, y, z, b), score in zip(*(key.tolist() for key in keys))
        ]
        frame.pred_track_instances = InstanceData(bboxes=np.array(rows).reshape(-1, 7))
    return sample


def person_sample(info: dict[str, Any], random: np.random.Generator) -> dict[str, Any]:
    """What a mediocre model of re-identification makes of an image.

    Args:
        info: The image before its pipeline.
        random: Decides.
    """
    person = int(info['gt_label'])
    feature = np.random.default_rng(person).normal(size=16) + random.normal(size=16)
    return {
        'img_path': info['img_path'],
        'gt_label': {'label': torch.tensor([person])},
        'pred_feature': torch.from_numpy(feature.astype(np.float32)),
    }


def _code(mask: Any, size: tuple[int, int]) -> Any:
    if isinstance(mask, dict) and isinstance(mask['counts'], (bytes, str)):
        return mask
    codes = coco_mask.frPyObjects(mask, *size)
    return coco_mask.merge(codes) if isinstance(codes, list) else codes
