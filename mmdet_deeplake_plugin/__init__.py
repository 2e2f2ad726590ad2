"""Train MMDetection 3.x models on Deep Lake datasets, with the stock tools.

Named in a config's ``custom_imports``, it registers ``DeepLakeDataset``,
``DeepLakeLoader``, ``DeepLakeMetric`` and ``DeepLakePredictions``, the file backend that
serves their images to the stock pipelines, a dataset for mosaics, a batch sampler, a
collate function and six opt-in hooks. ``config_path`` finds the configs that ship.
"""

from .requirements import check_requirements
from .version import __version__

check_requirements()

from .collate import deeplake_collate  # noqa: E402
from .datasets import (  # noqa: E402
    DeepLakeDataset,
    DeepLakeMultiImageMixDataset,
    DeepLakeReIDDataset,
    DeepLakeVideoDataset,
)
from .hooks import (  # noqa: E402
    DeepLakeClassCheckHook,
    DeepLakeLossHook,
    DeepLakeOrderHook,
    DeepLakeReportHook,
    DeepLakeResumeHook,
    DeepLakeSkippedImagesHook,
)
from .lake import register  # noqa: E402
from .metrics import DeepLakeMetric, DeepLakePredictions  # noqa: E402
from .samplers import (  # noqa: E402
    DeepLakeAspectRatioBatchSampler,
    DeepLakeLoader,
)
from .utils.shipped_configs import config_path  # noqa: E402

register()

__all__ = [
    'DeepLakeAspectRatioBatchSampler',
    'DeepLakeClassCheckHook',
    'DeepLakeDataset',
    'DeepLakeLoader',
    'DeepLakeLossHook',
    'DeepLakeMetric',
    'DeepLakeMultiImageMixDataset',
    'DeepLakeOrderHook',
    'DeepLakePredictions',
    'DeepLakeReIDDataset',
    'DeepLakeReportHook',
    'DeepLakeResumeHook',
    'DeepLakeSkippedImagesHook',
    'DeepLakeVideoDataset',
    '__version__',
    'config_path',
    'deeplake_collate',
]
