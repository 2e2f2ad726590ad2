"""Train MMDetection 3.x models on Deep Lake datasets, with the stock tools.

Named in a config's ``custom_imports``, it registers ``DeepLakeDataset``,
``DeepLakeLoader`` and ``DeepLakeMetric``, and the file backend that serves
their images to the stock pipelines.
"""

from .requirements import check_requirements
from .version import __version__

check_requirements()

from .dataset import DeepLakeDataset  # noqa: E402
from .lake import register  # noqa: E402
from .loader import DeepLakeLoader  # noqa: E402
from .metric import DeepLakeMetric  # noqa: E402

register()

__all__ = ['DeepLakeDataset', 'DeepLakeLoader', 'DeepLakeMetric', '__version__']
