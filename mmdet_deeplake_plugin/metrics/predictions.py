"""Write what a model predicted, and what became of it, to the lake that was evaluated."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from mmdet.registry import METRICS
from mmengine.dist import is_main_process
from mmengine.evaluator import BaseMetric
from mmengine.logging import print_log

from ..datasets.class_comparison import refuse_joined_classes
from ..evaluation import ERRORS, IOU_TYPES, Prediction, Rules
from ..lake import (
    Lake,
    PredictionBranch,
    blank_size,
    check_prediction_name,
    find_lake,
)
from ..utils.gc_paused import gc_paused
from ..utils.values import (
    check_choice,
    check_int,
    is_list,
    is_number,
    refuse_unknown,
    wrong,
)
from .ground_truth import GroundTruthReader
from .instances import collect_instances
from .judging import Blocks
from .losses import loss_of
from .options import check_values
from .provenance import describe_run, run_name, stage, take_numbers


@METRICS.register_module()
class DeepLakePredictions(BaseMetric):
    """Writes predictions as columns on a branch of the lake that was evaluated.

    The branch that was evaluated stays as it is, and its rows keep their numbers. Rows
    that were not predicted, broken images among them, are null. Every column's name
    begins with ``<name>/``: per prediction ``boxes``, ``labels``, ``scores``, ``masks``,
    ``verdict``, ``match``, ``iou`` and ``error``; per annotation ``gt_fate`` and
    ``gt_iou``; per image the counts, ``f1``, ``label_quality`` and, with
    :class:`DeepLakeLossHook`, ``loss``. Lakes without boxes
    get the first four. Verdicts are those of COCO's matching, errors those of TIDE.

    Use it in ``test_evaluator``, beside ``DeepLakeMetric``, whose numbers it then keeps
    too, or on ``results.pkl`` with ``eval_metric.py``. It reports no numbers, and does
    nothing in the validations of a training.

    Args:
        name: Name of the predictions. Defaults to that of the folder ``work_dir``.
        branch: Branch to write to, made if it does not exist. One that holds predictions
            for the same version under other names can be written to again. Defaults to
            ``runs/<name of the folder work_dir>``.
        iou_thr: IoU from which on a prediction matches an annotation.
        score_thr: Score from which on a prediction counts in errors, ``gt_fate`` and the
            numbers of images. All predictions are written, with their verdicts.
        background_thr: IoU up to which a wrong prediction is on the background.
        max_dets: Number of predictions of an image and class that are scored.
        area_range: Least and greatest area in square pixels of what counts. Defaults to
            None: all.
        iou_type: ``'bbox'``, or ``'segm'`` to compare masks.
        metrics_format: ``'COCO'``, or ``'LVIS'``: predictions of classes that were not
            searched for in an image, or only in parts of it, are not wrong. Needs a lake
            that ``tools.from_coco`` made from an LVIS file.
        collect_device: ``'cpu'``, ``'gpu'`` or ``'npu'``: how ranks exchange results.
        collect_dir: Folder for the exchange by ``'cpu'``.

    Raises:
        ValueError: If a key is wrong; at the first batch, if the branch exists and is
            another one, or the name is taken.
        PermissionError: At the first batch, if the lake cannot be written to.
        OSError: If writing fails; the lake then reads as before.
    """

    def __init__(
        self,
        name: str | None = None,
        branch: str | None = None,
        iou_thr: float = 0.5,
        score_thr: float = 0.3,
        background_thr: float = 0.1,
        max_dets: int = 100,
        area_range: Sequence[float] | None = None,
        iou_type: str = 'bbox',
        metrics_format: str = 'COCO',
        collect_device: str = 'cpu',
        collect_dir: str | None = None,
        **unknown: Any,
    ) -> None:
        refuse_unknown(unknown, DeepLakePredictions.__init__)
        check_prediction_name('name', name)
        check_prediction_name('branch', branch)
        for key, value in (
            ('iou_thr', iou_thr),
            ('score_thr', score_thr),
            ('background_thr', background_thr),
        ):
            if not is_number(value) or not 0 <= value <= 1:
                raise wrong(key, 'a number from 0 to 1', value, f'{key}=0.5')
        if background_thr > iou_thr:
            raise wrong(
                'background_thr', 'at most iou_thr', background_thr, 'background_thr=0.1'
            )
        check_int('max_dets', max_dets, 1, 'max_dets=100')
        check_choice('iou_type', iou_type, IOU_TYPES)
        check_choice('metrics_format', metrics_format, ('COCO', 'LVIS'))
        _check_area_range(area_range)
        check_values(dict(collect_device=collect_device, collect_dir=collect_dir))
        super().__init__(collect_device=collect_device, collect_dir=collect_dir)
        self.rules = Rules(
            iou_thr=float(iou_thr),
            score_thr=float(score_thr),
            background_thr=float(background_thr),
            max_dets=int(max_dets),
            area_range=None if area_range is None else tuple(map(float, area_range)),  # type: ignore[arg-type]
            iou_type=iou_type,
        )
        self._name, self._branch, self._format = name, branch, metrics_format
        self._checked: set[str] = set()

    def process(self, data_batch: Any, data_samples: Sequence[dict]) -> None:
        """Keep the predictions of a batch; check at the first that they can be written.

        Args:
            data_batch: Unused.
            data_samples: Samples with ``img_path`` and ``pred_instances``, as
                :class:`DeepLakeMetric` takes them.

        Raises:
            KeyError: If a sample has no ``img_path``, or its lake is not open.
            ValueError, PermissionError, OSError: If the lake cannot be written to.
        """
        if stage() == 'val':
            return
        for sample in data_samples:
            if 'img_path' not in sample:
                raise KeyError(
                    "a prediction has no 'img_path', which identifies its lake and row; "
                    'keep img_path in the meta_keys of PackDetInputs'
                )
            path = sample['img_path']
            lake, _ = find_lake(path)
            if is_main_process() and lake.key not in self._checked:
                self._branch_of(lake).check()
                self._checked.add(lake.key)
            collected = None if blank_size(path) else collect_instances(sample)
            self.results.append((path, collected, loss_of(path)))

    def evaluate(self, size: int) -> dict:
        """Write the predictions of all ranks, except in the validation of a training.

        Args:
            size: Number of images.

        Returns:
            Nothing, as no number is reported.
        """
        return {} if stage() == 'val' else super().evaluate(size)

    @gc_paused()
    def compute_metrics(self, results: list) -> dict[str, float]:
        """Write the predictions of all ranks, in a commit for each lake.

        Args:
            results: ``img_path``, the prediction, ``None`` for an image that is broken,
                and its loss, ``None`` without ``DeepLakeLossHook``, for each image.

        Raises:
            ValueError: If a label has no class, a prediction is damaged, masks that are
                compared are absent, or a row contains another image than when it was
                predicted.
            OSError: If the storage fails.
        """
        if isinstance(self.dataset_meta, Sequence):
            refuse_joined_classes(self.dataset_meta)
        by_lake: dict[Lake, dict[int, Prediction]] = {}
        names: dict[Lake, dict[int, str]] = {}
        losses: dict[Lake, dict[int, float | None]] = {}
        for path, prediction, loss in results:
            lake, row = find_lake(path)
            names.setdefault(lake, {})[row] = path.rpartition('/')[2]
            if prediction is not None:
                by_lake.setdefault(lake, {})[row] = prediction
                losses.setdefault(lake, {})[row] = loss
        for lake in by_lake:
            lake.check_names(names[lake])
            self._branch_of(lake).check()
        run = {**describe_run(), 'metric': take_numbers()}
        for lake, of_row in by_lake.items():
            self._write(lake, dict(sorted(of_row.items())), losses[lake], run)
        self._checked.clear()  # a further test writes again
        return {}

    def _write(
        self,
        lake: Lake,
        of_row: Mapping[int, Prediction],
        losses: Mapping[int, float | None],
        run: Mapping[str, Any],
    ) -> None:
        meta: Any = self.dataset_meta or {}
        rows, predictions = list(of_row), list(of_row.values())
        reader = GroundTruthReader(
            with_masks=self.rules.iou_type == 'segm',
            with_federation=self._format == 'LVIS',
            with_stuff=True,
        )
        blocks = Blocks(
            lake,
            rows,
            predictions,
            reader.read({lake: rows}),
            meta['classes'],
            self.rules,
            [losses[row] for row in rows],
        )
        pin = lake.source.pin
        provenance = {
            'lake': pin.lake_id,
            'branch': pin.branch,
            'version': pin.version,
            'rows': len(rows),
            **run,
            'rules': {**asdict(self.rules), 'metrics_format': self._format},
        }
        branch = self._branch_of(lake)
        branch.write(blocks.columns, blocks, provenance)
        counts = ', '.join(
            f'{blocks.sums[key]} {key}'
            for key in ('tp', 'fp', 'fn', *ERRORS[1:], 'missed')
        )
        print_log(
            f'DeepLakePredictions: wrote {branch.name!r} of {len(rows)} rows to branch '
            f'{branch.branch!r} of {lake.name}' + (f': {counts}' if blocks.sums else ''),
            logger='current',
        )

    def _branch_of(self, lake: Lake) -> PredictionBranch:
        run = run_name()
        for key, value in (('name', self._name), ('branch', self._branch)):
            if value is None and not run:
                example = 'rtmdet_tiny' if key == 'name' else 'runs/rtmdet_tiny'
                raise ValueError(
                    f'{key} of DeepLakePredictions is that of the work_dir by default, '
                    f'but without a runner there is none; write {key}={example!r}'
                )
        name = self._name or run
        branch = self._branch or f'runs/{run}'
        check_prediction_name('name', name)
        check_prediction_name('branch', branch)
        return PredictionBranch(lake.source, branch, name)


def _check_area_range(value: Any) -> None:
    if value is None:
        return
    if (
        not is_list(value)
        or len(value) != 2
        or not all(map(is_number, value))
        or not 0 <= value[0] < value[1]
    ):
        wanted = 'two areas in square pixels, the lesser one first'
        raise wrong('area_range', wanted, value, 'area_range=(0, 1024)')
