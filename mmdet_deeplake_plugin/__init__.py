"""Train MMDetection 3.x models on Deep Lake datasets, with the stock tools.

Named in a config's ``custom_imports``, it registers ``DeepLakeDataset``,
``DeepLakeLoader``, ``DeepLakeMetric`` and ``DeepLakePredictions``, the file backend that
serves their images to the stock pipelines, a batch sampler and four opt-in hooks.
"""

from .requirements import check_requirements
from .version import __version__

check_requirements()

from .datasets import DeepLakeDataset  # noqa: E402
from .hooks import (  # noqa: E402
    DeepLakeClassCheckHook,
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

register()

__all__ = [
    'DeepLakeAspectRatioBatchSampler',
    'DeepLakeClassCheckHook',
    'DeepLakeDataset',
    'DeepLakeLoader',
    'DeepLakeMetric',
    'DeepLakePredictions',
    'DeepLakeReportHook',
    'DeepLakeResumeHook',
    'DeepLakeSkippedImagesHook',
    '__version__',
]
