"""Define the dataset of all frames or persons, and the pipeline that reads some."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from mmengine.dataset import Compose
from numpy.typing import NDArray
from torch.utils.data import get_worker_info

from ...lake import find_lake
from ..dataset import DeepLakeDataset
from ..lazy import LazyList
from .videos import Videos, group_frames

# Frames that a test reads at once from object storage.
AHEAD = 16


class Frames(DeepLakeDataset):
    """A ``DeepLakeDataset`` for samples of several rows; ``roles`` must have columns."""

    def __init__(self, deeplake_path: str, roles: Sequence[str], **keys: Any) -> None:
        super().__init__(deeplake_path, lazy_init=True, **keys)
        self._roles = roles

    def full_init(self) -> None:
        """Open the lake, and refuse it if a role has no column."""
        if self._fully_initialized:
            return
        super().full_init()
        columns = self.lake.columns
        for role in self._roles:
            has_boxes = columns.of('gt_bboxes') is not None
            if columns.of(role) is None and (has_boxes or role != 'gt_instance_ids'):
                raise ValueError(
                    f'{self.lake.name} must have a column for {role}, but no column has '
                    f"this role; write deeplake_tensors={{{role!r}: 'COLUMN'}}, or make "
                    'the lake with tools.from_mot, from_youtube_vis or from_reid'
                )

    def row_numbers(self, role: str) -> NDArray[np.int64]:
        """Return the integer of each sample in the column of a role, shape ``(F,)``."""
        extras = self._infos.extras
        assert extras is not None
        return extras.per_row[role][self._positions]

    def grouped(self, filter_cfg: dict[str, Any] | None) -> Videos:
        """Return the videos of the frames, filtered by :func:`group_frames`."""
        samples = self._samples
        is_labelled = np.diff(samples.offsets) > 0
        sides = np.minimum(samples.widths, samples.heights)
        ids = self.row_numbers('video_id'), self.row_numbers('frame_id')
        return group_frames(*ids, is_labelled, sides, filter_cfg, self.test_mode)

    def prepare_images(self, paths: Sequence[str]) -> None:
        """Read the images of a batch together."""
        self.lake.read_through(self.reader)
        if self._needs.images:
            self.reader.prepare([find_lake(path)[1] for path in paths])

    def prepare_clip(self, clip: dict[str, Any]) -> None:
        """Read the images of a clip together, and its masks if they are needed.

        Args:
            clip: Key -> values of its frames, changed in place.
        """
        self.lake.read_through(self.reader)
        needs = self._needs
        rows = [find_lake(path)[1] for path in clip['img_path']]
        if needs.images and not self.reader.holds(rows):
            is_test = self.test_mode and len(rows) == 1
            self.reader.prepare(self._ahead(clip) if is_test else rows)
        if 'instances' in clip:
            clip['instances'] = [
                part.plain(filled=needs.masks) if isinstance(part, LazyList) else part
                for part in clip['instances']
            ]
        clip.pop('proposals', None)  # PackDetInputs would treat them as loaded

    def _ahead(self, clip: dict[str, Any]) -> list[int]:
        """Return the rows of a frame and of those that ``TrackImgSampler`` deals next."""
        worker = get_worker_info()
        step = worker.num_workers if worker else 1
        (first,), count = clip['sample_idx'], AHEAD if self.reader.in_lists else 1
        chosen = np.arange(first, min(first + count * step, len(self)), step)
        videos = self.row_numbers('video_id')
        return self.rows_of(chosen[videos[chosen] == videos[first]]).tolist()


class ClipPipeline(Compose):
    """A pipeline that reads images of a clip together, once a transform chose them."""

    def __init__(self, pipeline: Compose, frames: Frames) -> None:
        super().__init__(pipeline.transforms)
        self._frames = frames

    def __call__(self, data: dict) -> dict | None:
        """Run the transforms on a video or clip."""
        is_ready = False
        for transform in self.transforms:
            if not is_ready and isinstance(data.get('img_path'), list):
                self._frames.prepare_clip(data)
                is_ready = True
            result = transform(data)
            if result is None:
                return None
            data = result
        return data


class MadeOfFrames:
    """Base of datasets whose samples are made of several ``frames``."""

    frames: Frames

    @property
    def pipeline(self) -> Compose:
        """The pipeline, which hooks may replace during training."""
        return self.frames.pipeline

    @pipeline.setter
    def pipeline(self, pipeline: Compose) -> None:
        self.frames.pipeline = ClipPipeline(pipeline, self.frames)
