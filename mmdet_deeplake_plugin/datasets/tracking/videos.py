"""Group frames into videos, and filter them as ``BaseVideoDataset`` does."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...utils.ragged import offsets_of
from ...utils.shared_by_copies import SharedByCopies


@dataclass(frozen=True)
class Videos(SharedByCopies):
    """``V`` videos with ``F`` frames in all.

    Args:
        ids: Id of each video, shape ``(V,)``.
        frames: Index of each frame among all frames, video by video, shape ``(F,)``.
        offsets: Index into ``frames`` of each video's first frame, shape ``(V + 1,)``.
        lengths: ``video_length`` of each video, shape ``(V,)``; see :func:`group_frames`.
    """

    ids: NDArray[np.int64]
    frames: NDArray[np.int64]
    offsets: NDArray[np.int64]
    lengths: NDArray[np.int64]

    def frames_of(self, video: int) -> NDArray[np.int64]:
        """Return the frames of a video in their order."""
        return self.frames[self.offsets[video] : self.offsets[video + 1]]


def group_frames(
    video_ids: NDArray[np.int64],
    frame_ids: NDArray[np.int64],
    is_labelled: NDArray[np.bool_],
    sides: NDArray[np.int64],
    filter_cfg: Mapping[str, Any] | None,
    test_mode: bool,
) -> Videos:
    """Group frames into videos, in the order in which these begin.

    In training, frames without instances and small ones are left out. As in
    ``BaseVideoDataset``, a video without any instances keeps its frames, but has the
    length 0.

    Args:
        video_ids: Video of each frame, shape ``(F,)``.
        frame_ids: Place of each frame in its video, shape ``(F,)``.
        is_labelled: Whether a frame has instances, shape ``(F,)``.
        sides: Shorter side of each frame in pixels, shape ``(F,)``.
        filter_cfg: ``filter_empty_gt`` (default True) and ``min_size`` (default 32).
        test_mode: Whether to keep everything.

    Raises:
        ValueError: If two frames of a video have the same place.
    """
    ids, first, video = np.unique(video_ids, return_index=True, return_inverse=True)
    began = np.argsort(first)
    ids, video = ids[began], np.argsort(began)[video.ravel()]
    order = np.lexsort((frame_ids, video))
    twice = (np.diff(video[order]) == 0) & (np.diff(frame_ids[order]) == 0)
    for index in order[1:][twice][:1].tolist():
        raise ValueError(
            f'frame_id must be unique in a video, but {frame_ids[index]} occurs twice in '
            f'the video {video_ids[index]}; correct the rows, or leave one of them out '
            'with deeplake_query'
        )
    kept = np.ones(len(order), dtype=bool)
    stays = kept.copy()
    if not test_mode:
        options = filter_cfg or {}
        passes = is_labelled | (not options.get('filter_empty_gt', True))
        kept = passes & (sides >= options.get('min_size', 32))
        some_pass = np.bincount(video, passes, len(ids)) > 0
        stays = kept | ~some_pass[video]
    frames = order[stays[order]]
    counts = np.bincount(video[frames], minlength=len(ids))
    lengths = np.bincount(video[kept], minlength=len(ids))
    return Videos(ids, frames, offsets_of(counts), lengths)


class FrameList(Sequence[dict[str, Any]], SharedByCopies):
    """The frames of a video, each made of its index when it is asked for."""

    def __init__(
        self, indices: NDArray[np.int64], make: Callable[[int], dict[str, Any]]
    ) -> None:
        self._indices, self._make = indices, make

    def __len__(self) -> int:
        return len(self._indices)

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            return [self._make(each) for each in self._indices[index].tolist()]
        return self._make(int(self._indices[index]))
