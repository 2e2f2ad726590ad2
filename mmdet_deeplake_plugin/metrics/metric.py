"""How good: predictions against the lake's own ground truth."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import torch
from mmdet.registry import METRICS
from mmdet.structures.mask import encode_mask_results
from mmengine.evaluator import BaseMetric
from mmengine.logging import MMLogger, print_log

from ..datasets.broken_images import describe_rows
from ..evaluation import (
    GroundTruth,
    Prediction,
    evaluate_coco,
    evaluate_lvis,
    evaluate_voc,
    semseg,
)
from ..evaluation.backends.coco import backend_classes
from ..evaluation.backends.lvis import lvis_package
from ..evaluation.lvis import check_lvis_options
from ..lake import Lake, blank_size, did_you_mean, find_lake
from ..structures.masks import as_text_counts
from ..utils.gc_paused import gc_paused
from .ground_truth import read_ground_truth
from .segments import PanopticScores, SemanticScores

_PREFIXES = {
    'COCO': 'coco',
    'LVIS': 'lvis',
    'PascalVOC': 'pascal_voc',
    'Panoptic': 'coco_panoptic',
    'SemSeg': None,
}
_METRICS = {
    'COCO': ('bbox', 'segm', 'proposal', 'proposal_fast'),
    'LVIS': ('bbox', 'segm', 'proposal', 'proposal_fast'),
    'PascalVOC': ('mAP', 'recall'),
    'Panoptic': ('PQ',),
    'SemSeg': semseg.METRICS,
}
_EVALUATE: dict[str, Callable[..., dict[str, float]]] = {
    'COCO': evaluate_coco,
    'LVIS': evaluate_lvis,
    'PascalVOC': evaluate_voc,
}
# Options that only some formats have, and what they are if they are not given.
_OPTIONS: dict[str, dict[str, Any]] = {
    'COCO': dict(
        classwise=False,
        metric_items=None,
        format_only=False,
        outfile_prefix=None,
        sort_categories=False,
        backend='pycocotools',
    ),
    'LVIS': dict(
        classwise=False, metric_items=None, format_only=False, outfile_prefix=None
    ),
    'PascalVOC': dict(scale_ranges=None, eval_mode='11points'),
    'Panoptic': dict(classwise=False, format_only=False, outfile_prefix=None),
    'SemSeg': dict(
        format_only=False,
        output_dir=None,
        beta=1,
        reduce_zero_label=False,
        ignore_index=None,
    ),
}


@METRICS.register_module()
class DeepLakeMetric(BaseMetric):
    """COCO, LVIS, VOC, panoptic or semantic metrics of predictions on lakes.

    The numbers equal those of ``CocoMetric(ann_file=…)``, ``LVISMetric(ann_file=…)``,
    ``VOCMetric``, ``CocoPanopticMetric(ann_file=…)`` and ``SemSegMetric``. The
    ground truth is read from the lake on the main rank: areas, crowds and ids
    as stored, all annotations of the images that were predicted, whatever the
    loader filtered. Predictions name their image by ``img_path``, which stands
    in the default ``meta_keys``; a lake must be open in this process, as the
    dataset that is evaluated makes sure.

    Args:
        metrics_format: ``'COCO'``, ``'LVIS'`` (needs the package ``lvis``, and a lake
            that ``tools.from_coco`` made of an LVIS file), ``'PascalVOC'``,
            ``'Panoptic'`` or ``'SemSeg'``.
        metric: COCO, LVIS: ``bbox``, ``segm``, ``proposal``, ``proposal_fast`` or a list.
            PascalVOC: ``mAP`` or ``recall``. Panoptic: ``PQ``. SemSeg: ``mIoU``,
            ``mDice``, ``mFscore`` or a list. Defaults to the first one.
        classwise: COCO, LVIS: whether to report the AP of each class. Panoptic: whether
            to log the numbers of each class.
        proposal_nums: Numbers of detections an image: three for ``bbox``, ``segm``
            and ``proposal``; one for precisions of the first two, at so many.
            LVIS: for ``proposal_fast`` alone.
        iou_thrs: IoU threshold or thresholds. Defaults to 0.5 to 0.95 in steps of
            0.05 (COCO) or 0.5 (PascalVOC). LVIS: for ``proposal_fast`` alone.
        metric_items: COCO, LVIS: which numbers to report.
        format_only: All but PascalVOC: write the results and evaluate nothing.
        outfile_prefix: COCO, LVIS: path prefix of the JSON files, ``.bbox.json`` and, if
            the model predicts masks, ``.segm.json``. Panoptic: that of
            ``.panoptic.json`` and the folder ``.panoptic`` of PNG files.
        sort_categories: COCO: whether classes are listed by category id.
        backend: COCO: ``'pycocotools'``, or ``'faster_coco_eval'`` (a package of
            that name), which gives the same digits in less time.
        scale_ranges: PascalVOC: ranges of box scale in pixels, ``[(0, 32), …]``.
        eval_mode: PascalVOC: ``'11points'`` or ``'area'``.
        output_dir: SemSeg: folder for the predicted maps, a PNG each.
        beta: SemSeg: weight of recall in ``mFscore``.
        reduce_zero_label: SemSeg: whether label 0 of the stored maps is the background,
            as in ``LoadAnnotations``.
        ignore_index: SemSeg: label of pixels that do not count. Defaults to what the
            model says, else 255.
        collect_device: ``'cpu'`` or ``'gpu'``: how ranks exchange results.
        prefix: Prefix of the names. Defaults to ``coco``, ``lvis``, ``pascal_voc``,
            ``coco_panoptic`` or none, as the stock metrics have it.
        collect_dir: Folder for the exchange by ``'cpu'``.

    Raises:
        ValueError: If a key is wrong, or belongs to the other format; when
            evaluating, if the model predicts a label that is no class.
        KeyError: If the backend is unknown; when evaluating, if the lake of a
            prediction is not open.
        ImportError: If the package of the backend is not installed.
    """

    def __init__(
        self,
        metrics_format: str = 'COCO',
        metric: str | Sequence[str] | None = None,
        classwise: bool = False,
        proposal_nums: Sequence[int] = (100, 300, 1000),
        iou_thrs: float | Sequence[float] | None = None,
        metric_items: Sequence[str] | None = None,
        format_only: bool = False,
        outfile_prefix: str | None = None,
        sort_categories: bool = False,
        backend: str = 'pycocotools',
        scale_ranges: Sequence[tuple[float, float]] | None = None,
        eval_mode: str = '11points',
        output_dir: str | None = None,
        beta: float = 1,
        reduce_zero_label: bool = False,
        ignore_index: int | None = None,
        collect_device: str = 'cpu',
        prefix: str | None = None,
        collect_dir: str | None = None,
    ) -> None:
        if metrics_format not in _PREFIXES:
            raise ValueError(
                f'metrics_format={metrics_format!r} is unknown'
                f'{did_you_mean(metrics_format, _PREFIXES)}; write {_listed(_PREFIXES)}'
            )
        self.metrics_format = metrics_format
        self.metrics = _check_metrics(metrics_format, metric)
        super().__init__(
            collect_device=collect_device,
            prefix=_PREFIXES[metrics_format] if prefix is None else prefix,
            collect_dir=collect_dir,
        )
        given: dict[str, Any] = dict(
            classwise=classwise,
            metric_items=metric_items,
            format_only=format_only,
            outfile_prefix=outfile_prefix,
            sort_categories=sort_categories,
            backend=backend,
            scale_ranges=scale_ranges,
            eval_mode=eval_mode,
            output_dir=output_dir,
            beta=beta,
            reduce_zero_label=reduce_zero_label,
            ignore_index=ignore_index,
        )
        self.options = _options(metrics_format, given)
        # A missing package is told before the first epoch, not after it.
        if metrics_format == 'COCO':
            backend_classes(backend)
        elif metrics_format == 'LVIS':
            lvis_package()
            check_lvis_options(self.metrics, metric_items, proposal_nums, iou_thrs)
        self._maps: PanopticScores | SemanticScores | None = None
        if metrics_format == 'Panoptic':
            self._maps = PanopticScores(**self.options)
        elif metrics_format == 'SemSeg':
            self._maps = SemanticScores(self.metrics, **self.options)
        self.options['proposal_nums'] = tuple(proposal_nums)
        if iou_thrs is not None:
            self.options['iou_thrs'] = iou_thrs
        self._ground_truth: tuple[dict[Lake, list[int]], GroundTruth] | None = None

    def process(self, data_batch: Any, data_samples: Sequence[dict]) -> None:
        """Keeps the predictions of a batch.

        Args:
            data_batch: Unused.
            data_samples: Samples with ``img_path`` and ``pred_instances``
                (``bboxes`` ``(n, 4)`` as xyxy in pixels of the original image,
                ``scores`` ``(n,)``, ``labels`` ``(n,)``; if there are any, ``masks``
                ``(n, H, W)`` or run-length codes, and ``mask_scores`` ``(n,)``), or with
                ``pred_panoptic_seg`` or ``pred_sem_seg``.

        Raises:
            KeyError: If a sample has no ``img_path``, or no map where maps are compared.
            ValueError: If a map has another size than that of the lake.
        """
        for sample in data_samples:
            if 'img_path' not in sample:
                raise KeyError(
                    "a prediction has no 'img_path', which tells its lake and row; keep "
                    'img_path in the meta_keys of PackDetInputs'
                )
            if self._maps is not None:
                found = self._maps.collect(sample, self.dataset_meta or {})
                self.results.append((sample['img_path'], found))
                continue
            found = sample['pred_instances']
            # What is found on a picture that stands for a broken image is nothing.
            part = slice(0 if blank_size(sample['img_path']) else None)
            prediction = Prediction(
                bboxes=found['bboxes'][part].cpu().numpy(),
                scores=found['scores'][part].cpu().numpy(),
                labels=found['labels'][part].cpu().numpy(),
                masks=_run_lengths(found['masks'][part]) if 'masks' in found else None,
                mask_scores=found['mask_scores'][part].cpu().numpy()
                if 'mask_scores' in found
                else None,
            )
            self.results.append((sample['img_path'], prediction))

    @gc_paused()
    def compute_metrics(self, results: list) -> dict[str, float]:
        """Evaluates the predictions of all ranks.

        Args:
            results: Pairs of ``img_path`` and :class:`Prediction`, or what was kept of a
                map.

        Returns:
            Name -> number, the mean average precision first, so that
            ``save_best='auto'`` chooses it.

        Raises:
            ValueError: If the model predicts a label that is no class.
            KeyError: If the lake of a prediction is not open in this process.
        """
        classes = (self.dataset_meta or {})['classes']
        _log_broken([path for path, _ in results])
        # Ranks that were padded with repeated images give them twice.
        by_image = {find_lake(path): (path, found) for path, found in results}
        rows_of: dict[Lake, list[int]] = {}
        for lake, row in by_image:
            rows_of.setdefault(lake, []).append(row)
        in_order = [by_image[lake, row] for lake, rows in rows_of.items() for row in rows]
        paths, found = [path for path, _ in in_order], [found for _, found in in_order]
        if isinstance(self._maps, SemanticScores):
            return self._maps.evaluate(found, self.dataset_meta or {})
        ground_truth = self._read_once(rows_of)
        if isinstance(self._maps, PanopticScores):
            meta = self.dataset_meta or {}
            return self._maps.evaluate(ground_truth, paths, found, meta)
        takes_one = self.metrics_format == 'PascalVOC'
        return _EVALUATE[self.metrics_format](
            ground_truth,
            found,
            classes,
            self.metrics[0] if takes_one else self.metrics,
            logger=MMLogger.get_current_instance(),
            **self.options,
        )

    def _read_once(self, rows_of: dict[Lake, list[int]]) -> GroundTruth:
        # A validation after each epoch asks for the same rows each time.
        if self._ground_truth is None or self._ground_truth[0] != rows_of:
            truth = read_ground_truth(
                rows_of,
                with_degenerate=self.metrics_format != 'PascalVOC',
                with_masks='segm' in self.metrics and not self.options['format_only'],
                with_federation=self.metrics_format == 'LVIS',
                with_stuff=self.metrics_format == 'Panoptic',
            )
            self._ground_truth = (rows_of, truth)
        return self._ground_truth[1]


def _log_broken(paths: Sequence[str]) -> None:
    """Lists the images in whose place a black one was predicted."""
    rows_of: dict[str, set[int]] = {}
    for path in filter(blank_size, paths):
        lake, row = find_lake(path)
        rows_of.setdefault(lake.name, set()).add(row)
    count = sum(map(len, rows_of.values()))
    if count:
        found = {name: sorted(rows) for name, rows in rows_of.items()}
        print_log(
            f'DeepLakeMetric: {count} of {len(set(paths))} images could not be decoded '
            f'and count as images without detections: {describe_rows(found)}',
            logger='current',  # no warning: MMEngine shows an equal one only once
        )


def _run_lengths(masks: Any) -> list[dict[str, Any]]:
    if isinstance(masks, torch.Tensor):
        # One at a time: a hundred masks of a large image fill gigabytes.
        masks = [
            encode_mask_results(mask[None].detach().cpu().numpy())[0] for mask in masks
        ]
    return [as_text_counts(mask) for mask in masks]


def _check_metrics(metrics_format: str, metric: Any) -> list[str]:
    allowed = _METRICS[metrics_format]
    metrics = [allowed[0]] if metric is None else metric
    metrics = [metrics] if isinstance(metrics, str) else list(metrics)
    for name in metrics:
        if name not in allowed:
            raise ValueError(
                f'metric={name!r} is no metric of metrics_format={metrics_format!r}'
                f'{did_you_mean(name, allowed)}; write {", ".join(allowed)}'
            )
    if not metrics or (metrics_format == 'PascalVOC' and len(metrics) > 1):
        raise ValueError(f'metric={metric!r}: write one of {", ".join(allowed)}')
    return metrics


def _options(metrics_format: str, given: dict[str, Any]) -> dict[str, Any]:
    """The options of a format; refuses those that belong to others."""
    own = _OPTIONS[metrics_format]
    defaults = {key: value for each in _OPTIONS.values() for key, value in each.items()}
    for key, value in given.items():
        if key not in own and value != defaults[key]:
            raise ValueError(
                f'{key}={value!r} has no meaning for metrics_format={metrics_format!r}; '
                'leave it out'
            )
    place, what = 'outfile_prefix', 'path that the JSON begins with'
    if metrics_format == 'SemSeg':
        place, what = 'output_dir', 'folder for the maps'
    if given['format_only'] and given[place] is None:
        raise ValueError(
            'format_only=True writes the results and evaluates nothing, but '
            f'{place} is not given; write the {what}'
        )
    return {key: given[key] for key in own}


def _listed(names: Iterable[str]) -> str:
    *first, last = names
    return f'{", ".join(first)} or {last}'
