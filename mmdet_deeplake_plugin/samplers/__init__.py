"""Which sample comes next, on which rank."""

from .batch_sampler import DeepLakeAspectRatioBatchSampler
from .loader import DeepLakeLoader

__all__ = ['DeepLakeAspectRatioBatchSampler', 'DeepLakeLoader']
