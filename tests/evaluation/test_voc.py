"""Pascal VOC's metrics equal MMDetection's."""

from __future__ import annotations

import multiprocessing
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from multiprocessing.pool import Pool
from typing import Any

import pytest
from mmdet.evaluation import eval_map


@pytest.mark.parametrize('eval_mode', ['11points', 'area'])
def test_mean_precision_equals_stock(case: Any, eval_mode: str, same: Any) -> None:
    """mAP has stock's names and digits in both modes, on drawn and real data."""
    ours = case.ours_voc(eval_mode=eval_mode)
    assert same(ours, case.stock_voc(eval_mode=eval_mode))
    assert 0 < ours['mAP'] < 1


def test_several_thresholds_equal_stock(synthetic: Any, same: Any) -> None:
    """Each threshold has its key, and mAP, in front, is their mean."""
    thresholds = [0.5, 0.55, 0.75]
    ours = synthetic.ours_voc(iou_thrs=thresholds)
    assert same(ours, synthetic.stock_voc(iou_thrs=thresholds))
    assert list(ours) == ['mAP', 'AP50', 'AP55', 'AP75']


@pytest.mark.parametrize('metric', ['mAP', 'recall'])
@pytest.mark.parametrize(
    'classes',
    [('dog', 'fox'), ('fox', 'cat'), ('fox', 'owl', 'dog', 'cat')],
    ids=['subset', 'reordered-subset', 'reordered'],
)
@pytest.mark.usefixtures('ragged_arrays')
def test_classes_are_matched_by_name(
    synthetic: Any, classes: tuple[str, ...], metric: str, same: Any
) -> None:
    """Labels follow the classes' names, instances of other classes play no role."""
    chosen = synthetic.with_classes(*classes)
    assert same(chosen.ours_voc(metric), chosen.stock_voc(metric))


@pytest.mark.parametrize(
    'options',
    [
        pytest.param({}, id='defaults'),
        pytest.param(
            {'iou_thrs': [0.5, 0.7], 'proposal_nums': (1, 2, 5)}, id='thresholds'
        ),
        pytest.param({'iou_thrs': 0.7, 'proposal_nums': [3]}, id='one-number'),
    ],
)
@pytest.mark.usefixtures('ragged_arrays')
def test_recall_equals_stock(case: Any, options: dict, same: Any) -> None:
    """recall has stock's names and digits."""
    assert same(case.ours_voc('recall', **options), case.stock_voc('recall', **options))


def test_recall_keys(synthetic: Any) -> None:
    """Recalls are named by number and threshold; averages need two thresholds."""
    one = synthetic.ours_voc('recall', proposal_nums=(1, 10))
    assert list(one) == ['recall@1@0.5', 'recall@10@0.5']
    two = synthetic.ours_voc('recall', proposal_nums=[10], iou_thrs=[0.5, 0.75])
    assert list(two) == ['recall@10@0.5', 'recall@10@0.75', 'AR@10']


@pytest.mark.parametrize('metric', ['mAP', 'recall'])
@pytest.mark.usefixtures('ragged_arrays')
def test_no_detections_equal_stock(synthetic: Any, metric: str, same: Any) -> None:
    """A model that finds nothing scores zero."""
    silent = synthetic.without_detections()
    ours = silent.ours_voc(metric)
    assert same(ours, silent.stock_voc(metric))
    assert set(ours.values()) == {0.0}


@pytest.mark.parametrize('metric', ['mAP', 'recall'])
@pytest.mark.usefixtures('ragged_arrays')
@pytest.mark.filterwarnings('ignore:invalid value encountered:RuntimeWarning')
def test_no_ground_truth_equals_stock(synthetic: Any, metric: str, same: Any) -> None:
    """Without any annotation the numbers are stock's."""
    bare = synthetic.without_ground_truth()
    assert same(bare.ours_voc(metric), bare.stock_voc(metric))


def test_single_image_equals_stock(synthetic: Any, same: Any) -> None:
    """One image, which is scored without worker processes, gives stock's numbers."""
    image = next(i for i, p in enumerate(synthetic.predictions) if len(p.labels) > 5)
    images = [synthetic.content['images'][image]]
    found = synthetic.content['annotations']
    kept = [a for a in found if a['image_id'] == images[0]['id']]
    one = replace(
        synthetic,
        content={**synthetic.content, 'images': images, 'annotations': kept},
        predictions=[synthetic.predictions[image]],
    )
    assert same(one.ours_voc(), one.stock_voc())


def test_no_worker_is_left(synthetic: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Workers end, also if the thread that hands out tasks lets go of them last."""
    tasks = Pool._guarded_task_generation

    def slowly(pool: Pool, *args: Any) -> Iterator[Any]:
        yield from tasks(pool, *args)
        time.sleep(0.2)

    monkeypatch.setattr(Pool, '_guarded_task_generation', slowly)
    children = set(multiprocessing.active_children())
    threads = set(threading.enumerate())
    assert synthetic.ours_voc()['mAP'] > 0
    assert set(multiprocessing.active_children()) <= children
    assert set(threading.enumerate()) <= threads


def test_scale_ranges(synthetic: Any) -> None:
    """Each range has MMDetection's mAP for it; the whole stays as it is without."""
    ranges = [(0, 32), (32, 96), (96, 1000)]
    thresholds = [0.5, 0.75]
    ours = synthetic.ours_voc(iou_thrs=thresholds, scale_ranges=ranges)
    whole = synthetic.ours_voc(iou_thrs=thresholds)
    assert next(iter(ours)) == 'mAP'
    assert ours.items() >= whole.items()

    annotations, detections = _arrays(synthetic)
    by_threshold = [
        eval_map(
            detections,
            annotations,
            scale_ranges=ranges,
            iou_thr=threshold,
            eval_mode='11points',
            use_legacy_coordinate=True,
            logger='silent',
        )[0]
        for threshold in thresholds
    ]
    for (low, high), values in zip(ranges, zip(*by_threshold)):
        expected = [float(value) for value in values]
        assert ours[f'AP50_{low}_{high}'] == round(expected[0], 3)
        assert ours[f'AP75_{low}_{high}'] == round(expected[1], 3)
        assert ours[f'mAP_{low}_{high}'] == sum(expected) / 2
    assert len({ours[f'mAP_{low}_{high}'] for low, high in ranges}) == 3
    # The reason why stock's metric is no reference here.
    with pytest.raises(TypeError, match='round'):
        synthetic.stock_voc(scale_ranges=ranges)


def _arrays(case: Any) -> tuple[list[dict], list[list]]:
    from mmdet.evaluation import VOCMetric

    metric = VOCMetric()
    metric.dataset_meta = {'classes': case.classes}
    metric.process({}, case.voc_samples())
    annotations, detections = zip(*metric.results)
    return list(annotations), list(detections)


def test_table_equals_stock(synthetic: Any, log: Any) -> None:
    """The log gets stock's tables."""
    synthetic.stock_voc(iou_thrs=[0.5, 0.75])
    stock = list(log.messages)
    log.messages.clear()
    synthetic.ours_voc(iou_thrs=[0.5, 0.75])
    assert log.messages == stock
    assert len(stock) == 4


@pytest.mark.parametrize(
    ('metric', 'options', 'error', 'text'),
    [
        pytest.param(
            'map', {}, KeyError, "unknown metric 'map': write one of 'mAP'", id='metric'
        ),
        pytest.param(
            'mAP',
            {'eval_mode': '2007'},
            ValueError,
            "unknown eval_mode '2007': write one of '11points', 'area'",
            id='mode',
        ),
        pytest.param(
            'mAP',
            {'iou_thrs': []},
            ValueError,
            'iou_thrs must have at least one',
            id='thresholds',
        ),
    ],
)
def test_mistakes_are_named(
    synthetic: Any, metric: str, options: dict, error: type[Exception], text: str
) -> None:
    """A mistake in the options gives an error that says what to write."""
    with pytest.raises(error, match=text):
        synthetic.ours_voc(metric, **options)


def test_unknown_class_is_named(synthetic: Any) -> None:
    """A class that is not stored is an error, not a class without boxes."""
    misspelt = replace(synthetic, classes=('cat', 'dgo', 'owl', 'fox'))
    with pytest.raises(ValueError, match="classes 'dgo' are not in the ground truth"):
        misspelt.ours_voc()
