"""Tracks, masks of videos, frames and persons: numbers and files equal those of stock."""

from __future__ import annotations

import importlib
import json
import math
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers.clips import VIDEOS, write_mot
from helpers.ranks import run_ranks
from mmdet.registry import DATASETS, METRICS, TASK_UTILS
from mmdet.structures import TrackDataSample
from mmdet.utils import register_all_modules
from mmengine.dist import get_rank
from zoo.lent import lent
from zoo.moving import (
    as_rows,
    make_clips,
    make_persons,
    make_tracks,
    person_sample,
    video_sample,
)

from mmdet_deeplake_plugin import DeepLakeMetric
from mmdet_deeplake_plugin.tools.from_mot import from_mot

pytest.importorskip('trackeval')
register_all_modules()

MAKERS = {'tracks': make_tracks, 'clips': make_clips, 'persons': make_persons}
STOCK = {
    'tracks': dict(type='MOTChallengeDataset'),
    'clips': dict(type='YouTubeVISDataset', dataset_version='2019'),
    'persons': dict(type='ReIDDataset'),
}
# Data, stock metric, its keys, ours.
CASES: dict[str, tuple[str, str, dict[str, Any], str]] = {
    'tracks': ('tracks', 'MOTChallengeMetric', {}, 'MOT'),
    'changed tracks': (
        'tracks',
        'MOTChallengeMetric',
        dict(
            metric=['CLEAR'],
            benchmark='MOT20',
            prefix='own',
            postprocess_tracklet_cfg=[dict(type='WithoutShort', least=4)],
        ),
        'MOT',
    ),
    'masks': ('clips', 'YouTubeVISMetric', {}, 'YouTubeVIS'),
    'recalls': ('clips', 'YouTubeVISMetric', dict(metric_items=['AR@10', 'mAP']), 'YouTubeVIS'),
    'frames': (
        'clips',
        'CocoVideoMetric',
        dict(metric=['bbox', 'segm'], classwise=True),
        'CocoVideo',
    ),
    'persons': ('persons', 'ReIDMetrics', dict(metric=['mAP', 'CMC']), 'ReID'),
}


@TASK_UTILS.register_module()
class WithoutShort:
    """Drops short tracks."""

    def __init__(self, least: int) -> None:
        self.least = least

    def forward(self, tracks: Any) -> Any:
        ids, counts = np.unique(tracks[:, 1], return_counts=True)
        return tracks[np.isin(tracks[:, 1], ids[counts >= self.least])]


@pytest.fixture(scope='module')
def configs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[Any, Any]]:
    """Kind of data -> configs of the stock dataset, and of that of the lake."""
    found = {}
    for kind, make in MAKERS.items():
        folder = tmp_path_factory.mktemp(kind)
        classes = DATASETS.get('YouTubeVISDataset')
        classes.set_dataset_classes('2019')
        files, lake = make(folder, None, classes.METAINFO['classes'])
        ours = 'DeepLakeReIDDataset' if kind == 'persons' else 'DeepLakeVideoDataset'
        shared = dict(test_mode=True, pipeline=[])
        found[kind] = (
            dict(**STOCK[kind], **files, **shared),
            dict(type=ours, deeplake_path=lake, **shared),
        )
    return found


def predicted(dataset: Any, seed: int = 0) -> list[Any]:
    """What a model makes of each video, or of each person."""
    random = np.random.default_rng(seed)
    infos = [dataset.get_data_info(index) for index in range(len(dataset))]
    draw: Any = video_sample if 'images' in infos[0] else person_sample
    return [draw(info, random) for info in infos]


def frame_by_frame(samples: list[Any]) -> Iterator[Any]:
    """The same samples as image-based trackers give them."""
    for sample in samples:
        for frame in getattr(sample, 'video_data_samples', ()):
            yield TrackDataSample(video_data_samples=[frame])


def evaluated(metric: Any, samples: Any, size: int) -> dict[str, Any]:
    for sample in samples:
        given = sample if isinstance(sample, dict) else sample.to_dict()
        metric.process({}, [given])
    with lent():
        return dict(metric.evaluate(size))


def build(config: dict[str, Any], dataset: Any) -> Any:
    metric = METRICS.build(config)
    metric.dataset_meta = dataset.metainfo
    return metric


def assert_same(found: dict[str, Any], expected: dict[str, Any]) -> None:
    assert sorted(found) == sorted(expected)
    for key, value in expected.items():
        assert found[key] == value or (math.isnan(value) and math.isnan(found[key])), key


def numbers(
    case: str, configs: Any, whole: bool = True, stock: bool = True, times: int = 1
) -> list[Any]:
    """Numbers of the stock metric on files, or those of ours on a lake."""
    kind, name, keys, form = CASES[case]
    metric = dict(type=name) if stock else dict(type='DeepLakeMetric', metrics_format=form)
    dataset = DATASETS.build(configs[kind][0 if stock else 1])
    samples = predicted(dataset)
    judge = build({**metric, **keys}, dataset)
    return [
        evaluated(judge, samples if whole else frame_by_frame(samples), len(dataset))
        for _ in range(times)
    ]


@pytest.fixture(scope='module')
def expected(configs: Any) -> dict[str, Any]:
    """Numbers of the stock metrics, each computed once."""
    return {case: numbers(case, configs)[0] for case in CASES}


@pytest.mark.parametrize('case', CASES)
def test_numbers_are_those_of_the_stock_metric(case: str, configs: Any, expected: Any) -> None:
    """Digit for digit, and again in the next validation."""
    assert any(0 < value < 1 for value in expected[case].values())
    for found in numbers(case, configs, stock=False, times=2):
        assert_same(found, expected[case])


def test_frames_count_as_whole_videos(configs: Any, expected: Any) -> None:
    """Samplers of images give them one by one, also to the stock metrics."""
    for stock in (True, False):
        (found,) = numbers('frames', configs, whole=False, stock=stock)
        assert_same(found, expected['frames'])
    for stock in (True, False):
        (found,) = numbers('changed tracks', configs, whole=False, stock=stock)
        assert_same(found, expected['changed tracks'])


def test_masks_of_frames_make_videos(configs: Any, expected: Any) -> None:
    """Where the stock metric fails, which takes whole videos alone."""
    _, config = configs['clips']
    dataset = DATASETS.build(config)
    samples = predicted(dataset)
    config = dict(type='DeepLakeMetric', metrics_format='YouTubeVIS')
    found = evaluated(build(config, dataset), frame_by_frame(samples), 3)
    assert found == expected['masks']


def test_tracks_that_the_model_made(configs: Any) -> None:
    """Rows of frame, id, box and score, as StrongSORT gives them."""
    found = []
    for config, kind in zip(configs['tracks'], ('MOTChallengeMetric', 'DeepLakeMetric')):
        dataset = DATASETS.build(config)
        samples = [as_rows(sample) for sample in predicted(dataset)]
        more = {} if kind == 'MOTChallengeMetric' else {'metrics_format': 'MOT'}
        metric = build(dict(type=kind, use_postprocess=True, **more), dataset)
        found.append(evaluated(metric, samples, 3))
    assert_same(found[1], found[0])


def test_written_files_are_those_of_stock(configs: Any, tmp_path: Path) -> None:
    """The text file of each sequence; JSON and its archive for YouTube-VIS."""
    for kind, stock, ours in (
        ('tracks', 'MOTChallengeMetric', 'MOT'),
        ('clips', 'YouTubeVISMetric', 'YouTubeVIS'),
    ):
        for config, name, more in zip(
            configs[kind], (stock, 'DeepLakeMetric'), ({}, {'metrics_format': ours})
        ):
            dataset = DATASETS.build(config)
            prefix = tmp_path / name / kind
            prefix.parent.mkdir(exist_ok=True)
            metric = build(
                dict(type=name, format_only=True, outfile_prefix=str(prefix), **more), dataset
            )
            assert evaluated(metric, predicted(dataset), 3) == {}
    tracks = sorted((tmp_path / 'MOTChallengeMetric').glob('tracks/default-tracker/MOT*'))
    assert len(tracks) == 3
    for path in tracks:
        found = tmp_path / 'DeepLakeMetric' / path.relative_to(tmp_path / 'MOTChallengeMetric')
        assert found.read_bytes() == path.read_bytes() != b''
    expected, found = (tmp_path / n for n in ('YouTubeVISMetric', 'DeepLakeMetric'))
    text = (expected / 'clips.json').read_bytes()
    assert (found / 'clips.json').read_bytes() == text and len(json.loads(text)) > 3
    with zipfile.ZipFile(found / 'clips.submission_file.zip') as archive:
        assert archive.read('results.json') == text


def scored_by_a_rank(configs: Any, folder: str) -> dict[str, Any]:
    """The numbers that a rank reports, after it predicted its share of the videos."""
    found: dict[str, Any] = {}
    for name, (kind, _, keys, form) in CASES.items():
        dataset = DATASETS.build(configs[kind][1])
        samples = predicted(dataset)
        keys = dict(keys, metrics_format=form, collect_dir=folder)
        metric = build(dict(type='DeepLakeMetric', **keys), dataset)
        rank = get_rank()
        share = np.array_split(np.arange(len(samples)), 2)[rank].tolist()
        if kind == 'persons':  # dealt one by one, and one of them twice
            share = [*range(rank, len(samples), 2), rank]
        given = [samples[index] for index in share]
        if name == 'frames':
            given = list(frame_by_frame(given))
        found[name] = evaluated(metric, given, len(samples))
    return found


def test_two_ranks_report_what_stock_reports(
    configs: Any, expected: Any, tmp_path: Path
) -> None:
    """Two and one videos, as TrackImgSampler deals them; the numbers on both ranks."""
    for found in run_ranks(2, scored_by_a_rank, tmp_path, configs, str(tmp_path / 'shared')):
        assert found.keys() == expected.keys()
        for case, reported in found.items():
            assert_same(reported, expected[case])


def test_nothing_found_is_no_error(configs: Any) -> None:
    """The scores are those of a model that finds nothing; stock fails without masks."""
    _, config = configs['clips']
    dataset = DATASETS.build(config)
    samples = predicted(dataset)
    for frame in (each for sample in samples for each in sample):
        frame.pred_track_instances = frame.pred_track_instances[:0]
    metric = build(dict(type='DeepLakeMetric', metrics_format='YouTubeVIS'), dataset)
    found = evaluated(metric, samples, 3)
    assert found['youtube_vis/segm_mAP'] == 0 and found['youtube_vis/segm_mAP_l'] == -1


def test_ids_may_begin_anew_in_each_video(configs: Any) -> None:
    """Also with 0, which the stock metric takes for none."""
    _, config = configs['clips']
    dataset = DATASETS.build(config)
    samples = predicted(dataset)
    metric = build(dict(type='DeepLakeMetric', metrics_format='YouTubeVIS'), dataset)
    expected = evaluated(metric, samples, 3)
    for sample in samples:
        ids: dict[int, int] = {}
        for frame in sample:
            changed = [
                dict(part, instance_id=ids.setdefault(part['instance_id'], len(ids)))
                for part in frame.instances
            ]
            frame.set_metainfo({'instances': changed})
    assert evaluated(metric, samples, 3) == expected


def test_videos_of_several_lakes_keep_their_names_apart(tmp_path: Path) -> None:
    """Also where the name that a second one would get is that of a third."""
    assert _score_lakes(tmp_path / 'alike', ('S', 'S_2'), ('S',)) == _score_lakes(
        tmp_path / 'unlike', ('S', 'T'), ('U',)
    )


def _score_lakes(folder: Path, *names_of: tuple[str, ...]) -> dict[str, Any]:
    """Numbers of MOT of some lakes; in the second video nothing is found."""
    datasets, samples = [], []
    for names in names_of:
        sequences = write_mot(folder / str(len(datasets)))
        for old, new in zip(VIDEOS, names):
            ini = (sequences / old).rename(sequences / new) / 'seqinfo.ini'
            ini.write_text(ini.read_text().replace(old, new))
        lake = sequences.parent / 'lake'
        from_mot(sequences, lake, sequences=names)
        config = dict(type='DeepLakeVideoDataset', deeplake_path=str(lake), test_mode=True)
        datasets.append(DATASETS.build({**config, 'pipeline': []}))
        samples += predicted(datasets[-1], len(samples))
    for frame in samples[1]:
        frame.pred_track_instances = frame.pred_track_instances[:0]
    metric = build(dict(type='DeepLakeMetric', metrics_format='MOT'), datasets[0])
    return evaluated(metric, samples, len(samples))


def refused(form: str, samples: list[Any], dataset: Any, **keys: Any) -> str:
    """The error for samples."""
    metric = build(dict(type='DeepLakeMetric', metrics_format=form, **keys), dataset)
    with pytest.raises((KeyError, ValueError)) as caught:
        evaluated(metric, samples, len(samples))
    return str(caught.value.args[0])


def test_what_is_not_a_video_is_refused(configs: Any) -> None:
    """The error says what is missing, and what to write."""
    dataset = DATASETS.build(configs['tracks'][1])
    samples = predicted(dataset)
    assert 'DeepLakeVideoDataset, whose pipeline ends with PackTrackInputs' in refused(
        'MOT', [{'img_path': 'a'}], dataset
    )
    frames = list(frame_by_frame(samples))
    assert (
        'the frames [0, 1, 2, 3, 4] were predicted, not 0 to 5; evaluate all frames' in
        refused('MOT', frames[:5], dataset)
    )
    assert 'nothing to score' in refused('MOT', [], dataset)
    assert "write metrics_format='MOT', 'YouTubeVIS' or" in refused('COCO', samples, dataset)
    assert 'the model predicts none' in refused('YouTubeVIS', samples, dataset)
    for sample in samples:
        for frame in sample:
            del frame.pred_track_instances
            if 'pred_instances' in frame:
                del frame.pred_instances
    assert "has no 'pred_track_instances'; use a model" in refused('MOT', samples, dataset)
    assert "must have 'pred_instances'" in refused('CocoVideo', samples, dataset)


def test_annotations_must_come_with_the_samples(configs: Any) -> None:
    """And those of MOT have more keys."""
    dataset = DATASETS.build(configs['clips'][1])
    samples = predicted(dataset)
    text = refused('MOT', samples, dataset)
    assert "needs 'mot_conf' of each annotation" in text and 'tools.from_mot' in text
    tracks = DATASETS.build(configs['tracks'][1])
    samples = predicted(tracks)
    for frame in samples[0]:
        frame.set_metainfo({'instances': []})
    assert "video 'MOT17-02-FRCNN' has none; leave it out" in refused('MOT', samples, tracks)
    for frame in samples[0]:
        delattr(frame, 'instances')
    assert 'keep them in the meta_keys of PackTrackInputs' in refused('MOT', samples, tracks)


def test_persons_must_be_seen_twice(configs: Any) -> None:
    """Ranks beyond the number of images are an error too, rather than an IndexError."""
    dataset = DATASETS.build(configs['persons'][1])
    samples = predicted(dataset)
    assert 'each of the 10 images shows another one' in refused('ReID', samples[::3], dataset)
    text = refused('ReID', samples[:9], dataset, metric='CMC')
    assert 'rank 20, but each of the 9 images is compared with 8 others' in text
    assert "a prediction has no 'pred_feature'" in refused('ReID', [{'img_path': 'a'}], dataset)


def test_the_package_is_named_when_it_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Before the first epoch."""
    module = importlib.import_module('mmdet.evaluation.metrics.mot_challenge_metric')
    monkeypatch.setattr(module, 'trackeval', None)
    with pytest.raises(ImportError, match=r'package trackeval.*mmdet_deeplake_plugin\[tracking\]'):
        DeepLakeMetric('MOT')
