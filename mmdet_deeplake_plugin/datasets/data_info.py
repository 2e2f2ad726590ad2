"""Make the input of the stock pipeline for a sample."""

from __future__ import annotations

from functools import partial
from typing import Any

from ..lake import Lake
from .lazy import LazyDict
from .masks import SampleMasks
from .samples import Samples
from .texts import SampleTexts


class DataInfos:
    """Factory of the dicts that ``get_data_info`` returns.

    Args:
        lake: The lake.
        samples: Annotations of all rows.
        masks: Masks of the samples, if any.
        texts: Texts of the samples, if any.
        label_map: Stored label -> label, for maps whose labels change.
    """

    def __init__(
        self,
        lake: Lake,
        samples: Samples,
        masks: SampleMasks | None,
        texts: SampleTexts | None,
        label_map: dict[int, int] | None,
    ) -> None:
        self._lake, self._samples = lake, samples
        self.masks, self._texts = masks, texts
        self._label_map = label_map

    def of(self, position: int, prompt: dict[str, Any]) -> dict[str, Any]:
        """Make the dict of a sample.

        Args:
            position: Index into the samples.
            prompt: Classes as text, see :func:`~.texts.class_prompt`.
        """
        lake, samples = self._lake, self._samples
        img_id = samples.img_ids[position]
        row, name = int(samples.rows[position]), samples.names[position]
        width, height = int(samples.widths[position]), int(samples.heights[position])
        data_info: dict[str, Any] = {
            'img_path': lake.image_path(row, name),
            'img_id': img_id if isinstance(img_id, str) else int(img_id),
            'seg_map_path': lake.seg_map_path(row, name, width, height),
            'height': height,
            'width': width,
            **prompt,
        }
        if samples.segments is not None:
            data_info['segments_info'] = samples.segments.info(position)
        if lake.columns.is_semantic:
            data_info['label_map'] = self._label_map
        data_info['instances'] = samples.instances(position)
        if self._texts is not None:
            self._texts.add_to(data_info, position)
        if self.masks is not None:
            data_info['instances'] = self.masks.with_masks(
                data_info['instances'], position
            )
        if lake.proposals is not None:
            read = partial(lake.proposals.of_row, row, (width, height))
            data_info['proposals'] = LazyDict(read)
        return data_info
