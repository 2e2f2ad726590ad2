"""Score panoptic maps against the segments of lakes, as ``CocoPanopticMetric`` does."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from mmengine.logging import print_log
from numpy.typing import NDArray
from pycocotools import mask as coco_mask

from ..evaluation import (
    GroundTruth,
    PanopticPrediction,
    Prediction,
    evaluate_panoptic,
)
from ..evaluation.groups.jobs import Spread, one_by_one
from ..evaluation.panoptic import describe, predicted_ids
from ..lake import Lake, blank_size, find_lake
from ..structures.seg_maps import colours_of, decode_ids
from .ground_truth import GroundTruthReader, masks_of_ids
from .maps import MapFormat, naming_row, png_name, write_png


class PanopticFormat(MapFormat):
    """Panoptic quality, as ``CocoPanopticMetric``."""

    name = 'Panoptic'
    prefix = 'coco_panoptic'
    known_metrics = ('PQ',)
    defaults: ClassVar[Mapping[str, Any]] = {
        'classwise': False,
        'format_only': False,
        'outfile_prefix': None,
    }
    key = 'pred_panoptic_seg'

    @cached_property
    def ground_truth(self) -> GroundTruthReader:
        """Reader of the segments."""
        return GroundTruthReader(with_stuff=True)

    def collect(
        self, sample: Mapping[str, Any], meta: Mapping[str, Any]
    ) -> tuple[str, PanopticPrediction]:
        """Compare a predicted map with the stored one, and write it if asked to.

        Returns:
            File name of the written map, and the overlap of the segments.

        Raises:
            ValueError: If the lake has no map, or one of another size.
        """
        prediction = self.prediction_of(sample)
        pixels, num_classes, ignored = _pixels_of(prediction, meta)
        path = sample['img_path']
        lake, row = find_lake(path)
        if blank_size(path):
            pixels = np.full_like(pixels, num_classes)
        truth = None if self.options['format_only'] else _true_ids(lake, row)
        name = png_name(path)
        if self.options['outfile_prefix'] is not None:
            folder = Path(f'{self.options["outfile_prefix"]}.panoptic')
            ids = predicted_ids(pixels, num_classes, ignored)
            write_png(folder / name, colours_of(ids)[:, :, ::-1])
        with naming_row(lake, row):
            overlap = describe(pixels, truth, num_classes, ignored)
        return name, overlap

    def evaluate(
        self,
        rows_of: Mapping[Lake, Sequence[int]],
        collected: Sequence[tuple[str, PanopticPrediction]],
        meta: Mapping[str, Any],
        spread: Spread = one_by_one,
    ) -> dict[str, float]:
        """Score the segments, and write their JSON file if asked to."""
        truth = self.ground_truth.read(rows_of)
        things = _things(truth, rows_of, meta)
        if self.options['outfile_prefix'] is not None:
            self._write_json(truth, collected, meta['classes'], things)
        if self.options['format_only']:
            return {}
        return evaluate_panoptic(
            truth,
            [prediction for _, prediction in collected],
            meta['classes'],
            things,
            self.options['classwise'],
            'current',
        )

    def _write_json(
        self,
        truth: GroundTruth,
        collected: Sequence[tuple[str, PanopticPrediction]],
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
                'file_name': name,
            }
            for img_id, (name, prediction) in zip(truth.img_ids, collected)
        ]
        file = Path(f'{self.options["outfile_prefix"]}.panoptic.json')
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps({'annotations': annotations}))
        print_log(f'results are written to {file}', logger='current')


def _things(
    truth: GroundTruth, lakes: Iterable[Lake], meta: Mapping[str, Any]
) -> list[bool]:
    """Say of each category of the ground truth whether it is a thing."""
    is_thing = {name: True for name in meta.get('thing_classes', ())}
    for lake in lakes:
        is_thing.update(zip(lake.columns.class_names, lake.columns.things))
    return [is_thing.get(name, False) for name in truth.category_names]


@dataclass(frozen=True, eq=False)
class PredictedSegments:
    """The segments that a model found in an image.

    Attributes:
        instances: Their boxes, labels and masks, with scores of 1.
        overlap: What they share with the true ones.
    """

    instances: Prediction
    overlap: PanopticPrediction


def collect_segments(
    sample: Mapping[str, Any], meta: Mapping[str, Any]
) -> PredictedSegments:
    """Turn a predicted map into segments, and compare it with the stored one.

    Raises:
        KeyError: If the model does not predict a panoptic map.
        ValueError: If the lake has boxes, but no map, or one of another size.
    """
    prediction = PanopticFormat.prediction_of(sample)
    pixels, num_classes, ignored = _pixels_of(prediction, meta)
    lake, row = find_lake(sample['img_path'])
    truth = None if lake.columns.of('gt_bboxes') is None else _true_ids(lake, row)
    with naming_row(lake, row):
        overlap = describe(pixels, truth, num_classes, ignored)
    masks: list[Any] = masks_of_ids(pixels, overlap.ids)
    boxes = coco_mask.toBbox(masks).reshape(-1, 4) if masks else np.zeros((0, 4))
    boxes[:, 2:] += boxes[:, :2]
    instances = Prediction(
        bboxes=boxes.astype(np.float32),
        scores=np.ones(len(masks), dtype=np.float32),
        labels=overlap.labels,
        masks=masks,
    )
    return PredictedSegments(instances, overlap)


def _pixels_of(
    prediction: Mapping[str, Any], meta: Mapping[str, Any]
) -> tuple[NDArray[Any], int, int]:
    """Return a predicted map, and the two labels that mean void."""
    num_classes = len(meta['classes'])
    pixels = prediction['sem_seg'].cpu().numpy()[0]
    return pixels, num_classes, prediction.get('ignore_index', num_classes)


def _true_ids(lake: Lake, row: int) -> NDArray[np.int32]:
    if lake.seg_maps is None or not lake.columns.is_panoptic:
        raise ValueError(
            f'metrics_format={PanopticFormat.name!r} compares segments, but {lake.name} '
            'has no columns for gt_seg_map and segment_ids; name them in '
            "deeplake_tensors, or write metrics_format='COCO'"
        )
    return decode_ids(lake.seg_maps.of_row(row))
