"""Score boxes and masks of instances, in the formats that compare these."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from typing import Any, ClassVar

import numpy as np
import torch
from mmdet.structures.mask import encode_mask_results

from ..evaluation import (
    Prediction,
    coco,
    crowdhuman,
    evaluate_coco,
    evaluate_crowdhuman,
    evaluate_lvis,
    evaluate_openimages,
    evaluate_voc,
    lvis,
    openimages,
    voc,
)
from ..evaluation.backends.coco import backend_classes
from ..evaluation.backends.lvis import lvis_package
from ..evaluation.groups.jobs import Spread, one_by_one
from ..lake import Lake, blank_size, find_lake
from ..structures.masks import as_text_counts
from ..utils.values import is_list, wrong
from .collected import PackedResults
from .format import MetricFormat
from .ground_truth import GroundTruthReader
from .options import check_ascending


class InstanceFormat(MetricFormat):
    """A format that scores ``pred_instances``.

    Attributes:
        score: Function of ground truth, predictions, :meth:`arguments` and options that
            returns numbers by name.
        takes_one_threshold: Whether ``iou_thrs`` must be one number.
        reads: What is read beside boxes, as arguments of :class:`GroundTruthReader`.
    """

    score: ClassVar[Callable[..., dict[str, float]]]
    takes_one_threshold: ClassVar[bool] = False
    reads: ClassVar[Mapping[str, bool]] = {}
    results_class = PackedResults

    @cached_property
    def ground_truth(self) -> GroundTruthReader:
        """Reader of the annotations."""
        return GroundTruthReader(
            with_masks='segm' in self.metrics and not self.options['format_only'],
            **self.reads,
        )

    def check_options(self) -> None:
        """Check the thresholds, and the order of the numbers of proposals, too."""
        super().check_options()
        if self.takes_one_threshold and is_list(self.options.get('iou_thrs')):
            raise wrong(
                'iou_thrs', 'one number', self.options['iou_thrs'], 'iou_thrs=0.5'
            )
        for metric in self.metrics:
            if metric in ('proposal_fast', 'recall'):
                check_ascending(self.options['proposal_nums'], metric)

    def collect(self, sample: Mapping[str, Any], meta: Mapping[str, Any]) -> Prediction:
        """Copy boxes, scores, labels and masks to the CPU.

        Raises:
            ValueError: If the lake has no boxes to compare with.
        """
        lake, _ = find_lake(sample['img_path'])
        if lake.columns.of('gt_bboxes') is None and not self.options.get('format_only'):
            raise ValueError(
                f'metrics_format={self.name!r} compares boxes, but {lake.name} has no '
                'column for gt_bboxes; name it in deeplake_tensors, or leave '
                'DeepLakeMetric out'
            )
        return collect_instances(sample)

    def evaluate(
        self,
        rows_of: Mapping[Lake, Sequence[int]],
        collected: Sequence[Prediction],
        meta: Mapping[str, Any],
        spread: Spread = one_by_one,
    ) -> dict[str, float]:
        """Score predictions against the instances of their images."""
        shared = {'spread': spread} if self.shares_work else {}
        further = self.arguments(rows_of, meta)
        truth = self.ground_truth.read(rows_of)
        return self.score(truth, collected, **further, **self.options, **shared)

    def arguments(
        self, rows_of: Mapping[Lake, Sequence[int]], meta: Mapping[str, Any]
    ) -> dict[str, Any]:
        """Return what ``score`` takes beside ground truth, predictions and options."""
        if self.takes_several:
            return {'classes': meta['classes'], 'metrics': self.metrics}
        return {'classes': meta['classes'], 'metric': self.metrics[0]}


class CocoFormat(InstanceFormat):
    """COCO's precision and recall, as ``CocoMetric``.

    Raises:
        ImportError: If the package of the backend is not installed.
    """

    name = 'COCO'
    prefix = 'coco'
    known_metrics: ClassVar[tuple[str, ...]] = coco.METRICS
    known_items = coco.ITEMS
    defaults: ClassVar[Mapping[str, Any]] = {
        'classwise': False,
        'proposal_nums': (100, 300, 1000),
        'iou_thrs': None,
        'metric_items': None,
        'format_only': False,
        'outfile_prefix': None,
        'sort_categories': False,
        'backend': 'pycocotools',
    }
    score: ClassVar[Callable[..., dict[str, float]]] = staticmethod(evaluate_coco)
    shares_work = True

    def check_options(self) -> None:
        """Check how many numbers of proposals there are too, and import the backend."""
        super().check_options()
        items, nums = self.options['metric_items'], self.options['proposal_nums']
        coco.check_proposal_nums(self.metrics, items, nums)
        backend_classes(self.options['backend'])


class LvisFormat(InstanceFormat):
    """LVIS's precision by frequency of the class, as ``LVISMetric``.

    Raises:
        ValueError: If a metric item is unknown, or an option has no effect on any of the
            metrics.
        ImportError: If the package ``lvis`` is not installed.
    """

    name = 'LVIS'
    prefix = 'lvis'
    known_metrics = coco.METRICS
    known_items = lvis.ITEMS
    check_package = staticmethod(lvis_package)
    defaults: ClassVar[Mapping[str, Any]] = {
        'classwise': False,
        'proposal_nums': lvis.PROPOSAL_NUMS,
        'iou_thrs': None,
        'metric_items': None,
        'format_only': False,
        'outfile_prefix': None,
    }
    score = staticmethod(evaluate_lvis)
    shares_work = True
    reads: ClassVar[Mapping[str, bool]] = {'with_federation': True}

    def check_options(self) -> None:
        """Refuse options that have no effect in LVIS too."""
        super().check_options()
        keys = ('metric_items', 'proposal_nums', 'iou_thrs')
        lvis.check_lvis_options(self.metrics, *(self.options[key] for key in keys))


class VocFormat(InstanceFormat):
    """Pascal VOC's mAP or recall, as ``VOCMetric``."""

    name = 'PascalVOC'
    prefix = 'pascal_voc'
    known_metrics = voc.METRICS
    takes_several = False
    defaults: ClassVar[Mapping[str, Any]] = {
        'proposal_nums': (100, 300, 1000),
        'iou_thrs': None,
        'scale_ranges': None,
        'eval_mode': '11points',
    }
    score = staticmethod(evaluate_voc)
    # VOCMetric scores what the dataset kept.
    reads: ClassVar[Mapping[str, bool]] = {'with_degenerate': False}


class CrowdHumanFormat(InstanceFormat):
    """CrowdHuman's AP, miss rate and Jaccard index, as ``CrowdHumanMetric``."""

    name = 'CrowdHuman'
    prefix = 'crowd_human'
    known_metrics = crowdhuman.METRICS
    takes_all = True
    defaults: ClassVar[Mapping[str, Any]] = {
        'iou_thrs': None,
        'mr_ref': 'CALTECH_-2',
        'format_only': False,
        'outfile_prefix': None,
    }
    score = staticmethod(evaluate_crowdhuman)
    takes_one_threshold = True


class OpenImagesFormat(InstanceFormat):
    """OpenImages' mAP, as ``OpenImagesMetric``."""

    name = 'OpenImages'
    prefix = 'openimages'
    known_metrics = openimages.METRICS
    takes_several = False
    defaults: ClassVar[Mapping[str, Any]] = {
        'iou_thrs': None,
        'ioa_thrs': 0.5,
        'use_group_of': True,
        'get_supercategory': True,
        'filter_labels': True,
    }
    score = staticmethod(evaluate_openimages)
    reads: ClassVar[Mapping[str, bool]] = {'with_open_images': True}


def collect_instances(sample: Mapping[str, Any]) -> Prediction:
    """Copy boxes, scores, labels and masks to the CPU, masks as run-length codes.

    Args:
        sample: A prediction with ``img_path`` and ``pred_instances``.

    Raises:
        KeyError: If it has no ``pred_instances``.
    """
    if 'pred_instances' not in sample:
        raise KeyError(
            "a prediction must have 'pred_instances', boxes with labels and scores, but "
            f'has {", ".join(sample)}; write the metrics_format of what the model '
            'predicts'
        )
    instances = sample['pred_instances']
    # Detections on the black image that stands for a broken one do not count.
    part = slice(0 if blank_size(sample['img_path']) else None)
    keys = ['bboxes', 'scores', 'labels']
    if 'mask_scores' in instances:
        keys.append('mask_scores')
    arrays = {key: instances[key][part].cpu().numpy() for key in keys}
    labels = arrays['labels']
    is_float = labels.dtype.kind == 'f'  # as CrowdDet's are
    if is_float and np.isfinite(labels).all() and not np.mod(labels, 1).any():
        arrays['labels'] = labels.astype(np.int64)
    masks = run_lengths(instances['masks'][part]) if 'masks' in instances else None
    return Prediction(masks=masks, **arrays)


def run_lengths(masks: Any) -> list[dict[str, Any]]:
    """Return predicted masks, a tensor ``(n, H, W)`` or codes, as run-length codes."""
    if isinstance(masks, torch.Tensor):
        # One at a time: a hundred masks of a large image take gigabytes.
        masks = [
            encode_mask_results(mask[None].detach().cpu().numpy())[0] for mask in masks
        ]
    return [as_text_counts(mask) for mask in masks]
