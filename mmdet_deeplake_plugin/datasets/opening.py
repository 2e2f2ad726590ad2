"""Open the lake that the keys of ``DeepLakeDataset`` name."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..lake import LakeSource, LakeSpec, ReadTimeouts, open_object, open_source


def open_requested(
    dataset: Any, timeouts: ReadTimeouts, **keys: Any
) -> tuple[LakeSource, NDArray[np.int64] | None]:
    """Open the lake that a config names, by a path or by an open dataset.

    Args:
        dataset: An open Deep Lake dataset or view, or ``None``.
        timeouts: Time limits of reads.
        keys: The keys ``deeplake_*`` that name a lake.

    Returns:
        The source of the lake, and the selected rows, ``None`` for all.

    Raises:
        ValueError: If both a dataset and keys are passed, or the keys are wrong.
    """
    if dataset is None:
        names = {key.removeprefix('deeplake_'): value for key, value in keys.items()}
        return open_source(LakeSpec.from_config(**names, timeouts=timeouts))
    if any(keys.values()):
        raise ValueError(
            'dataset= is an open lake, so deeplake_path, deeplake_credentials, '
            'deeplake_commit_id, deeplake_view_id and deeplake_query must be left out'
        )
    return open_object(dataset)
