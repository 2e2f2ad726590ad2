"""Rewrites the data of a stock config: to test data as files, and from files to lakes.

:func:`on_lake` is what a user does by hand: it swaps the types of datasets and metrics
and leaves everything else, wrappers, samplers, pipelines, filters, as it stands.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from mmdet.datasets import YouTubeVISDataset
from mmdet.evaluation import get_classes
from mmdet.registry import DATASETS

from zoo.data import ZooData
from zoo.shapes import THINGS

Config = dict[str, Any]

# What a stock dataset reads -> kind of test data.
KINDS = {
    'CocoDataset': 'coco',
    'CityscapesDataset': 'cityscapes',
    'DeepFashionDataset': 'coco',
    'Objects365V1Dataset': 'coco',
    'Objects365V2Dataset': 'coco',
    'V3DetDataset': 'coco',
    'iSAIDDataset': 'coco',
    'CocoPanopticDataset': 'panoptic',
    'LVISV05Dataset': 'lvis',
    'LVISV1Dataset': 'lvis',
    'VOCDataset': 'voc',
    'WIDERFaceDataset': 'wider',
    'CrowdHumanDataset': 'crowdhuman',
    'OpenImagesDataset': 'openimages',
    'OpenImagesChallengeDataset': 'openimages challenge',
    'ODVGDataset': 'captions',
    'MDETRStyleRefCocoDataset': 'expressions',
    'Flickr30kDataset': 'phrases',
    'DODDataset': 'descriptions',
    'MOTChallengeDataset': 'tracks',
    'YouTubeVISDataset': 'clips',
    'ReIDDataset': 'persons',
}
# Kinds whose samples have texts, whatever the classes.
TEXTS = ('captions', 'detections', 'expressions', 'any number', 'phrases', 'descriptions')
# What reads a lake in place of a stock dataset that is not one of images.
OTHERS = {
    'MOTChallengeDataset': 'DeepLakeVideoDataset',
    'YouTubeVISDataset': 'DeepLakeVideoDataset',
    'ReIDDataset': 'DeepLakeReIDDataset',
}
# Stock metric -> ``metrics_format`` of DeepLakeMetric.
FORMATS = {
    'CocoMetric': 'COCO',
    'CocoPanopticMetric': 'Panoptic',
    'LVISMetric': 'LVIS',
    'VOCMetric': 'PascalVOC',
    'CrowdHumanMetric': 'CrowdHuman',
    'OpenImagesMetric': 'OpenImages',
    'CityScapesMetric': 'Cityscapes',
    'LVISFixedAPMetric': 'LVISFixedAP',
    'OVCocoMetric': 'OVCoco',
    'RefExpMetric': 'RefExp',
    'gRefCOCOMetric': 'gRefCOCO',
    'Flickr30kMetric': 'Flickr30k',
    'DODCocoMetric': 'DOD',
    'MOTChallengeMetric': 'MOT',
    'YouTubeVISMetric': 'YouTubeVIS',
    'CocoVideoMetric': 'CocoVideo',
    'ReIDMetrics': 'ReID',
}
# Stock metrics that read nothing of files, and stay as they are.
UNCHANGED = ('DumpODVGResults',)
_OF_FILES = (
    *('ann_file', 'data_root', 'data_prefix', 'label_file', 'proposal_file'),
    *('dataset_version', 'hierarchy_file', 'meta_file', 'image_level_ann_file', 'label_map_file', 'need_text'),
)


class OutOfReach(Exception):  # noqa: N818
    """A part of a config has no counterpart; says which."""


def leaves(dataset: Config) -> list[Config]:
    """The datasets within wrappers, in their order."""
    if 'datasets' in dataset:
        return [leaf for part in dataset['datasets'] for leaf in leaves(part)]
    return leaves(dataset['dataset']) if 'dataset' in dataset else [dataset]


def _each_leaf(dataset: Config, change: Callable[[Config], Config]) -> Config:
    if 'datasets' in dataset:
        parts = [_each_leaf(part, change) for part in dataset['datasets']]
        return {**dataset, 'datasets': parts}
    if 'dataset' in dataset:
        return {**dataset, 'dataset': _each_leaf(dataset['dataset'], change)}
    return change(dataset)


def on_files(dataset: Config, data: ZooData) -> Config:
    """Points a stock dataset, wrapped or not, to test data of the same shape.

    Args:
        dataset: Config of a dataset.
        data: Test data, which gets what is missing.

    Raises:
        OutOfReach: If a type of dataset is not one that is made here.
    """
    for leaf in leaves(dataset):
        _kind(leaf)

    def change(leaf: Config) -> Config:
        files = data.files(_kind(leaf), _classes(leaf))
        if 'label_map_file' in files and 'pipeline' in leaf:
            steps = [_with_label_map(step, files) for step in leaf['pipeline']]
            files = {**files, 'pipeline': steps}
        return {**leaf, **files}

    return _each_leaf(dataset, change)


def _with_label_map(step: Config, files: Config) -> Config:
    key = 'label_map_file'
    return {**step, key: files[key]} if step.get(key) else step


def evaluator_on_files(evaluator: Any, dataset: Config) -> Any:
    """Lets stock metrics read the files of the datasets that they judge.

    Args:
        evaluator: Config of an evaluator or a metric, or a list of the latter.
        dataset: Config of the dataset, from :func:`on_files`.
    """
    parts = leaves(dataset)

    def change(metric: Config, leaf: Config) -> Config:
        ann_file, maps = leaf['ann_file'], leaf['data_prefix'].get('seg')
        if _kind(leaf) == 'panoptic' and metric['type'] == 'CocoMetric':
            ann_file = str(Path(ann_file).with_name(THINGS))
        known = {'ann_file': ann_file, 'seg_prefix': maps or ''}
        if metric['type'] == 'CrowdHumanMetric':
            metric = {**metric, 'num_ji_process': 1}  # forks ten times, not a hundred
        if metric['type'] == 'CityScapesMetric':
            metric = {**metric, 'outfile_prefix': str(Path(ann_file).with_name('out'))}
        if metric['type'] == 'DumpODVGResults':
            metric = {**metric, 'outfile_path': str(Path(ann_file).with_name('dumped'))}
        if metric['type'] == 'YouTubeVISMetric':  # scores too, since there is a truth here
            metric = {**metric, 'format_only': False, 'outfile_prefix': None}
        return {**metric, **{k: v for k, v in known.items() if k in metric}}

    if isinstance(evaluator, (list, tuple)):
        return [change(metric, parts[0]) for metric in evaluator]
    if 'metrics' in evaluator:
        metrics = [change(*pair) for pair in zip(evaluator['metrics'], parts)]
        return {**evaluator, 'metrics': metrics}
    return change(evaluator, parts[0])


def on_lake(dataset: Config, lakes: Mapping[str, str]) -> Config:
    """Swaps the datasets of files for datasets of lakes, and nothing else.

    Args:
        dataset: Config of a dataset, wrapped or not.
        lakes: Annotation file -> path of the lake that was made of it.
    """

    def change(leaf: Config) -> Config:
        kept = {key: value for key, value in leaf.items() if key not in _OF_FILES}
        path = lakes[leaf['ann_file']]
        if not leaf.get('need_text', True):
            kept['return_classes'] = False
        if leaf['type'] == 'CityscapesDataset' and leaf.get('filter_cfg'):
            kept['filter_cfg'] = {**leaf['filter_cfg'], 'filter_crowds': True}
        kind = OTHERS.get(leaf['type'], 'DeepLakeDataset')
        return {**kept, 'type': kind, 'deeplake_path': path}

    return _each_leaf(dataset, change)


def evaluator_on_lake(evaluator: Any) -> Any:
    """Swaps stock metrics for the one that reads the ground truth from the lake.

    Args:
        evaluator: Config of an evaluator or a metric, or a list of the latter.

    Raises:
        OutOfReach: If a metric has no counterpart.
    """
    if isinstance(evaluator, (list, tuple)):
        return [evaluator_on_lake(metric) for metric in evaluator]
    if 'metrics' in evaluator:
        return {**evaluator, 'metrics': evaluator_on_lake(evaluator['metrics'])}
    if evaluator['type'] in UNCHANGED:
        return evaluator
    if evaluator['type'] not in FORMATS:
        raise OutOfReach(evaluator['type'])
    # The last two only spread the same work over processes.
    dropped = ('ann_file', 'seg_prefix', 'backend_args', 'use_mp_eval', 'num_ji_process')
    kept = {key: value for key, value in evaluator.items() if key not in dropped}
    form = FORMATS[evaluator['type']]
    return {**kept, 'type': 'DeepLakeMetric', 'metrics_format': form}


def _kind(leaf: Config) -> str:
    kind = KINDS.get(leaf['type'])
    if kind is None:
        raise OutOfReach(leaf['type'])
    if leaf.get('proposal_file'):
        return 'proposals'
    if kind == 'captions' and leaf.get('label_map_file'):
        return 'detections'
    if kind == 'expressions' and 'grefcoco' in leaf['ann_file']:
        return 'any number'
    has_maps = bool((leaf.get('data_prefix') or {}).get('seg'))
    return 'stuff' if kind == 'coco' and has_maps else kind


def _classes(leaf: Config) -> tuple[str, ...]:
    if _kind(leaf) in TEXTS:
        return ()
    if leaf['type'] == 'V3DetDataset':
        return tuple(f'category {number}' for number in range(13204))
    if leaf['type'] == 'YouTubeVISDataset':
        YouTubeVISDataset.set_dataset_classes(leaf['dataset_version'])
    if _kind(leaf) in ('persons', 'tracks'):
        return ()
    if leaf['type'].startswith('OpenImages'):
        is_challenge = leaf['type'] == 'OpenImagesChallengeDataset'
        names = get_classes('oid_challenge' if is_challenge else 'oid_v6')
        # MMDetection names two of the challenge alike.
        return tuple(f'{name} {label}' for label, name in enumerate(names))
    named = (leaf.get('metainfo') or {}).get('classes')
    return tuple(named or DATASETS.get(leaf['type']).METAINFO['classes'])
