"""Define ``DeepLakeDataset``, which shows a lake to MMDetection."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np
from mmdet.datasets import BaseDetDataset
from mmdet.registry import DATASETS
from mmengine.dataset import force_full_init
from mmengine.logging import print_log
from numpy.typing import NDArray

from ..lake import ImageReader, Lake
from ..utils.ragged import indices_of_ranges, offsets_of
from ..utils.values import refuse_unknown
from .broken_images import SkippedSamples, prepare_sample
from .checks import (
    ELSEWHERE,
    UNFILTERED,
    check_indices_exist,
    check_keys,
    warn_of_no_effect,
)
from .class_comparison import check_classes_in_worker, warn_of_other_classes
from .classes import checked_metainfo, choose_classes
from .data_info import DataInfos, read_sample_data
from .lazy import LazyList
from .opening import RequestedLake
from .pipeline_needs import Needs, refuse_other_backends
from .samples import Samples
from .texts import class_prompt
from .timing import timed_pipeline


@DATASETS.register_module()
class DeepLakeDataset(BaseDetDataset):
    """Detection dataset that reads images and annotations from a Deep Lake dataset.

    After any stock pipeline, a sample equals that of ``CocoDataset`` (or ``XMLDataset``,
    see ``annotation_style``) for the same data, tensor for tensor. Branch, version and
    rows are fixed at construction, and are the same in every rank and worker while
    others write to the lake.

    Args:
        deeplake_path: Local folder, ``s3://…``, ``al://org/name``, ``hub://…`` or
            ``mem://…``, optionally followed by ``@branch`` or ``@tag``.
        dataset: An open Deep Lake dataset or view instead of a path, in Python only.
        deeplake_credentials: ``dict(token=…, creds=…)``. Write references,
            ``'env:NAME'`` or ``'file:PATH'``, instead of secrets.
        deeplake_commit_id: Version id on the branch. Empty: the newest version.
        deeplake_view_id: Name of a saved view (a tag).
        deeplake_query: TQL that selects rows of the version or view. With a FROM clause
            it names the lake itself.
        deeplake_tensors: Role -> column, for the roles ``img``, ``gt_bboxes``,
            ``gt_labels``, ``gt_masks``, ``gt_seg_map``, ``gt_ignore_flags``, ``area``,
            ``img_id``, ``file_name``, ``caption``, ``text``, …, see docs/config.md.
            Others are inferred by type or usual name; ``None`` disables a role.
        box_format: ``xyxy``, ``xywh`` or ``cxcywh`` in pixels; with the suffix ``n``, in
            fractions of the image. Defaults to what the lake declares.
        annotation_style: ``'coco'`` leaves out degenerate boxes, as ``CocoDataset``
            does; ``'voc'`` keeps all boxes, as ``XMLDataset`` does; ``'panoptic'`` reads
            things and stuff, as ``CocoPanopticDataset`` does; ``'crowdhuman'``,
            ``'openimages'``, ``'odvg'`` and ``'grounding'`` (other datasets of texts) are
            those of the datasets of these names. Defaults to the metadata
            ``annotation_style`` of the box column, else ``'panoptic'`` if there are
            columns for ``gt_seg_map`` and ``segment_ids``, else ``'coco'``.
        label_order: ``'classes'``: label ``i`` is ``metainfo['classes'][i]``.
            ``'lake'``: labels follow the order of the lake's classes, as those of
            ``CocoDataset`` follow its file, and ``metainfo['classes']`` is sorted
            accordingly.
        metainfo: ``dict(classes=…)`` selects and re-orders classes by name; defaults to
            all classes of the lake. ``palette`` and other keys are kept. In a lake with
            maps only, pixels of other classes become label 0, as in
            ``BaseSegDataset(use_label_map=True)``.
        filter_cfg: ``filter_empty_gt``, ``filter_crowds``, ``min_size`` and, for
            ``'voc'``, ``bbox_min_size``. Not applied in test mode.
        indices: Number of samples to keep, from the end if negative, or a list of
            indices.
        serialize_data: No effect: workers share the flat arrays of annotations as they
            are.
        pipeline: Transforms of mmdet, unchanged.
        test_mode: Whether to keep every row and raise an error if a sample is empty.
        lazy_init: Whether to open the lake in ``full_init`` only, e.g. at the first
            sample. Until then, ``metainfo`` is that of the config.
        max_refetch: How many times to replace a sample that the pipeline drops.
        read_timeout: Limit of one attempt to read from object storage, in seconds.
        retry_timeout: Limit of all attempts of a read together, in seconds, after which
            it is an error. Each attempt opens the lake anew.
        open_timeout: Limit of all attempts to open the lake when the run begins, in
            seconds.
        on_broken_image: What to do if an image is missing, cut short or cannot be
            decoded. ``'raise'``: raise an error with lake, row and cause. ``'skip'``: in
            training, take the next sample by index that can be decoded; in test mode,
            take a black image, for which ``DeepLakeMetric`` counts no detections. Both
            are logged.
        return_classes: Whether to add the classes to samples as ``text``: ``True`` as a
            tuple, as in ``CocoDataset``; ``'label_map'`` as a dict from label to name, as
            in ``ODVGDataset``. Texts of the lake take precedence.
        caption_prompt: Prompts for ``return_classes=True``, by class name.
        backend_args: No effect; accepted because stock configs pass it.

    Raises:
        ValueError, TypeError, FileNotFoundError, PermissionError,
        ConnectionError: If a key is wrong or does not fit the lake. The message says
            which key, what was found and what to write.

    Examples:
        >>> dataset = DeepLakeDataset(deeplake_path='data/bccd_train')
        >>> dataset.metainfo['classes']
        ('RBC', 'WBC', 'Platelets')
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
        annotation_style: str | None = None,
        label_order: str = 'classes',
        metainfo: Any = None,
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
        on_broken_image: str = 'raise',
        return_classes: bool | str = False,
        caption_prompt: dict | None = None,
        backend_args: dict | None = None,
        **unknown: Any,
    ) -> None:
        keys = locals()
        refuse_unknown(unknown, DeepLakeDataset.__init__, ELSEWHERE)
        check_keys(keys)
        super().__init__(
            metainfo=checked_metainfo(metainfo),
            filter_cfg=filter_cfg,
            indices=indices,
            serialize_data=False,
            pipeline=list(pipeline),
            test_mode=test_mode,
            lazy_init=True,
            max_refetch=max_refetch,
        )
        self.on_broken_image = on_broken_image
        self._label_order = label_order
        self._request = RequestedLake(keys)
        self.lake: Lake
        self.reader: ImageReader
        self.skipped: SkippedSamples
        self._samples: Samples
        self._infos: DataInfos
        self._positions: NDArray[np.int64]
        self._known_needs: tuple[Any, Needs] | None = None
        refuse_other_backends(self.pipeline)
        # MMDetection 3.0 has no such arguments.
        self.return_classes = return_classes
        self.caption_prompt = caption_prompt
        if not lazy_init:
            self.full_init()

    def full_init(self) -> None:
        """Open the lake, read annotations, filter rows and apply ``indices``, once."""
        if self._fully_initialized:
            return
        lake, rows = self._request.open()
        lake, classes = choose_classes(lake, self._metainfo, self._label_order)
        self.lake, columns = lake, lake.columns
        self._metainfo.update(classes.metainfo)
        names = classes.metainfo['classes']
        warn_of_no_effect(self.caption_prompt, names, self.filter_cfg, columns.style)
        self.reader = ImageReader(lake.images)
        keeps_all = self.test_mode or columns.style in UNFILTERED
        filter_cfg = None if keeps_all else self.filter_cfg
        skips = self.on_broken_image == 'skip'
        what = rows, classes, filter_cfg, self._needs.masks, skips
        data = self._request.read(partial(read_sample_data, lake, *what), lake.key, *what)
        self._samples = samples = data.samples
        self._positions = data.positions.values
        if skips:
            self.skipped = SkippedSamples(len(samples))
        self._infos = DataInfos(lake, data, classes.label_map)
        check_indices_exist(self._indices, len(self._positions))
        lake.verify_chunk_files()
        self._fully_initialized = True
        if self._indices is not None:
            self.get_subset_(self._indices)
        warn_of_other_classes(self)
        print_log(
            f'DeepLakeDataset: {len(self)} of {len(samples)} rows of {lake.name}, '
            f'{len(samples.boxes)} boxes, {len(names)} classes',
            logger='current',
            level=logging.INFO,
        )

    @force_full_init
    def __len__(self) -> int:
        return len(self._positions)

    @force_full_init
    def get_data_info(self, idx: int) -> dict:
        """Return the input of the pipeline for a sample, as ``CocoDataset`` does.

        Args:
            idx: Index of the sample; negative indices count from the end.

        Returns:
            ``img_path`` (a ``deeplake://`` path), ``img_id``, ``height``, ``width``
            (pixels), ``instances`` (boxes as xyxy in pixels, and masks, which are read at
            first use), ``seg_map_path`` (a ``deeplake://`` path, ``None`` without maps)
            and ``sample_idx``; for a panoptic lake ``segments_info``, for one with maps
            only ``label_map``; the text of ``return_classes``; and, if the lake has them,
            ``proposals`` (read at first use) and texts.

        Raises:
            IndexError: If ``idx`` is out of range.
        """
        prompt = class_prompt(
            self.lake, self._metainfo, self.return_classes, self.caption_prompt
        )
        data_info = self._infos.of(int(self._positions[idx]), prompt)
        data_info['sample_idx'] = idx if idx >= 0 else len(self) + idx
        return data_info

    def prepare_data(self, idx: int) -> Any:
        """Run the pipeline on a sample, or on its substitute if the image is broken."""
        check_classes_in_worker()
        return prepare_sample(self, idx)

    def run_pipeline(self, data_info: dict) -> Any:
        """Run the pipeline on the result of :meth:`get_data_info`.

        Masks are read only if a transform may use them, so training on boxes is not
        slower in a lake with masks.
        """
        self.lake.read_through(self.reader)
        instances = data_info.get('instances')
        if isinstance(instances, LazyList):
            data_info['instances'] = instances.plain(filled=self._needs.masks)
        if 'proposals' in data_info and not self._needs.proposals:
            del data_info['proposals']  # PackDetInputs would treat them as loaded
        if self.reader.counters.is_shared:
            return timed_pipeline(self.pipeline, data_info, self.reader.counters)
        return self.pipeline(data_info)

    def position_of(self, idx: int) -> tuple[int, int]:
        """Return the index of a sample among all rows that were read, and its row."""
        position = int(self._positions[idx])
        return position, int(self._samples.rows[position])

    @property
    def has_labels(self) -> bool:
        """Whether any row has an annotation."""
        return bool(self._samples.num_stored.any()) or self.lake.columns.is_semantic

    def take_skipped_rows(self) -> list[int]:
        """Return the rows whose image any worker skipped since the last call."""
        return self._samples.rows[self.skipped.take()].tolist()

    @property
    def _needs(self) -> Needs:
        # Hooks may replace the pipeline during training.
        if self._known_needs is None or self._known_needs[0] is not self.pipeline:
            self._known_needs = (self.pipeline, Needs.of(self.pipeline))
        return self._known_needs[1]

    def __getitems__(self, indices: Sequence[int]) -> list[Any]:
        """Return the samples of a batch, after reading what can be read together."""
        rows = self.rows_of(np.asarray(indices)).tolist()
        if self._needs.images:
            self.reader.prepare(rows)
        if self.lake.seg_maps is not None and self._needs.maps:
            self.lake.seg_maps.prepare(rows)
        return [self[index] for index in indices]

    @force_full_init
    def rows_of(self, indices: NDArray[np.integer] | None = None) -> NDArray[np.int64]:
        """Return the rows of the lake for samples.

        Args:
            indices: Indices of samples, shape ``(K,)``; ``None`` for all samples.
        """
        positions = self._positions if indices is None else self._positions[indices]
        return self._samples.rows[positions]

    @force_full_init
    def labels_of_samples(self) -> tuple[NDArray[np.int64], NDArray[np.int32]]:
        """Return the labels of all samples as a ragged array.

        Returns:
            Offsets, shape ``(N + 1,)``, and labels: sample ``i`` has the labels
            ``labels[offsets[i]:offsets[i + 1]]``.
        """
        samples, positions = self._samples, self._positions
        counts = np.diff(samples.offsets)[positions]
        chosen = indices_of_ranges(samples.offsets[positions], counts)
        return offsets_of(counts), samples.labels[chosen]

    @force_full_init
    def sizes_of_samples(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return widths and heights of all samples in pixels, each of shape ``(N,)``."""
        samples, positions = self._samples, self._positions
        return samples.widths[positions], samples.heights[positions]

    @force_full_init
    def get_cat_ids(self, idx: int) -> list[int]:
        """Return the label of each instance of a sample, without building the sample."""
        if self._infos.changes_labels:
            return super().get_cat_ids(idx)
        part = self._samples.part(int(self._positions[idx]))
        return self._samples.labels[part].tolist()

    @force_full_init
    def get_subset_(self, indices: int | Sequence[int]) -> None:
        """Keep only some samples, in place; ``indices`` are those of the constructor."""
        if isinstance(indices, (int, np.integer)):
            chosen = slice(indices) if indices >= 0 else slice(indices, None)
            self._positions = self._positions[chosen]
        else:
            self._positions = self._positions[np.asarray(indices, dtype=np.int64)]

    @force_full_init
    def get_subset(self, indices: int | Sequence[int]) -> DeepLakeDataset:
        """Return a dataset of some of the samples; annotations are shared, not copied."""
        # MMEngine's default memo is shared by all calls: it keeps every subset alive, and
        # returns an old one if a new dataset reuses the address of a deleted dataset.
        subset = self._copy_without_annotation({})
        subset.get_subset_(indices)
        return subset
