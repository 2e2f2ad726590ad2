"""Score masks as Cityscapes does, and occluded masks of COCO."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from ...evaluation.masks import cityscapes, occluded
from ...lake import Lake
from ...utils.values import wrong
from ..instances import CocoFormat, InstanceFormat


class CityscapesFormat(InstanceFormat):
    """Cityscapes' AP of instance masks, as ``CityScapesMetric``.

    The lake's segmentation maps must hold Cityscapes' instance ids.

    Raises:
        ImportError: If the package ``cityscapesscripts`` is not installed.
    """

    name = 'Cityscapes'
    prefix = 'cityscapes'
    known_metrics = cityscapes.METRICS
    takes_several = False
    score = staticmethod(cityscapes.evaluate_cityscapes)
    check_package = staticmethod(cityscapes.cityscapes_package)
    defaults: ClassVar[Mapping[str, Any]] = {
        'format_only': False,
        'outfile_prefix': None,
        'dump_matches': False,
    }
    destination = ('outfile_prefix', 'folder of the masks')

    def arguments(
        self, rows_of: Mapping[Lake, Sequence[int]], meta: Mapping[str, Any]
    ) -> dict[str, Any]:
        """Return the paths of the maps too."""
        truth = self.ground_truth.read(rows_of)
        sizes = zip(truth.widths.tolist(), truth.heights.tolist())
        maps = [
            lake.seg_map_path(row, 'map.png', *next(sizes)) or ''
            for lake, rows in rows_of.items()
            for row in rows
        ]
        if not all(maps) and not self.options['format_only']:
            lake = next(lake for lake in rows_of if lake.seg_maps is None)
            raise ValueError(
                "metrics_format='Cityscapes' compares masks with maps of instance ids, "
                f'but {lake.name} has no column for gt_seg_map; make the lake by '
                'tools.from_coco --seg-dir gtFine/val'
            )
        return {'classes': meta['classes'], 'maps': maps}


class CocoOccludedFormat(CocoFormat):
    """COCO's numbers and the recall of occluded and of separated masks.

    As ``CocoOccludedSeparatedMetric``.

    Raises:
        ValueError: If a file of masks is not named, or does not exist.
    """

    name = 'CocoOccludedSeparated'
    known_metrics = occluded.METRICS
    takes_all = True
    defaults: ClassVar[Mapping[str, Any]] = {
        **CocoFormat.defaults,
        'occluded_ann': None,
        'separated_ann': None,
        'score_thr': 0.3,
        'mask_iou_thr': 0.75,
    }
    score = staticmethod(occluded.evaluate_occluded)

    def check_options(self) -> None:
        """Check that the files of masks exist too."""
        super().check_options()
        for key in ('occluded_ann', 'separated_ann'):
            path = self.options[key]
            if path is None or not os.path.isfile(path):
                wanted = f'the file {key.partition("_")[0]}_coco.pkl of the authors'
                raise wrong(key, wanted, path, f"{key}='data/…_coco.pkl'")
