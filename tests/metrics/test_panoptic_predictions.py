"""DeepLakePredictions of panoptic segments, judged as panopticapi judges each of them."""

from __future__ import annotations

import json
import shutil
from collections import Counter
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from helpers.lakes import HEIGHT, TYPES, WIDTH, open_lake, row, write_lake
from helpers.panoptic_data import CLASSES, VOID, panoptic_samples
from mmdet.evaluation.functional.panoptic_utils import pq_compute_single_core
from pycocotools import mask as coco_mask

from mmdet_deeplake_plugin import DeepLakeDataset, DeepLakePredictions
from mmdet_deeplake_plugin.evaluation import ERRORS, FATES, VERDICTS
from mmdet_deeplake_plugin.lake import LakeSpec, StoredPredictions, open_source
from mmdet_deeplake_plugin.structures.masks import unpack_segmentations
from mmdet_deeplake_plugin.structures.seg_maps import colours_of

pytest.importorskip('panopticapi', reason='the matching of MMDetection needs panopticapi')

KINDS = ('moved', 'noise', 'ignored', 'void-in-parts', 'nothing')
IMAGES = 12
# Image 5 is of stuff alone, and the things of 9 are crowds.
JUDGED = dict(moved=range(IMAGES), noise=(5, 9), ignored=(3, 9), nothing=(3, 9))


@pytest.fixture(scope='module')
def dataset(panoptic_lake, tmp_path_factory) -> DeepLakeDataset:
    """Some images of a lake that has the predictions of each kind on a branch."""
    path = tmp_path_factory.mktemp('written') / 'lake'
    shutil.copytree(panoptic_lake, path)
    dataset = DeepLakeDataset(str(path), test_mode=True, indices=IMAGES)
    for kind in KINDS:
        _write(dataset, panoptic_samples(dataset, kind), name=kind)
    return dataset


def _write(dataset: Any, samples: list[dict], **keys: Any) -> None:
    keys = {'branch': 'runs/a', 'metrics_format': 'Panoptic', **keys}
    metric = DeepLakePredictions(**keys)
    metric.dataset_meta = dataset.metainfo
    for sample in samples:
        metric.process({}, [sample])
    assert metric.evaluate(len(samples)) == {}


def _read(dataset: Any, name: str, count: int = IMAGES) -> list[dict[str, Any]]:
    """What is stored of each row that was predicted."""
    path = dataset.lake.source.spec.path
    source, _ = open_source(LakeSpec.from_config(f'{path}@runs/a'))
    stored, rows = StoredPredictions(source, name), dataset.rows_of(np.arange(count))
    names = ('boxes', 'labels', 'scores', 'masks', 'verdict', 'match', 'iou', 'error')
    names += ('gt_fate', 'gt_iou', 'tp', 'fp', 'fn', 'f1', 'background', 'missed')
    columns = {each: stored.values(each, rows) for each in names if stored.has(each)}
    return [{k: values[i] for k, values in columns.items()} for i in range(count)]


def _branches(path: str) -> list[str]:
    lake = open_lake(path, writable=False)  # branches end with their lake
    return list(lake.branches.names())


def _pixels(sample: dict) -> np.ndarray:
    """Predicted ids, with one number for void."""
    found = sample['pred_panoptic_seg']
    pixels = found['sem_seg'].numpy()[0]
    is_void = (pixels % 1000 == VOID) | (pixels % 1000 == found.get('ignore_index'))
    return np.where(is_void, VOID, pixels)


@pytest.mark.parametrize('kind', KINDS)
def test_each_segment_is_written(kind, dataset):
    """The masks with their labels are the predicted map, and boxes lie around them."""
    samples = panoptic_samples(dataset, kind)
    for sample, stored in zip(samples, _read(dataset, kind)):
        pixels = _pixels(sample)
        segments = [each for each in np.unique(pixels) if each != VOID]
        assert stored['labels'].tolist() == [each % 1000 for each in segments]
        assert stored['scores'].tolist() == [1] * len(segments)
        masks = unpack_segmentations(stored['masks'])
        assert len(masks) == len(stored['boxes']) == len(segments)
        for segment, mask, box in zip(segments, masks, stored['boxes']):
            assert np.array_equal(coco_mask.decode(mask) == 1, pixels == segment)
            ys, xs = np.nonzero(pixels == segment)
            assert box.tolist() == [xs.min(), ys.min(), xs.max() + 1, ys.max() + 1]


class _Stock:
    """What MMDetection's copy of panopticapi says of the segments of an image."""

    def __init__(self, root: Path, folder: Path) -> None:
        content = json.loads((root / 'panoptic.json').read_text())
        self.truth = {each['image_id']: each for each in content['annotations']}
        self.ids = {each['name']: each['id'] for each in content['categories']}
        self._root, self._folder = root, folder
        self._categories = {each['id']: each for each in content['categories']}

    def __call__(self, img_id: int, pixels: np.ndarray, segments: list[int]) -> Any:
        """The counts by category if only some segments had been predicted."""
        ids = np.where(np.isin(pixels, segments), pixels, 0)
        cv2.imwrite(str(self._folder / 'found.png'), colours_of(ids)[:, :, ::-1])
        infos = [
            {'id': int(each), 'category_id': self.ids[CLASSES[each % 1000]]}
            for each in segments
        ]
        found = dict(image_id=img_id, file_name='found.png', segments_info=infos)
        return pq_compute_single_core(
            0,
            [(self.truth[img_id], found)],
            str(self._root / 'panoptic'),
            str(self._folder),
            self._categories,
        )


@pytest.mark.parametrize('kind', JUDGED)
def test_verdicts_are_those_of_panopticapi(kind, dataset, panoptic_root, tmp_path):
    """Of each segment by itself, on which others have no influence, and its IoU."""
    stock = _Stock(panoptic_root, tmp_path)
    seen: Counter[str] = Counter()
    samples, rows = panoptic_samples(dataset, kind), _read(dataset, kind)
    for sample, stored in ((samples[image], rows[image]) for image in JUDGED[kind]):
        pixels = _pixels(sample)
        segments = [int(each) for each in np.unique(pixels) if each != VOID]
        truth = stock.truth[sample['img_id']]['segments_info']
        for number, segment in enumerate(segments):
            if segment == 0:
                continue  # by itself it could not be told from what is void
            counts = stock(sample['img_id'], pixels, [segment])
            category = stock.ids[CLASSES[segment % 1000]]
            of_class = counts[category]
            verdict = {(1, 0): 'right', (0, 1): 'wrong'}.get(
                (of_class.tp, of_class.fp), 'ignored'
            )
            assert VERDICTS[stored['verdict'][number]] == verdict
            seen[verdict] += 1
            match = int(stored['match'][number])
            assert (match >= 0) == (verdict == 'right')
            if match >= 0:
                assert truth[match]['category_id'] == category
                assert stored['iou'][number] == np.float32(of_class.iou)
                assert FATES[stored['gt_fate'][match]] == 'found'
        counts = stock(sample['img_id'], pixels, segments)
        fates = [FATES[each] for each in stored['gt_fate']]
        assert len(fates) == len(truth)
        for category in stock.ids.values():
            own = [f for f, each in zip(fates, truth) if each['category_id'] == category]
            assert own.count('found') == counts[category].tp
            assert own.count('missed') == counts[category].fn
        assert int(stored['tp']) == sum(each.tp for each in counts.pq_per_cat.values())
        assert int(stored['fp']) == sum(each.fp for each in counts.pq_per_cat.values())
        assert int(stored['fn']) == sum(each.fn for each in counts.pq_per_cat.values())
        crowds = [bool(each['iscrowd']) for each in truth]
        assert [each == 'ignored' for each in fates] == crowds
    if kind == 'moved':
        assert seen.keys() == {'right', 'wrong', 'ignored'}


# --------------------------------------------------------------------- a small panorama

VOID_OF_SMALL = 3
THINGS = dict(metainfo=dict(thing_classes=('cat', 'dog')))


@pytest.fixture
def small(tmp_path) -> str:
    """A lake of an image with two cats, a dog and an owl, one below the other."""
    truth = np.zeros((HEIGHT, WIDTH), np.int32)
    truth[:, :30] = np.arange(HEIGHT)[:, None] // 10 + 1
    boxes = [[0, top, 30, 10] for top in (0, 10, 20, 30)]
    values = {
        **row(0, boxes, [0, 0, 1, 2]),
        'segment_id': np.arange(1, 5, dtype=np.int32),
        'seg_map': truth,
    }
    columns = {'seg_map': TYPES['map-32-bit'], 'segment_id': TYPES['ints']}
    return write_lake(tmp_path / 'lake', [values], columns)


def _sample(dataset: Any, pixels: np.ndarray) -> dict:
    return dict(
        img_path=dataset.get_data_info(0)['img_path'],
        pred_panoptic_seg=dict(sem_seg=torch.tensor(pixels[None])),
    )


def test_each_verdict_and_error_of_segments(small):
    """What lies where the truth is void does not count, in part or as a whole."""
    dataset = DeepLakeDataset(small, test_mode=True, **THINGS)
    pixels = np.full((HEIGHT, WIDTH), VOID_OF_SMALL)
    found = {
        1: ((30, 33, 0, 30), 'wrong', 'both'),  # a dog on a third of the owl
        1000: ((10, 20, 0, 12), 'wrong', 'localisation'),
        1002: ((0, 40, 50, 60), 'ignored', 'none'),
        2000: ((20, 30, 0, 29), 'wrong', 'classification'),
        3002: ((34, 35, 0, 20), 'wrong', 'background'),
        4000: ((0, 10, 10, 45), 'right', 'none'),  # two thirds of a cat, and void
    }
    for segment, ((top, bottom, left, right), _, _) in found.items():
        pixels[top:bottom, left:right] = segment
    _write(dataset, [_sample(dataset, pixels)], name='net')
    (stored,) = _read(dataset, 'net', 1)
    assert stored['labels'].tolist() == [segment % 1000 for segment in found]
    _, verdicts, errors = zip(*found.values())
    assert [VERDICTS[each] for each in stored['verdict']] == list(verdicts)
    assert [ERRORS[each] for each in stored['error']] == list(errors)
    assert stored['match'].tolist() == [-1] * 5 + [0]
    shares = np.array([90, 120, 0, 290, 20, 200]) / 300
    assert np.array_equal(stored['iou'], shares.astype(np.float32))
    fates = [FATES[each] for each in stored['gt_fate']]
    assert fates == ['found', 'missed', 'missed', 'missed']
    counts = dict(tp=1, fp=4, fn=3, background=1, missed=1, f1=2 / 9)
    assert {name: stored[name] for name in counts} == counts


def test_a_lake_without_segments_gets_the_predictions_alone(tmp_path):
    """Of images without any annotation, to make labels of."""
    values = {k: v for k, v in row(0).items() if k not in ('boxes', 'categories')}
    path = write_lake(tmp_path / 'lake', [values], dict(boxes=None, categories=None))
    dataset = DeepLakeDataset(
        path,
        test_mode=True,
        deeplake_tensors=dict(gt_bboxes=None, gt_labels=None),
        metainfo=dict(classes=('cat', 'dog', 'owl')),
    )
    pixels = np.full((HEIGHT, WIDTH), 1001)
    pixels[:, 30:] = 2
    _write(dataset, [_sample(dataset, pixels)], name='net')
    (stored,) = _read(dataset, 'net', 1)
    assert stored.keys() == {'boxes', 'labels', 'scores', 'masks'}
    assert stored['labels'].tolist() == [2, 1]
    assert stored['boxes'].tolist() == [[30, 0, WIDTH, HEIGHT], [0, 0, 30, HEIGHT]]


def test_a_broken_image_is_null(small):
    """What was predicted on the black picture in its place is not written."""
    dataset = DeepLakeDataset(small, test_mode=True, **THINGS)
    sample = _sample(dataset, np.zeros((HEIGHT, WIDTH), np.int64))
    path = dataset.lake.blank_path(0, '000000.jpg', WIDTH, HEIGHT)
    _write(dataset, [{**sample, 'img_path': path}], name='net')
    assert _branches(small) == ['main']


MISTAKES: dict[str, tuple[dict, Any, type[Exception], str]] = {
    'threshold': (dict(iou_thr=0.75), 0, ValueError, 'iou_thr=0.75 has no meaning for met'),
    'score': (dict(score_thr=0.5), 0, ValueError, 'score_thr=0.5 has no meaning'),
    'number': (dict(max_dets=9), 0, ValueError, 'max_dets=9 has no meaning'),
    'area': (dict(area_range=(0, 9)), 0, ValueError, r'area_range=\(0.0, 9.0\) has no mea'),
    'masks': (dict(iou_type='segm'), 0, ValueError, "iou_type='segm' has no meaning"),
    'class': ({}, 1007, ValueError, 'row 0: the model predicts label 7, but the dataset'),
    'size': ({}, (HEIGHT + 1, WIDTH), ValueError, r'row 0: the model predicts 41 x 64'),
    'no map': ({}, None, KeyError, 'the model does not predict pred_panoptic_seg'),
}


@pytest.mark.parametrize('mistake', MISTAKES)
def test_mistakes(mistake, small):
    """Each says what was found, and leaves the lake as it was."""
    keys, wrong, error, text = MISTAKES[mistake]
    dataset = DeepLakeDataset(small, test_mode=True, **THINGS)
    shape = wrong if isinstance(wrong, tuple) else (HEIGHT, WIDTH)
    value = wrong if isinstance(wrong, int) else 0
    sample = _sample(dataset, np.full(shape, value))
    if wrong is None:
        del sample['pred_panoptic_seg']
    with pytest.raises(error, match=text):
        _write(dataset, [sample], name='net', **keys)
    assert _branches(small) == ['main']


def test_a_lake_of_boxes_is_not_judged_by_segments(tmp_path):
    """The error names the columns that are absent."""
    dataset = DeepLakeDataset(write_lake(tmp_path / 'lake', [row(0)]), test_mode=True)
    sample = _sample(dataset, np.zeros((HEIGHT, WIDTH), np.int64))
    with pytest.raises(ValueError, match='has no columns for gt_seg_map and segment_ids'):
        _write(dataset, [sample], name='net')
