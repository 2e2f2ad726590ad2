"""Present a lake to MMDetection as a ``BaseDetDataset`` whose files are rows."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

import numpy as np
from mmdet.datasets import BaseDetDataset
from mmdet.registry import DATASETS
from mmengine.dataset import force_full_init
from mmengine.logging import print_log
from numpy.typing import NDArray

from ..lake import ImageReader, lost_in_conversion, open_columns
from ..utils.ragged import indices_of_ranges, offsets_of
from .broken_images import SkippedSamples, prepare_sample, refuse_unsized
from .checks import (
    check_caption,
    check_filter,
    check_label_order,
    check_on_broken,
    read_timeouts,
    refuse_unknown,
)
from .classes import choose_classes
from .data_info import DataInfos
from .lazy import LazyList
from .masks import sample_masks
from .opening import open_requested
from .pipeline_needs import Needs, loads_maps, takes_proposals
from .prompts import class_prompt
from .samples import Samples, filter_samples, make_samples
from .texts import sample_texts
from .timing import timed_pipeline


@DATASETS.register_module()
class DeepLakeDataset(BaseDetDataset):
    """A detection dataset whose images and annotations are stored in a Deep Lake dataset.

    A sample equals, tensor for tensor, that of ``CocoDataset`` (or ``XMLDataset``, see
    ``annotation_style``) for the same data, after any stock pipeline. Branch, version and
    rows are fixed when the dataset is built, and are the same in every rank and worker
    while others write to the lake.

    Args:
        deeplake_path: Local folder, ``s3://…``, ``al://org/name``, ``hub://…``,
            ``mem://…``; ``@branch`` or ``@tag`` may follow.
        dataset: In Python, an open Deep Lake dataset or view instead of a path.
        deeplake_credentials: ``dict(token=…, creds=…)``; write references,
            ``'env:NAME'`` or ``'file:PATH'``, rather than secrets.
        deeplake_commit_id: Version id on the branch. Empty: the newest.
        deeplake_view_id: Name of a saved view (a tag).
        deeplake_query: TQL that selects rows, on top of commit or view; with a
            FROM clause it names the lake itself.
        deeplake_tensors: Role -> column, for the roles ``img``, ``gt_bboxes``,
            ``gt_labels``, ``gt_masks``, ``gt_seg_map``, ``segment_ids``,
            ``gt_ignore_flags``, ``area``, ``ignore``, ``img_id``, ``file_name``,
            ``width``, ``height``, ``proposals``, ``proposal_scores``, ``caption``,
            ``text``, ``phrases``. Missing roles are inferred from types and common
            names, except for the last two; ``None`` leaves a role without a column.
        box_format: ``xyxy``, ``xywh``, ``cxcywh`` in pixels, with the suffix ``n``
            as fractions of the image. Defaults to what the lake declares.
        annotation_style: ``'coco'``: leaves out degenerate boxes, as
            ``CocoDataset`` does; ``'voc'``: keeps all, as ``XMLDataset`` does;
            ``'panoptic'``: things and stuff, as ``CocoPanopticDataset`` does.
            Defaults to the metadata ``annotation_style`` of the box column, else
            ``'panoptic'`` if columns play ``gt_seg_map`` and ``segment_ids``, else
            ``'coco'``.
        label_order: ``'classes'``: label ``i`` is ``metainfo['classes'][i]``.
            ``'lake'``: labels follow the order of the lake's classes whatever the
            order in ``metainfo``, as ``CocoDataset`` numbers them by its file;
            ``metainfo['classes']`` is then put into that order.
        metainfo: ``dict(classes=…)`` selects and re-orders classes by name.
            Defaults to all classes of the lake. ``palette`` and others pass. In a lake
            of maps alone, pixels of other classes become label 0, as in
            ``BaseSegDataset(use_label_map=True)``.
        filter_cfg: ``filter_empty_gt``, ``min_size`` and, with ``'voc'``,
            ``bbox_min_size``; heeded unless ``test_mode``.
        indices: The first (last, if negative) so many samples, or a list.
        serialize_data: Without effect: annotations are flat arrays, which
            workers share as they are.
        pipeline: Transforms of mmdet, unchanged.
        test_mode: Whether every row is kept and an empty sample is an error.
        lazy_init: Whether to leave reading annotations to ``full_init``.
        max_refetch: How often a sample that the pipeline drops is replaced.
        read_timeout: Seconds that one attempt of a read from object storage may take.
        retry_timeout: Seconds that all attempts of a read may take together, each with
            the lake opened anew, before it is an error.
        on_broken_image: What to do about an image that is missing, cut short or
            cannot be decoded. ``'raise'``: an error that names lake, row and cause.
            ``'skip'``: in training the next sample by index that can be decoded
            takes its place; in test mode a black image does, and
            ``DeepLakeMetric`` counts no detections for it. Both are logged.
        return_classes: Whether samples carry the classes as ``text``: ``True`` as a
            tuple, as ``CocoDataset``; ``'label_map'`` as a dict by number, as
            ``ODVGDataset``. The role ``text`` takes precedence.
        caption_prompt: Prompt for ``return_classes``.
        backend_args: Accepted, as stock configs pass it; without effect.

    Raises:
        ValueError, TypeError, FileNotFoundError, PermissionError,
        ConnectionError: If a key is wrong or the lake does not fit; the message
            names the key, what was found and what to write.

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
        on_broken_image: str = 'raise',
        return_classes: bool | str = False,
        caption_prompt: dict | None = None,
        backend_args: dict | None = None,
        **unknown: Any,
    ) -> None:
        refuse_unknown(unknown, DeepLakeDataset.__init__)
        check_filter(filter_cfg, test_mode)
        check_label_order(label_order)
        check_caption(caption_prompt, return_classes)
        check_on_broken(on_broken_image)
        self.on_broken_image = on_broken_image
        source, self._rows = open_requested(
            dataset,
            deeplake_path=deeplake_path,
            deeplake_credentials=deeplake_credentials,
            deeplake_commit_id=deeplake_commit_id,
            deeplake_view_id=deeplake_view_id,
            deeplake_query=deeplake_query,
            timeouts=read_timeouts(read_timeout, retry_timeout),
        )
        lake = open_columns(source, deeplake_tensors, box_format, annotation_style)
        lost = lost_in_conversion(source.handle)
        if lost:
            print_log(f'{lake.name}: {lost}', logger='current', level=logging.WARNING)
        self.skipped: SkippedSamples
        self._samples: Samples
        self._infos: DataInfos
        self._positions: NDArray[np.int64]
        self._known_needs: tuple[Any, Needs] | None = None
        super().__init__(
            metainfo=metainfo,
            filter_cfg=filter_cfg,
            indices=indices,
            serialize_data=False,
            pipeline=list(pipeline),
            test_mode=test_mode,
            lazy_init=True,
            max_refetch=max_refetch,
        )
        # MMDetection 3.0 has no such arguments.
        self.return_classes = return_classes
        self.caption_prompt = caption_prompt
        self.lake, self._classes = choose_classes(lake, self._metainfo, label_order)
        self._metainfo.update(self._classes.metainfo)
        self.reader = ImageReader(self.lake.images)
        if not lazy_init:
            self.full_init()

    def full_init(self) -> None:
        """Read the annotations, filter rows and apply ``indices``, once."""
        if self._fully_initialized:
            return
        lake, columns = self.lake, self.lake.columns
        self._samples = samples = make_samples(
            lake.annotations(self._rows),
            columns.class_names,
            self._metainfo['classes'],
            columns.style,
            (self.filter_cfg or {}).get('bbox_min_size'),
            self._classes.things,
        )
        if self.on_broken_image == 'raise':
            refuse_unsized(lake, samples)
        else:
            self.skipped = SkippedSamples(len(samples))
        self._infos = DataInfos(
            lake,
            samples,
            sample_masks(lake, samples, self._needs.masks),
            sample_texts(lake, samples),
            self._classes.label_map,
        )
        filter_cfg = None if self.test_mode else self.filter_cfg
        self._positions = filter_samples(samples, filter_cfg, columns.is_semantic)
        lake.verify_chunk_files()
        self._fully_initialized = True
        if self._indices is not None:
            self.get_subset_(self._indices)
        print_log(
            f'DeepLakeDataset: {len(self)} of {len(self._samples)} rows of '
            f'{self.lake.name}, {len(self._samples.boxes)} boxes, '
            f'{len(self._metainfo["classes"])} classes',
            logger='current',
            level=logging.INFO,
        )

    @force_full_init
    def __len__(self) -> int:
        return len(self._positions)

    @force_full_init
    def get_data_info(self, idx: int) -> dict:
        """Return what the pipeline gets for a sample, as ``CocoDataset`` does.

        Args:
            idx: Index of the sample; negative ones count from the end.

        Returns:
            ``img_path`` (a ``deeplake://`` path), ``img_id``, ``height``, ``width``
            (pixels), ``instances`` (boxes as xyxy in pixels, masks; these are read
            when somebody looks at an instance), ``seg_map_path`` (a ``deeplake://``
            path, ``None`` without maps), ``sample_idx``; of a panoptic lake
            ``segments_info``, of one with maps alone ``label_map``; with
            ``return_classes``, the text; and what the lake has of ``proposals`` (read
            when somebody looks at them), ``gt_caption``, ``text`` and ``phrases``.

        Raises:
            IndexError: If the index is out of range.
        """
        prompt = class_prompt(
            self.lake, self._metainfo, self.return_classes, self.caption_prompt
        )
        data_info = self._infos.of(int(self._positions[idx]), prompt)
        data_info['sample_idx'] = idx if idx >= 0 else len(self) + idx
        return data_info

    def prepare_data(self, idx: int) -> Any:
        """Run the pipeline on a sample.

        Masks are read only if a transform may look at them, so training on boxes
        costs nothing more in a lake with masks. For an image that cannot be decoded
        see ``on_broken_image``.

        Args:
            idx: Index of the sample.

        Raises:
            BrokenImageError: If its image is broken and that is an error, or no
                image can be decoded.
        """
        return prepare_sample(self, idx)

    def run_pipeline(self, data_info: dict) -> Any:
        """Run the pipeline on a sample, whose image comes by this dataset's reader.

        Args:
            data_info: What :meth:`get_data_info` returns.
        """
        self.lake.read_through(self.reader)
        instances = data_info.get('instances')
        if isinstance(instances, LazyList):
            data_info['instances'] = instances.plain(filled=self._needs.masks)
        if 'proposals' in data_info and not takes_proposals(self.pipeline):
            del data_info['proposals']  # PackDetInputs would take them for loaded ones
        if self.reader.counters.is_shared:
            return timed_pipeline(self.pipeline, data_info, self.reader.counters)
        return self.pipeline(data_info)

    def position_of(self, idx: int) -> tuple[int, int]:
        """Position of a sample among all rows that were read, and its row.

        Args:
            idx: Index of the sample.
        """
        position = int(self._positions[idx])
        return position, int(self._samples.rows[position])

    def take_skipped_rows(self) -> list[int]:
        """Return the rows whose image any worker skipped since the last call."""
        return self._samples.rows[self.skipped.take()].tolist()

    @property
    def _needs(self) -> Needs:
        # Hooks may replace the pipeline in the middle of a training.
        if self._known_needs is None or self._known_needs[0] is not self.pipeline:
            self._known_needs = (self.pipeline, Needs.of(self.pipeline))
        return self._known_needs[1]

    def __getitems__(self, indices: Sequence[int]) -> list[Any]:
        """Return the samples of a batch, after reading at once what can be.

        Args:
            indices: Indices of the samples.
        """
        rows = self.rows_of(np.asarray(indices)).tolist()
        if self._needs.images:
            self.reader.prepare(rows)
        if self.lake.seg_maps is not None and loads_maps(self.pipeline):
            self.lake.seg_maps.prepare(rows)
        return [self[index] for index in indices]

    @force_full_init
    def rows_of(self, indices: NDArray[np.integer] | None = None) -> NDArray[np.int64]:
        """Return the rows of the lake that samples show.

        Args:
            indices: Indices of samples, shape ``(K,)``; ``None`` for all.
        """
        positions = self._positions if indices is None else self._positions[indices]
        return self._samples.rows[positions]

    @force_full_init
    def labels_of_samples(self) -> tuple[NDArray[np.int64], NDArray[np.int32]]:
        """Return the labels of all samples as flat arrays.

        Returns:
            Offsets, shape ``(N + 1,)``, and labels: sample ``i`` has the labels
            ``labels[offsets[i]:offsets[i + 1]]``.
        """
        samples, positions = self._samples, self._positions
        sizes = np.diff(samples.offsets)[positions]
        chosen = indices_of_ranges(samples.offsets[positions], sizes)
        return offsets_of(sizes), samples.labels[chosen]

    @force_full_init
    def sizes_of_samples(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Widths and heights of all samples in pixels, each of shape ``(N,)``."""
        positions = self._positions
        return self._samples.widths[positions], self._samples.heights[positions]

    @force_full_init
    def get_cat_ids(self, idx: int) -> list[int]:
        """Return the label of each instance of a sample, without building the sample.

        Args:
            idx: Index of the sample.
        """
        position = int(self._positions[idx])
        start, stop = self._samples.offsets[position : position + 2]
        return self._samples.labels[start:stop].tolist()

    @force_full_init
    def get_subset_(self, indices: int | Sequence[int]) -> None:
        """Keep only some samples, in place.

        Args:
            indices: The number of samples to keep from the start (from the end, if
                negative), or a list of indices.
        """
        if isinstance(indices, (int, np.integer)):
            chosen = slice(indices) if indices >= 0 else slice(indices, None)
            self._positions = self._positions[chosen]
        else:
            self._positions = self._positions[np.asarray(indices, dtype=np.int64)]

    @force_full_init
    def get_subset(self, indices: int | Sequence[int]) -> DeepLakeDataset:
        """Return a dataset of some samples; annotations are shared, not copied.

        Args:
            indices: The number of samples to keep from the start (from the end, if
                negative), or a list of indices.
        """
        # Not MMEngine's default memo: all calls share it, so it keeps every subset, and
        # gives one in place of an object that lies where a dataset was that is gone.
        subset = self._copy_without_annotation({})
        subset.get_subset_(indices)
        return subset
