"""DeepLakePredictions on lakes of a few rows, and what can be asked of them then."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers.lakes import HEIGHT, TYPES, WIDTH, open_lake, tag, write_lake
from helpers.object_store import ObjectStore
from helpers.predictions import CASES as ALL_CASES
from helpers.predictions import CAT, DOG, rows_of_cases
from helpers.predictions import sample as sample_of
from mmdet.datasets import ConcatDataset
from mmdet.utils import register_all_modules
from mmengine.logging import MessageHub
from mmengine.registry import DATASETS
from pycocotools import mask as coco_mask

from mmdet_deeplake_plugin import (
    DeepLakeDataset,
    DeepLakeLoader,
    DeepLakeMetric,
    DeepLakePredictions,
)
from mmdet_deeplake_plugin.evaluation import COUNTS, ERRORS, SCORES
from mmdet_deeplake_plugin.lake import LakeSpec, StoredPredictions, open_source
from mmdet_deeplake_plugin.metrics.provenance import (
    describe_run,
    keep_losses,
    keep_numbers,
    take_numbers,
)

register_all_modules()

COLUMNS = ('boxes', 'labels', 'scores', 'verdict', 'match', 'iou', 'error', 'gt_fate')
CASES = ALL_CASES[:6]
# As DeepLakeLossHook would hand them over.
LOSSES = [7.5, 1.0, 0.0, 3.0, 2.0, 0.5]


@pytest.fixture
def path(tmp_path: Path) -> str:
    """A lake with a row for each case."""
    return write_lake(tmp_path / 'lake', rows_of_cases(len(CASES)))


UNLABELLED = dict(
    test_mode=True,
    deeplake_tensors=dict(gt_bboxes=None, gt_labels=None),
    metainfo=dict(classes=('cat', 'dog')),
)


def write_unlabelled(path: Path) -> str:
    """A lake with a row for each case, without boxes and labels."""
    content = rows_of_cases(len(CASES))
    for each in content:
        del each['boxes'], each['categories']
    return write_lake(path, content, dict(boxes=None, categories=None))


def _write(
    dataset: Any, samples: list[dict], losses: Sequence[float] = (), **keys: Any
) -> None:
    metric = DeepLakePredictions(**{'name': 'net', 'branch': 'runs/a', **keys})
    metric.dataset_meta = dataset.metainfo
    keep_losses(dict(zip((sample.get('img_path') for sample in samples), losses)))
    for sample in samples:
        metric.process({}, [sample])
    keep_losses({})
    assert metric.evaluate(len(samples)) == {}


def _write_cases(path: str, **keys: Any) -> DeepLakeDataset:
    dataset = DeepLakeDataset(path, test_mode=True)
    _write(
        dataset,
        [sample_of(dataset, index, found) for index, (found, _) in enumerate(CASES)],
        LOSSES,
        **keys,
    )
    return dataset


def _column(path: str, name: str, to: str = 'runs/a') -> list[Any]:
    head = open_lake(f'{path}@{to}', writable=False)  # columns end with their lake
    return list(head[name][:])


def test_each_error_is_counted_in_its_row(path):
    """Counts of zero are zero, and the score threshold holds."""
    _write_cases(path)
    for name in COUNTS:
        expected = [counts.get(name, 0) for _, counts in CASES]
        assert _column(path, f'net/{name}') == expected, name
    assert _column(path, 'net/f1')[0] == 1
    assert np.array_equal(_column(path, 'net/gt_fate')[1], [1, 0])
    assert np.array_equal(_column(path, 'net/match')[5], [0])
    errors = _column(path, 'net/error')
    assert [ERRORS[number] for number in errors[4]] == ['classification', 'none']
    labels = open_lake(f'{path}@runs/a', writable=False)['net/labels']
    assert labels.metadata['class_names'] == ['cat', 'dog', 'owl']


QUESTIONS = {
    'SELECT * WHERE "net/f1" IS NOT NULL ORDER BY "net/f1" LIMIT 2': [5, 4],
    'SELECT * WHERE any("net/gt_fate" == 0 AND categories == 1)': [1, 5],
    'SELECT * WHERE any("net/error" == 5 AND "net/scores" > 0.8)': [3],
    'SELECT * WHERE "net/duplicate" > 0': [2],
    'SELECT * WHERE "net/label_quality" IS NOT NULL ORDER BY "net/label_quality" '
    'LIMIT 2': [4, 3],
    'SELECT * WHERE "net/f1" < "old/f1"': [4, 5],
    'SELECT * WHERE "old/fp" + "old/fn" == 0 AND "net/fp" + "net/fn" > 0': [5],
    'SELECT * WHERE "net/loss" IS NOT NULL ORDER BY "net/loss" DESC LIMIT 2': [0, 3],
}


@pytest.mark.parametrize('query', QUESTIONS)
def test_questions_are_answered(query, path):
    """Each query of the page, on a branch with two runs."""
    dataset = _write_cases(path)
    better = [CASES[index][0] for index in (0, 1, 2, 3, 1, 0)]
    samples = [sample_of(dataset, index, found) for index, found in enumerate(better)]
    _write(dataset, samples, name='old')
    asked = DeepLakeDataset(f'{path}@runs/a', deeplake_query=query)
    found = [asked.get_data_info(index)['img_id'] for index in range(len(asked))]
    assert sorted(found) == sorted(QUESTIONS[query])
    assert len(asked.get_data_info(0)['instances']) == 2
    page = (Path(__file__).parents[2] / 'docs' / 'loop.md').read_text()
    shape = query.replace('LIMIT 2', 'LIMIT 200').replace('categories == 1', 'categories == 2')
    if 'old/' in shape:
        shape = shape.replace('"net/', '"b/').replace('"old/', '"a/')
    assert f'| `{shape}` |' in page
    assert page.count('| `SELECT') == len(QUESTIONS)


def test_a_saved_view_of_the_branch_is_read(path):
    """And training reads its rows."""
    _write_cases(path)
    main = open_lake(path)
    head = main.branches['runs/a'].open()
    head.query('SELECT * WHERE "net/fp" > 0').tag('worst')
    view = DeepLakeDataset(f'{path}', deeplake_view_id='worst')
    found = [view.get_data_info(index)['img_id'] for index in range(len(view))]
    assert found == [2, 3, 4]


def test_a_column_weighs_the_samples(path):
    """Rows without errors do not come; rows that are null are an error that says how."""
    _write_cases(path)
    dataset = DeepLakeDataset(f'{path}@runs/a')
    weights = dict(type='column', name='net/loss')
    drawn = set(DeepLakeLoader(dataset, shuffle=True, seed=0, weights=weights))
    assert drawn <= {0, 1, 3, 4, 5}  # the loss of the third is 0
    dataset = DeepLakeDataset(path, test_mode=True)
    _write(dataset, [sample_of(dataset, 0, CASES[0][0])], [1.0], branch='runs/b')
    dataset = DeepLakeDataset(f'{path}@runs/b')
    with pytest.raises(ValueError, match=r'such as None; leave out such rows with deepl'):
        list(DeepLakeLoader(dataset, shuffle=True, seed=0, weights=weights))
    weights = dict(type='query', expression='"net/fn" * 2')
    with pytest.raises(ValueError, match=r'\'SELECT \* WHERE "net/fn" \* 2 IS NOT NULL\''):
        list(DeepLakeLoader(dataset, shuffle=True, seed=0, weights=weights))


def test_rows_that_were_not_predicted_are_null(path):
    """Those outside of a query, a subset, and broken images."""
    query = 'SELECT * WHERE image_id > 1 ORDER BY image_id DESC'
    dataset = DeepLakeDataset(path, test_mode=True, deeplake_query=query, indices=3)
    samples = [sample_of(dataset, index, CASES[0][0]) for index in range(3)]
    lake, (_, number) = dataset.lake, dataset.position_of(1)
    samples[1]['img_path'] = lake.blank_path(number, '000004.jpg', WIDTH, HEIGHT)
    _write(dataset, samples)
    assert [value is not None for value in _column(path, 'net/tp')] == [
        *(False, False, False, True, False, True)
    ]


def test_a_view_is_predicted_on(path):
    """Its rows are those of the lake."""
    tag(path, 'SELECT * WHERE image_id > 3 ORDER BY image_id DESC', 'late')
    dataset = DeepLakeDataset(path, test_mode=True, deeplake_view_id='late')
    assert dataset.get_data_info(1)['img_id'] == 4
    _write(dataset, [sample_of(dataset, 1, CASES[1][0])])
    assert [each is not None for each in _column(path, 'net/tp')] == [False] * 4 + [
        *(True, False)
    ]


def test_joined_lakes_are_written_each(path, tmp_path):
    """Predictions of a ConcatDataset go to the lake that they belong to."""
    other = write_lake(tmp_path / 'other', rows_of_cases(2))
    parts = [dict(type='DeepLakeDataset', deeplake_path=each) for each in (path, other)]
    built = [DATASETS.build({**part, 'test_mode': True}) for part in parts]
    joined = ConcatDataset(built)
    samples = [
        sample_of(joined, index, CASES[index % len(CASES)][0]) for index in range(len(joined))
    ]
    _write(joined, samples)
    assert _column(path, 'net/fn') == [counts.get('fn', 0) for _, counts in CASES]
    assert _column(other, 'net/fn') == [0, 1]


def test_two_views_of_a_lake_are_not_written_at_once(path):
    """Both would go to the same branch; nothing is written then."""
    for name, query in (('early', 'image_id < 2'), ('late', 'image_id > 3')):
        tag(path, f'SELECT * WHERE {query}', name)
    parts = [DeepLakeDataset(path, test_mode=True, deeplake_view_id=v) for v in ('early', 'late')]
    joined = ConcatDataset(parts)
    samples = [sample_of(joined, index, CASES[0][0]) for index in range(len(joined))]
    with pytest.raises(ValueError, match=r"branch 'runs/a' of .* must be written to once, bu"):
        _write(joined, samples)
    assert _branches(path) == ['main']


def test_classes_of_the_dataset_become_labels_of_the_lake(path):
    """A model of some classes, in another order."""
    meta = dict(classes=('dog', 'cat'))
    dataset = DeepLakeDataset(path, test_mode=True, metainfo=meta)
    _write(dataset, [sample_of(dataset, 0, [(CAT, 0.9, 1), (DOG, 0.8, 0)])])
    assert np.array_equal(_column(path, 'net/labels')[0], [0, 1])
    assert _column(path, 'net/tp')[0] == 2


def test_masks_are_written_and_compared(tmp_path):
    """As run-length codes; verdicts follow their overlap."""
    content = rows_of_cases(1)
    polygon = [[[2, 2, 22, 2, 22, 22, 2, 22]], [[30, 5, 60, 5, 60, 35, 30, 35]]]
    content[0]['segmentation'] = json.dumps(polygon)
    path = write_lake(tmp_path / 'lake', content, {'segmentation': TYPES['text']})
    dataset = DeepLakeDataset(path, test_mode=True)
    found = [(CAT, 0.9, 0), (DOG, 0.8, 1)]
    _write(dataset, [sample_of(dataset, 0, found, masks=True)], iou_type='segm')
    assert _column(path, 'net/tp') == [2]
    masks = json.loads(_column(path, 'net/masks')[0])
    assert [coco_mask.decode(mask).sum() for mask in masks] == [400, 900]


def test_a_lake_without_annotations(tmp_path):
    """Gets the predictions alone."""
    path = write_unlabelled(tmp_path / 'lake')
    dataset = DeepLakeDataset(path, **UNLABELLED)
    _write(dataset, [sample_of(dataset, 2, CASES[0][0])])
    head = open_lake(f'{path}@runs/a', writable=False)
    names = [each.name for each in head.schema.columns if '/' in each.name]
    assert names == ['net/boxes', 'net/labels', 'net/scores']
    assert head['net/labels'].metadata['class_names'] == ['cat', 'dog']
    assert np.array_equal(head['net/boxes'][2], np.float32([CAT, DOG]))
    assert head['net/boxes'][0] is None
    with pytest.raises(ValueError, match='deeplake_tensors'):
        DeepLakeDataset(path, test_mode=True, metainfo=dict(classes=('cat', 'dog')))


def test_numbers_of_the_other_metric_are_kept(path):
    """Once, in the provenance; and no secret."""
    dataset = DeepLakeDataset(path, test_mode=True)
    samples = [sample_of(dataset, index, found) for index, (found, _) in enumerate(CASES)]
    metric = DeepLakeMetric()
    metric.dataset_meta = dataset.metainfo
    metric.process({}, samples)
    numbers = metric.evaluate(len(samples))
    assert numbers['coco/bbox_mAP'] > 0
    _write(dataset, samples)
    _write(dataset, samples, name='again')
    head = open_lake(f'{path}@runs/a', writable=False)
    known, again = (
        json.loads(head[f'{name}/boxes'].metadata['provenance'])
        for name in ('net', 'again')
    )
    assert known['metric'] == numbers
    assert again['metric'] == {}
    assert known['rows'] == len(CASES)
    assert known['rules'] == dict(
        iou_thr=0.5,
        score_thr=0.3,
        background_thr=0.1,
        max_dets=100,
        area_range=None,
        iou_type='bbox',
        metrics_format='COCO',
    )


def test_names_come_from_the_work_dir(path, monkeypatch):
    """Both, if they are not set; without a runner that is an error."""
    dataset = DeepLakeDataset(path, test_mode=True)
    samples = [sample_of(dataset, 0, CASES[0][0])]
    hub = MessageHub.get_current_instance()
    monkeypatch.delitem(hub.runtime_info, 'cfg', raising=False)  # of another test
    with pytest.raises(ValueError, match=r'without a runner there is none; write name='):
        _write(dataset, samples, name=None, branch=None)
    text = "load_from = 'a/epoch_9.pth'\nwork_dir = './work_dirs/rtmdet_tiny'\n"
    monkeypatch.setitem(hub.runtime_info, 'cfg', text)
    _write(dataset, samples, name=None, branch=None)
    assert _column(path, 'rtmdet_tiny/tp', 'runs/rtmdet_tiny')[0] == 2
    monkeypatch.setitem(hub.runtime_info, 'cfg', "work_dir = './my run'\n")
    with pytest.raises(ValueError, match=r"name of DeepLakePredictions must be of letters"):
        _write(dataset, samples, name=None, branch=None)


def test_a_signed_address_of_a_checkpoint_is_not_stored(monkeypatch):
    """Only its file name is; validations leave no numbers behind."""
    hub = MessageHub.get_current_instance()
    signed = 'https://b.example/e.pth?X-Amz-Credential=AKIA&X-Amz-Signature=abcdef'
    monkeypatch.setitem(hub.runtime_info, 'cfg', f'load_from = {signed!r}\n')
    assert describe_run()['checkpoint'] == 'e.pth' and 'abcdef' not in str(describe_run())
    monkeypatch.setitem(hub.runtime_info, 'loop_stage', 'val')
    keep_numbers('coco', {'mAP': 0.1})
    assert take_numbers() == {}
    monkeypatch.setitem(hub.runtime_info, 'loop_stage', 'test')
    keep_numbers('coco', {'mAP': 0.2})
    keep_numbers('voc', {'mAP': np.float32(0.5)})
    kept = take_numbers()
    assert json.loads(json.dumps(kept)) == {'coco/mAP': 0.2, 'voc/mAP': 0.5}


def test_on_object_storage_the_same_is_written(path, tmp_path):
    """Every value, and the provenance; what was evaluated keeps its bytes."""
    with ObjectStore.start(tmp_path) as store:
        creds = dict(creds=store.creds)
        url = store.upload(path, 'lake')
        before = store.objects('lake')
        dataset = DeepLakeDataset(url, test_mode=True, deeplake_credentials=creds)
        found = [sample_of(dataset, index, found) for index, (found, _) in enumerate(CASES)]
        _write(dataset, found)
        after = store.objects('lake')
        assert {k: v for k, v in before.items() if '/_meta/' not in k}.items() <= after.items()
        _write_cases(path)
        remote, local = (
            StoredPredictions(open_source(LakeSpec.from_config(at, **keys))[0], 'net')
            for at, keys in (
                (f'{url}@runs/a', dict(credentials=creds)),
                (f'{path}@runs/a', {}),
            )
        )
        assert remote.provenance == local.provenance
        rows = np.arange(len(CASES))
        for column in (*COLUMNS, *COUNTS, *SCORES):
            pairs = zip(remote.values(column, rows), local.values(column, rows))
            assert all(np.array_equal(*pair) for pair in pairs), column


MISTAKES = {
    'name taken': (dict(), r"the name 'net' is taken by its columns \(net/boxes, …\)"),
    'main': (dict(branch='main'), "branch='main' must not be used for predictions"),
    'masks': (dict(name='m', iou_type='segm'), 'has no column for gt_masks'),
    'LVIS': (dict(name='m', metrics_format='LVIS'), 'group classes by frequency'),
}


@pytest.mark.parametrize('mistake', MISTAKES)
def test_mistakes(mistake, path):
    """Each says what to write, and leaves the lake as it was."""
    dataset = _write_cases(path)
    before = _names(path)
    keys, text = MISTAKES[mistake]
    with pytest.raises(ValueError, match=text):
        _write(dataset, [sample_of(dataset, 0, CASES[0][0])], **keys)
    assert _names(path) == before


def test_wrong_predictions_are_refused(path):
    """A label without a class, values that are not finite, and paths of others."""
    dataset = DeepLakeDataset(path, test_mode=True)
    for found, text in (
        ([(CAT, 0.9, 7)], 'the model predicts label 7, but the dataset has 3 classes'),
        ([(CAT, float('nan'), 0)], r'scores'),
    ):
        with pytest.raises(ValueError, match=text):
            _write(dataset, [sample_of(dataset, 0, found)])
    sample = sample_of(dataset, 0, CASES[0][0])
    with pytest.raises(KeyError, match="a prediction has no 'img_path'"):
        _write(dataset, [{'pred_instances': sample['pred_instances']}])
    with pytest.raises(KeyError, match='is not open in this process'):
        _write(dataset, [{**sample, 'img_path': 'deeplake://0123456789abcdef/0/a.jpg'}])
    with pytest.raises(ValueError, match=r'contains the image .* but the prediction was'):
        moved = sample['img_path'].replace('/0/', '/1/')
        _write(dataset, [{**sample, 'img_path': moved}])
    assert _branches(path) == ['main']


def test_a_model_without_masks_is_not_compared_by_masks(tmp_path):
    """The error names the image, and nothing is written."""
    content = rows_of_cases(1)
    content[0]['segmentation'] = json.dumps([[[2, 2, 22, 2, 22, 22]], [[30, 5, 60, 5, 60, 35]]])
    path = write_lake(tmp_path / 'lake', content, {'segmentation': TYPES['text']})
    dataset = DeepLakeDataset(path, test_mode=True)
    with pytest.raises(ValueError, match=r"but the model predicts none \(image 0"):
        _write(dataset, [sample_of(dataset, 0, CASES[0][0])], iou_type='segm')
    assert _branches(path) == ['main']


def test_a_lake_without_annotations_has_nothing_to_score_by(tmp_path):
    """DeepLakeMetric says so at the first batch; written files need no boxes."""
    path = write_unlabelled(tmp_path / 'lake')
    dataset = DeepLakeDataset(path, **UNLABELLED)
    sample = sample_of(dataset, 0, CASES[0][0])
    for metrics_format in ('COCO', 'PascalVOC'):
        metric = DeepLakeMetric(metrics_format)
        metric.dataset_meta = dataset.metainfo
        with pytest.raises(ValueError, match=r'has no column for gt_bboxes; name it in deep'):
            metric.process({}, [sample])
    metric = DeepLakeMetric(format_only=True, outfile_prefix=str(tmp_path / 'out'))
    metric.dataset_meta = dataset.metainfo
    metric.process({}, [sample])
    assert metric.evaluate(1) == {}
    assert len(json.loads((tmp_path / 'out.bbox.json').read_text())) == 2


def test_joined_lakes_have_the_same_classes(path, tmp_path):
    """Else labels would mean several things; the error shows both lists."""
    other = write_lake(tmp_path / 'other', rows_of_cases(2), class_names=('dog', 'cat', 'owl'))
    parts = [DeepLakeDataset(each, test_mode=True) for each in (path, other)]
    joined = ConcatDataset(parts)
    with pytest.raises(ValueError, match='must have the same classes in the same order, bu'):
        _write(joined, [sample_of(joined, 0, CASES[0][0])])
    assert _branches(path) == ['main']


def test_columns_that_are_elsewhere_are_named(path):
    """Predictions are on their branch, and under their name."""
    _write_cases(path)
    query = 'SELECT * WHERE "net/fp" > 0'
    with pytest.raises(ValueError, match=r'(?s)deeplake_query=.*net/fp'):
        DeepLakeDataset(path, deeplake_query=query)
    dataset = DeepLakeDataset(f'{path}@runs/a')
    for weights in (
        dict(type='column', name='net/fnn'),
        dict(type='query', expression='"nett/fn" + 1'),
    ):
        with pytest.raises(ValueError, match=r'(?s)cannot compute .*(net/fnn|nett/fn)'):
            list(DeepLakeLoader(dataset, shuffle=True, seed=0, weights=weights))


def _branches(path: str) -> list[str]:
    lake = open_lake(path, writable=False)  # branches end with their lake
    return list(lake.branches.names())


def _names(path: str) -> list[str]:
    return [each.name for each in open_lake(f'{path}@runs/a', False).schema.columns]
