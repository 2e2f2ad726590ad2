"""Write what a model predicted, and what became of it, to the lake that was evaluated."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from mmdet.registry import METRICS
from mmengine.dist import get_world_size
from mmengine.logging import print_log

from ..datasets.class_comparison import refuse_joined_classes
from ..evaluation import ERRORS, IOU_TYPES, Prediction, Rules
from ..lake import (
    Lake,
    PredictionBranch,
    PredictionWrite,
    blank_size,
    check_prediction_name,
    find_lake,
    write_predictions,
)
from ..utils.distributed import on_main_rank
from ..utils.gc_paused import gc_paused
from ..utils.values import check_choice, check_int, refuse_unknown, wrong
from .format import path_of, rows_of_paths
from .ground_truth import GroundTruthReader
from .instances import collect_instances
from .judging import Blocks
from .options import check_share, check_values, is_range
from .panoptic import PanopticFormat, PredictedSegments, collect_segments
from .provenance import describe_run, loss_of, run_name, stage, take_numbers
from .ranks import SharedErrors

_FORMATS = ('COCO', 'LVIS', PanopticFormat.name)


@METRICS.register_module()
class DeepLakePredictions(SharedErrors):
    """Writes predictions as columns on a branch of the lake that was evaluated.

    The branch that was evaluated stays as it is, unless ``branch`` names it, and its rows
    keep their numbers. Rows that were not predicted, broken images among them, are null.
    Every column's name begins with ``<name>/``: per prediction ``boxes``, ``labels``,
    ``scores``, ``masks``, ``verdict``, ``match``, ``iou`` and ``error``; per annotation
    ``gt_fate`` and ``gt_iou``; per image the counts, ``f1``, ``label_quality``,
    ``gt_digest`` and, with :class:`DeepLakeLossHook`, ``loss``. Lakes
    without boxes get the first four. Verdicts are those of COCO's matching, or of
    panoptic quality's; errors are those of TIDE.

    Use it in ``test_evaluator``, beside ``DeepLakeMetric``, whose numbers it then keeps
    too, or on ``results.pkl`` with ``eval_metric.py``. It reports no numbers, and does
    nothing in the validations of a training. Of several lakes, as in ``ConcatDataset``,
    all are written, or none is.

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
            that ``tools.from_coco`` made from an LVIS file. ``'Panoptic'``: the segments
            of panoptic maps, which match with an IoU of more than 0.5 and have a score
            of 1; it takes only ``background_thr`` of the keys above.
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
        shares = dict(iou_thr=iou_thr, score_thr=score_thr, background_thr=background_thr)
        for key, value in shares.items():
            check_share(key, value)
        if background_thr > iou_thr:
            raise wrong(
                'background_thr', 'at most iou_thr', background_thr, 'background_thr=0.1'
            )
        check_int('max_dets', max_dets, 1, 'max_dets=100')
        check_choice('iou_type', iou_type, IOU_TYPES)
        check_choice('metrics_format', metrics_format, _FORMATS)
        if area_range is not None and not is_range(area_range):
            wanted = 'two areas in square pixels, the lesser one first'
            raise wrong('area_range', wanted, area_range, 'area_range=(0, 1024)')
        check_values(dict(collect_device=collect_device, collect_dir=collect_dir))
        super().__init__(collect_device=collect_device, collect_dir=collect_dir)
        self.rules = Rules(
            **{key: float(value) for key, value in shares.items()},
            max_dets=int(max_dets),
            area_range=None if area_range is None else tuple(map(float, area_range)),  # type: ignore[arg-type]
            iou_type=iou_type,
        )
        self._is_panoptic = metrics_format == PanopticFormat.name
        if self._is_panoptic:
            _refuse_keys_of_instances(self.rules)
        self._name, self._branch, self._format = name, branch, metrics_format
        self._checked: set[str] = set()
        self._has_met = False

    @property
    def is_idle(self) -> bool:
        """Whether nothing is written now: in the validation of a training."""
        return stage() == 'val'

    def process(self, data_batch: Any, data_samples: Sequence[dict]) -> None:
        """Keep the predictions of a batch; check at the first that they can be written.

        Args:
            data_batch: Unused.
            data_samples: Samples as :meth:`DeepLakeMetric.process` takes them.

        Raises:
            KeyError: As there.
            ValueError: If datasets with other classes are joined, or a map has another
                size than the stored one.
            ValueError, PermissionError, OSError: If the lake cannot be written to; at
                the first batch, on all ranks.
        """
        if self.is_idle:
            return
        if isinstance(self.dataset_meta, Sequence):
            refuse_joined_classes(self.dataset_meta)
        paths = [path_of(sample) for sample in data_samples]
        self._meet(paths)
        for path, sample in zip(paths, data_samples):
            collected = None if blank_size(path) else self._collect(sample)
            self.results.append((path, collected, loss_of(path)))

    def _meet(self, paths: Sequence[str] = ()) -> None:
        """Let rank 0 check that its predictions can be written.

        At the first batch all ranks wait for it. Lakes that come later are checked at
        once if there is but one rank, and else before anything is written.
        """
        if not self._has_met:
            on_main_rank(lambda: self._check(paths))
            self._has_met = True
        elif get_world_size() == 1:
            self._check(paths)

    def finish(self) -> None:
        """Meet the other ranks, if there was no batch on this one."""
        self._meet()
        self._has_met = False

    def _check(self, paths: Sequence[str]) -> None:
        for lake, _ in map(find_lake, paths):
            if lake.key not in self._checked:
                self._branch_of(lake).check()
                self._checked.add(lake.key)

    def _collect(self, sample: Mapping[str, Any]) -> Prediction | PredictedSegments:
        if self._is_panoptic:
            return collect_segments(sample, self.dataset_meta or {})
        return collect_instances(sample)

    def evaluate(self, size: int) -> dict:
        """Write the predictions of all ranks, except in the validation of a training."""
        if self.is_idle:
            return {}
        self.finish()
        return super().evaluate(size)

    @gc_paused()
    def compute(self, results: list) -> dict[str, float]:
        """Write the predictions of all ranks, in a commit per lake: to all, or to none.

        Args:
            results: ``img_path``, the prediction, ``None`` for an image that is broken,
                and its loss, ``None`` without ``DeepLakeLossHook``, for each image.

        Raises:
            ValueError: If a label has no class, a prediction is damaged, masks that are
                compared are absent, or a row contains another image than when it was
                predicted.
            OSError: If the storage fails.
        """
        by_lake: dict[Lake, dict[int, Any]] = {}
        for lake, number_of in rows_of_paths(path for path, _, _ in results).items():
            found = {row: results[number][1:] for row, number in number_of.items()}
            found = {row: each for row, each in found.items() if each[0] is not None}
            if found:
                by_lake[lake] = dict(sorted(found.items()))
        for lake in by_lake:
            self._branch_of(lake).check()
        run = {**describe_run(), 'metric': take_numbers()}
        sums: dict[Lake, Counter[str]] = {}

        def writes() -> Iterator[PredictionWrite]:
            for lake, of_row in by_lake.items():
                blocks = self._blocks_of(lake, of_row)
                sums[lake] = blocks.sums
                provenance = self._provenance_of(lake, len(of_row), run)
                branch = self._branch_of(lake)
                yield PredictionWrite(branch, blocks.columns, blocks, provenance)

        write_predictions(writes())
        for lake, counts in sums.items():
            branch = self._branch_of(lake)
            print_log(
                f'DeepLakePredictions: wrote {branch.name!r} of {len(by_lake[lake])} '
                f'rows to branch {branch.branch!r} of {lake.name}'
                + (f': {_listed(counts)}' if counts else ''),
                logger='current',
            )
        self._checked.clear()  # a further test writes again
        return {}

    def _blocks_of(
        self, lake: Lake, of_row: Mapping[int, tuple[Any, float | None]]
    ) -> Blocks:
        meta: Any = self.dataset_meta or {}
        rows, (found, losses) = list(of_row), zip(*of_row.values())
        reader = GroundTruthReader(
            with_masks=self.rules.iou_type == 'segm',
            with_federation=self._format == 'LVIS',
            with_stuff=True,
        )
        return Blocks(
            lake,
            rows,
            [each.instances for each in found] if self._is_panoptic else found,
            reader.read({lake: rows}),
            meta['classes'],
            self.rules,
            losses,
            [each.overlap for each in found] if self._is_panoptic else None,
        )

    def _provenance_of(
        self, lake: Lake, count: int, run: Mapping[str, Any]
    ) -> dict[str, Any]:
        pin = lake.source.pin
        return {
            'lake': pin.lake_id,
            'branch': pin.branch,
            'version': pin.version,
            'rows': count,
            **run,
            'rules': {**asdict(self.rules), 'metrics_format': self._format},
        }

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


def _listed(counts: Mapping[str, int]) -> str:
    return ', '.join(
        f'{counts[key]} {key}' for key in ('tp', 'fp', 'fn', *ERRORS[1:], 'missed')
    )


def _refuse_keys_of_instances(rules: Rules) -> None:
    defaults = asdict(Rules())
    for key, value in asdict(rules).items():
        if key != 'background_thr' and value != defaults[key]:
            raise ValueError(
                f"{key}={value!r} has no meaning for metrics_format='Panoptic', whose "
                'segments match with an IoU of more than 0.5 and have no scores; leave '
                'it out'
            )
