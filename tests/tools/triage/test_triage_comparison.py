"""Two runs on one page: what changed, and how far their average precision is apart."""

from __future__ import annotations

import contextlib
import io
import json
import re
import shutil
from typing import Any

import numpy as np
import pytest
from helpers.lakes import TYPES, write_lake
from helpers.predictions import (
    CASES,
    CAT,
    DOG,
    polygons_of_cases,
    predict,
    predict_cases,
    rows_of_cases,
)
from helpers.triage_data import OTHERS, data_of
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from mmdet_deeplake_plugin.evaluation import COUNTS
from mmdet_deeplake_plugin.lake import LakeSpec, StoredPredictions, open_lake, open_source
from mmdet_deeplake_plugin.tools.triage import triage
from mmdet_deeplake_plugin.tools.triage_page.comparison import (
    CHANGES,
    DRAWS,
    SIZES,
    rankings_by_size,
)
from mmdet_deeplake_plugin.tools.triage_page.run import read_annotations, read_run

EXPECTED = ['better', 'worse', 'changed', 'same', 'same', 'same', 'same']


def _predict_others(path: str, **keys: Any) -> None:
    found = {number: OTHERS.get(number, case) for number, (case, _) in enumerate(CASES)}
    predict(path, found, **keys)


def test_each_image_is_better_or_worse(path, tmp_path):
    """By F1, and by the counts of errors where that is equal; differences are this - other."""
    _predict_others(path, branch='runs/b')
    triage(f'{path}@runs/a', tmp_path / 'page', compare='runs/b')
    data = data_of(tmp_path / 'page')
    compare = data['compare']
    assert [compare['changes'][number] for number in compare['change']] == EXPECTED
    assert compare['numbers'].keys() == {*COUNTS, 'f1', 'label_quality'}
    assert compare['numbers']['tp'] == [1, -1, 0, 0, 0, 0, 0]
    assert compare['numbers']['duplicate'] == [0, 0, 1, 0, 0, 0, 0]
    assert [run['branch'] for run in data['runs']] == ['runs/a', 'runs/b']
    assert len(data['runs'][1]['scores']) == sum(
        len(OTHERS.get(number, case)) for number, (case, _) in enumerate(CASES)
    )
    assert compare['draws'] == DRAWS


def test_predictions_on_one_branch_are_compared(path, tmp_path):
    """By their names, of which the other one need not be said."""
    _predict_others(path, name='other')
    options: list[dict[str, Any]] = [dict(), dict(compare_name='other')]
    for number, keys in enumerate(options):
        out = tmp_path / f'page{number}'
        triage(f'{path}@runs/a', out, name='net', compare='runs/a', **keys)
        data = data_of(out)
        assert [run['name'] for run in data['runs']] == ['net', 'other']
        found = [CHANGES[each] for each in data['compare']['change']]
        assert found == EXPECTED
        # Numbers of the other run are numbers of the image, but do not differ.
        assert 'other/f1' in data['numbers']
        assert 'other/f1' not in data['compare']['numbers']


def test_images_that_one_run_left_out_are_not_compared(path, tmp_path):
    """And do not count in its average precision."""
    predict_cases(path, 4, branch='runs/b')
    triage(f'{path}@runs/a', tmp_path / 'page', compare=f'{path}@runs/b')
    compare = data_of(tmp_path / 'page')['compare']
    found = [CHANGES[each] for each in compare['change']]
    assert found == ['same'] * 4 + ['not compared'] * 3
    assert compare['numbers']['f1'][4:] == [None] * 3
    first = compare['table'][0]
    assert (first['cls'], first['size'], first['positives']) == (-1, 'all', 8)
    assert first['this'] == first['other'] and first['low'] == first['high'] == 0


def test_a_lake_without_annotations_cannot_be_compared(tmp_path):
    """There is nothing to judge by."""
    rows = [
        {key: value for key, value in row.items() if key not in ('boxes', 'categories')}
        for row in rows_of_cases(2)
    ]
    path = write_lake(tmp_path / 'lake', rows, dict(boxes=None, categories=None))
    keys = dict(
        metainfo=dict(classes=('cat', 'dog', 'owl')),
        deeplake_tensors=dict(gt_bboxes=None, gt_labels=None),
    )
    for branch in ('runs/a', 'runs/b'):
        predict_cases(path, 2, branch=branch, dataset=keys)
    with pytest.raises(ValueError, match='--compare needs annotations to judge'):
        triage(f'{path}@runs/a', tmp_path / 'page', compare='runs/b')
    assert not (tmp_path / 'page').exists()


RULES: dict[str, tuple[dict[str, Any], str, str]] = {
    'IoU': (dict(iou_thr=0.3), 'iou_thr=0.5', 'iou_thr=0.3'),
    'score': (dict(score_thr=0.1), 'score_thr=0.3', 'score_thr=0.1'),
    'areas': (dict(area_range=(0, 1024)), 'area_range=None', 'area_range=[0.0, 1024.0]'),
    'several': (
        dict(iou_thr=0.3, max_dets=7),
        'iou_thr=0.5, max_dets=100',
        'iou_thr=0.3, max_dets=7',
    ),
}


@pytest.mark.parametrize('name', RULES)
def test_runs_that_were_judged_by_different_rules_are_not_compared(name, path, tmp_path):
    """The error has both values, and says what to write for the second run."""
    keys, this, other = RULES[name]
    predict_cases(path, branch='runs/b', **keys)
    expected = (
        rf"'net' of lake {path}@runs/a \(.*\) was judged with {re.escape(this)}, and 'net' "
        rf'of lake {path}@runs/b \(.*\) with {re.escape(other)}; run tools/test.py again for '
        rf'the second, with {re.escape(this)} and another name= in DeepLakePredictions$'
    )
    with pytest.raises(ValueError, match=expected):
        triage(f'{path}@runs/a', tmp_path / 'page', compare='runs/b')
    assert not (tmp_path / 'page').exists()


def test_boxes_and_masks_are_not_compared(tmp_path):
    """What overlaps is a rule too."""
    rows = rows_of_cases(2, segmentation=lambda _: polygons_of_cases())
    path = write_lake(tmp_path / 'lake', rows, {'segmentation': TYPES['text']})
    both = {number: [(CAT, 0.9, 0), (DOG, 0.8, 1)] for number in range(2)}
    for kind in ('bbox', 'segm'):
        predict(path, both, masks=True, iou_type=kind, branch=f'runs/{kind}')
    with pytest.raises(ValueError, match=r"with iou_type='bbox', and .* iou_type='segm'; run"):
        triage(f'{path}@runs/bbox', tmp_path / 'page', compare='runs/segm')


def _noisy(path: str, seed: int, num_classes: int) -> dict[int, list[Any]]:
    """Shifted, missed, doubled and mislabelled boxes with distinct scores."""
    rng = np.random.default_rng(seed)
    lake, _ = open_lake(LakeSpec.from_config(path))
    table = lake.annotations(None)
    found = {}
    for index in range(len(table)):
        part = slice(*table.offsets[index : index + 2].tolist())
        objects = []
        for box, label in zip(table.boxes_xyxy[part], table.labels[part].tolist()):
            for _ in range(rng.integers(0, 3)):
                sides = np.tile(box[2:] - box[:2], 2)
                moved = (box + rng.normal(0, 0.08, 4) * sides).astype(np.float32)
                if rng.random() < 0.1:
                    label = int(rng.integers(num_classes))
                objects.append((tuple(moved.tolist()), float(rng.random()), label))
        found[index] = objects
    return found


@pytest.fixture(scope='module')
def coco_run(lake, tmp_path_factory) -> tuple[str, dict[int, list[Any]]]:
    """A lake of photographs with crowds and objects of all sizes, and noisy predictions."""
    path = str(shutil.copytree(lake('coco_cc'), tmp_path_factory.mktemp('lakes') / 'coco'))
    classes = len(open_lake(LakeSpec.from_config(path))[0].columns.class_names)
    found = _noisy(path, 0, classes)
    predict(path, found)
    return path, found


def _stock(
    ann_file: str, classes: tuple[str, ...], found: dict[int, list[Any]]
) -> COCOeval:
    with contextlib.redirect_stdout(io.StringIO()):
        coco = COCO(ann_file)
        ids = {each['name']: each['id'] for each in coco.dataset['categories']}
        images = [each['id'] for each in coco.dataset['images']]
        results = [
            dict(
                image_id=images[index],
                category_id=ids[classes[label]],
                bbox=[x, y, z - x, b - y],
                score=float(np.float32(score)),
            )
            for index, objects in found.items()
            for (x, y, z, b), score, label in objects
        ]
        evaluation = COCOeval(coco, coco.loadRes(results), 'bbox')
        evaluation.params.iouThrs = np.array([0.5])
        evaluation.evaluate()
        evaluation.accumulate()
    return evaluation


def test_average_precision_is_that_of_pycocotools(coco_run, coco_files, tmp_path):
    """Of each class, and for objects of each size, with crowds."""
    path, found = coco_run
    triage(f'{path}@runs/a', tmp_path / 'page')
    source, _ = open_source(LakeSpec.from_config(f'{path}@runs/a'))
    stored = StoredPredictions(source, 'net')
    rows = np.arange(source.num_rows)
    lake, _ = open_lake(LakeSpec.from_config(f'{path}@runs/a'))
    gt = read_annotations(lake, stored, rows)
    by_size = rankings_by_size(read_run(stored, gt, rows), gt, rows)
    evaluation = _stock(coco_files('coco_cc')['ann_file'], stored.class_names, found)
    curves = data_of(tmp_path / 'page')['curves'][1:]
    seen = dict.fromkeys(['all', *SIZES], 0)
    for number, size in enumerate(['all', *SIZES]):
        precisions = evaluation.eval['precision'][0, :, :, number, -1]
        for label, ranking in enumerate(by_size[size]):
            column = evaluation.params.catIds.index(gt.category_ids[label])
            expected, average = precisions[:, column], ranking.average()
            if (expected == -1).all():
                assert np.isnan(average)
                continue
            assert average == expected.mean(), (size, label)
            if size == 'all':
                assert curves[label]['ap'] == average
                assert curves[label]['precision'] == np.round(expected, 4).tolist()
            seen[size] += 0 < average < 1
    assert min(seen.values()) > 0


def test_a_comparison_of_real_sizes(coco_run, tmp_path):
    """By class and size, with intervals that hold the difference; only classes that are."""
    path, found = coco_run
    better = {
        index: [each for each in objects if each[1] > 0.1]
        for index, objects in found.items()
    }
    predict(path, better, branch='runs/b')
    triage(f'{path}@runs/a', tmp_path / 'page', compare='runs/b')
    table = data_of(tmp_path / 'page')['compare']['table']
    assert {entry['size'] for entry in table} == {'all', *SIZES}
    means = {entry['size']: entry for entry in table if entry['cls'] < 0}
    assert means['all']['positives'] == sum(means[size]['positives'] for size in SIZES)
    for entry in table:
        assert entry['cls'] < 0 or entry['positives'] > 0
        if entry['low'] is not None:
            assert entry['low'] <= entry['high']
    # Predictions that the other run left out can only add to the precision.
    assert all(entry['this'] >= entry['other'] for entry in table)
    assert means['all']['this'] > means['all']['other']
    json.dumps(table, allow_nan=False)


def test_the_masks_of_both_runs_are_matched_by_size(tmp_path):
    """The area is that of the mask, where masks were compared."""
    rows = rows_of_cases(2, segmentation=lambda _: polygons_of_cases())
    path = write_lake(tmp_path / 'lake', rows, {'segmentation': TYPES['text']})
    both = {number: [(CAT, 0.9, 0), (DOG, 0.8, 1)] for number in range(2)}
    for branch in ('runs/a', 'runs/b'):
        predict(path, both, masks=True, iou_type='segm', branch=branch)
    triage(f'{path}@runs/a', tmp_path / 'page', compare='runs/b')
    table = data_of(tmp_path / 'page')['compare']['table']
    small = {entry['cls']: entry for entry in table if entry['size'] == 'small'}
    assert {cls: entry['this'] for cls, entry in small.items()} == {-1: 1, 0: 1, 1: 1}
