"""The recall of proposals equals MMDetection's, matching included."""

from __future__ import annotations

import numpy as np
import pytest
from mmdet.evaluation import eval_recalls

from mmdet_deeplake_plugin.evaluation.recall import proposal_recall


def _boxes(rng: np.random.Generator, count: int) -> np.ndarray:
    corner = rng.uniform(0, 100, (count, 2))
    boxes = np.hstack([corner, corner + rng.uniform(0, 40, (count, 2))])
    # Whole pixels make many overlaps exactly equal, so that ties decide.
    return boxes.round() if rng.random() < 0.5 else boxes


def _images(seed: int, with_scores: bool) -> tuple[list, list]:
    rng = np.random.default_rng(seed)
    gt_boxes, proposals = [], []
    for _ in range(25):
        boxes = _boxes(rng, rng.integers(0, 8))
        near = boxes[rng.permutation(len(boxes))[:5]] + rng.integers(-3, 4)
        found = np.vstack([near, near, _boxes(rng, rng.integers(0, 12))])
        if with_scores:
            scores = rng.integers(1, 5, (len(found), 1)) / 4
            found = np.hstack([found, scores])
        gt_boxes.append(boxes)
        proposals.append(found.astype(np.float32))
    return gt_boxes, proposals


@pytest.mark.parametrize('seed', range(5))
@pytest.mark.parametrize('legacy', [False, True], ids=['corners', 'legacy'])
@pytest.mark.parametrize('with_scores', [False, True], ids=['sorted', 'scored'])
@pytest.mark.usefixtures('ragged_arrays')
def test_equals_stock(seed: int, legacy: bool, with_scores: bool) -> None:
    """Recall at every number and threshold is stock's, to the last bit."""
    gt_boxes, proposals = _images(seed, with_scores)
    nums, thresholds = [1, 3, 10, 100], np.linspace(0.1, 0.95, 18)
    ours = proposal_recall(gt_boxes, proposals, nums, thresholds, legacy)
    stock = eval_recalls(gt_boxes, proposals, nums, thresholds, 'silent', legacy)
    assert ours.tolist() == stock.tolist()
    assert len(np.unique(ours)) > 10


@pytest.mark.parametrize('nums', [[5, 2], [50, 1]], ids=['falling', 'steep'])
@pytest.mark.usefixtures('ragged_arrays')
def test_last_number_caps_the_others(nums: list[int]) -> None:
    """Falling numbers are cut at the last one, as in stock."""
    gt_boxes, proposals = _images(0, with_scores=True)
    ours = proposal_recall(gt_boxes, proposals, nums, [0.5])
    stock = eval_recalls(gt_boxes, proposals, nums, [0.5], 'silent')
    assert ours.tolist() == stock.tolist()
    assert ours[0] == ours[1]


def test_stock_needs_images_of_equal_shape() -> None:
    """The reason for this file: stock fails as soon as images differ."""
    gt_boxes, proposals = _images(0, with_scores=False)
    with pytest.raises(ValueError, match='inhomogeneous'):
        eval_recalls(gt_boxes, proposals, [10], [0.5], 'silent')


def test_boxes_without_extent() -> None:
    """They overlap with nothing, unless the second corner counts as a pixel."""
    point = np.array([[5.0, 5.0, 5.0, 5.0]])
    assert proposal_recall([point], [point], [1], [0.5]).tolist() == [[0.0]]
    assert proposal_recall([point], [point], [1], [0.5], True).tolist() == [[1.0]]


def test_nothing_to_find_is_nan() -> None:
    """Without any box the recall is not a number, and nothing warns."""
    recalls = proposal_recall([np.zeros((0, 4))], [np.zeros((2, 4))], [1, 2], [0.5])
    assert recalls.shape == (2, 1)
    assert np.isnan(recalls).all()


def test_lengths_must_agree() -> None:
    """A missing image is an error."""
    with pytest.raises(ValueError, match='one entry per image, but have 1 and 0'):
        proposal_recall([np.zeros((0, 4))], [], [1], [0.5])
