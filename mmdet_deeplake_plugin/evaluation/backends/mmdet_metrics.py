"""Let metrics of MMDetection score annotations that were not read from a file.

The numbers are theirs, so they equal those of the stock metrics by construction. Their
classes are looked up when they are needed: some came with MMDetection 3.3.
"""

from __future__ import annotations

import contextlib
import io
import warnings
from collections.abc import Mapping, Sequence
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from mmdet.evaluation import functional
from mmdet.evaluation import metrics as stock
from numpy.typing import NDArray
from pycocotools.coco import COCO

from ..ground_truth import Prediction
from .coco import load_annotations


def stock_metric(name: str, **attributes: Any) -> Any:
    """Return a metric of MMDetection without running its constructor, which reads files.

    Args:
        name: Name of its class.
        attributes: What its constructor would have set.

    Raises:
        ImportError: If the installed MMDetection does not have it.
    """
    metric = object.__new__(stock_class(name))
    vars(metric).update(attributes)
    return metric


def stock_class(name: str) -> Any:
    """Return a class of metrics of MMDetection.

    Args:
        name: Its name.

    Raises:
        ImportError: If the installed MMDetection does not have it.
    """
    kind = getattr(stock, name, None)
    if kind is None:
        raise ImportError(f'{name} needs a newer MMDetection: pip install mmdet==3.3.0')
    return kind


def _annotated(
    boxes: Sequence[NDArray[np.float64]],
    labels: Sequence[Sequence[int]],
    sources: Sequence[str],
) -> Any:
    """Return boxes of expressions as a ``COCO`` object; images are numbered from 0."""
    owners = [image for image, found in enumerate(labels) for _ in found]
    flat = [each for found in labels for each in found]
    rows = np.concatenate(boxes).tolist()
    images = [{'id': i, 'dataset_name': name} for i, name in enumerate(sources)]
    annotations = [
        {'id': number, 'image_id': image, 'category_id': label, 'bbox': box}
        for number, (image, label, box) in enumerate(zip(owners, flat, rows), start=1)
    ]
    return load_annotations(COCO, {'images': images, 'annotations': annotations})


def expression_numbers(
    boxes: NDArray[np.float64],
    sources: Sequence[str],
    found: Sequence[NDArray[Any]],
    topk: tuple[int, ...],
    iou_thr: float,
) -> dict[str, float]:
    """Return the numbers of ``RefExpMetric``.

    Args:
        boxes: The box of each expression as left, top, width, height, shape ``(M, 4)``.
        sources: The dataset of each expression.
        found: Predicted corners of each, best first, at least one.
        topk: Numbers of boxes among which the right one must be.
        iou_thr: IoU from which a box is right.
    """
    coco = _annotated([boxes], [[1]] * len(boxes), sources)
    metric = stock_metric('RefExpMetric', coco=coco, topk=topk, iou_thrs=iou_thr)
    results = [{'img_id': i, 'bboxes': each} for i, each in enumerate(found)]
    # It prints an error for each dataset without expressions.
    with contextlib.redirect_stdout(io.StringIO()):
        return metric.compute_metrics(results)


def referred_numbers(
    boxes: Sequence[NDArray[np.float64]],
    labels: Sequence[Sequence[int]],
    predictions: Sequence[Prediction],
    iou_thr: float,
    thresh_score: float,
    thresh_f1: float,
) -> dict[str, float]:
    """Return the numbers of ``gRefCOCOMetric``.

    Args:
        boxes: Boxes of each expression as left, top, width, height.
        labels: For each box a label, -1 for nothing.
        predictions: One for each expression.
        iou_thr: IoU from which a box is right.
        thresh_score: Least score of the boxes that count.
        thresh_f1: F1 from which an image is right.
    """
    metric = stock_metric(
        'gRefCOCOMetric',
        coco=_annotated(boxes, labels, [''] * len(labels)),
        iou_thrs=iou_thr,
        thresh_score=thresh_score,
        thresh_f1=thresh_f1,
    )
    results = [
        {'img_id': i, **_tensors(each, 'bboxes', 'scores')}
        for i, each in enumerate(predictions)
    ]
    return metric.compute_metrics(results)


def phrase_recalls(
    boxes: Sequence[NDArray[np.float64]],
    prompts: Sequence[Mapping[str, Any]],
    predictions: Sequence[Prediction],
    topk: tuple[int, ...],
    iou_thr: float,
) -> dict[str, Any]:
    """Return the numbers of ``Flickr30kMetric``.

    Args:
        boxes: Corners of each image's boxes.
        prompts: ``phrases`` and ``phrase_ids`` of each image.
        predictions: One for each image.
        topk: Numbers of boxes among which a right one must be, -1 for all.
        iou_thr: IoU from which a box is right.
    """
    metric = stock_metric('Flickr30kMetric', topk=topk, iou_thrs=iou_thr, merge=False)
    results = [
        (_tensors(each, 'bboxes', 'labels'), found, keys['phrase_ids'], keys['phrases'])
        for found, keys, each in zip(boxes, prompts, predictions)
    ]
    return metric.compute_metrics(results)


def described_numbers(
    annotations: dict[str, Any],
    img_ids: Sequence[Any],
    results: Sequence[tuple[Prediction, NDArray[np.int64]]],
) -> dict[str, float]:
    """Return the numbers of ``DODCocoMetric``.

    Args:
        annotations: Content of a COCO file.
        img_ids: Id of each image.
        results: For each image the prediction, and the category id of each box.

    Raises:
        ZeroDivisionError: If descriptions of some length have no annotation.
    """
    metric = stock_metric(
        'DODCocoMetric', _coco_api=load_annotations(_Loads, annotations)
    )
    found = [
        {'img_id': i, 'bboxes': each.bboxes, 'scores': each.scores, 'labels': ids}
        for i, (each, ids) in zip(img_ids, results)
    ]
    with contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings():
        warnings.simplefilter('ignore')  # means of descriptions without annotations
        return metric.compute_metrics(found)


class _Loads(COCO):
    """Annotations that load detections, of which there may be none."""

    def loadRes(self, resFile: list[dict[str, Any]]) -> Any:  # noqa: N802, N803
        """Return boxes as an object of this class; keys are added to them."""
        for number, box in enumerate(resFile, start=1):
            box.update(id=number, area=box['bbox'][2] * box['bbox'][3], iscrowd=0)
        return load_annotations(COCO, {**self.dataset, 'annotations': resFile})


def occluded_recalls(
    names: Sequence[str],
    predictions: Sequence[Prediction],
    classes: Sequence[str],
    subsets: Sequence[list[Any]],
    score_thr: float,
    iou_thr: float,
) -> dict[str, float]:
    """Return what ``CocoOccludedSeparatedMetric`` reports beside COCO's numbers.

    Args:
        names: File name of each image.
        predictions: One for each image.
        classes: Class names.
        subsets: The occluded and the separated masks.
        score_thr: Least score of the masks that count.
        iou_thr: IoU from which a mask is found.
    """
    images = {i: {'file_name': name} for i, name in enumerate(names)}
    metric = stock_metric(
        'CocoOccludedSeparatedMetric',
        _coco_api=SimpleNamespace(imgs=images),
        _dataset_meta={'classes': classes},
        occluded_ann=subsets[0],
        separated_ann=subsets[1],
        score_thr=score_thr,
        iou_thr=iou_thr,
    )
    results = [
        (None, {**vars(each), 'img_id': i, 'masks': each.masks or ()})
        for i, each in enumerate(predictions)
    ]
    with contextlib.redirect_stdout(io.StringIO()):  # bars of progress
        return metric.evaluate_occluded_separated(results)


def cityscapes_averages(
    files: list[str], maps: list[str], args: Any, dump_matches: bool
) -> dict[str, Any]:
    """Return the averages of ``cityscapesscripts``.

    Args:
        files: Text files that list the predicted masks of an image.
        maps: Paths of the maps of instance ids.
        args: Arguments of the package.
        dump_matches: Whether to write ``matches.json``.
    """
    averages: dict[str, Any] = functional.evaluateImgLists(
        files, maps, args, dump_matches=dump_matches
    )['averages']
    return averages


def _tensors(prediction: Prediction, *keys: str) -> dict[str, torch.Tensor]:
    return {key: torch.from_numpy(np.asarray(getattr(prediction, key))) for key in keys}
