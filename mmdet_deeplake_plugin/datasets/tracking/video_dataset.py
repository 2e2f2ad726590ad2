"""Define ``DeepLakeVideoDataset``, whose samples are clips of videos."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from mmdet.datasets import BaseVideoDataset
from mmdet.registry import DATASETS
from mmengine.dataset import force_full_init
from numpy.typing import NDArray

from ...utils.values import check_keys_of, refuse_unknown
from ..checks import ELSEWHERE, VIDEO_KEYS, check_indices_exist, check_keys
from ..class_comparison import check_classes_in_worker
from ..dataset import DeepLakeDataset
from .frames import Frames, MadeOfFrames
from .videos import FrameList, Videos

_FILTER_KEYS = ('filter_empty_gt', 'min_size')


@DATASETS.register_module()
class DeepLakeVideoDataset(MadeOfFrames, BaseVideoDataset):
    """Dataset of videos that reads frames and annotations from a Deep Lake dataset.

    Each row of the lake is a frame. After any stock pipeline, a sample equals that of
    ``MOTChallengeDataset``, ``YouTubeVISDataset`` or ``BaseVideoDataset`` for the same
    data, tensor for tensor, with stock samplers. A frame's annotations become Python
    objects when a transform chooses it, and the images of a clip are read together.

    Args:
        deeplake_path, dataset, deeplake_credentials, deeplake_commit_id,
        deeplake_view_id, deeplake_query, box_format, label_order, metainfo,
        serialize_data, pipeline, lazy_init, max_refetch, read_timeout, retry_timeout,
        open_timeout, backend_args: As in :class:`.DeepLakeDataset`.
        deeplake_tensors: As there. The roles ``video_id``, ``frame_id`` and
            ``gt_instance_ids`` must have a column.
        visibility_thr: Smallest visible fraction of a box in training, as in
            ``MOTChallengeDataset``. Defaults to -1: all boxes.
        filter_cfg: ``filter_empty_gt`` (default True) and ``min_size`` (default 32
            pixels), as in ``BaseVideoDataset``. Not applied in test mode.
        indices: Number of videos to keep, from the end if negative, or a list of indices.
        test_mode: Whether samples are all frames of a video, or the one that the sampler
            names, and nothing is filtered.

    Raises:
        ValueError, TypeError, FileNotFoundError, PermissionError,
        ConnectionError: If a key is wrong or does not fit the lake.

    Examples:
        >>> dataset = DeepLakeVideoDataset('data/mot17_half_train')
        >>> dataset.get_data_info(0)['video_length']
        301
    """

    _fully_initialized: bool

    def __init__(
        self,
        deeplake_path: str = '',
        *,
        dataset: Any = None,
        deeplake_credentials: dict | None = None,
        deeplake_commit_id: str = '',
        deeplake_view_id: str = '',
        deeplake_query: str = '',
        deeplake_tensors: dict | None = None,
        box_format: str | None = None,
        label_order: str = 'classes',
        metainfo: Any = None,
        visibility_thr: float = -1,
        filter_cfg: dict | None = None,
        indices: int | Sequence[int] | None = None,
        serialize_data: bool = True,
        pipeline: Sequence[Any] = (),
        test_mode: bool = False,
        lazy_init: bool = False,
        max_refetch: int = 1000,
        read_timeout: float = 60.0,
        retry_timeout: float = 300.0,
        open_timeout: float = 60.0,
        backend_args: dict | None = None,
        **unknown: Any,
    ) -> None:
        given = locals()
        refuse_unknown(unknown, DeepLakeVideoDataset.__init__, ELSEWHERE)
        if filter_cfg is not None:
            example = 'filter_cfg=dict(min_size=32)'
            check_keys_of('filter_cfg', filter_cfg, _FILTER_KEYS, example)
        check_keys(given)
        hides = visibility_thr > -1 and not test_mode
        self.frames = Frames(
            deeplake_path,
            ('video_id', 'frame_id', 'gt_instance_ids'),
            annotation_style='video',
            filter_cfg=dict(visibility_thr=visibility_thr) if hides else None,
            serialize_data=serialize_data,
            pipeline=pipeline,
            test_mode=test_mode,
            max_refetch=max_refetch,
            **{key: given[key] for key in VIDEO_KEYS},
        )
        self._videos: Videos
        self._positions: NDArray[np.int64]
        super().__init__(
            metainfo=self.frames._metainfo,
            filter_cfg=filter_cfg,
            indices=indices,
            serialize_data=False,
            pipeline=self.frames.pipeline.transforms,
            test_mode=test_mode,
            lazy_init=True,
            max_refetch=max_refetch,
        )
        if not lazy_init:
            self.full_init()

    def full_init(self) -> None:
        """Open the lake, read annotations, group and filter frames, once."""
        if self._fully_initialized:
            return
        self.frames.full_init()
        self._metainfo = self.frames._metainfo
        self._videos = self.frames.grouped(self.filter_cfg)
        self._positions = np.arange(len(self._videos.ids))
        if not self._videos.lengths.any():
            raise ValueError(
                f'filter_cfg={self.filter_cfg!r} must keep frames, but leaves out all '
                f'{len(self.frames)} of {self.frames.lake.name}, which have no instances '
                'of the chosen classes (and of visibility_thr) or are too small; write '
                'filter_cfg=dict(filter_empty_gt=False, min_size=0), or change '
                'metainfo.classes or visibility_thr'
            )
        self._fully_initialized = True
        check_indices_exist(self._indices, len(self))
        if self._indices is not None:
            self.get_subset_(self._indices)

    @force_full_init
    def __len__(self) -> int:
        return len(self._positions)

    @force_full_init
    def get_data_info(self, idx: int) -> dict:
        """Return the input of the pipeline for a video, as ``BaseVideoDataset`` does.

        Each of ``images`` is a dict as of :meth:`.DeepLakeDataset.get_data_info`, with
        ``frame_id`` and, in each of its instances, ``instance_id``.
        """
        videos, video = self._videos, int(self._positions[idx])
        return {
            'video_id': int(videos.ids[video]),
            'images': FrameList(videos.frames_of(video), self.frames.get_data_info),
            'video_length': int(videos.lengths[video]),
            'sample_idx': idx if idx >= 0 else len(self) + idx,
        }

    def prepare_data(self, idx: int | tuple[int, int]) -> Any:
        """Run the pipeline on a video, or on the clip around one of its frames."""
        check_classes_in_worker()
        return super().prepare_data(idx)

    @force_full_init
    def get_cat_ids(self, index: int | tuple[int, int]) -> list[int]:
        """Return the label of each instance of a video, or of a frame of it."""
        video, frame = index if isinstance(index, tuple) else (index, None)
        frames = self._videos.frames_of(int(self._positions[video]))
        chosen = frames if frame is None else frames[[frame]]
        return [label for each in chosen for label in self.frames.get_cat_ids(int(each))]

    @property
    def num_all_imgs(self) -> int:
        """Number of frames of all videos."""
        return sum(map(self.get_len_per_video, range(len(self))))

    @force_full_init
    def get_len_per_video(self, idx: int) -> int:
        """Return the number of frames of a video."""
        return len(self._videos.frames_of(int(self._positions[idx])))

    # Subsets are chosen alike, here of videos.
    get_subset_ = DeepLakeDataset.get_subset_
    get_subset = DeepLakeDataset.get_subset
