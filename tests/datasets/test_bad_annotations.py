"""Wrong proposals, texts and LVIS data: each error names the place and what to write."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from helpers.lakes import TYPES, box_type, open_lake, row, write_lake

from mmdet_deeplake_plugin import DeepLakeDataset, DeepLakeMetric

BOXES = [(1, 2, 10, 12), (20, 5, 30, 30)]
LTRB = box_type('ltrb', 'pixel')
TWO = np.array([[1, 2, 9, 9], [3, 3, 8, 8]], float)


def _lake(path: Path, columns: Mapping[str, str | Any], **values: Any) -> str:
    types = {k: TYPES[v] if isinstance(v, str) else v for k, v in columns.items()}
    return write_lake(path, [row(0), {**row(1, BOXES), **values}][1:], types)


def _pattern(*texts: str) -> str:
    return '(?s)' + '.*'.join(map(re.escape, texts))


# ------------------------------------------------------------ told when a sample is read


def _regions(*regions: Any) -> str:
    return json.dumps(list(regions))


CAT = {'phrase': 'a cat', 'tokens_positive': [[0, 5]], 'boxes': [0]}
PHRASES = dict(text='sentence', phrases='regions')
SAMPLES: dict[str, tuple[dict, dict, dict, list[str]]] = {
    'proposals-of-three-numbers': (
        {'proposals': LTRB},
        dict(proposals=TWO[:, :3]),
        {},
        [
            "column 'proposals', row 0: proposals must have the shape (P, 4), got (2, 3)"
            '; write four numbers per proposal'
        ],
    ),
    'scores-of-another-number': (
        {'proposals': LTRB, 'proposal_scores': 'floats'},
        dict(proposals=TWO, proposal_scores=np.array([0.5])),
        {},
        [
            "column 'proposal_scores', row 0: there must be one score per proposal, found "
            "1 scores for 2 proposals in column 'proposals'; correct the row, or write "
            'None for proposal_scores in deeplake_tensors'
        ],
    ),
    'captions-of-another-tool': (
        {'captions': 'text'},
        dict(captions='a cat on a mat'),
        {},
        [
            "row 0: captions must be a JSON list, got 'a cat on a mat': ",
            '; correct the row',
        ],
    ),
    'captions-without-position': (
        {'captions': 'text'},
        dict(captions='[{"caption": "a cat"}]'),
        {},
        ["row 0: captions must be a list as tools.from_coco writes it, got '[{"],
    ),
    'phrases-that-are-no-list': (
        {'sentence': 'text', 'regions': 'text'},
        dict(sentence='a cat', regions='{"phrase": "a cat"}'),
        PHRASES,
        [
            "column 'regions', row 0: phrases must be a JSON list, got '{",
            '; correct the row',
        ],
    ),
    'phrase-without-its-place': (
        {'sentence': 'text', 'regions': 'text'},
        dict(sentence='a cat', regions=_regions({'phrase': 'a cat', 'boxes': [0, 1]})),
        PHRASES,
        [
            'row 0: every phrase must have the keys phrase, tokens_positive and boxes, but '
            "{'phrase': 'a cat', 'boxes': [0, 1]} lacks 'tokens_positive'; add it"
        ],
    ),
    'phrases-that-are-texts': (
        {'sentence': 'text', 'regions': 'text'},
        dict(sentence='a cat', regions=_regions('a cat')),
        PHRASES,
        ['row 0: every phrase must have the keys', "but 'a cat' lacks 'phrase'; add it"],
    ),
    'box-without-a-phrase': (
        {'sentence': 'text', 'regions': 'text'},
        dict(sentence='a cat', regions=_regions(CAT)),
        PHRASES,
        [
            'row 0: each of the 2 boxes must belong to one phrase, but the phrases list '
            'the boxes [0]; write every box, from 0, in one phrase'
        ],
    ),
    'box-that-is-no-list': (
        {'sentence': 'text', 'regions': 'text'},
        dict(sentence='a cat', regions=_regions({**CAT, 'boxes': 0})),
        PHRASES,
        ['row 0: each of the 2 boxes must', 'the phrases list the boxes [None]'],
    ),
    'box-in-two-phrases': (
        {'sentence': 'text', 'regions': 'text'},
        dict(sentence='a cat', regions=_regions(CAT, {**CAT, 'boxes': [1, 0]})),
        PHRASES,
        ['row 0: each of the 2 boxes must', 'the phrases list the boxes [0, 1, 0]'],
    ),
}


@pytest.mark.parametrize('case', SAMPLES)
def test_wrong_values_are_named(case: str, tmp_path: Path) -> None:
    """By lake, column and row, when the sample is asked for."""
    columns, values, tensors, texts = SAMPLES[case]
    path = _lake(tmp_path / 'lake', columns, **values)
    if 'captions' in columns:
        lake = open_lake(path)
        lake['captions'].metadata['content'] = 'coco_captions'
        lake.commit()
    dataset = DeepLakeDataset(path, deeplake_tensors=tensors)
    with pytest.raises(ValueError, match=_pattern('lake ', *texts)):
        dict(dataset.get_data_info(0).get('proposals', {}))


def test_wrong_proposals_do_not_stop_who_needs_none(tmp_path: Path) -> None:
    """A detector without proposals trains on a lake whose proposals are broken."""
    path = _lake(tmp_path / 'lake', {'proposals': LTRB}, proposals=TWO[:, :3])
    pipeline = [dict(type='mmdet.LoadAnnotations')]
    assert len(DeepLakeDataset(path, pipeline=pipeline)[0]['gt_bboxes']) == 2


# ------------------------------------------------------- told when the dataset is built

DATASETS: dict[str, tuple[dict, dict, dict, list[str]]] = {
    'proposals-of-no-boxes': (
        {'proposals': 'table'},
        dict(proposals=TWO),
        dict(deeplake_tensors=dict(proposals='proposals')),
        [
            "deeplake_tensors['proposals']='proposals': the column must hold boxes of "
            'shape (P, 4) and type BoundingBox, but its type is ',
        ],
    ),
    'proposals-of-no-convention': (
        {'proposals': box_type(None, None)},
        dict(proposals=TWO),
        {},
        [
            "the box convention of the proposals in column 'proposals' (",
            'is not declared in the lake; store them in a column of type BoundingBox(dty',
            'or write None for proposals in deeplake_tensors',
        ],
    ),
    'caption-that-is-no-text': (
        {'caption': 'int'},
        dict(caption=3),
        dict(deeplake_tensors=dict(caption='caption')),
        [
            "deeplake_tensors['caption']='caption': the column must hold text: one "
            'caption per image, or the captions that tools.from_coco writes, but its type '
            'is int64; write another column'
        ],
    ),
    'two-columns-of-captions': (
        {'caption': 'text', 'captions': 'text'},
        dict(caption='a', captions='b'),
        {},
        [
            "deeplake_tensors['caption'] is not set and 2 columns match: caption, captions"
            '; write one of them, or None for no column'
        ],
    ),
    'phrases-without-text': (
        {'regions': 'text'},
        dict(regions='[]'),
        dict(deeplake_tensors=dict(phrases='regions')),
        [
            "deeplake_tensors: phrases='regions' needs a column for text, but text is not "
            'set; write the column with the text that contains the phrases'
        ],
    ),
    'unknown-form-of-classes': (
        {},
        {},
        dict(return_classes='labels'),
        [
            "return_classes='labels' is unknown; write True (a tuple, as in "
            "CocoDataset), 'label_map' (a dict from label to name, as in ODVGDataset) or "
            'False'
        ],
    ),
    'prompt-for-a-label-map': (
        {},
        {},
        dict(return_classes='label_map', caption_prompt=dict(cat=dict(prefix='a '))),
        ['caption_prompt needs return_classes=True, as it changes the text that this'],
    ),
    'proposal-file': (
        {},
        {},
        dict(proposal_file='rpn.pkl'),
        ["proposal_file='rpn.pkl' has no meaning for DeepLakeDataset, which reads"],
    ),
}


@pytest.mark.parametrize('case', DATASETS)
def test_wrong_keys_and_columns_are_named(case: str, tmp_path: Path) -> None:
    """Before anything is read."""
    columns, values, keys, texts = DATASETS[case]
    path = _lake(tmp_path / 'lake', columns, **values)
    with pytest.raises(ValueError, match=_pattern(*texts)):
        DeepLakeDataset(path, **keys)


# ---------------------------------------------------------------------------- the metric

METRICS: dict[str, tuple[dict, type[Exception], list[str]]] = {
    'thresholds-that-change-nothing': (
        dict(iou_thrs=[0.5]),
        ValueError,
        ['iou_thrs=[0.5] affects only the metric proposal_fast of LVIS: 300'],
    ),
    'array-that-changes-nothing': (
        dict(iou_thrs=np.array([0.5, 0.75])),
        ValueError,
        ['iou_thrs=array([0.5 , 0.75]) affects only the metric proposal_fast of LVIS'],
    ),
    'numbers-that-change-nothing': (
        dict(metric=['bbox', 'proposal'], proposal_nums=(1, 10, 100)),
        ValueError,
        ['proposal_nums=(1, 10, 100) affects only the metric proposal_fast of LVIS'],
    ),
    'item-of-coco': (
        dict(metric_items=['mAP']),
        ValueError,
        [
            'metric_items must be one or more of AP, AP50, AP75, APs, ',
            "got 'mAP' in ['mAP'] (did you mean AP?); write metric_items=['AP']",
        ],
    ),
    'option-of-coco': (
        dict(backend='faster_coco_eval'),
        ValueError,
        [
            "backend='faster_coco_eval' has no meaning for metrics_format='LVIS'; leave "
            'it out'
        ],
    ),
    'unknown-metric': (
        dict(metric='mAP'),
        ValueError,
        [
            "`metric` of metrics_format='LVIS' must be one or more of bbox, segm, ",
            "proposal, proposal_fast, got 'mAP'",
        ],
    ),
}


@pytest.mark.parametrize('case', METRICS)
def test_wrong_options_of_lvis_are_named(case: str) -> None:
    """When the metric is built."""
    keys, error, texts = METRICS[case]
    with pytest.raises(error, match=_pattern(*texts)):
        DeepLakeMetric('LVIS', **keys)


@pytest.mark.parametrize('form', ['LVIS', 'LVISFixedAP'])
def test_a_missing_lvis_package_is_told(form: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """When the metric is built, with what to install."""
    monkeypatch.setitem(sys.modules, 'lvis', None)
    with pytest.raises(
        ImportError,
        match=r"the metrics of LVIS need the package lvis, which is not installed: pip "
        r"install 'mmdet_deeplake_plugin\[lvis\]', or pip install lvis; or write metrics_",
    ):
        DeepLakeMetric(form)


def _lvis_lake(path: Path, categories: Any, **image: Any) -> DeepLakeDataset:
    values = {**row(0), 'coco_image': json.dumps(image)}
    write_lake(path, [values], {'coco_image': TYPES['text']})
    lake = open_lake(str(path))
    lake['categories'].metadata['categories'] = json.dumps(categories)
    lake.commit()
    return DeepLakeDataset(str(path), test_mode=True)


def _evaluate(*datasets: DeepLakeDataset) -> dict:
    metric = DeepLakeMetric('LVIS')
    metric.dataset_meta = datasets[0].metainfo
    found = dict(
        bboxes=torch.tensor([[1.0, 2, 11, 14]]),
        scores=torch.tensor([0.5]),
        labels=torch.tensor([0]),
    )
    for dataset in datasets:
        info = dataset.get_data_info(0)
        sample = dict(img_path=info['img_path'], pred_instances=found)
        metric.process({}, [sample])
    return metric.evaluate(len(datasets))


NAMES = ('cat', 'dog', 'owl')
FREQUENT = [{'id': i, 'name': n, 'frequency': 'f'} for i, n in enumerate(NAMES)]
KNOWN = dict(neg_category_ids=[1], not_exhaustive_category_ids=[])


def test_a_lake_without_lvis_data_is_told_so(tmp_path: Path) -> None:
    """Which of the three things is missing, and where it would come from."""
    remedy = 'make the lake by tools.from_coco from an LVIS file, which keeps these, or '
    plain = DeepLakeDataset(write_lake(tmp_path / 'plain', [row(0)]), test_mode=True)
    with pytest.raises(
        ValueError,
        match=_pattern(
            'the metrics of LVIS group classes by frequency (r, c, f), but lake ',
            f"has None for 'cat'; {remedy}",
        ),
    ):
        _evaluate(plain)
    rare = [{**category, 'frequency': 'rare'} for category in FREQUENT]
    with pytest.raises(ValueError, match=_pattern("has rare for 'cat'; ", remedy)):
        _evaluate(_lvis_lake(tmp_path / 'rare', rare, **KNOWN))
    with pytest.raises(
        ValueError,
        match=_pattern(
            'need not_exhaustive_category_ids of each image, but row 0 of ',
            f'has None; {remedy}',
        ),
    ):
        _evaluate(_lvis_lake(tmp_path / 'part', FREQUENT, neg_category_ids=[1]))
    assert (
        _evaluate(_lvis_lake(tmp_path / 'good', FREQUENT, **KNOWN))['lvis/bbox_AP'] == 1
    )


def test_lakes_of_other_categories_are_not_scored_together(tmp_path: Path) -> None:
    """What is known of an image is told by category ids, which must be one lake's."""
    one = _lvis_lake(tmp_path / 'one', FREQUENT, **KNOWN)
    values = {**row(5), 'coco_image': json.dumps(KNOWN)}
    path = write_lake(
        tmp_path / 'other', [values], {'coco_image': TYPES['text']}, ('cat', 'owl', 'dog')
    )
    other = open_lake(path)
    turned = [FREQUENT[0], {**FREQUENT[2], 'id': 1}, {**FREQUENT[1], 'id': 2}]
    other['categories'].metadata['categories'] = json.dumps(turned)
    other.commit()
    with pytest.raises(
        ValueError, match='scores several lakes together only if they have the same categ'
    ):
        _evaluate(one, DeepLakeDataset(path, test_mode=True))
