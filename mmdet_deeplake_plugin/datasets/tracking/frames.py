"""Define the dataset of all frames that ``DeepLakeVideoDataset`` is made of."""

from __future__ import annotations

from typing import Any

import numpy as np
from mmengine.dataset import Compose

from ..dataset import DeepLakeDataset
from ..lazy import LazyList
from .videos import Places


class Frames(DeepLakeDataset):
    """A ``DeepLakeDataset`` of frames, which are never filtered one by one."""

    def full_init(self) -> None:
        """Open the lake and read the annotations.

        Raises:
            ValueError: If the lake has no column for the frames or the objects.
        """
        super().full_init()
        roles = dict(self.lake.columns.roles)
        wanted = ['video_id', 'frame_id']
        wanted += ['gt_instance_ids'] if 'gt_bboxes' in roles else []
        for role in wanted:
            if role not in roles:
                raise ValueError(
                    f'DeepLakeVideoDataset needs a column for {role}, but '
                    f'{self.lake.name} has none; write deeplake_tensors='
                    f"{{{role!r}: 'COLUMN'}}, or make the lake with "
                    'python -m mmdet_deeplake_plugin.tools.from_mot'
                )

    def places(self) -> Places:
        """Return to which videos the frames belong, and what filters ask."""
        samples, extras = self._samples, self._infos.extras
        numbers = {} if extras is None else extras.per_row
        is_labelled = np.diff(samples.offsets) > 0
        sides = np.minimum(samples.widths, samples.heights)
        return Places(numbers['video_id'], numbers['frame_id'], is_labelled, sides)

    def prepare_clip(self, clip: dict[str, Any]) -> None:
        """Read the images of a clip together, and its masks if they are needed.

        Args:
            clip: Key -> values of its frames, changed in place.
        """
        self.lake.read_through(self.reader)
        needs = self._needs
        if needs.images:
            self.reader.prepare(self.rows_of(np.array(clip['sample_idx'])).tolist())
        clip['instances'] = [
            part.plain(filled=needs.masks) if isinstance(part, LazyList) else part
            for part in clip['instances']
        ]
        clip.pop('proposals', None)


class ClipPipeline(Compose):
    """A pipeline that reads the images of a clip together.

    Args:
        pipeline: The pipeline; frames are read when a transform has chosen them.
        frames: The dataset of all frames.
    """

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
