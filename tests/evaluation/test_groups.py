"""Scored class by class, and in parts of the images, all digits stay as they are."""

from __future__ import annotations

import contextlib
import copy
import io
import itertools
import json
import os
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval
from test_faster_coco import CATEGORIES, drawn

from mmdet_deeplake_plugin.evaluation import (
    Federation,
    GroundTruth,
    Prediction,
    evaluate_coco,
)
from mmdet_deeplake_plugin.evaluation.backends.lvis import evaluation_of, quiet
from mmdet_deeplake_plugin.evaluation.detections import prepare_predictions
from mmdet_deeplake_plugin.evaluation.groups import jobs as jobs_module
from mmdet_deeplake_plugin.evaluation.groups.by_label import best_of_images
from mmdet_deeplake_plugin.evaluation.groups.coco_scorer import CocoScorer
from mmdet_deeplake_plugin.evaluation.groups.jobs import deal, divide, one_by_one
from mmdet_deeplake_plugin.evaluation.groups.lvis_scorer import LvisScorer
from mmdet_deeplake_plugin.evaluation.groups.packed import pack
from mmdet_deeplake_plugin.evaluation.groups.scoring import ClassScoring
from mmdet_deeplake_plugin.evaluation.groups.selection import take

BACKENDS = ('pycocotools', 'faster_coco_eval')
MOST_DETS = (1, 3, 8)  # fewer than many images have


def _truth_and_predictions(seed: int) -> tuple[GroundTruth, list[Prediction]]:
    """Ties of boxes and scores, crowds, empty images, more than 100 detections."""
    content, detections = drawn(seed)
    images, found = content['images'], content['annotations']
    found = [each for i in images for each in found if each['image_id'] == i['id']]
    counts = [sum(a['image_id'] == i['id'] for a in found) for i in images]
    xywh = np.array([each['bbox'] for each in found]).reshape(-1, 4)
    gt = GroundTruth(
        img_ids=[image['id'] for image in images],
        widths=[image['width'] for image in images],
        heights=[image['height'] for image in images],
        file_names=['' for _ in images],
        offsets=np.cumsum([0, *counts]),
        boxes_xywh=xywh,
        boxes_xyxy=np.hstack([xywh[:, :2], xywh[:, :2] + xywh[:, 2:]]),
        labels=[CATEGORIES.index(each['category_id']) for each in found],
        category_names=[str(each) for each in CATEGORIES],
        category_ids=CATEGORIES,
        areas=[each['area'] for each in found],
        crowd=[each['iscrowd'] for each in found],
        excluded=[each['ignore'] for each in found],
        segmentations=[each['segmentation'] for each in found],
    )
    predictions = []
    for image in images:
        own = [each for each in detections if each['image_id'] == image['id']]
        boxes = np.array([each['bbox'] for each in own], np.float32).reshape(-1, 4)
        boxes[:, 2:] += boxes[:, :2]
        scores = np.array([each['score'] for each in own], np.float32)
        labels = np.array([CATEGORIES.index(each['category_id']) for each in own], int)
        masks = [each['segmentation'] for each in own]
        predictions.append(Prediction(boxes, scores, labels, masks, scores[::-1].copy()))
    return gt, predictions


def _scoring(seed: int, kind: str, by_class: bool, backend: str) -> ClassScoring:
    gt, predictions = _truth_and_predictions(seed)
    classes = gt.category_names
    found = prepare_predictions(gt, predictions, classes, [kind], False, None, 'current')
    thresholds = np.linspace(0.5, 0.95, 10)
    scorer = CocoScorer(kind, by_class, thresholds, MOST_DETS, backend, CATEGORIES)
    return ClassScoring(gt, found, gt.labels_of_classes(classes), (scorer,))


def _stock(scoring: ClassScoring) -> COCOeval:
    """All images and classes at once, by pycocotools as MMDetection uses it."""
    (scorer,), found = scoring.scorers, scoring.predictions
    rows = np.arange(found.offsets[-1])
    detections = scoring.instances.detections(rows, found.images_of(rows), scorer.kind)
    unwanted = 'bbox' if scorer.kind == 'segm' else ''
    with contextlib.redirect_stdout(io.StringIO()):
        truth = COCO()
        truth.dataset = copy.deepcopy(scoring.gt.to_coco())
        truth.createIndex()
        loaded = (
            COCO()
            if not detections
            else truth.loadRes(
                [{k: v for k, v in each.items() if k != unwanted} for each in detections]
            )
        )
        evaluation = COCOeval(truth, loaded, scorer.kind)
        evaluation.params.catIds = list(scorer.category_ids)
        evaluation.params.useCats = int(scorer.by_class)
        evaluation.params.iouThrs = scorer.thresholds
        evaluation.params.maxDets = list(scorer.max_dets)
        evaluation.evaluate()
        evaluation.accumulate()
    return evaluation


@pytest.mark.parametrize('by_class', [True, False], ids=['classes', 'proposals'])
@pytest.mark.parametrize('kind', ['bbox', 'segm'])
def test_arrays_are_those_of_one_evaluation(kind, by_class, monkeypatch):
    """Precision and recall are equal bit for bit, however the work is divided."""
    alone = counted = 0
    divided = dict.fromkeys((10_000, 9, 1), 0)
    for seed in range(12):
        stock = _stock(_scoring(seed, kind, by_class, 'pycocotools'))
        for backend, most in itertools.product(BACKENDS, divided):
            monkeypatch.setattr(jobs_module, 'MOST_INSTANCES', most)
            scoring = _scoring(seed, kind, by_class, backend)
            jobs = scoring.jobs()
            divided[most] += sum(job.images is not None for job in jobs)
            ours = scoring.summarize(0, jobs, one_by_one(scoring, jobs), 'current')
            for key in ('precision', 'recall'):
                same = np.array_equal(ours.eval[key], stock.eval[key])
                assert same, (seed, backend, most, key)
        precision = stock.eval['precision']
        alone += ((0.99 < precision) & (precision < 1)).any()
        counted += len(scoring.predictions.labels) > sum(job.weight for job in jobs)
    assert divided[10_000] == 0 < divided[9] < divided[1]
    assert alone, 'the rounding unit of pycocotools should play a role in some'
    assert counted or not by_class, 'some detections should match nothing'


@pytest.mark.parametrize('kind', ['bbox', 'segm'])
def test_arrays_are_those_of_one_lvis_evaluation(kind, monkeypatch):
    """With classes that are absent, or annotated in parts, or both, or unknown."""
    for seed in range(8):
        gt, predictions = _truth_and_predictions(seed)
        rng = np.random.default_rng(seed)
        lists = [
            [
                rng.choice(CATEGORIES, rng.integers(0, 3), replace=False).tolist()
                for _ in gt.img_ids
            ]
            for _ in range(2)
        ]
        gt = replace(gt, federation=Federation(*lists, ('r', 'c', 'f')))
        categories = gt.to_coco()['categories']
        found = prepare_predictions(
            gt, predictions, gt.category_names, [kind], False, None, 'current'
        )
        labels = gt.labels_of_classes(gt.category_names)
        scoring = ClassScoring(gt, found, labels, (LvisScorer(kind, categories),))
        rows = np.arange(found.offsets[-1])
        image_of = found.images_of(rows)
        detections = scoring.instances.detections(rows, image_of, kind, False)
        stock = evaluation_of(gt.to_coco(), detections, kind)
        with quiet():
            stock.evaluate()
            stock.accumulate()
        for most in (10_000, 9, 1):
            monkeypatch.setattr(jobs_module, 'MOST_INSTANCES', most)
            jobs = scoring.jobs()
            ours = scoring.summarize(0, jobs, one_by_one(scoring, jobs), 'current')
            for key in ('precision', 'recall'):
                same = np.array_equal(ours.eval[key], stock.eval[key])
                assert same, (seed, most, key)


@pytest.mark.parametrize('order', itertools.permutations(CATEGORIES), ids=str)
@pytest.mark.parametrize('backend', BACKENDS)
def test_the_order_of_classes_decides_which_of_equal_proposals_counts(backend, order):
    """One detection of an image counts, and that of one class only is right."""
    gt, _ = _many(1, 1)
    gt = replace(gt, category_ids=CATEGORIES)
    wrong, right = np.zeros(4), gt.boxes_xyxy[0]
    boxes = np.array([wrong, right, wrong], np.float32)
    found = pack([Prediction(boxes, np.full(3, 0.5, np.float32), np.array([2, 1, 0]))])
    scorer = CocoScorer('bbox', False, np.array([0.5]), (1, 1, 1), backend, order)
    scoring = ClassScoring(gt, found, np.arange(3), (scorer,))
    jobs = scoring.jobs()
    ours = scoring.summarize(0, jobs, one_by_one(scoring, jobs), 'current')
    assert np.array_equal(ours.eval['recall'], _stock(scoring).eval['recall'])
    assert (ours.eval['recall'].max() > 0) == (order[0] == CATEGORIES[1])


@pytest.mark.parametrize('backend', BACKENDS)
@pytest.mark.parametrize(
    'options',
    [
        dict(metrics=['proposal_fast', 'bbox', 'proposal'], classwise=True),
        dict(metrics='bbox', sort_categories=True, classwise=True),
        dict(metrics=['proposal', 'bbox'], metric_items=['mAP_50', 'AR@1000', 'mAP_s']),
        dict(
            metrics='bbox',
            iou_thrs=np.array([0.5, 0.6, 0.75]),
            proposal_nums=(100, 1, 10),
        ),
    ],
    ids=str,
)
def test_numbers_in_parts_are_those_of_coco_metric(
    options, backend, case, ragged_arrays, same, monkeypatch
):
    """Every key and digit of MMDetection's metric, with images in parts of a few boxes."""
    monkeypatch.setattr(jobs_module, 'MOST_INSTANCES', 13)
    assert same(case.ours(**options, backend=backend), case.stock(**options))


def test_numbers_of_one_number_of_detections_in_parts(case, same, monkeypatch):
    """With a single number of detections, as for V3Det."""
    options = dict(proposal_nums=(300,), classwise=True)
    whole = case.ours(**options)
    monkeypatch.setattr(jobs_module, 'MOST_INSTANCES', 13)
    for backend in BACKENDS:
        assert same(case.ours(**options, backend=backend), whole)


def test_recall_in_parts_of_the_images(case, same, ragged_arrays, monkeypatch):
    """The recall of proposals is counted in parts too."""
    monkeypatch.setattr('mmdet_deeplake_plugin.evaluation.recall._IMAGES_AT_ONCE', 3)
    options = dict(metrics='proposal_fast', proposal_nums=(1, 10, 100))
    assert same(case.ours(**options), case.stock(**options))


def test_the_written_file_is_that_of_json(case, tmp_path, monkeypatch):
    """Byte for byte as if written at once, in parts of a few images; nothing else is left."""
    path, found = tmp_path / 'out', 'mmdet_deeplake_plugin.evaluation.detections'
    case.ours(outfile_prefix=str(path / 'whole'), format_only=True)
    monkeypatch.setattr(f'{found}._IMAGES_AT_ONCE', 3)
    case.ours(outfile_prefix=str(path / 'parts'), format_only=True)
    nothing = case.without_detections()
    nothing.ours(outfile_prefix=str(path / 'nothing'), format_only=True)
    whole, parts = (path / f'{name}.bbox.json' for name in ('whole', 'parts'))
    assert whole.read_bytes() == parts.read_bytes()
    assert parts.read_text() == json.dumps(json.loads(whole.read_text()))
    assert (path / 'nothing.bbox.json').read_text() == '[]'
    assert len(list(path.iterdir())) == 3


@pytest.mark.parametrize('kind', ['bbox', 'segm'])
def test_detections_are_those_of_load_res(kind):
    """Ids, areas and flags are those of pycocotools, also of more than 255 masks."""
    scoring = next(
        scoring
        for seed in range(50)
        for scoring in [_scoring(seed, kind, True, 'pycocotools')]
        if len(scoring.predictions.labels) > 300
    )
    rows = np.arange(len(scoring.predictions.labels))
    image_of = scoring.predictions.images_of(rows)
    ours = scoring.instances.detections(rows, image_of, kind)
    for mine, theirs in zip(ours, _stock(scoring).cocoDt.dataset['annotations']):
        assert mine['id'] == theirs['id']
        for key in ('image_id', 'category_id', 'score', 'area', 'iscrowd'):
            assert mine[key] == theirs[key], (mine['id'], key)
    whole = scoring.instances.detections(rows, image_of, kind, area_of_masks=False)
    assert [each['area'] for each in whole] == [
        each['bbox'][2] * each['bbox'][3] for each in whole
    ]


# ------------------------------------------------------------------------------ bounds


def test_no_job_is_larger_than_its_bound():
    """But for an image that is: it is matched as a whole."""
    rng = np.random.default_rng(0)
    image_of = np.concatenate([rng.integers(0, 500, 7000), np.full(300, 250)])
    counts = np.bincount(image_of, minlength=500)
    jobs = divide(0, 3, counts, most=200)
    assert [job.images[0] for job in jobs[1:]] == [job.images[1] for job in jobs[:-1]]
    assert (jobs[0].images[0], jobs[-1].images[1]) == (0, 500)
    assert sum(job.weight for job in jobs) == len(image_of)
    for job in jobs:
        assert job.weight == counts[slice(*job.images)].sum() <= 200 + counts.max()
    assert len(jobs) > 30


@pytest.mark.parametrize('backend', BACKENDS)
def test_instances_that_are_held_at_once(backend, monkeypatch):
    """No evaluation sees more than the bound, also if one class has nearly all."""
    monkeypatch.setattr(jobs_module, 'MOST_INSTANCES', 300)
    seen: list[int] = []
    load = 'mmdet_deeplake_plugin.evaluation.groups.coco_scorer.load_unfiltered'
    original = CocoScorer._evaluation.__globals__['load_unfiltered']

    def counting(kind: type, content: dict[str, Any]) -> Any:
        seen.append(len(content['annotations']))
        return original(kind, content)

    monkeypatch.setattr(load, counting)
    gt, found = _many(60, 40)
    scorers = tuple(
        CocoScorer('bbox', by_class, np.array([0.5]), (1, 10, 100), backend, (1, 2, 3))
        for by_class in (True, False)
    )
    scoring = ClassScoring(gt, pack(found), np.arange(3), scorers)
    jobs = scoring.jobs()
    one_by_one(scoring, jobs)
    assert len(jobs) > 10 and len(seen) == 2 * len(jobs)
    assert max(seen) <= 300 + 40
    assert sum(seen) == 2 * (60 * 40 + len(gt.labels))


def _many(
    num_images: int, per_image: int, num_classes: int = 3
) -> tuple[GroundTruth, list[Prediction]]:
    """Drawn boxes; of three classes, the first has nine of ten."""
    rng = np.random.default_rng(0)
    counts = np.full(num_images, 7)
    corner = rng.uniform(0, 300, (7 * num_images, 2))
    size = rng.uniform(10, 100, (7 * num_images, 2))
    share = (0.9, 0.05, 0.05) if num_classes == 3 else None
    labels = rng.choice(num_classes, 7 * num_images, p=share)
    xyxy = np.hstack([corner, corner + size])
    nothing = np.zeros(len(labels), dtype=bool)
    gt = GroundTruth(
        img_ids=list(range(1, num_images + 1)),
        widths=np.full(num_images, 400),
        heights=np.full(num_images, 400),
        file_names=[''] * num_images,
        offsets=np.cumsum([0, *counts]),
        boxes_xywh=np.hstack([corner, size]),
        boxes_xyxy=xyxy,
        labels=labels,
        category_names=('a', 'b', 'c', *map(str, range(3, num_classes))),
        category_ids=range(1, num_classes + 1),
        areas=size.prod(axis=1),
        crowd=nothing,
        excluded=nothing,
    )
    predictions = []
    for index in range(num_images):
        chosen = rng.integers(7 * index, 7 * index + 7, per_image)
        moved = xyxy[chosen] + rng.normal(0, 4, (per_image, 4))
        scores = rng.random(per_image).astype(np.float32)
        predictions.append(Prediction(moved.astype(np.float32), scores, labels[chosen]))
    return gt, predictions


def test_jobs_are_dealt_evenly():
    """Every job to one rank, and no rank has much more to do than another."""
    rng = np.random.default_rng(0)
    weights = (rng.pareto(1.0, 300) * 1000).astype(int).tolist()
    for count in (1, 2, 5, 400):
        hands = deal(weights, count)
        assert len(hands) == count
        assert sorted(number for hand in hands for number in hand) == list(range(300))
        loads = [sum(weights[number] + 20 for number in hand) for hand in hands]
        assert max(loads) <= max(sum(loads) / count, 0) + max(weights) + 20


# ------------------------------------------------------------------- packed predictions


def _assert_equal(left: Prediction, right: Prediction) -> None:
    for name, value in vars(right).items():
        other = getattr(left, name)
        if name == 'masks' or value is None:
            assert other == value, name
        else:
            assert np.array_equal(other, value) and other.dtype == value.dtype, name


@pytest.mark.parametrize('on_disk', [False, True], ids=['memory', 'disk'])
def test_predictions_come_back_from_arrays(on_disk):
    """In any order and from several blocks, with and without masks and their scores."""
    predictions = [each for seed in range(4) for each in _truth_and_predictions(seed)[1]]
    plain = [replace(each, masks=None, mask_scores=None) for each in predictions]
    for found in (predictions, plain):
        blocks = [pack(found[:5]), pack(found[5:6]), pack(found[6:])]
        order = np.random.default_rng(0).permutation(len(found))
        before = len(os.listdir('/proc/self/fd'))
        taken = take(blocks, order, on_disk=on_disk)
        assert len(os.listdir('/proc/self/fd')) == before + on_disk  # a single file
        assert len(taken) == len(found)
        for index, number in enumerate(order):
            _assert_equal(taken[index], found[number])
        _assert_equal(taken[-1], found[order[-1]])
        with pytest.raises(IndexError, match=f'there are {len(found)} predictions'):
            taken[len(found)]
        del taken


def test_what_does_not_fit_into_arrays_is_kept_for_its_error():
    """A prediction with too few scores is refused as before, by name of its image."""
    gt, predictions = _truth_and_predictions(1)
    index = max(range(6), key=lambda number: len(predictions[number].labels))
    broken = replace(predictions[index], scores=predictions[index].scores[1:])
    predictions[index] = broken
    for found in (
        predictions,
        pack(predictions),
        take([pack(predictions)], np.arange(6)),
    ):
        assert found[index] is broken
        with pytest.raises(ValueError, match=f'image {gt.img_ids[index]}.*equally long'):
            prepare_predictions(
                gt, found, gt.category_names, ['bbox'], False, None, 'current'
            )


def test_the_best_of_an_image_are_those_of_lvis():
    """The highest scores, and of equal ones the first, where an image has too many."""
    scores = np.array([0.5, 0.9, 0.5, 0.5, 0.7, 0.1, 0.2], np.float32)
    rows = best_of_images(np.array([0, 5, 5, 7]), scores, 3)
    assert rows.tolist() == [0, 1, 4, 5, 6]
    assert best_of_images(np.array([0, 5, 5, 7]), scores, None).tolist() == list(range(7))


# ------------------------------------------------------------------------------- memory

_CHILD = """
import json, sys
sys.path[:0] = json.loads(sys.argv[1])
from test_groups import peaks_of_evaluations
print(json.dumps(peaks_of_evaluations()))
"""


def peaks_of_evaluations() -> dict[str, tuple[float, dict[str, float]]]:
    """Peaks above the predictions in MiB, and numbers, in a process of its own."""
    from mmdet_deeplake_plugin.utils.gc_paused import gc_paused

    peaks = {}
    for name, num_images, num_classes, most in (
        ('warm-up', 20, 3, 1_000),
        ('small', 200, 3, 1_000),
        ('large', 600, 3, 1_000),
        ('classes', 600, 100, 1_000),
        ('whole', 600, 3, 10_000_000),
    ):
        jobs_module.MOST_INSTANCES = most
        gt, predictions = _many(num_images, 100, num_classes)
        found = pack(predictions)
        del predictions
        Path('/proc/self/clear_refs').write_text('5')  # sets the peak to what is held
        before = _peak()
        with gc_paused():
            numbers = evaluate_coco(
                *(gt, found, gt.category_names, ['bbox', 'proposal']),
                backend='faster_coco_eval',
            )
        peaks[name] = (_peak() - before) / 1024, numbers
    return peaks


def _peak() -> int:
    """Peak of this program in KiB; ``ru_maxrss`` would be that of its parent."""
    status = Path('/proc/self/status').read_text()
    return int(re.search(r'VmHWM:\s+(\d+)', status)[1])


def test_memory_is_bounded():
    """40,000 boxes more take 100 bytes each, and 97 classes more what their curves take.

    All at once take many times as much, for the same digits.
    """
    command = [sys.executable, '-c', _CHILD, json.dumps(sys.path)]
    output = subprocess.run(command, check=True, capture_output=True, text=True)
    found = json.loads(output.stdout.splitlines()[-1])
    (small, _), (large, numbers), (classes, _) = (
        found[name] for name in ('small', 'large', 'classes')
    )
    whole, same_numbers = found['whole']
    assert numbers == same_numbers
    assert large < small + 40_000 * 100 / 2**20 + 2, found
    curves = 10 * 101 * 4 * 8 / 2**20  # of a class, in MiB
    assert classes < large + 97 * 3 * curves + 2, found
    assert whole > 4 * large and large < 20, found


def test_predictions_that_are_not_flat_are_an_error():
    """Rather than an image without detections."""
    gt, predictions = _many(2, 2)
    odd = replace(predictions[0], scores=predictions[0].scores[:, None])
    with pytest.raises(ValueError, match=r'must have one number per box in scores'):
        evaluate_coco(gt, [odd, *predictions[1:]], ('a', 'b', 'c'))


def test_no_detection_at_all_scores_zero():
    """Also where the empty labels are of a type that is no index."""
    gt, predictions = _many(2, 2)
    none = Prediction(np.zeros((0, 4)), np.zeros(0), np.zeros(0, np.float32))
    assert evaluate_coco(gt, [none] * len(predictions), ('a', 'b', 'c'))['bbox_mAP'] == 0
