"""Score what a model finds for the texts of images, with MMDetection's own classes.

Numbers are those of ``RefExpMetric``, ``gRefCOCOMetric``, ``Flickr30kMetric`` and
``DODCocoMetric``. The difference: images without detections are scored, where these fail.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..backends.mmdet_metrics import (
    described_numbers,
    expression_numbers,
    phrase_recalls,
    referred_numbers,
)
from ..ground_truth import GroundTruth, Prediction
from ..prediction_checks import check_boxes, check_finite

DATASETS = ('refcoco', 'refcoco+', 'refcocog')
Prompt = Mapping[str, Any]


def evaluate_refexp(
    gt: GroundTruth,
    predictions: Sequence[Prediction],
    prompts: Sequence[Prompt],
    *,
    topk: Sequence[int] | None = None,
    iou_thrs: float | None = None,
) -> dict[str, float]:
    """Score referring expressions as ``RefExpMetric`` does.

    Args:
        gt: The annotations: one box per image.
        predictions: One per image, in the order of ``gt.img_ids``, the best box first.
        prompts: Of each image ``dataset_mode``, one of :data:`DATASETS`.
        topk: Numbers of boxes among which the right one must be. Defaults to (1, 5, 10).
        iou_thrs: IoU from which a box is right. Defaults to 0.5.

    Returns:
        ``mean_precision`` and the precisions of each dataset.

    Raises:
        ValueError: If an image does not have exactly one box, its dataset is another one,
            or predictions are not finite.
    """
    _check(gt, predictions)
    counts = np.diff(gt.offsets)
    for index in np.flatnonzero(counts != 1)[:1].tolist():
        raise ValueError(
            "metrics_format='RefExp' needs one box per expression, but image "
            f'{gt.img_ids[index]!r} ({gt.file_names[index]!r}) has {counts[index]}; '
            "write metrics_format='gRefCOCO' for several or none"
        )
    sources = [str(prompt.get('dataset_mode')) for prompt in prompts]
    for index, source in enumerate(sources):
        if source not in DATASETS:
            raise ValueError(
                f"metrics_format='RefExp' knows the datasets {', '.join(DATASETS)}, but "
                f'image {gt.img_ids[index]!r} is of {source!r}; write its dataset_name '
                'in the annotation file'
            )
    return expression_numbers(
        gt.boxes_xywh,
        sources,
        [_or_nothing(each) for each in predictions],
        (1, 5, 10) if topk is None else tuple(topk),
        0.5 if iou_thrs is None else iou_thrs,
    )


def evaluate_grefcoco(
    gt: GroundTruth,
    predictions: Sequence[Prediction],
    prompts: Sequence[Prompt],
    *,
    iou_thrs: float | None = None,
    thresh_score: float = 0.7,
    thresh_f1: float = 1.0,
) -> dict[str, float]:
    """Score expressions for any number of objects as ``gRefCOCOMetric`` does.

    Args:
        gt: The annotations.
        predictions: One per image, in the order of ``gt.img_ids``.
        prompts: Of each image ``labels``, one per box; -1 says that nothing is meant.
        iou_thrs: IoU from which a box is right. Defaults to 0.5.
        thresh_score: Least score of the boxes that count.
        thresh_f1: F1 from which an image is right.

    Returns:
        ``F1_score``, ``T_acc`` and ``N_acc``.

    Raises:
        ValueError: If no image means something, none means nothing, an image has no box,
            or predictions are not finite.
    """
    _check(gt, predictions)
    labels = [[int(label) for label in prompt.get('labels', ())] for prompt in prompts]
    # As in stock, the first box alone is looked at.
    kinds = {each[0] == -1 for each in labels if each}
    if not all(labels) or len(kinds) != 2:
        raise ValueError(
            "metrics_format='gRefCOCO' needs a box of each expression, expressions that "
            'mean something, and ones that mean nothing (category_id -1), but '
            f'{sum(map(bool, labels))} of {len(labels)} have a box, '
            f'{sum(each[:1] == [-1] for each in labels)} of which mean nothing; evaluate '
            "other rows, or write metrics_format='RefExp'"
        )
    return referred_numbers(
        [gt.boxes_xywh[gt.instances(index)] for index in range(len(gt))],
        labels,
        predictions,
        0.5 if iou_thrs is None else iou_thrs,
        thresh_score,
        thresh_f1,
    )


def evaluate_flickr30k(
    gt: GroundTruth,
    predictions: Sequence[Prediction],
    prompts: Sequence[Prompt],
    *,
    topk: Sequence[int] | None = None,
    iou_thrs: float | None = None,
) -> dict[str, Any]:
    """Score phrases of captions as ``Flickr30kMetric`` does.

    Args:
        gt: The annotations.
        predictions: One per image, in the order of ``gt.img_ids``; labels are indices of
            phrases.
        prompts: Of each image ``phrases``, and ``phrase_ids``, the index of the phrase of
            each box.
        topk: Numbers of boxes among which a right one must be, -1 for all. Defaults to
            (1, 5, 10, -1).
        iou_thrs: IoU from which a box is right. Defaults to 0.5.

    Returns:
        For each of ``topk`` the recall, as ``{'1': {'all': 0.5}, …}``.

    Raises:
        ValueError: If a phrase has no box, or predictions are not finite.
    """
    _check(gt, predictions)
    for index, prompt in enumerate(prompts):
        without = set(range(len(prompt['phrases']))) - set(prompt['phrase_ids'])
        if without:
            raise ValueError(
                "metrics_format='Flickr30k' needs a box for each phrase, but "
                f'{prompt["phrases"][min(without)]!r} of image {gt.img_ids[index]!r} has '
                'none; remove the phrase from the annotation file'
            )
    return phrase_recalls(
        [gt.boxes_xyxy[gt.instances(index)] for index in range(len(gt))],
        prompts,
        predictions,
        (1, 5, 10, -1) if topk is None else tuple(topk),
        0.5 if iou_thrs is None else iou_thrs,
    )


def evaluate_dod(
    gt: GroundTruth, predictions: Sequence[Prediction], prompts: Sequence[Prompt]
) -> dict[str, float]:
    """Score described objects as ``DODCocoMetric`` does.

    Args:
        gt: The annotations, whose categories are all descriptions, with their ids.
        predictions: One per image, in the order of ``gt.img_ids``; labels are indices of
            the descriptions of the image.
        prompts: Of each image ``sent_ids``, the ids of its descriptions.

    Returns:
        ``mAP``, ``mAP_50``, …, and the means by the number of words.

    Raises:
        ValueError: If a label has no description, predictions are not finite, or
            descriptions of some length lack annotations.
    """
    _check(gt, predictions)
    results = []
    for index, (prediction, prompt) in enumerate(zip(predictions, prompts)):
        ids, labels = np.array(prompt['sent_ids']), np.asarray(prediction.labels)
        outside = labels[(labels < 0) | (labels >= len(ids))]
        if outside.size:
            raise ValueError(
                f'the model predicts label {outside[0]}, but image {gt.img_ids[index]!r} '
                f'has {len(ids)} descriptions; keep text in the meta_keys of '
                'PackDetInputs'
            )
        results.append((prediction, ids[labels]))
    try:
        return described_numbers(gt.to_coco(), gt.img_ids, results)
    except ZeroDivisionError as error:
        raise ValueError(
            "metrics_format='DOD' reports means over descriptions of 1 to 3, 4 to 6, 7 "
            'to 9 and more words, but the evaluated images have no annotation for those '
            'of some length; evaluate all images'
        ) from error


def _check(gt: GroundTruth, predictions: Sequence[Prediction]) -> None:
    if len(predictions) != len(gt):
        raise ValueError(
            'there must be one prediction per image, in the order of img_ids: found '
            f'{len(predictions)} predictions for {len(gt)} images'
        )
    for img_id, name, each in zip(gt.img_ids, gt.file_names, predictions):
        where = f'image {img_id!r} ({name!r})'
        check_boxes(where, each.bboxes, each.labels)
        check_finite(where, bboxes=each.bboxes, scores=each.scores)


def _or_nothing(prediction: Prediction) -> NDArray[Any]:
    """Return the predicted boxes, or a box without extent if there are none."""
    boxes = np.asarray(prediction.bboxes)
    return boxes if len(boxes) else np.zeros((1, 4), np.float32)
