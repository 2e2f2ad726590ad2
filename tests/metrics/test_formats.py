"""Formats of DeepLakeMetric: their options, and what it takes to add one."""

from __future__ import annotations

import inspect
import re
from typing import Any, ClassVar

import numpy as np
import pytest
from helpers.lakes import row, write_lake

from mmdet_deeplake_plugin import DeepLakeDataset, DeepLakeMetric
from mmdet_deeplake_plugin.metrics.format import MetricFormat
from mmdet_deeplake_plugin.metrics.metric import FORMATS

NEEDS = {'Cityscapes': ['cityscapesscripts'], 'MOT': ['trackeval']}
OF_METRIC = {'metrics_format', 'metric', 'collect_device', 'prefix', 'collect_dir'}


def test_options_of_formats_are_those_of_the_metric() -> None:
    """Each key has one default, and belongs to a format."""
    parameters = dict(inspect.signature(DeepLakeMetric).parameters)
    del parameters['unknown']
    options: set[str] = set()
    for each in FORMATS.values():
        options |= each.defaults.keys()
        for key, default in each.defaults.items():
            assert parameters[key].default == default, (each.name, key)
    assert options == parameters.keys() - OF_METRIC


# One format needs files, which have no default.
@pytest.mark.parametrize('name', sorted(FORMATS.keys() - {'CocoOccludedSeparated'}))
def test_defaults_of_a_format_are_accepted(name: str) -> None:
    """The default is that of the stock metric, and no option needs to be set."""
    for package in NEEDS.get(name, ()):
        pytest.importorskip(package)
    metric = DeepLakeMetric(name)
    known = FORMATS[name].known_metrics
    count = len(known) if FORMATS[name].takes_all else 1
    assert metric.format.metrics == list(known[:count])
    assert metric.format.options == FORMATS[name].defaults
    assert metric.prefix == FORMATS[name].prefix


@pytest.mark.parametrize('name', ['Panoptic', 'SemSeg'])
@pytest.mark.parametrize(
    ('key', 'value', 'owners'),
    [
        ('proposal_nums', (1, 10, 100), 'COCO, LVIS, PascalVOC, CocoOccludedSeparated, OVCoco, CocoVideo'),
        (
            'iou_thrs',
            np.array([0.5, 0.75]),
            'COCO, LVIS, PascalVOC, CrowdHuman, OpenImages, CocoOccludedSeparated, OVCoco, '
            'RefExp, gRefCOCO, Flickr30k, CocoVideo',
        ),
        ('scale_ranges', [(0, 32)], 'PascalVOC'),
    ],
)
def test_formats_of_maps_refuse_what_counts_boxes(
    name: str, key: str, value: Any, owners: str
) -> None:
    """The error says to which formats the option belongs."""
    text = (
        f'{key}={value!r} has no meaning for metrics_format={name!r}; leave it out (it '
        f'belongs to {owners})'
    )
    with pytest.raises(ValueError, match=f'^{re.escape(text)}$'):
        DeepLakeMetric(name, **{key: value})
    DeepLakeMetric(name, proposal_nums=[100, 300, 1000])  # the default


class _Count(MetricFormat):
    """Counts the predictions that are good enough."""

    name = 'Count'
    prefix = 'count'
    known_metrics = ('number', 'share')
    defaults: ClassVar[dict[str, Any]] = {'ignore_index': None}

    def collect(self, sample: Any, meta: Any) -> bool:
        return sample['score'] > 0.5

    def evaluate(
        self, rows_of: Any, collected: Any, meta: Any, spread: Any = None
    ) -> dict[str, float]:
        assert sum(map(len, rows_of.values())) == len(collected)
        total = sum(collected)
        numbers = {'number': total, 'share': total / len(collected)}
        return {key: numbers[key] for key in self.metrics}


def test_a_new_format_is_a_class_and_an_entry(tmp_path, monkeypatch) -> None:
    """It gets its options, one prediction per image, and its own errors."""
    monkeypatch.setitem(FORMATS, 'Count', _Count)
    path = write_lake(tmp_path / 'lake', [row(0), row(1)])
    dataset = DeepLakeDataset(path, test_mode=True)
    metric = DeepLakeMetric('Count', ['share', 'number'], ignore_index=3)
    assert metric.format.options == {'ignore_index': 3}
    paths = [dataset.get_data_info(index)['img_path'] for index in (0, 1, 0)]
    samples = [dict(img_path=p, score=s) for p, s in zip(paths, (0.9, 0.1, 0.9))]
    metric.process({}, samples)
    assert metric.evaluate(3) == {'count/share': 0.5, 'count/number': 1}
    with pytest.raises(ValueError, match=r"classwise=True has no meaning for .*'Count'"):
        DeepLakeMetric('Count', classwise=True)
    with pytest.raises(ValueError, match=r"must be one of .*SemSeg, .*Count, got 'Cuont'"):
        DeepLakeMetric('Cuont')
