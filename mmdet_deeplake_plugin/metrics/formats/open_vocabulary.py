"""Score detectors that find what a text names."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, ClassVar

import numpy as np

from ...evaluation.backends.lvis import lvis_package
from ...evaluation.backends.mmdet import stock_class
from ...evaluation.open_vocabulary import fixed_ap, grounding
from ...lake import Lake, TextColumn
from ...utils.values import is_list, wrong
from ..instances import CocoFormat, InstanceFormat


class FixedApFormat(InstanceFormat):
    """LVIS's AP of the best detections of each class, as ``LVISFixedAPMetric``.

    Raises:
        ImportError: If the package ``lvis`` is not installed.
    """

    name = 'LVISFixedAP'
    prefix = 'lvis_fixed_ap'
    known_metrics = fixed_ap.METRICS
    defaults: ClassVar[Mapping[str, Any]] = {'topk': None}
    score = staticmethod(fixed_ap.evaluate_fixed_ap)
    check_package = staticmethod(lvis_package)
    reads: ClassVar[Mapping[str, bool]] = {'with_federation': True}

    def check_options(self) -> None:
        """Refuse several numbers of detections too."""
        super().check_options()
        if is_list(self.options['topk']):
            raise wrong('topk', 'a positive integer', self.options['topk'], 'topk=10000')


class OvCocoFormat(CocoFormat):
    """COCO's numbers, and those of base and novel classes, as ``OVCocoMetric``."""

    name = 'OVCoco'

    def arguments(
        self, rows_of: Mapping[Lake, Sequence[int]], meta: Mapping[str, Any]
    ) -> dict[str, Any]:
        """Add the base and the novel classes."""
        groups = {}
        for name in ('base', 'novel'):
            key = f'{name}_classes'
            if not is_list(meta.get(key)):
                raise ValueError(
                    "metrics_format='OVCoco' needs the base and the novel classes, but "
                    f'metainfo.{key} is {meta.get(key)!r}; write metainfo=dict(classes='
                    '(…), base_classes=(…), novel_classes=(…)) in the dataset'
                )
            groups[name] = meta[key]
        return {**super().arguments(rows_of, meta), 'groups': groups}


class TextFormat(InstanceFormat):
    """A format whose ground truth says what the texts of images mean.

    Attributes:
        stock: Name of the stock metric.
    """

    stock: ClassVar[str]
    known_metrics = ('bbox',)
    takes_several = False
    takes_one_threshold = True

    def check_options(self) -> None:
        """Refuse a single number of boxes, and look for the stock metric."""
        super().check_options()
        topk = self.options.get('topk')
        if topk is not None and not is_list(topk):
            raise wrong('topk', 'a list of positive integers', topk, 'topk=(1, 5, 10)')
        stock_class(self.stock)

    def arguments(
        self, rows_of: Mapping[Lake, Sequence[int]], meta: Mapping[str, Any]
    ) -> dict[str, Any]:
        """Return what the texts of the images mean."""
        return {'prompts': list(_prompts(rows_of, self.name))}


class RefExpFormat(TextFormat):
    """Precision of referring expressions, as ``RefExpMetric``."""

    name, prefix, stock = 'RefExp', 'refexp', 'RefExpMetric'
    defaults: ClassVar[Mapping[str, Any]] = {'topk': None, 'iou_thrs': None}
    score = staticmethod(grounding.evaluate_refexp)


class GRefCocoFormat(TextFormat):
    """F1 of expressions for any number of objects, as ``gRefCOCOMetric``."""

    name, prefix, stock = 'gRefCOCO', 'grefcoco', 'gRefCOCOMetric'
    defaults: ClassVar[Mapping[str, Any]] = {
        'iou_thrs': None,
        'thresh_score': 0.7,
        'thresh_f1': 1.0,
    }
    score = staticmethod(grounding.evaluate_grefcoco)


class Flickr30kFormat(TextFormat):
    """Recall of the phrases of captions, as ``Flickr30kMetric``."""

    name, stock = 'Flickr30k', 'Flickr30kMetric'
    defaults: ClassVar[Mapping[str, Any]] = {'topk': None, 'iou_thrs': None}
    score = staticmethod(grounding.evaluate_flickr30k)


class DodFormat(TextFormat):
    """AP of described objects, as ``DODCocoMetric``."""

    name, prefix, stock = 'DOD', 'dod', 'DODCocoMetric'
    defaults: ClassVar[Mapping[str, Any]] = {}
    score = staticmethod(grounding.evaluate_dod)


def _prompts(
    rows_of: Mapping[Lake, Sequence[int]], name: str
) -> Iterator[dict[str, Any]]:
    """Yield what the texts of images mean."""
    for lake, rows in rows_of.items():
        column = lake.columns.of('grounding')
        if column is None:
            raise ValueError(
                f'metrics_format={name!r} needs a column for grounding, but {lake.name} '
                'has none; make the lake by tools.from_grounding'
            )
        prompts = TextColumn(lake.source, column)
        numbers = np.asarray(rows, dtype=np.int64)
        for row, text in zip(rows, prompts.packed(numbers)):
            yield prompts.prompt(text, row)
