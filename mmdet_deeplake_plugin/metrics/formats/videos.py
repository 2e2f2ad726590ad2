"""Score tracks in videos, and features of persons to find again.

The ground truth of videos comes with the samples, as in the stock metrics: video datasets
hand on ``instances``.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Generic, TypeVar

import numpy as np
import torch
from mmdet.registry import TASK_UTILS
from numpy.typing import NDArray

from ...evaluation.backends import mmdet_tracks as tracks
from ...evaluation.backends.mmdet import stock_class
from ...evaluation.groups.jobs import Spread, one_by_one
from ...lake import Lake
from ...utils.values import shown
from ..format import MetricFormat
from ..instances import CocoFormat, run_lengths

Content = TypeVar('Content')
_MOT = ('mot_conf', 'category_id', 'visibility')
_RANKS: dict[str, Any] = {'rank_list': [1, 5, 10, 20], 'max_rank': 20}


@dataclass(frozen=True)
class Frame(Generic[Content]):
    """What is kept of a frame.

    Attributes:
        video_id: Id of its video in the lake.
        video_name: Name of its video.
        number: Its place in the video, from 0.
        length: Number of frames of the video.
        content: What the format needs.
    """

    video_id: Any
    video_name: str
    number: int
    length: int
    content: Content

    @classmethod
    def of(cls, sample: Mapping[str, Any], content: Content) -> Frame[Content]:
        """Return what is kept of a sample with some content."""
        # deeplake://key/row/VIDEO/img1/000001.jpg, in the layout of MOT
        parts = sample['img_path'].split('/')
        return cls(
            sample['video_id'],
            parts[-3] if len(parts) > 6 else str(sample['video_id']),
            int(sample['frame_id']),
            int(sample['ori_video_length']),
            content,
        )


class FramesOfVideos:
    """Takes samples of video datasets apart: see :meth:`MetricFormat.images_of`."""

    of_videos = True
    name: ClassVar[str]

    def images_of(self, sample: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
        """Yield the frames that count of a whole video, or the one that was predicted.

        Raises:
            KeyError: If the sample is not of a video dataset.
        """
        if 'video_data_samples' not in sample:
            raise KeyError(
                f'metrics_format={self.name!r} scores videos, but a prediction has no '
                "'video_data_samples'; use a DeepLakeVideoDataset, whose pipeline ends "
                'with PackTrackInputs, or another metrics_format'
            )
        frames = list(sample['video_data_samples'])
        if len(frames) == frames[0].ori_video_length:
            for number, frame in enumerate(frames):
                yield {**frame.to_dict(), 'frame_id': number}
        else:
            yield frames[0].to_dict()


class TrackFormat(FramesOfVideos, MetricFormat):
    """A format that scores ``pred_track_instances`` of whole videos.

    Attributes:
        converter: Makes lakes that have what the annotations need.
    """

    takes_several = False
    converter: ClassVar[str]

    def predicted(self, sample: Mapping[str, Any]) -> Any:
        """Return the predicted tracks in a frame, or raise a ``KeyError``."""
        if 'pred_track_instances' not in sample:
            raise KeyError(
                f'metrics_format={self.name!r} scores tracks, but a prediction has no '
                "'pred_track_instances'; use a model that tracks, or "
                "metrics_format='CocoVideo' for boxes of frames"
            )
        return sample['pred_track_instances']

    def annotated(
        self, sample: Mapping[str, Any], keys: Sequence[str]
    ) -> list[dict[str, Any]]:
        """Return the annotations of a frame, each of which must have some keys.

        Raises:
            KeyError: If there are no annotations, or one lacks a key.
        """
        if 'instances' not in sample:
            raise KeyError(
                f'metrics_format={self.name!r} compares with the annotations of the '
                "samples, but a prediction has no 'instances'; keep them in the "
                'meta_keys of PackTrackInputs'
            )
        instances: list[dict[str, Any]] = sample['instances']
        for instance in instances:
            for key in keys:
                if key not in instance:
                    raise KeyError(
                        f'metrics_format={self.name!r} needs {key!r} of each '
                        f'annotation, but one of {sample["img_path"]} has '
                        f'{", ".join(instance)}; make the lake by {self.converter}'
                    )
        return instances

    def videos(
        self,
        rows_of: Mapping[Lake, Sequence[int]],
        collected: Sequence[Frame[Content]],
    ) -> list[list[Frame[Content]]]:
        """Return the frames of each video, in the order of time.

        Raises:
            ValueError: If there are none, or frames of a video are missing.
        """
        if not collected:
            raise ValueError(
                f'metrics_format={self.name!r} has nothing to score: no frame was '
                'predicted'
            )
        found: dict[tuple[Lake, Any], list[Frame[Content]]] = {}
        rest = iter(collected)
        for lake, rows in rows_of.items():
            for frame in itertools.islice(rest, len(rows)):
                found.setdefault((lake, frame.video_id), []).append(frame)
        for (lake, video_id), frames in found.items():
            frames.sort(key=lambda frame: frame.number)
            if [each.number for each in frames] != list(range(frames[0].length)):
                raise ValueError(
                    f'metrics_format={self.name!r} scores whole videos, but of video '
                    f'{video_id!r} in {lake.name} the frames '
                    f'{shown([each.number for each in frames])} were predicted, not 0 to '
                    f'{frames[0].length - 1}; evaluate all frames, whose frame_id counts '
                    'from 0'
                )
        return list(found.values())


class MotFormat(TrackFormat):
    """HOTA, CLEAR and identity metrics of tracks, as ``MOTChallengeMetric``.

    Raises:
        ImportError: If the package ``trackeval`` is not installed.
    """

    name = 'MOT'
    prefix = 'motchallenge-metric'
    converter = 'tools.from_mot'
    check_package = staticmethod(tracks.check_trackeval)
    known_metrics = tracks.MOT_METRICS
    takes_several = True
    takes_all = True
    defaults: ClassVar[Mapping[str, Any]] = {
        'benchmark': 'MOT17',
        'format_only': False,
        'outfile_prefix': None,
        'use_postprocess': False,
        'postprocess_tracklet_cfg': None,
    }
    destination = ('outfile_prefix', 'folder of the text files')

    def check_options(self) -> None:
        """Build what changes tracks too."""
        super().check_options()
        steps = self.options['postprocess_tracklet_cfg'] or ()
        self.steps = [TASK_UTILS.build(dict(step)) for step in steps]

    def collect(
        self, sample: Mapping[str, Any], meta: Mapping[str, Any]
    ) -> Frame[tracks.Tracks]:
        """Keep the annotated and the predicted boxes of a frame."""
        time = int(sample['frame_id']) + 1
        truth = [
            [time, part['instance_id'], *_xywh(part['bbox']), *(part[k] for k in _MOT)]
            for part in self.annotated(sample, ('instance_id', *_MOT))
        ]
        found = self.predicted(sample)
        boxes = found['bboxes']
        if self.options['use_postprocess']:  # the model made them those of tracks
            rows = np.asarray(boxes.cpu() if torch.is_tensor(boxes) else boxes)
        else:
            sides = boxes[:, :2], boxes[:, 2:] - boxes[:, :2]
            keys = (found['instances_id'][:, None], *sides, found['scores'][:, None])
            columns = [each.cpu().numpy() for each in keys]
            rows = np.hstack([np.full((len(boxes), 1), time), *columns])
        return Frame.of(
            sample,
            tracks.Tracks(
                np.array(truth, np.float64).reshape(-1, 9),
                rows.astype(np.float64).reshape(-1, 7),
            ),
        )

    def evaluate(
        self,
        rows_of: Mapping[Lake, Sequence[int]],
        collected: Sequence[Frame[tracks.Tracks]],
        meta: Mapping[str, Any],
        spread: Spread = one_by_one,
    ) -> dict[str, float]:
        """Score the tracks of all videos together."""
        videos: dict[str, list[tracks.Tracks]] = {}
        for frames in self.videos(rows_of, collected):
            name = frames[0].video_name
            number = 1
            while name in videos:  # of another lake
                number += 1
                name = f'{frames[0].video_name}_{number}'
            videos[name] = [frame.content for frame in frames]
            annotated = any(len(frame.truth) for frame in videos[name])
            if not annotated and not self.options['format_only']:
                raise ValueError(
                    "metrics_format='MOT' compares tracks with annotations, but video "
                    f'{name!r} has none; leave it out, or write format_only=True, '
                    "outfile_prefix='out/test'"
                )
        return tracks.mot_numbers(
            videos,
            self.metrics,
            self.options['benchmark'],
            self.steps,
            format_only=self.options['format_only'],
            outfile_prefix=self.options['outfile_prefix'],
        )


class YouTubeVisFormat(TrackFormat):
    """AP of instance masks in videos, as ``YouTubeVISMetric``."""

    name = 'YouTubeVIS'
    prefix = 'youtube_vis'
    converter = 'tools.from_youtube_vis'
    known_metrics = tracks.VIS_METRICS
    known_items = tracks.VIS_ITEMS
    defaults: ClassVar[Mapping[str, Any]] = {
        'metric_items': None,
        'format_only': False,
        'outfile_prefix': None,
    }
    destination = ('outfile_prefix', 'path prefix of the JSON and the zip file')

    def collect(self, sample: Mapping[str, Any], meta: Mapping[str, Any]) -> Frame[Any]:
        """Keep the annotated and the predicted masks of a frame."""
        found = self.predicted(sample)
        if 'masks' not in found:
            raise KeyError(
                "metrics_format='YouTubeVIS' compares masks, but the model predicts "
                "none; write metrics_format='CocoVideo' for boxes of frames"
            )
        keys = ('bboxes', 'scores', 'labels', 'instances_id')
        predicted = {key: found[key].cpu().numpy() for key in keys}
        predicted['masks'] = run_lengths(found['masks'])
        needed = () if self.options['format_only'] else ('mask',)
        height, width = sample['ori_shape'][:2]
        truth = dict(
            width=width,
            height=height,
            img_id=sample['img_id'],
            frame_id=int(sample['frame_id']),
            video_id=sample['video_id'],
            video_length=int(sample['ori_video_length']),
            anns=self.annotated(sample, needed),
        )
        return Frame.of(sample, (predicted, truth))

    def evaluate(
        self,
        rows_of: Mapping[Lake, Sequence[int]],
        collected: Sequence[Frame[Any]],
        meta: Mapping[str, Any],
        spread: Spread = one_by_one,
    ) -> dict[str, float]:
        """Score the masks of all videos together."""
        videos = []
        for number, frames in enumerate(self.videos(rows_of, collected), start=1):
            parts = [frame.content for frame in frames]
            if len(rows_of) > 1:  # lakes may number their videos alike
                parts = [(p, {**truth, 'video_id': number}) for p, truth in parts]
            videos.append(parts)
        return tracks.vis_numbers(videos, meta['classes'], **self.options)


class CocoVideoFormat(FramesOfVideos, CocoFormat):
    """COCO's numbers of the frames of videos, as ``CocoVideoMetric``."""

    name = 'CocoVideo'


class ReidFormat(MetricFormat):
    """mAP and CMC of persons that are found again, as ``ReIDMetrics``."""

    name = 'ReID'
    prefix = 'reid-metric'
    known_metrics = ('mAP', 'CMC')
    defaults: ClassVar[Mapping[str, Any]] = {'metric_options': None}

    def collect(
        self, sample: Mapping[str, Any], meta: Mapping[str, Any]
    ) -> tuple[NDArray[Any], int]:
        """Keep the features of an image, and whom it shows."""
        for key in ('pred_feature', 'gt_label'):
            if key not in sample:
                raise KeyError(
                    f"metrics_format='ReID' compares features of persons, but a "
                    f'prediction has no {key!r}; use a DeepLakeReIDDataset, whose '
                    'pipeline ends with PackReIDInputs, and a model of re-identification'
                )
        return sample['pred_feature'].cpu().numpy(), int(sample['gt_label']['label'])

    def evaluate(
        self,
        rows_of: Mapping[Lake, Sequence[int]],
        collected: Sequence[tuple[NDArray[Any], int]],
        meta: Mapping[str, Any],
        spread: Spread = one_by_one,
    ) -> dict[str, float]:
        """Look for the person of each image in all others."""
        options = self.options['metric_options'] or _RANKS
        persons = np.array([person for _, person in collected], np.int64)
        if len(set(persons.tolist())) == len(persons):
            raise ValueError(
                "metrics_format='ReID' needs a person that two images show, but each of "
                f'the {len(persons)} images shows another one; evaluate more images'
            )
        most = max(options['rank_list'])
        if 'CMC' in self.metrics and most >= len(persons):
            raise ValueError(
                f'rank_list asks for rank {most}, but each of the {len(persons)} images '
                f'is compared with {len(persons) - 1} others; write metric_options=dict('
                f'rank_list=[1], max_rank={len(persons) - 1}), or smaller numbers'
            )
        metric = stock_class('ReIDMetrics')(
            metric=list(self.metrics), metric_options=dict(options)
        )
        # A copy, as what other ranks collected cannot be written to.
        features = torch.from_numpy(np.stack([feature for feature, _ in collected]))
        results = [
            {'pred_feature': feature, 'gt_label': person}
            for feature, person in zip(features, torch.from_numpy(persons)[:, None])
        ]
        numbers = metric.compute_metrics(results)
        return {key: float(value) for key, value in numbers.items()}


def _xywh(corners: Sequence[float]) -> tuple[float, float, float, float]:
    x1, y1, x2, y2 = corners
    return x1, y1, x2 - x1, y2 - y1
