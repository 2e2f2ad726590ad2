"""Every key of every public class, with values that it takes and values that it refuses.

The keys come from the signatures, so a new key without an entry here fails. A refused
value is named with its key and with what to write, before a lake is opened.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers.lakes import TYPES, open_lake, row, write_lake
from mmdet.utils import register_all_modules
from mmengine.config import Config, ConfigDict

import mmdet_deeplake_plugin as plugin
from mmdet_deeplake_plugin.datasets import checks
from mmdet_deeplake_plugin.utils.counters import ReadCounters

register_all_modules()

NAN, INF = float('nan'), float('inf')
PALETTE = [(220, 20, 60), (0, 0, 142), (0, 0, 0)]
LOAD = dict(type='LoadImageFromFile')


@dataclass(frozen=True)
class Key:
    """Values of a key.

    Args:
        good: Values that it takes.
        bad: Values that it refuses.
        others: Other keys that both need.
    """

    good: list[Any]
    bad: list[Any]
    others: dict[str, Any] = field(default_factory=dict)


def _meta(**meta: Any) -> dict[str, Any]:
    return meta


BOOL = Key(
    good=[True, False, np.bool_(True)],
    bad=['False', 'true', 0, 1, None, 1.0, [True], NAN],
)
TEXT = [3, True, b'text', ['text'], {'a': 1}, Path('some/lake'), NAN]

DATASET = {
    'deeplake_path': Key(good=['{lake}', np.str_('{lake}')], bad=['', None, *TEXT]),
    'dataset': Key(
        good=[None],  # an open dataset: test_an_open_dataset_is_taken
        bad=[['rows'], 'lake', 0, False, {}],
        others=dict(deeplake_path=''),
    ),
    'deeplake_credentials': Key(
        good=[None, {}, dict(token='env:HOME'), dict(creds=None), dict(creds='ENV')],
        bad=[
            *(0, '', False, 'env:TOKEN', ['env:TOKEN'], 3, dict(tokn='env:HOME')),
            *(dict(token=3), dict(creds=['x']), dict(creds=dict(aws_regoin='x'))),
        ],
    ),
    'deeplake_commit_id': Key(good=['', None], bad=TEXT),
    'deeplake_view_id': Key(good=['', None], bad=TEXT),
    'deeplake_query': Key(good=['', None, 'SELECT * WHERE image_id > 2'], bad=TEXT),
    'deeplake_tensors': Key(
        good=[None, {}, dict(img='images'), ConfigDict(area=None)],
        bad=[
            *([], '', 0, False, 'images', ['images'], dict(img=None), dict(imgs='a')),
            *(dict(gt_bboxes=3), dict(gt_bboxes=['boxes']), dict(gt_labels=True)),
        ],
    ),
    'box_format': Key(
        good=[None, 'xywh', 'cxcywhn'], bad=['', 'xyhw', 'XYXY', 3, True, ['xyxy']]
    ),
    'annotation_style': Key(
        good=[None, 'coco', 'voc', 'crowdhuman', 'openimages', 'odvg', 'grounding', 'video', 'reid'],
        bad=['', 'COCO', 'pascal', 0, False, ['coco']],
    ),
    'label_order': Key(
        good=['classes', 'lake'], bad=['', 'class', None, 3, True, np.array(['lake'])]
    ),
    'metainfo': Key(
        good=[
            *(None, {}, dict(classes=None), dict(classes=('cat',)), Config({})),
            *(dict(classes=['owl', 'cat']), dict(classes=np.array(['owl', 'cat']))),
            *(dict(classes='{names}'), ConfigDict(classes=['dog']), dict(palette='coco')),
            *(dict(palette=PALETTE), dict(classes=('cat',), palette=PALETTE)),
            *(dict(palette=np.array(PALETTE)), dict(palette=PALETTE[0])),
            dict(classes='{names}', palette=PALETTE),
            dict(base_classes=('cat',), num_classes=3, n_classes=3, dataset_type='x'),
            dict(classes=('cat',), CLASSES=('cat',), thing_classes=('cat',)),
        ],
        bad=[
            *('coco', 3, True, ['cat'], ('cat', 'dog')),
            *(dict(classes={'cat', 'dog'}), dict(classes=frozenset(['cat']))),
            *(dict(classes={'cat': 0}), dict(classes=()), dict(classes=[])),
            *(dict(classes=iter(['cat'])), dict(classes=3), dict(classes=True)),
            *(dict(classes='cat'), dict(classes=''), dict(classes='/')),
            *(dict(classes=(1, 2)), dict(classes=('cat', None)), dict(classes=('',))),
            *(dict(classes=('cat', 'cat')), dict(classes=(b'cat',))),
            *(dict(classes=np.array([1, 2])), dict(classes=np.array([['cat']]))),
            *(_meta(CLASSES=('cat',)), _meta(clases=('cat',)), _meta(classe=('cat',))),
            *(_meta(class_names=('cat',)), _meta(class_name='cat'), _meta(calsses=())),
            *(_meta(Classes=('cat',)), _meta(thing_clases=('cat',)), _meta(pallete=())),
            *(_meta(PALETTE=PALETTE), _meta(thing_classes='cat'), _meta(stuff_classes=3)),
            *(_meta(thing_classes={'cat'}), _meta(palette=3), _meta(palette='cocoo')),
            *(_meta(palette=[(0, 0)]), _meta(palette=[(0, 0, 256)]), _meta(palette={})),
            *(_meta(palette=['red']), _meta(classes=('cat', 'dog'), palette=PALETTE[:1])),
            *(_meta(palette=[0, 0, 0]), _meta(palette=[(0, 0, NAN)])),
        ],
    ),
    'filter_cfg': Key(
        good=[
            *(None, {}, dict(filter_empty_gt=True, min_size=32), dict(min_size=0)),
            *(ConfigDict(min_size=np.int64(8)), dict(min_size=1.5)),
            *(dict(bbox_min_size=None), dict(filter_empty_gt=np.bool_(False))),
            dict(filter_crowds=True),
        ],
        bad=[
            *('min_size', 32, True, ['min_size'], dict(minsize=32)),
            *(dict(filter_empty_gt='False'), dict(filter_empty_gt=None)),
            dict(filter_crowds='True'),
            dict(visibility_thr='0.3'),
            *(dict(min_size='32'), dict(min_size=-1), dict(min_size=NAN)),
            *(dict(min_size=True), dict(min_size=None), dict(bbox_min_size=-4)),
            *(dict(bbox_min_size='8'), dict(min_size=[32]), dict(filter_empty_gt=1)),
        ],
    ),
    'indices': Key(
        good=[
            *(None, 3, -2, 100, np.int64(2), [0, 2], (1, -1), range(3)),
            np.array([0, 5]),
        ],
        bad=[
            *(0, [], range(0), '3', 2.0, True, NAN, [0.5], ['0'], [True, False], {0, 1}, {0: 1}),
            *(np.array([True, False]), np.array([0.0]), np.array([[0]]), [None]),
        ],
    ),
    'serialize_data': BOOL,
    'pipeline': Key(
        good=[(), [], [LOAD], (LOAD,), [ConfigDict(LOAD)], [len]],
        bad=['LoadImageFromFile', None, LOAD, 3, [3], [{}], ['LoadImageFromFile'], [None]],
    ),
    'test_mode': BOOL,
    'lazy_init': BOOL,
    'max_refetch': Key(
        good=[0, 1000, np.int64(5)], bad=[-1, 2.5, '3', True, None, NAN, INF, [1]]
    ),
    'read_timeout': Key(
        good=[1, 0.5, np.float32(3), np.int64(3)],
        bad=[0, -1, '60', True, None, NAN, INF, [60]],
    ),
    'retry_timeout': Key(
        good=[1, 0.5, np.float64(3)], bad=[0, -1, '60', True, None, NAN, INF, [60]]
    ),
    'open_timeout': Key(
        good=[1, 0.5, np.float64(3)], bad=[0, -1, '60', True, None, NAN, INF, [60]]
    ),
    'on_broken_image': Key(
        good=['raise', 'skip'], bad=['', 'Skip', 'ignore', None, True, 0, ['skip']]
    ),
    'return_classes': Key(
        good=[True, False, 'label_map', np.bool_(True)],
        bad=['True', 'labelmap', 1, 0, None, [True]],
    ),
    'caption_prompt': Key(
        good=[
            *(None, dict(cat=dict(suffix=' asleep')), {}),
            dict(owl=dict(name='bird', prefix='a ', suffix='')),
        ],
        bad=[
            *('cat', True, ['cat'], 3, {1: {}}, dict(cat='a cat'), dict(cat=None)),
            *(dict(cat=dict(sufix='x')), dict(cat=dict(name=3))),
        ],
        others=dict(return_classes=True),
    ),
    'backend_args': Key(
        good=[None, {}, dict(backend='local')], bad=['local', True, 3, ['local']]
    ),
}

LAZY = [key for key in DATASET if key not in ('on_broken_image', 'return_classes', 'caption_prompt')]
VIDEO = {
    **{key: DATASET[key] for key in LAZY if key != 'annotation_style'},
    'filter_cfg': Key(
        good=[None, {}, dict(filter_empty_gt=False, min_size=8.5)],
        bad=[
            *('min_size', 32, True, dict(filter_crowds=True), dict(visibility_thr=0.3)),
            *(dict(min_size='32'), dict(filter_empty_gt=1), dict(bbox_min_size=3)),
        ],
    ),
    'visibility_thr': Key(
        good=[-1, 0.3, np.float32(0.5)], bad=['0.3', None, True, NAN, INF, [0.3]]
    ),
}
PERSONS = {
    **{key: VIDEO[key] for key in VIDEO if key not in ('box_format', 'label_order', 'metainfo', 'filter_cfg', 'visibility_thr')},
    'triplet_sampler': Key(
        good=[None, {'num_ids': 2}, dict(num_ids=1, ins_per_id=3)],
        bad=[
            *('8', 8, True, [8, 4], dict(num_ids=0), dict(num_ids='8'), dict(ids=8)),
            *(dict(ins_per_id=2.5), dict(ins_per_id=None), dict(num_ids=True)),
        ],
    ),
}
COUNT = [-1, 1.0, 1.5, '1', True, NAN, INF, [1]]
LOADER = {
    'dataset': Key(good=[range(3), [0, 1]], bad=[None, 3, True, iter([1])]),
    'shuffle': Key(
        good=[True, False, 'auto', 'full', 'lanes', 'none', np.bool_(False)],
        bad=['', 'True', 'lane', None, 1, 0, ['full'], NAN],
    ),
    'seed': Key(
        good=[None, 0, 2**40, np.int64(3)], bad=[-1, 1.0, '1', True, NAN, [1], np.float64(3)]
    ),
    'round_up': BOOL,
    'batch_size': Key(good=[None, 1, np.int64(8)], bad=[0, *COUNT]),
    'num_workers': Key(good=[None, 0, 4], bad=COUNT),
    'window': Key(good=[1, 2, np.int32(2)], bad=[0, None, *COUNT]),
    'lanes': Key(good=[None, 1, 64, np.int64(8)], bad=[0, *COUNT]),
    'loader_type': Key(
        good=['auto', 'c++', 'python'], bad=['', 'C++', None, True, 1, ['python']]
    ),
    'weights': Key(
        good=[
            *(None, dict(type='class_balanced'), dict(type='column', name='image_id')),
            dict(type='repeat_factor', threshold=np.float64(0.5)),
            dict(type='query', expression='image_id + 1'),
        ],
        bad=[
            *('class_balanced', True, 3, [1, 2], {}, dict(type='balanced')),
            *(dict(type=None), dict(type='column'), dict(type='column', nam='x')),
            *(dict(type='column', name=3), dict(type='query', expression='')),
            *(dict(type='repeat_factor', threshold=x) for x in (0, -1, NAN, '1', True)),
            dict(type='class_balanced', threshold=1),
        ],
    ),
    'cache_bytes': Key(good=[0, 2**29, np.int64(5)], bad=[None, *COUNT]),
    'order': Key(
        good=['auto', 'dataset', 'by_worker'],
        bad=['', 'Dataset', 'worker', None, True, 0, ['dataset'], NAN],
        others=dict(shuffle=False, batch_size=2, num_workers=2),
    ),
}

BATCHES = {
    'sampler': Key(good=[], bad=[None, range(3), 'DeepLakeLoader', 3]),  # one is passed
    'batch_size': Key(good=[1, np.int64(2)], bad=[0, None, *COUNT]),
    'drop_last': BOOL,
}

VOC = dict(metrics_format='PascalVOC')
SEMSEG = dict(metrics_format='SemSeg')
PATH = Key(
    good=[None, 'out/results', Path('out')], bad=['', 3, True, ['out'], b'out', NAN]
)
METRIC = {
    'metrics_format': Key(
        good=['COCO', 'LVIS', 'PascalVOC', 'Panoptic', 'SemSeg', 'RefExp', 'DOD', 'ReID'],
        bad=['', 'coco', 'VOC', None, True, ['COCO'], {'COCO'}],
    ),
    'metric': Key(
        good=[None, 'bbox', ['bbox', 'segm'], ('proposal_fast',), np.array(['bbox'])],
        bad=['', 'mAP', [], ['bbox', 'bboxs'], True, 3, {'bbox'}, [3], {'bbox': 1}],
    ),
    'classwise': BOOL,
    'proposal_nums': Key(
        good=[(100, 300, 1000), [300], (100, 1, 10), np.array([1, 10, 100])],
        bad=[
            *(300, (100, 300), [], (), None, '300', True, 300.0, NAN, {1, 10, 100}),
            *((0, 1, 2), (-1, 1, 2), (1.0, 2.0, 3.0), ('1', '2', '3'), (True, 2, 3)),
            *((NAN, 1, 2), [1, 2, 3, 4], np.array([1.5, 2, 3])),
        ],
    ),
    'iou_thrs': Key(
        good=[None, 0.5, [0.5, 0.75], np.array([0.5]), np.float64(0.5), 1, (0.5,)],
        bad=[
            *([], (), '0.5', True, NAN, -0.1, 50, [0.5, 75], ['0.5'], [None], {0.5}),
            *(np.array([]), np.array([[0.5]]), [NAN], dict(high=0.5), INF),
        ],
    ),
    'metric_items': Key(
        good=[None, ['mAP', 'mAP_50'], ('AR@100',), np.array(['mAP'])],
        bad=['mAP', [], (), ['map'], ['mAP', 'AP50'], [3], 3, True, {'mAP'}],
    ),
    'format_only': Key(BOOL.good, BOOL.bad, others=dict(outfile_prefix='out/test')),
    'outfile_prefix': PATH,
    'sort_categories': BOOL,
    'backend': Key(
        good=['pycocotools', 'faster_coco_eval'],
        bad=['', 'pycoco', 'faster-coco-eval', None, True, ['pycocotools']],
    ),
    'scale_ranges': Key(
        good=[None, [(0, 32)], ((0, 32), (32, 96.5)), np.array([[0, 32]])],
        bad=[
            *([], 32, '32', True, (0, 32), [(0,)], [(32, 0)], [(-1, 3)], [(0, NAN)]),
            *([('0', '32')], [(0, 32, 96)], {(0, 32)}, [None], [(True, 3)], [(5, 5)]),
        ],
        others=VOC,
    ),
    'eval_mode': Key(
        good=['11points', 'area'], bad=['', '11point', None, 11, True], others=VOC
    ),
    'output_dir': Key(PATH.good, PATH.bad, others=SEMSEG),
    'beta': Key(
        good=[1, 0.5, np.float64(2)], bad=[0, -1, '1', True, None, NAN, INF], others=SEMSEG
    ),
    'reduce_zero_label': Key(BOOL.good, BOOL.bad, others=SEMSEG),
    'ignore_index': Key(
        good=[None, 0, 255, np.int64(3), -1],
        bad=['255', 255.0, True, NAN, [255]],
        others=SEMSEG,
    ),
    'mr_ref': Key(
        good=['CALTECH_-2', 'CALTECH_-4'],
        bad=['', 'CALTECH', None, 2, True, ['CALTECH_-2']],
        others=dict(metrics_format='CrowdHuman'),
    ),
    'ioa_thrs': Key(
        good=[0.5, 0, 1, [0.5], (0.4,), np.array([0.5])],
        bad=['0.5', None, True, -0.1, 1.5, NAN, [], ['0.5']],
        others=dict(metrics_format='OpenImages'),
    ),
    **dict.fromkeys(
        ('use_group_of', 'get_supercategory', 'filter_labels'),
        Key(BOOL.good, BOOL.bad, others=dict(metrics_format='OpenImages')),
    ),
    'dump_matches': Key(BOOL.good, BOOL.bad, others=dict(metrics_format='Cityscapes')),
    **dict.fromkeys(
        ('occluded_ann', 'separated_ann'),
        Key(
            good=[__file__, Path(__file__)],
            bad=['', None, 3, True, ['out'], 'no/such.pkl'],
            others=dict(
                metrics_format='CocoOccludedSeparated',
                occluded_ann=__file__,
                separated_ann=__file__,
            ),
        ),
    ),
    **dict.fromkeys(
        ('score_thr', 'mask_iou_thr'),
        Key(
            good=[0, 0.5, 1, np.float64(0.5)],
            bad=[-0.1, 50, '0.5', None, True, NAN, [0.5]],
            others=dict(
                metrics_format='CocoOccludedSeparated',
                occluded_ann=__file__,
                separated_ann=__file__,
            ),
        ),
    ),
    'topk': Key(
        good=[None, (1, 5, 10), [1, -1], np.array([1, 5])],
        bad=[0, -1, 5, 1.5, '1', True, NAN, [], [0], [1.5], ['1'], [-2], {1, 5}],
        others=dict(metrics_format='Flickr30k'),
    ),
    **dict.fromkeys(
        ('thresh_score', 'thresh_f1'),
        Key(
            good=[0, 0.5, 1, np.float64(0.5)],
            bad=[-0.1, 50, '0.5', None, True, NAN, [0.5]],
            others=dict(metrics_format='gRefCOCO'),
        ),
    ),
    'benchmark': Key(
        good=['MOT15', 'MOT20', 'DanceTrack'],
        bad=['', 'MOT', 'mot17', None, 17, True, ['MOT17']],
        others=dict(metrics_format='MOT'),
    ),
    'use_postprocess': Key(BOOL.good, BOOL.bad, others=dict(metrics_format='MOT')),
    'postprocess_tracklet_cfg': Key(
        good=[None, [], ()],  # those of stock need scikit-learn: test_video_formats.py
        bad=['InterpolateTracklets', dict(type='InterpolateTracklets'), 3, True, [{}], [3]],
        others=dict(metrics_format='MOT'),
    ),
    'metric_options': Key(
        good=[None, dict(rank_list=[1, 5], max_rank=5), ConfigDict(rank_list=(1,), max_rank=1)],
        bad=[
            *(3, True, [1], {}, 'rank_list', dict(rank_list=[1]), dict(max_rank=5)),
            *(dict(rank_list=[5], max_rank=4), dict(rank_list=[0], max_rank=4)),
            *(dict(rank_list=[], max_rank=4), dict(rank_list=1, max_rank=4)),
            *(dict(rank_list=[1.5], max_rank=4), dict(rank_list=[1], max_rank=4, top=1)),
        ],
        others=dict(metrics_format='ReID'),
    ),
    'collect_device': Key(
        good=['cpu', 'gpu', 'npu'], bad=['', 'cuda', 'CPU', None, True, ['cpu']]
    ),
    'prefix': Key(good=[None, '', 'val'], bad=[3, True, ['val'], b'val', NAN]),
    'collect_dir': PATH,
}

MIX = {
    'dataset': Key(
        good=[dict(type='DeepLakeDataset', deeplake_path='{lake}')],
        bad=[None, 'lake', 3, True, ['lake'], ()],
        others=dict(pipeline=[]),
    ),
    'pipeline': Key(
        good=[[], (), [dict(type='MixUp')], (ConfigDict(type='RandomFlip', prob=0.5),)],
        bad=['Mosaic', None, dict(type='MixUp'), 3, [3], [{}], ['Mosaic'], [len]],
        others=dict(dataset=dict(type='DeepLakeDataset', deeplake_path='{lake}')),
    ),
    'skip_type_keys': Key(
        good=[None, [], ['Mosaic'], ('Mosaic', 'MixUp')],
        bad=['Mosaic', 3, True, [3], [None], {'a': 1}, NAN],
        others=dict(dataset=dict(type='DeepLakeDataset', deeplake_path='{lake}')),
    ),
    'max_refetch': Key(
        good=[1, 15, np.int64(5)],
        bad=[0, -1, 2.5, '3', True, None, NAN, [1]],
        others=dict(dataset=dict(type='DeepLakeDataset', deeplake_path='{lake}')),
    ),
    'lazy_init': Key(
        good=BOOL.good,
        bad=BOOL.bad,
        others=dict(dataset=dict(type='DeepLakeDataset', deeplake_path='{lake}')),
    ),
}
SHARE = Key(
    good=[0.2, 1, np.float64(0.5)],
    bad=[-0.1, 50, '0.5', None, True, NAN, INF, [0.5]],
    others=dict(background_thr=0),
)
PREDICTIONS = {
    'name': Key(
        good=[None, 'rtmdet_tiny', 'v1.2-b'],
        bad=['', 'a/b', 'a b', 'a"b', 3, True, ['net'], NAN],
    ),
    'branch': Key(
        good=[None, 'runs/a', 'side'],
        bad=['', '/', 'runs/', '/a', 'a@b', 'a b', 3, True, ['runs/a']],
    ),
    'iou_thr': SHARE,
    'score_thr': SHARE,
    'background_thr': Key(
        good=[0, 0.1], bad=[-1, 2, '0.1', None, True, NAN], others=dict(iou_thr=1)
    ),
    'max_dets': Key(good=[1, 300, np.int64(5)], bad=[0, -1, 1.5, '100', None, True]),
    'area_range': Key(
        good=[None, (0, 1024), [32.0, 1e5], np.array([0, 9])],
        bad=[3, (3,), (9, 0), (-1, 3), ('0', '9'), (0, NAN), 'small', True, (0, 1, 2)],
    ),
    'iou_type': Key(good=['bbox', 'segm'], bad=['', 'mask', None, 3, ['bbox']]),
    'metrics_format': Key(
        good=['COCO', 'LVIS', 'Panoptic'], bad=['', 'lvis', 'PascalVOC', None, 3]
    ),
    'collect_device': METRIC['collect_device'],
    'collect_dir': PATH,
}

TABLE: dict[str, dict[str, Key]] = {
    'DeepLakeDataset': DATASET,
    'DeepLakeMultiImageMixDataset': MIX,
    'DeepLakeVideoDataset': VIDEO,
    'DeepLakeReIDDataset': PERSONS,
    'DeepLakeLoader': LOADER,
    'DeepLakeAspectRatioBatchSampler': BATCHES,
    'DeepLakeMetric': METRIC,
    'DeepLakePredictions': PREDICTIONS,
    'DeepLakeResumeHook': {'accept_changes': BOOL},
    'DeepLakeReportHook': {'details': BOOL},
    'DeepLakeSkippedImagesHook': {},
    'DeepLakeClassCheckHook': {},
    'DeepLakeLossHook': {},
    'DeepLakeOrderHook': {},
}
EACH = [
    pytest.param(name, key, id=f'{name}.{key}') for name in TABLE for key in TABLE[name]
]


@pytest.fixture(autouse=True)
def _counters(monkeypatch: pytest.MonkeyPatch) -> None:
    """DeepLakeReportHook changes how counters are made from then on."""
    monkeypatch.setattr(ReadCounters, '_shared_from_now_on', False)


@pytest.fixture(scope='module')
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A lake of six rows, and a file with class names."""
    folder = tmp_path_factory.mktemp('values')
    of_video = dict(video_id='int', frame_id='int', instance_id='ints', visibility='floats', person_id='int')
    rows = [
        {
            **row(number),
            **dict(video_id=number, frame_id=0, person_id=number % 3),
            **dict(instance_id=np.array([number], np.int32), visibility=np.array([0.9])),
        }
        for number in range(6)
    ]
    write_lake(folder / 'lake', rows, {key: TYPES[name] for key, name in of_video.items()})
    (folder / 'names.txt').write_text('owl\ncat\n')
    return folder


class _Unread:
    """A dataset that nobody may ask."""

    def __len__(self) -> int:
        raise AssertionError('the dataset was read')


def _parameters(name: str) -> list[str]:
    parameters = inspect.signature(getattr(plugin, name)).parameters.values()
    return [each.name for each in parameters if each.kind is not each.VAR_KEYWORD]


def _filled(value: Any, folder: Path) -> Any:
    if isinstance(value, dict):
        return type(value)({key: _filled(each, folder) for key, each in value.items()})
    if isinstance(value, str) and '{' in value:
        return type(value)(value.format(lake=folder / 'lake', names=folder / 'names.txt'))
    return value


def _shows(text: str, value: Any) -> bool:
    """Whether a message shows a value, or the part of it that is wrong."""
    name, start = type(value).__name__, repr(value)[:200]
    forms = [f'got {start}', f'={start}', f'string {start}', f'got {name}', f'got a {name}']
    forms += [f' in {start}']
    forms += ['got no path'] if isinstance(value, (str, type(None))) and not value else []
    if any(form in text for form in forms):
        return True
    if isinstance(value, Mapping):
        return any(
            f'.{key} is unknown' in text or f'.{key} has no' in text or _shows(text, each)
            for key, each in value.items()
        ) or any(f'unknown role {key!r}' in text for key in value)
    return isinstance(value, (list, tuple, np.ndarray)) and any(_shows(text, each) for each in value)


def _refusal(key: str, value: Any, build: Callable[[], Any]) -> str:
    """The text of the error that refuses a value; checks what every such text has."""
    with pytest.raises((ValueError, TypeError)) as caught:
        build()
    text = str(caught.value)
    assert re.search(rf'\b{key}\b', text), text
    assert _shows(text, value), text
    assert re.search(r'\b(write|leave|set|use|pass|the keys are|did you mean)\b', text), text
    return text


@pytest.mark.parametrize('name', TABLE)
def test_every_key_has_an_entry(name: str) -> None:
    """A new key of a class comes with values that it takes and refuses."""
    assert sorted(TABLE[name]) == sorted(_parameters(name))
    for key, entry in TABLE[name].items():
        assert entry.bad, key


def test_every_class_has_a_table() -> None:
    """All that the package exports; the functions have no keys."""
    others = {'__version__', 'config_path', 'deeplake_collate'}
    assert {*TABLE, *others} == set(plugin.__all__)


@pytest.mark.parametrize(('name', 'key'), EACH)
def test_good_values_are_taken(name: str, key: str, folder: Path) -> None:
    """Also scalars and arrays of NumPy, where they are sound."""
    entry, cls = TABLE[name][key], getattr(plugin, name)
    for good in entry.good:
        keys = _filled({**entry.others, key: good}, folder)
        lake = str(folder / 'lake')
        if 'deeplake_path' in TABLE[name]:
            keys = {'deeplake_path': lake, **keys}
            if keys.get('dataset', 1) is None:
                keys['deeplake_path'] = lake
            # The same keys of other datasets are passed on.
            passed_on = name != 'DeepLakeDataset' and entry is DATASET.get(key)
            dataset = cls(**{**dict(lazy_init=passed_on), **keys})
            if not passed_on or key == 'indices':
                len(dataset)
        elif name == 'DeepLakeMultiImageMixDataset':
            len(cls(**{'pipeline': [], **keys}))
        elif name == 'DeepLakeLoader':
            built = {'dataset': plugin.DeepLakeDataset(lake), 'seed': 0, **keys}
            list(cls(**built))
        elif name == 'DeepLakeAspectRatioBatchSampler':
            sampler = plugin.DeepLakeLoader(plugin.DeepLakeDataset(lake), seed=0)
            list(cls(**{'sampler': sampler, 'batch_size': 2, **keys}))
        else:
            if key == 'metrics_format' and good == 'LVIS':
                pytest.importorskip('lvis')
            if key in ('benchmark', 'use_postprocess', 'postprocess_tracklet_cfg'):
                pytest.importorskip('trackeval')
            if key == 'backend' and good != 'pycocotools':
                pytest.importorskip('faster_coco_eval')
            cls(**keys)


@pytest.mark.parametrize(('name', 'key'), EACH)
def test_bad_values_are_refused_before_data_is_read(name: str, key: str) -> None:
    """The error names the key and the value, and there is not even a lake."""
    entry, cls = TABLE[name][key], getattr(plugin, name)
    for bad in entry.bad:
        keys = {**entry.others, key: bad}
        if 'deeplake_path' in TABLE[name]:
            keys = {'deeplake_path': 'no/such/lake', **keys}
            if key != 'lazy_init':
                _refusal(key, bad, lambda keys=keys: cls(**keys, lazy_init=True))
        elif name == 'DeepLakeMultiImageMixDataset':
            keys = {'pipeline': [], **keys}
        elif name == 'DeepLakeLoader':
            keys = {'dataset': _Unread(), **keys}
        elif name == 'DeepLakeAspectRatioBatchSampler':
            sampler = plugin.DeepLakeLoader(range(3), seed=0)
            keys = {'sampler': sampler, 'batch_size': 2, **keys}
        _refusal(key, bad, lambda keys=keys: cls(**keys))


@pytest.mark.parametrize(('name', 'key'), EACH)
def test_a_misspelt_key_suggests_the_right_one(name: str, key: str) -> None:
    """With a letter left out, or two swapped."""
    cls, known = getattr(plugin, name), _parameters(name)
    typos = {key[:at] + key[at + 1 :] for at in range(len(key))}
    for at in range(len(key) - 1):
        typos.add(key[:at] + key[at + 1] + key[at] + key[at + 2 :])
    required = {
        'DeepLakeLoader': dict(dataset=_Unread()),
        'DeepLakeMultiImageMixDataset': dict(dataset=_Unread(), pipeline=[]),
        'DeepLakeAspectRatioBatchSampler': dict(sampler=None, batch_size=2),
    }
    if key == 'ioa_thrs':  # some are as near to iou_thrs
        typos = {typo for typo in typos if 'ioa' in typo}
    for typo in sorted(typos - set(known)):
        text = f'{typo!r} is not a key of {name} (did you mean {key}?); its keys are '
        with pytest.raises(ValueError, match=re.escape(text + ', '.join(known))):
            cls(**{**required.get(name, {}), typo: True})


@pytest.mark.parametrize('name', [name for name in TABLE if not TABLE[name]])
def test_a_hook_without_keys_says_so(name: str) -> None:
    """Whatever key it gets."""
    with pytest.raises(ValueError, match=r"^'details' is not a key .*Hook; it has none$"):
        getattr(plugin, name)(details=True)


# Wrong only together with others, or with what the lake holds.
TOGETHER: dict[str, tuple[str, dict[str, Any], list[str]]] = {
    'classes-beside-metainfo': (
        'DeepLakeDataset',
        dict(classes=('cat',)),
        ["classes=('cat',) has no meaning", 'write metainfo=dict(classes=…)'],
    ),
    'palette-beside-metainfo': (
        'DeepLakeDataset',
        dict(palette=PALETTE),
        ['palette=[(220, 20, 60)', 'has no meaning', 'write metainfo=dict(palette=…)'],
    ),
    'prefix-of-files': (
        'DeepLakeDataset',
        dict(seg_map_suffix='.png'),
        ["seg_map_suffix='.png' has no meaning for DeepLakeDataset", '_delete_=True'],
    ),
    'short-palette': (
        'DeepLakeDataset',
        dict(metainfo=dict(palette=PALETTE[:2])),
        ['metainfo.palette must have a colour for each of the 3 classes, got 2 in '],
    ),
    'index-beyond-the-last': (
        'DeepLakeDataset',
        dict(indices=[0, 6]),
        ['indices must name some of the 6 samples that are left', 'got 6; write', '0 to 5'],
    ),
    'index-before-the-first': (
        'DeepLakeDataset',
        dict(indices=np.array([-7])),
        ['indices must name some of the 6 samples', 'got -7'],
    ),
    'visible-parts-without-a-column': (
        'DeepLakeDataset',
        dict(filter_cfg=dict(visibility_thr=0.3)),
        ['visibility_thr=0.3 needs the visible fraction', "deeplake_tensors={'visibility':"],
    ),
    'two-persons-for-triplets': (
        'DeepLakeReIDDataset',
        dict(triplet_sampler=dict(num_ids=4)),
        ['triplet_sampler.num_ids must be at most the number of persons, got 4 for 3'],
    ),
    'persons-with-gaps': (
        'DeepLakeReIDDataset',
        dict(triplet_sampler=dict(num_ids=2), deeplake_query='SELECT * WHERE person_id != 1'),
        ['the 2 persons of', 'must be numbered 0 to 1', 'found 2; number them anew'],
    ),
    'frames-without-videos': (
        'DeepLakeVideoDataset',
        dict(deeplake_tensors=dict(video_id=None)),
        ['must have a column for video_id', "deeplake_tensors={'video_id': 'COLUMN'}"],
    ),
    'two-frames-in-one-place': (
        'DeepLakeVideoDataset',
        dict(deeplake_tensors=dict(video_id='width')),
        ['frame_id must be unique in a video, but 0 occurs twice in the video 64'],
    ),
    'no-frames-left': (
        'DeepLakeVideoDataset',
        dict(filter_cfg=dict(min_size=100)),
        ["filter_cfg={'min_size': 100} must keep frames, but leaves out all 6 of"],
    ),
    'version-of-youtube-vis': (
        'DeepLakeVideoDataset',
        dict(dataset_version='2019'),
        ["dataset_version='2019' has no meaning for DeepLakeVideoDataset, as the classes"],
    ),
    'an-open-lake-and-a-view': (
        'DeepLakeDataset',
        dict(dataset='{open}', deeplake_view_id='late', deeplake_path=''),
        ['dataset= is an open lake, so ', 'deeplake_view_id', 'must be left out'],
    ),
    'labels-for-prompts': (
        'DeepLakeDataset',
        dict(caption_prompt=dict(cat={}), return_classes='label_map'),
        ['caption_prompt needs return_classes=True'],
    ),
    'one-number-for-recall': (
        'DeepLakeMetric',
        dict(metric='proposal', proposal_nums=[300]),
        ['proposal_nums must be three numbers', 'got [300]; write'],
    ),
    'two-numbers-for-masks': (
        'DeepLakeMetric',
        dict(metric=['segm', 'proposal_fast'], proposal_nums=(100, 300)),
        ['proposal_nums must be three numbers', 'got (100, 300)'],
    ),
    'one-number-for-an-item-of-recall': (
        'DeepLakeMetric',
        dict(proposal_nums=[300], metric_items=['mAP', 'AR@300']),
        ['proposal_nums must be three numbers', 'got [300]'],
    ),
    'the-last-number-is-not-the-largest': (
        'DeepLakeMetric',
        dict(metric='proposal_fast', proposal_nums=(100, 1, 10)),
        ["ascending order for metric='proposal_fast'", 'write proposal_nums=(1, 10, 100)'],
    ),
    'the-last-number-is-not-the-largest-voc': (
        'DeepLakeMetric',
        dict(VOC, metric='recall', proposal_nums=(100, 10)),
        ["ascending order for metric='recall'", 'write proposal_nums=(10, 100)'],
    ),
    'item-of-lvis': (
        'DeepLakeMetric',
        dict(metric_items=['APr']),
        ['metric_items must be one or more of mAP', "got 'APr' in ['APr']"],
    ),
    'folder-for-the-other-exchange': (
        'DeepLakeMetric',
        dict(collect_dir='out', collect_device='gpu'),
        ["collect_dir='out' is for collect_device='cpu', got 'gpu'; leave one"],
    ),
    'file-of-the-stock-metric': (
        'DeepLakeMetric',
        dict(ann_file='val.json'),
        ["ann_file='val.json' has no meaning for DeepLakeMetric", 'from the lake; leave'],
    ),
    'processes-of-the-stock-metric': (
        'DeepLakeMetric',
        dict(use_mp_eval=True),
        ['use_mp_eval=True has no meaning for DeepLakeMetric; leave it out'],
    ),
    'metric-of-the-stock-metric': (
        'DeepLakeMetric',
        dict(SEMSEG, iou_metrics=['mDice']),
        ["iou_metrics=['mDice'] has no meaning", "write metric=['mIoU']"],
    ),
    'threshold-of-coco-for-maps': (
        'DeepLakeMetric',
        dict(SEMSEG, iou_thrs=0.5),
        ["iou_thrs=0.5 has no meaning for metrics_format='SemSeg'; leave", 'to COCO, LVIS'],
    ),
    'weight-of-maps-for-coco': (
        'DeepLakeMetric',
        dict(beta=2),
        ["beta=2 has no meaning for metrics_format='COCO'; leave it out (it belongs to Sem"],
    ),
    'folder-of-maps-for-coco': (
        'DeepLakeMetric',
        dict(output_dir='out'),
        ["output_dir='out' has no meaning for metrics_format='COCO'"],
    ),
}


@pytest.mark.parametrize(('name', 'keys', 'texts'), TOGETHER.values(), ids=TOGETHER)
def test_keys_that_do_not_fit_are_refused(
    name: str, keys: dict[str, Any], texts: list[str], folder: Path
) -> None:
    """The error names the key, also if the mistake shows with the lake only."""
    if 'deeplake_path' in TABLE[name]:
        keys = {'deeplake_path': str(folder / 'lake'), **keys}
    if keys.get('dataset') == '{open}':
        keys = {**keys, 'dataset': open_lake(str(folder / 'lake'), writable=False)}
    with pytest.raises(ValueError, match='(?s)' + '.*'.join(map(re.escape, texts))):
        getattr(plugin, name)(**keys)


def test_things_must_agree_with_the_lake(panoptic_lake: str) -> None:
    """A lake that says which classes are things is not overruled in silence."""
    meta = plugin.DeepLakeDataset(panoptic_lake).metainfo
    things = list(meta['thing_classes'])
    plugin.DeepLakeDataset(panoptic_lake, metainfo=dict(thing_classes=things))
    for changed, kind in (
        (things[1:], 'a thing'),
        ([*things, meta['stuff_classes'][0]], 'stuff'),
    ):
        with pytest.raises(
            ValueError, match=rf'^metainfo.thing_classes must agree .* is {kind}, got '
        ):
            plugin.DeepLakeDataset(panoptic_lake, metainfo=dict(thing_classes=changed))


def test_what_stock_configs_hold_without_effect_is_logged(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Prompts for other classes, and the smallest box of another style."""
    said: list[str] = []
    monkeypatch.setattr(checks, 'warn', said.append)
    keys = dict(deeplake_path=str(folder / 'lake'), return_classes=True)
    plugin.DeepLakeDataset(**keys, caption_prompt=dict(cot={}, dog={}))
    assert said == [
        "caption_prompt['cot'] has no effect (did you mean cat?): the classes are cat, "
        'dog, owl'
    ]
    small = dict(bbox_min_size=8)
    plugin.DeepLakeDataset(str(folder / 'lake'), filter_cfg=small)
    assert said[1:] == [
        "filter_cfg.bbox_min_size has no effect with annotation_style='coco'; write "
        "annotation_style='voc', or leave it out"
    ]
    plugin.DeepLakeDataset(
        str(folder / 'lake'), filter_cfg=small, annotation_style='voc'
    )
    assert len(said) == 2


def test_values_are_kept_as_a_checkpoint_can_hold_them(folder: Path) -> None:
    """Scalars of NumPy become those of Python: torch.load refuses the former."""
    dataset = plugin.DeepLakeDataset(str(folder / 'lake'))
    five = np.int64(5)
    loader = plugin.DeepLakeLoader(
        dataset, shuffle='lanes', seed=five, lanes=five, window=five, batch_size=five
    )
    assert {type(value) for value in loader.order_state().values()} == {int, str, bool}
    loader = plugin.DeepLakeLoader(
        dataset, 'lanes', 0, batch_size=five, num_workers=five
    )
    assert type(loader.lanes) is int


def test_an_open_dataset_is_taken(folder: Path) -> None:
    """In Python, instead of a path."""
    opened = open_lake(str(folder / 'lake'), writable=False)
    assert len(plugin.DeepLakeDataset(dataset=opened)) == 6


@pytest.mark.parametrize('key', ['clases', 'clsses', 'pallete', 'ann_fle'])
def test_a_misspelt_key_that_belongs_elsewhere_is_told_where(key: str) -> None:
    """Not the nearest key of the dataset, such as return_classes."""
    wanted = {'pallete': 'palette', 'ann_fle': '_delete_=True'}.get(key, 'classes')
    pattern = f"^'{key}' is not a key of DeepLakeDataset.* write metainfo=dict\\({wanted}=…"
    if key == 'ann_fle':
        pattern = f"^'{key}' is not a key of DeepLakeDataset, .* with {wanted}"
    with pytest.raises(ValueError, match=pattern):
        plugin.DeepLakeDataset(**{key: 'x'})
