"""Read what samples are made of, and make the input of the stock pipeline for each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..lake import AnnotationTable, Lake
from ..utils.packed_strings import PackedStrings
from ..utils.ragged import offsets_of
from ..utils.shared_by_copies import SharedByCopies
from ..utils.shared_memory import SharedArray, SharedByProcesses
from .broken_images import refuse_unsized
from .classes import Classes
from .lazy import LazyDict
from .masks import SampleMasks
from .samples import Samples, filter_samples, make_samples
from .texts import SampleTexts, packed_texts


@dataclass(frozen=True)
class SampleExtras(SharedByProcesses, SharedByCopies):
    """Further values of the instances of samples, such as the boxes of heads.

    Args:
        offsets: Index of each row's first stored instance, shape ``(R + 1,)``.
        values: Key of an instance -> values of all stored instances, shape ``(N, …)``.
        image_labels: Offsets of each image, verified labels (-1 if not of the classes)
            and confidences, if there are any.
        per_row: Key of a sample -> number of each row, shape ``(R,)``.
        category_ids: Category id of each class, if instances have it, as those of MOT.
    """

    offsets: NDArray[np.int64]
    values: dict[str, NDArray[Any]]
    image_labels: tuple[NDArray[Any], ...] | None
    per_row: dict[str, NDArray[np.int64]]
    category_ids: NDArray[np.int64] | None

    def add_to(self, data_info: dict[str, Any], position: int, samples: Samples) -> None:
        """Add its values to each of the instances of a sample, in place."""
        chosen = self.offsets[position] + samples.stored[samples.part(position)]
        instances = data_info['instances']
        for key, values in self.values.items():
            for instance, value in zip(instances, values[chosen].tolist()):
                instance[key] = value
        for key, numbers in self.per_row.items():
            data_info[key] = int(numbers[position])
        if self.category_ids is not None:
            for instance in instances:
                instance['category_id'] = int(self.category_ids[instance['bbox_label']])
        if 'hbox' in self.values:  # CrowdHumanDataset has the full box twice
            for instance in instances:
                instance['fbox'] = instance['bbox']
        if self.image_labels is not None:
            offsets, labels, confidences = self.image_labels
            part = slice(*offsets[position : position + 2])
            kept = labels[part] >= 0
            data_info['image_level_labels'] = labels[part][kept]
            data_info['confidences'] = confidences[part][kept]


def sample_extras(
    lake: Lake, samples: Samples, classes: Sequence[str]
) -> SampleExtras | None:
    """Return what the instances have beside box and label, ``None`` if nothing."""
    sizes = samples.widths, samples.heights
    values = lake.extras(samples.rows, samples.num_stored, sizes)
    image_labels = lake.image_labels(samples.rows)
    if image_labels is not None:
        place = {name: label for label, name in enumerate(classes)}
        new = np.array([place.get(name, -1) for name in lake.columns.class_names])
        image_labels = image_labels[0], new[image_labels[1]], image_labels[2]
    per_row = lake.row_numbers(samples.rows, 'video_id', 'frame_id', 'person_id')
    category_ids = None
    if 'mot_conf' in values:
        id_of = dict(zip(lake.columns.class_names, lake.columns.category_ids))
        category_ids = np.array([id_of[name] for name in classes], np.int64)
    if not values and not per_row and image_labels is None:
        return None
    offsets = offsets_of(samples.num_stored)
    return SampleExtras(offsets, values, image_labels, per_row, category_ids)


@dataclass(frozen=True)
class SampleData:
    """All that is read of a lake for samples: arrays, which the ranks of a node share.

    Args:
        samples: Annotations of all rows.
        positions: Samples that ``filter_cfg`` keeps.
        masks: Encoded masks of all rows if they are read in advance, else ``None``.
        texts: Role -> text of each row.
        extras: What instances have beside box and label, if any.
    """

    samples: Samples
    positions: SharedArray
    masks: PackedStrings | None
    texts: dict[str, PackedStrings]
    extras: SampleExtras | None


def read_sample_data(
    lake: Lake,
    rows: NDArray[np.int64] | None,
    classes: Classes,
    filter_cfg: dict[str, Any] | None,
    with_masks: bool,
    with_unsized: bool,
) -> SampleData:
    """Read all that the samples of a dataset are made of, except for images and maps.

    Args:
        lake: The lake.
        rows: Row numbers, shape ``(R,)``; ``None`` for all.
        classes: Classes of the dataset.
        filter_cfg: The key ``filter_cfg``; ``None`` keeps all.
        with_masks: Whether to read all masks now if they are stored compactly.
        with_unsized: Whether images whose size cannot be read are accepted.

    Raises:
        BrokenImageError: If there is such an image, and they are not.
        ValueError, LakeReadError: If a row is wrong, or cannot be read, or all are
            filtered.
    """
    table, bounds = lake.annotations(rows), filter_cfg or {}
    if bounds.get('visibility_thr') is not None:
        table = _without_hidden(lake, table, bounds['visibility_thr'])
    samples = make_samples(lake, table, classes, bounds.get('bbox_min_size'))
    if not with_unsized:
        refuse_unsized(lake, samples)
    return SampleData(
        samples,
        SharedArray(filter_samples(lake, samples, filter_cfg)),
        lake.masks.packed(samples.rows) if lake.masks and with_masks else None,
        packed_texts(lake, samples.rows),
        sample_extras(lake, samples, classes.metainfo['classes']),
    )


def _without_hidden(lake: Lake, table: AnnotationTable, least: float) -> AnnotationTable:
    counts, sizes = np.diff(table.offsets), (table.widths, table.heights)
    visibility = lake.extras(table.rows, counts, sizes).get('visibility')
    if visibility is None:
        raise ValueError(
            f'visibility_thr={least!r} needs the visible fraction of each box, but '
            f"{lake.name} has no column for it; write deeplake_tensors={{'visibility': "
            "'COLUMN'}, or leave visibility_thr out"
        )
    return replace(table, excluded=table.excluded | (visibility < least))


class DataInfos:
    """Factory of the dicts that ``get_data_info`` returns."""

    def __init__(
        self, lake: Lake, data: SampleData, label_map: dict[int, int] | None
    ) -> None:
        self._lake, self._samples = lake, data.samples
        self.extras, self._label_map = data.extras, label_map
        self.masks = SampleMasks(lake, data.samples, data.masks) if lake.masks else None
        self._texts = SampleTexts(lake, data.samples, data.texts) if data.texts else None

    @property
    def changes_labels(self) -> bool:
        """Whether texts give instances other labels than those that are stored."""
        return bool({'phrases', 'grounding'} & dict(self._lake.columns.roles).keys())

    def of(self, position: int, prompt: dict[str, Any]) -> dict[str, Any]:
        """Make the dict of a sample, with the classes of :func:`~.texts.class_prompt`."""
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
        if self.extras is not None:
            self.extras.add_to(data_info, position, samples)
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
