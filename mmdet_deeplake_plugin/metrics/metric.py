"""Score predictions against the ground truth stored in the lake."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from itertools import chain
from typing import Any

from mmdet.registry import METRICS
from mmengine.dist import get_world_size
from mmengine.logging import print_log

from ..datasets.broken_images import describe_rows
from ..datasets.class_comparison import refuse_joined_classes
from ..evaluation.groups.jobs import Spread, one_by_one
from ..lake import blank_size, find_lake
from ..utils.gc_paused import gc_paused
from ..utils.messages import comma_joined, did_you_mean
from ..utils.values import refuse_unknown
from .collected import SelectedResults, interleaved, one_after_another
from .format import path_of, rows_of_paths
from .formats.registry import FORMATS, refuse_of_others
from .maps import MapFormat
from .options import ELSEWHERE, check_values
from .provenance import keep_numbers
from .ranks import Ranks, SharedErrors


@METRICS.register_module()
class DeepLakeMetric(SharedErrors):
    """COCO, LVIS, VOC, OpenImages, panoptic, semantic, video and other metrics on lakes.

    The numbers equal those of ``CocoMetric(ann_file=…)``, ``LVISMetric(ann_file=…)``,
    ``VOCMetric``, ``CrowdHumanMetric(ann_file=…)``, ``OpenImagesMetric``,
    ``CocoPanopticMetric(ann_file=…)``, ``SemSegMetric``, and so on. The ground truth is
    read from the lake on the main rank, maps on the rank that predicted them: areas,
    crowds and ids as stored, and all annotations of the predicted images, whatever the
    loader filtered; that of tracks and persons comes with the samples. Predictions
    identify their image by ``img_path``, which is one of the default ``meta_keys``. The
    lake must be open in this process, which the evaluated dataset takes care of.

    Args:
        metrics_format: ``'COCO'``, ``'LVIS'`` (needs the package ``lvis``, and a lake
            that ``tools.from_coco`` made from an LVIS file), ``'PascalVOC'``,
            ``'Panoptic'``, ``'SemSeg'``, ``'CrowdHuman'``, ``'OpenImages'``,
            ``'Cityscapes'`` (needs the package ``cityscapesscripts``, and maps of
            instance ids), ``'CocoOccludedSeparated'``, ``'LVISFixedAP'``,
            ``'OVCoco'`` (with ``base_classes`` and ``novel_classes`` of ``metainfo``);
            or, for lakes of ``tools.from_grounding``, ``'RefExp'``, ``'gRefCOCO'``,
            ``'Flickr30k'`` or ``'DOD'``; for videos ``'MOT'`` (needs the package
            ``trackeval``), ``'YouTubeVIS'`` or ``'CocoVideo'``; for persons ``'ReID'``.
        metric: COCO, LVIS: ``bbox``, ``segm``, ``proposal``, ``proposal_fast`` or a list.
            PascalVOC: ``mAP`` or ``recall``. Panoptic: ``PQ``. SemSeg: ``mIoU``,
            ``mDice``, ``mFscore`` or a list. CrowdHuman: ``AP``, ``MR``, ``JI`` or a
            list. OpenImages: ``mAP``. MOT: ``HOTA``, ``CLEAR``, ``Identity`` or a list.
            ReID: ``mAP``, ``CMC`` or a list. Defaults to the first one, or all of
            CrowdHuman and MOT.
        classwise: COCO, LVIS: whether to report the AP of each class. Panoptic: whether
            to log the numbers of each class.
        proposal_nums: Maximum numbers of detections per image: three for ``bbox``,
            ``segm`` and ``proposal``; or one, with which ``bbox`` and ``segm`` report
            precision at that many. LVIS: for ``proposal_fast`` only.
        iou_thrs: IoU threshold or thresholds. Defaults to 0.5 to 0.95 in steps of
            0.05 (COCO) or 0.5 (PascalVOC, OpenImages; CrowdHuman and the formats for
            texts, which take one). LVIS: for ``proposal_fast`` only.
        metric_items: COCO, LVIS: which numbers to report.
        format_only: Formats that write files: write the results and evaluate nothing.
        outfile_prefix: CrowdHuman: path of the JSON file, without ``.json``. Cityscapes:
            folder in which ``results`` gets the masks. COCO, LVIS:
            path prefix of the JSON files, ``.bbox.json`` and, if
            the model predicts masks, ``.segm.json``. Panoptic: that of
            ``.panoptic.json`` and of the folder ``.panoptic`` of PNG files.
        sort_categories: COCO: whether classes are listed by category id.
        backend: COCO: ``'pycocotools'``, or ``'faster_coco_eval'`` (a package of
            that name), which gives the same digits in less time.
        scale_ranges: PascalVOC: ranges of box scale in pixels, ``[(0, 32), …]``.
        eval_mode: PascalVOC: ``'11points'`` or ``'area'``.
        output_dir: SemSeg: folder for the predicted maps, one PNG per image.
        beta: SemSeg: weight of recall in ``mFscore``.
        reduce_zero_label: SemSeg: whether label 0 of the stored maps is the background,
            as in ``LoadAnnotations``.
        ignore_index: SemSeg: label of pixels that do not count. Defaults to the model's
            ``ignore_index``, or 255 if it has none.
        mr_ref: CrowdHuman: ``'CALTECH_-2'`` or ``'CALTECH_-4'``: false positives per
            image from which on the miss rate is averaged.
        ioa_thrs: OpenImages: share of a prediction that must lie in a group-of box, one
            number or one per threshold.
        use_group_of: OpenImages: whether group-of boxes stand for groups.
        get_supercategory: OpenImages: whether boxes count for the classes above theirs.
        filter_labels: OpenImages: whether predictions of classes that were not verified
            in an image are left out.
        dump_matches: Cityscapes: whether to write ``matches.json``.
        occluded_ann: CocoOccludedSeparated: file of the occluded masks.
        separated_ann: CocoOccludedSeparated: file of the separated masks.
        score_thr: CocoOccludedSeparated: least score of the masks that count.
        mask_iou_thr: CocoOccludedSeparated: IoU from which a mask is found.
        topk: LVISFixedAP: number of detections of each class that count, 10,000 by
            default. RefExp, Flickr30k: numbers of boxes among which the right one must
            be, (1, 5, 10) and (1, 5, 10, -1) by default, -1 for all.
        thresh_score: gRefCOCO: least score of the boxes that count.
        thresh_f1: gRefCOCO: F1 from which an image is right.
        benchmark: MOT: ``'MOT15'``, ``'MOT16'``, ``'MOT17'``, ``'MOT20'`` or
            ``'DanceTrack'``, by which some annotations do not count.
        use_postprocess: MOT: whether the model has made tracks of its predictions, as
            ``StrongSORT`` with a ``postprocess_model``.
        postprocess_tracklet_cfg: MOT: what changes the tracks of a video, such as
            ``[dict(type='InterpolateTracklets')]``.
        metric_options: ReID: ``rank_list`` and ``max_rank`` of CMC, (1, 5, 10, 20) and 20
            by default.
        collect_device: ``'cpu'``, ``'gpu'`` or ``'npu'``: how ranks exchange results.
        prefix: Prefix of the names. Defaults to ``coco``, ``lvis``, ``pascal_voc``,
            ``coco_panoptic``, ``crowd_human``, ``openimages`` or none, as in the stock
            metrics.
        collect_dir: Folder for the exchange by ``'cpu'``.

    Raises:
        ValueError: If a key is wrong, or belongs to another format; at the first batch,
            if the lake has no boxes or maps to compare with; when evaluating, if the
            model predicts a label without a class.
        KeyError: If the lake of a prediction is not open.
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
        mr_ref: str = 'CALTECH_-2',
        ioa_thrs: float | Sequence[float] = 0.5,
        use_group_of: bool = True,
        get_supercategory: bool = True,
        filter_labels: bool = True,
        dump_matches: bool = False,
        occluded_ann: str | None = None,
        separated_ann: str | None = None,
        score_thr: float = 0.3,
        mask_iou_thr: float = 0.75,
        topk: int | Sequence[int] | None = None,
        thresh_score: float = 0.7,
        thresh_f1: float = 1.0,
        benchmark: str = 'MOT17',
        use_postprocess: bool = False,
        postprocess_tracklet_cfg: Sequence[Mapping[str, Any]] | None = None,
        metric_options: Mapping[str, Any] | None = None,
        collect_device: str = 'cpu',
        prefix: str | None = None,
        collect_dir: str | None = None,
        **unknown: Any,
    ) -> None:
        given = dict(locals())
        refuse_unknown(unknown, DeepLakeMetric.__init__, ELSEWHERE)
        if not isinstance(metrics_format, str) or metrics_format not in FORMATS:
            raise ValueError(
                f'`metrics_format` must be one of {comma_joined(FORMATS)}, got '
                f'{metrics_format!r}{did_you_mean(metrics_format, FORMATS)}; write one '
                'of them'
            )
        chosen = FORMATS[metrics_format]
        options = {key: given[key] for each in FORMATS.values() for key in each.defaults}
        exchange = ('collect_device', 'prefix', 'collect_dir')
        check_values({key: given[key] for key in (*options, *exchange)})
        if collect_dir is not None and collect_device != 'cpu':
            raise ValueError(
                f"collect_dir={collect_dir!r} is for collect_device='cpu', got "
                f'{collect_device!r}; leave one of them out'
            )
        refuse_of_others(chosen, options)
        self.format = chosen(metric, options)
        super().__init__(
            collect_device=collect_device,
            prefix=chosen.prefix if prefix is None else prefix,
            collect_dir=collect_dir,
        )
        self.results = chosen.results_class()

    def process(self, data_batch: Any, data_samples: Sequence[dict]) -> None:
        """Keep what the format needs of the predictions of a batch.

        Args:
            data_batch: Unused.
            data_samples: Samples with ``img_path`` and ``pred_instances``
                (``bboxes`` ``(n, 4)`` as xyxy in pixels of the original image,
                ``scores`` ``(n,)``, ``labels`` ``(n,)``; if there are any, ``masks``
                ``(n, H, W)`` or run-length codes, and ``mask_scores`` ``(n,)``), or with
                ``pred_panoptic_seg`` or ``pred_sem_seg``.

        Raises:
            KeyError: If a sample has no ``img_path``, or lacks the map to compare.
            ValueError: If a map differs in size from the stored one.
        """
        if isinstance(self.dataset_meta, Sequence) and isinstance(self.format, MapFormat):
            refuse_joined_classes(self.dataset_meta)
        for image in chain.from_iterable(map(self.format.images_of, data_samples)):
            path = path_of(image)
            collected = self.format.collect(image, self.dataset_meta or {})
            self.results.append((path, collected))

    @property
    def is_shared(self) -> bool:
        """Whether all ranks take part in :meth:`evaluate`."""
        shared = self.format.shares_work or self.format.of_videos
        return shared and get_world_size() > 1

    def evaluate(self, size: int) -> dict[str, float]:
        """Score the predictions of all ranks, in COCO and LVIS on all ranks.

        Args:
            size: Number of images, or of videos. Results beyond that of images are
                repeated ones, with which samplers fill up the last batch.
        """
        if not self.is_shared:
            return super().evaluate(len(self.results) if self.format.of_videos else size)
        return self.evaluate_in_order(size)

    @gc_paused()
    def evaluate_in_order(
        self, size: int, positions: Sequence[int] | None = None
    ) -> dict[str, float]:
        """Score the predictions of all ranks on all ranks, which must all call it.

        Args:
            size: Number of images, or of videos.
            positions: Where in the order in which results came that of each image is.
        """
        if not self.results:
            print_log(
                'DeepLakeMetric got no predictions on this rank',
                logger='current',
                level=logging.WARNING,
            )

        def lead(spread: Spread) -> dict[str, float]:
            parts = ranks.collect(lambda: self.results)
            if self.format.of_videos:  # each is that of one rank, in the order of time
                results = one_after_another(parts)
            else:
                results = interleaved(parts)[:size]
            if positions is not None and len(results) == len(positions):
                results = results[positions]
            numbers = self.compute(results, spread)
            prefix = f'{self.prefix}/' if self.prefix else ''
            return {f'{prefix}{key}': value for key, value in numbers.items()}

        with Ranks(self.collect_device, self.collect_dir) as ranks:
            first = ranks.rank == 0
            numbers = ranks.lead(lead) if first else ranks.follow(self.results)
        self.results.clear()
        return numbers

    @gc_paused()
    def compute(
        self, results: Sequence[Any], spread: Spread = one_by_one
    ) -> dict[str, float]:
        """Score the predictions of all ranks.

        Args:
            results: Pairs of ``img_path`` and what the format collected.
            spread: Runs the jobs of formats that share their work.

        Returns:
            Numbers by name, the mean average precision first if there is one, so that
            ``save_best='auto'`` chooses it.

        Raises:
            ValueError: If the model predicts a label without a class, or a row contains
                another image than when it was predicted.
            KeyError: If the lake of a prediction is not open in this process.
        """
        # MMDetection's MultiDatasetsEvaluator scores each of joined datasets by itself.
        if isinstance(self.dataset_meta, Sequence):
            refuse_joined_classes(self.dataset_meta)
        packed = results if isinstance(results, SelectedResults) else None
        paths = list(packed.paths if packed else (path for path, _ in results))
        _log_broken(paths)
        by_lake = rows_of_paths(paths)
        chosen = [number for rows in by_lake.values() for number in rows.values()]
        numbers = self.format.evaluate(
            {lake: list(rows) for lake, rows in by_lake.items()},
            packed.predictions(chosen) if packed else [results[n][1] for n in chosen],
            self.dataset_meta or {},
            spread,
        )
        keep_numbers(self.prefix, numbers)
        return numbers


def _log_broken(paths: Sequence[str]) -> None:
    """List the images for which a black one was predicted instead."""
    rows_of: dict[str, set[int]] = {}
    for path in filter(blank_size, paths):
        lake, row = find_lake(path)
        rows_of.setdefault(lake.name, set()).add(row)
    count = sum(map(len, rows_of.values()))
    if count:
        broken = {name: sorted(rows) for name, rows in rows_of.items()}
        print_log(
            f'DeepLakeMetric: {count} of {len(set(paths))} images could not be decoded '
            f'and count as images without detections: {describe_rows(broken)}',
            logger='current',  # not as a warning: MMEngine shows equal ones only once
        )
