"""Average precision from verdicts equals that of pycocotools; its bootstrap is literal."""

from __future__ import annotations

import contextlib
import io
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from mmdet_deeplake_plugin.evaluation import FATES, VERDICTS, Rules, judge_image
from mmdet_deeplake_plugin.evaluation.backends.coco import box_sizes, load_annotations
from mmdet_deeplake_plugin.evaluation.verdicts.average_precision import (
    Ranking,
    compare_rankings,
    mean_average,
    rank_classes,
)
from mmdet_deeplake_plugin.evaluation.verdicts.errors import (
    BACKGROUND,
    CLASSIFICATION,
    LOCALISATION,
    NONE,
    annotations_behind,
    error_types,
)


def _rankings(case: Any) -> list[Ranking]:
    """Rankings by our verdicts, image by image in the order of the ids."""
    gt, order = case.gt, np.argsort(case.gt.img_ids)
    label_of, rules = gt.labels_of_classes(case.classes), Rules(score_thr=0)
    columns: list[list[Any]] = [[], [], [], []]
    positives = np.zeros((len(gt.category_names), len(gt)), dtype=np.int64)
    for number, index in enumerate(order.tolist()):
        prediction = case.predictions[index]
        judged = judge_image(gt, index, prediction, label_of, rules)
        values = (
            np.full(len(judged.verdicts), number),
            label_of[prediction.labels],
            prediction.scores,
            judged.verdicts,
        )
        for column, value in zip(columns, values):
            column.append(value)
        counts = judged.fates != FATES.index('ignored')
        np.add.at(positives[:, number], gt.labels[gt.instances(index)][counts], 1)
    images, labels, scores, verdicts = map(np.concatenate, columns)
    right, wrong = (verdicts == VERDICTS.index(each) for each in ('right', 'wrong'))
    return rank_classes(images, labels, scores, right, wrong, positives)


def _stock(case: Any) -> COCOeval:
    label_of = case.gt.labels_of_classes(case.classes)
    detections = [
        {'image_id': img_id, 'bbox': box, 'score': score, 'category_id': category}
        for img_id, each in zip(case.gt.img_ids, case.predictions)
        for box, score, category in zip(
            box_sizes(each.bboxes).tolist(),
            np.asarray(each.scores, dtype=np.float64).tolist(),
            [case.gt.category_ids[label_of[label]] for label in each.labels],
        )
    ]
    annotations = load_annotations(COCO, case.gt.to_coco())
    with contextlib.redirect_stdout(io.StringIO()):
        loaded = annotations.loadRes(detections)
    evaluation = COCOeval(annotations, loaded, 'bbox')
    evaluation.params.iouThrs = np.array([0.5])
    evaluation.params.catIds = list(case.gt.category_ids)
    evaluation.params.areaRng, evaluation.params.areaRngLbl = [[0, 1e10]], ['all']
    with contextlib.redirect_stdout(io.StringIO()):
        evaluation.evaluate()
        evaluation.accumulate()
    return evaluation


def test_curves_are_those_of_pycocotools(case):
    """Precision and score at every recall of every class, with many equal scores."""
    evaluation = _stock(case)
    rankings, order = _rankings(case), evaluation.params.catIds
    averages = np.array([ranking.average() for ranking in rankings])
    seen = 0
    for label, ranking in enumerate(rankings):
        column = order.index(case.gt.category_ids[label])
        expected = evaluation.eval['precision'][0, :, column, 0, -1]
        precision, scores = ranking.curve()
        if (expected == -1).all():
            assert np.isnan(precision).all() and np.isnan(averages[label])
            continue
        assert np.array_equal(precision, expected)
        assert averages[label] == expected.mean()
        reached = expected > 0
        stock_scores = evaluation.eval['scores'][0, :, column, 0, -1]
        assert np.array_equal(scores[reached], stock_scores[reached])
        seen += 1
    assert seen
    assert mean_average(averages) == np.nanmean(averages)


def _distinct(case: Any, seed: int = 0) -> Any:
    """The same with scores that are all different."""
    rng = np.random.default_rng(seed)
    count = sum(len(each.scores) for each in case.predictions)
    scores = np.split(
        rng.permutation(count).astype(np.float32) / count,
        np.cumsum([len(each.scores) for each in case.predictions])[:-1],
    )
    pairs = zip(case.predictions, scores)
    return replace(case, predictions=[replace(each, scores=s) for each, s in pairs])


def _drawn(ranking: Ranking, weights: np.ndarray) -> Ranking:
    """The ranking of a set in which each image stands as often as it was drawn."""
    times = weights[ranking.images]
    return Ranking(
        np.repeat(ranking.scores, times),
        np.repeat(ranking.right, times),
        np.repeat(ranking.images, times),
        ranking.positives * weights,
    )


def test_a_weight_is_an_image_that_stands_there_so_often(synthetic):
    """AP by weights equals that of the set with copies, and of one without a tail."""
    rng = np.random.default_rng(0)
    for ranking in _rankings(_distinct(synthetic)):
        weights = rng.integers(0, 4, (20, len(ranking.positives)))
        expected = [_drawn(ranking, each).average() for each in weights]
        for each in (ranking, ranking.without_tail()):
            assert np.array_equal(each.averages(weights), expected, equal_nan=True)


def test_the_interval_is_that_of_literal_draws(synthetic):
    """Both models meet the same images; a class without annotations has no interval."""
    this = _rankings(_distinct(synthetic, seed=1))
    other = _rankings(_distinct(synthetic, seed=2))
    found = compare_rankings(this, other, [20, 10], seed=5)
    rng, count = np.random.default_rng(5), len(this[0].positives)
    differences = []
    for _ in range(30):
        weights = np.bincount(rng.integers(0, count, count), minlength=count)
        one, two = (
            [_drawn(ranking, weights).average() for ranking in each]
            for each in (this, other)
        )
        mean = np.nanmean(one) - np.nanmean(two)
        differences.append([mean, *(np.array(one) - np.array(two))])
    drawn = np.array(differences)
    for index, each in enumerate(found):
        column = drawn[:, index][~np.isnan(drawn[:, index])]
        if not len(column):
            assert np.isnan([each.this, each.other, each.low, each.high]).all()
            assert each.positives == 0
            continue
        expected = np.percentile(column, [2.5, 97.5])
        assert np.allclose([each.low, each.high], expected, rtol=0, atol=1e-15)
        assert each.low <= each.high
    assert found[0].positives == sum(each.positives for each in found[1:])
    for each, ranking in zip(found[1:], this):
        assert each.images == np.count_nonzero(ranking.positives) <= found[0].images
    averages = [ranking.average() for ranking in this]
    assert found[0].this == mean_average(np.array(averages))
    assert [each.this for each in found[1:]] == pytest.approx(averages, nan_ok=True)


def test_a_model_does_not_differ_from_itself(synthetic):
    """Whatever images are drawn."""
    rankings = _rankings(synthetic)
    for each in compare_rankings(rankings, rankings, [10]):
        assert each.low == each.high == 0 or each.positives == 0


def test_what_wrong_predictions_are_about():
    """What TIDE does not call missed has a wrong prediction that is about it."""
    rng = np.random.default_rng(0)
    kinds = set()
    for _ in range(200):
        n, m = rng.integers(0, 6, 2)
        ious = rng.random((n, m)) * (rng.random((n, m)) < 0.6)
        same_class = rng.integers(0, 2, n)[:, None] == rng.integers(0, 2, m)[None]
        matches = np.full(n, -1)
        for prediction in range(n):
            free = [
                each
                for each in range(m)
                if same_class[prediction, each]
                and ious[prediction, each] >= 0.5
                and each not in matches
            ]
            matches[prediction] = free[0] if free else -1
        found = np.isin(np.arange(m), matches)
        errors, missed = error_types(ious, same_class, matches >= 0, found, 0.5, 0.1)
        about = annotations_behind(ious, same_class, matches, errors)
        assert (about[errors == BACKGROUND] == -1).all()
        assert np.array_equal(about[errors == NONE], matches[errors == NONE])
        mistaken = about[np.isin(errors, (CLASSIFICATION, LOCALISATION))]
        assert (mistaken >= 0).all()
        is_mistaken = np.isin(np.arange(m), mistaken)
        assert np.array_equal(missed, ~found & ~is_mistaken)
        kinds |= set(errors.tolist())
    assert len(kinds) == 6
