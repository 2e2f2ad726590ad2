"""Score what a model finds for the texts of images, with MMDetection's own classes.

Numbers are those of ``RefExpMetric``, ``gRefCOCOMetric``, ``Flickr30kMetric`` and
``DODCocoMetric``. The difference: images without detections are scored, where these fail.

Each takes the annotations, predictions and prompts, one per image, in the order of
``gt.img_ids``. IoU thresholds from which a box is right default to 0.5.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from pycocotools.coco import COCO

from ..backends.coco import load_annotations, quiet
from ..backends.mmdet import stock_metric, tensors_of
from ..ground_truth import GroundTruth, Prediction

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
    """Score referring expressions, of which each means one box, as ``RefExpMetric`` does.

    The prompts have ``dataset_mode``, one of :data:`DATASETS`, the predictions their best
    box first. ``topk`` are the numbers of boxes among which the right one must be, by
    default (1, 5, 10).

    Returns:
        ``mean_precision`` and the precisions of each dataset.

    Raises:
        ValueError: If an image does not have exactly one box, its dataset is another one,
            or predictions are damaged.
    """
    gt.check_predictions(predictions)
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
    metric = stock_metric(
        'RefExpMetric',
        coco=_expressions(gt, [[1]] * len(gt), sources),
        topk=(1, 5, 10) if topk is None else tuple(topk),
        iou_thrs=0.5 if iou_thrs is None else iou_thrs,
    )
    nothing = np.zeros((1, 4), np.float32)  # a box without extent
    results = [
        {'img_id': i, 'bboxes': np.asarray(each.bboxes) if len(each.bboxes) else nothing}
        for i, each in enumerate(predictions)
    ]
    # It prints an error for each dataset without expressions.
    with quiet():
        return metric.compute_metrics(results)


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

    The prompts have ``labels``, one per box; -1 says that nothing is meant. Boxes count
    from the score ``thresh_score`` on, and an image is right from ``thresh_f1`` on.

    Returns:
        ``F1_score``, ``T_acc`` and ``N_acc``.

    Raises:
        ValueError: If no image means something, none means nothing, an image has no box,
            or predictions are damaged.
    """
    gt.check_predictions(predictions)
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
    metric = stock_metric(
        'gRefCOCOMetric',
        coco=_expressions(gt, labels, [''] * len(gt)),
        iou_thrs=0.5 if iou_thrs is None else iou_thrs,
        thresh_score=thresh_score,
        thresh_f1=thresh_f1,
    )
    return metric.compute_metrics(
        [
            {'img_id': i, **tensors_of(each, 'bboxes', 'scores')}
            for i, each in enumerate(predictions)
        ]
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

    The prompts have ``phrases``, whose indices are the predicted labels, and
    ``phrase_ids``, the index of the phrase of each box. ``topk`` are the numbers of boxes
    among which a right one must be, -1 for all, by default (1, 5, 10, -1).

    Returns:
        For each of ``topk`` the recall, as ``{'1': {'all': 0.5}, …}``.

    Raises:
        ValueError: If a phrase has no box, or predictions are damaged.
    """
    gt.check_predictions(predictions)
    for index, prompt in enumerate(prompts):
        without = set(range(len(prompt['phrases']))) - set(prompt['phrase_ids'])
        if without:
            raise ValueError(
                "metrics_format='Flickr30k' needs a box for each phrase, but "
                f'{prompt["phrases"][min(without)]!r} of image {gt.img_ids[index]!r} has '
                'none; remove the phrase from the annotation file'
            )
    metric = stock_metric(
        'Flickr30kMetric',
        topk=(1, 5, 10, -1) if topk is None else tuple(topk),
        iou_thrs=0.5 if iou_thrs is None else iou_thrs,
        merge=False,
    )
    return metric.compute_metrics(
        [
            (
                tensors_of(prediction, 'bboxes', 'labels'),
                gt.boxes_xyxy[gt.instances(index)],
                prompts[index]['phrase_ids'],
                prompts[index]['phrases'],
            )
            for index, prediction in enumerate(predictions)
        ]
    )


def evaluate_dod(
    gt: GroundTruth, predictions: Sequence[Prediction], prompts: Sequence[Prompt]
) -> dict[str, float]:
    """Score described objects as ``DODCocoMetric`` does.

    The categories of ``gt`` are all descriptions, with their ids. The prompts have
    ``sent_ids``, the ids of the descriptions of the image, whose indices are the
    predicted labels.

    Returns:
        ``mAP``, ``mAP_50``, …, and the means by the number of words.

    Raises:
        ValueError: If a label has no description, predictions are damaged, or
            descriptions of some length lack annotations.
    """
    gt.check_predictions(predictions)
    results = []
    for img_id, prediction, prompt in zip(gt.img_ids, predictions, prompts):
        ids, labels = np.array(prompt['sent_ids']), np.asarray(prediction.labels)
        outside = labels[(labels < 0) | (labels >= len(ids))]
        if outside.size:
            raise ValueError(
                f'the model predicts label {outside[0]}, but image {img_id!r} has '
                f'{len(ids)} descriptions; keep text in the meta_keys of PackDetInputs'
            )
        found = dict(bboxes=prediction.bboxes, scores=prediction.scores)
        results.append({'img_id': img_id, **found, 'labels': ids[labels]})
    metric = stock_metric(
        'DODCocoMetric', _coco_api=load_annotations(_Descriptions, gt.to_coco())
    )
    try:
        with quiet(), warnings.catch_warnings():
            warnings.simplefilter('ignore')  # means of descriptions without annotations
            return metric.compute_metrics(results)
    except ZeroDivisionError as error:
        raise ValueError(
            "metrics_format='DOD' reports means over descriptions of 1 to 3, 4 to 6, 7 "
            'to 9 and more words, but the evaluated images have no annotation for those '
            'of some length; evaluate all images'
        ) from error


class _Descriptions(COCO):
    """Annotations that load detections, of which there may be none."""

    def loadRes(self, resFile: list[dict[str, Any]]) -> Any:  # noqa: N802, N803
        """Return boxes as an object of this class; keys are added to them."""
        for number, box in enumerate(resFile, start=1):
            box.update(id=number, area=box['bbox'][2] * box['bbox'][3], iscrowd=0)
        return load_annotations(COCO, {**self.dataset, 'annotations': resFile})


def _expressions(
    gt: GroundTruth, labels: Sequence[Sequence[int]], sources: Sequence[str]
) -> Any:
    """Return boxes of expressions as a ``COCO`` object; images are numbered from 0."""
    images = [{'id': i, 'dataset_name': name} for i, name in enumerate(sources)]
    owners = [
        (image, label) for image, of_image in enumerate(labels) for label in of_image
    ]
    annotations = [
        {'id': number, 'image_id': image, 'category_id': label, 'bbox': box}
        for number, ((image, label), box) in enumerate(
            zip(owners, gt.boxes_xywh.tolist()), start=1
        )
    ]
    return load_annotations(COCO, {'images': images, 'annotations': annotations})
