"""COCO's metrics equal MMDetection's, but for the differences that are wanted."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from mmdet_deeplake_plugin.evaluation import Prediction, evaluate_coco

BBOX_KEYS = [f'bbox_mAP{suffix}' for suffix in ('', '_50', '_75', '_s', '_m', '_l')]
# Without this repair stock's proposal_fast fails, see evaluation/recall.py.
pytestmark = pytest.mark.usefixtures('ragged_arrays')


@pytest.mark.parametrize('backend', ['pycocotools', 'faster_coco_eval'])
@pytest.mark.parametrize(
    ('metrics', 'options'),
    [
        pytest.param('bbox', {'classwise': True}, id='bbox-classwise'),
        pytest.param('proposal', {}, id='proposal'),
        pytest.param('proposal_fast', {}, id='proposal_fast'),
    ],
)
def test_equals_stock(
    case: Any, metrics: str, options: dict, backend: str, same: Any
) -> None:
    """Every metric has stock's names and digits, on drawn and on real data."""
    ours = case.ours(metrics, backend=backend, **options)
    assert same(ours, case.stock(metrics, **options))
    assert any(0 < value < 1 for value in ours.values())


@pytest.mark.parametrize('backend', ['pycocotools', 'faster_coco_eval'])
@pytest.mark.parametrize(
    ('metrics', 'options'),
    [
        pytest.param(['bbox', 'proposal'], {}, id='two-metrics'),
        pytest.param(['proposal_fast', 'bbox'], {}, id='fast-first'),
        pytest.param('bbox', {'proposal_nums': (1, 3, 100)}, id='few-detections'),
        pytest.param('bbox', {'proposal_nums': (100, 5, 1)}, id='falling-numbers'),
        pytest.param('proposal', {'proposal_nums': (1, 3, 5)}, id='few-proposals'),
        pytest.param(
            'proposal_fast',
            {'proposal_nums': [1, 4], 'iou_thrs': np.array([0.5, 0.7])},
            id='fast-two-numbers',
        ),
        pytest.param(
            'bbox', {'iou_thrs': np.array([0.5, 0.6, 0.75])}, id='own-thresholds'
        ),
        pytest.param('bbox', {'iou_thrs': np.array([0.3])}, id='no-0.5'),
        pytest.param(
            'bbox', {'metric_items': ['mAP_75', 'AR@300', 'AR_s@1000']}, id='items'
        ),
        pytest.param('proposal', {'metric_items': ['AR@300', 'mAP']}, id='items-prop'),
        pytest.param('bbox', {'metric_items': []}, id='no-items'),
        pytest.param(
            'bbox', {'sort_categories': True, 'classwise': True}, id='sorted-categories'
        ),
    ],
)
def test_options_equal_stock(
    synthetic: Any, metrics: Any, options: dict, backend: str, same: Any
) -> None:
    """Every option changes the numbers as it does in stock."""
    ours = synthetic.ours(metrics, backend=backend, **options)
    assert same(ours, synthetic.stock(metrics, **options))


@pytest.mark.parametrize('backend', ['pycocotools', 'faster_coco_eval'])
def test_one_number_of_detections_is_that_of_all_precisions(
    synthetic: Any, backend: str, same: Any
) -> None:
    """V3Det asks for 300 alone, with stock's evaluation in several processes."""
    few = {'proposal_nums': [2], 'classwise': True}
    ours = synthetic.ours(backend=backend, **few)
    assert same(ours, synthetic.stock(use_mp_eval=True, **few))
    assert 0 < ours['bbox_mAP'] < synthetic.ours()['bbox_mAP']


@pytest.mark.parametrize('backend', ['pycocotools', 'faster_coco_eval'])
@pytest.mark.parametrize('metric', ['bbox', 'proposal', 'proposal_fast'])
@pytest.mark.parametrize(
    'classes',
    [('dog', 'fox'), ('fox', 'cat'), ('fox', 'owl', 'dog', 'cat')],
    ids=['subset', 'reordered-subset', 'reordered'],
)
def test_classes_are_matched_by_name(
    synthetic: Any, classes: tuple[str, ...], metric: str, backend: str, same: Any
) -> None:
    """A label means its class by name, in whatever order the classes are given."""
    chosen = synthetic.with_classes(*classes)
    options = {'classwise': metric == 'bbox'}
    ours = chosen.ours(metric, backend=backend, **options)
    assert same(ours, chosen.stock(metric, **options))


@pytest.mark.parametrize('backend', ['pycocotools', 'faster_coco_eval'])
@pytest.mark.parametrize('metric', ['bbox', 'proposal', 'proposal_fast'])
@pytest.mark.parametrize('sort', [False, True], ids=['as-stored', 'sorted'])
def test_unsorted_categories_equal_stock(
    synthetic: Any, metric: str, sort: bool, backend: str, same: Any
) -> None:
    """Ties between classes fall as in stock, in whatever order ids are stored."""
    categories = [synthetic.content['categories'][i] for i in (3, 0, 2, 1)]
    content = {**synthetic.content, 'categories': categories}
    unsorted = replace(synthetic, content=content)
    options = {'sort_categories': sort}
    ours = unsorted.ours(metric, backend=backend, **options)
    assert same(ours, unsorted.stock(metric, **options))


def test_written_file_equals_stock(case: Any, tmp_path: Any) -> None:
    """The result file has stock's content in stock's order."""
    case.ours(outfile_prefix=str(tmp_path / 'new' / 'ours'))
    case.stock(outfile_prefix=str(tmp_path / 'stock'), format_only=True)
    ours = (tmp_path / 'new' / 'ours.bbox.json').read_text()
    stock = (tmp_path / 'stock.bbox.json').read_text()
    assert json.loads(ours) == json.loads(stock)
    assert json.loads(ours)


def test_format_only_writes_without_scoring(synthetic: Any, tmp_path: Any) -> None:
    """With format_only the file is written and nothing is reported."""
    prefix = str(tmp_path / 'ours')
    assert synthetic.ours(format_only=True, outfile_prefix=prefix) == {}
    written = json.loads((tmp_path / 'ours.bbox.json').read_text())
    assert len(written) == sum(len(p.labels) for p in synthetic.predictions)


def test_tables_go_to_the_log_only(
    synthetic: Any, log: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    """The log gets stock's class table and COCO's summary, stdout gets nothing."""
    synthetic.stock(classwise=True)
    stock_table, stock_line = log.table('| category'), log.table('copypaste')
    summary = capsys.readouterr().out
    log.messages.clear()

    synthetic.ours(classwise=True)
    assert log.table('| category') == stock_table
    assert log.table('copypaste') == stock_line
    assert log.table('Average Precision').strip('\n') in summary
    assert 'index' not in ''.join(log.messages)
    assert 'Average Precision' not in capsys.readouterr().out


def test_fast_recall_logs_stocks_tables(synthetic: Any, log: Any) -> None:
    """proposal_fast logs the same two tables as stock."""
    synthetic.stock('proposal_fast')
    stock = [text for text in log.messages if 'R@' in text or '+--' in text]
    log.messages.clear()
    synthetic.ours('proposal_fast')
    assert len(stock) == 2
    assert [text for text in log.messages if text in stock] == stock


def test_mean_precision_comes_first(synthetic: Any) -> None:
    """save_best='auto' takes the first number, which is the mAP."""
    results = synthetic.ours(['proposal', 'bbox'], classwise=True)
    assert next(iter(results)) == 'bbox_mAP'
    assert list(synthetic.ours()) == BBOX_KEYS


def test_no_detections_are_zeros(synthetic: Any, tmp_path: Any) -> None:
    """A model that finds nothing scores zero in every metric, not nothing."""
    silent = synthetic.without_detections()
    prefix = str(tmp_path / 'ours')
    metrics = ['bbox', 'proposal', 'proposal_fast']
    results = silent.ours(metrics, classwise=True, outfile_prefix=prefix)
    assert math.isnan(results.pop('owl_precision'))
    assert set(results.values()) == {0.0}
    assert set(BBOX_KEYS) < set(results)
    assert json.loads((tmp_path / 'ours.bbox.json').read_text()) == []
    # Stock says nothing, so that save_best has nothing to compare.
    assert silent.stock() == {}


@pytest.mark.parametrize('metric', ['bbox', 'proposal', 'proposal_fast'])
@pytest.mark.filterwarnings('ignore:invalid value encountered:RuntimeWarning')
def test_no_ground_truth_equals_stock(synthetic: Any, metric: str, same: Any) -> None:
    """Without any annotation the numbers are stock's -1 and NaN."""
    bare = synthetic.without_ground_truth()
    options = {'classwise': metric == 'bbox'}
    ours = bare.ours(metric, **options)
    assert same(ours, bare.stock(metric, **options))
    assert all(value == -1 or math.isnan(value) for value in ours.values())


def test_classwise_rows_of_unsorted_categories(synthetic: Any, log: Any) -> None:
    """A class keeps its precision and its row in whatever order ids are stored."""
    by_id = synthetic.ours(classwise=True)
    backwards = {
        **synthetic.content,
        'categories': synthetic.content['categories'][::-1],
    }
    log.messages.clear()
    unsorted = replace(synthetic, content=backwards).ours(classwise=True)
    assert str(unsorted.keys()) != str(by_id.keys())
    assert {name: str(value) for name, value in unsorted.items()} == {
        name: str(value) for name, value in by_id.items()
    }
    assert by_id['cat_precision'] != by_id['fox_precision']
    row = next(row for row in log.table('| category').split('\n') if '| fox' in row)
    assert str(by_id['fox_precision']) in row


@pytest.mark.parametrize(
    ('sort', 'order'), [(False, 'fox owl dog cat'), (True, 'cat dog owl fox')]
)
def test_sort_categories_orders_the_rows(synthetic: Any, sort: bool, order: str) -> None:
    """Classes are listed as stored, or by category id on demand."""
    categories = synthetic.content['categories'][::-1]
    unsorted = replace(synthetic, content={**synthetic.content, 'categories': categories})
    results = unsorted.ours(classwise=True, sort_categories=sort)
    rows = [name[:-10] for name in results if name.endswith('_precision')]
    assert rows == order.split()


@pytest.mark.parametrize(
    ('given', 'equal'),
    [(0.5, [0.5]), ([0.5, 0.75], [0.5, 0.75]), ((0.4, 0.6), [0.4, 0.6])],
    ids=['float', 'list', 'tuple'],
)
def test_thresholds_in_any_form(
    synthetic: Any, given: Any, equal: list[float], same: Any
) -> None:
    """A float, list or tuple of thresholds means what an array means in stock."""
    ours = synthetic.ours(iou_thrs=given)
    assert same(ours, synthetic.stock(iou_thrs=np.array(equal)))


def test_classwise_columns_of_own_thresholds(synthetic: Any, log: Any) -> None:
    """The table's mAP_50 and mAP_75 are those thresholds, or NaN if not evaluated."""
    synthetic.ours(classwise=True)
    row = [text for text in log.table('| category').split('\n') if '| cat ' in text]
    full = [cell.strip() for cell in row[0].split('|')[1:-1]]
    log.messages.clear()
    synthetic.ours(classwise=True, iou_thrs=[0.3, 0.75])
    row = [text for text in log.table('| category').split('\n') if '| cat ' in text]
    own = [cell.strip() for cell in row[0].split('|')[1:-1]]
    assert own[2] == 'nan'
    assert own[3] == full[3]


def test_ignored_boxes_stay_ignored(synthetic: Any) -> None:
    """proposal_fast says the same alone and after another metric."""
    alone = synthetic.ours('proposal_fast')
    assert synthetic.ours(['bbox', 'proposal_fast']).items() >= alone.items()
    heedless = [{**a, 'ignore': 0} for a in synthetic.content['annotations']]
    content = {**synthetic.content, 'annotations': heedless}
    assert replace(synthetic, content=content).ours('proposal_fast') != alone
    assert replace(synthetic, content=content).ours() == synthetic.ours()


def test_stored_areas_decide_the_size(synthetic: Any) -> None:
    """Small, medium and large follow the stored area, not width times height."""
    boxes = [
        {**a, 'area': a['bbox'][2] * a['bbox'][3]}
        for a in synthetic.content['annotations']
    ]
    content = {**synthetic.content, 'annotations': boxes}
    by_box = replace(synthetic, content=content).ours()
    stored = synthetic.ours()
    assert by_box['bbox_mAP'] == stored['bbox_mAP']
    assert by_box['bbox_mAP_s'] != stored['bbox_mAP_s']


def test_text_ids(synthetic: Any, tmp_path: Any) -> None:
    """Image ids may be strings: the numbers are the same, the file has them."""
    rank = sorted(image['id'] for image in synthetic.content['images'])
    name = {img_id: f'image-{rank.index(img_id):04d}' for img_id in rank}
    images = [{**i, 'id': name[i['id']]} for i in synthetic.content['images']]
    found = [
        {**a, 'image_id': name[a['image_id']]} for a in synthetic.content['annotations']
    ]
    content = {**synthetic.content, 'images': images, 'annotations': found}
    named = replace(synthetic, content=content)
    assert named.ours(outfile_prefix=str(tmp_path / 'ours')) == synthetic.ours()
    written = json.loads((tmp_path / 'ours.bbox.json').read_text())
    assert {box['image_id'] for box in written} <= set(name.values())


def test_warns_where_precision_is_not_defined(synthetic: Any, log: Any) -> None:
    """Without 100 among proposal_nums COCO's mAP is -1, and the log says why."""
    results = synthetic.ours(proposal_nums=(1, 10, 50))
    assert results['bbox_mAP'] == -1
    assert 'proposal_nums=[1, 10, 50] lacks 100' in log.table('lacks')


@pytest.mark.parametrize(
    ('options', 'error', 'text'),
    [
        pytest.param(
            {'metrics': ['bbox', 'mask']},
            KeyError,
            "unknown metric 'mask': write one of 'bbox', 'segm', 'proposal', 'prop",
            id='metric',
        ),
        pytest.param(
            {'metric_items': ['mAP', 'map_50']},
            KeyError,
            "unknown metric item 'map_50': write one of 'mAP', 'mAP_50'",
            id='item',
        ),
        pytest.param(
            {'metrics': 'proposal_fast', 'metric_items': ['AR@10']},
            KeyError,
            "unknown metric item 'AR@10'",
            id='item-of-fast',
        ),
        pytest.param(
            {'backend': 'pycoco'},
            KeyError,
            "unknown backend 'pycoco' of the COCO evaluation: write one of 'pycocotools'",
            id='backend',
        ),
        pytest.param(
            {'proposal_nums': (100, 300)},
            ValueError,
            r'proposal_nums must be three numbers, .* segm, got \[100, 300\]',
            id='proposal-nums',
        ),
        pytest.param(
            {'proposal_nums': (300,), 'metric_items': ['AR@300']},
            ValueError,
            r'or one number for the precisions of bbox and segm, got \[300\]',
            id='one-proposal-num',
        ),
        pytest.param(
            {'iou_thrs': []},
            ValueError,
            r'iou_thrs must be a number or a list of numbers, .*, got \[\]',
            id='no-thresholds',
        ),
        pytest.param(
            {'format_only': True},
            ValueError,
            'needs outfile_prefix, but it is not set; add outfile_prefix=',
            id='format-only',
        ),
        pytest.param(
            {'classes': ('cat', 'wolf', 'owl', 'fox')},
            ValueError,
            "classes 'wolf' are not in the ground truth, which has 'cat', 'dog', 'owl', "
            "'fox'; write ",
            id='class',
        ),
        pytest.param(
            {'classes': ('cat', 'dog', 'cat', 'fox')},
            ValueError,
            "classes must be unique, but repeat 'cat'",
            id='repeated-class',
        ),
        pytest.param(
            {'classes': ('cat', 'dog', 'owl')},
            ValueError,
            r"the model predicts label 3, but the dataset has 3 classes \('cat', "
            r"'dog', 'owl'\): set num_classes=3 in the model's head\(s\)",
            id='num-classes',
        ),
    ],
)
def test_mistakes_are_named(
    synthetic: Any, options: dict, error: type[Exception], text: str
) -> None:
    """A mistake in the options gives an error that says what to write."""
    classes = options.pop('classes', synthetic.classes)
    with pytest.raises(error, match=text):
        replace(synthetic, classes=classes).ours(**options)


def test_label_79_of_a_pretrained_head(synthetic: Any) -> None:
    """A head of 80 classes on a smaller dataset is told how many it needs."""
    one = Prediction(np.zeros((1, 4)), np.ones(1), np.array([79]))
    predictions = [one, *synthetic.predictions[1:]]
    with pytest.raises(ValueError, match=r'predicts label 79, .* set num_classes=4'):
        evaluate_coco(synthetic.gt, predictions, synthetic.classes)
