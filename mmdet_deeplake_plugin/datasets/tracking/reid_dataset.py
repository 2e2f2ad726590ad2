"""Define ``DeepLakeReIDDataset``, for re-identification."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from mmdet.datasets import ReIDDataset
from mmdet.registry import DATASETS

from ...lake import check_roles
from ...utils.values import refuse_unknown
from ..checks import ELSEWHERE, LAKE_KEYS, check_keys
from .frames import Frames, MadeOfFrames


@DATASETS.register_module()
class DeepLakeReIDDataset(MadeOfFrames, ReIDDataset):
    """Dataset for re-identification that reads a Deep Lake dataset.

    Each row of the lake is the image of one person. After any stock pipeline, a sample
    equals that of ``ReIDDataset`` for the same data, tensor for tensor. The images of
    triplets are read together, and without triplets those of a batch.

    Args:
        deeplake_path, dataset, deeplake_credentials, deeplake_commit_id,
        deeplake_view_id, deeplake_query, pipeline, lazy_init, max_refetch, read_timeout,
        retry_timeout, open_timeout, backend_args: As in :class:`.DeepLakeDataset`.
        deeplake_tensors: As there. The role ``person_id`` must have a column.
        triplet_sampler: ``num_ids`` and ``ins_per_id``: a sample is this number of images
            of each of so many persons. Defaults to None: one image.
        indices: Number of images to keep, from the end if negative, or a list of indices;
            triplets are then made of these.
        serialize_data, test_mode: As in MMEngine's ``BaseDataset``.

    Raises:
        ValueError, TypeError, FileNotFoundError, PermissionError,
        ConnectionError: If a key is wrong or does not fit the lake.
    """

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
        triplet_sampler: dict | None = None,
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
        refuse_unknown(unknown, DeepLakeReIDDataset.__init__, ELSEWHERE)
        check_keys(given)
        tensors = check_roles(deeplake_tensors)
        self.frames = Frames(
            deeplake_path,
            ('person_id',),
            annotation_style='reid',
            deeplake_tensors={'gt_bboxes': None, 'gt_labels': None, **tensors},
            metainfo=dict(classes=('person',)),
            indices=indices,
            serialize_data=serialize_data,
            pipeline=pipeline,
            test_mode=test_mode,
            max_refetch=max_refetch,
            **{key: given[key] for key in LAKE_KEYS},
        )
        super().__init__(
            triplet_sampler,
            serialize_data=serialize_data,
            pipeline=self.frames.pipeline.transforms,
            test_mode=test_mode,
            lazy_init=lazy_init,
            max_refetch=max_refetch,
        )

    def __getitems__(self, indices: Sequence[int]) -> list[Any]:
        """Return the samples of a batch, whose images are read together."""
        if self.triplet_sampler is None:
            infos = map(self.get_data_info, indices)
            self.frames.prepare_images([info['img_path'] for info in infos])
        return [self[index] for index in indices]

    def load_data_list(self) -> list[dict]:
        """Read the lake.

        Returns:
            ``img_path`` and ``gt_label`` of each row.

        Raises:
            ValueError: If there are too few persons for triplets, or these are not
                numbered from 0.
        """
        self.frames.full_init()
        lake, persons = self.frames.lake, self.frames.row_numbers('person_id')
        count = len(np.unique(persons))
        wanted = (self.triplet_sampler or {}).get('num_ids', 8)
        if self.triplet_sampler is not None and count < wanted:
            raise ValueError(
                f'triplet_sampler.num_ids must be at most the number of persons, got '
                f'{wanted} for {count} persons of {lake.name}; write {count} or less'
            )
        if self.triplet_sampler is not None and persons.max() != count - 1:
            raise ValueError(
                f'the {count} persons of {lake.name} must be numbered 0 to {count - 1} '
                f'for triplet_sampler, found {persons.max()}; number them anew'
            )
        infos = map(self.frames.get_data_info, range(len(self.frames)))
        data_list = [
            dict(img_path=info['img_path'], gt_label=np.array(person, dtype=np.int64))
            for info, person in zip(infos, persons.tolist())
        ]
        self._parse_ann_info(data_list)
        return data_list
