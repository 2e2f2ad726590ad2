"""Train MMDetection 3.x models on Deep Lake datasets, with the stock tools.

Named in a config's ``custom_imports``, it registers ``DeepLakeDataset``,
``DeepLakeLoader`` and ``DeepLakeMetric``, the file backend that serves their
images to the stock pipelines, a batch sampler and three opt-in hooks.
"""

from .requirements import check_requirements
from .version import __version__

check_requirements()

from .batch_sampler import DeepLakeAspectRatioBatchSampler  # noqa: E402
from .dataset import DeepLakeDataset  # noqa: E402
from .hooks import (  # noqa: E402
    DeepLakeReportHook,
    DeepLakeResumeHook,
    DeepLakeSkippedImagesHook,
)
from .lake import register  # noqa: E402
from .loader import DeepLakeLoader  # noqa: E402
from .metric import DeepLakeMetric  # noqa: E402

register()

__all__ = [
    'DeepLakeAspectRatioBatchSampler',
    'DeepLakeDataset',
    'DeepLakeLoader',
    'DeepLakeMetric',
    'DeepLakeReportHook',
    'DeepLakeResumeHook',
    'DeepLakeSkippedImagesHook',
    '__version__',
]
