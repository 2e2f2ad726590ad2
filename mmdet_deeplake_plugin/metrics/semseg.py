"""Score semantic maps against those of lakes, as ``SemSegMetric`` does."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from mmengine.logging import print_log
from numpy.typing import NDArray

from ..datasets.classes import label_map
from ..evaluation import evaluate_semseg, semseg
from ..evaluation.groups.jobs import Spread, one_by_one
from ..lake import Lake, blank_size, find_lake
from ..structures.seg_maps import decode_labels
from .maps import MapFormat, naming_row, png_name, write_png


class SemSegFormat(MapFormat):
    """Mean IoU, Dice and F-score of semantic maps, as ``SemSegMetric``."""

    name = 'SemSeg'
    known_metrics = semseg.METRICS
    defaults: ClassVar[Mapping[str, Any]] = {
        'format_only': False,
        'output_dir': None,
        'beta': 1,
        'reduce_zero_label': False,
        'ignore_index': None,
    }
    destination = ('output_dir', 'folder for the maps')
    key = 'pred_sem_seg'

    def collect(
        self, sample: Mapping[str, Any], meta: Mapping[str, Any]
    ) -> NDArray[np.int64] | None:
        """Compare a predicted map with the stored one, and write it if asked to.

        Returns:
            Numbers of pixels by class, see :func:`semseg.count_pixels`; ``None`` with
            ``format_only``.

        Raises:
            ValueError: If the lake has no map, or one of another size.
        """
        prediction = self.prediction_of(sample)
        pixels = prediction['sem_seg'].cpu().numpy()
        pixels = pixels.reshape(pixels.shape[-2:])
        path, classes = sample['img_path'], meta['classes']
        if blank_size(path):
            pixels = np.full_like(pixels, semseg.IGNORED)
        if self.options['output_dir'] is not None:
            file = Path(self.options['output_dir']) / png_name(path)
            write_png(file, pixels.astype(np.uint8))
        if self.options['format_only']:
            return None
        ignored = self.options['ignore_index']
        if ignored is None:
            ignored = prediction.get('ignore_index', semseg.IGNORED)
        lake, row = find_lake(path)
        truth = self._truth(lake, row, classes)
        with naming_row(lake, row):
            counts = semseg.count_pixels(pixels, truth, len(classes), ignored)
        return counts

    def evaluate(
        self,
        rows_of: Mapping[Lake, Sequence[int]],
        collected: Sequence[Any],
        meta: Mapping[str, Any],
        spread: Spread = one_by_one,
    ) -> dict[str, float]:
        """Score the numbers of pixels of all images."""
        if self.options['format_only']:
            folder = self.options['output_dir']
            print_log(f'results are written to {folder}', logger='current')
            return {}
        return evaluate_semseg(
            collected,
            meta['classes'],
            self.metrics,
            self.options['beta'],
            'current',
        )

    def _truth(self, lake: Lake, row: int, classes: Sequence[str]) -> NDArray[Any]:
        """Read the stored labels of a row, as the loader would change them."""
        if lake.seg_maps is None or lake.columns.is_panoptic:
            raise ValueError(
                f'metrics_format={self.name!r} compares maps of labels, but {lake.name} '
                'has no column of labels for gt_seg_map; name one in deeplake_tensors'
            )
        content = lake.seg_maps.of_row(row)
        with naming_row(lake, row):
            labels = decode_labels(content)
        if self.options['reduce_zero_label']:
            labels = semseg.reduce_zero(labels)
        new_label = label_map(lake, classes)
        if new_label is None:
            return labels
        changed = labels.copy()
        for old, new in new_label.items():
            changed[labels == old] = new
        return changed
