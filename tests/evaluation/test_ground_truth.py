"""Ground truth is checked when it is built, and says what does not fit."""

from __future__ import annotations

from dataclasses import FrozenInstanceError, replace
from typing import Any

import numpy as np
import pytest

from mmdet_deeplake_plugin.evaluation import GroundTruth, Prediction


def _build(**changes: Any) -> GroundTruth:
    """Three images with two, no and one instance."""
    xywh = [[1, 2, 3.5, 4], [0, 0, 10, 10], [5, 5, 1, 1]]
    fields = {
        'img_ids': [30, 10, 20],
        'widths': [64, 32, 16],
        'heights': [48, 24, 12],
        'file_names': ['c.jpg', 'a.jpg', 'b.jpg'],
        'offsets': [0, 2, 2, 3],
        'boxes_xywh': xywh,
        'boxes_xyxy': [[x, y, x + w, y + h] for x, y, w, h in xywh],
        'labels': [1, 0, 1],
        'category_names': ['cat', 'dog'],
        'category_ids': [18, 5],
        'areas': [7.25, 100, 1],
        'crowd': [False, True, False],
        'excluded': [False, False, True],
    }
    return GroundTruth(**{**fields, **changes})


def test_content_of_a_coco_file() -> None:
    """The COCO content has what is stored; annotation ids count from 1."""
    content = _build().to_coco()
    assert content['images'] == [
        {'id': 30, 'width': 64, 'height': 48, 'file_name': 'c.jpg'},
        {'id': 10, 'width': 32, 'height': 24, 'file_name': 'a.jpg'},
        {'id': 20, 'width': 16, 'height': 12, 'file_name': 'b.jpg'},
    ]
    assert content['categories'] == [
        {'id': 18, 'name': 'cat'},
        {'id': 5, 'name': 'dog'},
    ]
    first, second, third = content['annotations']
    assert first == {
        'id': 1,
        'image_id': 30,
        'category_id': 5,
        'bbox': [1.0, 2.0, 3.5, 4.0],
        'area': 7.25,
        'iscrowd': 0,
        'ignore': 0,
    }
    assert (second['id'], second['image_id'], second['iscrowd']) == (2, 30, 1)
    assert (third['id'], third['image_id'], third['ignore']) == (3, 20, 1)


def test_fields_are_arrays_of_fixed_types() -> None:
    """Sequences become arrays of the stated types, numpy's ids plain numbers."""
    gt = _build(img_ids=np.array([30, 10, 20]))
    assert [type(img_id) for img_id in gt.img_ids] == [int, int, int]
    assert (gt.offsets.dtype, gt.labels.dtype) == (np.int64, np.int64)
    assert (gt.boxes_xywh.dtype, gt.areas.dtype) == (np.float64, np.float64)
    assert (gt.crowd.dtype, gt.excluded.dtype) == (np.bool_, np.bool_)
    assert gt.category_names == ('cat', 'dog')
    assert len(gt) == 3
    assert [gt.instances(i) for i in range(3)] == [
        slice(0, 2),
        slice(2, 2),
        slice(2, 3),
    ]


def test_no_instances() -> None:
    """Empty lists are as good as empty arrays of the right shape."""
    names = ('boxes_xywh', 'boxes_xyxy', 'labels', 'areas', 'crowd', 'excluded')
    gt = _build(offsets=[0, 0, 0, 0], **{name: [] for name in names})
    assert gt.boxes_xywh.shape == (0, 4)
    assert gt.to_coco()['annotations'] == []


def test_frozen() -> None:
    """Fields cannot be replaced after the check."""
    with pytest.raises(FrozenInstanceError):
        _build().labels = np.zeros(3)


def test_classes_by_name() -> None:
    """The dataset's classes are found by name, in their own order."""
    assert _build().labels_of_classes(('dog', 'cat')).tolist() == [1, 0]
    assert _build().labels_of_classes(('dog',)).tolist() == [1]


@pytest.mark.parametrize(
    ('changes', 'text'),
    [
        pytest.param(
            {'img_ids': [30, 10, 30]}, 'img_ids must be unique, but repeat 30', id='ids'
        ),
        pytest.param(
            {'img_ids': [1, '2', 3]}, 'all str, but mix int, str', id='mixed-ids'
        ),
        pytest.param(
            {'img_ids': [], 'offsets': [0]},
            'must have at least one image',
            id='no-images',
        ),
        pytest.param(
            {'category_names': ['cat', 'cat']},
            "category_names must be unique, but repeat 'cat'",
            id='names',
        ),
        pytest.param(
            {'category_ids': [5, 5]},
            'category_ids must be unique, but repeat 5',
            id='category-ids',
        ),
        pytest.param(
            {'category_ids': [5]},
            'category_ids must have 2 entries, one per category name, got 1',
            id='category-count',
        ),
        pytest.param(
            {'heights': [1, 2]},
            'heights must have 3 entries, one per image, got 2',
            id='M',
        ),
        pytest.param(
            {'offsets': [0, 2, 3]},
            'offsets must have 4 entries, one per image plus one, got 3',
            id='offsets-count',
        ),
        pytest.param(
            {'offsets': [0, 2, 2, 4]},
            r'offsets must rise from 0 to the number of instances \(3\), but run from '
            '0 to 4',
            id='offsets-end',
        ),
        pytest.param({'offsets': [0, 2, 1, 3]}, 'offsets must rise', id='offsets-fall'),
        pytest.param(
            {'areas': [1.0, 2.0]},
            'areas must have 3 entries, one per label, got 2',
            id='N',
        ),
        pytest.param(
            {'boxes_xywh': np.zeros((3, 5))},
            r'boxes_xywh must have shape \(N, 4\), got shape \(3, 5\)',
            id='box-shape',
        ),
        pytest.param(
            {'labels': [[1], [0], [1]]},
            r'labels must have one dimension, got shape \(3, 1\)',
            id='label-shape',
        ),
        pytest.param(
            {'labels': [1, 0, 2]},
            r"labels must be from 0 to 1, the 2 categories \('cat', 'dog'\), got 2",
            id='label',
        ),
    ],
)
def test_what_does_not_fit_is_named(changes: dict, text: str) -> None:
    """Contradicting fields give an error that names them."""
    with pytest.raises(ValueError, match=text):
        _build(**changes)


def _predictions(**changes: Any) -> list[Prediction]:
    nothing = Prediction(np.zeros((0, 4)), np.zeros(0), np.zeros(0, int))
    one = Prediction(np.zeros((1, 4)), np.zeros(1), np.zeros(1, int))
    return [nothing, replace(one, **changes), nothing]


@pytest.mark.parametrize(
    ('predictions', 'text'),
    [
        pytest.param(
            _predictions()[:2],
            'one prediction per image, .*: found 2 predictions for 3 images',
            id='M',
        ),
        pytest.param(
            _predictions(scores=np.zeros(2)),
            r"image 10 \('.*'\): bboxes, scores, labels must be equally long, .* 1, 2, 1",
            id='lengths',
        ),
        pytest.param(
            _predictions(labels=np.array([2])),
            r"predicts label 2, but the dataset has 2 classes \('cat', 'dog'\): set "
            'num_classes=2',
            id='label',
        ),
        pytest.param(
            _predictions(labels=np.array([-1])), 'predicts label -1', id='negative'
        ),
    ],
)
def test_predictions_that_do_not_fit(predictions: list, text: str) -> None:
    """Predictions that cannot be scored give an error that says why."""
    gt = _build()
    gt.check_predictions(_predictions(), gt.category_names)
    with pytest.raises(ValueError, match=text):
        gt.check_predictions(predictions, gt.category_names)


def test_many_names_are_cut() -> None:
    """An error lists ten names, not thousands."""
    names = [f'class-{i}' for i in range(1000)]
    gt = _build(category_names=names, category_ids=range(1000))
    with pytest.raises(ValueError, match=r"'class-9', \.\.\.; write the classes"):
        gt.labels_of_classes(['unknown'])


@pytest.mark.parametrize(
    'change',
    [
        dict(boxes_xywh=[[1, 2, 3.5, 4.000001], [0, 0, 10, 10], [5, 5, 1, 1]]),
        dict(labels=[0, 0, 1]),
        dict(areas=[7.25, 101, 1]),
        dict(crowd=[True, True, False]),
        dict(segmentations=[[[1, 2, 5, 2, 5, 6]], None, None]),
        dict(offsets=[0, 1, 2, 3]),
    ],
    ids=lambda change: next(iter(change)),
)
def test_digests_tell_which_images_changed(change: dict[str, Any]) -> None:
    """By all that predictions are judged by, and by nothing of other images."""
    masks = [[[1, 2, 5, 2, 5, 5]], None, None]
    one, other = _build(segmentations=masks), _build(**{'segmentations': masks, **change})
    differs = [one.digest_of(index) != other.digest_of(index) for index in range(3)]
    assert differs == [True, 'offsets' in change, False]
    other = _build(segmentations=masks, img_ids=[1, 2, 3], excluded=[True] * 3)
    assert [one.digest_of(i) for i in range(3)] == [other.digest_of(i) for i in range(3)]
