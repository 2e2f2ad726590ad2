"""Verdicts equal those of pycocotools, and error types those of the authors of TIDE."""

from __future__ import annotations

import contextlib
import io
import sys
from collections import Counter
from dataclasses import replace
from functools import cache
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from mmdet_deeplake_plugin.evaluation import (
    ERRORS,
    FATES,
    VERDICTS,
    Federation,
    GroundTruth,
    Prediction,
    Rules,
    judge_image,
)
from mmdet_deeplake_plugin.evaluation.backends.coco import (
    box_sizes,
    load_annotations,
    mask_areas,
    overlaps,
)
from mmdet_deeplake_plugin.evaluation.backends.lvis import evaluation_of
from mmdet_deeplake_plugin.evaluation.detections import prepare_predictions
from mmdet_deeplake_plugin.evaluation.groups.scoring import ClassScoring
from mmdet_deeplake_plugin.evaluation.verdicts.errors import error_types
from mmdet_deeplake_plugin.evaluation.verdicts.judge import label_quality, scores_of
from mmdet_deeplake_plugin.evaluation.verdicts.matching import match_image
from mmdet_deeplake_plugin.structures.masks import as_run_length


def _with_masks(case: Any) -> tuple[GroundTruth, list[Prediction]]:
    """Stored masks, also as polygons, and predicted ones that fill their boxes."""
    gt = case.gt
    stored, predictions = [], []
    for number, (x, y, w, h) in enumerate(gt.boxes_xywh.tolist()):
        image = np.searchsorted(gt.offsets, number, side='right') - 1
        size = int(gt.heights[image]), int(gt.widths[image])
        polygon = [[x, y, x + w, y, x + w, y + h * 0.8, x, y + h]]
        stored.append(polygon if number % 2 else _as_text(as_run_length(polygon, *size)))
    for image, prediction in enumerate(case.predictions):
        size = int(gt.heights[image]), int(gt.widths[image])
        masks = [
            _as_text(as_run_length([[x, y, z, y, z, b, x, b]], *size))
            for x, y, z, b in prediction.bboxes.tolist()
        ]
        others = prediction.scores[::-1].copy()
        predictions.append(replace(prediction, masks=masks, mask_scores=others))
    return replace(gt, segmentations=stored), predictions


def _as_text(code: dict[str, Any]) -> dict[str, Any]:
    return {**code, 'counts': code['counts'].decode()}


def _detections(
    gt: GroundTruth, predictions: list[Prediction], classes: Any, kind: str
) -> list[dict[str, Any]]:
    found = prepare_predictions(gt, predictions, classes, [kind], False, None, 'current')
    rows = np.arange(found.offsets[-1])
    scoring = ClassScoring(gt, found, gt.labels_of_classes(classes), ())
    return scoring.instances.detections(rows, found.images_of(rows), kind)


def _coco(
    gt: GroundTruth, predictions: list[Prediction], classes: Any, kind: str, most: int
) -> COCOeval:
    annotations = load_annotations(COCO, gt.to_coco())
    detections = _detections(gt, predictions, classes, kind)
    loaded = load_annotations(COCO, {**annotations.dataset, 'annotations': detections})
    evaluation = COCOeval(annotations, loaded, kind)
    evaluation.params.maxDets = [1, 1, most]
    with contextlib.redirect_stdout(io.StringIO()):
        evaluation.evaluate()
    return evaluation


def _assert_equal_matches(
    gt: GroundTruth, predictions: list[Prediction], classes: Any, kind: str, most: int
) -> None:
    """Compare every match and every ignored flag of every image, class and area."""
    evaluation = _coco(gt, predictions, classes, kind, most)
    label_of = gt.labels_of_classes(classes)
    starts = np.cumsum([0, *(len(each.labels) for each in predictions)])
    params, seen = evaluation.params, Counter()
    found = iter(evaluation.evalImgs)

    @cache
    def match(index: int, least: float, most_area: float) -> tuple[Any, Any, Any]:
        """Match all classes of an image, as they do not depend on each other."""
        part, prediction = gt.instances(index), predictions[index]
        crowd = gt.crowd[part]
        if kind == 'bbox':
            boxes = box_sizes(prediction.bboxes)
            sizes = boxes[:, 2] * boxes[:, 3]
            ious = overlaps(boxes, gt.boxes_xywh[part], crowd)
        else:
            size = int(gt.heights[index]), int(gt.widths[index])
            stored = [as_run_length(m, *size) for m in gt.segmentations[part]]
            ious = overlaps(prediction.masks, stored, crowd)
            sizes = mask_areas(prediction.masks)
        outside = (sizes < least) | (sizes > most_area)
        areas = gt.areas[part]
        ignored = crowd | (areas < least) | (areas > most_area)
        labels = label_of[prediction.labels]
        scores = scores_of(prediction, kind)
        ours = match_image(
            *(ious, scores, labels, outside, gt.labels[part], ignored, crowd),
            *(params.iouThrs, most),
        )
        return ours, labels, ignored

    for category in params.catIds:
        for area in params.areaRng:
            for img_id in params.imgIds:
                stock = next(found)
                index = gt.img_ids.index(img_id)
                part = gt.instances(index)
                label = gt.category_ids.index(category)
                ours, labels, ignored = match(index, *area)
                of_class = (labels == label) & ours.scored
                if stock is None:
                    assert not of_class.any()
                    continue
                # Their ids count from 1, and a match with nothing has the id 0.
                mine = np.array(stock['dtIds'], dtype=int) - 1 - starts[index]
                theirs = np.array(stock['gtIds'], dtype=int) - 1 - part.start
                assert sorted(mine) == np.flatnonzero(of_class).tolist()
                matched = ours.annotation_of[:, mine]
                ids = np.where(matched >= 0, matched + 1 + part.start, 0)
                assert np.array_equal(ids, stock['dtMatches'])
                assert np.array_equal(ours.ignored[:, mine], stock['dtIgnore'])
                by = ours.prediction_of[:, theirs]
                ids = np.where(by >= 0, by + 1 + starts[index], 0)
                assert np.array_equal(ids, stock['gtMatches'])
                assert np.array_equal(ignored[theirs], stock['gtIgnore'])
                seen['matches'] += (matched >= 0).sum()
                seen['ignored'] += stock['dtIgnore'].sum()
    assert min(seen.values()) > 0


@pytest.mark.parametrize('most', [100, 2])
def test_matches_of_boxes_are_those_of_pycocotools(case, most):
    """With crowds, equal scores, images without boxes, areas, and few detections."""
    _assert_equal_matches(case.gt, case.predictions, case.classes, 'bbox', most)


@pytest.mark.parametrize('most', [100, 2])
def test_matches_of_masks_are_those_of_pycocotools(synthetic, most):
    """By the overlap and the area of masks, in the order of their own scores."""
    gt, predictions = _with_masks(synthetic)
    _assert_equal_matches(gt, predictions, synthetic.classes, 'segm', most)


def test_equal_boxes_are_matched_as_pycocotools_does(synthetic):
    """Twice the same annotations and predictions: every overlap is a tie."""
    content = synthetic.content
    again = [{**each, 'id': 5000 + each['id']} for each in content['annotations']]
    twice = replace(
        synthetic,
        content={**content, 'annotations': content['annotations'] + again},
        predictions=[
            Prediction(*(np.concatenate([a, a]) for a in (p.bboxes, p.scores, p.labels)))
            for p in synthetic.predictions
        ],
    )
    _assert_equal_matches(twice.gt, twice.predictions, twice.classes, 'bbox', 100)


def _federated(case: Any) -> GroundTruth:
    """The annotations with classes that were not searched for, or not everywhere."""
    gt, rng = case.gt, np.random.default_rng(0)
    negatives, partly = [], []
    for index in range(len(gt)):
        present = {gt.category_ids[label] for label in gt.labels[gt.instances(index)]}
        absent = sorted(set(gt.category_ids) - present)
        negatives.append([each for each in absent if rng.random() < 0.5])
        partly.append([each for each in sorted(present) if rng.random() < 0.5])
    frequencies = tuple('rcf'[number % 3] for number in range(len(gt.category_ids)))
    none = np.zeros(len(gt.labels), dtype=bool)
    federation = Federation(negatives, partly, frequencies)
    return replace(gt, crowd=none, excluded=none, federation=federation)


@pytest.mark.parametrize('iou_thr', [0.5, 0.75])
def test_verdicts_of_lvis_are_those_of_its_package(case, iou_thr):
    """What is not verified is ignored, unless it matches."""
    pytest.importorskip('lvis')
    gt, classes = _federated(case), case.classes
    detections = _detections(gt, case.predictions, classes, 'bbox')
    evaluation = evaluation_of(gt.to_coco(), detections, 'bbox')
    evaluation.params.iou_thrs = np.array([iou_thr])
    evaluation.evaluate()
    label_of = gt.labels_of_classes(classes)
    starts = np.cumsum([0, *(len(each.labels) for each in case.predictions)])
    verdicts: list[Any] = ['ignored'] * starts[-1]  # theirs leave out what is unverified
    areas = evaluation.params.area_rng
    for found in filter(None, evaluation.eval_imgs):
        if found['area_rng'] != areas[0]:
            continue
        columns = (found['dt_ids'], found['dt_matches'][0], found['dt_ignore'][0])
        for number, match, is_ignored in zip(*columns):
            verdict = 'right' if match else 'wrong'
            verdicts[number - 1] = 'ignored' if is_ignored else verdict
    rules, ours = Rules(iou_thr=iou_thr, score_thr=0, max_dets=10_000), []
    for index, prediction in enumerate(case.predictions):
        judgement = judge_image(gt, index, prediction, label_of, rules)
        ours += [VERDICTS[number] for number in judgement.verdicts]
    assert set(ours) == {'right', 'wrong', 'ignored'}
    assert ours == verdicts


@pytest.fixture(scope='module')
def tide() -> Any:
    """The package of the authors of TIDE, without what draws and downloads."""
    for name in ('plotting', 'datasets'):  # they import seaborn, pandas and appdirs
        sys.modules.setdefault(f'tidecv.{name}', ModuleType(f'tidecv.{name}'))
    return pytest.importorskip('tidecv')


def _of_tide(
    tide: Any, gt: GroundTruth, predictions: list[Prediction], label_of: Any, rules: Rules
) -> dict[str, int]:
    truth, found = tide.Data('truth', max_dets=10_000), tide.Data('found')
    for index in range(len(gt)):
        truth.add_image(index, str(index))
        part, prediction = gt.instances(index), predictions[index]
        size = int(gt.heights[index]), int(gt.widths[index])
        for number in range(part.start, part.stop):
            mask = gt.segmentations and as_run_length(gt.segmentations[number], *size)
            kind = truth.add_ignore_region if gt.crowd[number] else truth.add_ground_truth
            kind(index, int(gt.labels[number]), gt.boxes_xywh[number].tolist(), mask)
        scores = scores_of(prediction, rules.iou_type)
        for number, box in enumerate(box_sizes(prediction.bboxes).tolist()):
            is_inside_out = box[2] * box[3] < 0  # which COCO ignores
            if scores[number] >= rules.score_thr and not is_inside_out:
                label = int(label_of[prediction.labels[number]])
                mask = prediction.masks and prediction.masks[number]
                found.add_detection(index, label, float(scores[number]), box, mask)
    for label in range(len(gt.category_names)):
        truth.add_class(label, str(label))
    mode = dict(bbox='bbox', segm='mask')[rules.iou_type]
    run = tide.quantify.TIDERun(
        truth, found, rules.iou_thr, rules.background_thr, mode, truth.max_dets
    )
    names = dict(Cls='classification', Loc='localisation', Both='both', Bkg='background')
    names.update(Dupe='duplicate', Miss='missed')
    return {names[kind.short_name]: count for kind, count in run.count_errors().items()}


def _sums(gt: GroundTruth, predictions: list[Prediction], label_of: Any, rules: Rules):
    sums: Counter[str] = Counter()
    for index, prediction in enumerate(predictions):
        numbers = judge_image(gt, index, prediction, label_of, rules).numbers
        sums.update({name: numbers[name] for name in (*ERRORS[1:], 'missed')})
    return dict(sums)


def _without_crowds(gt: GroundTruth) -> GroundTruth:
    return replace(gt, crowd=np.zeros(len(gt.labels), dtype=bool))


@pytest.mark.parametrize('iou_thr', [0.5, 0.75])
@pytest.mark.parametrize('score_thr', [0.0, 0.4])
def test_errors_are_counted_as_by_tide(case, tide, iou_thr, score_thr):
    """Each of the six types, on data with equal scores and images without boxes."""
    rules = Rules(iou_thr=iou_thr, score_thr=score_thr, max_dets=10_000)
    gt, label_of = _without_crowds(case.gt), case.gt.labels_of_classes(case.classes)
    expected = _of_tide(tide, gt, case.predictions, label_of, rules)
    assert sum(count > 0 for count in expected.values()) >= 5
    assert _sums(gt, case.predictions, label_of, rules) == expected


def test_errors_of_masks_are_counted_as_by_tide(synthetic, tide):
    """By the overlap of masks."""
    rules = Rules(score_thr=0.0, max_dets=10_000, iou_type='segm')
    gt, predictions = _with_masks(synthetic)
    gt, label_of = _without_crowds(gt), gt.labels_of_classes(synthetic.classes)
    expected = _of_tide(tide, gt, predictions, label_of, rules)
    assert min(expected.values()) > 0
    assert _sums(gt, predictions, label_of, rules) == expected


def test_errors_beside_crowds(case, tide):
    """TIDE also counts the predictions in crowds, which are not wrong here."""
    rules = Rules(score_thr=0.0, max_dets=10_000)
    label_of = case.gt.labels_of_classes(case.classes)
    expected = _of_tide(tide, case.gt, case.predictions, label_of, rules)
    ours, ignored = Counter(_sums(case.gt, case.predictions, label_of, rules)), 0
    for index, prediction in enumerate(case.predictions):
        judgement = judge_image(case.gt, index, prediction, label_of, rules)
        ignored += (judgement.verdicts == VERDICTS.index('ignored')).sum()
    # Their wrong boxes may also make up for an annotation that was missed.
    assert ours.pop('missed') >= expected.pop('missed')
    assert sum(expected.values()) - sum(ours.values()) == ignored


def _boxes(*boxes: tuple[float, ...]) -> np.ndarray:
    return np.array(boxes, dtype=np.float32).reshape(-1, 4)


@pytest.fixture
def drawn() -> GroundTruth:
    """An image with two cats, a dog and a crowd of dogs, and one without boxes."""
    xywh = np.array([[0, 0, 10, 10], [20, 0, 10, 10], [40, 0, 10, 10], [60, 0, 40, 40]])
    return GroundTruth(
        img_ids=[1, 2],
        widths=[100, 100],
        heights=[50, 50],
        file_names=['a', 'b'],
        offsets=[0, 4, 4],
        boxes_xywh=xywh,
        boxes_xyxy=np.hstack([xywh[:, :2], xywh[:, :2] + xywh[:, 2:]]),
        labels=[0, 0, 1, 1],
        category_names=['cat', 'dog'],
        category_ids=[1, 2],
        areas=xywh[:, 2] * xywh[:, 3],
        crowd=[0, 0, 0, 1],
        excluded=[0, 0, 0, 0],
    )


def test_each_verdict_and_error_has_its_name(drawn):
    """One prediction of each kind, and what it means for the annotations."""
    found = {
        'right': ((0, 0, 10, 10), 0.9, 0, 'right', 'none', 0),
        'again': ((0, 0, 10, 9), 0.8, 0, 'wrong', 'duplicate', -1),
        'shifted': ((20, 0, 30, 3), 0.7, 0, 'wrong', 'localisation', -1),
        'a dog for a cat': ((20, 0, 30, 9), 0.7, 1, 'wrong', 'classification', -1),
        'nothing there': ((0, 30, 10, 40), 0.6, 0, 'wrong', 'background', -1),
        'both': ((40, 0, 50, 3), 0.5, 0, 'wrong', 'both', -1),
        'in the crowd': ((70, 0, 75, 9), 0.5, 1, 'ignored', 'none', 3),
        'of low score': ((40, 0, 50, 10), 0.2, 1, 'right', 'none', 2),
    }
    boxes, scores, labels, verdicts, errors, matches = zip(*found.values())
    prediction = Prediction(
        _boxes(*boxes), np.array(scores, np.float32), np.array(labels)
    )
    judgement = judge_image(drawn, 0, prediction, np.array([0, 1]), Rules())
    assert [VERDICTS[number] for number in judgement.verdicts] == list(verdicts)
    assert [ERRORS[number] for number in judgement.errors] == list(errors)
    assert judgement.matches.tolist() == list(matches)
    fates = [FATES[number] for number in judgement.fates]
    assert fates == ['found', 'missed', 'missed', 'ignored']
    assert np.allclose(judgement.best_ious, [1, 0.3, 0, 0])
    assert np.allclose(judgement.ious[:3], [1, 0.9, 0.3])
    quality = judgement.numbers.pop('label_quality')
    scored = np.array(scores, np.float32).astype(float)
    lowest = (1 - scored[4]) * (1 - scored[3]) * (1 - scored[2] * (1 - 0.3))
    assert quality == pytest.approx(lowest ** (1 / 3))
    assert judgement.numbers == dict(
        tp=1,
        fp=5,
        fn=2,
        classification=1,
        localisation=1,
        both=1,
        duplicate=1,
        background=1,
        missed=1,  # the dog: the cat would be found by a better box or class
        f1=2 / 9,
    )


def test_an_image_without_boxes(drawn):
    """Nothing found is perfect; anything found is on the background."""
    none = Prediction(_boxes(), np.zeros(0, np.float32), np.zeros(0, int))
    judgement = judge_image(drawn, 1, none, np.array([0, 1]), Rules())
    assert judgement.numbers['f1'] == judgement.numbers['label_quality'] == 1
    one = Prediction(_boxes((0, 0, 9, 9)), np.array([0.5], np.float32), np.array([1]))
    judgement = judge_image(drawn, 1, one, np.array([0, 1]), Rules())
    assert judgement.numbers['f1'] == 0
    assert judgement.numbers['background'] == judgement.numbers['fp'] == 1


def test_other_classes_do_not_count(drawn):
    """Annotations of classes that the dataset left out are ignored."""
    one = Prediction(_boxes((40, 0, 50, 10)), np.array([0.5], np.float32), np.array([0]))
    judgement = judge_image(drawn, 0, one, np.array([0]), Rules())
    assert [FATES[number] for number in judgement.fates[2:]] == ['ignored'] * 2
    assert judgement.numbers['background'] == 1
    assert judgement.numbers['fn'] == 2


def test_masks_that_are_absent(drawn):
    """Neither side may lack them."""
    one = Prediction(_boxes((0, 0, 9, 9)), np.array([0.5], np.float32), np.array([1]))
    rules = Rules(iou_type='segm')
    with pytest.raises(ValueError, match=r"the model predicts none \(image 1 \('a'\)\)"):
        judge_image(drawn, 0, one, np.array([0, 1]), rules)
    code = coco_mask.encode(np.ones((50, 100), np.uint8, order='F'))
    with pytest.raises(
        ValueError, match=r'instance 0 of image 1 .* is stored without one'
    ):
        judge_image(
            drawn, 0, replace(one, masks=[_as_text(code)]), np.array([0, 1]), rules
        )


def test_label_quality_is_one_without_errors():
    """And falls with the score of what disagrees."""
    scores, ious = np.array([0.9, 0.6]), np.array([0.9, 0.2])
    assert label_quality(np.array([0, 0]), scores, ious) == 1
    low, high = (
        label_quality(np.array([0, 5]), np.array([0.9, score]), ious)
        for score in (0.95, 0.5)
    )
    assert low < high < 1


def test_without_a_background_threshold_what_overlaps_nothing_is_background():
    """An overlap of 0 is no location, whatever the threshold."""
    errors, missed = error_types(
        np.array([[0.0]]),
        same_class=np.array([[False]]),
        matched=np.array([False]),
        found=np.array([False]),
        iou_thr=0.5,
        background_thr=0.0,
    )
    assert errors.tolist() == [ERRORS.index('background')] and missed.tolist() == [True]
