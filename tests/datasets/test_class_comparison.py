"""Names and order of classes, compared across the datasets of a run."""

from __future__ import annotations

import itertools
import logging
import re
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from helpers.lakes import CLASSES, row, write_lake
from mmdet.datasets import ConcatDataset
from mmdet.evaluation import MultiDatasetsEvaluator
from mmdet.utils import register_all_modules
from mmengine.dataset import ConcatDataset as PlainConcatDataset
from mmengine.dataset import pseudo_collate
from mmengine.logging import MMLogger
from torch.utils.data import DataLoader

from mmdet_deeplake_plugin import (
    DeepLakeClassCheckHook,
    DeepLakeDataset,
    DeepLakeLoader,
    DeepLakeMetric,
)
from mmdet_deeplake_plugin.datasets.class_comparison import _latest

register_all_modules()

TURNED = ('dog', 'cat', 'owl')
_numbers = itertools.count()


@pytest.fixture()
def make(tmp_path) -> Any:
    """Makes a dataset of a lake with some classes."""

    def dataset(classes: Any, boxes: Any = ((1, 2, 10, 12),), **keys: Any) -> Any:
        path = str(tmp_path / str(next(_numbers)))
        write_lake(
            path, [row(i, boxes, [0] * len(boxes)) for i in range(3)], class_names=classes
        )
        return DeepLakeDataset(path, **keys)

    return dataset


@pytest.fixture()
def warnings() -> Iterator[list[str]]:
    """The warnings that are logged."""
    messages: list[str] = []
    _latest.clear()

    class Collector(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            messages.append(record.getMessage())

    logger, handler = MMLogger.get_current_instance(), Collector(logging.WARNING)
    logger.addHandler(handler)
    yield messages
    logger.removeHandler(handler)


OTHERS = {
    'another order': (
        TURNED,
        "has 3 classes ('cat', 'dog', 'owl') and lake … has 3 classes ('dog', 'cat', "
        "'owl'), which differ from label 0 on; write "
        "metainfo=dict(classes=('cat', 'dog', 'owl')) for lake …",
    ),
    'fewer': (
        CLASSES[:2],
        "has 3 classes ('cat', 'dog', 'owl') and lake … has 2 classes ('cat', 'dog'), "
        "which differ from label 2 on; write metainfo=dict(classes=('cat', 'dog')) for lake …",
    ),
    'one renamed': (
        ('cat', 'hound', 'owl'),
        "which differ from label 1 on; write metainfo=dict(classes=('cat', 'owl')) for "
        'each dataset',
    ),
    'all others': (('x', 'y', 'z'), 'from label 0 on; use lakes with the same classes'),
}


def _pattern(text: str) -> str:
    return '.*'.join(map(re.escape, text.split('…')))


@pytest.mark.parametrize('case', OTHERS)
def test_joined_datasets_must_have_the_same_classes(case, make):
    """The sampler sees all members; label 0 had two meanings, and nobody said so."""
    classes, text = OTHERS[case]
    joined = ConcatDataset([make(CLASSES), make(classes)])
    start = 'datasets that are joined must have the same classes in the same order, but '
    with pytest.raises(ValueError, match=_pattern(f'{start}lake … {text}')):
        DeepLakeLoader(joined)


def test_workers_compare_them_whatever_the_sampler(make):
    """A worker knows the whole dataset."""
    joined = ConcatDataset([make(CLASSES), make(TURNED)])
    loader = DataLoader(joined, num_workers=1, collate_fn=pseudo_collate)
    with pytest.raises(ValueError, match='must have the same classes in the same order'):
        next(iter(loader))


def test_the_metric_shows_both_lists(make):
    """It raised a TypeError about indices of lists."""
    keys = dict(test_mode=True)
    joined = ConcatDataset([make(CLASSES, **keys), make(TURNED, **keys)])
    metric = DeepLakeMetric()
    metric.dataset_meta = joined.metainfo
    text = (
        "but dataset 0 has 3 classes ('cat', 'dog', 'owl') and dataset 1 has 3 classes "
        "('dog', 'cat', 'owl'), which differ from label 0 on; write "
        "metainfo=dict(classes=('cat', 'dog', 'owl')) for dataset 1"
    )
    with pytest.raises(ValueError, match=re.escape(text)):
        metric.compute_metrics([])


def test_the_metric_shows_metainfo_that_differs_otherwise(make):
    """Such as a palette."""
    members = [make(CLASSES, metainfo=dict(palette=[(i, 0, 0)] * 3)) for i in range(2)]
    metric = DeepLakeMetric()
    metric.dataset_meta = ConcatDataset(members).metainfo
    with pytest.raises(ValueError, match=r'must have the same metainfo, but .*palette'):
        metric.compute_metrics([])


def test_the_metainfo_of_the_error_mends_it(make):
    """As it says, for the second lake."""
    mended = make(TURNED, metainfo=dict(classes=CLASSES))
    for wrapper in (ConcatDataset, PlainConcatDataset):
        joined = wrapper([make(CLASSES), mended])
        DeepLakeLoader(joined)
        metric = DeepLakeMetric()
        metric.dataset_meta = joined.metainfo
        metric.process({}, [])


def test_where_labels_have_no_meaning_classes_may_differ(make):
    """Images without boxes, and samples that contain their classes as text."""
    empty = np.zeros((0, 4))
    DeepLakeLoader(ConcatDataset([make(CLASSES), make(TURNED, empty)]))
    keys = dict(return_classes=True)
    DeepLakeLoader(ConcatDataset([make(CLASSES, **keys), make(TURNED, **keys)]))


@pytest.mark.parametrize('test_first', [False, True])
@pytest.mark.parametrize('case', OTHERS)
def test_training_and_tests_with_other_classes_are_a_warning(
    case, test_first, make, warnings
):
    """A perfect detector scored 0.333, and nobody said so."""
    classes, text = OTHERS[case]
    modes = {'train': (CLASSES, False), 'test': (classes, True)}
    order = sorted(modes, reverse=not test_first)
    sets = {mode: make(modes[mode][0], test_mode=modes[mode][1]) for mode in order}
    (message,) = warnings
    assert message.startswith(
        'a model gets wrong scores if it is tested on other classes than it is trained '
        f'on: the training set ({sets["train"].lake.name}) '
    )
    text = text.replace('and lake …', f'and the test set ({sets["test"].lake.name})')
    assert re.search(_pattern(text.replace('for lake …', 'for the t')), message)


@pytest.mark.parametrize('mode', ['resume', 'load', 'test'])
@pytest.mark.parametrize('stored', [CLASSES, TURNED, ('x', 'y', 'z'), None])
def test_the_classes_of_a_checkpoint(mode, stored, make, warnings):
    """An error for a resumed run, a warning where the weights belong to other labels."""

    class Runner:
        iter = 5 if mode == 'resume' else 0
        train_dataloader = DataLoader(make(CLASSES))
        test_dataloader = val_dataloader = train_dataloader

    hook = DeepLakeClassCheckHook()
    meta = {} if stored is None else dict(dataset_meta=dict(classes=stored))
    hook.after_load_checkpoint(Runner, dict(meta=meta))
    differs = stored not in (None, CLASSES)
    text = f'the checkpoint has 3 classes {stored!r} and lake '
    if mode == 'resume' and differs:
        with pytest.raises(ValueError, match=re.escape(text)) as error:
            hook.before_train(Runner)
        assert 'a resumed training must have the classes of its checkpoint' in str(
            error.value
        )
        return
    (hook.before_test if mode == 'test' else hook.before_train)(Runner)
    expected = differs if mode == 'test' else stored == TURNED and mode == 'load'
    assert len(warnings) == expected and all(text in each for each in warnings)


def test_the_hook_compares_joined_datasets_whatever_the_sampler(make):
    """Also without workers."""

    class Runner:
        iter = 0
        train_dataloader = DataLoader(ConcatDataset([make(CLASSES), make(TURNED)]))

    with pytest.raises(ValueError, match='must have the same classes in the same order'):
        DeepLakeClassCheckHook().before_train(Runner)


def test_each_of_joined_datasets_may_be_scored_by_itself(make):
    """As MMDetection's ``MultiDatasetsEvaluator`` does, for the configs of ODinW."""
    keys = dict(test_mode=True)
    joined = ConcatDataset([make(CLASSES, **keys), make(TURNED, **keys)])
    metric = dict(type='DeepLakeMetric')
    evaluator = MultiDatasetsEvaluator([metric, metric], ['one', 'two'])
    DeepLakeLoader(joined, shuffle=False)
    list(DataLoader(joined, num_workers=1, collate_fn=pseudo_collate))
    evaluator.dataset_meta = joined.metainfo
    for index in range(6):
        info = joined.datasets[index // 3].get_data_info(index % 3)
        predicted = dict(
            bboxes=torch.tensor([info['instances'][0]['bbox']]),
            labels=torch.tensor([info['instances'][0]['bbox_label']]),
            scores=torch.ones(1),
        )
        sample = dict(img_path=info['img_path'], pred_instances=predicted)
        evaluator.process([sample])
    numbers = evaluator.evaluate(6)
    assert {key: numbers[key] for key in numbers if key.endswith('bbox_mAP')} == {
        'one/coco/bbox_mAP': 1,
        'two/coco/bbox_mAP': 1,
    }
