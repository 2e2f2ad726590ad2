"""Videos: ``DeepLakeVideoDataset`` against stock's datasets, on stock's files of the same clips."""

from __future__ import annotations

import copy
import pickle
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from helpers.clips import (
    IMAGES,
    stock_mot_files,
    stock_vis_file,
    write_mot,
    write_youtube_vis,
)
from helpers.samples import assert_equal, handed_over, seeded, stock_config
from mmdet.datasets import BaseVideoDataset, MOTChallengeDataset, YouTubeVISDataset
from mmdet.datasets.samplers import TrackAspectRatioBatchSampler, TrackImgSampler
from mmdet.utils import register_all_modules
from mmengine.dataset import ClassBalancedDataset, ConcatDataset

from mmdet_deeplake_plugin import DeepLakeDataset, DeepLakeVideoDataset
from mmdet_deeplake_plugin.datasets.tracking import frames as frames_module
from mmdet_deeplake_plugin.tools.from_coco import from_coco
from mmdet_deeplake_plugin.tools.from_mot import from_mot
from mmdet_deeplake_plugin.tools.from_youtube_vis import from_youtube_vis

register_all_modules()
PEDESTRIAN = dict(metainfo=dict(classes=('pedestrian',)))


@pytest.fixture(scope='module')
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Files of stock and lakes of the same clips."""
    folder = tmp_path_factory.mktemp('videos')
    train, mot = write_mot(folder / 'mot'), folder / 'mot'
    stock_mot_files(mot)
    from_mot(train, folder / 'mot_lake')
    for half in ('train', 'val'):
        from_mot(train, folder / f'mot_{half}', half)
    stock_vis_file((ann := write_youtube_vis(folder / 'vis')).parent)
    from_youtube_vis(ann, folder / 'vis' / IMAGES, folder / 'vis_lake')
    return folder


def mot(root: Path, part: str = 'train', **keys: Any) -> MOTChallengeDataset:
    prefix = dict(img_path=str(root / 'mot/train'))
    ann_file = str(root / f'mot/annotations/{part}_cocoformat.json')
    return MOTChallengeDataset(ann_file=ann_file, data_prefix=prefix, **keys)


def vis(root: Path, **keys: Any) -> YouTubeVISDataset:
    ann_file = str(root / 'vis/annotations/youtube_vis_2019_train.json')
    prefix = dict(img_path=str(root / 'vis' / IMAGES))
    return YouTubeVISDataset('2019', ann_file=ann_file, data_prefix=prefix, **keys)


def pair(root: Path, kind: str, **keys: Any) -> tuple[DeepLakeVideoDataset, BaseVideoDataset]:
    """The lake's dataset and stock's; the order of labels is that of the file in both."""
    lake = partial(DeepLakeVideoDataset, str(root / f'{kind}_lake'), label_order='lake')
    if kind == 'mot':
        keys = {**PEDESTRIAN, **keys}
        return lake(**keys), mot(root, **keys)
    return lake(**keys), vis(root, **keys)


def pipeline_of(kind: str, part: str) -> list[dict[str, Any]]:
    """The pipeline of stock's base config, for small images."""
    config = stock_config(f'_base_/datasets/{dict(mot="mot_challenge", vis="youtube_vis")[kind]}.py')
    pipeline = copy.deepcopy(config[f'{part}_pipeline'])
    for step in pipeline:
        for transform in step.get('transforms', ()):
            for key in {'scale', 'crop_size'} & transform.keys():
                transform[key] = (90, 60)
    return pipeline


def assert_same_infos(lake: DeepLakeVideoDataset, files: BaseVideoDataset) -> None:
    """All that both have is equal, and stock has nothing else that a pipeline of stock reads."""
    assert len(lake) == len(files) and lake.num_all_imgs == files.num_all_imgs
    others = {'id', 'file_name', 'mot_frame_id', 'img_path'}
    for index in range(len(files)):
        ours, theirs = lake.get_data_info(index), files.get_data_info(index)
        frames, wanted = list(ours.pop('images')), theirs.pop('images')
        assert_equal(ours, theirs)
        assert len(frames) == len(wanted) == lake.get_len_per_video(index)
        for frame, other in zip(frames, wanted):
            keys, frame['instances'] = other.keys() - others, list(frame['instances'])
            assert_equal({key: frame[key] for key in keys}, {key: other[key] for key in keys})
            assert frame['img_path'].split('/')[4:] == other['file_name'].split('/')
        assert lake.get_cat_ids(index) == files.get_cat_ids(index)
        for frame in range(len(wanted)):
            assert lake.get_cat_ids((index, frame)) == files.get_cat_ids((index, frame))


FILTERS = {
    'none': {},
    'test': dict(test_mode=True),
    'empty kept': dict(filter_cfg=dict(filter_empty_gt=False)),
    'default': dict(filter_cfg=dict(filter_empty_gt=True, min_size=32)),
    'large': dict(filter_cfg=dict(min_size=45)),
    'cat': dict(metainfo=dict(classes=('cat',))),
    'subset': dict(indices=[2, 0]),
    'last': dict(indices=-1),
}


@pytest.mark.parametrize('options', FILTERS.values(), ids=FILTERS)
def test_youtube_vis(root: Path, options: dict[str, Any]) -> None:
    """Videos, frames, lengths and instances with masks, filtered alike."""
    assert_same_infos(*pair(root, 'vis', **options))


MOT = {
    'train': {},
    'test': dict(test_mode=True),
    'all classes': dict(metainfo={}),
    'visible': dict(visibility_thr=0.3),
    'visible in a test': dict(visibility_thr=0.3, test_mode=True),
}


@pytest.mark.parametrize('options', MOT.values(), ids=MOT)
def test_mot_challenge(root: Path, options: dict[str, Any]) -> None:
    """Also category, confidence and visible fraction of each instance."""
    lake, files = pair(root, 'mot', **options)
    assert_same_infos(lake, files)
    keys = {'category_id', 'mot_conf', 'visibility', 'instance_id'}
    assert keys <= lake.get_data_info(0)['images'][0]['instances'][0].keys()


@pytest.mark.parametrize('half', ['train', 'val'])
def test_halves(root: Path, half: str) -> None:
    """As stock divides them, but for ids of images and videos, which go on over its files."""
    lake = DeepLakeVideoDataset(str(root / f'mot_{half}'), test_mode=True)
    files = mot(root, f'half-{half}', test_mode=True)
    for index in range(3):
        ours, theirs = lake.get_data_info(index), files.get_data_info(index)
        assert ours['video_length'] == theirs['video_length'] == len(theirs['images'])
        for frame, other in zip(ours['images'], theirs['images']):
            assert frame['frame_id'] == other['frame_id']
            assert_equal(frame['instances'], other['instances'])
            assert frame['img_path'].endswith(other['file_name'])


@pytest.mark.parametrize('kind', ['mot', 'vis'])
def test_samples_for_training(root: Path, kind: str) -> None:
    """Clips of stock's pipelines, by video and by frame, in the order of stock's samplers."""
    lake, files = pair(root, kind, pipeline=pipeline_of(kind, 'train'))
    batches = []
    for data in (lake, files):
        sampler = TrackImgSampler(data, seed=5)
        sampler.set_epoch(1)
        batches.append(list(TrackAspectRatioBatchSampler(sampler, batch_size=2)))
    assert batches[0] == batches[1]
    indices = [index for batch in batches[0] for index in batch]
    for index in [*indices, 0, 1, 2]:
        ours, theirs = (seeded(partial(data.__getitem__, index), 7) for data in (lake, files))
        assert_equal(ours, theirs)
    assert_equal(handed_over(ours), theirs)
    assert len(theirs['data_samples'].video_data_samples) == 2


@pytest.mark.parametrize('kind', ['mot', 'vis'])
def test_samples_for_tests(root: Path, kind: str) -> None:
    """Frame by frame, and whole videos."""
    options = dict(pipeline=pipeline_of(kind, 'test'), test_mode=True)
    lake, files = pair(root, kind, **options)
    assert list(TrackImgSampler(lake)) == list(TrackImgSampler(files))
    for index in [*TrackImgSampler(lake), 0, 1, 2]:
        assert_equal(lake[index], files[index])
    assert lake[2]['data_samples'][0].img_path.split('/')[-3 if kind == 'mot' else -2] == 'MOT17-05-FRCNN'


def test_wrappers_of_stock(root: Path) -> None:
    """``ClassBalancedDataset`` and ``ConcatDataset`` see the same videos and classes."""
    kinds = pair(root, 'vis')
    balanced = [ClassBalancedDataset(data, oversample_thr=0.9) for data in kinds]
    assert balanced[0].repeat_indices == balanced[1].repeat_indices
    joined = [ConcatDataset([data, data.get_subset([1])]) for data in kinds]
    orders = [list(TrackImgSampler(each, seed=1)) for each in (*balanced, *joined)]
    assert orders[0] == orders[1] and orders[2] == orders[3]
    assert len(kinds[0].get_subset(2)) == 2 and len(kinds[0]) == 3


def test_the_images_of_a_clip_are_read_together(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Once frames are chosen; a pipeline without images reads none."""
    lake, _ = pair(root, 'vis', pipeline=pipeline_of('vis', 'train'))
    asked: list[list[int]] = []
    monkeypatch.setattr(lake.frames.reader, 'prepare', lambda rows: asked.append(list(rows)))
    sample = lake[2]['data_samples']
    rows = [int(each.img_path.split('/')[3]) for each in sample.video_data_samples]
    assert asked == [rows] and len(rows) == 2
    lake.pipeline = type(lake.pipeline)(lake.pipeline, lake.frames)
    lake[0]
    assert len(asked) == 2
    bare, _ = pair(root, 'vis', pipeline=[dict(type='UniformRefFrameSample')])
    monkeypatch.setattr(bare.frames.reader, 'prepare', lambda rows: asked.append(list(rows)))
    assert 'img' not in bare[0] and len(asked) == 2


def test_a_test_reads_frames_ahead(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On object storage: those of the same video, that the same worker gets, once."""
    lake, _ = pair(root, 'mot', pipeline=pipeline_of('mot', 'test'), test_mode=True)
    reader = lake.frames.reader
    reader.in_lists = True
    asked: list[list[int]] = []
    read = reader.column.read_rows
    monkeypatch.setattr(
        type(reader.column), 'read_rows', lambda _, rows: asked.append(list(rows)) or read(rows)
    )
    frames = [lake[index] for index in TrackImgSampler(lake)]
    assert asked == [[*range(6)], [*range(6, 11)], [*range(11, 18)]]
    asked.clear()
    monkeypatch.setattr(
        frames_module, 'get_worker_info', lambda: SimpleNamespace(num_workers=2)
    )
    assert_equal(lake[0, 1], frames[1])
    assert asked == [[1, 3, 5]]


def test_copies_and_pickles_give_the_same(root: Path) -> None:
    """For workers that are spawned, and subsets; a lazy dataset opens the lake when needed."""
    lake, _ = pair(root, 'vis', pipeline=pipeline_of('vis', 'train'))
    lazy = DeepLakeVideoDataset(
        str(root / 'vis_lake'), pipeline=pipeline_of('vis', 'train'), lazy_init=True
    )
    for other in (pickle.loads(pickle.dumps(lake)), copy.deepcopy(lake), lazy):
        for index in (0, (2, 3)):
            ours, theirs = (seeded(partial(data.__getitem__, index), 2) for data in (other, lake))
            assert_equal(ours, theirs)


def test_detectors_train_on_the_same_lake(root: Path) -> None:
    """As on stock's file of the detector: no column of videos changes a sample."""
    from mmdet.datasets import CocoDataset

    ann_file = str(root / 'mot/annotations/train_cocoformat.json')
    prefix = dict(img=str(root / 'mot/train'))
    files = CocoDataset(ann_file=ann_file, data_prefix=prefix, **PEDESTRIAN)
    lake = DeepLakeDataset(str(root / 'mot_lake'), **PEDESTRIAN)
    assert len(lake) == len(files) == 18
    for index in range(18):
        assert_equal(lake.get_data_info(index), files.get_data_info(index))


def test_coco_vid_files(root: Path, tmp_path: Path) -> None:
    """``from_coco`` writes the columns of videos too."""
    from_coco(root / 'vis/annotations/youtube_vis_2019_train.json', root / 'vis' / IMAGES, tmp_path / 'lake')
    lake = DeepLakeVideoDataset(str(tmp_path / 'lake'), label_order='lake')
    assert_same_infos(lake, vis(root))


def test_an_object_with_the_number_0_keeps_it(root: Path, tmp_path: Path) -> None:
    """``BaseVideoDataset`` puts the position in its frame in place of 0, that of another object."""
    lake, files = pair(root, 'mot')
    prefix, ann_file = files.data_prefix, files.ann_file
    base = BaseVideoDataset(ann_file=ann_file, data_prefix=prefix, **PEDESTRIAN)
    frames = lake.get_data_info(0)['images'], base.get_data_info(0)['images']
    ours, theirs = ([[i['instance_id'] for i in frame['instances']] for frame in part] for part in frames)
    assert ours[0] == theirs[0] == [0, 1, 3]
    assert np.array(ours)[:, 0].tolist() == [0] * 6
