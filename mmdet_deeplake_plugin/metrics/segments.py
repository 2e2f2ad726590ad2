"""Panoptic and semantic scores of predicted maps against those of lakes.

Each rank compares the maps of its own images and keeps numbers; the main rank adds
these up. So no map travels between ranks, and none is held longer than its batch.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from mmengine.logging import MMLogger, print_log
from numpy.typing import NDArray

from ..datasets.classes import label_map
from ..evaluation import (
    GroundTruth,
    PanopticPrediction,
    evaluate_panoptic,
    evaluate_semseg,
)
from ..evaluation.panoptic import describe, predicted_ids
from ..evaluation.semseg import IGNORED, count_pixels, reduce_zero
from ..lake import Lake, blank_size, find_lake
from ..structures.seg_maps import colours_of, decode_ids, decode_labels, encode_png


class PanopticScores:
    """What ``metrics_format='Panoptic'`` makes of predictions.

    Args:
        classwise: Whether to log the numbers of each class.
        format_only: Whether to write the results and evaluate nothing.
        outfile_prefix: Path prefix of ``.panoptic.json`` and of the folder
            ``.panoptic`` with a PNG an image; ``None`` to write nothing.
    """

    def __init__(
        self, classwise: bool, format_only: bool, outfile_prefix: str | None
    ) -> None:
        self.classwise = classwise
        self.format_only = format_only
        self.outfile_prefix = outfile_prefix

    def collect(self, sample: Mapping[str, Any], meta: Mapping[str, Any]) -> Any:
        """Compares a predicted map.

        Args:
            sample: With ``img_path`` and ``pred_panoptic_seg``.
            meta: ``metainfo`` of the dataset.

        Raises:
            KeyError: If the model predicts no panoptic map.
            ValueError: If the lake has none, or of another size.
        """
        found = _predicted(sample, 'pred_panoptic_seg', 'Panoptic')
        pixels = found['sem_seg'].cpu().numpy()[0]
        path, classes = sample['img_path'], meta['classes']
        lake, row = find_lake(path)
        ignored = found.get('ignore_index', len(classes))
        if blank_size(path):
            pixels = np.full_like(pixels, len(classes))
        truth = None
        if not self.format_only:
            if lake.seg_maps is None or not lake.columns.is_panoptic:
                raise ValueError(
                    "metrics_format='Panoptic' compares segments, but "
                    f'{lake.name} has no columns for gt_seg_map and segment_ids; name '
                    'them in '
                    "deeplake_tensors, or write metrics_format='COCO'"
                )
            truth = decode_ids(lake.seg_maps.of_row(row))
        if self.outfile_prefix is not None:
            folder = Path(f'{self.outfile_prefix}.panoptic')
            ids = predicted_ids(pixels, len(classes), ignored)
            _write_png(folder / _png_name(path), colours_of(ids)[:, :, ::-1])
        return _of_row(lake, row, lambda: describe(pixels, truth, len(classes), ignored))

    def evaluate(
        self,
        truth: GroundTruth,
        paths: Sequence[str],
        collected: Sequence[Any],
        meta: Mapping[str, Any],
    ) -> dict[str, float]:
        """Scores what :meth:`collect` gave for images.

        Args:
            truth: Ground truth of the images.
            paths: Their paths.
            collected: What was collected, one an image.
            meta: ``metainfo`` of the dataset.
        """
        predictions = [PanopticPrediction(*each) for each in collected]
        things = _things(truth, {find_lake(path)[0] for path in paths}, meta)
        if self.outfile_prefix is not None:
            self._write_json(truth, paths, predictions, meta['classes'], things)
        if self.format_only:
            return {}
        return evaluate_panoptic(
            truth,
            predictions,
            meta['classes'],
            things,
            self.classwise,
            MMLogger.get_current_instance(),
        )

    def _write_json(
        self,
        truth: GroundTruth,
        paths: Sequence[str],
        predictions: Sequence[PanopticPrediction],
        classes: Sequence[str],
        things: Sequence[bool],
    ) -> None:
        category_of = truth.labels_of_classes(classes).tolist()
        annotations = [
            {
                'image_id': img_id,
                'segments_info': [
                    {
                        'id': segment_id,
                        'category_id': truth.category_ids[category_of[label]],
                        'area': area,
                        'isthing': int(things[category_of[label]]),
                    }
                    for segment_id, label, area in zip(
                        prediction.ids.tolist(),
                        prediction.labels.tolist(),
                        prediction.areas.tolist(),
                    )
                ],
                'file_name': _png_name(path),
            }
            for img_id, path, prediction in zip(truth.img_ids, paths, predictions)
        ]
        file = Path(f'{self.outfile_prefix}.panoptic.json')
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps({'annotations': annotations}))
        print_log(f'results are written to {file}', logger='current')


class SemanticScores:
    """What ``metrics_format='SemSeg'`` makes of predictions.

    Args:
        metrics: Some of ``mIoU``, ``mDice``, ``mFscore``.
        beta: Weight of recall in the F-score.
        format_only: Whether to write the results and evaluate nothing.
        output_dir: Folder for a PNG an image; ``None`` to write nothing.
        reduce_zero_label: Whether label 0 of the stored maps is the background, as in
            ``LoadAnnotations``.
        ignore_index: Label of pixels that do not count; ``None`` for what the model
            says, else 255.
    """

    def __init__(
        self,
        metrics: Sequence[str],
        beta: float,
        format_only: bool,
        output_dir: str | None,
        reduce_zero_label: bool,
        ignore_index: int | None,
    ) -> None:
        self.metrics = metrics
        self.beta = beta
        self.format_only = format_only
        self.output_dir = output_dir
        self.reduce_zero_label = reduce_zero_label
        self.ignore_index = ignore_index

    def collect(self, sample: Mapping[str, Any], meta: Mapping[str, Any]) -> Any:
        """Compares a predicted map.

        Args:
            sample: With ``img_path`` and ``pred_sem_seg``.
            meta: ``metainfo`` of the dataset.

        Raises:
            KeyError: If the model predicts no semantic map.
            ValueError: If the lake has none, or of another size.
        """
        found = _predicted(sample, 'pred_sem_seg', 'SemSeg')
        pixels = found['sem_seg'].cpu().numpy()
        pixels = pixels.reshape(pixels.shape[-2:])
        path, classes = sample['img_path'], meta['classes']
        if blank_size(path):
            pixels = np.full_like(pixels, IGNORED)
        if self.output_dir is not None:
            name = _png_name(path)
            _write_png(Path(self.output_dir) / name, pixels.astype(np.uint8))
        if self.format_only:
            return np.zeros((3, len(classes)), dtype=np.int64)
        lake, row = find_lake(path)
        ignored = found.get('ignore_index', IGNORED)
        ignored = ignored if self.ignore_index is None else self.ignore_index
        truth = self._truth(lake, row, classes)
        return _of_row(
            lake, row, lambda: count_pixels(pixels, truth, len(classes), ignored)
        )

    def evaluate(
        self, collected: Sequence[Any], meta: Mapping[str, Any]
    ) -> dict[str, float]:
        """Scores what :meth:`collect` gave for images.

        Args:
            collected: What was collected, one an image.
            meta: ``metainfo`` of the dataset.
        """
        if self.format_only:
            print_log(f'results are written to {self.output_dir}', logger='current')
            return {}
        logger = MMLogger.get_current_instance()
        return evaluate_semseg(
            collected, meta['classes'], self.metrics, self.beta, logger
        )

    def _truth(self, lake: Lake, row: int, classes: Sequence[str]) -> NDArray[Any]:
        if lake.seg_maps is None or lake.columns.is_panoptic:
            raise ValueError(
                f"metrics_format='SemSeg' compares maps of labels, but {lake.name} has "
                'no such column for gt_seg_map; name it in deeplake_tensors'
            )
        content = lake.seg_maps.of_row(row)
        labels = _of_row(lake, row, lambda: decode_labels(content))
        if self.reduce_zero_label:
            labels = reduce_zero(labels)
        new_label = label_map(lake, classes)
        if new_label is None:
            return labels
        changed = labels.copy()
        for old, new in new_label.items():
            changed[labels == old] = new
        return changed


def _predicted(sample: Mapping[str, Any], key: str, metrics_format: str) -> Any:
    if key not in sample:
        raise KeyError(
            f'metrics_format={metrics_format!r} compares maps, but the model predicts no '
            f'{key}'
        )
    return sample[key]


def _of_row(lake: Lake, row: int, compare: Any) -> Any:
    try:
        return compare()
    except ValueError as error:
        raise ValueError(f'{lake.name}, row {row}: {error}') from error


def _things(truth: GroundTruth, lakes: set[Lake], meta: Mapping[str, Any]) -> list[bool]:
    known = {name: True for name in meta.get('thing_classes', ())}
    for lake in lakes:
        known.update(zip(lake.columns.class_names, lake.columns.things))
    return [known.get(name, False) for name in truth.category_names]


def _png_name(path: str) -> str:
    return f'{Path(path).stem}.png'


def _write_png(file: Path, pixels: NDArray[Any]) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(encode_png(pixels, level=1))
