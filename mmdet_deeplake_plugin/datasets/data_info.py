"""Make the input of the stock pipeline for a sample."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..lake import Lake
from ..utils.ragged import offsets_of
from ..utils.shared_by_copies import SharedByCopies
from ..utils.shared_memory import SharedWhenSpawned
from .lazy import LazyDict
from .masks import SampleMasks
from .samples import Samples
from .texts import SampleTexts


class SampleExtras(SharedWhenSpawned, SharedByCopies):
    """Further values of the instances of samples, such as the boxes of heads.

    Args:
        samples: The samples.
        values: Key of an instance -> values of all stored instances, shape ``(N, …)``.
        image_labels: Offsets of each image, verified labels (-1 if not of the classes)
            and confidences, if there are any.
    """

    def __init__(
        self,
        samples: Samples,
        values: dict[str, NDArray[Any]],
        image_labels: tuple[NDArray[Any], ...] | None,
    ) -> None:
        self._samples, self._values = samples, values
        self._image_labels = image_labels
        self._offsets = offsets_of(samples.num_stored)

    def add_to(self, data_info: dict[str, Any], position: int) -> None:
        """Add its values to each instance of a sample.

        Args:
            data_info: The sample, changed in place; its ``instances`` must be the result
                of :meth:`Samples.instances`.
            position: Index into the samples.
        """
        samples = self._samples
        chosen = self._offsets[position] + samples.stored[samples.part(position)]
        instances = data_info['instances']
        for key, values in self._values.items():
            for instance, value in zip(instances, values[chosen].tolist()):
                instance[key] = value
        if 'hbox' in self._values:  # CrowdHumanDataset has the full box twice
            for instance in instances:
                instance['fbox'] = instance['bbox']
        if self._image_labels is not None:
            offsets, labels, confidences = self._image_labels
            part = slice(*offsets[position : position + 2])
            kept = labels[part] >= 0
            data_info['image_level_labels'] = labels[part][kept]
            data_info['confidences'] = confidences[part][kept]


def sample_extras(
    lake: Lake, samples: Samples, classes: Sequence[str]
) -> SampleExtras | None:
    """Return what the instances have beside box and label, ``None`` if nothing.

    Args:
        lake: The lake of the samples.
        samples: The samples.
        classes: Classes of the dataset.
    """
    sizes = samples.widths, samples.heights
    values = lake.extras(samples.rows, samples.num_stored, sizes)
    image_labels = lake.image_labels(samples.rows)
    if image_labels is not None:
        place = {name: label for label, name in enumerate(classes)}
        new = np.array([place.get(name, -1) for name in lake.columns.class_names])
        image_labels = image_labels[0], new[image_labels[1]], image_labels[2]
    has_any = values or image_labels is not None
    return SampleExtras(samples, values, image_labels) if has_any else None


class DataInfos:
    """Factory of the dicts that ``get_data_info`` returns.

    Args:
        lake: The lake.
        samples: Annotations of all rows.
        masks: Masks of the samples, if any.
        texts: Texts of the samples, if any.
        extras: What instances have beside box and label, if any.
        label_map: Stored label -> label, for maps whose labels change.
    """

    def __init__(
        self,
        lake: Lake,
        samples: Samples,
        masks: SampleMasks | None,
        texts: SampleTexts | None,
        extras: SampleExtras | None,
        label_map: dict[int, int] | None,
    ) -> None:
        self._lake, self._samples = lake, samples
        self.masks, self._texts, self._extras = masks, texts, extras
        self._label_map = label_map

    @property
    def changes_labels(self) -> bool:
        """Whether texts give instances other labels than those that are stored."""
        return bool({'phrases', 'grounding'} & dict(self._lake.columns.roles).keys())

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
        if lake.columns.style == 'odvg':  # ODVGDataset has none
            del data_info['img_id']
        if samples.segments is not None:
            data_info['segments_info'] = samples.segments.info(position)
        if lake.columns.is_semantic:
            data_info['label_map'] = self._label_map
        data_info['instances'] = samples.instances(position)
        if self._extras is not None:
            self._extras.add_to(data_info, position)
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
