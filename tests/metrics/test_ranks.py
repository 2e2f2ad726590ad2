"""Two real ranks score together, with the digits of one rank and of the stock metrics."""

from __future__ import annotations

import math
import multiprocessing
import re
from pathlib import Path
from typing import Any

import lvis.eval
import numpy as np
import pytest
import torch
from helpers.lvis_data import OldNumpy, make_lvis
from helpers.ranks import ranks as started
from helpers.ranks import tell
from mmdet.datasets import CocoDataset
from mmdet.evaluation import CocoMetric, LVISMetric
from mmengine.dist import get_rank, is_main_process
from pycocotools import mask as coco_mask

from mmdet_deeplake_plugin import DeepLakeDataset, DeepLakeMetric, DeepLakePredictions
from mmdet_deeplake_plugin.datasets import opening
from mmdet_deeplake_plugin.evaluation.groups import jobs
from mmdet_deeplake_plugin.evaluation.groups.scoring import ClassScoring
from mmdet_deeplake_plugin.metrics import collected
from mmdet_deeplake_plugin.metrics.in_order import InDatasetOrder

CLASSES = CocoDataset.METAINFO['classes']
ALL = ['bbox', 'segm', 'proposal', 'proposal_fast']
# Lake, keys of the metric, and what is changed.
CASES: dict[str, tuple[str, dict[str, Any], dict[str, Any]]] = {
    'all': ('coco', dict(metric=ALL, classwise=True), {}),
    'parts': (
        'coco',
        dict(metric=ALL, classwise=True, backend='faster_coco_eval'),
        dict(MOST_INSTANCES=20),
    ),
    'device': (
        'coco',
        dict(metric=ALL, classwise=True, collect_device='gpu', prefix='own'),
        dict(MOST_INSTANCES=200),
    ),
    'disk': (
        'coco',
        dict(metric=ALL, classwise=True, backend='faster_coco_eval'),
        dict(MOST_IN_MEMORY=1, _IMAGES_AT_ONCE=4),
    ),
    'by-worker': (
        'coco',
        dict(metric=ALL, classwise=True, backend='faster_coco_eval'),
        dict(order=True),
    ),
    'written': ('coco', dict(metric=['bbox', 'segm'], format_only=True), {}),
    'lvis': (
        'lvis',
        dict(metrics_format='LVIS', metric=['bbox', 'segm', 'proposal'], classwise=True),
        dict(MOST_INSTANCES=5),
    ),
    'voc': ('coco', dict(metrics_format='PascalVOC'), {}),
}


def _samples(dataset: DeepLakeDataset, seed: int = 0) -> list[dict[str, Any]]:
    """Moved, missed and doubled boxes and masks, equal scores, false alarms."""
    rng, samples = np.random.default_rng(seed), []
    num_classes = len(dataset.metainfo['classes'])
    for index in range(len(dataset)):
        info = dataset.get_data_info(index)
        boxes = np.array([each['bbox'] for each in info['instances']]).reshape(-1, 4)
        labels = np.array([each['bbox_label'] for each in info['instances']], dtype=int)
        kept = rng.random(len(boxes)) < 0.85
        boxes, labels = np.repeat(boxes[kept], 2, 0), np.repeat(labels[kept], 2)
        boxes = boxes + rng.normal(0, 5, boxes.shape)
        wrong = rng.random(len(labels)) < 0.15
        labels[wrong] = rng.integers(0, num_classes, wrong.sum())
        codes = [_code(box, info['height'], info['width']) for box in boxes]
        scores = rng.integers(1, 20, (2, len(labels))) / 20
        found = dict(
            bboxes=torch.tensor(boxes, dtype=torch.float32),
            scores=torch.tensor(scores[0], dtype=torch.float32),
            labels=torch.tensor(labels),
            masks=codes,
            mask_scores=torch.tensor(scores[1], dtype=torch.float32),
        )
        shape = info['height'], info['width']
        keys = {key: info[key] for key in ('img_id', 'img_path')}
        samples.append(dict(keys, ori_shape=shape, pred_instances=found))
    return samples


def _code(box: np.ndarray, height: int, width: int) -> dict[str, Any]:
    x, y, z, b = box.tolist()
    code = coco_mask.frPyObjects([[x, y, z, y, z, b, x, b]], height, width)[0]
    return {**code, 'counts': code['counts'].decode()}


def _dataset(path: str) -> DeepLakeDataset:
    return DeepLakeDataset(path, test_mode=True)


def _one_rank(metric: Any, dataset: DeepLakeDataset, samples: list[Any]) -> Any:
    metric.dataset_meta = dataset.metainfo
    for sample in samples:
        metric.process({}, [sample])
    return metric.evaluate(len(samples))


def _rank(folder: Path, lakes: dict[str, str]) -> None:
    multiprocessing.current_process().daemon = False  # MMDetection's VOC has a pool
    datasets = {name: _dataset(path) for name, path in lakes.items()}
    samples = {name: _samples(dataset) for name, dataset in datasets.items()}
    run, usual = ClassScoring.run, (jobs.MOST_INSTANCES, collected.MOST_IN_MEMORY)
    done: list[Any] = []
    ClassScoring.run = lambda self, job: (done.append(job), run(self, job))[1]
    for name, (lake, options, changed) in CASES.items():
        jobs.MOST_INSTANCES = changed.get('MOST_INSTANCES', usual[0])
        collected.MOST_IN_MEMORY = changed.get('MOST_IN_MEMORY', usual[1])
        shared = folder / f'shared_{name}'
        keys = dict(options)
        if options.get('collect_device') != 'gpu':
            keys['collect_dir'] = str(shared)
        if 'metrics_format' not in options:
            keys['outfile_prefix'] = f'{folder}/{name}'
        metric: Any = DeepLakeMetric(**keys)
        count = len(datasets[lake])
        order = list(range(count))
        if 'order' in changed:
            order = np.random.default_rng(1).permutation(count).tolist()
            metric = InDatasetOrder(metric, np.array(order))
        order += order[: -count % 2]  # as samplers fill up the last batch
        metric.dataset_meta = datasets[lake].metainfo
        done.clear()
        for number in order[get_rank() :: 2]:
            metric.process({}, [samples[lake][number]])
        numbers = metric.evaluate(count)
        torch.distributed.barrier()
        left = [str(path) for path in shared.glob('**/*')]
        tell((name, numbers, [[j.metric, j.label, j.images] for j in done], left))
        assert len(metric.results) == 0
    jobs.MOST_INSTANCES, collected.MOST_IN_MEMORY = usual
    ClassScoring.run = run
    errors: dict[str, str] = {}
    _fail_in_exchanges(datasets['coco'], samples['coco'], errors, folder)
    _fail_outside(datasets['coco'], samples['coco'], errors, folder)
    _fail_to_open(lakes['coco'], errors)
    tell(('errors', errors))


def _note(errors: dict[str, str], name: str, task: Any) -> None:
    try:
        task()
    except Exception as error:
        errors[name] = f'{type(error).__name__}: {error}'


def _wrong_label(sample: dict[str, Any]) -> dict[str, Any]:
    instances = {**sample['pred_instances']}
    return dict(sample, pred_instances={**instances, 'labels': instances['labels'] + 80})


def _fail_in_exchanges(
    dataset: Any, samples: list[Any], errors: dict[str, str], folder: Path
) -> None:
    """Raise an error on rank 0, one on rank 1, and one in a job of rank 1."""
    metric = DeepLakeMetric(collect_dir=f'{folder}/fails')
    metric.dataset_meta = dataset.metainfo
    run = ClassScoring.run

    def fail(self: Any, job: Any) -> Any:
        if not is_main_process():
            raise _OddError(job.label, 'a job of rank 1')
        return run(self, job)

    for kind in ('label', 'send', 'job'):
        for sample in samples[get_rank() : 10 : 2]:
            metric.process({}, [_wrong_label(sample) if kind == 'label' else sample])
        ClassScoring.run = fail if kind == 'job' else run
        if kind == 'send' and not is_main_process():
            metric.results.paths[0] = lambda: None  # nothing that can be sent
        _note(errors, kind, lambda: metric.evaluate(10))
        metric.results.clear()
    ClassScoring.run = run
    for sample in samples[get_rank() : 10 : 2]:
        metric.process({}, [sample])
    assert metric.evaluate(10)['coco/bbox_mAP'] > 0.1  # a metric goes on after it


def _fail_outside(
    dataset: Any, samples: list[Any], errors: dict[str, str], folder: Path
) -> None:
    """Raise errors on rank 0 where it works by itself, and others wait for its numbers."""
    keys = dict(collect_dir=f'{folder}/fails')
    voc: Any = DeepLakeMetric('PascalVOC', **keys)
    for name, metric in (('voc', voc), ('ordered', InDatasetOrder(voc, np.arange(10)))):
        metric.dataset_meta = dataset.metainfo
        for number in range(get_rank(), 10, 2):
            sample = samples[number]
            metric.process({}, [_wrong_label(sample) if is_main_process() else sample])
        _note(errors, name, lambda: metric.evaluate(10))  # noqa: B023
        assert len(voc.results) == 0
    for name, count in (('predictions', 1), ('no batch', 0)):
        metric = DeepLakePredictions(**keys)
        metric.dataset_meta = dataset.metainfo
        own = samples[:1] if is_main_process() or count else []
        if own:
            _note(errors, name, lambda: metric.process({}, own))  # noqa: B023
        else:
            _note(errors, name, lambda: metric.evaluate(1))  # noqa: B023


def _fail_to_open(path: str, errors: dict[str, str]) -> None:
    """Let rank 0 alone fail to map columns, after it has resolved the lake for all."""
    original = opening.open_columns

    def fail(*args: Any, **keys: Any) -> Any:
        if is_main_process():
            raise OSError('rank 0 cannot read')
        return original(*args, **keys)

    opening.open_columns = fail
    _note(errors, 'open', lambda: _dataset(path))
    opening.open_columns = original
    assert len(_dataset(path))


class _OddError(Exception):
    """An error that does not come back from a pickle."""

    def __init__(self, label: int, text: str) -> None:
        super().__init__(text)


@pytest.fixture(scope='module')
def lakes(lake, shared_data, tmp_path_factory) -> dict[str, str]:
    """Paths of a COCO lake and an LVIS lake."""
    root = tmp_path_factory.mktemp('lvis')
    make_lvis(shared_data, root)
    return {'coco': lake('coco_cc'), 'lvis': str(root / 'lake')}


@pytest.fixture(scope='module')
def ranks(lakes, tmp_path_factory) -> tuple[Path, list[dict[str, Any]]]:
    """Folder of what two ranks wrote, and what each of them found."""
    folder = tmp_path_factory.mktemp('ranks')
    with started(2, _rank, folder, folder, lakes, start='spawn') as running:
        heard = [[_heard(rank) for _ in (*CASES, 'errors')] for rank in running]
    found = []
    for each in heard:
        *cases, (_, errors) = each
        numbers, done, left = ({case[0]: case[k] for case in cases} for k in (1, 2, 3))
        found.append(dict(numbers=numbers, jobs=done, left=left, errors=errors))
    return folder, found


def _heard(rank: Any) -> Any:
    told = rank.hear()
    if isinstance(told, Exception):
        raise told
    return told


def _assert_same(ours: dict, theirs: dict) -> None:
    assert list(ours) == list(theirs)
    for key, value in theirs.items():
        assert ours[key] == value or (math.isnan(value) and math.isnan(ours[key])), key


@pytest.mark.parametrize('name', CASES)
def test_two_ranks_report_what_one_reports(name, ranks, lakes, tmp_path):
    """Every key and digit in the same order, on both ranks, and the same files."""
    folder, found = ranks
    lake, options, _ = CASES[name]
    keys = {**options, 'collect_device': 'cpu'}
    if 'metrics_format' not in options:
        keys['outfile_prefix'] = str(tmp_path / name)
    dataset = _dataset(lakes[lake])
    expected = _one_rank(DeepLakeMetric(**keys), dataset, _samples(dataset))
    for each in found:
        _assert_same(each['numbers'][name], expected)
        assert each['left'][name] == []
    for path in tmp_path.iterdir():
        assert (folder / path.name).read_bytes() == path.read_bytes()
    written = {path.name for path in folder.glob(f'{name}.*')}
    assert written == {path.name for path in tmp_path.iterdir()}
    is_shared = options.get('metrics_format') != 'PascalVOC' and name != 'written'
    first, second = (each['jobs'][name] for each in found)
    assert bool(first) == bool(second) == is_shared
    assert not [job for job in first if job in second]


def test_two_ranks_report_what_coco_metric_reports(ranks, lakes, coco_files):
    """The numbers of boxes, masks and proposals are the stock metric's."""
    dataset = _dataset(lakes['coco'])
    options = dict(metric=ALL[:3], classwise=True)
    stock = CocoMetric(ann_file=coco_files('coco_cc')['ann_file'], **options)
    expected = _one_rank(stock, dataset, _samples(dataset))
    assert expected['coco/segm_mAP'] > 0.05
    numbers = ranks[1][0]['numbers']
    for key, value in expected.items():
        for name, prefix in (('all', 'coco'), ('parts', 'coco'), ('device', 'own')):
            ours = numbers[name][key.replace('coco', prefix, 1)]
            if not key.startswith('coco/AR@'):  # here proposal_fast comes after it
                assert ours == value or (math.isnan(value) and math.isnan(ours)), key


def test_two_ranks_report_what_lvis_metric_reports(ranks, lakes, monkeypatch):
    """The numbers of boxes, masks and proposals are the stock metric's."""
    monkeypatch.setattr(lvis.eval, 'np', OldNumpy())
    dataset = _dataset(lakes['lvis'])
    _, options, _ = CASES['lvis']
    keys = {key: value for key, value in options.items() if key != 'metrics_format'}
    samples = _samples(dataset)
    for sample in samples:  # LVISMetric takes dense masks only
        layers = [coco_mask.decode(m) for m in sample['pred_instances']['masks']]
        dense = np.array(layers).reshape(-1, *sample['ori_shape']).astype(bool)
        sample['pred_instances']['masks'] = torch.tensor(dense)
    ann_file = Path(lakes['lvis']).parent / 'lvis.json'
    expected = _one_rank(LVISMetric(ann_file=str(ann_file), **keys), dataset, samples)
    ours = ranks[1][1]['numbers']['lvis']
    assert ours.keys() == expected.keys()
    for key, value in expected.items():
        assert ours[key] == value or (math.isnan(value) and math.isnan(ours[key]))


def test_an_error_of_a_rank_ends_all(ranks):
    """No rank waits for one that failed, and all say why."""
    first, second = (each['errors'] for each in ranks[1])
    assert first == second
    label = r'ValueError: the model predicts label \d+, but the dataset has 80 classes'
    for name in ('label', 'voc', 'ordered'):
        assert re.match(label, first[name])
    assert 'pickle' in first['send']
    assert first['job'] == 'RuntimeError: _OddError: a job of rank 1'
    for name in ('predictions', 'no batch'):
        assert first[name].startswith('ValueError: name of DeepLakePredictions is that')
    assert first['open'] == 'OSError: rank 0 cannot read'
