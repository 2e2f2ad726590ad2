"""Captions, phrases and label maps reach samples as MMDetection's own datasets give them."""

from __future__ import annotations

import json
import pickle
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers.lakes import (
    CLASSES,
    HEIGHT,
    TYPES,
    WIDTH,
    box_type,
    open_lake,
    picture,
    row,
    write_lake,
)
from helpers.samples import assert_equal, seeded
from mmdet.datasets import CocoCaptionDataset, ODVGDataset
from mmdet.utils import register_all_modules

from mmdet_deeplake_plugin import DeepLakeDataset

register_all_modules()

CAPTIONS = ['A cat.', 'Ein Käuzchen “im Wald”.', 'a dog, and another dog']
KEYS = ('img_id', 'img_path', 'ori_shape', 'img_shape', 'gt_caption', 'text')
GROUNDING_KEYS = ('ori_shape', 'img_shape', 'text', 'tokens_positive', 'dataset_mode')
GROUNDING = [
    dict(type='LoadImageFromFile'),
    dict(type='LoadAnnotations', with_bbox=True),
    dict(type='RandomFlip', prob=0.5),
    dict(type='LoadTextAnnotations'),
    dict(type='PackDetInputs', meta_keys=GROUNDING_KEYS),
]


def _images(folder: Path, count: int) -> None:
    (folder / 'images').mkdir()
    for number in range(count):
        (folder / 'images' / f'{number:06d}.jpg').write_bytes(picture(number))


@pytest.mark.parametrize('several', [False, True], ids=['one', 'several'])
def test_captions_are_those_of_coco_caption_dataset(
    several: bool, tmp_path: Path
) -> None:
    """Pixels, id and caption, through a stock pipeline."""
    _images(tmp_path, 3)
    held = [[text, text.upper()] for text in CAPTIONS] if several else CAPTIONS
    file = [dict(image=f'{i:06d}.jpg', caption=c) for i, c in enumerate(held)]
    (tmp_path / 'captions.json').write_text(json.dumps(file))
    values = [
        {**row(i), 'image_id': f'{i:06d}', 'caption': c} for i, c in enumerate(held)
    ]
    if several:
        for value in values:
            texts = enumerate(value['caption'])
            annotations = [(i, dict(id=i, caption=text)) for i, text in texts]
            value['caption'] = json.dumps(annotations)
    columns = {'image_id': TYPES['text'], 'caption': TYPES['text']}
    path = write_lake(tmp_path / 'lake', values, columns)
    if several:
        _mark(path)
    pipeline = [
        dict(type='LoadImageFromFile'),
        dict(type='PackDetInputs', meta_keys=KEYS),
    ]
    ours = DeepLakeDataset(path, pipeline=pipeline, test_mode=True)
    stock = CocoCaptionDataset(
        ann_file=str(tmp_path / 'captions.json'),
        data_prefix=dict(img_path=str(tmp_path / 'images')),
        pipeline=pipeline,
        test_mode=True,
    )
    assert len(ours) == len(stock) == 3
    for index in range(3):
        assert_equal(ours[index], stock[index])
        expected = stock.get_data_info(index)
        found = ours.get_data_info(index)
        assert_equal({key: found[key] for key in expected}, expected)
        assert found['gt_caption'] == held[index]


def _mark(path: str) -> None:
    lake = open_lake(path)
    lake['caption'].metadata['content'] = 'coco_captions'
    lake.commit()


GROUNDED: list[dict[str, Any]] = [
    {
        'caption': 'A cat and two dogs on a mat',
        'regions': [
            {'phrase': 'A cat', 'tokens_positive': [[0, 5]], 'bbox': [1, 2, 20, 30]},
            {
                'phrase': 'two dogs',
                'tokens_positive': [[10, 13], [14, 18]],
                'bbox': [[5.5, 6.25, 30, 20], [30, 3, 60, 39]],
            },
            # Left out by both: no pixel wide, and outside of the image.
            {'phrase': 'a mat', 'tokens_positive': [[22, 27]], 'bbox': [3, 3, 3.5, 9]},
        ],
    },
    {'caption': 'Nothing here', 'regions': []},
    {
        'caption': 'owl; owl',
        'regions': [
            {'phrase': 'owl', 'tokens_positive': [[0, 3]], 'bbox': [70, 2, 90, 30]},
            {'phrase': 'owl', 'tokens_positive': [[5, 8]], 'bbox': [[0, 0, 64, 40]]},
        ],
    },
]


def _grounded_row(number: int) -> dict:
    boxes: list[Any] = []
    regions = []
    for region in GROUNDED[number]['regions']:
        found = (
            region['bbox'] if isinstance(region['bbox'][0], list) else [region['bbox']]
        )
        numbers = list(range(len(boxes), len(boxes) + len(found)))
        boxes += found
        regions.append({**region, 'boxes': numbers})
    return {
        **row(number, np.array(boxes, dtype=float).reshape(-1, 4), [0] * len(boxes)),
        'sentence': GROUNDED[number]['caption'],
        'regions': json.dumps(regions),
    }


def _odvg(tmp_path: Path, lines: list[dict], **kwargs: Any) -> ODVGDataset:
    _images(tmp_path, len(lines))
    named = [
        {'filename': f'{i:06d}.jpg', 'height': HEIGHT, 'width': WIDTH, **line}
        for i, line in enumerate(lines)
    ]
    (tmp_path / 'odvg.jsonl').write_text('\n'.join(map(json.dumps, named)))
    return ODVGDataset(
        ann_file=str(tmp_path / 'odvg.jsonl'),
        data_prefix=dict(img=str(tmp_path / 'images')),
        return_classes=True,
        pipeline=GROUNDING,
        **kwargs,
    )


def _assert_samples_equal(ours: Any, stock: Any) -> None:
    assert len(ours) == len(stock) == 3
    for index in range(3):
        expected, found = stock.get_data_info(index), ours.get_data_info(index)
        assert set(found) - set(expected) <= {'img_id', 'seg_map_path'}
        assert_equal({key: found[key] for key in expected}, expected)
        left, right = (
            seeded(partial(d.__getitem__, index), index) for d in (ours, stock)
        )
        assert_equal(left, right)


def test_phrases_are_those_of_odvg_dataset(tmp_path: Path) -> None:
    """Text, phrases and their boxes, without the boxes that both leave out."""
    stock = _odvg(tmp_path, [{'grounding': content} for content in GROUNDED])
    columns = {
        'boxes': box_type('ltrb', 'pixel'),
        'sentence': TYPES['text'],
        'regions': TYPES['text'],
    }
    path = write_lake(
        tmp_path / 'lake', [_grounded_row(i) for i in range(3)], columns, ['object']
    )
    ours = DeepLakeDataset(
        path,
        deeplake_tensors=dict(text='sentence', phrases='regions'),
        return_classes=True,
        pipeline=GROUNDING,
    )
    _assert_samples_equal(ours, stock)
    assert ours.get_data_info(0)['phrases'].keys() == {0, 1}
    assert_equal(pickle.loads(pickle.dumps(ours)).get_data_info(0), ours.get_data_info(0))


def test_label_map_is_that_of_odvg_dataset(tmp_path: Path) -> None:
    """return_classes='label_map' gives the classes by number, a fresh dict each time."""
    label_map = {str(i): name for i, name in enumerate(CLASSES)}
    (tmp_path / 'map.json').write_text(json.dumps(label_map))
    rows = [row(i, [[1, 2, 9, 12], [20, 3, 50, 33]]) for i in range(3)]
    lines = []
    for values in rows:
        found = zip(values['boxes'].tolist(), values['categories'].tolist())
        instances = [dict(bbox=box, label=label) for box, label in found]
        lines.append({'detection': {'instances': instances}})
    stock = _odvg(tmp_path, lines, label_map_file=str(tmp_path / 'map.json'))
    path = write_lake(tmp_path / 'lake', rows, {'boxes': box_type('ltrb', 'pixel')})
    ours = DeepLakeDataset(path, return_classes='label_map', pipeline=GROUNDING)
    _assert_samples_equal(ours, stock)
    ours.get_data_info(0)['text']['0'] = 'another'
    assert ours.get_data_info(0)['text'] == label_map


def test_a_text_column_needs_to_be_named(tmp_path: Path) -> None:
    """Some text in a lake is no prompt: only deeplake_tensors makes it one."""
    values = [{**row(0), 'text': 'a remark'}]
    path = write_lake(tmp_path / 'lake', values, {'text': TYPES['text']})
    info = DeepLakeDataset(path, return_classes=True).get_data_info(0)
    assert info['text'] == CLASSES
    named = DeepLakeDataset(path, deeplake_tensors=dict(text='text'), return_classes=True)
    info = named.get_data_info(0)
    assert info['text'] == 'a remark' and 'custom_entities' not in info
